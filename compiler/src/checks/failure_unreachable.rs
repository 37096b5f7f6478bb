//! `failure/unreachable`: a rule that an earlier one of the same scope always beats.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_grammar::ast::{ActionKind, Failure};

pub const RULE: Rule = Rule {
    name: "failure/unreachable",
    severity: Severity::Warning,
    summary: "a failure rule that an earlier one of the same scope always beats",
    page: include_str!("failure_unreachable.md"),
};

/// Looks at every list of rules.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, failures) in walk::failures(model) {
        for (index, failure) in failures.iter().enumerate() {
            let earlier = &failures[..index];
            let beaten = if failure.kinds.is_empty() {
                earlier.iter().find(|it| {
                    it.kinds.is_empty() && beats(it, failure, "application") && beats(it, failure, "barrier")
                })
            } else {
                let by = |kind: &str| earlier.iter().find(|it| beats(it, failure, kind));
                let all = failure.kinds.iter().all(|kind| by(&kind.text).is_some());
                all.then(|| failure.kinds.first().and_then(|kind| by(&kind.text))).flatten()
            };
            if let Some(first) = beaten {
                let at = |span| Location { file, span };
                sink.push(
                    Diagnostic::new(&RULE, at(failure.span), "this rule never applies")
                        .label("never reached")
                        .also(at(first.span), "this one comes first and matches all of it")
                        .help(
                            "the first rule that matches wins: put the more special one first, or remove it",
                        ),
                );
            }
        }
    }
}

/// Whether the earlier rule takes every failure of that kind that the later one would.
fn beats(earlier: &Failure, later: &Failure, kind: &str) -> bool {
    let covers = if earlier.kinds.is_empty() {
        // Carrying on past a broken barrier takes a rule that names it.
        kind != "barrier" || !matches!(earlier.action.kind, ActionKind::Ignore | ActionKind::Succeed)
    } else {
        earlier.kinds.iter().any(|it| it.text == kind)
    };
    let share = match (earlier.under, later.under) {
        (None, _) => true,
        (Some((earlier, _)), Some((later, _))) => later <= earlier,
        (Some(_), None) => false,
    };
    covers && share
}

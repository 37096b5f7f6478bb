//! `failure/unreachable`: a rule that an earlier one of the same scope always beats.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_grammar::ast::{ActionKind, Failure};
use lockstep_plan::Kind;

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
            let kinds: Vec<&str> = match failure.kinds.as_slice() {
                [] => Kind::ALL.iter().map(|kind| kind.name()).filter(|kind| takes(failure, kind)).collect(),
                kinds => kinds.iter().map(|kind| kind.text.as_str()).collect(),
            };
            let whole = earlier.iter().find(|it| kinds.iter().all(|kind| beats(it, failure, kind)));
            let parts = || -> Option<Vec<&Failure>> {
                kinds.iter().map(|kind| earlier.iter().find(|it| beats(it, failure, kind))).collect()
            };
            let beaten = match whole {
                Some(whole) => Some(vec![whole]),
                None => parts(),
            };
            let Some(mut beaten) = beaten.filter(|beaten| !beaten.is_empty()) else { continue };
            beaten.sort_by_key(|it| it.span);
            beaten.dedup_by_key(|it| it.span);
            let at = |span| Location { file, span };
            let part = if beaten.len() == 1 { "all" } else { "a part" };
            let diagnostic = Diagnostic::new(&RULE, at(failure.span), "this rule never applies")
                .label("never reached")
                .help("the first rule that matches wins: put the more special one first, or remove it");
            sink.push(beaten.iter().fold(diagnostic, |diagnostic, first| {
                diagnostic.also(at(first.span), format!("this one comes first and matches {part} of it"))
            }));
        }
    }
}

/// Whether a rule without `of` takes failures of that kind.
fn takes(rule: &Failure, kind: &str) -> bool {
    // Carrying on past a broken barrier takes a rule that names it, nothing tries one again, and no host fails at one.
    let mut action = &rule.action.kind;
    while let ActionKind::Retry { then, .. } = action {
        action = &then.kind;
    }
    kind != "barrier" || (rule.under.is_none() && !matches!(action, ActionKind::Ignore | ActionKind::Succeed))
}

/// Whether the earlier rule takes every failure of that kind that the later one would.
fn beats(earlier: &Failure, later: &Failure, kind: &str) -> bool {
    let covers = if earlier.kinds.is_empty() {
        takes(earlier, kind)
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

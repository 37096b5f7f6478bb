//! `failure/loop`: an action that leads back to itself.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_grammar::ast::ActionKind;

pub const RULE: Rule = Rule {
    name: "failure/loop",
    severity: Severity::Error,
    summary: "`retry … then retry`, `ask … then ask` and the like",
    page: include_str!("failure_loop.md"),
};

/// Looks at every failure rule: each of `retry` and `ask` may stand once in it.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, failures) in walk::failures(model) {
        for failure in failures {
            let (mut retry, mut ask) = (None, None);
            let mut action = &failure.action;
            loop {
                let (word, seen, then) = match &action.kind {
                    ActionKind::Retry { then, .. } => ("retry", &mut retry, then),
                    ActionKind::Ask { then, .. } => ("ask", &mut ask, then),
                    _ => break,
                };
                if let Some(first) = seen.replace(action.span) {
                    let at = |span| Location { file, span };
                    sink.push(
                        Diagnostic::new(&RULE, at(action.span), format!("`{word}` leads to `{word}` again"))
                            .label("again here")
                            .also(at(first), "it begins here")
                            .help(if word == "retry" {
                                "give the first one more attempts or intervals: `retry 5 every 10s, 1m then rollback`"
                            } else {
                                "end with what happens when nobody answers: `then rollback`"
                            }),
                    );
                    break;
                }
                action = then;
            }
        }
    }
}

//! `barrier/rollback-reuse`: one barrier name forward and in a rollback.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "barrier/rollback-reuse",
    severity: Severity::Error,
    summary: "one barrier name both in a phase and in a rollback block",
    page: include_str!("barrier_rollback_reuse.md"),
};

/// Looks at every workflow.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, workflow) in walk::workflows(model) {
        let (forward, rollback) = walk::barriers_of(workflow);
        for barrier in rollback {
            let Some(first) = forward.iter().find(|it| it.name.text == barrier.name.text) else { continue };
            let (one, two) = (first.name.span, barrier.name.span);
            let (first, later) = if one < two { (one, two) } else { (two, one) };
            sink.push(
                Diagnostic::new(
                    &RULE,
                    Location { file, span: later },
                    format!("barrier `{}` stands in a phase and in a rollback block", barrier.name.text),
                )
                .label("again here")
                .also(Location { file, span: first }, "first here")
                .help("rollbacks meet at barriers of their own: give one of them another name"),
            );
        }
    }
}

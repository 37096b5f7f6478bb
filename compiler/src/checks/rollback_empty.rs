//! `rollback/empty`: a rollback block that does nothing.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "rollback/empty",
    severity: Severity::Warning,
    summary: "a rollback block without a step: it replaces what would be undone by nothing",
    page: include_str!("rollback_empty.md"),
};

/// Looks at every rollback block.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, workflow) in walk::workflows(model) {
        let blocks = workflow.phases.iter().flat_map(|phase| &phase.rollbacks).chain(&workflow.rollbacks);
        for block in blocks.filter(|block| crate::types::steps_of(&block.items).next().is_none()) {
            if model.program.is_damaged(file, block.span) {
                continue;
            }
            sink.push(
                Diagnostic::new(&RULE, Location { file, span: block.keyword }, "this rollback undoes nothing")
                    .label("no step in it")
                    .help("remove the block to get the rollback that is derived from the steps, or say how to undo them"),
            );
        }
    }
}

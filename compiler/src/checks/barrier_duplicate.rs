//! `barrier/duplicate`: one barrier name twice in a workflow.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_grammar::ast::Barrier;

pub const RULE: Rule = Rule {
    name: "barrier/duplicate",
    severity: Severity::Error,
    summary: "the same barrier name twice in a workflow",
    page: include_str!("barrier_duplicate.md"),
};

/// Looks at every workflow, all phases counted; rollback blocks are counted for themselves.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, name, workflow) in walk::workflows(model) {
        let (forward, rollback) = walk::barriers_of(workflow);
        for barriers in [forward, rollback] {
            for (first, again) in crate::types::repeated(barriers.iter().map(|it| it.name.text.as_str())) {
                let (first, barrier) = (barriers[first], barriers[again]);
                let at = |barrier: &Barrier| Location { file, span: barrier.name.span };
                sink.push(
                    Diagnostic::new(
                        &RULE,
                        at(barrier),
                        format!("workflow `{name}` has the barrier `{}` twice", barrier.name.text),
                    )
                    .label("again here")
                    .also(at(first), "first here")
                    .help("a stage arrives at a barrier once: give the second one a name of its own"),
                );
            }
        }
    }
}

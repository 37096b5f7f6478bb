//! `barrier/duplicate`: one barrier name twice in a workflow.

use super::Judged;
use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_grammar::ast::Barrier;
use lockstep_plan::BarrierKind;
use std::collections::BTreeSet;

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
                        format!("workflow `{}` has the barrier `{}` twice", name.text, barrier.name.text),
                    )
                    .label("again here")
                    .also(at(first), "first here")
                    .help("a stage arrives at a barrier once: give the second one a name of its own"),
                );
            }
        }
    }
}

/// A barrier of a branch that is called as the one which closes the branches of an `all_or_nothing` group.
pub fn commit(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let closing = plan.barriers.iter().filter(|barrier| barrier.kind == BarrierKind::Commit);
    for closing in closing {
        let Some(commit) = closing.places.first().map(|place| origins.places[place.index()]) else {
            continue;
        };
        let own = plan.barriers.iter().filter(|it| {
            it.item == closing.item && it.kind != BarrierKind::Commit && it.name == closing.name
        });
        let places: BTreeSet<Location> =
            own.flat_map(|it| &it.places).map(|place| origins.places[place.index()]).collect();
        for at in places {
            sink.push(
                Diagnostic::new(&RULE, at, format!("every branch of this group has a barrier `{}` already", closing.name))
                    .label("again here")
                    .also(commit, "`all_or_nothing` closes each branch with a barrier of this name")
                    .help("give this barrier another name, or remove it where the one at the end of the branch is enough"),
            );
        }
    }
}

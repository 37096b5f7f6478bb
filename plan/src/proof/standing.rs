//! The property itself: how a branch of an `all_or_nothing` group stands when a run has ended.

use crate::machine::{State, StepStatus};
use crate::{ItemId, Part, Plan, Role, StageId, StageOutcome, StepId};

/// How a branch stands at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It started no changing step: it fits both.
    Untouched,
    /// All its stages succeeded, and none of its changing steps stands failed.
    New,
    /// Each changing step that it started has been undone.
    Old,
    /// Some of what it changed stays, and it did not succeed.
    Between,
}

/// How one branch stands in an ended run.
pub fn standing(plan: &Plan, state: &State, item: ItemId, branch: u32) -> Standing {
    let mut started = false;
    let (mut new, mut old) = (true, true);
    for part in &plan.items[item.index()].branches[branch as usize].parts {
        let Part::Stage(stage) = part else { continue };
        let outcome = state.stage_outcome(*stage);
        new &= matches!(outcome, Some(StageOutcome::Succeeded | StageOutcome::Skipped));
        for step in plan.changing_steps(*stage) {
            let it = &state.steps[step.index()];
            new &= it.status != StepStatus::Ignored;
            started |= it.attempts > 0;
            old &= it.attempts == 0 || is_undone(plan, state, step);
        }
    }
    match (started, new, old) {
        (false, _, _) => Standing::Untouched,
        (true, _, true) => Standing::Old,
        (true, true, false) => Standing::New,
        (true, false, false) => Standing::Between,
    }
}

/// Whether what a step changed has been taken back.
pub fn is_undone(plan: &Plan, state: &State, step: StepId) -> bool {
    plan.steps[step.index()].undo.step().is_some_and(|undo| {
        // A step that a condition skipped undid nothing.
        let status = &state.steps[undo.index()].status;
        matches!(status, StepStatus::Succeeded | StepStatus::Ignored | StepStatus::Asserted)
    })
}

/// Whether an ended run broke the promise of that group: its branches are neither all new nor all old.
pub fn is_mixed(plan: &Plan, state: &State, item: ItemId) -> bool {
    let branches = 0..plan.items[item.index()].branches.len() as u32;
    let (mut new, mut old) = (true, true);
    for branch in branches {
        match standing(plan, state, item, branch) {
            Standing::Untouched => {}
            Standing::New => old = false,
            Standing::Old => new = false,
            Standing::Between => (new, old) = (false, false),
        }
    }
    !new && !old
}

impl Plan {
    /// The steps of a stage's phases that change its target, in source order.
    pub(crate) fn changing_steps(&self, stage: StageId) -> impl Iterator<Item = StepId> + '_ {
        self.stages[stage.index()].forward_steps().filter(|step| {
            let step = &self.steps[step.index()];
            step.changes && step.role == Role::Forward
        })
    }
}

//! What a run that has ended leaves: releases that are successful from now on, and what it could still be taken back to.

use super::{StageMode, StageState, State, StepStatus, rollback_queue};
use crate::{
    BlockItem, Call, EvalError, Held, Plan, RunOutcome, StageId, StageOutcome, Step, StepId, Verdict,
};

/// How stages end of which nothing is left.
const GONE: [StageOutcome; 3] = [StageOutcome::RolledBack, StageOutcome::NotStarted, StageOutcome::Skipped];

/// A target that a stage has changed, with what its driver is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// By which stage.
    pub stage: StageId,
    /// Where, and what.
    pub held: Held,
    /// The call of the stage's first changing step there, with the record of what ran before.
    pub call: Call,
    /// How failures of changing steps there were passed over: [`Verdict::Ignore`] where one of them stands failed, else
    /// [`Verdict::Succeed`] where one counts as success; none where none failed.
    pub passed: Option<Verdict>,
}

impl State {
    /// What the run has changed for good: once it is sealed (it has ended, and nothing but a person would take it back), the
    /// releases of stages that succeeded are successful. Nothing for a run that is not sealed.
    pub fn sealed(&self, plan: &Plan) -> Vec<Changed> {
        match self.outcome() {
            Some(RunOutcome::Succeeded | RunOutcome::RolledBack) => {
                self.changed(plan, |outcome| outcome == StageOutcome::Succeeded)
            }
            _ => Vec::new(),
        }
    }

    /// What stands of a run that has ended, so that a person may take it back.
    pub fn standing(&self, plan: &Plan) -> Vec<Changed> {
        match self.is_finished() {
            true => self.changed(plan, |outcome| !GONE.contains(&outcome)),
            false => Vec::new(),
        }
    }

    /// Whether a person who takes back a run that has ended has anything undone by it, on a target or not.
    pub fn is_left(&self, plan: &Plan) -> bool {
        let left = |(stage, id): (&StageState, u32)| {
            let StageMode::Ended(outcome) = stage.mode else { return false };
            let stage = StageId(id);
            let executed = |step: StepId| self.steps[step.index()].attempts > 0;
            let undone = |item: &BlockItem| matches!(item, BlockItem::Steps(_));
            !GONE.contains(&outcome) && rollback_queue(plan, stage, None, &executed).iter().any(undone)
        };
        self.is_finished() && (self.stages.iter().zip(0..).any(left) || !self.standing(plan).is_empty())
    }

    fn changed(&self, plan: &Plan, wanted: impl Fn(StageOutcome) -> bool) -> Vec<Changed> {
        let mut changed = Vec::new();
        for (&(stage, target, service), record) in &self.records {
            let StageMode::Ended(outcome) = self.stages[stage.index()].mode else { continue };
            let held = Held { target, service };
            let Some(step) = self.first_change(plan, stage, held).filter(|_| wanted(outcome)) else {
                continue;
            };
            let call: Result<Call, EvalError> = self.call(plan, step);
            // What could be evaluated when the step was started still can.
            if let Ok(call) = call {
                let call = Call { record: Some(record.clone()), ..call };
                changed.push(Changed { stage, held, call, passed: self.passed(plan, stage, held) });
            }
        }
        changed
    }

    /// The first step of the stage that was started and changes that target.
    fn first_change(&self, plan: &Plan, stage: StageId, held: Held) -> Option<StepId> {
        plan.stages[stage.index()]
            .forward_steps()
            .find(|step| changes(&plan.steps[step.index()], held) && self.steps[step.index()].attempts > 0)
    }

    /// How failures of the stage's steps that change that target were passed over.
    fn passed(&self, plan: &Plan, stage: StageId, held: Held) -> Option<Verdict> {
        let steps = plan.stages[stage.index()].forward_steps();
        let there = steps.filter(|step| changes(&plan.steps[step.index()], held));
        let verdicts = there.filter_map(|step| match self.steps[step.index()].status {
            StepStatus::Ignored => Some(Verdict::Ignore),
            StepStatus::Asserted => Some(Verdict::Succeed),
            _ => None,
        });
        verdicts.reduce(|one, other| if one == Verdict::Ignore { one } else { other })
    }
}

/// Whether a step changes that target.
fn changes(step: &Step, held: Held) -> bool {
    step.changes && step.action.target == Some(held.target) && step.action.service == held.service
}

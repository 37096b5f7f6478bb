//! Claims: targets and resources that stages hold while they work.
//!
//! What is joined (see [`crate::Plan::join_claims`]) is taken at once before its first stage starts, and kept until none of
//! it can be rolled back any more. While a stage holds that, it waits for nothing but the `use`s of a phase, whose holders
//! wait for nobody: so runs cannot wait for each other in a circle.

use super::{BranchMode, ClaimStatus, Machine, RunMode, StageMode};
use crate::{
    BlockItem, Cause, ClaimId, ClaimScope, Command, Failure, Happening, Kind, StageId, StageOutcome,
};

impl Machine<'_> {
    /// Whether what is to be held is held; nothing always is.
    pub(super) fn holds(&self, claim: Option<ClaimId>) -> bool {
        claim.is_none_or(|claim| self.state.claims[claim.index()].status == ClaimStatus::Held)
    }

    /// Asks for a claim, unless it was asked for already.
    pub(super) fn ask_for_claim(&mut self, claim: ClaimId, wait: bool) {
        let state = &mut self.state.claims[claim.index()];
        if state.status == ClaimStatus::Free {
            state.status = ClaimStatus::Asked;
            state.turn += 1;
            let turn = state.turn;
            self.commands.push(Command::AcquireClaims { claim, turn, wait });
        }
    }

    /// Lets go of a claim, or of the wish for it.
    pub(super) fn release_claim(&mut self, claim: ClaimId) {
        let state = &mut self.state.claims[claim.index()];
        if state.status != ClaimStatus::Free {
            state.status = ClaimStatus::Free;
            let turn = state.turn;
            self.commands.push(Command::ReleaseClaims { claim, turn });
        }
    }

    pub(super) fn claims_granted(&mut self, claim: ClaimId, turn: u32) {
        if !self.is_asked(claim, turn) {
            return;
        }
        self.state.claims[claim.index()].status = ClaimStatus::Held;
        self.announce(Happening::ClaimsGranted(claim));
        let data = &self.plan.claims[claim.index()];
        for &stage in &data.stages {
            let state = &mut self.state.stages[stage.index()];
            if data.scope != ClaimScope::Stages {
                self.ready.push_back(stage);
            } else if std::mem::take(&mut state.claiming) {
                match state.mode {
                    StageMode::Waiting => self.start_stage(stage),
                    _ => self.begin_rollback(stage, None),
                }
            }
        }
    }

    pub(super) fn claims_refused(&mut self, claim: ClaimId, turn: u32, why: &str) {
        if !self.is_asked(claim, turn) {
            return;
        }
        self.state.claims[claim.index()].status = ClaimStatus::Free;
        self.announce(Happening::ClaimsRefused(claim, why.into()));
        let data = &self.plan.claims[claim.index()];
        if self.state.mode == RunMode::RollingBack && data.scope == ClaimScope::Stages {
            self.give_up_with(&data.stages, why);
        }
        for &stage in &data.stages {
            let cause = Cause::Stage(stage, Failure::new(Kind::Policy, why));
            if data.scope != ClaimScope::Stages {
                self.phase_claim_refused(stage, cause);
                continue;
            }
            // An earlier one of them may have taken this one along.
            if !std::mem::take(&mut self.state.stages[stage.index()].claiming) {
                continue;
            }
            if self.state.stages[stage.index()].mode == StageMode::Waiting {
                self.start_stage(stage);
                self.stage_fails_by_default(stage, cause);
            } else {
                // What is no longer this run's must not be touched.
                self.state.stages[stage.index()].cause = Some(cause);
                self.state.stages[stage.index()].again = false;
                self.end_stage(stage, StageOutcome::RollbackFailed);
                self.stage_over(stage);
            }
        }
    }

    /// Stages that a rollback would come to later cannot go back either: what they hold together is somebody else's by now.
    fn give_up_with(&mut self, stages: &[StageId], why: &str) {
        for &stage in stages {
            let executed = self.has_executed(stage);
            let state = &mut self.state.stages[stage.index()];
            let later = match state.mode {
                StageMode::Ended(StageOutcome::Succeeded | StageOutcome::Failed) => executed,
                StageMode::Ended(_) => state.again,
                _ => false,
            };
            if later && !state.claiming {
                state.cause = Some(Cause::Stage(stage, Failure::new(Kind::Policy, why)));
                state.again = false;
                self.end_stage(stage, StageOutcome::RollbackFailed);
            }
        }
    }

    fn phase_claim_refused(&mut self, stage: StageId, cause: Cause) {
        match &mut self.state.stages[stage.index()].mode {
            StageMode::Forward(_) => self.stage_fails_by_default(stage, cause),
            StageMode::RollingBack(unwinding) => {
                unwinding.failed = true;
                self.state.stages[stage.index()].cause = Some(cause);
                self.ready.push_back(stage);
            }
            _ => {}
        }
    }

    fn is_asked(&self, claim: ClaimId, turn: u32) -> bool {
        let state = self.state.claims[claim.index()];
        state.status == ClaimStatus::Asked && state.turn == turn
    }

    /// What undoing this holds: the claim of its phase, or that of the stage's rollback block.
    pub(super) fn undo_claim(&self, stage: StageId, item: Option<&BlockItem>) -> Option<ClaimId> {
        let Some(BlockItem::Steps(steps)) = item else { return None };
        let data = &self.plan.stages[stage.index()];
        match self.plan.steps[steps.first()?.index()].phase {
            Some(phase) => data.phases[phase as usize].claim,
            None => data.rollback_claim,
        }
    }

    /// Lets go of what phases and rollback of the stage hold or wait for, but for one claim.
    pub(super) fn release_phase_claims(&mut self, stage: StageId, but: Option<ClaimId>) {
        let data = &self.plan.stages[stage.index()];
        let phases = data.phases.iter().filter_map(|phase| phase.claim);
        for claim in phases.chain(data.rollback_claim).filter(|claim| Some(*claim) != but) {
            self.release_claim(claim);
        }
    }

    /// Calls off what a stage that goes no further waits for; what it holds it keeps until its steps have ended.
    pub(super) fn unask_phase_claims(&mut self, stage: StageId) {
        let data = &self.plan.stages[stage.index()];
        for claim in data.phases.iter().filter_map(|phase| phase.claim).chain(data.rollback_claim) {
            if self.state.claims[claim.index()].status == ClaimStatus::Asked {
                self.release_claim(claim);
            }
        }
    }

    /// A stage has ended: its phases hold nothing any more, and what it holds with others may be needed no longer.
    pub(super) fn release_own_claims(&mut self, stage: StageId) {
        self.release_phase_claims(stage, None);
        self.loose.extend(self.plan.stages[stage.index()].claim);
    }

    /// The run stops: nothing is waited for any more.
    pub(super) fn unask_all_claims(&mut self) {
        for index in 0..self.plan.claims.len() {
            if self.state.claims[index].status == ClaimStatus::Asked {
                self.release_claim(ClaimId(index as u32));
            }
        }
        self.state.stages.iter_mut().for_each(|stage| stage.claiming = false);
    }

    pub(super) fn release_all_claims(&mut self) {
        for index in 0..self.plan.claims.len() {
            self.release_claim(ClaimId(index as u32));
        }
    }

    /// Looks, when everything that follows from an event is known, which claims nobody needs any more.
    pub(super) fn release_loose_claims(&mut self) {
        let mut loose = std::mem::take(&mut self.loose);
        loose.sort_unstable();
        loose.dedup();
        for claim in loose {
            if self.plan.claims[claim.index()].stages.iter().all(|stage| self.is_decided(*stage)) {
                self.release_claim(claim);
            }
        }
    }

    /// Whether the stage has ended, and nothing but a person would take back what it did.
    fn is_decided(&self, stage: StageId) -> bool {
        let data = &self.plan.stages[stage.index()];
        let branch = &self.state.items[data.item.index()].branches[data.branch as usize];
        let ended = matches!(self.state.stages[stage.index()].mode, StageMode::Ended(_))
            && matches!(branch.mode, BranchMode::Succeeded | BranchMode::Failed);
        // A run that goes back comes to its earlier items later.
        let to_come = self.state.mode == RunMode::RollingBack && data.item.index() < self.state.item;
        ended && !to_come
    }
}

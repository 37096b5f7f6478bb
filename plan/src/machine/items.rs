//! Items, branches, lanes, `max`, approvals between stages, abort, and the end of a run.

use super::failure::matches;
use super::state::Settled;
use super::{ApprovalState, BranchMode, Machine, RunMode, StageMode};
use crate::{
    Answer, ApprovalId, BarrierId, Cause, Command, Decision, Failure, Happening, ItemId, Kind, NotifyEvent,
    Part, Person, PlaceId, Question, Reaction, RunOutcome, StageId, StageOutcome, Verdict,
};

impl Machine<'_> {
    /// Starts the item that the run has come to, or ends the run where there is none.
    pub(super) fn begin_item(&mut self) {
        match self.plan.items.get(self.state.item) {
            None => self.finish(),
            Some(item) if item.branches.is_empty() => self.turn = true,
            Some(_) => self.slots = true,
        }
    }

    /// Starts branches in source order for as long as there are slots.
    pub(super) fn fill(&mut self) {
        let item = ItemId(self.state.item as u32);
        let Some(data) = self.plan.items.get(item.index()) else { return };
        let max = data.group.and_then(|group| group.max).unwrap_or(u32::MAX);
        while self.state.mode == RunMode::Forward {
            let state = &mut self.state.items[item.index()];
            if state.running >= max || state.next >= state.branches.len() {
                break;
            }
            let branch = state.next;
            state.next += 1;
            if state.branches[branch].mode != BranchMode::Pending {
                // Its group was decided before its turn came.
                continue;
            }
            state.running += 1;
            state.branches[branch].slot = true;
            state.branches[branch].mode = BranchMode::Running;
            self.begin_part(item, branch as u32);
        }
    }

    pub(super) fn release_slot(&mut self, item: ItemId, branch: u32) {
        let state = &mut self.state.items[item.index()];
        let branch = &mut state.branches[branch as usize];
        if branch.slot {
            branch.slot = false;
            state.running -= 1;
            self.slots = true;
        }
    }

    /// Starts the part that the branch has come to.
    fn begin_part(&mut self, item: ItemId, branch: u32) {
        let plan = self.plan;
        let data = &plan.items[item.index()].branches[branch as usize];
        loop {
            let at = self.state.items[item.index()].branches[branch as usize].part;
            if let Some(stage) = self.doomed_next(&data.parts[at..]) {
                self.none_start(&data.parts[at..], &Cause::Lane, &mut Vec::new());
                self.branch_fails(stage);
                self.unwind_branch(item, branch, &Cause::Together);
                return;
            }
            match data.parts.get(at) {
                Some(Part::Stage(stage)) => {
                    if !self.begin_stage(*stage) {
                        return;
                    }
                    // It was skipped.
                    self.state.items[item.index()].branches[branch as usize].part += 1;
                }
                Some(Part::Approval(approval)) => {
                    self.ask_for_approval(*approval);
                    return;
                }
                None => {
                    self.parts_done(item, branch, data.commit);
                    return;
                }
            }
        }
    }

    /// The next stage of a lane, if it was doomed before its turn came: nobody need be asked to let it start.
    fn doomed_next(&self, parts: &[Part]) -> Option<StageId> {
        let next = parts.iter().find_map(|part| match part {
            Part::Stage(stage) => Some(*stage),
            Part::Approval(_) => None,
        })?;
        (self.state.stages[next.index()].mode != StageMode::Waiting).then_some(next)
    }

    /// Takes back the approval that a stage would have started after, or the claim that it would have started with.
    pub(super) fn withdraw(&mut self, stage: StageId) {
        let data = &self.plan.stages[stage.index()];
        let state = &self.state.items[data.item.index()].branches[data.branch as usize];
        let parts = &self.plan.items[data.item.index()].branches[data.branch as usize].parts;
        let asked = match parts.get(state.part) {
            Some(Part::Approval(_)) => true,
            Some(Part::Stage(stage)) => {
                self.state.stages[stage.index()].mode == StageMode::Ended(StageOutcome::NotStarted)
            }
            None => false,
        };
        if state.mode == BranchMode::Running && asked && self.doomed_next(&parts[state.part..]).is_some() {
            self.begin_part(data.item, data.branch);
        }
    }

    fn parts_done(&mut self, item: ItemId, branch: u32, commit: Option<PlaceId>) {
        match commit {
            Some(place) => {
                self.state.items[item.index()].branches[branch as usize].mode = BranchMode::AtCommit;
                self.release_slot(item, branch);
                self.arrive(place);
            }
            None => self.branch_ended(item, branch, BranchMode::Succeeded),
        }
    }

    /// Every branch of a group has come to its end: nothing of it will be rolled back any more.
    pub(super) fn branch_committed(&mut self, item: ItemId, branch: u32) {
        if self.state.items[item.index()].branches[branch as usize].mode == BranchMode::AtCommit {
            self.branch_ended(item, branch, BranchMode::Succeeded);
        }
    }

    /// Starts a stage. Whether the branch may go on at once, because the stage is skipped.
    fn begin_stage(&mut self, stage: StageId) -> bool {
        let data = &self.plan.stages[stage.index()];
        match self.conditions_hold(None, &data.when, |_| format!("stage `{}`", data.name)) {
            Ok(true) => {
                match self.plan.stages[stage.index()].claim.filter(|claim| !self.holds(Some(*claim))) {
                    Some(claim) => {
                        self.state.stages[stage.index()].claiming = true;
                        self.ask_for_claim(claim, !self.plan.claims[claim.index()].reject);
                    }
                    None => self.start_stage(stage),
                }
                false
            }
            Ok(false) => {
                for position in &self.plan.stages[stage.index()].positions {
                    match &position.work {
                        crate::Work::Steps(steps) => steps.iter().for_each(|step| self.skip_step(*step)),
                        crate::Work::Barrier(place) => self.excuse(*place),
                    }
                }
                self.end_stage(stage, StageOutcome::Skipped);
                true
            }
            Err(failure) => {
                self.start_stage(stage);
                self.stage_fails_by_default(stage, Cause::Stage(stage, failure));
                false
            }
        }
    }

    pub(super) fn start_stage(&mut self, stage: StageId) {
        self.state.stages[stage.index()].mode = StageMode::Forward(0);
        self.announce(Happening::StageStarted(stage));
        self.ready.push_back(stage);
    }

    /// A stage has passed all its positions.
    pub(super) fn stage_done(&mut self, stage: StageId) {
        self.end_stage(stage, StageOutcome::Succeeded);
        self.notify_stage(stage, NotifyEvent::Success);
        self.stage_over(stage);
    }

    /// A stage has ended, one way or the other: goes on with its branch.
    pub(super) fn stage_over(&mut self, stage: StageId) {
        let data = &self.plan.stages[stage.index()];
        let (item, branch) = (data.item, data.branch);
        let state = &mut self.state.items[item.index()].branches[branch as usize];
        match state.mode {
            BranchMode::Running => {
                state.part += 1;
                self.begin_part(item, branch);
            }
            BranchMode::Failing => self.unwind_branch(item, branch, &self.together()),
            _ => {}
        }
    }

    /// A stage of the branch failed for good: nothing further of it starts.
    pub(super) fn branch_fails(&mut self, stage: StageId) {
        let data = &self.plan.stages[stage.index()];
        let failure = match &self.state.stages[stage.index()].cause {
            Some(cause) => cause.failure(self.plan),
            None => Failure::new(Kind::Application, "it failed"),
        };
        self.mark_failing(data.item, data.branch, failure);
        // What still runs in it holds the slot: see `drained`.
        if !matches!(self.state.stages[stage.index()].mode, StageMode::Draining(..)) {
            self.release_slot(data.item, data.branch);
        }
        self.notify_stage(stage, NotifyEvent::Failure);
    }

    fn mark_failing(&mut self, item: ItemId, branch: u32, failure: Failure) {
        let state = &mut self.state.items[item.index()];
        state.failure.get_or_insert(failure);
        let mode = &mut state.branches[branch as usize].mode;
        if matches!(mode, BranchMode::Pending | BranchMode::Running | BranchMode::AtCommit) {
            *mode = BranchMode::Failing;
        }
    }

    /// The `commit` of a branch broke.
    pub(super) fn doom_branch(
        &mut self,
        item: ItemId,
        branch: u32,
        commit: BarrierId,
        agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>,
    ) {
        let data = &self.plan.items[item.index()].branches[branch as usize];
        let (mode, at) = {
            let state = &self.state.items[item.index()].branches[branch as usize];
            (state.mode, state.part)
        };
        match mode {
            BranchMode::Pending => {
                self.none_start(&data.parts, &Cause::Barrier(commit), agenda);
                self.give_branch_up(item, branch, Cause::Barrier(commit));
            }
            BranchMode::Running => match (data.parts.get(at), data.commit) {
                (Some(Part::Stage(stage)), Some(place)) => self.doom_stage(*stage, place, agenda),
                (Some(Part::Approval(_)), _) => {
                    self.none_start(&data.parts[at..], &Cause::Barrier(commit), agenda);
                    self.give_branch_up(item, branch, Cause::Barrier(commit));
                }
                _ => {}
            },
            BranchMode::AtCommit => self.give_branch_up(item, branch, Cause::Barrier(commit)),
            BranchMode::Failing | BranchMode::Succeeded | BranchMode::Failed => {}
        }
    }

    /// A branch none of whose stages runs fails as a whole.
    fn give_branch_up(&mut self, item: ItemId, branch: u32, cause: Cause) {
        self.mark_failing(item, branch, cause.failure(self.plan));
        self.release_slot(item, branch);
        self.unwind_branch(item, branch, &cause);
    }

    /// Rolls back, last first, what succeeded in a branch that goes back as a whole; then the branch has ended.
    pub(super) fn unwind_branch(&mut self, item: ItemId, branch: u32, cause: &Cause) {
        let whole_run = self.state.mode == RunMode::RollingBack;
        let promised = self.plan.items[item.index()].promises();
        if (whole_run || promised) && !self.is_aborting() {
            let parts = &self.plan.items[item.index()].branches[branch as usize].parts;
            let next = parts.iter().rev().find_map(|part| match part {
                Part::Stage(stage) => match self.state.stages[stage.index()].mode {
                    StageMode::Ended(StageOutcome::Succeeded) => Some(*stage),
                    StageMode::Ended(StageOutcome::Failed) if whole_run => Some(*stage),
                    StageMode::Ended(_) if self.state.stages[stage.index()].again => Some(*stage),
                    _ => None,
                },
                Part::Approval(_) => None,
            });
            if let Some(stage) = next {
                self.state.stages[stage.index()].cause.get_or_insert(cause.clone());
                match self.plan.stages[stage.index()].claim.filter(|claim| !self.holds(Some(*claim))) {
                    // It was let go of when the stage had ended. Whoever has it now is about to change the target: waiting
                    // for that would only undo their work.
                    Some(claim) => {
                        self.state.stages[stage.index()].claiming = true;
                        self.ask_for_claim(claim, false);
                    }
                    None => self.begin_rollback(stage, None),
                }
                return;
            }
        }
        self.branch_ended(item, branch, BranchMode::Failed);
    }

    fn branch_ended(&mut self, item: ItemId, branch: u32, mode: BranchMode) {
        let state = &mut self.state.items[item.index()];
        state.branches[branch as usize].mode = mode;
        state.ended += 1;
        for part in &self.plan.items[item.index()].branches[branch as usize].parts {
            if let Part::Stage(stage) = part {
                self.loose.extend(self.plan.stages[stage.index()].claim);
            }
        }
        self.release_slot(item, branch);
        let state = &self.state.items[item.index()];
        if state.ended == state.branches.len() && item.index() == self.state.item {
            self.turn = true;
        }
    }

    /// Every branch of the item has ended.
    pub(super) fn item_over(&mut self) {
        match self.state.mode {
            RunMode::Forward => {}
            RunMode::RollingBack => {
                self.unwind_previous_item();
                return;
            }
            _ => return,
        }
        let Some(failure) = self.state.items[self.state.item].failure.clone() else {
            self.state.item += 1;
            self.begin_item();
            return;
        };
        let rule = self.plan.rules.iter().find(|rule| matches(rule, &failure));
        match rule.map(|rule| &rule.reaction) {
            Some(Reaction::Ignore | Reaction::Succeed) => {
                self.state.item += 1;
                self.begin_item();
            }
            Some(Reaction::RollbackPipeline) => self.roll_back_run(Cause::Together),
            Some(Reaction::Abort) => self.abort(Cause::Together),
            _ => self.finish(),
        }
    }

    /// Everything that the run did is undone: first what runs, then item by item, last first.
    pub(super) fn roll_back_run(&mut self, cause: Cause) {
        self.state.mode = RunMode::RollingBack;
        if let Cause::Person(by) = &cause {
            self.state.asked_back = Some(by.clone());
        }
        let item = ItemId(self.state.item as u32);
        // Branches are counted afresh: those that had ended may have something to undo.
        self.state.items[item.index()].ended = 0;
        for branch in 0..self.plan.items[item.index()].branches.len() as u32 {
            self.turn_branch_back(item, branch, &cause);
        }
    }

    fn turn_branch_back(&mut self, item: ItemId, branch: u32, cause: &Cause) {
        let data = &self.plan.items[item.index()].branches[branch as usize];
        // Barriers need not break: nobody goes forward any more.
        self.none_start(&data.parts, cause, &mut Vec::new());
        self.state.items[item.index()].branches[branch as usize].mode = BranchMode::Failing;
        self.release_slot(item, branch);
        // At most one is under way: the one that the lane has come to, or one that is rolled back with the lane.
        let under_way = data.parts.iter().find_map(|part| match part {
            Part::Stage(stage) => {
                (!matches!(self.state.stages[stage.index()].mode, StageMode::Ended(_))).then_some(*stage)
            }
            Part::Approval(_) => None,
        });
        let Some(stage) = under_way else {
            self.unwind_branch(item, branch, cause);
            return;
        };
        match &self.state.stages[stage.index()].mode {
            StageMode::Forward(_) | StageMode::Asking(..) => {
                let decision = Decision { verdict: Verdict::Rollback, rule: None };
                self.announce(Happening::StageFailing(stage, cause.clone(), decision));
                self.begin_draining(stage, cause.clone(), Settled::Verdict(Verdict::Rollback));
            }
            StageMode::Draining(position, _) => {
                let settled = Settled::Verdict(Verdict::Rollback);
                self.state.stages[stage.index()].mode = StageMode::Draining(*position, settled);
                self.ready.push_back(stage);
            }
            // It goes back already, or (no case of these) has nothing to take back.
            StageMode::RollingBack(_) | StageMode::Waiting | StageMode::Ended(_) => {}
        }
    }

    /// Why parts go back that did nothing wrong themselves.
    fn together(&self) -> Cause {
        self.state.asked_back.clone().map_or(Cause::Together, Cause::Person)
    }

    fn unwind_previous_item(&mut self) {
        if self.state.item == 0 {
            self.finish();
            return;
        }
        self.state.item -= 1;
        let item = ItemId(self.state.item as u32);
        self.state.items[item.index()].ended = 0;
        let branches = self.plan.items[item.index()].branches.len() as u32;
        self.turn |= branches == 0;
        for branch in 0..branches {
            self.state.items[item.index()].branches[branch as usize].mode = BranchMode::Failing;
            self.unwind_branch(item, branch, &self.together());
        }
    }

    /// A person takes back what a run did that has ended: its stages that succeeded, were left as they were, or whose rollback
    /// stopped.
    pub(super) fn reopen(&mut self, by: String) {
        let mut any = false;
        for index in 0..self.plan.stages.len() {
            let StageMode::Ended(outcome) = self.state.stages[index].mode else { continue };
            let left = matches!(outcome, StageOutcome::RollbackFailed | StageOutcome::Aborted);
            let stands = matches!(outcome, StageOutcome::Succeeded | StageOutcome::Failed);
            let executed = self.has_executed(StageId(index as u32));
            self.state.stages[index].again = left && executed;
            any |= (left || stands) && executed;
        }
        if !any {
            return;
        }
        self.announce(Happening::RollbackRequested(by.clone()));
        self.state.item = self.state.item.min(self.plan.items.len().saturating_sub(1));
        self.state.rollback_told = false;
        self.roll_back_run(Cause::Person(by));
    }

    /// The run stops: running steps are cancelled, no rule runs, rollbacks stop after their running step.
    pub(super) fn abort(&mut self, cause: Cause) {
        self.state.mode = RunMode::Aborting;
        self.unask_all_claims();
        for index in 0..self.plan.approvals.len() {
            self.drop_approval(ApprovalId(index as u32));
        }
        for index in 0..self.plan.stages.len() {
            let stage = StageId(index as u32);
            match &self.state.stages[index].mode {
                StageMode::Waiting => self.end_stage(stage, StageOutcome::NotStarted),
                StageMode::Forward(at) | StageMode::Asking(at, _) | StageMode::Draining(at, _) => {
                    let at = *at;
                    self.call_off(stage, true);
                    let settled = Settled::Verdict(Verdict::Abort);
                    self.state.stages[index].mode = StageMode::Draining(at, settled);
                    self.state.stages[index].cause.get_or_insert(cause.clone());
                    self.ready.push_back(stage);
                }
                StageMode::RollingBack(_) => {
                    self.call_off(stage, false);
                    self.ready.push_back(stage);
                }
                StageMode::Ended(_) => {}
            }
        }
    }

    /// Ends an aborted run once nothing of it runs any more.
    pub(super) fn finish_abort(&mut self) {
        let over = |stage: &super::StageState| matches!(stage.mode, StageMode::Ended(_));
        if self.is_aborting() && self.state.stages.iter().all(over) {
            self.finish_with(RunOutcome::Aborted);
        }
    }

    fn finish(&mut self) {
        for index in 0..self.plan.stages.len() {
            if self.state.stages[index].mode == StageMode::Waiting {
                self.state.stages[index].cause = Some(Cause::Earlier);
                self.end_stage(StageId(index as u32), StageOutcome::NotStarted);
            }
        }
        let mut outcome = RunOutcome::Succeeded;
        for index in 0..self.plan.stages.len() {
            let stage = match self.state.stage_outcome(StageId(index as u32)) {
                Some(StageOutcome::Succeeded | StageOutcome::Skipped) => continue,
                Some(StageOutcome::RolledBack | StageOutcome::NotStarted) => RunOutcome::RolledBack,
                // `fail` before anything was changed: its branch is old, and its promise kept.
                Some(StageOutcome::Failed)
                    if self.is_promised(StageId(index as u32)) && !self.has_changed(index) =>
                {
                    RunOutcome::RolledBack
                }
                _ => RunOutcome::NeedsPerson,
            };
            outcome = outcome.max(stage);
        }
        let goes_back = self.state.mode == RunMode::RollingBack;
        if goes_back || self.state.items.iter().any(|item| item.failure.is_some()) {
            outcome = outcome.max(RunOutcome::RolledBack);
        }
        self.finish_with(outcome);
    }

    /// Whether something that the stage changed has not been taken back.
    fn has_changed(&self, stage: usize) -> bool {
        let mut steps = self.plan.changing_steps(StageId(stage as u32));
        steps.any(|step| {
            self.state.steps[step.index()].attempts > 0
                && !crate::proof::is_undone(self.plan, self.state, step)
        })
    }

    fn finish_with(&mut self, outcome: RunOutcome) {
        if self.state.is_finished() {
            return;
        }
        self.state.mode = RunMode::Finished(outcome);
        self.release_all_claims();
        let event =
            if outcome == RunOutcome::Succeeded { NotifyEvent::Success } else { NotifyEvent::Failure };
        self.notify(&self.plan.notifies, event, None);
        self.announce(Happening::RunEnded(outcome, self.state.phrase_of(outcome)));
        self.commands.push(Command::Finish(outcome));
    }

    fn ask_for_approval(&mut self, approval: ApprovalId) {
        let data = &self.plan.approvals[approval.index()];
        self.state.approvals[approval.index()] = ApprovalState::Asked;
        let answers = vec![Answer::Approve, Answer::Reject];
        self.put(Question::Approval(approval), data.from.clone(), answers, data.within);
    }

    pub(super) fn drop_approval(&mut self, approval: ApprovalId) {
        let state = &mut self.state.approvals[approval.index()];
        match state {
            ApprovalState::Asked => {
                *state = ApprovalState::Dropped;
                self.unask(Question::Approval(approval));
            }
            ApprovalState::Waiting => *state = ApprovalState::Dropped,
            _ => {}
        }
    }

    pub(super) fn approval_answered(&mut self, approval: ApprovalId, answer: Answer, by: &Person) {
        if self.state.approvals[approval.index()] != ApprovalState::Asked {
            return;
        }
        let question = Question::Approval(approval);
        match answer {
            Answer::Approve => {
                self.announce(Happening::AnsweredBy(question, answer, by.clone()));
                self.unask(question);
                self.state.approvals[approval.index()] = ApprovalState::Approved;
                let data = &self.plan.approvals[approval.index()];
                self.state.items[data.item.index()].branches[data.branch as usize].part += 1;
                self.begin_part(data.item, data.branch);
            }
            Answer::Reject => {
                self.announce(Happening::AnsweredBy(question, answer, by.clone()));
                self.unask(question);
                let failure = Failure::new(Kind::ApprovalRejected, by.rejected());
                self.approval_failed(approval, failure);
            }
            _ => {}
        }
    }

    pub(super) fn approval_unanswered(&mut self, approval: ApprovalId) {
        if self.state.approvals[approval.index()] == ApprovalState::Asked {
            let question = Question::Approval(approval);
            self.announce(Happening::QuestionTimedOut(question));
            self.commands.push(Command::Unask(question));
            self.approval_failed(approval, Failure::new(Kind::Timeout, "nobody answered in time"));
        }
    }

    fn approval_failed(&mut self, approval: ApprovalId, failure: Failure) {
        self.state.approvals[approval.index()] = ApprovalState::Rejected;
        let data = &self.plan.approvals[approval.index()];
        let branch = &self.plan.items[data.item.index()].branches[data.branch as usize];
        let cause = Cause::Rejected(approval, failure);
        let mut agenda = Vec::new();
        if let Some(at) = branch.parts.iter().position(|part| *part == Part::Approval(approval)) {
            self.none_start(&branch.parts[at + 1..], &Cause::Lane, &mut agenda);
        }
        if let Some(commit) = branch.commit {
            agenda.push((self.plan.places[commit.index()].barrier, None, cause.clone()));
        }
        self.mark_failing(data.item, data.branch, cause.failure(self.plan));
        self.break_all(agenda);
        self.unwind_branch(data.item, data.branch, &cause);
    }

    pub(super) fn notify_stage(&mut self, stage: StageId, event: NotifyEvent) {
        self.notify(&self.plan.stages[stage.index()].notifies, event, Some(stage));
    }

    pub(super) fn notify(&mut self, notifies: &[crate::Notify], event: NotifyEvent, stage: Option<StageId>) {
        for notify in notifies.iter().filter(|notify| notify.events.contains(&event)) {
            self.commands.push(Command::Notify { channels: notify.channels.clone(), event, stage });
        }
    }
}

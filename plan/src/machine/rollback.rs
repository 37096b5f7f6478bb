//! Rolling back: what is undone in which order, and the barriers that order rollbacks of several stages.

use super::state::{Settled, Unwinding};
use super::{BarrierState, BranchMode, Machine, PlaceState, StageMode, StepStatus};
use crate::{
    BarrierId, BlockItem, Clock, Command, Decision, Failure, Happening, Kind, NotifyEvent, PlaceId, Plan,
    Position, Question, Reaction, ScopeId, Stage, StageId, StageOutcome, StepId, Timer, Undo, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often, and after how long, a rollback step without rules is tried again when a connection fails.
const DEFAULT_RETRIES: (u32, [u64; 3]) = (5, [10_000, 30_000, 60_000]);
/// The default's name in [`super::StepState::retries`]; no plan has that many scopes.
const DEFAULT_RULE: (ScopeId, u32) = (ScopeId(u32::MAX), 0);

impl Machine<'_> {
    /// Starts to undo a stage, or only one of its phases.
    pub(super) fn begin_rollback(&mut self, stage: StageId, phase: Option<u32>) {
        let mut queue = self.rollback_queue(stage, phase);
        self.state.stages[stage.index()].again = false;
        // What has been undone is not undone again: a rollback that was stopped goes on where it stopped, and that of a whole
        // stage leaves out the phase that has been taken back by itself.
        queue.retain_mut(|item| match item {
            BlockItem::Steps(steps) => {
                steps.retain(|step| !self.state.steps[step.index()].status.is_passed());
                !steps.is_empty()
            }
            BlockItem::Barrier(_) => true,
        });
        self.release_phase_claims(stage, self.undo_claim(stage, queue.first()));
        let ends = if phase.is_some() { StageOutcome::Failed } else { StageOutcome::RolledBack };
        for item in &queue {
            if let BlockItem::Steps(steps) = item {
                for step in steps {
                    // Its attempts go on counting: an attempt's number is never used twice.
                    let state = &mut self.state.steps[step.index()];
                    state.status = StepStatus::Idle;
                    state.retries.clear();
                }
            }
        }
        self.announce(Happening::RollbackStarted(stage));
        self.notify_stage(stage, NotifyEvent::Rollback);
        if !std::mem::replace(&mut self.state.rollback_told, true) {
            self.notify(&self.plan.notifies, NotifyEvent::Rollback, Some(stage));
        }
        let unwinding = Unwinding { queue, at: 0, ends, failed: false };
        self.state.stages[stage.index()].mode = StageMode::RollingBack(unwinding);
        self.ready.push_back(stage);
    }

    /// Whether an attempt of any step of the stage was started.
    pub(super) fn has_executed(&self, stage: StageId) -> bool {
        self.plan.stages[stage.index()]
            .forward_steps()
            .any(|step| self.state.steps[step.index()].attempts > 0)
    }

    /// What undoes the stage as it stands now.
    fn rollback_queue(&self, stage: StageId, only: Option<u32>) -> Vec<BlockItem> {
        rollback_queue(self.plan, stage, only, &|step| self.state.steps[step.index()].attempts > 0)
    }

    pub(super) fn advance_rollback(&mut self, stage: StageId) {
        loop {
            let StageMode::RollingBack(unwinding) = &self.state.stages[stage.index()].mode else { return };
            let (at, ends, failed) = (unwinding.at, unwinding.ends, unwinding.failed);
            let item = unwinding.queue.get(at).cloned();
            if failed || self.is_aborting() {
                let mut steps = self.state.steps_at(self.plan, stage);
                if steps.any(|step| self.state.steps[step.index()].status.is_active()) {
                    return;
                }
                self.rollback_stopped(stage);
                return;
            }
            let claim = self.undo_claim(stage, item.as_ref());
            self.release_phase_claims(stage, claim);
            if let Some(claim) = claim.filter(|claim| !self.holds(Some(*claim))) {
                self.ask_for_claim(claim, true);
                return;
            }
            let passed = match item {
                None => {
                    self.end_stage(stage, ends);
                    self.stage_over(stage);
                    return;
                }
                Some(BlockItem::Steps(steps)) => {
                    if steps.iter().all(|step| self.state.steps[step.index()].status == StepStatus::Idle) {
                        for &step in &steps {
                            self.begin_step(step);
                        }
                    }
                    steps.iter().all(|step| self.state.steps[step.index()].status.is_passed())
                }
                Some(BlockItem::Barrier(place)) => self.meet_rollback_barrier(stage, place),
            };
            let StageMode::RollingBack(unwinding) = &mut self.state.stages[stage.index()].mode else {
                return;
            };
            if !passed {
                if unwinding.failed {
                    continue;
                }
                return;
            }
            unwinding.at += 1;
        }
    }

    fn rollback_stopped(&mut self, stage: StageId) {
        if self.is_aborting() {
            self.end_stage(stage, StageOutcome::Aborted);
        } else {
            self.end_stage(stage, StageOutcome::RollbackFailed);
            self.stage_over(stage);
        }
    }

    /// An attempt of a rollback step failed: its own rules decide, else lost connections are tried again.
    pub(super) fn rollback_step_failed(&mut self, step: StepId, failure: Failure) {
        let data = &self.plan.steps[step.index()];
        if !matches!(self.state.stages[data.stage.index()].mode, StageMode::RollingBack(_))
            || self.is_aborting()
        {
            self.state.steps[step.index()].status = StepStatus::Dropped { succeeded: false };
            self.announce(Happening::StepDropped(step));
            self.ready.push_back(data.stage);
            return;
        }
        let rule = self.rule_for(&data.scopes, &failure).map(|(rule, found)| (rule, found.reaction.clone()));
        match rule {
            Some((rule, reaction)) => self.rollback_reacts(step, failure, &reaction, rule),
            None if matches!(failure.kind, Kind::Connectivity | Kind::Timeout) => {
                let (times, every) = DEFAULT_RETRIES;
                let then = Box::new(Reaction::Fail);
                let reaction = Reaction::Retry { times, every: every.to_vec(), then };
                self.rollback_reacts(step, failure, &reaction, DEFAULT_RULE);
            }
            None => self.rollback_step_failed_for_good(step, failure),
        }
    }

    fn rollback_reacts(&mut self, step: StepId, failure: Failure, reaction: &Reaction, rule: (ScopeId, u32)) {
        let stage = self.plan.steps[step.index()].stage;
        let attempt = self.state.steps[step.index()].attempts;
        let shown = (rule != DEFAULT_RULE).then_some(rule);
        let told = |verdict: Verdict| Happening::StepFailed {
            step,
            attempt,
            failure: failure.clone(),
            decision: Decision { verdict, rule: shown },
        };
        match reaction {
            Reaction::Retry { times, every, then } => match self.next_retry(step, rule, *times, every) {
                Some(wait) => {
                    self.announce(told(Verdict::Retry(wait)));
                    self.back_off(step, wait);
                }
                None => self.rollback_reacts(step, failure, then, rule),
            },
            Reaction::Ask { group, within, then } => {
                self.announce(told(Verdict::Ask));
                self.state.steps[step.index()].status = StepStatus::Asking(then.clone());
                self.put(Question::Step(step), group.clone(), self.answers(step), *within);
            }
            Reaction::Ignore | Reaction::Succeed => {
                let ignored = matches!(reaction, Reaction::Ignore);
                self.announce(told(if ignored { Verdict::Ignore } else { Verdict::Succeed }));
                let status = if ignored { StepStatus::Ignored } else { StepStatus::Asserted };
                self.state.steps[step.index()].status = status;
                self.ready.push_back(stage);
            }
            _ => self.rollback_step_failed_for_good(step, failure),
        }
    }

    /// A person, or the lack of one, decided about a failed rollback step.
    pub(super) fn rollback_decided(
        &mut self,
        step: StepId,
        failure: Failure,
        reaction: &Reaction,
        rule: Option<(ScopeId, u32)>,
    ) {
        match reaction {
            Reaction::Ignore | Reaction::Succeed | Reaction::Retry { .. } => {
                self.rollback_reacts(step, failure, reaction, rule.unwrap_or(DEFAULT_RULE));
            }
            _ => self.rollback_step_failed_for_good(step, failure),
        }
    }

    pub(super) fn rollback_step_failed_for_good(&mut self, step: StepId, failure: Failure) {
        let stage = self.plan.steps[step.index()].stage;
        let attempt = self.state.steps[step.index()].attempts;
        let decision = Decision { verdict: Verdict::Fail, rule: None };
        self.announce(Happening::StepFailed { step, attempt, failure: failure.clone(), decision });
        if self.state.steps[step.index()].status != StepStatus::Lost {
            self.state.steps[step.index()].status = StepStatus::Failed;
        }
        self.announce(Happening::RollbackFailed(stage, step, failure));
        if let StageMode::RollingBack(unwinding) = &mut self.state.stages[stage.index()].mode {
            unwinding.failed = true;
        }
        self.call_off(stage, false);
        self.ready.push_back(stage);
    }

    /// Whether the stage may go on past this rollback barrier at once.
    fn meet_rollback_barrier(&mut self, stage: StageId, place: PlaceId) -> bool {
        match self.state.places[place.index()] {
            PlaceState::Arrived => return false,
            PlaceState::Ahead => {}
            _ => return true,
        }
        let data = &self.plan.places[place.index()];
        // A condition that cannot be decided must not keep the rollback from going on.
        if !self.conditions_hold(Some(stage), &data.when, |_| data.name.clone()).unwrap_or(false) {
            self.state.places[place.index()] = PlaceState::Excused;
            self.announce(Happening::BarrierExcused(place));
            return true;
        }
        self.state.places[place.index()] = PlaceState::Arrived;
        self.announce(Happening::BarrierArrived(place));
        self.state.waiting_rollbacks.insert(place);
        if let Some(after) = data.timeout {
            let timer = Timer::Barrier(place);
            self.commands.push(Command::StartTimer { timer, after, clock: Clock::Runner });
        }
        false
    }

    /// Lets those go on whose peers have all arrived or will not come. Whether there were any.
    pub(super) fn release_rollback_barriers(&mut self) -> bool {
        let waiting = &self.state.waiting_rollbacks;
        let barriers: BTreeSet<BarrierId> =
            waiting.iter().map(|place| self.plan.places[place.index()].barrier).collect();
        let mut released = false;
        for barrier in barriers {
            let places = &self.plan.barriers[barrier.index()].places;
            if places.iter().any(|peer| self.may_still_come(*peer)) {
                continue;
            }
            released = true;
            if self.state.barriers[barrier.index()] != BarrierState::Open {
                self.state.barriers[barrier.index()] = BarrierState::Open;
                self.announce(Happening::BarrierOpened(barrier));
            }
            for place in places
                .iter()
                .filter(|place| self.state.waiting_rollbacks.contains(place))
                .copied()
                .collect::<Vec<_>>()
            {
                self.stop_waiting(place);
                self.leave_rollback_barrier(place);
            }
        }
        released
    }

    fn leave_rollback_barrier(&mut self, place: PlaceId) {
        self.state.places[place.index()] = PlaceState::Crossed;
        self.state.waiting_rollbacks.remove(&place);
        if let Some(stage) = self.plan.places[place.index()].stage {
            self.ready.push_back(stage);
        }
    }

    pub(super) fn give_up_rollback_barrier(&mut self, place: PlaceId) {
        self.announce(Happening::BarrierGivenUp(place));
        self.leave_rollback_barrier(place);
    }

    /// Whether a peer has failed, or is doomed, and its rollback will reach the place.
    fn may_still_come(&self, place: PlaceId) -> bool {
        let data = &self.plan.places[place.index()];
        let Some(stage) = data.stage else { return false };
        if self.state.places[place.index()] != PlaceState::Ahead {
            return false;
        }
        let whole_run = self.state.mode == super::RunMode::RollingBack;
        let reaches =
            |phase: Option<u32>| self.rollback_queue(stage, phase).contains(&BlockItem::Barrier(place));
        match &self.state.stages[stage.index()].mode {
            StageMode::RollingBack(unwinding) if unwinding.ends == StageOutcome::Failed && whole_run => {
                // After its phase all of it is undone.
                reaches(None)
            }
            StageMode::RollingBack(unwinding) => {
                !unwinding.failed
                    && unwinding.queue[unwinding.at.min(unwinding.queue.len())..]
                        .contains(&BlockItem::Barrier(place))
            }
            StageMode::Draining(_, Settled::Verdict(Verdict::Fail | Verdict::Abort)) => false,
            StageMode::Draining(at, Settled::Verdict(Verdict::RollbackPhase)) => {
                let positions = &self.plan.stages[stage.index()].positions;
                positions.get(*at).is_some_and(|position| reaches(Some(position.phase)))
            }
            StageMode::Draining(..) | StageMode::Asking(..) => reaches(None),
            StageMode::Ended(StageOutcome::Succeeded) => {
                let stage = &self.plan.stages[stage.index()];
                let branch = &self.state.items[stage.item.index()].branches[stage.branch as usize];
                let whole = self.plan.items[stage.item.index()].promises() || whole_run;
                whole && branch.mode == BranchMode::Failing && reaches(None)
            }
            StageMode::Ended(_) => self.state.stages[stage.index()].again && reaches(None),
            StageMode::Waiting | StageMode::Forward(_) => false,
        }
    }
}

/// What undoes a stage of which these steps were executed, or one of its phases: executed phases, last first; in them
/// what a block says, or else the executed changing steps, last first. The proof asks it too.
pub(crate) fn rollback_queue(
    plan: &Plan,
    stage: StageId,
    only: Option<u32>,
    executed: &dyn Fn(StepId) -> bool,
) -> Vec<BlockItem> {
    let data = &plan.stages[stage.index()];
    if let (None, Some(block)) = (only, &data.rollback) {
        let any = data.forward_steps().any(executed);
        return if any { wanted(plan, data, block, executed) } else { Vec::new() };
    }
    let mut queue = Vec::new();
    // Positions follow the order of phases, so going backwards meets each phase once.
    let mut at = data.positions.len();
    while at > 0 {
        let phase = data.positions[at - 1].phase;
        let start =
            data.positions[..at].iter().rposition(|position| position.phase != phase).map_or(0, |i| i + 1);
        let steps = data.positions[start..at].iter().flat_map(Position::steps);
        let done: Vec<StepId> = steps.copied().filter(|step| executed(*step)).collect();
        at = start;
        if done.is_empty() || only.is_some_and(|only| only != phase) {
            continue;
        }
        match &data.phases[phase as usize].rollback {
            Some(block) => queue.extend(wanted(plan, data, block, executed)),
            None => queue.extend(done.iter().rev().filter_map(|step| match plan.steps[step.index()].undo {
                Undo::Derived(undo) => Some(BlockItem::Steps(vec![undo])),
                _ => None,
            })),
        }
    }
    queue
}

/// A block without the steps that undo something which was never started.
fn wanted(
    plan: &Plan,
    stage: &Stage,
    block: &[BlockItem],
    executed: &dyn Fn(StepId) -> bool,
) -> Vec<BlockItem> {
    let mut named: BTreeMap<StepId, bool> = BTreeMap::new();
    for step in stage.forward_steps() {
        if let Undo::Block(undo) = plan.steps[step.index()].undo {
            *named.entry(undo).or_default() |= executed(step);
        }
    }
    let unwanted = |undo: &StepId| named.get(undo) == Some(&false);
    block
        .iter()
        .filter_map(|item| match item {
            BlockItem::Steps(steps) => {
                let steps: Vec<StepId> = steps.iter().filter(|step| !unwanted(step)).copied().collect();
                (!steps.is_empty()).then_some(BlockItem::Steps(steps))
            }
            BlockItem::Barrier(place) => Some(BlockItem::Barrier(*place)),
        })
        .collect()
}

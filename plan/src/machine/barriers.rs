//! Barriers: arriving, opening, breaking, and the doom that a broken one spreads.

use super::state::Settled;
use super::{BarrierState, Machine, PlaceState, StageMode};
use crate::{
    BarrierId, BarrierKind, BlockItem, Cause, Clock, Command, Decision, Happening, Part, PlaceId, Position,
    StageId, StageOutcome, Timer, Verdict, Work,
};

impl Machine<'_> {
    /// A stage comes to one of its places. Whether it may go on at once; nothing when that failed it.
    pub(super) fn meet(&mut self, stage: StageId, place: PlaceId, position: &Position) -> Option<bool> {
        let broken =
            self.state.barriers[self.plan.places[place.index()].barrier.index()] == BarrierState::Broken;
        match self.state.places[place.index()] {
            PlaceState::Ahead => {}
            // A person let the stage pass over another broken barrier while it waited here.
            PlaceState::Arrived if broken => return self.meet_broken(stage, place),
            PlaceState::Arrived => return Some(false),
            PlaceState::Crossed | PlaceState::Excused | PlaceState::Passed => return Some(true),
        }
        let data = &self.plan.places[place.index()];
        let holds = match self.position_holds(stage, position) {
            Ok(true) => self.conditions_hold(Some(stage), &data.when, |_| format!("barrier `{}`", data.name)),
            other => other,
        };
        match holds {
            Ok(true) => {}
            Ok(false) => {
                self.excuse(place);
                return Some(true);
            }
            Err(failure) => {
                self.stage_fails_by_default(stage, Cause::Stage(stage, failure));
                return None;
            }
        }
        if broken {
            return self.meet_broken(stage, place);
        }
        self.arrive(place);
        if let Some(after) = data.timeout
            && self.state.places[place.index()] == PlaceState::Arrived
        {
            let timer = Timer::Barrier(place);
            self.commands.push(Command::StartTimer { timer, after, clock: Clock::Runner });
        }
        Some(self.state.places[place.index()] == PlaceState::Crossed)
    }

    /// Only a stage whose rules pass over the broken barrier comes here: every other one was doomed when it broke.
    fn meet_broken(&mut self, stage: StageId, place: PlaceId) -> Option<bool> {
        let (settled, decision) = self.judge_barrier(place);
        if passes(&settled) {
            self.pass(place, decision);
            return Some(true);
        }
        self.fail_at_barrier(stage, self.plan.places[place.index()].barrier, settled, decision);
        None
    }

    pub(super) fn pass(&mut self, place: PlaceId, decision: Decision) {
        self.state.places[place.index()] = PlaceState::Passed;
        self.announce(Happening::BarrierPassed(place, decision));
    }

    pub(super) fn arrive(&mut self, place: PlaceId) {
        self.state.places[place.index()] = PlaceState::Arrived;
        self.announce(Happening::BarrierArrived(place));
        self.one_less(place);
    }

    pub(super) fn excuse(&mut self, place: PlaceId) {
        if self.state.places[place.index()] == PlaceState::Ahead {
            self.state.places[place.index()] = PlaceState::Excused;
            self.announce(Happening::BarrierExcused(place));
            self.one_less(place);
        }
    }

    fn one_less(&mut self, place: PlaceId) {
        let barrier = self.plan.places[place.index()].barrier;
        let BarrierState::Undecided { missing } = &mut self.state.barriers[barrier.index()] else { return };
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.open(barrier);
        }
    }

    fn open(&mut self, barrier: BarrierId) {
        self.state.barriers[barrier.index()] = BarrierState::Open;
        self.announce(Happening::BarrierOpened(barrier));
        let data = &self.plan.barriers[barrier.index()];
        for &place in &data.places {
            if self.state.places[place.index()] != PlaceState::Arrived {
                continue;
            }
            self.state.places[place.index()] = PlaceState::Crossed;
            match (data.kind, self.plan.places[place.index()].stage) {
                (BarrierKind::Commit, _) => {
                    self.branch_committed(data.item, self.plan.places[place.index()].branch);
                }
                (_, Some(stage)) => {
                    if self.plan.places[place.index()].timeout.is_some() {
                        self.commands.push(Command::StopTimer(Timer::Barrier(place)));
                    }
                    self.ready.push_back(stage);
                }
                _ => {}
            }
        }
    }

    /// A participant has waited for as long as its barrier lets it.
    pub(super) fn waited_too_long(&mut self, place: PlaceId) {
        let data = &self.plan.places[place.index()];
        let waits = self.state.places[place.index()] == PlaceState::Arrived && data.timeout.is_some();
        // An abort stopped the clock, which may have run out at that very moment.
        if !waits || self.is_aborting() {
            return;
        }
        let kind = self.plan.barriers[data.barrier.index()].kind;
        let goes_on = |stage: StageId| matches!(self.state.stages[stage.index()].mode, StageMode::Forward(_));
        // So did a person who took back what waited there.
        if kind == BarrierKind::Forward && !data.stage.is_none_or(goes_on) {
            return;
        }
        match kind {
            BarrierKind::Rollback => self.give_up_rollback_barrier(place),
            BarrierKind::Forward | BarrierKind::Commit => {
                self.break_all(vec![(data.barrier, data.stage, Cause::Waited(place))]);
            }
        }
    }

    /// A stage failed for good: every barrier that it has not crossed breaks, and those that this dooms in turn.
    pub(super) fn break_barriers_of(&mut self, stage: StageId, cause: Cause) {
        let mut broken = Vec::new();
        self.uncrossed(stage, &cause, &mut broken);
        self.rest_of_lane(stage, &mut broken);
        self.break_all(broken);
    }

    /// The barriers that break with a stage.
    fn uncrossed(&self, stage: StageId, cause: &Cause, into: &mut Vec<(BarrierId, Option<StageId>, Cause)>) {
        let data = &self.plan.stages[stage.index()];
        let places = data.positions.iter().filter_map(|position| match position.work {
            Work::Barrier(place) => Some(place),
            Work::Steps(_) => None,
        });
        let commit = self.plan.items[data.item.index()].branches[data.branch as usize].commit;
        for place in places.chain(commit) {
            let ahead = matches!(self.state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived);
            if ahead {
                into.push((self.plan.places[place.index()].barrier, Some(stage), cause.clone()));
            }
        }
    }

    /// Breaks barriers, dooms their participants, and breaks the barriers of the doomed, until nothing more follows.
    pub(super) fn break_all(&mut self, mut agenda: Vec<(BarrierId, Option<StageId>, Cause)>) {
        let mut next = 0;
        while let Some((barrier, by, cause)) = agenda.get(next).cloned() {
            if self.is_aborting() {
                // A rule of a doomed stage stopped the run: no further rule runs.
                return;
            }
            next += 1;
            if !matches!(self.state.barriers[barrier.index()], BarrierState::Undecided { .. }) {
                continue;
            }
            self.state.barriers[barrier.index()] = BarrierState::Broken;
            self.announce(Happening::BarrierBroken(barrier, by, cause));
            for &place in &self.plan.barriers[barrier.index()].places {
                if matches!(self.state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived) {
                    self.doom(place, &mut agenda);
                }
            }
        }
    }

    /// The participant at this place can no longer pass its barrier.
    fn doom(&mut self, place: PlaceId, agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>) {
        let data = &self.plan.places[place.index()];
        let barrier = &self.plan.barriers[data.barrier.index()];
        if barrier.kind == BarrierKind::Commit {
            self.doom_branch(barrier.item, data.branch, data.barrier, agenda);
        } else if let Some(stage) = data.stage {
            self.doom_stage(stage, place, agenda);
        }
    }

    /// Also used for the stage that a branch is at when its `commit` breaks.
    pub(super) fn doom_stage(
        &mut self,
        stage: StageId,
        place: PlaceId,
        agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>,
    ) {
        let barrier = self.plan.places[place.index()].barrier;
        match &self.state.stages[stage.index()].mode {
            StageMode::Waiting => {
                self.never_starts(stage, Cause::Barrier(barrier), agenda);
                self.rest_of_lane(stage, agenda);
                self.withdraw(stage);
            }
            StageMode::Forward(_) | StageMode::Asking(..) | StageMode::Draining(_, Settled::Ask(_)) => {
                self.doom_running(stage, place, agenda);
            }
            // It has failed for good already.
            StageMode::Draining(_, Settled::Verdict(_)) | StageMode::RollingBack(_) | StageMode::Ended(_) => {
            }
        }
    }

    fn doom_running(
        &mut self,
        stage: StageId,
        place: PlaceId,
        agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>,
    ) {
        let barrier = self.plan.places[place.index()].barrier;
        let (settled, decision) = self.judge_barrier(place);
        if passes(&settled) {
            if self.state.places[place.index()] == PlaceState::Arrived {
                self.stop_waiting(place);
                self.pass(place, decision);
                self.ready.push_back(stage);
            }
            return;
        }
        let certain = matches!(settled, Settled::Verdict(_));
        let forward = matches!(self.state.stages[stage.index()].mode, StageMode::Forward(_));
        if !certain && !forward {
            // One question at a time: a person is asked about another broken barrier already.
            return;
        }
        self.fail_at_barrier(stage, barrier, settled, decision);
        self.uncrossed(stage, &Cause::Barrier(barrier), agenda);
        if certain {
            self.rest_of_lane(stage, agenda);
        }
    }

    fn fail_at_barrier(&mut self, stage: StageId, barrier: BarrierId, settled: Settled, decision: Decision) {
        let cause = Cause::Barrier(barrier);
        // A running change comes to its end first, whatever the rules say.
        let mut steps = self.state.steps_at(self.plan, stage);
        let changing = steps.any(|step| {
            self.state.steps[step.index()].status.is_active() && !self.plan.steps[step.index()].interruptible
        });
        let aborts = decision.verdict == Verdict::Abort && !changing;
        self.announce(Happening::StageFailing(stage, cause.clone(), decision));
        if aborts {
            self.abort(cause);
        } else {
            self.begin_draining(stage, cause, settled);
        }
    }

    /// A stage that has not started never will, and counts as failed from now on.
    pub(super) fn never_starts(
        &mut self,
        stage: StageId,
        cause: Cause,
        agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>,
    ) {
        if self.state.stages[stage.index()].mode != StageMode::Waiting {
            return;
        }
        self.state.stages[stage.index()].cause = Some(cause.clone());
        self.end_stage(stage, StageOutcome::NotStarted);
        self.uncrossed(stage, &cause, agenda);
    }

    /// What comes later in the lane of a stage that failed never starts.
    pub(super) fn rest_of_lane(
        &mut self,
        stage: StageId,
        agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>,
    ) {
        let data = &self.plan.stages[stage.index()];
        let parts = &self.plan.items[data.item.index()].branches[data.branch as usize].parts;
        if let Some(at) = parts.iter().position(|part| *part == Part::Stage(stage)) {
            self.none_start(&parts[at + 1..], &Cause::Lane, agenda);
        }
    }

    /// None of these parts of a lane ever starts.
    pub(super) fn none_start(
        &mut self,
        parts: &[Part],
        cause: &Cause,
        agenda: &mut Vec<(BarrierId, Option<StageId>, Cause)>,
    ) {
        for part in parts {
            match *part {
                Part::Stage(stage) => self.never_starts(stage, cause.clone(), agenda),
                Part::Approval(approval) => self.drop_approval(approval),
            }
        }
    }

    pub(super) fn stop_waiting(&mut self, place: PlaceId) {
        if self.plan.places[place.index()].timeout.is_some() {
            self.commands.push(Command::StopTimer(Timer::Barrier(place)));
        }
    }

    /// A stage that fails, or is stopped, while it waits at a barrier waits no longer.
    pub(super) fn leave_place(&mut self, stage: StageId) {
        let place = match &self.state.stages[stage.index()].mode {
            StageMode::Forward(at) => match self.plan.stages[stage.index()].positions.get(*at) {
                Some(Position { work: Work::Barrier(place), .. }) => *place,
                _ => return,
            },
            StageMode::RollingBack(unwinding) => match unwinding.queue.get(unwinding.at) {
                Some(BlockItem::Barrier(place)) => *place,
                _ => return,
            },
            _ => return,
        };
        if self.state.places[place.index()] == PlaceState::Arrived {
            self.stop_waiting(place);
            self.state.waiting_rollbacks.remove(&place);
        }
    }
}

/// Whether a stage goes on in spite of the broken barrier.
pub(crate) fn passes(settled: &Settled) -> bool {
    matches!(settled, Settled::Verdict(Verdict::Ignore | Verdict::Succeed))
}

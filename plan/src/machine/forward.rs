//! A stage on its way forward: positions, attempts, and what follows when an attempt ends.

use super::state::{Seen, constant};
use super::{Machine, RunMode, StageMode, StepStatus};
use crate::{
    Answer, Call, Cause, Clock, Command, EvalError, Event, Failure, Happening, Kind, NotifyEvent, Outcome,
    Plan, Question, Role, ServiceId, StageId, StepId, TargetId, Timer, Value, Work,
};

impl Machine<'_> {
    /// Lets a stage go on as far as it can without waiting for anything.
    pub(super) fn advance(&mut self, stage: StageId) {
        match self.state.stages[stage.index()].mode {
            StageMode::Forward(_) => self.advance_forward(stage),
            StageMode::RollingBack(_) => self.advance_rollback(stage),
            StageMode::Draining(..) => self.drained(stage),
            _ => {}
        }
    }

    fn advance_forward(&mut self, stage: StageId) {
        let plan = self.plan;
        let phases = &plan.stages[stage.index()].phases;
        while let StageMode::Forward(at) = self.state.stages[stage.index()].mode {
            let Some(position) = plan.stages[stage.index()].positions.get(at) else {
                self.stage_done(stage);
                return;
            };
            let phase = &mut self.state.stages[stage.index()].phase;
            if phase.replace(position.phase) != Some(position.phase) {
                self.release_phase_claims(stage, None);
                self.announce(Happening::PhaseStarted(stage, position.phase));
            }
            let passed = match &position.work {
                Work::Steps(steps) => {
                    if steps.iter().all(|step| self.state.steps[step.index()].status == StepStatus::Idle) {
                        match self.position_holds(stage, position) {
                            Ok(true) if !self.holds(phases[position.phase as usize].claim) => {
                                if let Some(claim) = phases[position.phase as usize].claim {
                                    self.ask_for_claim(claim, true);
                                }
                                return;
                            }
                            Ok(holds) => self.begin_steps(steps, holds),
                            Err(failure) => {
                                self.stage_fails_by_default(stage, Cause::Stage(stage, failure));
                                return;
                            }
                        }
                    }
                    self.all_seen(stage, at, false, steps, StepStatus::is_passed)
                }
                Work::Barrier(place) => match self.meet(stage, *place, position) {
                    Some(passed) => passed,
                    None => return,
                },
            };
            // Starting a step may have failed the stage.
            if !matches!(self.state.stages[stage.index()].mode, StageMode::Forward(now) if now == at) {
                return;
            }
            if !passed {
                return;
            }
            self.state.stages[stage.index()].mode = StageMode::Forward(at + 1);
        }
    }

    /// Whether every step of the position where the stage is has come to that for good. Each is looked at once, not after
    /// every event: there may be thousands.
    pub(super) fn all_seen(
        &mut self,
        stage: StageId,
        at: usize,
        draining: bool,
        steps: &[StepId],
        holds: impl Fn(&StepStatus) -> bool,
    ) -> bool {
        let seen = &mut self.state.stages[stage.index()].seen;
        if (seen.at, seen.draining) != (at, draining) {
            *seen = Seen { at, draining, steps: 0 };
        }
        while let Some(step) = steps.get(seen.steps) {
            if !holds(&self.state.steps[step.index()].status) {
                return false;
            }
            seen.steps += 1;
        }
        true
    }

    fn begin_steps(&mut self, steps: &[StepId], holds: bool) {
        for &step in steps {
            if !holds {
                self.skip_step(step);
            } else {
                self.begin_step(step);
            }
        }
    }

    pub(super) fn skip_step(&mut self, step: StepId) {
        self.state.steps[step.index()].status = StepStatus::Skipped;
        self.announce(Happening::StepSkipped(step));
    }

    /// Decides a step's own condition and starts its first attempt.
    pub(super) fn begin_step(&mut self, step: StepId) {
        let stage = self.plan.steps[step.index()].stage;
        // A sibling that was started just before may have failed the stage, or its rollback, already.
        match &self.state.stages[stage.index()].mode {
            StageMode::Forward(_) => {}
            StageMode::RollingBack(unwinding) if !unwinding.failed => {}
            _ => return,
        }
        self.begin_again(step);
    }

    /// Starts another attempt. What failed because its condition could not be decided never runs without: that is tried again.
    pub(super) fn begin_again(&mut self, step: StepId) {
        let data = &self.plan.steps[step.index()];
        let decided = match self.state.steps[step.index()].attempts {
            0 => self.conditions_hold(Some(data.stage), &data.when, |_| format!("step `{}`", data.name)),
            _ => Ok(true),
        };
        match decided {
            Ok(true) => self.begin_attempt(step),
            Ok(false) => self.skip_step(step),
            Err(failure) => self.step_failed(step, failure),
        }
    }

    /// Starts the next attempt, or what has to be known before.
    pub(super) fn begin_attempt(&mut self, step: StepId) {
        let data = &self.plan.steps[step.index()];
        if is_approval(data) {
            self.ask_for_step(step);
            return;
        }
        if let (Role::Forward, true, Some(target)) = (data.role, data.changes, data.action.target) {
            let key = (data.stage, target, data.action.service);
            if !self.state.records.contains_key(&key) {
                self.ask_for_record(step, target, data.action.service);
                return;
            }
        }
        let call = match self.call(step) {
            Ok(call) => call,
            Err(error) => {
                let message = format!("an argument could not be evaluated: {error}");
                self.step_failed(step, Failure::new(Kind::Application, message));
                return;
            }
        };
        let after = time_limit(data, &call);
        let state = &mut self.state.steps[step.index()];
        state.attempts += 1;
        state.status = StepStatus::Running;
        let attempt = state.attempts;
        self.announce(Happening::StepStarted(step, attempt));
        self.commands.push(Command::StartStep { step, attempt, call: Box::new(call) });
        self.commands.push(Command::StartTimer {
            timer: Timer::Step(step, attempt),
            after,
            clock: Clock::Wall,
        });
    }

    fn ask_for_record(&mut self, step: StepId, target: TargetId, service: Option<ServiceId>) {
        let data = &self.plan.steps[step.index()];
        // Parallel steps on one target wait for one answer; so does a step that was called off and taken up again.
        let key = (data.stage, target, service);
        if !self.state.recording.contains(&key) {
            match self.call(step) {
                Ok(call) => {
                    let call = Box::new(call);
                    self.state.recording.insert(key);
                    self.commands.push(Command::Record { stage: data.stage, target, service, call });
                }
                Err(error) => {
                    let message = format!("an argument could not be evaluated: {error}");
                    self.step_failed(step, Failure::new(Kind::Application, message));
                    return;
                }
            }
        }
        self.state.steps[step.index()].status = StepStatus::Recording;
    }

    pub(super) fn recorded(
        &mut self,
        stage: StageId,
        target: TargetId,
        service: Option<ServiceId>,
        record: Result<Value, Failure>,
    ) {
        if !self.state.recording.remove(&(stage, target, service)) {
            return;
        }
        let waiting: Vec<StepId> = self
            .state
            .steps_at(self.plan, stage)
            .filter(|step| {
                let action = &self.plan.steps[step.index()].action;
                self.state.steps[step.index()].status == StepStatus::Recording
                    && action.target == Some(target)
                    && action.service == service
            })
            .collect();
        match record {
            Ok(record) => {
                // Once, never again: what undo returns to must not move with what this stage does.
                self.state.records.insert((stage, target, service), record);
                for step in waiting {
                    if self.state.steps[step.index()].status == StepStatus::Recording {
                        self.begin_attempt(step);
                    }
                }
            }
            Err(failure) => {
                for step in waiting {
                    if self.state.steps[step.index()].status == StepStatus::Recording {
                        self.step_failed(step, failure.clone());
                    }
                }
            }
        }
        self.ready.push_back(stage);
    }

    /// Everything a driver is told, with what is known now.
    fn call(&self, step: StepId) -> Result<Call, EvalError> {
        self.state.call(self.plan, step)
    }

    pub(super) fn step_timed_out(&mut self, step: StepId, attempt: u32) {
        let Some(state) = self.state.steps.get_mut(step.index()) else { return };
        if state.attempts != attempt {
            return;
        }
        match state.status {
            StepStatus::Running => {
                state.status = StepStatus::TimingOut;
                self.commands.push(Command::CancelStep { step, attempt });
            }
            // Its end is wanted already; time being up makes it more urgent.
            StepStatus::Dropping => self.commands.push(Command::CancelStep { step, attempt }),
            _ => {}
        }
    }

    pub(super) fn step_ended(&mut self, step: StepId, outcome: Outcome) {
        let stage = self.plan.steps[step.index()].stage;
        let state = &mut self.state.steps[step.index()];
        let was = std::mem::take(&mut state.status);
        let attempt = state.attempts;
        self.commands.push(Command::StopTimer(Timer::Step(step, attempt)));
        let state = &mut self.state.steps[step.index()];
        if let Outcome::Lost { message } = outcome {
            state.status = StepStatus::Lost;
            state.failure = Some(Box::new(Failure::new(Kind::Application, message)));
            self.step_lost(step);
            return;
        }
        // An undo whose end nobody waits for any more is done all the same: who goes on with the rollback does not do it again.
        let undone = self.plan.steps[step.index()].role != Role::Forward
            && matches!(outcome, Outcome::Succeeded { .. });
        if was == StepStatus::Dropping && !undone {
            match outcome {
                Outcome::Succeeded { outputs } => {
                    state.status = StepStatus::Dropped { succeeded: true };
                    state.outputs = crate::fields(outputs);
                }
                Outcome::Failed(failure) => {
                    state.status = StepStatus::Dropped { succeeded: false };
                    state.failure = Some(Box::new(failure));
                }
                Outcome::Lost { .. } => {}
            }
            self.announce(Happening::StepDropped(step));
            self.ready.push_back(stage);
            return;
        }
        let outcome = if was == StepStatus::TimingOut {
            let message = format!("it took longer than its timeout of {}", self.timeout_text(step));
            // On how many hosts it had not been done by then is still worth a rule.
            let hosts = if let Outcome::Failed(failure) = outcome { failure.hosts } else { None };
            Outcome::Failed(Failure { hosts, ..Failure::new(Kind::Timeout, message) })
        } else {
            outcome
        };
        match outcome {
            Outcome::Succeeded { outputs } => {
                let state = &mut self.state.steps[step.index()];
                state.status = StepStatus::Succeeded;
                state.outputs = crate::fields(outputs);
                self.announce(Happening::StepSucceeded(step));
                self.ready.push_back(stage);
            }
            Outcome::Failed(failure) => self.step_failed(step, failure),
            Outcome::Lost { .. } => {}
        }
    }

    fn timeout_text(&self, step: StepId) -> String {
        crate::format_duration(self.plan.steps[step.index()].timeout)
    }

    pub(super) fn backoff_over(&mut self, step: StepId, attempt: u32) {
        let Some(state) = self.state.steps.get(step.index()) else { return };
        if state.status == StepStatus::BackingOff && state.attempts + 1 == attempt {
            self.begin_again(step);
            self.ready.push_back(self.plan.steps[step.index()].stage);
        }
    }

    fn ask_for_step(&mut self, step: StepId) {
        let data = &self.plan.steps[step.index()];
        let group =
            constant(&data.action.arguments, "from").map(|value| value.to_string()).unwrap_or_default();
        let within = match constant(&data.action.arguments, "within") {
            Some(Value::Duration(within)) => within,
            _ => data.timeout,
        };
        let question = Question::Step(step);
        let state = &mut self.state.steps[step.index()];
        state.attempts += 1;
        state.status = StepStatus::AwaitingApproval;
        let attempt = state.attempts;
        self.announce(Happening::StepStarted(step, attempt));
        self.put(question, group, vec![Answer::Approve, Answer::Reject], within);
    }

    /// Puts a question to people, with the time after which nobody is waited for any more.
    pub(super) fn put(&mut self, question: Question, group: String, answers: Vec<Answer>, within: u64) {
        let stage = match question {
            Question::Step(step) => Some(self.plan.steps[step.index()].stage),
            Question::Place(place) => self.plan.places[place.index()].stage,
            Question::Approval(_) => None,
        };
        self.announce(Happening::Asked(question, group.clone()));
        self.commands.push(Command::Ask { question, group, answers });
        let timer = Timer::Question(question);
        self.commands.push(Command::StartTimer { timer, after: within, clock: Clock::Wall });
        if let Some(stage) = stage {
            self.notify_stage(stage, NotifyEvent::Waiting);
        }
        self.notify(&self.plan.notifies, NotifyEvent::Waiting, stage);
    }

    /// Takes a question back.
    pub(super) fn unask(&mut self, question: Question) {
        self.commands.push(Command::Unask(question));
        self.commands.push(Command::StopTimer(Timer::Question(question)));
    }

    pub(super) fn approval_step_ended(&mut self, step: StepId, failure: Option<Failure>) {
        let stage = self.plan.steps[step.index()].stage;
        match failure {
            None => {
                self.state.steps[step.index()].status = StepStatus::Succeeded;
                self.announce(Happening::StepSucceeded(step));
                self.ready.push_back(stage);
            }
            Some(failure) => self.step_failed(step, failure),
        }
    }

    /// Whether an event of the plan's elements names only elements that the plan has.
    pub(super) fn knows(&self, event: &Event) -> bool {
        let plan = self.plan;
        let question = |question: &Question| match question {
            Question::Step(step) => step.index() < plan.steps.len(),
            Question::Place(place) => place.index() < plan.places.len(),
            Question::Approval(approval) => approval.index() < plan.approvals.len(),
        };
        match event {
            Event::Recorded { stage, .. } => stage.index() < plan.stages.len(),
            Event::StepEnded { step, .. } => step.index() < plan.steps.len(),
            Event::TimerFired(Timer::Step(step, _) | Timer::Backoff(step, _)) => {
                step.index() < plan.steps.len()
            }
            Event::TimerFired(Timer::Barrier(place)) => place.index() < plan.places.len(),
            Event::TimerFired(Timer::Question(asked)) => question(asked),
            Event::Answered { question: asked, .. } => question(asked),
            Event::ClaimsGranted { claim, .. } | Event::ClaimsRefused { claim, .. } => {
                claim.index() < plan.claims.len()
            }
            Event::Started { .. } | Event::AbortRequested { .. } | Event::RollbackRequested { .. } => true,
        }
    }

    pub(super) fn is_aborting(&self) -> bool {
        self.state.mode == RunMode::Aborting
    }
}

/// A step that a person ends, not a driver.
pub(crate) fn is_approval(step: &crate::Step) -> bool {
    step.action.provider == "approval"
}

impl super::State {
    /// Everything a driver is told, with what is known now.
    pub(super) fn call(&self, plan: &Plan, step: StepId) -> Result<Call, EvalError> {
        let data = &plan.steps[step.index()];
        let facts = self.facts(plan, Some(data.stage));
        let record = match (data.role, data.action.target) {
            (Role::Undo(_) | Role::Block, Some(target)) => {
                self.records.get(&(data.stage, target, data.action.service)).cloned()
            }
            _ => None,
        };
        Ok(Call { record, ..Call::of(plan, &data.action, &facts)? })
    }

    /// The steps of the position where the stage is, forward or in its rollback.
    pub(super) fn steps_at<'a>(
        &self,
        plan: &'a crate::Plan,
        stage: StageId,
    ) -> impl Iterator<Item = StepId> + use<'a> {
        let steps: Vec<StepId> = match &self.stages[stage.index()].mode {
            StageMode::Forward(at) | StageMode::Draining(at, _) | StageMode::Asking(at, _) => {
                match plan.stages[stage.index()].positions.get(*at).map(|position| &position.work) {
                    Some(Work::Steps(steps)) => steps.clone(),
                    _ => Vec::new(),
                }
            }
            StageMode::RollingBack(unwinding) => match unwinding.queue.get(unwinding.at) {
                Some(crate::BlockItem::Steps(steps)) => steps.clone(),
                _ => Vec::new(),
            },
            StageMode::Waiting | StageMode::Ended(_) => Vec::new(),
        };
        steps.into_iter()
    }
}

/// How long an attempt may take. A `wait` of which only the run knows how long it is may take that and a minute.
fn time_limit(step: &crate::Step, call: &Call) -> u64 {
    let open = |expr: &crate::Expr| !matches!(expr, crate::Expr::Value(_));
    match (call.provider.as_str(), call.arguments.get("duration")) {
        ("wait", Some(Value::Duration(wait))) if step.action.arguments.get("duration").is_some_and(open) => {
            step.timeout.max(wait.saturating_add(60_000))
        }
        _ => step.timeout,
    }
}

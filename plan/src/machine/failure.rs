//! Failures: which rule matches, and what it leads to.

use super::state::{BarrierAsk, Seen, Settled};
use super::{Machine, StageMode, StepStatus};
use crate::{
    Answer, Cause, Clock, Command, Decision, Failure, Happening, Kind, Person, PlaceId, Plan, Question,
    Reaction, Role, Rule, ScopeId, StageId, StageOutcome, StepId, Timer, Verdict, Work,
};

/// Which rule: its scope, and its place in it.
type RuleId = (ScopeId, u32);

impl Machine<'_> {
    /// The innermost scope's first rule that matches.
    pub(super) fn rule_for(&self, scopes: &[ScopeId], failure: &Failure) -> Option<(RuleId, &Rule)> {
        rule_for(self.plan, scopes, failure)
    }

    /// An attempt failed, or could not be started.
    pub(super) fn step_failed(&mut self, step: StepId, failure: Failure) {
        let data = &self.plan.steps[step.index()];
        self.state.steps[step.index()].failure = Some(Box::new(failure.clone()));
        if data.role != Role::Forward {
            self.rollback_step_failed(step, failure);
            return;
        }
        if !matches!(self.state.stages[data.stage.index()].mode, StageMode::Forward(_)) {
            self.state.steps[step.index()].status = StepStatus::Dropped { succeeded: false };
            self.announce(Happening::StepDropped(step));
            self.ready.push_back(data.stage);
            return;
        }
        match self.rule_for(&data.scopes, &failure) {
            Some((rule, found)) => {
                let reaction = found.reaction.clone();
                self.react(step, failure, &reaction, Some(rule));
            }
            None => self.react(step, failure, &Reaction::Rollback, None),
        }
    }

    /// Carries out what a rule says about a failed step.
    fn react(&mut self, step: StepId, failure: Failure, reaction: &Reaction, rule: Option<RuleId>) {
        let stage = self.plan.steps[step.index()].stage;
        let state = &mut self.state.steps[step.index()];
        let attempt = state.attempts;
        let report = |machine: &mut Self, verdict: Verdict| {
            machine.announce(Happening::StepFailed {
                step,
                attempt,
                failure: failure.clone(),
                decision: Decision { verdict, rule },
            });
        };
        match reaction {
            Reaction::Retry { times, every, then } => {
                let Some(rule) = rule else { return };
                match self.next_retry(step, rule, *times, every) {
                    Some(wait) => {
                        report(self, Verdict::Retry(wait));
                        self.back_off(step, wait);
                    }
                    None => self.react(step, failure, then, Some(rule)),
                }
            }
            Reaction::Ask { group, within, then } => {
                report(self, Verdict::Ask);
                self.state.steps[step.index()].status = StepStatus::Asking(then.clone());
                self.put(Question::Step(step), group.clone(), self.answers(step), *within);
            }
            Reaction::Ignore => {
                report(self, Verdict::Ignore);
                self.state.steps[step.index()].status = StepStatus::Ignored;
                self.ready.push_back(stage);
            }
            Reaction::Succeed => {
                report(self, Verdict::Succeed);
                self.state.steps[step.index()].status = StepStatus::Asserted;
                self.ready.push_back(stage);
            }
            Reaction::Fail
            | Reaction::Abort
            | Reaction::Rollback
            | Reaction::RollbackPhase
            | Reaction::RollbackPipeline => {
                let verdict = final_verdict(reaction);
                report(self, verdict);
                self.state.steps[step.index()].status = StepStatus::Failed;
                self.stage_fails(stage, Cause::Step(step, failure), Decision { verdict, rule });
            }
        }
    }

    /// How long to wait before the next attempt, or nothing when the rule's attempts are used up. Counts it.
    pub(super) fn next_retry(
        &mut self,
        step: StepId,
        rule: RuleId,
        times: u32,
        every: &[u64],
    ) -> Option<u64> {
        let retries = &mut self.state.steps[step.index()].retries;
        let at = match retries.iter().position(|(known, _)| *known == rule) {
            Some(at) => at,
            None => {
                retries.push((rule, 0));
                retries.len() - 1
            }
        };
        let count = retries[at].1;
        if count >= times {
            return None;
        }
        retries[at].1 += 1;
        let last = every.len().saturating_sub(1);
        Some(every.get((count as usize).min(last)).copied().unwrap_or(0))
    }

    pub(super) fn back_off(&mut self, step: StepId, wait: u64) {
        let state = &mut self.state.steps[step.index()];
        state.status = StepStatus::BackingOff;
        let timer = Timer::Backoff(step, state.attempts + 1);
        self.commands.push(Command::StartTimer { timer, after: wait, clock: Clock::Runner });
    }

    /// The answers that a question about a failed step allows.
    pub(super) fn answers(&self, step: StepId) -> Vec<Answer> {
        answers(self.plan, step)
    }

    pub(super) fn step_answered(&mut self, step: StepId, answer: Answer, by: &Person) {
        let question = Question::Step(step);
        match self.state.steps[step.index()].status.clone() {
            StepStatus::AwaitingApproval => {
                let failure = match answer {
                    Answer::Approve => None,
                    Answer::Reject => Some(Failure::new(Kind::ApprovalRejected, by.rejected())),
                    _ => return,
                };
                self.announce(Happening::AnsweredBy(question, answer, by.clone()));
                self.unask(question);
                self.approval_step_ended(step, failure);
            }
            StepStatus::Asking(_) => {
                let reaction = match answer {
                    Answer::Retry => None,
                    Answer::Ignore => Some(Reaction::Ignore),
                    Answer::Succeed => Some(Reaction::Succeed),
                    Answer::Rollback => Some(Reaction::Rollback),
                    Answer::Abort => Some(Reaction::Abort),
                    Answer::Approve | Answer::Reject => return,
                };
                if !self.answers(step).contains(&answer) {
                    return;
                }
                self.announce(Happening::AnsweredBy(question, answer, by.clone()));
                self.unask(question);
                match reaction {
                    None => {
                        self.begin_again(step);
                        self.ready.push_back(self.plan.steps[step.index()].stage);
                    }
                    Some(reaction) => self.decided(step, &reaction),
                }
            }
            _ => {}
        }
    }

    pub(super) fn step_unanswered(&mut self, step: StepId) {
        let question = Question::Step(step);
        match self.state.steps[step.index()].status.clone() {
            StepStatus::AwaitingApproval => {
                self.announce(Happening::QuestionTimedOut(question));
                self.commands.push(Command::Unask(question));
                let failure = Failure::new(Kind::Timeout, "nobody answered in time");
                self.approval_step_ended(step, Some(failure));
            }
            StepStatus::Asking(then) => {
                self.announce(Happening::QuestionTimedOut(question));
                self.commands.push(Command::Unask(question));
                self.decided(step, &then);
            }
            _ => {}
        }
    }

    /// A person, or the lack of one, decided about a failed step.
    fn decided(&mut self, step: StepId, reaction: &Reaction) {
        let failure = self.state.steps[step.index()].failure.as_deref().cloned();
        let failure = failure.unwrap_or_else(|| Failure::new(Kind::Application, "it failed"));
        let rule = self.rule_for(&self.plan.steps[step.index()].scopes, &failure).map(|(rule, _)| rule);
        if self.plan.steps[step.index()].role != Role::Forward {
            self.rollback_decided(step, failure, reaction, rule);
            return;
        }
        self.react(step, failure, reaction, rule);
    }

    /// What the rules in force at a place make of its barrier being broken.
    pub(super) fn judge_barrier(&self, place: PlaceId) -> (Settled, Decision) {
        judge_barrier(self.plan, place)
    }

    pub(super) fn place_answered(&mut self, place: PlaceId, answer: Answer, by: &Person) {
        let Some((stage, ask)) = self.asking(place) else { return };
        let reaction = match answer {
            Answer::Ignore if ask.named => Reaction::Ignore,
            Answer::Succeed if ask.named => Reaction::Succeed,
            Answer::Rollback => Reaction::Rollback,
            Answer::Abort if !self.is_promised(stage) => Reaction::Abort,
            _ => return,
        };
        self.announce(Happening::AnsweredBy(Question::Place(place), answer, by.clone()));
        self.unask(Question::Place(place));
        self.barrier_decided(stage, &ask, &reaction);
    }

    pub(super) fn place_unanswered(&mut self, place: PlaceId) {
        let Some((stage, ask)) = self.asking(place) else { return };
        self.announce(Happening::QuestionTimedOut(Question::Place(place)));
        self.commands.push(Command::Unask(Question::Place(place)));
        let mut reaction = &ask.then;
        while let Reaction::Retry { then, .. } | Reaction::Ask { then, .. } = reaction {
            reaction = then;
        }
        let reaction = match reaction {
            Reaction::Ignore | Reaction::Succeed if !ask.named => Reaction::Rollback,
            other => other.clone(),
        };
        self.barrier_decided(stage, &ask, &reaction);
    }

    fn asking(&self, place: PlaceId) -> Option<(StageId, Box<BarrierAsk>)> {
        let stage = self.plan.places[place.index()].stage?;
        match &self.state.stages[stage.index()].mode {
            StageMode::Asking(_, ask) if ask.place == place => Some((stage, ask.clone())),
            _ => None,
        }
    }

    fn barrier_decided(&mut self, stage: StageId, ask: &BarrierAsk, reaction: &Reaction) {
        let StageMode::Asking(at, _) = self.state.stages[stage.index()].mode else { return };
        let verdict = final_verdict(reaction);
        match verdict {
            Verdict::Ignore | Verdict::Succeed => {
                self.pass(ask.place, Decision { verdict, rule: None });
                self.resume_forward(stage, at);
            }
            Verdict::Abort => self.abort(Cause::Barrier(self.plan.places[ask.place.index()].barrier)),
            _ => {
                self.state.stages[stage.index()].mode = StageMode::Draining(at, Settled::Verdict(verdict));
                self.branch_fails(stage);
                self.break_barriers_of(stage, Cause::Barrier(self.plan.places[ask.place.index()].barrier));
                self.ready.push_back(stage);
            }
        }
    }

    /// A doomed stage may go on after all: what it had been stopped in the middle of is taken up again.
    fn resume_forward(&mut self, stage: StageId, at: usize) {
        self.state.stages[stage.index()].mode = StageMode::Forward(at);
        self.state.stages[stage.index()].seen = Seen::default();
        self.state.stages[stage.index()].cause = None;
        let steps: Vec<StepId> = self.state.steps_at(self.plan, stage).collect();
        let untouched = steps.iter().all(|step| self.state.steps[step.index()].status == StepStatus::Idle);
        for step in steps {
            match self.state.steps[step.index()].status {
                StepStatus::Idle if !untouched => self.begin_step(step),
                // It only looked or waited, and was cut short.
                StepStatus::Dropped { succeeded: false } if self.plan.steps[step.index()].interruptible => {
                    self.begin_again(step);
                }
                StepStatus::Dropped { succeeded: true } => {
                    self.state.steps[step.index()].status = StepStatus::Succeeded;
                }
                StepStatus::Dropped { succeeded: false } => {
                    let failure = self.state.steps[step.index()].failure.as_deref().cloned();
                    let failure =
                        failure.unwrap_or_else(|| Failure::new(Kind::Application, "it was called off"));
                    self.step_failed(step, failure);
                }
                _ => {}
            }
        }
        self.ready.push_back(stage);
    }

    /// A stage fails where no rule applies.
    pub(super) fn stage_fails_by_default(&mut self, stage: StageId, cause: Cause) {
        self.stage_fails(stage, cause, Decision { verdict: Verdict::Rollback, rule: None });
    }

    /// A stage fails for good: at this very moment its barriers break, whatever it still has to finish or undo.
    pub(super) fn stage_fails(&mut self, stage: StageId, cause: Cause, decision: Decision) {
        let verdict = decision.verdict;
        self.announce(Happening::StageFailing(stage, cause.clone(), decision));
        if verdict == Verdict::Abort {
            self.state.stages[stage.index()].cause = Some(cause.clone());
            self.abort(cause);
            return;
        }
        self.begin_draining(stage, cause.clone(), Settled::Verdict(verdict));
        self.break_barriers_of(stage, cause);
    }

    /// No step and no attempt starts in the stage any more; `settled` follows when the running ones have ended.
    pub(super) fn begin_draining(&mut self, stage: StageId, cause: Cause, settled: Settled) {
        let state = &mut self.state.stages[stage.index()];
        let at = match &state.mode {
            StageMode::Forward(at) | StageMode::Draining(at, _) | StageMode::Asking(at, _) => *at,
            _ => return,
        };
        if state.cause.is_none() {
            state.cause = Some(cause);
        }
        self.call_off(stage, false);
        let certain = matches!(settled, Settled::Verdict(_));
        self.state.stages[stage.index()].mode = StageMode::Draining(at, settled);
        if certain {
            self.branch_fails(stage);
        }
        self.ready.push_back(stage);
    }

    /// Calls off whatever waits in the stage, and lets what runs come to its end (or stops it, where that does no harm or
    /// `all` says so).
    pub(super) fn call_off(&mut self, stage: StageId, all: bool) {
        if let StageMode::Asking(_, ask) = &self.state.stages[stage.index()].mode {
            let question = Question::Place(ask.place);
            self.unask(question);
        }
        self.leave_place(stage);
        self.unask_phase_claims(stage);
        for step in self.state.steps_at(self.plan, stage) {
            let attempt = self.state.steps[step.index()].attempts;
            let status = &mut self.state.steps[step.index()].status;
            match status {
                StepStatus::Running => {
                    *status = StepStatus::Dropping;
                    if all || self.plan.steps[step.index()].interruptible {
                        self.commands.push(Command::CancelStep { step, attempt });
                    }
                }
                StepStatus::TimingOut => *status = StepStatus::Dropping,
                StepStatus::Dropping if all => self.commands.push(Command::CancelStep { step, attempt }),
                StepStatus::BackingOff => {
                    *status = StepStatus::Idle;
                    self.commands.push(Command::StopTimer(Timer::Backoff(step, attempt + 1)));
                }
                StepStatus::Asking(_) => {
                    *status = StepStatus::Dropped { succeeded: false };
                    self.unask(Question::Step(step));
                }
                StepStatus::AwaitingApproval => {
                    *status = StepStatus::Idle;
                    self.unask(Question::Step(step));
                }
                StepStatus::Recording => *status = StepStatus::Idle,
                _ => {}
            }
        }
    }

    /// Goes on with what a failed stage has to do, once nothing of it runs any more.
    pub(super) fn drained(&mut self, stage: StageId) {
        let StageMode::Draining(at, settled) = &self.state.stages[stage.index()].mode else { return };
        let (at, settled) = (*at, settled.clone());
        let plan = self.plan;
        if let Some(Work::Steps(steps)) =
            plan.stages[stage.index()].positions.get(at).map(|position| &position.work)
            && !self.all_seen(stage, at, true, steps, |status| !status.is_active())
        {
            return;
        }
        if matches!(settled, Settled::Verdict(_)) {
            // A rollback needs no slot.
            let data = &plan.stages[stage.index()];
            self.release_slot(data.item, data.branch);
        }
        if self.is_aborting() {
            self.end_stage(stage, StageOutcome::Aborted);
            return;
        }
        let lost = self
            .state
            .steps_at(self.plan, stage)
            .any(|step| self.state.steps[step.index()].status == StepStatus::Lost);
        if lost {
            // Something may still be changing the target: nobody may undo that blindly.
            self.end_stage(stage, StageOutcome::RollbackFailed);
            self.stage_over(stage);
            return;
        }
        match settled {
            Settled::Ask(ask) => {
                let mut answers = vec![Answer::Rollback];
                if ask.named {
                    answers.extend([Answer::Ignore, Answer::Succeed]);
                }
                answers.push(Answer::Abort);
                let (question, group, within) = (Question::Place(ask.place), ask.group.clone(), ask.within);
                self.state.stages[stage.index()].mode = StageMode::Asking(at, ask);
                self.put(question, group, answers, within);
            }
            Settled::Verdict(Verdict::Fail) => {
                self.end_stage(stage, StageOutcome::Failed);
                self.stage_over(stage);
            }
            // By a rule for a broken barrier, which had to wait for a running change.
            Settled::Verdict(Verdict::Abort) => {
                let cause = self.state.stages[stage.index()].cause.clone();
                self.abort(cause.unwrap_or(Cause::Lane));
            }
            Settled::Verdict(Verdict::RollbackPhase) => {
                let phase = self.phase_at(stage, at);
                self.begin_rollback(stage, phase);
            }
            Settled::Verdict(_) => self.begin_rollback(stage, None),
        }
    }

    fn phase_at(&self, stage: StageId, at: usize) -> Option<u32> {
        self.plan.stages[stage.index()].positions.get(at).map(|position| position.phase)
    }

    /// An attempt may still be at work, and nobody can tell.
    pub(super) fn step_lost(&mut self, step: StepId) {
        let data = &self.plan.steps[step.index()];
        let failure = self.state.steps[step.index()].failure.as_deref().cloned();
        let failure = failure.unwrap_or_else(|| Failure::new(Kind::Application, "nobody knows how it ended"));
        if data.role != Role::Forward {
            self.rollback_step_failed_for_good(step, failure);
            return;
        }
        let decision = Decision { verdict: Verdict::Fail, rule: None };
        let attempt = self.state.steps[step.index()].attempts;
        self.announce(Happening::StepFailed {
            step,
            attempt,
            failure: failure.clone(),
            decision: decision.clone(),
        });
        // Also where a person was to decide first: nobody may let the stage go on now.
        let mode = &self.state.stages[data.stage.index()].mode;
        if matches!(mode, StageMode::Forward(_) | StageMode::Draining(_, Settled::Ask(_))) {
            self.stage_fails(data.stage, Cause::Step(step, failure), decision);
        }
        self.ready.push_back(data.stage);
    }

    /// Whether the stage belongs to an `all_or_nothing` group.
    pub(super) fn is_promised(&self, stage: StageId) -> bool {
        is_promised(self.plan, stage)
    }
}

// What the rules mean does not depend on a run: the proof asks the same functions as the machine.

/// The innermost scope's first rule that matches.
pub(crate) fn rule_for<'a>(
    plan: &'a Plan,
    scopes: &[ScopeId],
    failure: &Failure,
) -> Option<(RuleId, &'a Rule)> {
    scopes.iter().find_map(|&scope| {
        let rules = &plan.scopes[scope.index()].rules;
        let at = rules.iter().position(|rule| matches(rule, failure))?;
        Some(((scope, at as u32), &rules[at]))
    })
}

/// The answers that a question about a failed step allows.
pub(crate) fn answers(plan: &Plan, step: StepId) -> Vec<Answer> {
    let data = &plan.steps[step.index()];
    if data.role != Role::Forward {
        return vec![Answer::Retry, Answer::Ignore, Answer::Succeed];
    }
    if !is_promised(plan, data.stage) {
        return vec![Answer::Retry, Answer::Ignore, Answer::Succeed, Answer::Rollback, Answer::Abort];
    }
    // Passing over a changing step, or stopping, could break the promise.
    match data.changes {
        true => vec![Answer::Retry, Answer::Rollback],
        false => vec![Answer::Retry, Answer::Ignore, Answer::Succeed, Answer::Rollback],
    }
}

/// What the rules in force at a place make of its barrier being broken. In a group with a promise `commit` breaks in the same
/// machine step, and all go back: nobody is asked.
pub(crate) fn judge_barrier(plan: &Plan, place: PlaceId) -> (Settled, Decision) {
    let failure = Failure::new(Kind::Barrier, String::new());
    let data = &plan.places[place.index()];
    let promised = plan.items[plan.barriers[data.barrier.index()].item.index()].promises();
    let default = (Settled::Verdict(Verdict::Rollback), Decision { verdict: Verdict::Rollback, rule: None });
    for &scope in &data.scopes {
        for (at, rule) in plan.scopes[scope.index()].rules.iter().enumerate() {
            let named = rule.kinds.contains(&Kind::Barrier);
            if !matches(rule, &failure) {
                continue;
            }
            // A broken barrier cannot be tried again: `retry` goes straight to what follows it.
            let mut reaction = &rule.reaction;
            while let Reaction::Retry { then, .. } = reaction {
                reaction = then;
            }
            let rule = Some((scope, at as u32));
            match reaction {
                Reaction::Ignore | Reaction::Succeed if !named => continue,
                Reaction::Ask { .. } if promised => return default,
                Reaction::Ask { group, within, then } => {
                    let ask = BarrierAsk {
                        place,
                        group: group.clone(),
                        within: *within,
                        then: (**then).clone(),
                        named,
                    };
                    return (Settled::Ask(Box::new(ask)), Decision { verdict: Verdict::Ask, rule });
                }
                reaction => {
                    let verdict = final_verdict(reaction);
                    return (Settled::Verdict(verdict), Decision { verdict, rule });
                }
            }
        }
    }
    default
}

/// Whether the stage belongs to an `all_or_nothing` group.
pub(crate) fn is_promised(plan: &Plan, stage: StageId) -> bool {
    let item = plan.stages[stage.index()].item;
    plan.items[item.index()].promises()
}

pub(crate) fn matches(rule: &Rule, failure: &Failure) -> bool {
    let kind = rule.kinds.is_empty() || rule.kinds.contains(&failure.kind);
    let share = match (rule.under, failure.hosts) {
        (None, _) => true,
        (Some(percent), Some((failed, of))) => u64::from(failed) * 100 < u64::from(percent) * u64::from(of),
        (Some(_), None) => false,
    };
    kind && share
}

/// What a reaction that waits for nothing comes to for a stage.
pub(crate) fn final_verdict(reaction: &Reaction) -> Verdict {
    match reaction {
        Reaction::Ignore => Verdict::Ignore,
        Reaction::Succeed => Verdict::Succeed,
        Reaction::Fail => Verdict::Fail,
        Reaction::Abort => Verdict::Abort,
        Reaction::RollbackPhase => Verdict::RollbackPhase,
        Reaction::Rollback | Reaction::RollbackPipeline | Reaction::Retry { .. } | Reaction::Ask { .. } => {
            Verdict::Rollback
        }
    }
}

//! The machine: what a plan means.
//!
//! [`step`] is one pure function. No clock, no input or output, no randomness: time arrives as
//! [`Event::TimerFired`], effects leave as [`Command`]s. Running, simulating and proving all use it, so what was
//! proved is what runs.
//!
//! It is total: an event that no command asked for, or that comes twice, changes nothing.
//!
//! | file | holds |
//! | --- | --- |
//! | `state` | what is known of a run |
//! | `items` | items, branches, lanes, `max`, approvals between stages, the end of a run |
//! | `forward` | a stage's positions, attempts, what follows a step's end |
//! | `failure` | which rule matches, and what it leads to |
//! | `barriers` | arriving, opening, breaking, dooming |
//! | `rollback` | undoing, rollback barriers |
//! | `sealing` | what a run that has ended leaves |
//! | `claims` | targets and resources: asked for, held, released |

mod barriers;
mod claims;
mod failure;
mod forward;
mod items;
mod rollback;
mod sealing;
mod state;

pub use sealing::Changed;
pub(crate) use state::evaluate;
pub use state::*;

pub(crate) use barriers::passes;
pub(crate) use failure::{answers, final_verdict, is_promised, judge_barrier, matches, rule_for};
pub(crate) use forward::is_approval;
pub(crate) use rollback::rollback_queue;

use crate::{
    ClaimId, Command, EvalError, Event, Expr, Facts, Happening, Person, Plan, Position, Question, StageId,
    StageOutcome, Timer,
};
use std::collections::VecDeque;

/// Folds one event into the state and says what is to be done about it, in order.
pub fn step(plan: &Plan, state: &mut State, event: Event) -> Vec<Command> {
    let mut machine = Machine {
        plan,
        state,
        commands: Vec::new(),
        ready: VecDeque::new(),
        slots: false,
        turn: false,
        loose: Vec::new(),
    };
    machine.handle(event);
    machine.settle();
    machine.commands
}

/// One call of [`step`].
struct Machine<'a> {
    plan: &'a Plan,
    state: &'a mut State,
    commands: Vec<Command>,
    /// Stages that may go on. A queue, so that a long chain of consequences is no deep recursion.
    ready: VecDeque<StageId>,
    /// A slot of the item's `max` may be free. Branches start when everything that follows from an event is known,
    /// so that none starts that is doomed already.
    slots: bool,
    /// Every branch of the item has ended.
    turn: bool,
    /// Claims that may be needed no longer.
    loose: Vec<ClaimId>,
}

impl Machine<'_> {
    fn handle(&mut self, event: Event) {
        if !self.knows(&event) {
            return;
        }
        if self.state.is_finished() {
            if let Event::RollbackRequested { by } = event {
                self.reopen(by);
            }
            return;
        }
        match event {
            Event::Started { run, by } => {
                if self.state.mode == RunMode::NotStarted {
                    self.state.run = Some((run, by));
                    self.state.mode = RunMode::Forward;
                    self.announce(Happening::RunStarted);
                    self.begin_item();
                }
            }
            _ if self.state.mode == RunMode::NotStarted => {}
            Event::Recorded { stage, target, service, record } => {
                self.recorded(stage, target, service, record);
            }
            Event::StepEnded { step, attempt, outcome } => {
                let known = self.state.steps.get(step.index());
                if known.is_some_and(|known| known.attempts == attempt && known.status.is_active()) {
                    self.step_ended(step, outcome);
                }
            }
            Event::TimerFired(timer) => self.timer_fired(timer),
            Event::Answered { question, answer, by, comment } => {
                self.answered(question, answer, &Person { name: by, comment })
            }
            Event::ClaimsGranted { claim, turn } => self.claims_granted(claim, turn),
            Event::ClaimsRefused { claim, turn, why } => self.claims_refused(claim, turn, &why),
            Event::AbortRequested { by } => {
                if self.state.mode != RunMode::Aborting {
                    self.announce(Happening::AbortRequested(by.clone()));
                    self.abort(crate::Cause::Person(by));
                }
            }
            Event::RollbackRequested { by } => {
                if self.state.mode == RunMode::Forward {
                    self.announce(Happening::RollbackRequested(by.clone()));
                    self.roll_back_run(crate::Cause::Person(by));
                }
            }
        }
    }

    /// Lets everything go on that can.
    fn settle(&mut self) {
        while !self.state.is_finished() {
            if std::mem::take(&mut self.slots) {
                self.fill();
            } else if let Some(stage) = self.ready.pop_front() {
                self.advance(stage);
            } else if std::mem::take(&mut self.turn) {
                self.item_over();
            } else if !self.release_rollback_barriers() {
                break;
            }
        }
        self.finish_abort();
        self.release_loose_claims();
    }

    fn timer_fired(&mut self, timer: Timer) {
        match timer {
            Timer::Step(step, attempt) => self.step_timed_out(step, attempt),
            Timer::Backoff(step, attempt) => self.backoff_over(step, attempt),
            Timer::Barrier(place) => self.waited_too_long(place),
            Timer::Question(question) => self.question_timed_out(question),
        }
    }

    fn answered(&mut self, question: Question, answer: crate::Answer, by: &Person) {
        match question {
            Question::Step(step) => self.step_answered(step, answer, by),
            Question::Place(place) => self.place_answered(place, answer, by),
            Question::Approval(approval) => self.approval_answered(approval, answer, by),
        }
    }

    fn question_timed_out(&mut self, question: Question) {
        match question {
            Question::Step(step) => self.step_unanswered(step),
            Question::Place(place) => self.place_unanswered(place),
            Question::Approval(approval) => self.approval_unanswered(approval),
        }
    }

    fn announce(&mut self, happening: Happening) {
        self.commands.push(Command::Announce(happening));
    }

    fn end_stage(&mut self, stage: StageId, outcome: StageOutcome) {
        self.state.stages[stage.index()].mode = StageMode::Ended(outcome);
        self.state.stages[stage.index()].claiming = false;
        self.release_own_claims(stage);
        self.announce(Happening::StageEnded(stage, outcome));
    }

    /// Whether these conditions hold; `owner` says for people whose each of them is.
    fn conditions_hold(
        &self,
        stage: Option<StageId>,
        when: &[crate::ConditionId],
        owner: impl Fn(usize) -> String,
    ) -> Result<bool, crate::Failure> {
        for (at, condition) in when.iter().enumerate() {
            let condition = &self.plan.conditions[condition.index()];
            let why = match condition.eval(&self.state.facts(self.plan, stage)) {
                Ok(crate::Value::Bool(true)) => continue,
                Ok(crate::Value::Bool(false)) => return Ok(false),
                Ok(other) => format!("it came to `{other}`"),
                Err(EvalError::Unknown(what)) => self.not_known(stage, condition, &what),
                Err(error) => error.to_string(),
            };
            let message = format!("a condition of {} could not be decided: {why}", owner(at));
            return Err(crate::Failure::new(crate::Kind::Application, message));
        }
        Ok(true)
    }

    /// Whether the conditions of the phase and the sections hold in which a position stands.
    fn position_holds(&self, stage: StageId, position: &Position) -> Result<bool, crate::Failure> {
        self.conditions_hold(Some(stage), &position.when, |at| {
            let stage = &self.plan.stages[stage.index()];
            let phase = &stage.phases[position.phase as usize];
            match position.sections.last().filter(|_| at >= phase.conditions as usize) {
                Some(section) => format!("section `{}.{}.{section}`", stage.name, phase.name),
                None => format!("phase `{}.{}`", stage.name, phase.name),
            }
        })
    }

    /// What a condition reads that is not there.
    fn not_known(&self, stage: Option<StageId>, condition: &Expr, what: &str) -> String {
        let facts = self.state.facts(self.plan, stage);
        let mut why = None;
        condition.walk(&mut |part| match part {
            Expr::Output { step, name } if part.eval(&facts).is_err() => {
                let of = &self.plan.steps[step.index()].name;
                why.get_or_insert_with(|| match Expr::as_key(name) {
                    Some((map, key)) if facts.output(*step, map).is_some() => {
                        format!("the `{map}` of `{of}` has no `{key}`")
                    }
                    _ => format!("`{of}` put no `{name}` out"),
                });
            }
            Expr::Param(name) if Expr::may_be_missing(name) => {
                why.get_or_insert_with(|| "it reads what was not given, or a key that a map lacks".into());
            }
            _ => {}
        });
        why.unwrap_or_else(|| format!("{what} is not known"))
    }
}

//! Folding a journal: what a run has come to, and which commands still wait for their answer.

use crate::error::Error;
use crate::notify::Notice;
use crate::store::{Entry, Request, Store};
use lockstep_plan::machine::{State, step};
use lockstep_plan::{
    Answer, Call, ClaimId, Clock, Command, Event, Happening, Plan, Question, ServiceId, StageId, StepId,
    TargetId, Timer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A run as its journal tells it.
pub struct Replay {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// What it has come to.
    pub state: State,
    /// What happened, with its time in milliseconds since 1970.
    pub happenings: Vec<(u64, Happening)>,
    /// Questions that wait for an answer: who may give it, and which there are.
    pub questions: BTreeMap<Question, (String, Vec<Answer>)>,
    /// When each attempt that has not ended was asked for.
    pub running: BTreeMap<(StepId, u32), u64>,
}

/// Reads a run and folds its journal.
///
/// # Errors
/// There is no such run, or its record cannot be read.
pub fn replay(store: &Store, run: &str) -> Result<Replay, Error> {
    let plan = Arc::new(store.plan(run)?);
    let mut happenings = Vec::new();
    let (state, pending) = folded(store, run, &plan, |at, happening| happenings.push((at, happening)))?;
    let running = pending.attempts.iter().map(|(key, attempt)| (*key, attempt.at)).collect();
    Ok(Replay { plan, state, happenings, questions: pending.questions, running })
}

/// Folds the journal of a run of that plan; what happened, with its time, is told one after another and not kept.
///
/// # Errors
/// The run's record cannot be read.
pub fn retell(
    store: &Store,
    run: &str,
    plan: &Plan,
    listener: impl FnMut(u64, Happening),
) -> Result<State, Error> {
    folded(store, run, plan, listener).map(|(state, _)| state)
}

fn folded(
    store: &Store,
    run: &str,
    plan: &Plan,
    mut listener: impl FnMut(u64, Happening),
) -> Result<(State, Pending), Error> {
    let mut state = State::new(plan);
    let mut pending = Pending::default();
    store.tell(run, |entry| {
        for (at, happening) in pending.fold(plan, &mut state, entry) {
            listener(at, happening);
        }
    })?;
    Ok((state, pending))
}

/// Commands without an answer.
#[derive(Default)]
pub(crate) struct Pending {
    pub attempts: BTreeMap<(StepId, u32), PendingAttempt>,
    pub records: BTreeMap<(StageId, TargetId, Option<ServiceId>), Call>,
    pub timers: BTreeMap<Timer, PendingTimer>,
    pub questions: BTreeMap<Question, (String, Vec<Answer>)>,
    /// Claims that were asked for: which time, and whether they are waited for.
    pub claims: BTreeMap<ClaimId, (u32, bool)>,
    /// Everything that was to be told, from the beginning.
    pub notices: Vec<Notice>,
}

#[derive(Clone)]
pub(crate) struct PendingAttempt {
    pub call: Call,
    /// When it was asked for.
    pub at: u64,
    pub cancelled: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct PendingTimer {
    pub after: u64,
    pub clock: Clock,
    /// When it was started.
    pub at: u64,
}

impl Pending {
    /// The ends of questions that such requests answer too late: clocks of questions run on while nobody carries the run out.
    pub fn unanswered(&self, requests: &[Request]) -> Vec<Event> {
        let late = requests.iter().filter_map(|request| {
            let Event::Answered { question, .. } = request.event else { return None };
            let timer = Timer::Question(question);
            let clock = self.timers.get(&timer)?;
            (request.at > clock.at.saturating_add(clock.after)).then_some(timer)
        });
        late.collect::<BTreeSet<_>>().into_iter().map(Event::TimerFired).collect()
    }

    /// Folds an entry into the state without doing what it asks for.
    pub fn fold(&mut self, plan: &Plan, state: &mut State, entry: Entry) -> Vec<(u64, Happening)> {
        self.answered(&entry.event);
        let mut happenings = Vec::new();
        for command in step(plan, state, entry.event) {
            self.commanded(&command, entry.at);
            if let Command::Announce(happening) = command {
                happenings.push((entry.at, happening));
            }
        }
        happenings
    }

    /// Notes that an event answers a command.
    pub fn answered(&mut self, event: &Event) {
        match event {
            Event::Recorded { stage, target, service, .. } => {
                self.records.remove(&(*stage, *target, *service));
            }
            Event::StepEnded { step, attempt, .. } => {
                self.attempts.remove(&(*step, *attempt));
            }
            Event::TimerFired(timer) => {
                self.timers.remove(timer);
                if let Timer::Question(question) = timer {
                    self.questions.remove(question);
                }
            }
            Event::Answered { question, answer, .. } => {
                // The machine ignores an answer that it did not offer; the question stays.
                if self.questions.get(question).is_some_and(|(_, answers)| answers.contains(answer)) {
                    self.questions.remove(question);
                }
            }
            Event::ClaimsGranted { claim, turn } | Event::ClaimsRefused { claim, turn, .. } => {
                if self.claims.get(claim).is_some_and(|(asked, _)| asked == turn) {
                    self.claims.remove(claim);
                }
            }
            Event::Started { .. } | Event::AbortRequested { .. } | Event::RollbackRequested { .. } => {}
        }
    }

    /// Notes a command of the entry of that time.
    pub fn commanded(&mut self, command: &Command, at: u64) {
        match command {
            Command::Record { stage, target, service, call } => {
                self.records.insert((*stage, *target, *service), (**call).clone());
            }
            Command::StartStep { step, attempt, call } => {
                let pending = PendingAttempt { call: (**call).clone(), at, cancelled: false };
                self.attempts.insert((*step, *attempt), pending);
            }
            Command::CancelStep { step, attempt } => {
                if let Some(pending) = self.attempts.get_mut(&(*step, *attempt)) {
                    pending.cancelled = true;
                }
            }
            Command::StartTimer { timer, after, clock } => {
                self.timers.insert(*timer, PendingTimer { after: *after, clock: *clock, at });
            }
            Command::StopTimer(timer) => {
                self.timers.remove(timer);
            }
            Command::Ask { question, group, answers } => {
                self.questions.insert(*question, (group.clone(), answers.clone()));
            }
            Command::Unask(question) => {
                self.questions.remove(question);
            }
            Command::AcquireClaims { claim, turn, wait } => {
                self.claims.insert(*claim, (*turn, *wait));
            }
            Command::ReleaseClaims { claim, .. } => {
                self.claims.remove(claim);
            }
            Command::Notify { channels, event, stage } => {
                let number = self.notices.len() as u64 + 1;
                let (channels, event, stage) = (channels.clone(), *event, *stage);
                self.notices.push(Notice { number, channels, event, stage });
            }
            Command::Announce(_) | Command::Finish(_) => {}
        }
    }
}

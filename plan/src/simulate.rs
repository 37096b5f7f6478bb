//! A run without effects: the machine, answered from a table of chosen outcomes.

use crate::machine::{self, State};
use crate::{
    Answer, ApprovalId, Command, Event, Failure, Happening, Kind, Outcome, Plan, Question, RunOutcome,
    StepId, Timer, Value,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is chosen; everything else succeeds at once, and questions go unanswered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scenario {
    /// Steps of which every attempt fails, and how.
    pub fail: BTreeMap<StepId, Kind>,
    /// On how many of their hosts steps fail, in percent: what rules with `under` compare. Without an entry: nothing is known
    /// of hosts, and such rules do not match.
    pub shares: BTreeMap<StepId, u32>,
    /// Approvals between stages that are not given: refused, or left without an answer ([`Kind::Timeout`]).
    pub refuse: BTreeMap<ApprovalId, Kind>,
    /// How long an attempt of a step takes, in milliseconds. Without an entry: no time, but for `wait`. Of a step that is an
    /// approval: how long people take to answer.
    pub takes: BTreeMap<StepId, u64>,
    /// How long people take to answer other questions, in milliseconds.
    pub takes_to_answer: BTreeMap<Question, u64>,
    /// Whether waits at barriers never run out.
    pub patient: bool,
    /// Answers that people give, as often as they are asked. But nobody says `retry` twice to the same question, for what
    /// always fails would be tried for ever: asked again, they say nothing, and what the rule says then follows.
    pub answers: BTreeMap<Question, Answer>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    /// The last state.
    pub state: State,
    /// What happened, each with its time in milliseconds since the start.
    pub events: Vec<(u64, Happening)>,
    /// How the run ended; nothing when it never would.
    pub outcome: Option<RunOutcome>,
}

/// Runs the machine under a scenario. Time is virtual: nothing waits.
pub fn simulate(plan: &Plan, scenario: &Scenario) -> Simulation {
    let mut world = World {
        plan,
        scenario,
        now: 0,
        next: 0,
        agenda: BTreeMap::new(),
        timers: BTreeMap::new(),
        running: BTreeMap::new(),
        answered: BTreeSet::new(),
        events: Vec::new(),
    };
    let mut state = State::new(plan);
    world.at(0, Event::Started { run: "simulation".into(), by: "simulation".into() });
    while let Some(((time, _), event)) = world.agenda.pop_first() {
        world.now = time;
        if let Event::TimerFired(timer) = &event {
            world.timers.remove(timer);
        }
        if let Event::StepEnded { step, .. } = &event {
            world.running.remove(step);
        }
        for command in machine::step(plan, &mut state, event) {
            world.carry_out(command);
        }
        if state.is_finished() {
            break;
        }
    }
    Simulation { outcome: state.outcome(), state, events: world.events }
}

struct World<'a> {
    plan: &'a Plan,
    scenario: &'a Scenario,
    now: u64,
    next: u64,
    /// By time, and by the order in which they were planned.
    agenda: BTreeMap<(u64, u64), Event>,
    timers: BTreeMap<Timer, (u64, u64)>,
    running: BTreeMap<StepId, (u64, u64)>,
    answered: BTreeSet<Question>,
    events: Vec<(u64, Happening)>,
}

impl World<'_> {
    fn at(&mut self, after: u64, event: Event) -> (u64, u64) {
        let key = (self.now.saturating_add(after), self.next);
        self.next += 1;
        self.agenda.insert(key, event);
        key
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Record { stage, target, service, .. } => {
                let record = Ok(Value::Map(BTreeMap::new()));
                self.at(0, Event::Recorded { stage, target, service, record });
            }
            Command::StartStep { step, attempt, call } => {
                let outcome = self.outcome(step);
                let takes = match (self.scenario.takes.get(&step), call.arguments.get("duration")) {
                    (Some(takes), _) => *takes,
                    (None, Some(Value::Duration(wait))) if call.provider == "wait" => *wait,
                    _ => 0,
                };
                let key = self.at(takes, Event::StepEnded { step, attempt, outcome });
                self.running.insert(step, key);
            }
            Command::CancelStep { step, attempt } => {
                if let Some(key) = self.running.remove(&step) {
                    self.agenda.remove(&key);
                    let outcome = Outcome::Failed(Failure::new(Kind::Application, "it was stopped"));
                    let key = self.at(0, Event::StepEnded { step, attempt, outcome });
                    self.running.insert(step, key);
                }
            }
            Command::StartTimer { timer: Timer::Barrier(_), .. } if self.scenario.patient => {}
            Command::StartTimer { timer, after, .. } => {
                let key = self.at(after, Event::TimerFired(timer));
                self.timers.insert(timer, key);
            }
            Command::StopTimer(timer) => {
                if let Some(key) = self.timers.remove(&timer) {
                    self.agenda.remove(&key);
                }
            }
            Command::Ask { question, .. } => {
                let again = !self.answered.insert(question);
                if let Some(answer) = self.answer(question)
                    && !(again && answer == Answer::Retry)
                {
                    let after = match question {
                        Question::Step(step) if self.is_approval(step) => self.scenario.takes.get(&step),
                        _ => self.scenario.takes_to_answer.get(&question),
                    };
                    let by = "simulation".into();
                    let event = Event::Answered { question, answer, by, comment: None };
                    self.at(after.copied().unwrap_or(0), event);
                }
            }
            // Nobody else is there.
            Command::AcquireClaims { claim, turn, .. } => {
                self.at(0, Event::ClaimsGranted { claim, turn });
            }
            Command::ReleaseClaims { .. } => {}
            Command::Announce(happening) => self.events.push((self.now, happening)),
            Command::Unask(_) | Command::Notify { .. } | Command::Finish(_) => {}
        }
    }

    fn is_approval(&self, step: StepId) -> bool {
        machine::is_approval(&self.plan.steps[step.index()])
    }

    fn answer(&self, question: Question) -> Option<Answer> {
        let refused = match question {
            Question::Step(step) if self.is_approval(step) => self.scenario.fail.get(&step),
            Question::Approval(approval) => self.scenario.refuse.get(&approval),
            _ => None,
        };
        match refused {
            // Nobody answers in time.
            Some(Kind::Timeout) => None,
            Some(_) => Some(Answer::Reject),
            None => self.scenario.answers.get(&question).copied(),
        }
    }

    fn outcome(&self, step: StepId) -> Outcome {
        match self.scenario.fail.get(&step) {
            Some(kind) => {
                let hosts = self.scenario.shares.get(&step).map(|share| (*share, 100));
                Outcome::Failed(Failure { hosts, ..Failure::new(*kind, "chosen to fail") })
            }
            None => {
                let outputs = &self.plan.steps[step.index()].outputs;
                let outputs = outputs.iter().map(|(name, ty)| (name.clone(), ty.example())).collect();
                Outcome::Succeeded { outputs }
            }
        }
    }
}

//! A run without effects: the machine, answered from a table of chosen outcomes.

use crate::machine::{self, State};
use crate::proof::is_mixed;
use crate::roots::{Roots, Work};
use crate::tickets::Queue;
use crate::{
    Answer, ApprovalId, Cause, ClaimId, Command, Event, Expr, Failure, Happening, ItemId, Kind, Outcome,
    PlaceId, Plan, Question, Readable, Role, RunFact, RunOutcome, StepId, Timer, Value, ValueType,
};
use std::collections::{BTreeMap, BTreeSet};

/// How the clocks of waits at barriers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Patience {
    /// As clocks do.
    #[default]
    Usual,
    /// Nobody carries the run out for as long as that helps those who wait: clocks of barriers stand still then, those of steps
    /// and questions do not. A wait before another attempt is counted by who carries the run out, and so are those at
    /// barriers meanwhile.
    Away,
    /// They never run out.
    Endless,
}

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
    /// How the clocks of waits at barriers go.
    pub patience: Patience,
    /// The wait at a barrier that is the first to run out, of those that do at the same moment.
    pub first: Option<PlaceId>,
    /// Whether nothing of the run waits for what else of it holds: every claim is granted at once, and drivers take no turns.
    pub alone: bool,
    /// Answers that people give, as often as they are asked. But nobody says `retry` twice to the same question, for what
    /// always fails would be tried for ever: asked again, they say nothing, and what the rule says then follows.
    pub answers: BTreeMap<Question, Answer>,
    /// What steps give that succeed, by step and output. Without an entry: the plainest value of its type.
    pub outputs: BTreeMap<(StepId, String), Value>,
    /// What `run.by` and `run.id` are. Without an entry: `simulation`.
    pub facts: BTreeMap<RunFact, String>,
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
    /// The numbers of the groups that break their promise: they end neither all new nor all old.
    pub broken: Vec<u32>,
    /// The numbers of the groups that end mixed only because a step that undoes something fails in the scenario. That these
    /// work is what a promise assumes.
    pub outside: Vec<u32>,
}

impl Simulation {
    /// When the wait of a participant at a barrier ran out, in milliseconds; nothing where it did not.
    pub(crate) fn ran_out(&self, place: PlaceId) -> Option<u64> {
        let out = |it: &Happening| matches!(it, Happening::BarrierBroken(_, _, Cause::Waited(known)) if *known == place);
        self.events.iter().find(|(_, happening)| out(happening)).map(|(at, _)| *at)
    }
}

/// Runs the machine under a scenario. Time is virtual: nothing waits.
///
/// Claims are granted as they would be to a run that is the only one: in the order in which they are asked for, as far as
/// resources go.
///
/// Of what happens at one moment, what was chosen to fail is last: so a failure does the same to others whichever stage it is in.
pub fn simulate(plan: &Plan, scenario: &Scenario) -> Simulation {
    let mut simulation = play(plan, scenario);
    simulation.broken = mixed(plan, &simulation.state);
    if !simulation.broken.is_empty()
        && let Some(working) = scenario.with_working_rollbacks(plan)
    {
        let still = mixed(plan, &play(plan, &working).state);
        (simulation.broken, simulation.outside) =
            simulation.broken.iter().partition(|group| still.contains(group));
    }
    simulation
}

/// The numbers of the groups that promise all or nothing and end mixed.
fn mixed(plan: &Plan, state: &State) -> Vec<u32> {
    let groups = plan.items.iter().enumerate().filter_map(|(index, item)| {
        let group = item.group.filter(|group| group.all_or_nothing)?;
        is_mixed(plan, state, ItemId(index as u32)).then_some(group.number)
    });
    groups.collect()
}

impl Scenario {
    /// Says what something is that conditions read.
    pub fn give(&mut self, source: Readable, value: Value) {
        match source {
            Readable::Output(step, name) => _ = self.outputs.insert((step, name), value),
            Readable::Run(fact) => _ = self.facts.insert(fact, value.to_string()),
        }
    }

    /// What was chosen of what a step gives, a map before what is under its keys.
    pub(crate) fn given_by(&self, step: StepId) -> impl Iterator<Item = (&String, &Value)> {
        let own = self.outputs.range((step, String::new())..).take_while(move |((of, _), _)| *of == step);
        own.map(|((_, name), value)| (name, value))
    }

    /// The same, but that steps which undo something work; nothing where it says nothing of such steps.
    fn with_working_rollbacks(&self, plan: &Plan) -> Option<Scenario> {
        let forward = |step: &StepId| plan.steps[step.index()].role == Role::Forward;
        if self.fail.keys().chain(self.takes.keys()).all(forward) {
            return None;
        }
        let mut working = self.clone();
        working.fail.retain(|step, _| forward(step));
        working.takes.retain(|step, _| forward(step));
        Some(working)
    }
}

/// What a name stands for, to be given a value: an output, or what is under a key of a map.
fn named<'o>(outputs: &'o mut BTreeMap<String, Value>, name: &str) -> Option<&'o mut Value> {
    if outputs.contains_key(name) {
        return outputs.get_mut(name);
    }
    let (map, key) = Expr::as_key(name)?;
    match named(outputs, map)? {
        Value::Map(entries) => {
            Some(entries.entry(key.to_owned()).or_insert_with(|| ValueType::Map.example()))
        }
        _ => None,
    }
}

fn play(plan: &Plan, scenario: &Scenario) -> Simulation {
    let mut world = World {
        plan,
        scenario,
        now: 0,
        wave: 0,
        next: 0,
        agenda: BTreeMap::new(),
        timers: BTreeMap::new(),
        still: BTreeMap::new(),
        running: BTreeMap::new(),
        queue: Queue::new(plan),
        roots: Roots::new(plan),
        answered: BTreeSet::new(),
        events: Vec::new(),
    };
    let mut state = State::new(plan);
    let fact = |fact| scenario.facts.get(&fact).cloned().unwrap_or_else(|| "simulation".into());
    world.at(0, Event::Started { run: fact(RunFact::Id), by: fact(RunFact::By) });
    while let Some(((time, wave, ..), event)) = world.agenda.pop_first() {
        (world.now, world.wave) = (time, if wave == u32::MAX { 0 } else { wave });
        if let Event::TimerFired(timer) = &event {
            world.timers.remove(timer);
            world.stand_still();
        }
        match &event {
            Event::StepEnded { step, .. } => {
                world.running.remove(step);
                world.leave(Work::Step(*step));
            }
            Event::Recorded { stage, target, service, .. } => {
                world.leave(Work::Record(*stage, *target, *service))
            }
            _ => {}
        }
        for command in machine::step(plan, &mut state, event) {
            world.carry_out(command);
        }
        if state.is_finished() {
            break;
        }
    }
    let (broken, outside) = (Vec::new(), Vec::new());
    Simulation { outcome: state.outcome(), state, events: world.events, broken, outside }
}

/// When something comes: its time; in that moment after how many others that led to it; whether it is chosen to fail; and
/// when it was planned.
type When = (u64, u32, bool, u64);

struct World<'a> {
    plan: &'a Plan,
    scenario: &'a Scenario,
    now: u64,
    wave: u32,
    next: u64,
    agenda: BTreeMap<When, Event>,
    timers: BTreeMap<Timer, When>,
    /// Clocks of barriers that stand still, with what is left on them.
    still: BTreeMap<Timer, u64>,
    /// What runs, with the event that will end it; nothing where only being stopped does.
    running: BTreeMap<StepId, Option<When>>,
    queue: Queue<'a>,
    roots: Roots,
    answered: BTreeSet<Question>,
    events: Vec<(u64, Happening)>,
}

impl World<'_> {
    fn at(&mut self, after: u64, event: Event) -> When {
        let wave = if after == 0 { self.wave + 1 } else { 0 };
        // A wait that ends in the very moment in which it would run out has not run out.
        let key = match &event {
            Event::TimerFired(Timer::Barrier(place)) => {
                (self.now.saturating_add(after), u32::MAX, self.scenario.first != Some(*place), self.next)
            }
            event => (self.now.saturating_add(after), wave, self.fails(event), self.next),
        };
        self.next += 1;
        self.agenda.insert(key, event);
        key
    }

    /// Whether the event is a failure that was chosen.
    fn fails(&self, event: &Event) -> bool {
        match event {
            Event::StepEnded { step, .. } | Event::TimerFired(Timer::Step(step, _)) => {
                self.scenario.fail.contains_key(step)
            }
            Event::Answered { answer, .. } => *answer == Answer::Reject,
            _ => false,
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Record { stage, target, service, .. } => {
                let record = Ok(Value::Map(BTreeMap::new()));
                let event = Event::Recorded { stage, target, service, record };
                self.enter(Work::Record(stage, target, service), Some((0, event)));
            }
            Command::StartStep { step, attempt, call } => {
                let outcome = self.outcome(step);
                let takes = match (self.scenario.takes.get(&step), call.arguments.get("duration")) {
                    (Some(takes), _) => Some(*takes),
                    // It runs until its time is up.
                    _ if self.scenario.fail.get(&step) == Some(&Kind::Timeout) => None,
                    (None, Some(Value::Duration(wait))) if call.provider == "wait" => Some(*wait),
                    _ => Some(0),
                };
                let end = takes.map(|takes| (takes, Event::StepEnded { step, attempt, outcome }));
                self.running.insert(step, None);
                self.enter(Work::Step(step), end);
            }
            Command::CancelStep { step, attempt } => {
                if let Some(key) = self.running.remove(&step) {
                    key.and_then(|key| self.agenda.remove(&key));
                    if let Some(root) = self.roots.of(self.plan, Work::Step(step)) {
                        self.roots.forget(root, Work::Step(step));
                    }
                    let hosts = self.hosts(step);
                    let failure = Failure { hosts, ..Failure::new(Kind::Application, "it was stopped") };
                    let outcome = Outcome::Failed(failure);
                    let key = self.at(0, Event::StepEnded { step, attempt, outcome });
                    self.running.insert(step, Some(key));
                }
            }
            Command::StartTimer { timer, after, .. } => self.start(timer, after),
            Command::StopTimer(timer) => {
                self.still.remove(&timer);
                if let Some(key) = self.timers.remove(&timer) {
                    self.agenda.remove(&key);
                }
                self.stand_still();
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
            Command::AcquireClaims { claim, turn, .. } if self.scenario.alone => {
                self.at(0, Event::ClaimsGranted { claim, turn });
            }
            Command::AcquireClaims { claim, turn, wait } => {
                self.queue.ask(claim, turn);
                if !self.grant().contains(&(claim, turn)) && !wait {
                    self.queue.release(claim, turn);
                    let why = "other stages of the run hold something of it".into();
                    self.at(0, Event::ClaimsRefused { claim, turn, why });
                }
            }
            Command::ReleaseClaims { claim, turn } => {
                self.queue.release(claim, turn);
                self.grant();
            }
            Command::Announce(happening) => self.events.push((self.now, happening)),
            Command::Unask(_) | Command::Notify { .. } | Command::Finish(_) => {}
        }
    }

    fn start(&mut self, timer: Timer, after: u64) {
        match (timer, self.scenario.patience) {
            (Timer::Barrier(_), Patience::Endless) => return,
            (Timer::Barrier(_), Patience::Away) if !self.counts() => {
                self.still.insert(timer, after);
                return;
            }
            _ => {}
        }
        let key = self.at(after, Event::TimerFired(timer));
        self.timers.insert(timer, key);
        if self.scenario.patience == Patience::Away && self.counts() {
            for (timer, left) in std::mem::take(&mut self.still) {
                let key = self.at(left, Event::TimerFired(timer));
                self.timers.insert(timer, key);
            }
        }
    }

    /// Whether a wait before another attempt is counted.
    fn counts(&self) -> bool {
        let from = Timer::Backoff(StepId(0), 0);
        self.timers.range(from..).next().is_some_and(|(timer, _)| matches!(timer, Timer::Backoff(..)))
    }

    /// Lets the clocks of barriers stand still again as soon as nobody has to be there to count anything else.
    fn stand_still(&mut self) {
        if self.scenario.patience != Patience::Away || self.counts() {
            return;
        }
        let from = Timer::Barrier(PlaceId(0));
        let waits = self.timers.range(from..).take_while(|(timer, _)| matches!(timer, Timer::Barrier(_)));
        for (timer, key) in waits.map(|(timer, key)| (*timer, *key)).collect::<Vec<_>>() {
            self.timers.remove(&timer);
            self.agenda.remove(&key);
            self.still.insert(timer, key.0.saturating_sub(self.now));
        }
    }

    /// Grants what can be granted.
    fn grant(&mut self) -> Vec<(ClaimId, u32)> {
        let granted = self.queue.grant();
        for &(claim, turn) in &granted {
            self.at(0, Event::ClaimsGranted { claim, turn });
        }
        granted
    }

    /// Begins work as soon as its driver lets it; its end comes by itself after that time, or never.
    fn enter(&mut self, work: Work, end: Option<(u64, Event)>) {
        let root = if self.scenario.alone { None } else { self.roots.of(self.plan, work) };
        match root {
            Some(root) => {
                if let Some(end) = self.roots.enter(root, work, end) {
                    self.begin(work, end);
                }
            }
            None => self.begin(work, end),
        }
    }

    fn begin(&mut self, work: Work, end: Option<(u64, Event)>) {
        let key = end.map(|(after, event)| self.at(after, event));
        if let Work::Step(step) = work {
            self.running.insert(step, key);
        }
    }

    /// The work has ended: the next in turn begins.
    fn leave(&mut self, work: Work) {
        let root = self.roots.of(self.plan, work);
        if let Some((next, end)) = root.and_then(|root| self.roots.leave(root, work)) {
            self.begin(next, end);
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

    /// On how many of a hundred hosts the step fails, where that was chosen.
    fn hosts(&self, step: StepId) -> Option<(u32, u32)> {
        self.scenario.shares.get(&step).map(|share| (*share, 100))
    }

    fn outcome(&self, step: StepId) -> Outcome {
        match self.scenario.fail.get(&step) {
            Some(kind) => {
                let hosts = self.hosts(step);
                Outcome::Failed(Failure { hosts, ..Failure::new(*kind, "chosen to fail") })
            }
            None => {
                let outputs = &self.plan.steps[step.index()].outputs;
                let plainest = |(name, ty): (&String, &ValueType)| (name.clone(), ty.example());
                let mut outputs: BTreeMap<String, Value> = outputs.iter().map(plainest).collect();
                for (name, value) in self.scenario.given_by(step) {
                    if let Some(given) = named(&mut outputs, name) {
                        *given = value.clone();
                    }
                }
                Outcome::Succeeded { outputs }
            }
        }
    }
}

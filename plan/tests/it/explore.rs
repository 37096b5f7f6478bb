//! Every execution of a small plan: each outcome of each step, each timer, each answer, in each order.

use lockstep_plan::machine::{self, BarrierState, PlaceState, State, StepStatus};
use lockstep_plan::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What the world may still answer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Open {
    Step(StepId, u32, bool),
    Record(StageId, TargetId, Option<ServiceId>),
    Timer(Timer),
    Ask(Question, Vec<Answer>),
}

/// What is tried beside success.
#[derive(Clone)]
pub struct Adversary {
    /// Kinds of failure that steps may end with.
    pub kinds: Vec<Kind>,
    /// How many attempts may fail in one execution, undo steps never.
    pub failures: u32,
    /// Whether step timeouts and barrier timeouts may come at any moment.
    pub timeouts: bool,
    /// Whether a person may abort, or roll back, at any moment.
    pub person: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    state: State,
    open: BTreeSet<Open>,
    failures: u32,
    interfered: bool,
}

/// What was seen.
pub struct Explored {
    pub states: usize,
    /// The stages' outcomes at every end, with the run's.
    pub ends: BTreeSet<(RunOutcome, Vec<StageOutcome>)>,
    /// Final states.
    pub finals: Vec<State>,
}

/// Explores; panics with the story of the first execution that breaks an invariant.
pub fn explore(plan: &Plan, adversary: &Adversary) -> Explored {
    let mut world = World { state: State::new(plan), open: BTreeSet::new(), failures: 0, interfered: false };
    let mut story = Vec::new();
    world.apply(plan, Event::Started { run: "r".into(), by: "tester".into() }, &mut story);
    let mut seen = HashSet::new();
    let mut explored = Explored { states: 0, ends: BTreeSet::new(), finals: Vec::new() };
    let mut stack = vec![(world, story)];
    while let Some((world, story)) = stack.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        explored.states += 1;
        assert!(explored.states < 3_000_000, "too many states for an exhaustive test");
        if let Some(outcome) = world.state.outcome() {
            check_end(plan, &world, &story);
            let stages =
                (0..plan.stages.len() as u32).filter_map(|stage| world.state.stage_outcome(StageId(stage)));
            explored.ends.insert((outcome, stages.collect()));
            explored.finals.push(world.state);
            continue;
        }
        let moves = world.moves(plan, adversary);
        assert!(!moves.is_empty(), "stuck:\n{}\n{:#?}", story.join("\n"), world.state.stages);
        for (event, fails) in moves {
            let mut next = world.clone();
            let mut story = story.clone();
            next.failures += u32::from(fails);
            next.interfered |=
                matches!(event, Event::AbortRequested { .. } | Event::RollbackRequested { .. });
            next.apply(plan, event, &mut story);
            stack.push((next, story));
        }
    }
    explored
}

impl World {
    fn moves(&self, plan: &Plan, adversary: &Adversary) -> Vec<(Event, bool)> {
        let mut moves = Vec::new();
        for open in &self.open {
            match open {
                Open::Step(step, attempt, cancelled) => {
                    let ended = |outcome| Event::StepEnded { step: *step, attempt: *attempt, outcome };
                    moves.push((ended(Outcome::Succeeded { outputs: BTreeMap::new() }), false));
                    let forward = plan.steps[step.index()].role == Role::Forward;
                    if *cancelled {
                        moves.push((
                            ended(Outcome::Failed(Failure::new(Kind::Application, "stopped"))),
                            false,
                        ));
                    } else if forward && self.failures < adversary.failures {
                        for kind in &adversary.kinds {
                            moves.push((ended(Outcome::Failed(Failure::new(*kind, "no"))), true));
                        }
                    }
                }
                Open::Record(stage, target, service) => {
                    let record = Ok(Value::Text("before".into()));
                    moves.push((
                        Event::Recorded { stage: *stage, target: *target, service: *service, record },
                        false,
                    ));
                }
                Open::Timer(timer) => {
                    let matters = match timer {
                        Timer::Backoff(..) | Timer::Question(_) => true,
                        Timer::Step(step, _) => {
                            adversary.timeouts
                                && self.failures < adversary.failures
                                && plan.steps[step.index()].role == Role::Forward
                        }
                        Timer::Barrier(_) => adversary.timeouts && self.failures < adversary.failures,
                    };
                    if matters {
                        let fails = matches!(timer, Timer::Step(..) | Timer::Barrier(_));
                        moves.push((Event::TimerFired(*timer), fails));
                    }
                }
                Open::Ask(question, answers) => {
                    for answer in answers {
                        // Trying again for ever is an execution that a person chooses, not one that ends.
                        if *answer == Answer::Retry && self.failures >= adversary.failures {
                            continue;
                        }
                        let by = "tester".into();
                        moves.push((
                            Event::Answered { question: *question, answer: *answer, by, comment: None },
                            false,
                        ));
                    }
                }
            }
        }
        if adversary.person && !self.interfered {
            moves.push((Event::AbortRequested { by: "person".into() }, false));
            moves.push((Event::RollbackRequested { by: "person".into() }, false));
        }
        moves
    }

    fn apply(&mut self, plan: &Plan, event: Event, story: &mut Vec<String>) {
        story.push(format!("> {event:?}"));
        match &event {
            Event::StepEnded { step, attempt, .. } => {
                self.open.retain(|open| !matches!(open, Open::Step(s, a, _) if s == step && a == attempt));
            }
            Event::Recorded { stage, target, service, .. } => {
                self.open.remove(&Open::Record(*stage, *target, *service));
            }
            Event::TimerFired(timer) => {
                self.open.remove(&Open::Timer(*timer));
            }
            Event::Answered { question, .. } => {
                self.open.retain(|open| !matches!(open, Open::Ask(q, _) if q == question));
            }
            _ => {}
        }
        let before = self.state.barriers.clone();
        for command in machine::step(plan, &mut self.state, event) {
            match command {
                Command::Record { stage, target, service, .. } => {
                    self.open.insert(Open::Record(stage, target, service));
                }
                Command::StartStep { step, attempt, .. } => {
                    story.push(format!("    starts {}", plan.steps[step.index()].name));
                    check_start(plan, &self.state, step, story);
                    assert!(
                        self.open.insert(Open::Step(step, attempt, false)),
                        "started twice: {}",
                        story.join("\n")
                    );
                }
                Command::CancelStep { step, attempt } => {
                    if self.open.remove(&Open::Step(step, attempt, false)) {
                        self.open.insert(Open::Step(step, attempt, true));
                    }
                }
                Command::StartTimer { timer, .. } => {
                    self.open.insert(Open::Timer(timer));
                }
                Command::StopTimer(timer) => {
                    self.open.remove(&Open::Timer(timer));
                }
                Command::Ask { question, answers, .. } => {
                    self.open.insert(Open::Ask(question, answers));
                }
                Command::Unask(question) => {
                    self.open.retain(|open| !matches!(open, Open::Ask(q, _) if *q == question))
                }
                Command::Announce(happening) => {
                    let stage = happening.stage(plan).unwrap_or_default();
                    story.push(format!("    {stage}: {}", happening.describe(plan)));
                }
                Command::Notify { .. } | Command::Finish(_) => {}
            }
        }
        for (index, (before, after)) in before.iter().zip(&self.state.barriers).enumerate() {
            let decided = !matches!(before, BarrierState::Undecided { .. });
            let name = &plan.barriers[index].name;
            assert!(!decided || before == after, "{name} was decided twice:\n{}", story.join("\n"));
        }
    }
}

/// Nobody starts a step behind a barrier that it has not passed.
fn check_start(plan: &Plan, state: &State, step: StepId, story: &[String]) {
    let data = &plan.steps[step.index()];
    if data.role != Role::Forward {
        return;
    }
    for position in &plan.stages[data.stage.index()].positions {
        match &position.work {
            Work::Steps(steps) if steps.contains(&step) => return,
            Work::Steps(_) => {}
            Work::Barrier(place) => {
                let passed = !matches!(state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived);
                assert!(passed, "{} started before its barrier:\n{}", data.name, story.join("\n"));
            }
        }
    }
}

/// What must hold at every end.
fn check_end(plan: &Plan, world: &World, story: &[String]) {
    let state = &world.state;
    let told = || story.join("\n");
    for index in 0..plan.stages.len() {
        let outcome = state.stage_outcome(StageId(index as u32));
        let name = &plan.stages[index].name;
        assert!(outcome.is_some(), "{name} has not ended:\n{}", told());
        if outcome == Some(StageOutcome::RolledBack) {
            for step in plan.steps.iter().enumerate().filter(|(_, step)| step.stage.index() == index) {
                let (at, step) = step;
                if let Undo::Derived(undo) = step.undo
                    && state.steps[at].attempts > 0
                    && plan.stages[index].phases[step.phase.unwrap() as usize].rollback.is_none()
                {
                    let undone = state.steps[undo.index()].status == StepStatus::Succeeded;
                    assert!(undone, "{} was not undone:\n{}", step.name, told());
                }
            }
        }
    }
    assert!(!world.open.iter().any(|open| matches!(open, Open::Step(..))), "a step still runs:\n{}", told());
}

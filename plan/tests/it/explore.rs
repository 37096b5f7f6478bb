//! Every execution of a small plan: each outcome of each step, each timer, each answer, in each order.

use lockstep_plan::machine::{
    self, ApprovalState, BarrierState, ClaimStatus, PlaceState, RunMode, StageMode, State, StepStatus,
};
use lockstep_plan::*;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

/// What the world may still answer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Open {
    Step(StepId, u32, bool),
    Record(StageId, TargetId, Option<ServiceId>),
    Timer(Timer),
    Ask(Question, Vec<Answer>),
    Claim(ClaimId, u32, bool),
}

/// What is tried beside success.
#[derive(Clone, Default)]
pub struct Adversary {
    /// Kinds of failure that steps may end with.
    pub kinds: Vec<Kind>,
    /// How many of a step's hosts may have failed, of how many: tried where its target has hosts.
    pub shares: Vec<(u32, u32)>,
    /// How many attempts may fail in one execution, undo steps never.
    pub failures: u32,
    /// Whether step timeouts and barrier timeouts may come at any moment.
    pub timeouts: bool,
    /// Whether a person may abort, or roll back, at any moment.
    pub person: bool,
    /// Whether attempts may be lost. Counts as a failure.
    pub lost: bool,
    /// Whether it may be impossible to tell what a target runs. Counts as a failure.
    pub records: bool,
    /// Whether rollback steps fail too.
    pub rollbacks: bool,
    /// Whether a person rolls the run back once it has ended, and once more after that.
    pub afterwards: bool,
}

/// A run and what is under way outside.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub state: State,
    open: BTreeSet<Open>,
    failures: u32,
    interfered: bool,
    /// How often a person has taken it up again after its end.
    reopened: u32,
}

/// How an execution came to where it is: its last machine step, and those before.
pub struct Story {
    before: Option<Rc<Story>>,
    event: Event,
    told: Vec<Happening>,
}

impl Story {
    /// From the last machine step to the first.
    fn steps(&self) -> impl Iterator<Item = &Story> {
        std::iter::successors(Some(self), |story| story.before.as_deref())
    }

    fn has_told(&self, happening: &Happening) -> bool {
        self.steps().any(|story| story.told.contains(happening))
    }

    fn told(&self) -> Vec<Happening> {
        let mut steps: Vec<&Story> = self.steps().collect();
        steps.reverse();
        steps.iter().flat_map(|story| story.told.clone()).collect()
    }

    pub fn text(&self, plan: &Plan) -> String {
        let mut steps: Vec<String> =
            self.steps()
                .map(|story| {
                    let told = story.told.iter().map(|it| {
                        format!("\n    {}: {}", it.stage(plan).unwrap_or_default(), it.describe(plan))
                    });
                    format!("> {:?}{}", story.event, told.collect::<String>())
                })
                .collect();
        steps.reverse();
        steps.join("\n")
    }
}

/// What was seen.
pub struct Explored {
    pub states: usize,
    /// The stages' outcomes at every end, with the run's.
    pub ends: BTreeSet<(RunOutcome, Vec<StageOutcome>)>,
    /// Final states, each with what had happened.
    pub finals: Vec<(State, Vec<Happening>)>,
}

/// Explores; panics with the story of the first execution that breaks an invariant.
pub fn explore(plan: &Plan, adversary: &Adversary) -> Explored {
    let (world, story) = World::begin(plan);
    let mut seen = HashSet::new();
    let mut explored = Explored { states: 0, ends: BTreeSet::new(), finals: Vec::new() };
    let mut stack = vec![(world, story)];
    while let Some((world, story)) = stack.pop() {
        if seen.contains(&world) {
            continue;
        }
        seen.insert(world.clone());
        explored.states += 1;
        assert!(explored.states < 3_000_000, "too many states for an exhaustive test");
        if let Some(outcome) = world.state.outcome() {
            check_end(plan, &world, &story);
            let stages =
                (0..plan.stages.len() as u32).filter_map(|stage| world.state.stage_outcome(StageId(stage)));
            explored.ends.insert((outcome, stages.collect()));
            if adversary.afterwards && world.reopened < 2 {
                let mut next = world.clone();
                next.reopened += 1;
                let event = Event::RollbackRequested { by: "person".into() };
                let story = next.apply(plan, event, Some(story.clone()));
                stack.push((next, story));
            }
            explored.finals.push((world.state, story.told()));
            continue;
        }
        let moves = world.moves(plan, adversary);
        assert!(!moves.is_empty(), "stuck:\n{}\n{:#?}", story.text(plan), world.state.stages);
        for (event, fails) in moves {
            let interferes = matches!(event, Event::AbortRequested { .. } | Event::RollbackRequested { .. });
            let (mut next, story) = world.then(plan, event, fails, &story);
            next.interfered |= interferes;
            stack.push((next, story));
        }
    }
    explored
}

impl World {
    /// The run has just begun.
    pub fn begin(plan: &Plan) -> (World, Rc<Story>) {
        let mut world = World {
            state: State::new(plan),
            open: BTreeSet::new(),
            failures: 0,
            interfered: false,
            reopened: 0,
        };
        let story = world.apply(plan, Event::Started { run: "r".into(), by: "tester".into() }, None);
        (world, story)
    }

    /// Whether a command asks for this event, or a person may cause it at any time.
    pub fn awaits(&self, event: &Event) -> bool {
        match event {
            Event::Started { .. } => false,
            Event::Recorded { stage, target, service, .. } => {
                self.open.contains(&Open::Record(*stage, *target, *service))
            }
            Event::StepEnded { step, attempt, .. } => {
                self.open.iter().any(|open| matches!(open, Open::Step(s, a, _) if s == step && a == attempt))
            }
            Event::TimerFired(timer) => self.open.contains(&Open::Timer(*timer)),
            Event::Answered { question, answer, .. } => self.open.iter().any(
                |open| matches!(open, Open::Ask(q, answers) if q == question && answers.contains(answer)),
            ),
            // One that would have waited may be refused as well, though nobody does so.
            Event::ClaimsGranted { claim, turn } | Event::ClaimsRefused { claim, turn, .. } => {
                self.open.iter().any(|open| matches!(open, Open::Claim(c, t, _) if c == claim && t == turn))
            }
            Event::AbortRequested { .. } | Event::RollbackRequested { .. } => true,
        }
    }

    pub fn moves(&self, plan: &Plan, adversary: &Adversary) -> Vec<(Event, bool)> {
        let mut moves = Vec::new();
        for open in &self.open {
            match open {
                Open::Step(step, attempt, cancelled) => {
                    let ended = |outcome| Event::StepEnded { step: *step, attempt: *attempt, outcome };
                    let outputs = crate::generate::put_out(plan, *step);
                    moves.push((ended(Outcome::Succeeded { outputs }), false));
                    let forward = plan.steps[step.index()].role == Role::Forward || adversary.rollbacks;
                    if adversary.lost && self.failures < adversary.failures {
                        moves.push((ended(Outcome::Lost { message: "gone".into() }), true));
                    }
                    if *cancelled {
                        moves.push((
                            ended(Outcome::Failed(Failure::new(Kind::Application, "stopped"))),
                            false,
                        ));
                    } else if forward && self.failures < adversary.failures {
                        for kind in &adversary.kinds {
                            moves.push((ended(Outcome::Failed(Failure::new(*kind, "no"))), true));
                            if has_hosts(plan, *step) {
                                for share in &adversary.shares {
                                    let failure =
                                        Failure { hosts: Some(*share), ..Failure::new(*kind, "no") };
                                    moves.push((ended(Outcome::Failed(failure)), true));
                                }
                            }
                        }
                    }
                }
                Open::Record(stage, target, service) => {
                    let recorded = |record| Event::Recorded {
                        stage: *stage,
                        target: *target,
                        service: *service,
                        record,
                    };
                    moves.push((recorded(Ok(Value::Text("before".into()))), false));
                    if adversary.records && self.failures < adversary.failures {
                        moves.push((recorded(Err(Failure::new(Kind::Connectivity, "no"))), true));
                    }
                }
                Open::Claim(claim, turn, waits) => {
                    let (claim, turn) = (*claim, *turn);
                    moves.push((Event::ClaimsGranted { claim, turn }, false));
                    if !waits {
                        let why = "another run has it".into();
                        moves.push((Event::ClaimsRefused { claim, turn, why }, false));
                    }
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
                        let again = *answer == Answer::Retry;
                        if again && self.failures >= adversary.failures {
                            continue;
                        }
                        let by = "tester".into();
                        moves.push((
                            Event::Answered { question: *question, answer: *answer, by, comment: None },
                            again,
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

    /// Folds the event in and looks at nothing: for tests that see very many states.
    pub fn fold(&mut self, plan: &Plan, event: Event, fails: bool) {
        self.failures += u32::from(fails);
        self.closes(&event);
        for command in machine::step(plan, &mut self.state, event) {
            self.opens(&command);
        }
    }

    /// The world in which that has happened, and how it came to be.
    pub fn then(&self, plan: &Plan, event: Event, fails: bool, story: &Rc<Story>) -> (World, Rc<Story>) {
        let mut next = self.clone();
        next.failures += u32::from(fails);
        let story = next.apply(plan, event, Some(story.clone()));
        (next, story)
    }

    /// What the event brings to its end outside.
    fn closes(&mut self, event: &Event) {
        match event {
            Event::StepEnded { step, attempt, .. } => {
                self.open.retain(|open| !matches!(open, Open::Step(s, a, _) if s == step && a == attempt));
            }
            Event::Recorded { stage, target, service, .. } => {
                self.open.remove(&Open::Record(*stage, *target, *service));
            }
            Event::TimerFired(timer) => {
                self.open.remove(&Open::Timer(*timer));
            }
            Event::ClaimsGranted { claim, .. } | Event::ClaimsRefused { claim, .. } => {
                self.open.retain(|open| !matches!(open, Open::Claim(c, ..) if c == claim));
            }
            _ => {}
        }
    }

    /// What the command begins outside, or calls off; for what it begins whether that is new, for a cancellation whether
    /// there was something to cancel.
    fn opens(&mut self, command: &Command) -> bool {
        match command {
            Command::Record { stage, target, service, .. } => {
                self.open.insert(Open::Record(*stage, *target, *service))
            }
            Command::StartStep { step, attempt, .. } => self.open.insert(Open::Step(*step, *attempt, false)),
            Command::CancelStep { step, attempt } => {
                let runs = self.open.remove(&Open::Step(*step, *attempt, false));
                let new = self.open.insert(Open::Step(*step, *attempt, true));
                runs || !new
            }
            Command::StartTimer { timer, .. } => self.open.insert(Open::Timer(*timer)),
            Command::StopTimer(timer) => self.open.remove(&Open::Timer(*timer)),
            Command::AcquireClaims { claim, turn, wait } => {
                let asked = self.open.iter().any(|open| matches!(open, Open::Claim(c, ..) if c == claim));
                self.open.insert(Open::Claim(*claim, *turn, *wait));
                !asked
            }
            Command::ReleaseClaims { claim, .. } => {
                self.open.retain(|open| !matches!(open, Open::Claim(c, ..) if c == claim));
                true
            }
            Command::Ask { question, answers, .. } => {
                let asked = self.open.iter().any(|open| matches!(open, Open::Ask(q, _) if q == question));
                self.open.insert(Open::Ask(*question, answers.clone()));
                !asked
            }
            Command::Unask(question) => {
                self.open.retain(|open| !matches!(open, Open::Ask(q, _) if q == question));
                true
            }
            Command::Announce(_) | Command::Notify { .. } | Command::Finish(_) => true,
        }
    }

    /// Folds the event in, and fails when that breaks an invariant.
    pub fn apply(&mut self, plan: &Plan, event: Event, before: Option<Rc<Story>>) -> Rc<Story> {
        let mut story = Story { before, event: event.clone(), told: Vec::new() };
        self.closes(&event);
        if let Event::Answered { question, .. } = &event {
            self.open.retain(|open| !matches!(open, Open::Ask(q, _) if q == question));
        }
        let stops = matches!(event, Event::AbortRequested { .. }) || self.state.mode == RunMode::Aborting;
        let before = self.state.clone();
        let mut finished = false;
        for command in machine::step(plan, &mut self.state, event) {
            let starts = matches!(
                command,
                Command::StartStep { .. }
                    | Command::Record { .. }
                    | Command::Ask { .. }
                    | Command::StartTimer { .. }
                    | Command::AcquireClaims { .. }
            );
            assert!(!finished, "{command:?} after the end:\n{}", story.text(plan));
            assert!(!(stops && starts), "{command:?} after an abort:\n{}", story.text(plan));
            let new = self.opens(&command);
            match command {
                Command::Record { stage, target, service, .. } => {
                    assert!(new, "asked twice for a record:\n{}", story.text(plan));
                    let known = before.records.contains_key(&(stage, target, service));
                    assert!(!known, "recorded twice:\n{}", story.text(plan));
                }
                Command::StartStep { step, .. } => {
                    check_start(plan, &before, &self.state, step, &story, self.reopened > 0);
                    assert!(new, "started twice:\n{}", story.text(plan));
                }
                Command::CancelStep { .. } => {
                    assert!(new, "cancels what does not run:\n{}", story.text(plan));
                }
                Command::StartTimer { timer, .. } => {
                    assert!(new, "{timer:?} was started twice:\n{}", story.text(plan));
                }
                Command::Ask { question, .. } => {
                    assert!(new, "{question:?} was asked twice:\n{}", story.text(plan));
                }
                Command::Announce(happening) => {
                    // What is taken up again may fail again.
                    let again = self.reopened > 0;
                    let new = again || !is_unique(plan, &happening) || !story.has_told(&happening);
                    assert!(new, "{happening:?} is told twice:\n{}", story.text(plan));
                    story.told.push(happening);
                }
                Command::AcquireClaims { claim, turn, .. } => {
                    let held = before.claims[claim.index()].status == ClaimStatus::Held;
                    assert!(new && (!held || turn > 1), "{claim:?} is claimed twice:\n{}", story.text(plan));
                }
                Command::Finish(_) => finished = true,
                Command::StopTimer(_)
                | Command::Unask(_)
                | Command::ReleaseClaims { .. }
                | Command::Notify { .. } => {}
            }
        }
        // A person may ask in vain to take back what has ended.
        let again = before.is_finished();
        assert!(again || finished == self.state.is_finished(), "{}", story.text(plan));
        for (index, (before, after)) in before.barriers.iter().zip(&self.state.barriers).enumerate() {
            let decided = !matches!(before, BarrierState::Undecided { .. });
            let name = &plan.barriers[index].name;
            assert!(!decided || before == after, "{name} was decided twice:\n{}", story.text(plan));
        }
        self.check_open(plan, &story);
        if self.state.mode == RunMode::Forward {
            check_doom(plan, &self.state, &story);
        }
        Rc::new(story)
    }

    /// Whatever is under way outside is awaited inside, and the other way round.
    fn check_open(&self, plan: &Plan, story: &Story) {
        let state = &self.state;
        let status = |step: StepId| &state.steps[step.index()].status;
        let attempts = |step: StepId| state.steps[step.index()].attempts;
        let waits = |question: &Question| {
            match question {
            Question::Step(step) => {
                matches!(status(*step), StepStatus::Asking(_) | StepStatus::AwaitingApproval)
            }
            Question::Place(place) => plan.places[place.index()].stage.is_some_and(|stage| {
                matches!(&state.stages[stage.index()].mode, StageMode::Asking(_, ask) if ask.place == *place)
            }),
            Question::Approval(approval) => state.approvals[approval.index()] == ApprovalState::Asked,
        }
        };
        for open in &self.open {
            let awaited = match open {
                Open::Step(step, attempt, _) | Open::Timer(Timer::Step(step, attempt)) => {
                    status(*step).is_active() && attempts(*step) == *attempt
                }
                Open::Timer(Timer::Backoff(step, attempt)) => {
                    *status(*step) == StepStatus::BackingOff && attempts(*step) + 1 == *attempt
                }
                Open::Timer(Timer::Barrier(place)) => {
                    let stage = plan.places[place.index()].stage.expect("commit has no timer");
                    let here = match &state.stages[stage.index()].mode {
                        StageMode::Forward(at) => {
                            plan.stages[stage.index()].positions[*at].work == Work::Barrier(*place)
                        }
                        StageMode::RollingBack(unwinding) => {
                            unwinding.queue.get(unwinding.at) == Some(&BlockItem::Barrier(*place))
                        }
                        _ => false,
                    };
                    here && state.places[place.index()] == PlaceState::Arrived
                }
                Open::Timer(Timer::Question(question)) | Open::Ask(question, _) => waits(question),
                Open::Record(..) => true,
                Open::Claim(claim, turn, _) => {
                    let known = state.claims[claim.index()];
                    known.status == ClaimStatus::Asked && known.turn == *turn
                }
            };
            assert!(awaited, "nobody waits for {open:?}:\n{}", story.text(plan));
        }
        for (index, claim) in state.claims.iter().enumerate() {
            let asked = self.open.iter().any(|open| matches!(open, Open::Claim(c, ..) if c.index() == index));
            assert_eq!(asked, claim.status == ClaimStatus::Asked, "claim {index}:\n{}", story.text(plan));
        }
        for (index, step) in state.steps.iter().enumerate() {
            let id = StepId(index as u32);
            let has = |wanted: &dyn Fn(&Open) -> bool| self.open.iter().any(wanted);
            let held = match &step.status {
                StepStatus::Recording => {
                    let data = &plan.steps[index];
                    let key = Open::Record(data.stage, data.action.target.unwrap(), data.action.service);
                    self.open.contains(&key)
                }
                StepStatus::Running => {
                    has(&|open| matches!(open, Open::Step(s, _, _) if *s == id))
                        && self.open.contains(&Open::Timer(Timer::Step(id, step.attempts)))
                }
                StepStatus::TimingOut | StepStatus::Dropping => {
                    has(&|open| matches!(open, Open::Step(s, _, _) if *s == id))
                }
                StepStatus::BackingOff => {
                    self.open.contains(&Open::Timer(Timer::Backoff(id, step.attempts + 1)))
                }
                StepStatus::Asking(_) | StepStatus::AwaitingApproval => {
                    has(&|open| matches!(open, Open::Ask(q, _) if *q == Question::Step(id)))
                        && self.open.contains(&Open::Timer(Timer::Question(Question::Step(id))))
                }
                _ => true,
            };
            assert!(held, "{} waits for nothing:\n{}", plan.steps[index].name, story.text(plan));
        }
    }
}

/// What can happen only once. (Rollback steps may run again when a larger rollback follows a smaller one.)
fn is_unique(plan: &Plan, happening: &Happening) -> bool {
    match happening {
        Happening::StepSucceeded(step) | Happening::StepSkipped(step) => {
            plan.steps[step.index()].role == Role::Forward
        }
        // It could not be started, again.
        Happening::StepFailed { attempt, .. } => *attempt > 0,
        Happening::StageFailing(_, _, decision) => decision.verdict != Verdict::Ask,
        Happening::Asked(..)
        | Happening::AnsweredBy(..)
        | Happening::QuestionTimedOut(_)
        | Happening::RollbackStarted(_)
        | Happening::ClaimsGranted(_)
        | Happening::StepDropped(_) => false,
        _ => true,
    }
}

/// In the machine step in which a stage fails for good its barriers break, and everybody who has not crossed is doomed.
fn check_doom(plan: &Plan, state: &State, story: &Story) {
    for (index, stage) in plan.stages.iter().enumerate() {
        let failed = match &state.stages[index].mode {
            StageMode::Draining(_, settled) => matches!(settled, machine::Settled::Verdict(_)),
            StageMode::RollingBack(_) => true,
            StageMode::Ended(outcome) => !matches!(outcome, StageOutcome::Succeeded | StageOutcome::Skipped),
            _ => false,
        };
        if !failed {
            continue;
        }
        let places = stage.positions.iter().filter_map(|position| match position.work {
            Work::Barrier(place) => Some(place),
            Work::Steps(_) => None,
        });
        let branch = &plan.items[stage.item.index()].branches[stage.branch as usize];
        for place in places.chain(branch.commit) {
            let uncrossed = matches!(state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived);
            let barrier = plan.places[place.index()].barrier;
            let broken = state.barriers[barrier.index()] == BarrierState::Broken;
            assert!(!uncrossed || broken, "{} failed, {barrier:?} stands:\n{}", stage.name, story.text(plan));
        }
        let later =
            branch.parts.iter().skip_while(|part| **part != Part::Stage(StageId(index as u32))).skip(1);
        for part in later {
            let over = match part {
                Part::Stage(stage) => matches!(state.stages[stage.index()].mode, StageMode::Ended(_)),
                Part::Approval(approval) => !matches!(
                    state.approvals[approval.index()],
                    ApprovalState::Waiting | ApprovalState::Asked
                ),
            };
            assert!(over, "{} failed, its lane goes on:\n{}", stage.name, story.text(plan));
        }
    }
    for (index, approval) in plan.approvals.iter().enumerate() {
        let parts = &plan.items[approval.item.index()].branches[approval.branch as usize].parts;
        let later = parts.iter().skip_while(|part| **part != Part::Approval(ApprovalId(index as u32)));
        let next = later.filter_map(|part| match part {
            Part::Stage(stage) => Some(&state.stages[stage.index()].mode),
            Part::Approval(_) => None,
        });
        let moot = next.take(1).any(|mode| *mode == StageMode::Ended(StageOutcome::NotStarted));
        let asked = state.approvals[index] == ApprovalState::Asked;
        assert!(!(asked && moot), "{} is asked for nothing:\n{}", approval.name, story.text(plan));
    }
    for (index, barrier) in plan.barriers.iter().enumerate() {
        if state.barriers[index] != BarrierState::Broken || barrier.kind != BarrierKind::Forward {
            continue;
        }
        for place in &barrier.places {
            let data = &plan.places[place.index()];
            let passes = data
                .scopes
                .iter()
                .flat_map(|scope| &plan.scopes[scope.index()].rules)
                .any(|rule| rule.kinds.contains(&Kind::Barrier));
            let uncrossed = matches!(state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived);
            let mode = &state.stages[data.stage.expect("a stage's place").index()].mode;
            let spared = match mode {
                StageMode::Waiting => true,
                StageMode::Forward(_) => !passes,
                _ => false,
            };
            assert!(!(uncrossed && spared), "{} is spared:\n{}", data.name, story.text(plan));
        }
    }
}

fn has_hosts(plan: &Plan, step: StepId) -> bool {
    let target = plan.steps[step.index()].action.target;
    target.is_some_and(|target| plan.targets[target.index()].settings.contains_key("hosts"))
}

/// Nobody starts a step behind a barrier that it has not passed, in a stage that has failed, or blindly.
fn check_start(plan: &Plan, before: &State, state: &State, step: StepId, story: &Story, reopened: bool) {
    let data = &plan.steps[step.index()];
    let stage = &plan.stages[data.stage.index()];
    let own = match (data.phase, data.role) {
        (Some(phase), _) => stage.phases[phase as usize].claim,
        (None, _) => stage.rollback_claim,
    };
    for claim in stage.claim.into_iter().chain(own) {
        let held = state.claims[claim.index()].status == ClaimStatus::Held;
        assert!(held, "{} started without its claim:\n{}", data.name, story.text(plan));
    }
    let was = &before.stages[data.stage.index()].mode;
    if data.role != Role::Forward {
        let stopped = matches!(was, StageMode::RollingBack(unwinding) if unwinding.failed);
        assert!(!stopped, "{} started in a failed rollback:\n{}", data.name, story.text(plan));
        let blind = plan.stages[data.stage.index()].positions.iter().any(|position| match &position.work {
            Work::Steps(steps) => steps.iter().any(|step| {
                let status = &state.steps[step.index()].status;
                status.is_active() || *status == StepStatus::Lost
            }),
            Work::Barrier(_) => false,
        });
        assert!(
            reopened || !blind,
            "{} started while something may still run:\n{}",
            data.name,
            story.text(plan)
        );
        if let Role::Undo(of) = data.role {
            assert!(
                state.steps[of.index()].attempts > 0,
                "{} undoes nothing:\n{}",
                data.name,
                story.text(plan)
            );
        }
        return;
    }
    let may = matches!(was, StageMode::Waiting | StageMode::Forward(_) | StageMode::Asking(..));
    assert!(may, "{} started in a failed stage:\n{}", data.name, story.text(plan));
    let recorded = data
        .action
        .target
        .is_none_or(|target| state.records.contains_key(&(data.stage, target, data.action.service)));
    assert!(!data.changes || recorded, "{} started without a record:\n{}", data.name, story.text(plan));
    for position in &plan.stages[data.stage.index()].positions {
        match &position.work {
            Work::Steps(steps) if steps.contains(&step) => return,
            Work::Steps(_) => {}
            Work::Barrier(place) => {
                let passed = !matches!(state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived);
                assert!(passed, "{} started before its barrier:\n{}", data.name, story.text(plan));
            }
        }
    }
}

/// What must hold at every end.
fn check_end(plan: &Plan, world: &World, story: &Story) {
    let state = &world.state;
    for index in 0..plan.stages.len() {
        let outcome = state.stage_outcome(StageId(index as u32));
        let name = &plan.stages[index].name;
        assert!(outcome.is_some(), "{name} has not ended:\n{}", story.text(plan));
        if outcome == Some(StageOutcome::RolledBack) {
            for step in plan.steps.iter().enumerate().filter(|(_, step)| step.stage.index() == index) {
                let (at, step) = step;
                if let Undo::Derived(undo) = step.undo
                    && state.steps[at].attempts > 0
                    && plan.stages[index].phases[step.phase.unwrap() as usize].rollback.is_none()
                    && plan.stages[index].rollback.is_none()
                {
                    let undone = state.steps[undo.index()].status.is_passed();
                    assert!(undone, "{} was not undone:\n{}", step.name, story.text(plan));
                }
            }
        }
    }
    let free = state.claims.iter().all(|claim| claim.status == ClaimStatus::Free);
    assert!(free, "something is held at the end:\n{}", story.text(plan));
    // A question to a driver that nobody needs the answer of any more may stay.
    let over = world.open.iter().all(|open| matches!(open, Open::Record(..)));
    assert!(over, "{:?} at the end:\n{}", world.open, story.text(plan));
}

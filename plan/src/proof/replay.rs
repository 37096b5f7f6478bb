//! Playing a counterexample on the machine: branches are brought where it wants them, the fault comes, and the rest of
//! the run goes as well as it can.
//!
//! A branch that is not where it should be is moved on only as far as that takes: by the end of a step, or by moving on
//! the participants that it waits for. So a meeting that can happen is found, and nobody is pushed past the place where he
//! should be.

use super::candidates::Candidate;
use super::course::{Fault, Truth, What, may_be_passed_over};
use super::effort::{self, Effort};
use super::group::Group;
use super::worlds::Known;
use crate::machine::{
    self, ApprovalState, BranchMode, PlaceState, RunMode, StageMode, State, StepStatus, judge_barrier, passes,
};
use crate::{
    Answer, BarrierId, BarrierKind, Command, ConditionId, Event, Expr, Failure, FailureFact, Happening,
    ItemId, Kind, Outcome, Part, Plan, Question, Role, ServiceId, StageId, StepId, TargetId, Timer, Value,
    Work,
};
use std::collections::{BTreeMap, BTreeSet};

/// Where a branch is to be.
#[derive(Debug, Clone, Copy)]
struct Goal {
    branch: u32,
    /// Its part, and the position in a stage; none: at `commit`.
    place: Option<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    NotYet,
    Missed,
}

/// A run, and what is under way outside.
pub(super) struct Replay<'a> {
    plan: &'a Plan,
    pub state: State,
    pub told: Vec<Happening>,
    running: BTreeMap<StepId, u32>,
    records: BTreeSet<(StageId, TargetId, Option<ServiceId>)>,
    timers: BTreeSet<Timer>,
    asked: BTreeMap<Question, Vec<Answer>>,
    /// What a step says when it fails.
    message: &'a str,
    /// What the steps put out that conditions ask for.
    outputs: BTreeMap<StepId, BTreeMap<String, Value>>,
    /// The steps that had succeeded when the fault came.
    before: BTreeSet<StepId>,
    left: usize,
    /// How many places were looked at for somebody who can go on.
    looked: usize,
}

/// The plan without what does not matter to who waits for whom: arguments, which may be open (but for how long something
/// takes), and claims. Conditions are
/// as known; one that asks how something failed is the machine's to decide, and so is one that reads what a step may not have
/// put out yet; any other open one holds.
pub(super) fn skeleton(plan: &Plan, truth: &Truth, undecidable: Option<ConditionId>) -> Plan {
    let mut plan = plan.clone();
    for (at, (condition, known)) in plan.conditions.iter_mut().zip(truth.all()).enumerate() {
        if let Some(staged) = truth.staged(ConditionId(at as u32)) {
            *condition = staged.form.clone();
            continue;
        }
        *condition = match known {
            Known::Comes { to, .. } => Expr::Value(Value::Bool(*to)),
            Known::Fails => Expr::Param("?".into()),
            Known::Asks(asks) => asks.clone(),
            Known::Open if condition.asks_of_failure(&FailureFact::ALL) => continue,
            Known::Open => Expr::Value(Value::Bool(true)),
        };
    }
    plan.skip_places(&|condition| truth.kept_away([&condition]) == Some(true));
    if let Some(id) = undecidable {
        plan.conditions[id.index()] = Expr::Param("?".into());
    }
    for step in &mut plan.steps {
        step.action.arguments.retain(|_, value| matches!(value.as_value(), Some(Value::Duration(_))));
    }
    for target in &mut plan.targets {
        target.settings.clear();
    }
    for service in &mut plan.services {
        service.settings.clear();
        service.artifact.clear();
    }
    for stage in &mut plan.stages {
        stage.notifies.clear();
    }
    plan.notifies.clear();
    plan
}

/// What steps put out that conditions of a skeleton ask for.
fn put_out(bare: &Plan) -> BTreeMap<StepId, BTreeMap<String, Value>> {
    let mut found: BTreeMap<StepId, BTreeMap<String, Value>> = BTreeMap::new();
    for condition in &bare.conditions {
        condition.walk(&mut |part| {
            if let Expr::Output { step, name } = part {
                found.entry(*step).or_default().insert(name.clone(), Value::Bool(true));
            }
        });
    }
    found
}

/// What steps are tried to say when they fail: nothing special, and whatever conditions look for in it.
pub(super) fn messages(bare: &Plan) -> Vec<String> {
    const MOST: usize = 8;
    let mut found = vec!["it fails here".to_owned()];
    for condition in bare.conditions.iter().filter(|it| it.asks_of_failure(&[FailureFact::Message])) {
        condition.walk(&mut |part| match part {
            Expr::Value(Value::Text(text)) if !found.contains(text) && found.len() < MOST => {
                found.push(text.clone());
            }
            _ => {}
        });
    }
    found
}

/// Who comes last to the barrier right before a condition that cannot be decided: all that cross it go on in one machine step,
/// the last to come first, so that it decides what has begun when the stage fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Nobody is held back.
    Anyone,
    /// Anyone but the branch that will fail.
    Others,
    /// The branch in which something stays.
    First,
}

/// The orders in which a candidate is worth playing.
pub(super) fn orders(group: &Group<'_>, candidate: &Candidate) -> &'static [Last] {
    let before = candidate.at.at.checked_sub(1).filter(|_| candidate.later.is_none());
    let course = &group.shapes[candidate.at.shape].course;
    let meets = before.is_some_and(|at| matches!(course.elements[at].what, What::Barrier { .. }));
    match candidate.others.is_empty() || !meets || !falls(group, &candidate.trigger.fault) {
        true => &[Last::Anyone],
        false => &[Last::Anyone, Last::Others, Last::First],
    }
}

/// Whether a fault comes by itself: a condition that cannot be decided.
fn falls(group: &Group<'_>, fault: &Fault) -> bool {
    match fault {
        Fault::Condition(_) => true,
        Fault::Step { step, kind: Kind::Application, .. } => {
            let mut when = group.plan.steps[step.index()].when.iter();
            when.any(|condition| *group.truth.known(*condition) == Known::Fails)
        }
        _ => false,
    }
}

/// Plays a candidate with these branches in the parts of its points, and steps that say this when they fail. Nothing comes
/// of it where they cannot be there together.
pub(super) fn replay<'a>(
    plan: &'a Plan,
    group: &Group<'_>,
    candidate: &Candidate,
    branches: &[usize],
    (message, last): (&'a str, Last),
    effort: &mut Effort,
) -> Option<Replay<'a>> {
    let mut replay = Replay::begin(plan, message);
    let most = replay.left;
    let played = play(&mut replay, group, candidate, branches, last);
    // Beginning a run is quicker than reading its plan, and looking at a place than an event.
    effort.take(effort::once(plan) / 4 + most - replay.left + replay.looked / 16);
    played.filter(|()| replay.state.is_finished()).map(|()| replay)
}

/// Plays it, in a run that has begun.
fn play(
    replay: &mut Replay<'_>,
    group: &Group<'_>,
    candidate: &Candidate,
    branches: &[usize],
    last: Last,
) -> Option<()> {
    let plan = replay.plan;
    let goal = |branch: usize, at: usize| Goal {
        branch: branch as u32,
        place: group.branches[branch].1.elements.get(at).map(|it| (it.part, it.at)),
    };
    match candidate.later {
        Some((item, _)) => replay.fail_later(item, &candidate.trigger.fault)?,
        None => {
            let mut goals: Vec<Goal> = candidate
                .others
                .iter()
                .zip(&branches[1..])
                .map(|(point, branch)| goal(*branch, point.at))
                .collect();
            goals.push(goal(branches[0], candidate.at.at));
            let fault =
                &group.branches[branches[0]].1.elements[candidate.at.at].triggers[candidate.nth].fault;
            // Who has to wait for the last to come is brought there before.
            let before = candidate.at.at.saturating_sub(1);
            let early: Vec<Goal> = match (last, &group.branches[branches[0]].1.elements[before].what) {
                (Last::Others, _) => vec![goal(branches[0], before)],
                (Last::First, What::Barrier { barrier, .. }) => {
                    let places = plan.barriers[barrier.index()].places.iter();
                    let peers: BTreeSet<usize> =
                        places.map(|place| plan.places[place.index()].branch as usize).collect();
                    let at = |branch: usize| {
                        let mut elements = group.branches[branch].1.elements.iter();
                        let here =
                            |what: &What| matches!(what, What::Barrier { barrier: it, .. } if it == barrier);
                        elements.position(|element| here(&element.what)).map(|at| goal(branch, at))
                    };
                    peers.into_iter().filter(|peer| *peer != branches[1]).filter_map(at).collect()
                }
                _ => Vec::new(),
            };
            if !early.is_empty() {
                replay.bring(group.item, &early, false)?;
            }
            replay.bring(group.item, &goals, falls(group, fault))?;
            let steps = replay.state.steps.iter().enumerate();
            let passed = steps.filter(|(_, step)| step.status == StepStatus::Succeeded);
            replay.before = passed.map(|(at, _)| StepId(at as u32)).collect();
            replay.fire(fault);
        }
    }
    replay.finish();
    Some(())
}

impl<'a> Replay<'a> {
    fn begin(plan: &'a Plan, message: &'a str) -> Self {
        let size = plan.steps.len() + plan.places.len() + plan.approvals.len();
        let mut replay = Replay {
            plan,
            state: State::new(plan),
            told: Vec::new(),
            running: BTreeMap::new(),
            records: BTreeSet::new(),
            timers: BTreeSet::new(),
            asked: BTreeMap::new(),
            message,
            outputs: put_out(plan),
            before: BTreeSet::new(),
            left: 1_000_000 + 64 * size,
            looked: 0,
        };
        replay.deliver(Event::Started { run: "proof".into(), by: "proof".into() });
        replay
    }

    fn deliver(&mut self, event: Event) {
        self.left = self.left.saturating_sub(1);
        match &event {
            Event::StepEnded { step, .. } => {
                self.running.remove(step);
            }
            Event::Recorded { stage, target, service, .. } => {
                self.records.remove(&(*stage, *target, *service));
            }
            Event::TimerFired(timer) => {
                self.timers.remove(timer);
            }
            _ => {}
        }
        // Whatever is claimed is free: waiting for it only removes executions.
        let mut claimed = Vec::new();
        for command in machine::step(self.plan, &mut self.state, event) {
            match command {
                Command::AcquireClaims { claim, turn, .. } => claimed.push((claim, turn)),
                Command::Record { stage, target, service, .. } => {
                    self.records.insert((stage, target, service));
                }
                Command::StartStep { step, attempt, .. } => {
                    self.running.insert(step, attempt);
                }
                Command::StartTimer { timer, .. } => {
                    self.timers.insert(timer);
                }
                Command::StopTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Command::Ask { question, answers, .. } => {
                    self.asked.insert(question, answers);
                }
                Command::Unask(question) => {
                    self.asked.remove(&question);
                }
                Command::Announce(happening) => self.told.push(happening),
                _ => {}
            }
        }
        for (claim, turn) in claimed {
            self.deliver(Event::ClaimsGranted { claim, turn });
        }
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        self.deliver(Event::Answered { question, answer, by: "a person".into(), comment: None });
    }

    fn end(&mut self, step: StepId, outcome: Outcome) {
        if let Some(attempt) = self.running.get(&step).copied() {
            self.deliver(Event::StepEnded { step, attempt, outcome });
        }
    }

    fn succeed(&mut self, step: StepId) {
        let outputs = self.outputs.get(&step).cloned().unwrap_or_default();
        self.end(step, Outcome::Succeeded { outputs });
    }

    fn record(&mut self, (stage, target, service): (StageId, TargetId, Option<ServiceId>)) {
        let record = Ok(Value::Map(BTreeMap::new()));
        self.deliver(Event::Recorded { stage, target, service, record });
    }

    /// Moves branches of the item on until each is where it should be. Where the last one's fault is a condition that it
    /// cannot decide it `falls` by itself as soon as it comes there, and nobody is where he was any more: it goes last.
    fn bring(&mut self, item: ItemId, goals: &[Goal], falls: bool) -> Option<()> {
        while self.state.item < item.index() {
            self.one_success()?;
        }
        loop {
            let reached: Vec<Reached> = goals.iter().map(|goal| self.reached(item, goal)).collect();
            if falls && reached.last() == Some(&Reached::Missed) {
                return Some(());
            }
            let open = (0..goals.len()).find(|index| reached[*index] == Reached::NotYet);
            if reached.contains(&Reached::Missed) || self.left == 0 {
                return None;
            }
            let Some(open) = open else { return Some(()) };
            let frozen: Vec<Goal> = goals
                .iter()
                .zip(&reached)
                .filter(|(_, it)| **it == Reached::Yes)
                .map(|(goal, _)| *goal)
                .collect();
            let branch = goals[open].branch;
            if self.advance(item, branch, &frozen, &mut Vec::new()) {
                continue;
            }
            // Perhaps another one can go first.
            let moved = (open + 1..goals.len()).any(|index| {
                reached[index] == Reached::NotYet
                    && self.advance(item, goals[index].branch, &frozen, &mut Vec::new())
            });
            if !moved {
                return None;
            }
        }
    }

    fn reached(&self, item: ItemId, goal: &Goal) -> Reached {
        let branch = &self.state.items[item.index()].branches[goal.branch as usize];
        let Some((part, at)) = goal.place else {
            return match branch.mode {
                BranchMode::AtCommit => Reached::Yes,
                BranchMode::Pending | BranchMode::Running => Reached::NotYet,
                _ => Reached::Missed,
            };
        };
        match branch.mode {
            BranchMode::Pending => return Reached::NotYet,
            BranchMode::Running if branch.part < part => return Reached::NotYet,
            BranchMode::Running if branch.part == part => {}
            _ => return Reached::Missed,
        }
        match self.plan.items[item.index()].branches[goal.branch as usize].parts.get(part) {
            Some(Part::Approval(approval)) => match self.state.approvals[approval.index()] {
                ApprovalState::Asked => Reached::Yes,
                _ => Reached::Missed,
            },
            Some(Part::Stage(stage)) => match self.state.stages[stage.index()].mode {
                StageMode::Forward(now) if now < at => Reached::NotYet,
                StageMode::Forward(now) if now == at => self.stands(*stage, at),
                _ => Reached::Missed,
            },
            None => Reached::Missed,
        }
    }

    /// Whether everything that a stage does at a position is under way.
    fn stands(&self, stage: StageId, at: usize) -> Reached {
        let Some(position) = self.plan.stages[stage.index()].positions.get(at) else {
            return Reached::Missed;
        };
        match &position.work {
            Work::Barrier(place) if self.state.places[place.index()] == PlaceState::Arrived => Reached::Yes,
            Work::Barrier(_) => Reached::Missed,
            Work::Steps(steps) => {
                let status = |step: &StepId| &self.state.steps[step.index()].status;
                if steps.iter().any(|step| *status(step) == StepStatus::Recording) {
                    return Reached::NotYet;
                }
                let under_way = |step: &StepId| {
                    matches!(
                        status(step),
                        StepStatus::Running | StepStatus::AwaitingApproval | StepStatus::Skipped
                    )
                };
                if steps.iter().all(under_way) { Reached::Yes } else { Reached::Missed }
            }
        }
    }

    /// Moves a branch on by one event of its own, or of somebody it waits for. Whether that could be done.
    fn advance(&mut self, item: ItemId, branch: u32, frozen: &[Goal], visiting: &mut Vec<u32>) -> bool {
        if visiting.contains(&branch) || frozen.iter().any(|goal| goal.branch == branch) || self.left == 0 {
            return false;
        }
        visiting.push(branch);
        let state = &self.state.items[item.index()].branches[branch as usize];
        match state.mode {
            BranchMode::Pending => {
                // It needs a slot: somebody who holds one has to come to his end.
                let holders: Vec<u32> = (0..branch)
                    .filter(|it| {
                        self.state.items[item.index()].branches[*it as usize].mode == BranchMode::Running
                    })
                    .collect();
                holders.into_iter().any(|holder| self.advance(item, holder, frozen, visiting))
            }
            BranchMode::Running => {
                let part = self.plan.items[item.index()].branches[branch as usize].parts.get(state.part);
                match part.copied() {
                    Some(Part::Approval(approval)) => {
                        self.answer(Question::Approval(approval), Answer::Approve);
                        true
                    }
                    Some(Part::Stage(stage)) => self.advance_stage(item, stage, frozen, visiting),
                    None => false,
                }
            }
            _ => false,
        }
    }

    fn advance_stage(
        &mut self,
        item: ItemId,
        stage: StageId,
        frozen: &[Goal],
        visiting: &mut Vec<u32>,
    ) -> bool {
        let StageMode::Forward(at) = self.state.stages[stage.index()].mode else { return false };
        let plan = self.plan;
        match plan.stages[stage.index()].positions.get(at).map(|position| &position.work) {
            Some(Work::Steps(steps)) => {
                if let Some(record) = self.records.iter().find(|(of, _, _)| *of == stage).copied() {
                    self.record(record);
                    return true;
                }
                for &step in steps {
                    if self.running.contains_key(&step) {
                        self.succeed(step);
                        return true;
                    }
                    if self.asked.contains_key(&Question::Step(step)) {
                        self.answer(Question::Step(step), Answer::Approve);
                        return true;
                    }
                }
                false
            }
            Some(Work::Barrier(place)) => {
                let barrier = plan.places[place.index()].barrier;
                let places = &plan.barriers[barrier.index()].places;
                self.looked += places.len();
                let missing = places.iter().copied();
                let missing: Vec<u32> = missing
                    .filter(|peer| self.state.places[peer.index()] == PlaceState::Ahead)
                    .map(|peer| plan.places[peer.index()].branch)
                    .collect();
                missing.into_iter().any(|peer| self.advance(item, peer, frozen, visiting))
                    || self.wait_out(barrier)
            }
            None => false,
        }
    }

    /// Lets a wait run out where nobody minds.
    fn wait_out(&mut self, barrier: BarrierId) -> bool {
        let places = &self.plan.barriers[barrier.index()].places;
        let uncrossed = |place: &&crate::PlaceId| {
            matches!(self.state.places[place.index()], PlaceState::Ahead | PlaceState::Arrived)
        };
        let harmless =
            places.iter().filter(uncrossed).all(|place| passes(&judge_barrier(self.plan, *place).0));
        let timer =
            places.iter().map(|place| Timer::Barrier(*place)).find(|timer| self.timers.contains(timer));
        match timer {
            Some(timer) if harmless => {
                self.deliver(Event::TimerFired(timer));
                true
            }
            _ => false,
        }
    }

    fn fire(&mut self, fault: &Fault) {
        match fault {
            Fault::Step { step, kind, hosts, answer } => self.fail(*step, *kind, *hosts, *answer),
            Fault::Waited(place) => self.deliver(Event::TimerFired(Timer::Barrier(*place))),
            Fault::Approval(approval, kind) => {
                let question = Question::Approval(*approval);
                match kind {
                    Kind::Timeout => self.deliver(Event::TimerFired(Timer::Question(question))),
                    _ => self.answer(question, Answer::Reject),
                }
            }
            // It has failed by itself.
            Fault::Condition(_) => {}
        }
    }

    /// Lets every attempt of a step fail, and answers what is asked about that.
    fn fail(&mut self, step: StepId, kind: Kind, hosts: Option<(u32, u32)>, answer: Option<Answer>) {
        let question = Question::Step(step);
        while self.left > 0 {
            let state = &self.state.steps[step.index()];
            match state.status {
                StepStatus::Running | StepStatus::TimingOut => {
                    let message = self.message.to_owned();
                    self.end(step, Outcome::Failed(Failure { kind, message, hosts }));
                }
                StepStatus::BackingOff => {
                    let timer = Timer::Backoff(step, state.attempts + 1);
                    self.deliver(Event::TimerFired(timer));
                }
                StepStatus::AwaitingApproval if kind == Kind::Timeout => {
                    self.deliver(Event::TimerFired(Timer::Question(question)));
                }
                StepStatus::AwaitingApproval => self.answer(question, Answer::Reject),
                StepStatus::Asking(_) => match answer {
                    Some(answer) => self.answer(question, answer),
                    None => self.deliver(Event::TimerFired(Timer::Question(question))),
                },
                _ => return,
            }
        }
    }

    /// Everything succeeds until a later item comes to the fault.
    fn fail_later(&mut self, item: ItemId, fault: &Fault) -> Option<()> {
        loop {
            let come = match fault {
                Fault::Step { step, .. } => {
                    let asked = self.asked.contains_key(&Question::Step(*step));
                    asked || self.running.contains_key(step)
                }
                Fault::Approval(approval, _) => self.asked.contains_key(&Question::Approval(*approval)),
                Fault::Waited(place) => self.timers.contains(&Timer::Barrier(*place)),
                // It fails by itself when it is come to.
                Fault::Condition(_) => return Some(()),
            };
            if come && self.state.item == item.index() {
                self.fire(fault);
                if let Fault::Waited(place) = fault {
                    self.refuse(Question::Place(*place));
                }
                return Some(());
            }
            // Who is to wait for the others goes ahead of them, and so does what stands before it in its lane.
            let ahead = match fault {
                Fault::Waited(place) => {
                    let branch = self.plan.places[place.index()].branch;
                    self.running.keys().copied().find(|step| {
                        let stage = &self.plan.stages[self.plan.steps[step.index()].stage.index()];
                        stage.item == item && stage.branch == branch
                    })
                }
                _ => None,
            };
            match ahead {
                Some(step) if self.records.is_empty() => self.succeed(step),
                _ => self.one_success()?,
            }
        }
    }

    /// A person who is asked what a broken barrier means takes the stage back, or says nothing.
    fn refuse(&mut self, question: Question) {
        match self.asked.get(&question) {
            Some(answers) if answers.contains(&Answer::Rollback) => self.answer(question, Answer::Rollback),
            Some(_) => self.deliver(Event::TimerFired(Timer::Question(question))),
            None => {}
        }
    }

    /// Whether something was decided as if a step had put out nothing that had put it out before the fault came, and could not
    /// have come to nothing there: one of the branches that the candidate brings to their places.
    pub fn tells_of_silent(&self, group: &Group<'_>, branches: &[usize]) -> bool {
        let plan = self.plan;
        let here = |stage: StageId| {
            let data = &plan.stages[stage.index()];
            data.item == group.item && branches.contains(&(data.branch as usize))
        };
        let speaks = |undo: StageId, step: &StepId| {
            let of = plan.steps[step.index()].stage;
            let same = plan.stages[of.index()].branch == plan.stages[undo.index()].branch;
            same && here(of) && self.before.contains(step) && !may_be_passed_over(plan, *step)
        };
        let mut undoing = plan.steps.iter().zip(&self.state.steps).filter(|(step, now)| {
            step.role != Role::Forward && now.status != StepStatus::Idle && here(step.stage)
        });
        undoing.any(|(step, _)| {
            let mut staged = step.when.iter().filter_map(|condition| group.truth.staged(*condition));
            staged.any(|staged| staged.silent.iter().any(|it| speaks(step.stage, it)))
        })
    }

    /// Whether a group that had succeeded was taken back, which is because of a later item.
    pub fn takes_back(&self, group: ItemId) -> bool {
        let ours = |barrier: BarrierId| {
            let barrier = &self.plan.barriers[barrier.index()];
            barrier.item == group && barrier.kind == BarrierKind::Commit
        };
        let of_group = |stage: StageId| self.plan.stages[stage.index()].item == group;
        let succeeded = |told: &Happening| matches!(told, Happening::BarrierOpened(it) if ours(*it));
        let back = |told: &Happening| matches!(told, Happening::RollbackStarted(it) if of_group(*it));
        self.told.iter().any(succeeded) && self.told.iter().any(back)
    }

    /// Whatever can go well does, until the run has ended.
    fn finish(&mut self) {
        while !self.state.is_finished() && self.one_success().is_some() {}
    }

    /// One thing goes well. Nothing when there is nothing left that could.
    fn one_success(&mut self) -> Option<()> {
        if self.left == 0 || self.state.is_finished() || self.state.mode == RunMode::NotStarted {
            return None;
        }
        if let Some(record) = self.records.first().copied() {
            self.record(record);
        } else if let Some((step, _)) = self.running.first_key_value() {
            let step = *step;
            self.succeed(step);
        } else if let Some((question, answers)) = self.asked.first_key_value() {
            let (question, wanted) = (*question, [Answer::Approve, Answer::Succeed, Answer::Rollback]);
            let answer = wanted.into_iter().find(|it| answers.contains(it))?;
            self.answer(question, answer);
        } else {
            let waits = |timer: &&Timer| matches!(timer, Timer::Backoff(..));
            let timer = self.timers.iter().find(waits).or(self.timers.first()).copied()?;
            self.deliver(Event::TimerFired(timer));
        }
        Some(())
    }
}

/// Which branches can stand for the points of a candidate: any, where branches of one shape are alike; several are tried
/// where `max` tells them apart.
pub(super) fn assignments(group: &Group<'_>, candidate: &Candidate) -> (Vec<Vec<usize>>, bool) {
    const MOST: usize = 64;
    let points: Vec<usize> =
        std::iter::once(candidate.at.shape).chain(candidate.others.iter().map(|point| point.shape)).collect();
    let branches = group.branches.len();
    let max = group.plan.items[group.item.index()].group.and_then(|group| group.max);
    let limited = max.is_some_and(|max| (max as usize) < branches);
    let mut found: Vec<Vec<usize>> = vec![Vec::new()];
    for shape in points {
        let mut longer = Vec::new();
        for taken in &found {
            let free = group.shapes[shape].members.iter().filter(|member| !taken.contains(member));
            let mut free: Vec<usize> = free.copied().collect();
            if limited && let Some(first) = taken.first() {
                // Neighbours are the likeliest to run at the same time.
                free.sort_by_key(|member| member.abs_diff(*first));
            }
            free.truncate(if limited { MOST } else { 1 });
            longer.extend(free.into_iter().map(|member| [taken.as_slice(), &[member]].concat()));
        }
        found = longer;
    }
    let complete = !limited || found.len() <= MOST;
    found.sort_by_key(|it| it.iter().map(|member| member.abs_diff(it[0])).sum::<usize>());
    found.truncate(MOST);
    (found, complete)
}

/// A condition that the candidate needs to be undecidable.
pub(super) fn undecidable(candidate: &Candidate) -> Option<ConditionId> {
    match candidate.trigger.fault {
        Fault::Condition(condition) => Some(condition),
        _ => None,
    }
}

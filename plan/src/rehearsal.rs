//! Every failure of a plan, one after another: what each stage ends as, which barriers break, who is asked, how long it
//! can take.

use crate::machine::{BarrierState, Settled, answers, is_approval, judge_barrier, rule_for};
use crate::proof::{is_mixed, limits};
use crate::simulate::{Scenario, Simulation, simulate};
use crate::{
    Answer, ApprovalId, BarrierKind, Cause, Failure, Happening, ItemId, Kind, Part, PlaceId, Plan, Question,
    Reaction, Role, RunOutcome, StageId, StageOutcome, StepId, Value, Work, question_name,
};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A row of the matrix: one thing that is chosen to fail, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What fails besides what the scenario says; nothing in the first row.
    pub fail: Option<Chosen>,
    /// How the run ends; nothing when it never would.
    pub outcome: Option<RunOutcome>,
    /// How each stage ends, in the plan's order.
    pub stages: Vec<Option<StageOutcome>>,
    /// What each barrier comes to, in the plan's order.
    pub barriers: Vec<BarrierState>,
    /// What is asked, each once, in the order in which it is: its name, and who.
    pub asked: Vec<(String, String)>,
    /// How long the run takes at most when every attempt takes as long as its timeout allows, and every question is open for
    /// as long as it may be where the scenario does not answer it, in milliseconds. See [`every_failure`].
    pub at_most: u64,
    /// Groups (their numbers) that promise all or nothing and end mixed.
    pub mixed: Vec<u32>,
}

/// Something that can be chosen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallible {
    /// A step.
    Step(StepId),
    /// An approval between stages.
    Approval(ApprovalId),
    /// The wait of a participant at a barrier, which runs out because others are late.
    Wait(PlaceId),
}

/// A failure that is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// What fails.
    pub what: Fallible,
    /// How.
    pub kind: Kind,
    /// On how many of its hosts, in percent; nothing where that makes no difference.
    pub share: Option<u32>,
}

impl Chosen {
    /// As `--fail` takes it: `STEP=KIND` or `STEP=KIND@SHARE%`.
    pub fn text(self, plan: &Plan) -> String {
        let mut text = format!("{}={}", self.what.name(plan), self.kind);
        if let Some(share) = self.share {
            let _ = write!(text, "@{share}%");
        }
        text
    }
}

impl Fallible {
    /// Its full name.
    pub fn name(self, plan: &Plan) -> &str {
        match self {
            Fallible::Step(step) => &plan.steps[step.index()].name,
            Fallible::Approval(approval) => &plan.approvals[approval.index()].name,
            Fallible::Wait(place) => &plan.places[place.index()].name,
        }
    }

    /// The kinds of failure that it can end with, the plainest first.
    pub fn kinds(self, plan: &Plan) -> Vec<Kind> {
        let asks = match self {
            Fallible::Step(step) => is_approval(&plan.steps[step.index()]),
            Fallible::Approval(_) => true,
            Fallible::Wait(_) => return vec![Kind::Barrier],
        };
        match asks {
            true => vec![Kind::ApprovalRejected, Kind::Timeout],
            false => Kind::ALL
                .into_iter()
                .filter(|kind| !matches!(kind, Kind::Barrier | Kind::ApprovalRejected))
                .collect(),
        }
    }
}

impl Scenario {
    /// Lets something fail. A wait is let run out by [`late`].
    pub fn fail(&mut self, chosen: Chosen) {
        match chosen.what {
            Fallible::Step(step) => {
                self.fail.insert(step, chosen.kind);
                self.shares.extend(chosen.share.map(|share| (step, share)));
            }
            Fallible::Approval(approval) => _ = self.refuse.insert(approval, chosen.kind),
            Fallible::Wait(_) => {}
        }
    }

    /// Whether something was chosen to fail.
    fn fails(&self, what: Fallible) -> bool {
        match what {
            Fallible::Step(step) => self.fail.contains_key(&step),
            Fallible::Approval(approval) => self.refuse.contains_key(&approval),
            Fallible::Wait(_) => false,
        }
    }
}

/// What people may ever be asked, and what they may answer.
pub fn questions(plan: &Plan) -> Vec<(Question, Vec<Answer>)> {
    let asks = |rule: &crate::Rule| {
        let mut reaction = &rule.reaction;
        while let Reaction::Retry { then, .. } = reaction {
            reaction = then;
        }
        matches!(reaction, Reaction::Ask { .. })
    };
    let mut found = Vec::new();
    for index in 0..plan.approvals.len() {
        let question = Question::Approval(ApprovalId(index as u32));
        found.push((question, vec![Answer::Approve, Answer::Reject]));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let id = StepId(index as u32);
        if is_approval(step) {
            found.push((Question::Step(id), vec![Answer::Approve, Answer::Reject]));
        } else if step.scopes.iter().any(|scope| plan.scopes[scope.index()].rules.iter().any(asks)) {
            found.push((Question::Step(id), answers(plan, id)));
        }
    }
    for (index, place) in plan.places.iter().enumerate() {
        let id = PlaceId(index as u32);
        let group = plan.items[plan.barriers[place.barrier.index()].item.index()].group;
        // In a group with a promise `commit` breaks at the same moment, and nobody is asked.
        let promised = group.is_some_and(|group| group.all_or_nothing);
        if let Settled::Ask(ask) = judge_barrier(plan, id).0
            && !promised
        {
            let mut answers = vec![Answer::Rollback, Answer::Abort];
            if ask.named {
                answers.extend([Answer::Ignore, Answer::Succeed]);
            }
            found.push((Question::Place(id), answers));
        }
    }
    found
}

/// The failures that a step's rules tell apart, the plainest of each: kinds, and shares of the step's hosts just under what
/// rules ask for. What no rule is about is one.
pub fn failures_told_apart(plan: &Plan, step: StepId) -> Vec<Chosen> {
    let scopes = &plan.steps[step.index()].scopes;
    let shares = limits(plan, step).into_iter().map(|limit| limit.min(101).saturating_sub(1));
    let shares: Vec<Option<u32>> =
        std::iter::once(None).chain(shares.filter(|share| *share > 0).map(Some)).collect();
    let what = Fallible::Step(step);
    let kinds = what.kinds(plan);
    let all =
        shares.iter().flat_map(|share| kinds.iter().map(|kind| Chosen { what, kind: *kind, share: *share }));
    let mut seen = BTreeSet::new();
    all.filter(|it| {
        let failure = Failure { hosts: it.share.map(|share| (share, 100)), ..Failure::new(it.kind, "") };
        seen.insert(rule_for(plan, scopes, &failure).map(|(rule, _)| rule))
    })
    .collect()
}

/// Picks steps.
type Which<'a> = dyn Fn(StepId, &crate::Step) -> bool + 'a;

/// The scenario in which the wait of a participant at a barrier runs out, because others whom it waits for take as long as
/// they may: every attempt in what is between them and the barrier, or everything they do. Nothing where slow steps alone do
/// not lead there.
pub fn late(plan: &Plan, scenario: &Scenario, place: PlaceId) -> Option<Scenario> {
    let data = &plan.places[place.index()];
    let barrier = &plan.barriers[data.barrier.index()];
    if barrier.kind != BarrierKind::Forward || data.timeout.is_none() {
        return None;
    }
    let others: Vec<StageId> = barrier
        .places
        .iter()
        .filter_map(|it| plan.places[it.index()].stage)
        .filter(|it| Some(*it) != data.stage)
        .collect();
    let near: BTreeSet<StepId> = others.iter().flat_map(|stage| before(plan, *stage, data.barrier)).collect();
    let own = |step: &crate::Step| Some(step.stage) == data.stage;
    let elsewhere = |step: &crate::Step| !own(step) && plan.stages[step.stage.index()].item == barrier.item;
    let tries: [&Which<'_>; 2] =
        [&|id, _| near.contains(&id), &|_, step| step.role == Role::Forward && elsewhere(step)];
    let runs_out = |scenario: &Scenario| {
        let cause =
            |it: &Happening| matches!(it, Happening::BarrierBroken(_, _, Cause::Waited(at)) if *at == place);
        simulate(plan, scenario).events.iter().any(|(_, happening)| cause(happening))
    };
    tries.into_iter().map(|which| slow(plan, scenario, which)).find(runs_out)
}

/// The steps between a stage's place at a barrier and the barrier before it, or the beginning of its lane.
fn before(plan: &Plan, stage: StageId, barrier: crate::BarrierId) -> Vec<StepId> {
    let data = &plan.stages[stage.index()];
    let lane = &plan.items[data.item.index()].branches[data.branch as usize].parts;
    let earlier = lane.iter().take_while(|part| **part != Part::Stage(stage)).filter_map(|part| match part {
        Part::Stage(stage) => Some(&plan.stages[stage.index()].positions),
        Part::Approval(_) => None,
    });
    let mut found = Vec::new();
    for work in earlier.flatten().chain(&data.positions).map(|position| &position.work) {
        match work {
            Work::Steps(steps) => found.extend(steps),
            Work::Barrier(place) if plan.places[place.index()].barrier == barrier => break,
            Work::Barrier(_) => found.clear(),
        }
    }
    found
}

/// Plays a scenario, and then again with each further failure: of every forward step with each kind and share of hosts that
/// the step's rules tell apart, of every approval, and of every wait at a barrier that slow steps can make run out (see
/// [`late`]). Approvals that the scenario says nothing about are given.
///
/// How long a run takes at most is looked at in four ways, of which the longest counts: as the scenario has it; with every
/// attempt as long as its timeout allows; the same while waits at barriers never run out; and with only the stage that fails
/// and all rollbacks being slow, so that the others have come far by then and have much to take back.
pub fn every_failure(plan: &Plan, scenario: &Scenario) -> Vec<Rehearsal> {
    let mut scenario = scenario.clone();
    for (question, answers) in questions(plan) {
        if answers.contains(&Answer::Approve) {
            scenario.answers.entry(question).or_insert(Answer::Approve);
        }
    }
    let mut rows = vec![rehearse(plan, &scenario, None)];
    let steps =
        plan.steps.iter().enumerate().filter(|(_, step)| step.role == Role::Forward && !never(plan, step));
    let steps = steps.map(|(index, _)| StepId(index as u32));
    let failures = steps.flat_map(|step| failures_told_apart(plan, step));
    let approvals = (0..plan.approvals.len()).map(|index| Fallible::Approval(ApprovalId(index as u32)));
    let refused = approvals.flat_map(|what| {
        // Rules of the pipeline are all that can tell kinds apart.
        let most = if plan.rules.is_empty() { 1 } else { 2 };
        what.kinds(plan).into_iter().take(most).map(move |kind| Chosen { what, kind, share: None })
    });
    let chosen = failures.chain(refused).filter(|it| !scenario.fails(it.what));
    rows.extend(chosen.map(|chosen| {
        let mut scenario = scenario.clone();
        scenario.fail(chosen);
        rehearse(plan, &scenario, Some(chosen))
    }));
    rows.extend((0..plan.places.len() as u32).map(PlaceId).filter_map(|place| {
        let chosen = Chosen { what: Fallible::Wait(place), kind: Kind::Barrier, share: None };
        Some(rehearse(plan, &late(plan, &scenario, place)?, Some(chosen)))
    }));
    rows
}

/// Whether a step is skipped whatever happens.
fn never(plan: &Plan, step: &crate::Step) -> bool {
    let stage = &plan.stages[step.stage.index()];
    let own = |position: &&crate::Position| match &position.work {
        crate::Work::Steps(steps) => steps.iter().any(|it| plan.steps[it.index()].name == step.name),
        crate::Work::Barrier(_) => false,
    };
    let around =
        stage.positions.iter().find(own).map(|position| position.when.as_slice()).unwrap_or_default();
    let mut when = step.when.iter().chain(&stage.when).chain(around);
    when.any(|condition| {
        plan.conditions[condition.index()].as_value().and_then(crate::Value::as_bool) == Some(false)
    })
}

fn rehearse(plan: &Plan, scenario: &Scenario, fail: Option<Chosen>) -> Rehearsal {
    let simulation = simulate(plan, scenario);
    let last = |simulation: &Simulation| simulation.events.last().map_or(0, |(at, _)| *at);
    let everything = slow(plan, scenario, &|_, _| true);
    let patient = Scenario { patient: true, ..everything.clone() };
    let failing = match fail.map(|chosen| chosen.what) {
        Some(Fallible::Step(step)) => Some(plan.steps[step.index()].stage),
        _ => None,
    };
    let mut slow_ones = vec![everything, patient];
    if failing.is_some() {
        let which = |_, step: &crate::Step| Some(step.stage) == failing || step.role != Role::Forward;
        let slow = slow(plan, scenario, &which);
        slow_ones.push(Scenario { patient: true, ..slow });
    }
    let longest = slow_ones.iter().map(|scenario| last(&simulate(plan, scenario))).max();
    let mut asked = Vec::new();
    for (_, happening) in &simulation.events {
        if let Happening::Asked(question, group) = happening {
            let question = (question_name(plan, *question).to_owned(), group.clone());
            if !asked.contains(&question) {
                asked.push(question);
            }
        }
    }
    let outcome = |index: usize| simulation.state.stage_outcome(crate::StageId(index as u32));
    Rehearsal {
        fail,
        outcome: simulation.outcome,
        stages: (0..plan.stages.len()).map(outcome).collect(),
        barriers: simulation.state.barriers.clone(),
        asked,
        at_most: last(&simulation).max(longest.unwrap_or(0)),
        mixed: broken_promises(plan, &simulation),
    }
}

/// The scenario with such steps taking as long as they may, where it says nothing about them.
fn slow(plan: &Plan, scenario: &Scenario, which: &Which<'_>) -> Scenario {
    let mut slow = scenario.clone();
    for (index, step) in plan.steps.iter().enumerate().filter(|(at, step)| which(StepId(*at as u32), step)) {
        let takes = match step.action.arguments.get("within").and_then(crate::Expr::as_value) {
            // `wait` takes its own time.
            _ if step.action.provider == "wait" => continue,
            // An answer may come at the last moment.
            Some(Value::Duration(within)) if is_approval(step) => *within,
            _ => step.timeout,
        };
        slow.takes.entry(StepId(index as u32)).or_insert(takes);
    }
    for (index, approval) in plan.approvals.iter().enumerate() {
        let question = Question::Approval(ApprovalId(index as u32));
        slow.takes_to_answer.entry(question).or_insert(approval.within);
    }
    slow
}

/// The numbers of the groups that promise all or nothing and end mixed.
pub fn broken_promises(plan: &Plan, simulation: &Simulation) -> Vec<u32> {
    let groups = plan.items.iter().enumerate().filter_map(|(index, item)| {
        let group = item.group.filter(|group| group.all_or_nothing)?;
        is_mixed(plan, &simulation.state, ItemId(index as u32)).then_some(group.number)
    });
    groups.collect()
}

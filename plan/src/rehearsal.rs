//! Every failure of a plan, one after another: what each stage ends as, which barriers break, who is asked, how long it
//! can take.

use crate::machine::{BarrierState, Settled, answers, is_approval, judge_barrier, rule_for};
use crate::proof::is_mixed;
use crate::simulate::{Scenario, Simulation, simulate};
use crate::{
    Answer, ApprovalId, Failure, Happening, ItemId, Kind, PlaceId, Plan, Question, Reaction, Role,
    RunOutcome, StageOutcome, StepId, Value, question_name,
};
use std::collections::BTreeSet;

/// A row of the matrix: one thing that is chosen to fail, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What fails besides what the scenario says; nothing in the first row.
    pub fail: Option<(Fallible, Kind)>,
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
}

impl Fallible {
    /// Its full name.
    pub fn name(self, plan: &Plan) -> &str {
        match self {
            Fallible::Step(step) => &plan.steps[step.index()].name,
            Fallible::Approval(approval) => &plan.approvals[approval.index()].name,
        }
    }

    /// The kinds of failure that it can end with, the plainest first.
    pub fn kinds(self, plan: &Plan) -> Vec<Kind> {
        let asks = match self {
            Fallible::Step(step) => is_approval(&plan.steps[step.index()]),
            Fallible::Approval(_) => true,
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
    /// Lets something fail.
    pub fn fail(&mut self, what: Fallible, kind: Kind) {
        match what {
            Fallible::Step(step) => self.fail.insert(step, kind),
            Fallible::Approval(approval) => self.refuse.insert(approval, kind),
        };
    }

    /// Whether something was chosen to fail.
    fn fails(&self, what: Fallible) -> bool {
        match what {
            Fallible::Step(step) => self.fail.contains_key(&step),
            Fallible::Approval(approval) => self.refuse.contains_key(&approval),
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

/// The kinds of failure that a step's rules tell apart, the plainest of each. Kinds that no rule is about are one.
pub fn kinds_told_apart(plan: &Plan, step: StepId) -> Vec<Kind> {
    let scopes = &plan.steps[step.index()].scopes;
    let mut seen = BTreeSet::new();
    let mut kinds = Fallible::Step(step).kinds(plan);
    kinds.retain(|kind| seen.insert(rule_for(plan, scopes, &Failure::new(*kind, "")).map(|(rule, _)| rule)));
    kinds
}

/// Plays a scenario, and then again with each further failure: of every forward step with each kind that the step's rules
/// tell apart, and of every approval. Approvals that the scenario says nothing about are given.
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
    let kinds =
        |step: StepId| kinds_told_apart(plan, step).into_iter().map(move |kind| (Fallible::Step(step), kind));
    let approvals = (0..plan.approvals.len()).map(|index| Fallible::Approval(ApprovalId(index as u32)));
    let refused = approvals.flat_map(|approval| {
        // Rules of the pipeline are all that can tell kinds apart.
        let most = if plan.rules.is_empty() { 1 } else { 2 };
        approval.kinds(plan).into_iter().take(most).map(move |kind| (approval, kind))
    });
    let chosen = steps.flat_map(kinds).chain(refused).filter(|(what, _)| !scenario.fails(*what));
    rows.extend(chosen.map(|chosen| rehearse(plan, &scenario, Some(chosen))));
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

fn rehearse(plan: &Plan, scenario: &Scenario, fail: Option<(Fallible, Kind)>) -> Rehearsal {
    let mut scenario = scenario.clone();
    if let Some((what, kind)) = fail {
        scenario.fail(what, kind);
    }
    let simulation = simulate(plan, &scenario);
    let last = |simulation: &Simulation| simulation.events.last().map_or(0, |(at, _)| *at);
    let everything = slow(plan, &scenario, |_| true);
    let patient = Scenario { patient: true, ..everything.clone() };
    let failing = match fail {
        Some((Fallible::Step(step), _)) => Some(plan.steps[step.index()].stage),
        _ => None,
    };
    let mut slow_ones = vec![everything, patient];
    if failing.is_some() {
        let slow = slow(plan, &scenario, |step| Some(step.stage) == failing || step.role != Role::Forward);
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
fn slow(plan: &Plan, scenario: &Scenario, which: impl Fn(&crate::Step) -> bool) -> Scenario {
    let mut slow = scenario.clone();
    for (index, step) in plan.steps.iter().enumerate().filter(|(_, step)| which(step)) {
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

//! Every failure of a plan, one after another: what each stage ends as, which barriers break, who is asked, how long it
//! can take.

use crate::machine::{BarrierState, is_approval, rule_for};
use crate::proof::is_mixed;
use crate::simulate::{Scenario, Simulation, simulate};
use crate::{Failure, Happening, ItemId, Kind, Plan, Role, RunOutcome, StageOutcome, StepId, question_name};
use std::collections::BTreeSet;

/// A row of the matrix: one thing that is chosen to fail, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What fails besides what the scenario says; nothing in the first row.
    pub fail: Option<(StepId, Kind)>,
    /// How the run ends; nothing when it never would.
    pub outcome: Option<RunOutcome>,
    /// How each stage ends, in the plan's order.
    pub stages: Vec<Option<StageOutcome>>,
    /// What each barrier comes to, in the plan's order.
    pub barriers: Vec<BarrierState>,
    /// What is asked, each once, in the order in which it is: its name, and who.
    pub asked: Vec<(String, String)>,
    /// How long the run takes at most, in milliseconds: every attempt as long as its timeout allows, and every question
    /// as long as it may stay open where the scenario does not answer it.
    pub at_most: u64,
    /// Groups (their numbers) that promise all or nothing and end mixed.
    pub mixed: Vec<u32>,
}

/// The kinds of failure that a step's rules tell apart, the plainest of each. Kinds that no rule is about are one.
pub fn kinds_told_apart(plan: &Plan, step: StepId) -> Vec<Kind> {
    const APPROVAL: [Kind; 2] = [Kind::ApprovalRejected, Kind::Timeout];
    let data = &plan.steps[step.index()];
    let mut seen = BTreeSet::new();
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        let possible = match is_approval(data) {
            true => APPROVAL.contains(&kind),
            false => !matches!(kind, Kind::Barrier | Kind::ApprovalRejected),
        };
        let rule = rule_for(plan, &data.scopes, &Failure::new(kind, "")).map(|(rule, _)| rule);
        if possible && seen.insert(rule) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Plays a scenario, and then again with each further failure: of every forward step that it comes to, with each kind
/// that the step's rules tell apart.
pub fn every_failure(plan: &Plan, scenario: &Scenario) -> Vec<Rehearsal> {
    let mut rows = vec![rehearse(plan, scenario, None)];
    for (index, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.role == Role::Forward) {
        let id = StepId(index as u32);
        if scenario.fail.contains_key(&id) || never(plan, step) {
            continue;
        }
        rows.extend(
            kinds_told_apart(plan, id).into_iter().map(|kind| rehearse(plan, scenario, Some((id, kind)))),
        );
    }
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

fn rehearse(plan: &Plan, scenario: &Scenario, fail: Option<(StepId, Kind)>) -> Rehearsal {
    let mut scenario = scenario.clone();
    scenario.fail.extend(fail);
    let simulation = simulate(plan, &scenario);
    let slow = simulate(plan, &slowest(plan, &scenario));
    let last = |simulation: &Simulation| simulation.events.last().map_or(0, |(at, _)| *at);
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
        at_most: last(&simulation).max(last(&slow)),
        mixed: broken_promises(plan, &simulation),
    }
}

/// The scenario with every step that says nothing else taking as long as it may.
fn slowest(plan: &Plan, scenario: &Scenario) -> Scenario {
    let mut slow = scenario.clone();
    for (index, step) in plan.steps.iter().enumerate() {
        // `wait` takes its own time, and a person as long as nobody answers.
        if step.action.provider != "wait" {
            slow.takes.entry(StepId(index as u32)).or_insert(step.timeout);
        }
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

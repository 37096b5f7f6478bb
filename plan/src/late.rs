//! Scenarios in which steps take as long as they may: how long a run can take, and which waits at barriers run out.

use crate::machine::is_approval;
use crate::simulate::{Scenario, simulate};
use crate::{
    Approval, ApprovalId, BarrierKind, Part, PlaceId, Plan, Question, Role, StageId, StepId, Value, Work,
};
use std::collections::BTreeSet;

/// Picks steps.
pub(crate) type Which<'a> = dyn Fn(StepId, &crate::Step) -> bool + 'a;

/// The scenario in which the wait of a participant at a barrier runs out, because others whom it waits for take as long as
/// they may: every attempt in what is between them and the barrier, or everything they do. Nothing where slow steps alone do
/// not lead there.
pub fn late(plan: &Plan, scenario: &Scenario, place: PlaceId) -> Option<Scenario> {
    let data = &plan.places[place.index()];
    let barrier = &plan.barriers[data.barrier.index()];
    if barrier.kind != BarrierKind::Forward || data.timeout.is_none() {
        return None;
    }
    let others: Vec<StageId> = others(plan, place).collect();
    let near: BTreeSet<StepId> = others.iter().flat_map(|stage| before(plan, *stage, data.barrier)).collect();
    let elsewhere = |step: &crate::Step| {
        let stage = &plan.stages[step.stage.index()];
        stage.item == barrier.item && stage.branch != data.branch
    };
    let mut tries: Vec<Box<Which<'_>>> = vec![
        Box::new(|id, _| near.contains(&id)),
        Box::new(|_, step| step.role == Role::Forward && elsewhere(step)),
    ];
    // One of them alone, so that nobody else waits: what it does since the barrier before, or all that it does.
    let takes = |steps: &mut dyn Iterator<Item = StepId>| -> u64 {
        steps.map(|step| plan.steps[step.index()].timeout).fold(0, u64::saturating_add)
    };
    let enough = |time: u64| data.timeout.is_some_and(|timeout| time > timeout);
    for &stage in &others {
        let near: BTreeSet<StepId> = before(plan, stage, data.barrier).into_iter().collect();
        let of = &plan.stages[stage.index()];
        let own = (of.item, of.branch);
        let lane = move |step: &crate::Step| {
            let stage = &plan.stages[step.stage.index()];
            step.role == Role::Forward && (stage.item, stage.branch) == own
        };
        let all = plan.steps.iter().enumerate().filter(|(_, step)| lane(step));
        if enough(takes(&mut all.map(|(at, _)| StepId(at as u32)))) {
            tries.push(Box::new(move |_, step| lane(step)));
        }
        if enough(takes(&mut near.iter().copied())) {
            tries.push(Box::new(move |id, _| near.contains(&id)));
        }
    }
    let runs_out = |scenario: &Scenario| simulate(plan, scenario).ran_out(place).is_some();
    // Its own branch comes as early as it can; the others' approvals may be late, or would keep everybody away.
    let approvals = |approval: &Approval| (approval.item, approval.branch) != (barrier.item, data.branch);
    let everywhere = tries.iter().flat_map(|which| {
        let late = slow(plan, scenario, which, &approvals);
        let early = plan.approvals.iter().any(approvals).then(|| slow(plan, scenario, which, &|_| false));
        [Some(late), early]
    });
    // Those of one lane alone, with and without its steps: elsewhere they would keep somebody else waiting before.
    let lanes: BTreeSet<u32> = others.iter().map(|stage| plan.stages[stage.index()].branch).collect();
    let asked = lanes.into_iter().filter(|lane| {
        plan.approvals.iter().any(|it| approvals(it) && (it.item, it.branch) == (barrier.item, *lane))
    });
    let alone = asked.flat_map(|lane| {
        let own = move |approval: &Approval| (approval.item, approval.branch) == (barrier.item, lane);
        let steps = move |_: StepId, step: &crate::Step| {
            let stage = &plan.stages[step.stage.index()];
            step.role == Role::Forward && (stage.item, stage.branch) == (barrier.item, lane)
        };
        [slow(plan, scenario, &|_, _| false, &own), slow(plan, scenario, &steps, &own)]
    });
    let scenarios = everywhere.flatten().chain(alone);
    scenarios.map(|late| Scenario { first: Some(place), ..late }).find(runs_out)
}

/// Scenarios in which one step alone, of those that stand between another participant and the barrier, takes longer than the wait
/// lasts: how far the others have come by then is not the same for each.
pub(crate) fn each_late<'a>(
    plan: &'a Plan,
    scenario: &'a Scenario,
    place: PlaceId,
) -> impl Iterator<Item = Scenario> + 'a {
    let data = &plan.places[place.index()];
    let near = others(plan, place).flat_map(|stage| before(plan, stage, data.barrier));
    let long =
        near.filter(|step| data.timeout.is_some_and(|timeout| plan.steps[step.index()].timeout > timeout));
    long.map(move |step| Scenario {
        first: Some(place),
        ..slow(plan, scenario, &|id, _| id == step, &|_| false)
    })
}

/// The stages that meet a participant at its barrier.
fn others(plan: &Plan, place: PlaceId) -> impl Iterator<Item = StageId> + '_ {
    let data = &plan.places[place.index()];
    let places = plan.barriers[data.barrier.index()].places.iter();
    places.filter_map(|it| plan.places[it.index()].stage).filter(|it| Some(*it) != data.stage)
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

/// The scenario with such steps, and such approvals between stages, taking as long as they may, where it says nothing about
/// them.
pub(crate) fn slow(
    plan: &Plan,
    scenario: &Scenario,
    which: &Which<'_>,
    approvals: &dyn Fn(&Approval) -> bool,
) -> Scenario {
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
        if approvals(approval) {
            slow.takes_to_answer.entry(question).or_insert(approval.within);
        }
    }
    slow
}

//! Conditions that ask how a stage failed: what they come to for each way in which it can.
//!
//! A stage sees its own failure only: a step, a wait or an approval of its own, a barrier that broke, or nothing of its own. So
//! there are not many ways, and a condition can be decided for each one before the run, unless it asks for words. One that
//! comes to the same for all is decided; and two stages differ by it only where it comes to something else in the same place.

use crate::chosen::HowItFailed;
use crate::{BarrierKind, ConditionId, Expr, FailureFact, Kind, Part, Plan, Role, StageId, Work};
use std::collections::BTreeMap;

/// What `failure.step` and `failure.kind` can be in a stage, in an order that stages share which do the same.
fn causes(plan: &Plan, stage: StageId) -> Vec<(String, Option<Kind>)> {
    let data = &plan.stages[stage.index()];
    // Nothing of its own.
    let mut causes = vec![(String::new(), None)];
    let mut any = |name: &str| causes.extend(Kind::ALL.map(|kind| (name.to_owned(), Some(kind))));
    any(&data.name);
    for position in &data.positions {
        match &position.work {
            Work::Steps(steps) => steps.iter().for_each(|step| any(&plan.steps[step.index()].name)),
            Work::Barrier(place) => any(&plan.places[place.index()].name),
        }
    }
    let branch = &plan.items[data.item.index()].branches[data.branch as usize];
    for part in &branch.parts {
        if let Part::Approval(approval) = part {
            any(&plan.approvals[approval.index()].name);
        }
    }
    // What is the same for everybody.
    let barriers = plan.barriers.iter().filter(|it| it.item == data.item && it.kind != BarrierKind::Rollback);
    barriers.for_each(|barrier| any(&barrier.name));
    plan.approvals.iter().for_each(|approval| any(&approval.name));
    causes
}

/// What a condition of a stage comes to for each of its causes; nothing where that cannot be said.
pub(super) fn comes_to(plan: &Plan, stage: StageId, condition: &Expr) -> Option<Vec<bool>> {
    if condition.asks_of_failure(&[FailureFact::Message]) {
        return None;
    }
    let holds = |cause: &(String, Option<Kind>)| {
        condition.eval(&HowItFailed { step: &cause.0, kind: cause.1 }).ok()?.as_bool()
    };
    causes(plan, stage).iter().map(holds).collect()
}

/// The conditions that are one thing whatever fails, of those that ask for that: what undoes steps asks so.
pub(super) fn decided(plan: &Plan) -> BTreeMap<ConditionId, bool> {
    let mut found: BTreeMap<ConditionId, Option<bool>> = BTreeMap::new();
    let steps = plan.steps.iter().filter(|step| step.role != Role::Forward);
    for (step, condition) in steps.flat_map(|step| step.when.iter().map(move |when| (step, when))) {
        let expr = &plan.conditions[condition.index()];
        if !expr.asks_of_failure(&FailureFact::ALL) {
            continue;
        }
        let all = comes_to(plan, step.stage, expr);
        let same = all.and_then(|all| match all.iter().all(|it| *it == all[0]) {
            true => all.first().copied(),
            false => None,
        });
        let known = found.entry(*condition).or_insert(same);
        if *known != same {
            *known = None;
        }
    }
    // A barrier of a rollback block may ask, too.
    for condition in plan.places.iter().flat_map(|place| &place.when) {
        found.remove(condition);
    }
    found.into_iter().filter_map(|(condition, known)| Some((condition, known?))).collect()
}

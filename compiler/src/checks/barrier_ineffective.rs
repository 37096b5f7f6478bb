//! `barrier/ineffective`: a barrier that holds nothing back.

use super::Judged;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use lockstep_plan::{BarrierKind, Expr, ItemId, Part, PlaceId, StageId, StepId, Value, Work};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    name: "barrier/ineffective",
    severity: Severity::Warning,
    summary: "a barrier with nothing changing before it, or nothing that can fail before it",
    page: include_str!("barrier_ineffective.md"),
};

/// Looks at every barrier with several participants: one of them with something before it is enough.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for item in judged.items().filter(|item| !judged.is_damaged(*item)) {
        let mut places: BTreeMap<_, Vec<PlaceId>> = BTreeMap::new();
        for meeting in judged.meetings(item, BarrierKind::Forward).iter().flatten() {
            places.entry(meeting.barrier).or_default().push(meeting.place);
        }
        for (barrier, places) in places.iter().filter(|(_, places)| places.len() > 1) {
            let before: Vec<StepId> =
                places.iter().flat_map(|place| steps_before(judged, item, *place)).collect();
            let fails = before.iter().any(|id| plan.steps[id.index()].action.provider != "wait");
            let changes = before.iter().any(|id| plan.steps[id.index()].changes);
            let reason = match (fails, changes) {
                (true, true) => continue,
                (false, _) => "nothing before it can fail",
                (true, false) => "nothing before it changes anything",
            };
            let name = &plan.barriers[barrier.index()].name;
            sink.push(
                Diagnostic::new(
                    &RULE,
                    origins.places[places[0].index()],
                    format!("barrier `{name}` holds nothing back: {reason}"),
                )
                .label("has no effect here")
                .also(origins.items[item.index()], "in this group")
                .help("put it after the steps that the others should wait for, or remove it"),
            );
        }
    }
}

/// Every step of the branch that can run before a place.
fn steps_before(judged: &Judged<'_, '_>, item: ItemId, place: PlaceId) -> Vec<StepId> {
    let plan = &judged.lowered.plan;
    let branch = plan.places[place.index()].branch as usize;
    let never = |when: &[lockstep_plan::ConditionId]| {
        when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)))
    };
    let mut steps = Vec::new();
    let Some(branch) = plan.items[item.index()].branches.get(branch) else { return steps };
    let stages = branch.parts.iter().filter_map(|part| match part {
        Part::Stage(stage) => Some(*stage),
        Part::Approval(_) => None,
    });
    for stage in stages.collect::<Vec<StageId>>() {
        let stage = &plan.stages[stage.index()];
        for position in &stage.positions {
            match &position.work {
                Work::Barrier(here) if *here == place => return steps,
                Work::Barrier(_) => {}
                Work::Steps(_) if never(&stage.when) || never(&position.when) => {}
                Work::Steps(ids) => {
                    steps.extend(ids.iter().filter(|id| !never(&plan.steps[id.index()].when)))
                }
            }
        }
    }
    steps
}

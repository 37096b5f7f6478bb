//! `barrier/ineffective`: a barrier that holds nothing back.

use super::Judged;
use super::barrier_alone;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use lockstep_plan::{BarrierKind, Expr, ItemId, Part, PlaceId, Value, Work};

pub const RULE: Rule = Rule {
    name: "barrier/ineffective",
    severity: Severity::Warning,
    summary: "a barrier with nothing changing before it, or nothing that can fail before it",
    page: include_str!("barrier_ineffective.md"),
};

/// Looks at every barrier with several participants: one of them with something before it is enough.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    // A step may have said `changes = true` in what was not understood of it.
    let unsure = judged.lost("changes");
    for item in judged.items().filter(|item| !judged.is_broken(*item)) {
        // Who else was to come there is not known.
        let unknown = barrier_alone::meant(judged, item);
        let met = judged.by_barrier(item, BarrierKind::Forward);
        let before = steps_before(judged, item);
        for meetings in met.chunk_by(|one, two| one.barrier == two.barrier) {
            let [first, _, ..] = meetings else { continue };
            if unknown.contains(&first.barrier) {
                continue;
            }
            let any = |which: fn(&Before) -> bool| {
                meetings.iter().any(|meeting| {
                    let found = before.binary_search_by_key(&meeting.place, |(place, _)| *place);
                    found.is_ok_and(|index| which(&before[index].1))
                })
            };
            let (fails, changes) = (any(|it| it.fails), unsure[item.index()] || any(|it| it.changes));
            let reason = match (fails, changes) {
                (true, true) => continue,
                (false, _) => "nothing before it can fail",
                (true, false) => "nothing before it changes anything",
            };
            let at = origins.places[first.place.index()];
            // Many pipelines over one workflow have it in common.
            if judged.is_told(&RULE, at, reason) {
                continue;
            }
            let name = &plan.barriers[first.barrier.index()].name;
            sink.push(
                Diagnostic::new(&RULE, at, format!("barrier `{name}` holds nothing back: {reason}"))
                    .label("has no effect here")
                    .also(origins.items[item.index()], "in this group")
                    .help("put it after the steps that the others should wait for, or remove it"),
            );
        }
    }
}

/// What stands before a place, in the place's branch.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    fails: bool,
    changes: bool,
}

/// By place, ascending.
fn steps_before(judged: &Judged<'_, '_>, item: ItemId) -> Vec<(PlaceId, Before)> {
    let plan = &judged.lowered.plan;
    let never = |when: &[lockstep_plan::ConditionId]| {
        when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)))
    };
    let mut all = Vec::new();
    for branch in &plan.items[item.index()].branches {
        let mut before = Before::default();
        for part in &branch.parts {
            let Part::Stage(stage) = part else { continue };
            let stage = &plan.stages[stage.index()];
            if never(&stage.when) {
                continue;
            }
            for position in &stage.positions {
                match &position.work {
                    Work::Barrier(place) => {
                        all.push((*place, before));
                    }
                    Work::Steps(_) if never(&position.when) => {}
                    Work::Steps(ids) => {
                        for step in ids.iter().map(|id| &plan.steps[id.index()]).filter(|it| !never(&it.when))
                        {
                            before.fails |= step.action.provider != "wait";
                            // An unknown step may well change something.
                            before.changes |= step.changes || step.action.step.is_empty();
                        }
                    }
                }
            }
        }
    }
    all.sort_unstable_by_key(|(place, _)| *place);
    all
}

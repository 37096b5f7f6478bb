//! `barrier/timeout-too-short`: a wait that is shorter than what a peer may need to arrive.

use super::Judged;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use lockstep_plan::{
    BarrierId, BarrierKind, Expr, ItemId, Part, PlaceId, Plan, Reaction, Step, StepId, Value, Work,
    format_duration,
};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    name: "barrier/timeout-too-short",
    severity: Severity::Warning,
    summary: "a barrier's wait is shorter than what a peer may need to arrive",
    page: include_str!("barrier_timeout_too_short.md"),
};

/// When a branch may arrive: at the earliest and at the latest, since the start of the group.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    place: PlaceId,
    branch: usize,
    earliest: u64,
    latest: u64,
}

/// Looks at every barrier with several participants.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for item in judged.items() {
        if plan.items[item.index()].group.is_none_or(|group| group.max.is_some()) {
            continue; // With `max`, when a branch starts is another question.
        }
        let mut arrivals: BTreeMap<BarrierId, Vec<Arrival>> = BTreeMap::new();
        for branch in 0..plan.items[item.index()].branches.len() {
            for (barrier, arrival) in arrive(judged, item, branch) {
                arrivals.entry(barrier).or_default().push(arrival);
            }
        }
        for (barrier, all) in arrivals {
            let name = &plan.barriers[barrier.index()].name;
            // The last one of all, and the last one beside that one's branch: each has one of them as its latest peer.
            let Some(last) = all.iter().max_by_key(|it| it.latest) else { continue };
            let other = all.iter().filter(|it| it.branch != last.branch).max_by_key(|it| it.latest);
            for own in &all {
                let Some(timeout) = plan.places[own.place.index()].timeout else { continue };
                let Some(peer) = Some(last).filter(|last| last.branch != own.branch).or(other) else {
                    continue;
                };
                let needed = peer.latest.saturating_sub(own.earliest);
                if needed <= timeout {
                    continue;
                }
                let stage = |arrival: &Arrival| {
                    let stage = plan.places[arrival.place.index()].stage;
                    stage.map_or("", |id| plan.stages[id.index()].name.as_str())
                };
                let mut diagnostic = Diagnostic::new(
                    &RULE,
                    origins.places[own.place.index()],
                    format!(
                        "stage `{}` waits {} at `{name}`, but stage `{}` may need {} more to arrive",
                        stage(own),
                        format_duration(timeout),
                        stage(peer),
                        format_duration(needed)
                    ),
                )
                .label(format!("waits {}", format_duration(timeout)))
                .help(format!(
                    "raise it to `timeout = {}`, or lower the timeouts of the steps before it",
                    format_duration(needed)
                ));
                let peer_at = origins.places[peer.place.index()];
                if peer_at != origins.places[own.place.index()] {
                    diagnostic = diagnostic.also(peer_at, format!("stage `{}` arrives here", stage(peer)));
                }
                sink.push(diagnostic);
                break; // One report for each barrier.
            }
        }
    }
}

/// When a branch may arrive at each of its barriers. A barrier that others share resets the clock for all of them, so
/// that only what comes after it counts.
fn arrive(judged: &Judged<'_, '_>, item: ItemId, branch: usize) -> Vec<(BarrierId, Arrival)> {
    let plan = &judged.lowered.plan;
    let never = |when: &[lockstep_plan::ConditionId]| {
        when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)))
    };
    let (mut earliest, mut latest) = (0_u64, 0_u64);
    let mut all = Vec::new();
    for part in &plan.items[item.index()].branches[branch].parts {
        let id = match part {
            Part::Approval(id) => {
                latest = latest.saturating_add(plan.approvals[id.index()].within);
                continue;
            }
            Part::Stage(id) => id,
        };
        let stage = &plan.stages[id.index()];
        if never(&stage.when) {
            continue;
        }
        for position in stage.positions.iter().filter(|position| !never(&position.when)) {
            match &position.work {
                Work::Steps(ids) => {
                    let running =
                        ids.iter().map(|id| &plan.steps[id.index()]).filter(|step| !never(&step.when));
                    let longest = running.map(|step| longest(plan, step)).max().unwrap_or(0);
                    latest = latest.saturating_add(longest);
                    earliest = earliest.saturating_add(surely(plan, ids));
                }
                Work::Barrier(place) if !never(&plan.places[place.index()].when) => {
                    let it = &plan.places[place.index()];
                    if plan.barriers[it.barrier.index()].kind != BarrierKind::Forward {
                        continue;
                    }
                    all.push((it.barrier, Arrival { place: *place, branch, earliest, latest }));
                    if plan.barriers[it.barrier.index()].places.len() > 1 {
                        (earliest, latest) = (0, 0);
                    } else {
                        latest = latest.saturating_add(it.timeout.unwrap_or(0));
                    }
                }
                Work::Barrier(_) => {}
            }
        }
    }
    all
}

/// What a step takes at most, with every attempt and every question that its rules allow.
fn longest(plan: &Plan, step: &Step) -> u64 {
    let once = match step.action.arguments.get("duration").and_then(Expr::as_value) {
        Some(Value::Duration(duration)) if step.action.provider == "wait" => *duration,
        _ => step.timeout,
    };
    let rules = step.scopes.iter().flat_map(|scope| &plan.scopes[scope.index()].rules);
    let extra = rules.map(|rule| more(&rule.reaction, step.timeout)).max().unwrap_or(0);
    once.saturating_add(extra)
}

fn more(reaction: &Reaction, timeout: u64) -> u64 {
    match reaction {
        Reaction::Retry { times, every, then } => {
            let waits: u64 = (0..*times as usize)
                .take(10_000)
                .map(|attempt| every.get(attempt).or(every.last()).copied().unwrap_or(0))
                .fold(0, u64::saturating_add);
            let attempts = timeout.saturating_mul(u64::from(*times));
            waits.saturating_add(attempts).saturating_add(more(then, timeout))
        }
        Reaction::Ask { within, then, .. } => within.saturating_add(more(then, timeout)),
        _ => 0,
    }
}

/// What a position takes at least: the waits that nothing skips.
fn surely(plan: &Plan, ids: &[StepId]) -> u64 {
    ids.iter()
        .map(|id| &plan.steps[id.index()])
        .filter(|step| step.action.provider == "wait" && step.when.is_empty())
        .filter_map(|step| match step.action.arguments.get("duration").and_then(Expr::as_value) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        })
        .max()
        .unwrap_or(0)
}

//! `barrier/rollback-reuse`: one barrier name forward and in a rollback.

use super::Judged;
use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_plan::{BarrierKind, ItemId, PlaceId};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    name: "barrier/rollback-reuse",
    severity: Severity::Error,
    summary: "one barrier name both in a phase and in a rollback block",
    page: include_str!("barrier_rollback_reuse.md"),
};

/// Names that branches of one item meet both ways, each with the places that it has forward and in rollbacks.
pub fn both_ways<'a>(judged: &'a Judged<'_, '_>, item: ItemId) -> BTreeMap<&'a str, [Vec<PlaceId>; 2]> {
    let mut places: BTreeMap<&str, [Vec<PlaceId>; 2]> = BTreeMap::new();
    if judged.meetings(item, BarrierKind::Rollback).iter().all(Vec::is_empty) {
        return places;
    }
    for (index, kind) in [BarrierKind::Forward, BarrierKind::Rollback].into_iter().enumerate() {
        for meeting in judged.meetings(item, kind).iter().flatten() {
            let name = judged.lowered.plan.barriers[meeting.barrier.index()].name.as_str();
            places.entry(name).or_default()[index].push(meeting.place);
        }
    }
    places.retain(|_, places| places.iter().all(|places| !places.is_empty()));
    places
}

/// Looks at every group: one workflow's barrier may be another one's rollback barrier.
pub fn group(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for item in judged.items() {
        for (name, [forward, rollback]) in both_ways(judged, item) {
            let workflow = |place: &PlaceId| {
                let stage = plan.places[place.index()].stage;
                stage.map(|stage| origins.workflows[stage.index()])
            };
            let own: BTreeSet<_> = forward.iter().filter_map(workflow).collect();
            // Within one workflow that is said already.
            if rollback.iter().filter_map(workflow).any(|workflow| own.contains(&workflow)) {
                continue;
            }
            let (one, two) = (origins.places[forward[0].index()], origins.places[rollback[0].index()]);
            let message = format!(
                "barrier `{name}` stands in a phase here and in a rollback block there, in one group"
            );
            let (first, later) = if one < two { (one, two) } else { (two, one) };
            sink.push(
                Diagnostic::new(&RULE, later, message)
                    .label("again here")
                    .also(first, "first here")
                    .also(origins.items[item.index()], "in this group")
                    .help("rollbacks meet at barriers of their own: give one of them another name"),
            );
        }
    }
}

/// Looks at every workflow.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, workflow) in walk::workflows(model) {
        let (forward, rollback) = walk::barriers_of(workflow);
        for barrier in rollback {
            let Some(first) = forward.iter().find(|it| it.name.text == barrier.name.text) else { continue };
            let (one, two) = (first.name.span, barrier.name.span);
            let (first, later) = if one < two { (one, two) } else { (two, one) };
            sink.push(
                Diagnostic::new(
                    &RULE,
                    Location { file, span: later },
                    format!("barrier `{}` stands in a phase and in a rollback block", barrier.name.text),
                )
                .label("again here")
                .also(Location { file, span: first }, "first here")
                .help("rollbacks meet at barriers of their own: give one of them another name"),
            );
        }
    }
}

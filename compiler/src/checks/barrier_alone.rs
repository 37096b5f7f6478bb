//! `barrier/alone`: a barrier with one participant.

use super::Judged;
use super::barrier_rollback_reuse::both_ways;
use super::order::Meeting;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use crate::suggest;
use lockstep_plan::{BarrierId, BarrierKind, ItemId};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    name: "barrier/alone",
    severity: Severity::Warning,
    summary: "a barrier with one participant only: it has no effect",
    page: include_str!("barrier_alone.md"),
};

/// Whether a barrier of the group seems to be misspelt: what it does not join is a consequence.
pub fn is_misspelt(judged: &Judged<'_, '_>, item: ItemId) -> bool {
    !meant(judged, item).is_empty()
}

/// The barriers that were probably meant where somebody waits alone at one of a similar name.
pub fn meant(judged: &Judged<'_, '_>, item: ItemId) -> Vec<BarrierId> {
    let mut met: BTreeMap<BarrierId, usize> = BTreeMap::new();
    for meeting in judged.meetings(item, BarrierKind::Forward).iter().flatten() {
        *met.entry(meeting.barrier).or_default() += 1;
    }
    let name = |id: BarrierId| judged.lowered.plan.barriers[id.index()].name.as_str();
    let names: Vec<&str> = met.keys().map(|id| name(*id)).collect();
    let alone = met.iter().filter(|(_, count)| **count == 1).map(|(id, _)| *id);
    let near =
        alone.filter_map(|id| suggest::nearest(name(id), judged.model.candidates(names.iter().copied())));
    let near: BTreeSet<&str> = near.collect();
    met.keys().copied().filter(|id| near.contains(name(*id))).collect()
}

/// Looks at every barrier of every group. Branches that are constantly skipped do not take part.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for item in judged.items().filter(|item| !judged.is_broken(*item)) {
        for kind in [BarrierKind::Forward, BarrierKind::Rollback] {
            let met = judged.by_barrier(item, kind);
            let met: Vec<&[&Meeting]> = met.chunk_by(|one, two| one.barrier == two.barrier).collect();
            // Twice in one branch is the matter of `barrier/sequential`.
            if met.iter().all(|meetings| meetings.len() > 1) {
                continue;
            }
            let both = both_ways(judged, item);
            let name = |meeting: &Meeting| plan.barriers[meeting.barrier.index()].name.as_str();
            let names: Vec<&str> = met.iter().map(|meetings| name(meetings[0])).collect();
            for meetings in &met {
                let [only] = meetings else { continue };
                let name = name(only);
                let stage = &plan.stages[only.stage.index()].name;
                if both.contains_key(name) {
                    continue; // The others meet it the other way, which is said.
                }
                let near = suggest::nearest(name, judged.model.candidates(names.iter().copied()));
                let near_meetings = near.and_then(|near| {
                    let index = names.iter().position(|name| *name == near)?;
                    met.get(index)
                });
                let near_place = near_meetings.and_then(|it| it.first()).map(|meeting| meeting.place);
                // Two names that were meant to be one: said at the later one.
                if let (Some(place), Some([_])) = (near_place, near_meetings)
                    && near.is_some_and(|near| suggest::nearest(near, names.iter().copied()) == Some(name))
                    && origins.places[only.place.index()] < origins.places[place.index()]
                {
                    continue;
                }
                let group = plan.items[item.index()].group.is_some();
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if group => {
                        "add a barrier of this name to the workflows of the other branches, or remove it"
                            .into()
                    }
                    None => "barriers join the branches of a `parallel`; this stage runs alone".into(),
                };
                let mut diagnostic = Diagnostic::new(
                    &RULE,
                    origins.places[only.place.index()],
                    format!("only stage `{stage}` waits at barrier `{name}`"),
                )
                .label("nobody else comes here")
                .also(origins.items[item.index()], if group { "in this group" } else { "this stage" })
                .help(help);
                if let Some(place) = near_place {
                    diagnostic =
                        diagnostic.also(origins.places[place.index()], "this one has a similar name");
                }
                sink.push(diagnostic);
            }
        }
    }
}

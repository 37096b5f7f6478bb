//! `barrier/skippable`: a participant may be skipped, so that others cross without it.

use super::Judged;
use super::barrier_deadlock::condition_text;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use lockstep_plan::{BarrierKind, ConditionId};

pub const RULE: Rule = Rule {
    name: "barrier/skippable",
    severity: Severity::Note,
    summary: "a participant of a barrier may be skipped, so others may cross without it",
    page: include_str!("barrier_skippable.md"),
};

/// Looks at every barrier with several participants.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for item in judged.items() {
        let branches = judged.meetings(item, BarrierKind::Forward);
        if branches.iter().flatten().all(|meeting| meeting.when.is_empty()) {
            continue;
        }
        let met = judged.by_barrier(item, BarrierKind::Forward);
        let shared =
            met.chunk_by(|one, two| one.barrier == two.barrier).filter(|meetings| meetings.len() > 1);
        for (meeting, meetings) in shared.flat_map(|all| all.iter().map(move |meeting| (meeting, all))) {
            // Whoever is skipped by the same conditions as all others is missed by none of them.
            let alone =
                |condition: &&ConditionId| meetings.iter().any(|other| !other.when.contains(condition));
            let Some(condition) = meeting.when.iter().find(alone) else { continue };
            let name = &plan.barriers[meeting.barrier.index()].name;
            let stage = &plan.stages[meeting.stage.index()].name;
            sink.push(
                Diagnostic::new(
                    &RULE,
                    origins.places[meeting.place.index()],
                    format!("others may cross barrier `{name}` without stage `{stage}`"),
                )
                .label("may be skipped")
                .also(origins.conditions[condition.index()], format!("`{}` decides", condition_text(judged, *condition)))
                .help("nothing to do if that is meant; else let the condition stand at steps, not around the barrier"),
            );
        }
    }
}

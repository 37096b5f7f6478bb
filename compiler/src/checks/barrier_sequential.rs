//! `barrier/sequential`: one barrier name in stages that run one after another.

use super::Judged;
use super::order::Meeting;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use foldhash::{HashMap, HashSet};
use lockstep_plan::{BarrierId, BarrierKind};

pub const RULE: Rule = Rule {
    name: "barrier/sequential",
    severity: Severity::Error,
    summary: "the same barrier in stages that run one after another in one branch",
    page: include_str!("barrier_sequential.md"),
};

/// Looks at every branch.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for item in judged.items() {
        for kind in [BarrierKind::Forward, BarrierKind::Rollback] {
            // Within one stage that is another rule's matter.
            let several = |branch: &&Vec<Meeting>| branch.windows(2).any(|it| it[0].stage != it[1].stage);
            for branch in judged.meetings(item, kind).iter().filter(several) {
                let mut first_met: HashMap<BarrierId, &Meeting> = HashMap::default();
                let mut reported: HashSet<BarrierId> = HashSet::default();
                for meeting in branch {
                    let earlier = *first_met.entry(meeting.barrier).or_insert(meeting);
                    if earlier.stage == meeting.stage || !reported.insert(meeting.barrier) {
                        continue;
                    }
                    let (first, later) =
                        if earlier.stage < meeting.stage { (earlier, meeting) } else { (meeting, earlier) };
                    let name = &plan.barriers[meeting.barrier.index()].name;
                    let stage = |id: lockstep_plan::StageId| &plan.stages[id.index()].name;
                    sink.push(
                        Diagnostic::new(
                            &RULE,
                            origins.stages[later.stage.index()],
                            format!(
                                "stages `{}` and `{}` run one after another, but both wait at `{name}`",
                                stage(first.stage),
                                stage(later.stage)
                            ),
                        )
                        .label("starts only when the other has ended")
                        .also(origins.stages[first.stage.index()], "this one would wait for it")
                        .also(origins.places[first.place.index()], "at this barrier")
                        .help("put the stages into different branches of a `parallel`, or give the barriers different names"),
                    );
                }
            }
        }
    }
}

//! `barrier/limited-parallelism`: with `max N` the branches that hold the slots wait for ones that get none.

use super::Judged;
use super::barrier_deadlock::{condition_text, has_circle, is_awaited};
use super::order::Meeting;
use super::satisfy::Atoms;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use foldhash::HashSet;
use lockstep_plan::{BarrierId, BarrierKind, ConditionId, ItemId, StageId};
use std::collections::{BTreeMap, VecDeque};

pub const RULE: Rule = Rule {
    name: "barrier/limited-parallelism",
    severity: Severity::Error,
    summary: "with `parallel max N` the group cannot finish: the slots are held by stages that wait for ones without a slot",
    page: include_str!("barrier_limited_parallelism.md"),
};

/// More places times sets of answers than this are not tried out: then every condition is taken to hold.
const MOST_TRIES: usize = 512;

/// Runs every limited group once, without failures, for each set of answers to what its barriers' conditions ask: it is
/// confluent, so that one run decides.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let plan = &judged.lowered.plan;
    for item in judged.items() {
        let Some(max) = plan.items[item.index()].group.and_then(|group| group.max) else { continue };
        let all = judged.meetings(item, BarrierKind::Forward);
        let mut atoms = Atoms::new(judged.domains());
        for id in all.iter().flatten().flat_map(|meeting| &meeting.when) {
            atoms.add(&plan.conditions[id.index()]);
        }
        let places: usize = all.iter().map(Vec::len).sum();
        let few =
            atoms.len() > 0 && places.checked_shl(atoms.len() as u32).is_some_and(|it| it <= MOST_TRIES);
        let met: Vec<Vec<&Meeting>> = all.iter().map(|branch| branch.iter().collect()).collect();
        let stuck = match few.then(|| atoms.answers()).flatten() {
            // Each with those that are waited for; the case in which the most are comes first.
            Some(answers) => {
                let met = answers.map(|answers| -> Vec<Vec<&Meeting>> {
                    let is_there = |meeting: &&&Meeting| is_awaited(judged, meeting, &atoms, &answers);
                    met.iter().map(|branch| branch.iter().filter(is_there).copied().collect()).collect()
                });
                let stuck = met.filter_map(|met| Some((run_of(&met, max)?, met)));
                stuck.max_by_key(|(_, met)| met.iter().map(Vec::len).sum::<usize>())
            }
            None => run_of(&met, max).map(|stuck| (stuck, met)),
        };
        if let Some((stuck, met)) = stuck {
            report(judged, item, max, &met, &stuck, sink);
        }
    }
}

/// As [`run`]. Nothing where the group would get stuck without a limit as well: `barrier/deadlock` and `barrier/sequential` say so.
fn run_of(met: &[Vec<&Meeting>], max: u32) -> Option<BTreeMap<usize, usize>> {
    let names: Vec<Vec<BarrierId>> =
        met.iter().map(|branch| branch.iter().map(|meeting| meeting.barrier).collect()).collect();
    let repeats = |names: &Vec<BarrierId>| names.iter().collect::<HashSet<_>>().len() < names.len();
    if names.iter().any(repeats) || has_circle(&names) { None } else { run(&names, max as usize) }
}

/// Positions of the branches that hold the slots for good; none when all branches end.
fn run(names: &[Vec<BarrierId>], max: usize) -> Option<BTreeMap<usize, usize>> {
    let mut missing: BTreeMap<BarrierId, usize> = BTreeMap::new();
    for name in names.iter().flatten() {
        *missing.entry(*name).or_default() += 1;
    }
    let mut waiting: BTreeMap<BarrierId, Vec<usize>> = BTreeMap::new();
    let mut at: BTreeMap<usize, usize> = BTreeMap::new();
    let mut next = 0;
    let mut ready: VecDeque<usize> = VecDeque::new();
    loop {
        while at.len() < max && next < names.len() {
            at.insert(next, 0);
            ready.push_back(next);
            next += 1;
        }
        let Some(branch) = ready.pop_front() else { break };
        let Some(barrier) = names[branch].get(at[&branch]) else {
            at.remove(&branch);
            continue;
        };
        waiting.entry(*barrier).or_default().push(branch);
        if let Some(count) = missing.get_mut(barrier) {
            *count -= 1;
            if *count == 0 {
                for branch in waiting.remove(barrier).unwrap_or_default() {
                    *at.entry(branch).or_default() += 1;
                    ready.push_back(branch);
                }
            }
        }
    }
    (next < names.len() || !at.is_empty()).then_some(at)
}

fn report(
    judged: &Judged<'_, '_>,
    item: ItemId,
    max: u32,
    meetings: &[Vec<&Meeting>],
    stuck: &BTreeMap<usize, usize>,
    sink: &mut Vec<Diagnostic>,
) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    if max == 0 {
        let message = "with `max 0` no branch of this group can ever start";
        let diagnostic = Diagnostic::new(&RULE, origins.items[item.index()], message);
        sink.push(diagnostic.label("none at once").help("write at least `max 1`"));
        return;
    }
    let mut decide: Vec<ConditionId> = Vec::new();
    // By branch: its stage that meets the first of the barriers at which it is waited for.
    let mut waited: BTreeMap<usize, (usize, StageId)> = BTreeMap::new();
    let mut diagnostic = Diagnostic::new(
        &RULE,
        origins.items[item.index()],
        format!(
            "with `max {max}` this group cannot finish: its slots are held by stages that wait for others"
        ),
    )
    .label(format!("{max} at once"));
    for (branch, position) in stuck {
        let Some(meeting) = meetings[*branch].get(*position) else { continue };
        let (stage, barrier) = (meeting.stage, meeting.barrier);
        decide.extend(&meeting.when);
        let (stage_name, name) = (&plan.stages[stage.index()].name, &plan.barriers[barrier.index()].name);
        diagnostic = diagnostic.also(
            origins.stages[stage.index()],
            format!("`{stage_name}` holds a slot and waits at `{name}`"),
        );
        for other in (0..meetings.len()).filter(|it| !stuck.contains_key(it)) {
            let Some(at) = meetings[other].iter().position(|it| it.barrier == barrier) else { continue };
            decide.extend(&meetings[other][at].when);
            let first = waited.entry(other).or_insert((at, meetings[other][at].stage));
            *first = (*first).min((at, meetings[other][at].stage));
        }
    }
    for (_, stage) in waited.values().take(6) {
        let name = &plan.stages[stage.index()].name;
        diagnostic = diagnostic
            .also(origins.stages[stage.index()], format!("`{name}` is waited for, and gets no slot"));
    }
    decide.sort_unstable();
    decide.dedup();
    for condition in decide.into_iter().take(3) {
        let text = format!("`{}` lets it take part, in this case", condition_text(judged, condition));
        diagnostic = diagnostic.also(origins.conditions[condition.index()], text);
    }
    let needed = stuck.len() + waited.len();
    sink.push(
        diagnostic.help(format!("raise `max` to {needed}, or let only stages that fit in meet at a barrier")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&[u32]]) -> Vec<Vec<BarrierId>> {
        names.iter().map(|branch| branch.iter().map(|id| BarrierId(*id)).collect()).collect()
    }

    #[test]
    fn slots_free_themselves_or_not() {
        let one = ids(&[&[0], &[0], &[0]]);
        assert!(run(&one, 2).is_some());
        assert!(run(&one, 3).is_none());
        let pairs = ids(&[&[0], &[0], &[1], &[1]]);
        assert!(run(&pairs, 2).is_none());
        assert!(run(&pairs, 1).is_some());
    }
}

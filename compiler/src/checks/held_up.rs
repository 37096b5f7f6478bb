//! What holds a branch up besides its own work and barriers: a slot of `max` that is not free yet, and a resource that other
//! branches of the group hold.
//!
//! Both are counted in a run that can really be: not the worst one, which would take a search.

use super::barrier_timeout_too_short::{Alike, Course};
use foldhash::HashMap;
use lockstep_plan::{BarrierId, Plan, StageId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::RangeInclusive;

/// A resource that a phase asks for when it starts, and gives back at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holding<'a> {
    /// How many barriers of the branch come before.
    after: usize,
    resource: &'a str,
    permits: u32,
    /// For how long at most.
    longest: u64,
}

/// Whether a phase asks for a resource at all.
pub fn asks(plan: &Plan) -> bool {
    plan.stages.iter().flat_map(|stage| &stage.phases).any(|phase| !phase.uses.is_empty())
}

/// The plan with its claims. They are not made yet while a module is checked.
pub fn claiming(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.join_claims();
    plan
}

/// Notes what a phase holds meanwhile; `again` if something of it has been noted before. Without claims, all that it uses.
pub fn hold<'a>(
    plan: &'a Plan,
    (stage, phase): (StageId, u32),
    again: bool,
    longest: u64,
    course: &mut Course<'a>,
) {
    let phase = &plan.stages[stage.index()].phases[phase as usize];
    let uses = match phase.claim {
        Some(id) => plan.claims[id.index()].uses.as_slice(),
        None if plan.claims.is_empty() => phase.uses.as_slice(),
        None => &[],
    };
    let after = course.arrivals.len();
    if again {
        let known = course.holds.iter_mut().rev().take(uses.len());
        known.for_each(|it| it.longest = it.longest.saturating_add(longest));
        return;
    }
    course.holds.extend(uses.iter().map(|it| {
        let (resource, permits) = (it.resource.as_str(), it.permits);
        Holding { after, resource, permits, longest }
    }));
}

/// How long the phases of a peer wait for resources between two barriers, where every other branch but the one that waits for
/// the peer asks for them just before it. Other runs are not counted: how long they hold a resource nobody knows.
pub fn for_permits(
    plan: &Plan,
    kinds: &[Alike<'_>],
    (own, peer): (&Alike<'_>, &Alike<'_>),
    between: RangeInclusive<usize>,
) -> u64 {
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sum = 0u64;
    for it in peer.course.holds.iter().filter(|it| between.contains(&it.after)) {
        let times = asked.entry(it.resource).or_default();
        // What others hold once holds this branch up once.
        let nth = std::mem::replace(times, *times + 1);
        let ahead = kinds.iter().flat_map(|kind| {
            let apart = usize::from(std::ptr::eq(kind, own)) + usize::from(std::ptr::eq(kind, peer));
            let same = |other: &&Holding<'_>| {
                other.resource == it.resource
                    && meets_before(peer, it, kind) == meets_before(kind, other, peer)
            };
            let found = kind.course.holds.iter().filter(same).nth(nth);
            let count = kind.branches.len().saturating_sub(apart);
            std::iter::repeat_n(found, count).flatten().map(|it| (it.permits, it.longest))
        });
        let capacity = plan.resources.get(it.resource).copied().unwrap_or(1);
        sum = sum.saturating_add(queue(capacity, ahead, it.permits));
    }
    sum
}

/// The last barrier before a phase that another branch crosses, too: phases behind different ones do not run at the same time.
fn meets_before(branch: &Alike<'_>, it: &Holding<'_>, other: &Alike<'_>) -> Option<BarrierId> {
    let before = branch.course.arrivals[..it.after].iter().rev();
    before.map(|arrival| arrival.barrier).find(|barrier| other.index.contains_key(barrier))
}

/// How long one waits in a queue for permits.
fn queue(capacity: u32, ahead: impl Iterator<Item = (u32, u64)>, permits: u32) -> u64 {
    let (mut now, mut free) = (0u64, capacity);
    let mut held: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
    for (permits, longest) in ahead.take(MOST_AHEAD).chain([(permits, 0)]) {
        while free < permits {
            // More than there is: that is `barrier/lock-deadlock`.
            let Some(Reverse((end, given))) = held.pop() else { return 0 };
            (now, free) = (now.max(end), free + given);
        }
        free -= permits;
        held.push(Reverse((now.saturating_add(longest), permits)));
    }
    now
}

/// A queue is not looked at beyond so many.
const MOST_AHEAD: usize = 10_000;

/// When the branches of a group with `max` arrive.
pub struct Arrivals {
    /// By branch.
    times: Vec<Vec<u64>>,
    /// By barrier: who comes last, and when.
    last: HashMap<BarrierId, (usize, u64)>,
}

impl Arrivals {
    pub fn arrived(&self, branch: usize, at: usize) -> u64 {
        self.times[branch][at]
    }

    pub fn last(&self, barrier: BarrierId) -> Option<(usize, u64)> {
        self.last.get(&barrier).copied()
    }
}

/// Runs a group in which one branch is as fast and all others are as slow as can be; none where it does not end.
pub fn with_slots(courses: &[&Course<'_>], max: usize, fast: usize) -> Option<Arrivals> {
    let mut missing: HashMap<BarrierId, usize> = HashMap::default();
    for arrival in courses.iter().flat_map(|course| &course.arrivals) {
        *missing.entry(arrival.barrier).or_default() += 1;
    }
    let needs = |branch: usize, at: usize| {
        let arrivals = &courses[branch].arrivals;
        let until = |at: usize| match arrivals.get(at) {
            Some(arrival) if branch == fast => arrival.least,
            Some(arrival) => arrival.busy,
            None if branch == fast => arrivals.last().map_or(0, |arrival| arrival.least),
            None => courses[branch].busy,
        };
        until(at).saturating_sub(at.checked_sub(1).map_or(0, until))
    };
    let mut all = Arrivals { times: vec![Vec::new(); courses.len()], last: HashMap::default() };
    let mut waiting: HashMap<BarrierId, Vec<usize>> = HashMap::default();
    let mut next = max.min(courses.len());
    let mut ahead: BinaryHeap<Reverse<(u64, usize)>> =
        (0..next).map(|branch| Reverse((needs(branch, 0), branch))).collect();
    let mut ended = 0;
    while let Some(Reverse((now, branch))) = ahead.pop() {
        let Some(arrival) = courses[branch].arrivals.get(all.times[branch].len()) else {
            ended += 1;
            if next < courses.len() {
                ahead.push(Reverse((now.saturating_add(needs(next, 0)), next)));
                next += 1;
            }
            continue;
        };
        all.times[branch].push(now);
        all.last.insert(arrival.barrier, (branch, now));
        let there = waiting.entry(arrival.barrier).or_default();
        there.push(branch);
        let missing = missing.entry(arrival.barrier).or_default();
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            for branch in std::mem::take(there) {
                let then = needs(branch, all.times[branch].len());
                ahead.push(Reverse((now.saturating_add(then), branch)));
            }
        }
    }
    (ended == courses.len()).then_some(all)
}

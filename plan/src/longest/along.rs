//! Whom a failure takes along: the branches that meet its own at a barrier that may break yet.

use crate::chosen::Fallible;
use crate::machine::{Settled, judge_barrier};
use crate::{BarrierId, BarrierKind, ItemId, Part, PlaceId, Plan, StageId, Value, Verdict, Work};
use std::collections::BTreeSet;

/// Where something fails.
pub(super) struct Place {
    pub(super) item: ItemId,
    pub(super) branch: u32,
    /// The part of the branch.
    pub(super) part: usize,
    /// The position in the stage, or [`SOMEWHERE`]; none for an approval.
    pub(super) at: Option<usize>,
    /// The barrier at which it waits.
    pub(super) barrier: Option<PlaceId>,
}

/// Where in its stage something fails is not known.
pub(super) const SOMEWHERE: usize = usize::MAX;

impl Place {
    pub(super) fn of_stage(
        plan: &Plan,
        stage: StageId,
        at: Option<usize>,
        barrier: Option<PlaceId>,
    ) -> Option<Place> {
        let data = &plan.stages[stage.index()];
        let parts = &plan.items[data.item.index()].branches[data.branch as usize].parts;
        let part = parts.iter().position(|part| *part == Part::Stage(stage))?;
        Some(Place { item: data.item, branch: data.branch, part, at, barrier })
    }

    pub(super) fn of(plan: &Plan, what: Fallible) -> Option<Place> {
        match what {
            Fallible::Step(step) => {
                let stage = plan.steps[step.index()].stage;
                let here = |work: &Work| matches!(work, Work::Steps(steps) if steps.contains(&step));
                let at = plan.stages[stage.index()].positions.iter().position(|it| here(&it.work));
                Place::of_stage(plan, stage, at, None)
            }
            Fallible::Wait(place) => {
                let stage = plan.places[place.index()].stage?;
                let positions = &plan.stages[stage.index()].positions;
                let at = positions.iter().position(|it| it.work == Work::Barrier(place));
                Place::of_stage(plan, stage, at, Some(place))
            }
            Fallible::Approval(approval) => {
                let data = &plan.approvals[approval.index()];
                let parts = &plan.items[data.item.index()].branches[data.branch as usize].parts;
                let part = parts.iter().position(|part| *part == Part::Approval(approval))?;
                Some(Place { item: data.item, branch: data.branch, part, at: None, barrier: None })
            }
        }
    }

    pub(super) fn part_of(&self, plan: &Plan, stage: StageId) -> Option<usize> {
        let parts = &plan.items[self.item.index()].branches[self.branch as usize].parts;
        parts.iter().position(|part| *part == Part::Stage(stage))
    }

    /// Whether a position of its own branch comes behind it.
    pub(super) fn is_behind(&self, plan: &Plan, stage: StageId, at: usize) -> bool {
        let Some(part) = self.part_of(plan, stage) else { return false };
        part > self.part || part == self.part && self.at.is_none_or(|own| at > own)
    }

    /// The barriers that its branch has surely crossed: they are decided, and break no more.
    pub(super) fn crossed(&self, plan: &Plan) -> BTreeSet<BarrierId> {
        let before = |stage: StageId, at: usize| {
            let part = self.part_of(plan, stage);
            let here = self.at.is_some_and(|own| own != SOMEWHERE && at < own);
            part.is_some_and(|part| part < self.part || part == self.part && here)
        };
        let crossed = works(plan, self.item, self.branch).filter_map(|(stage, at, work)| match work {
            Work::Barrier(place) if before(stage, at) && holds(plan, stage, at, *place) => {
                Some(plan.places[place.index()].barrier)
            }
            _ => None,
        });
        crossed.collect()
    }

    /// The barriers that its branch has not crossed.
    pub(super) fn ahead(&self, plan: &Plan) -> BTreeSet<BarrierId> {
        let behind = works(plan, self.item, self.branch).filter_map(|(stage, at, work)| match work {
            Work::Barrier(place) if self.is_behind(plan, stage, at) || self.barrier == Some(*place) => {
                Some(plan.places[place.index()].barrier)
            }
            _ => None,
        });
        behind.collect()
    }
}

/// The branches that a failure can take along: those that meet its own at a barrier that may break yet, and so on.
pub(super) fn joined(plan: &Plan, from: &Place) -> BTreeSet<u32> {
    let crossed = from.crossed(plan);
    let mut joined: BTreeSet<u32> = [from.branch].into();
    let barriers = || {
        let here = plan.barriers.iter().zip(0..).filter(|(it, _)| it.item == from.item);
        here.filter(|(it, at)| it.kind != BarrierKind::Rollback && !crossed.contains(&BarrierId(*at)))
    };
    loop {
        let before = joined.len();
        for (barrier, _) in barriers() {
            let branches = || barrier.places.iter().map(|place| plan.places[place.index()].branch);
            if branches().any(|branch| joined.contains(&branch)) {
                joined.extend(branches());
            }
        }
        if joined.len() == before {
            return joined;
        }
    }
}

/// The branches that surely go back as a whole as soon as something fails there, if they have done anything: those that have
/// yet to cross a barrier together with it (or with one of these), and have no rule that does something else where one is
/// broken. In a lane what had succeeded goes back with it only in a group with a promise.
pub(super) fn at_once(plan: &Plan, from: &Place, rolls_back: bool) -> BTreeSet<u32> {
    let item = &plan.items[from.item.index()];
    let goes_back = |branch: u32| {
        let parts = &item.branches[branch as usize].parts;
        let mut own = plan.places.iter().zip(0..).filter(|(place, _)| {
            place.branch == branch && plan.barriers[place.barrier.index()].item == from.item
        });
        (item.promises() || parts.len() == 1)
            && (branch != from.branch || rolls_back)
            && own.all(|(place, at)| {
                let rollback = Settled::Verdict(Verdict::Rollback);
                plan.barriers[place.barrier.index()].kind == BarrierKind::Rollback
                    || judge_barrier(plan, PlaceId(at)).0 == rollback
            })
    };
    let all = 0..item.branches.len() as u32;
    if item.promises() {
        // They all meet at `commit`.
        return all.filter(|branch| goes_back(*branch)).collect();
    }
    let mut broken = from.ahead(plan);
    let mut doomed: BTreeSet<u32> = [from.branch].into();
    loop {
        let before = broken.len();
        for branch in all.clone().filter(|branch| *branch != from.branch) {
            let barriers = works(plan, from.item, branch).filter_map(|(stage, at, work)| match work {
                Work::Barrier(place) => {
                    Some((plan.places[place.index()].barrier, holds(plan, stage, at, *place)))
                }
                Work::Steps(_) => None,
            });
            // It has not come further than to the first of them.
            let uncrossed = barriers.skip_while(|(barrier, holds)| !holds || !broken.contains(barrier));
            let uncrossed: Vec<BarrierId> = uncrossed.map(|(barrier, _)| barrier).collect();
            if !uncrossed.is_empty() {
                doomed.insert(branch);
                broken.extend(uncrossed);
            }
        }
        if broken.len() == before {
            return doomed.into_iter().filter(|branch| goes_back(*branch)).collect();
        }
    }
}

/// Everything that a branch does, in order.
pub(super) fn works(plan: &Plan, item: ItemId, branch: u32) -> impl Iterator<Item = (StageId, usize, &Work)> {
    plan.items[item.index()].branches[branch as usize].stages().flat_map(|stage| {
        let positions = plan.stages[stage.index()].positions.iter().enumerate();
        positions.map(move |(at, position)| (stage, at, &position.work))
    })
}

/// Whether nobody comes past a place without being there: it is never skipped.
pub(super) fn holds(plan: &Plan, stage: StageId, at: usize, place: PlaceId) -> bool {
    let stage = &plan.stages[stage.index()];
    let mut when = stage.when.iter().chain(&stage.positions[at].when).chain(&plan.places[place.index()].when);
    when.all(|condition| plan.conditions[condition.index()].as_value().and_then(Value::as_bool) == Some(true))
}

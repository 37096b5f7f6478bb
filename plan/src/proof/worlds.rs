//! Open conditions: what they can come to together, and only as much of it as matters.
//!
//! A condition that nothing is known of may come to either, in each branch as it likes: that allows more executions than
//! there are, so that what cannot go wrong then cannot go wrong at all. Where something can, one question that the first
//! suspicion hangs on is put, and each answer is looked at alone, with all others still open; so an answer that makes no
//! difference is never asked for. When nothing is open that the suspicion hangs on, it is tried on the machine with the
//! likeliest answers to the rest.
//!
//! The tree of answers is the product of what different branches ask. Where that is too large each pair of branches, of
//! the one that fails and the one that something stays in, has a tree of its own: an execution that ends mixed has such a
//! pair, and with any of its conditions left open the same pair is suspected (of the same fault, or an earlier one of the
//! same stretch). Branches that differ in names only ([`kinds`]) stand for each other there: exchanging two of them,
//! with what their steps put out, turns any execution into another one.

use super::candidates::{Candidate, Focus};
use super::course::{Fault, What};
use super::group::Group;
use crate::{
    BarrierKind, Before, Branch, ConditionId, Expr, ItemId, Part, Place, Plan, Role, StageId, StepId, Work,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Known {
    /// Nothing yet.
    Open,
    /// What it comes to.
    Comes {
        /// To that.
        to: bool,
        /// Whether it can be decided for sure.
        surely: bool,
    },
    /// It cannot be decided: something that it reads was not given.
    Fails,
    /// All but what it asks about a failure is decided; that is the machine's to say.
    Asks(Expr),
}

/// A condition that reads what steps put out, as the machine decides it while they have not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// What it comes to, where each output that a step puts out is `true`.
    pub form: Expr,
    /// The steps that put out nothing that it reads, whatever becomes of them.
    pub silent: Vec<StepId>,
}

/// Some answers to what open conditions ask.
pub trait World {
    /// What is known of each condition of the plan.
    fn known(&self) -> &[Known];

    /// The worlds that differ in the answer to one more question of that condition, first the one that skips least: an empty
    /// list where no answer to it agrees with the others, so that there is no such world. Nothing when it asks nothing more.
    fn split(&self, condition: ConditionId) -> Option<Vec<Box<dyn World>>>;

    /// One world in which all questions are answered, with as little skipped as is easily found; nothing where the answers
    /// that were tried do not agree with each other.
    fn complete(&self) -> Option<Box<dyn World>>;

    /// What a condition comes to by what is known before the run alone: whom that keeps from a barrier nobody waits for.
    fn before(&self, condition: ConditionId) -> Before;

    /// What a condition comes to before, and after, the steps that it reads have run: asked of what undoes steps, for a
    /// rollback may begin before they have. Nothing where that makes no difference.
    fn staged(&self, condition: ConditionId) -> Option<Staged> {
        let _ = condition;
        None
    }
}

/// The world in which nothing is decided but these conditions of a plan; asked for when one of them matters. Nothing where
/// it is not known which answers can be given together.
pub type Worlds<'a> = dyn Fn(&[ConditionId]) -> Option<Box<dyn World>> + 'a;

/// What is known before anything is asked.
pub(super) fn known(conditions: &[Expr]) -> Vec<Known> {
    let known = |condition: &Expr| match condition.as_value().and_then(crate::Value::as_bool) {
        Some(to) => Known::Comes { to, surely: false },
        None => Known::Open,
    };
    conditions.iter().map(known).collect()
}

/// The conditions of the item that are not decided before the run, in their order.
pub(super) fn open_conditions(plan: &Plan, item: ItemId) -> Vec<ConditionId> {
    let mut open: BTreeSet<ConditionId> = BTreeSet::new();
    for branch in &plan.items[item.index()].branches {
        for part in &branch.parts {
            if let Part::Stage(stage) = part {
                of_stage(plan, *stage, &mut |conditions| open.extend(conditions));
            }
        }
    }
    open.into_iter().filter(|condition| plan.conditions[condition.index()].as_value().is_none()).collect()
}

/// The conditions of what is done in rollbacks of the item's stages.
pub(super) fn of_undoing(plan: &Plan, item: ItemId) -> BTreeSet<ConditionId> {
    let here = |stage: StageId| plan.stages[stage.index()].item == item;
    let steps = plan.steps.iter().filter(|step| step.role != Role::Forward && here(step.stage));
    let rollback = |place: &&Place| plan.barriers[place.barrier.index()].kind == BarrierKind::Rollback;
    let places = plan.places.iter().filter(rollback).filter(|place| place.stage.is_some_and(here));
    steps.flat_map(|step| &step.when).chain(places.flat_map(|place| &place.when)).copied().collect()
}

/// Every place of a stage that has conditions, in order: the stage, its positions, their steps and what undoes them.
fn of_stage<'p>(plan: &'p Plan, stage: StageId, visit: &mut dyn FnMut(&'p [ConditionId])) {
    let data = &plan.stages[stage.index()];
    visit(&data.when);
    for position in &data.positions {
        visit(&position.when);
        match &position.work {
            Work::Barrier(place) => visit(&plan.places[place.index()].when),
            Work::Steps(steps) => {
                for step in steps {
                    let data = &plan.steps[step.index()];
                    visit(&data.when);
                    visit(data.undo.step().map_or(&[], |undo| plan.steps[undo.index()].when.as_slice()));
                }
            }
        }
    }
}

/// What a candidate hangs on, the nearest first: conditions where the fault comes, where something stays and of what
/// undoes it, where others are; those of barriers; in the end all that the branches ask.
pub(super) fn nearest(group: &Group<'_>, candidate: &Candidate, focus: Focus) -> Vec<ConditionId> {
    let plan = group.plan;
    let mut found: Vec<ConditionId> = Vec::new();
    let member = |shape: usize| group.shapes[shape].members[0];
    let (fails, stays) = match focus {
        Focus::Pair { fails, stays } => (fails, stays),
        _ => (member(candidate.at.shape), member(candidate.stays_in().shape)),
    };
    if candidate.later.is_none() {
        found.extend(at_element(group, fails, candidate.at.at));
        let trigger = group.branches[fails].1.elements[candidate.at.at].triggers.get(candidate.nth);
        match trigger.map(|trigger| &trigger.fault) {
            Some(Fault::Step { step, .. }) => found.extend(&plan.steps[step.index()].when),
            Some(Fault::Condition(condition)) => found.push(*condition),
            _ => {}
        }
    }
    // The step that stays, in that branch's own course.
    let representative = &group.shapes[candidate.stays_in().shape].course;
    let change = representative.elements.iter().enumerate().find_map(|(at, element)| {
        let nth = element.changes.iter().position(|change| change.step == candidate.stays)?;
        Some((at, group.branches[stays].1.elements[at].changes[nth].step))
    });
    if let Some((at, step)) = change {
        found.extend(at_element(group, stays, at));
        let data = &plan.steps[step.index()];
        found.extend(&data.when);
        found.extend(data.undo.step().iter().flat_map(|undo| &plan.steps[undo.index()].when));
    }
    for point in &candidate.others {
        found.extend(at_element(group, member(point.shape), point.at));
    }
    if let Fault::Step { step, .. } = candidate.trigger.fault
        && candidate.later.is_some()
    {
        let data = &plan.steps[step.index()];
        of_stage(plan, data.stage, &mut |conditions| found.extend(conditions));
    }
    for (branch, (_, course)) in group.branches.iter().enumerate() {
        for (at, element) in course.elements.iter().enumerate() {
            if matches!(element.what, What::Barrier { .. }) {
                found.extend(at_element(group, branch, at));
            }
        }
    }
    found.retain(|condition| matches!(group.truth.known(*condition), Known::Open | Known::Asks(_)));
    let mut seen = BTreeSet::new();
    found.retain(|condition| seen.insert(*condition));
    found
}

/// The conditions around an element of a branch's course.
fn at_element<'p>(group: &Group<'p>, branch: usize, at: usize) -> Vec<ConditionId> {
    let plan = group.plan;
    let Some(element) = group.branches[branch].1.elements.get(at) else { return Vec::new() };
    let Some(Part::Stage(stage)) = plan.items[group.item.index()].branches[branch].parts.get(element.part)
    else {
        return Vec::new();
    };
    let stage = &plan.stages[stage.index()];
    let Some(position) = stage.positions.get(element.at) else { return stage.when.clone() };
    let mut found = [stage.when.as_slice(), &position.when].concat();
    if let Work::Barrier(place) = position.work {
        found.extend(&plan.places[place.index()].when);
    }
    found
}

/// The pairs of branches that candidates suspect, where every condition is open: one of each kind.
pub(super) fn pairs(group: &Group<'_>, found: &[Candidate]) -> Vec<Focus> {
    let kinds = kinds(group);
    let of_shape = |shape: usize| -> BTreeSet<usize> {
        group.shapes[shape].members.iter().map(|member| kinds[*member]).collect()
    };
    // The kinds by their first and second members.
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (branch, kind) in kinds.iter().enumerate() {
        members.entry(*kind).or_default().push(branch);
    }
    let mut all: Vec<Focus> = Vec::new();
    let mut seen: BTreeSet<(usize, usize, bool)> = BTreeSet::new();
    for candidate in found {
        if candidate.later.is_some() {
            if !all.contains(&Focus::Later) {
                all.push(Focus::Later);
            }
            continue;
        }
        let own = candidate.whose == 0;
        let key = (candidate.at.shape, candidate.stays_in().shape, own);
        if !seen.insert(key) {
            continue;
        }
        for fails in of_shape(candidate.at.shape) {
            let first = members[&fails][0];
            if own {
                all.push(Focus::Pair { fails: first, stays: first });
                continue;
            }
            for stays in of_shape(candidate.stays_in().shape) {
                if let Some(other) = members[&stays].iter().find(|other| **other != first) {
                    all.push(Focus::Pair { fails: first, stays: *other });
                }
            }
        }
    }
    all
}

/// For each branch the first one that differs from it in names only, what its conditions ask included.
fn kinds(group: &Group<'_>) -> Vec<usize> {
    let plan = group.plan;
    let mut known: BTreeMap<(usize, Vec<Vec<String>>), usize> = BTreeMap::new();
    let mut kinds = Vec::new();
    let branches = &plan.items[group.item.index()].branches;
    // Where few may run at once it matters which are the first.
    let mut alone = plan.items[group.item.index()]
        .group
        .and_then(|it| it.max)
        .is_some_and(|max| (max as usize) < branches.len());
    for (branch, (shape, _)) in group.branches.iter().enumerate() {
        let branch_data = &branches[branch];
        let places = places(plan, branch_data);
        let mut asked: Vec<Vec<String>> = Vec::new();
        for stage in branch_data.stages() {
            of_stage(plan, stage, &mut |conditions| {
                let text = conditions.iter().map(|condition| {
                    let mut read = Vec::new();
                    let expr = &plan.conditions[condition.index()];
                    expr.walk(&mut |part| {
                        if let Expr::Output { step, .. } = part {
                            let here = places.get(step).copied();
                            let stage = plan.steps[step.index()].stage;
                            // What another branch puts out ties the two together.
                            alone |= here.is_none() && plan.stages[stage.index()].item == group.item;
                            read.push(here.ok_or(*step));
                        }
                    });
                    format!("{read:?} {:?}", without_steps(expr))
                });
                asked.push(text.collect());
            });
        }
        kinds.push(*known.entry((*shape, asked)).or_insert(branch));
    }
    if alone { (0..kinds.len()).collect() } else { kinds }
}

/// An expression, whichever steps it reads: these are compared by their places.
pub(super) fn without_steps(expr: &Expr) -> Expr {
    match expr {
        Expr::Output { name, .. } => Expr::Output { step: StepId(0), name: name.clone() },
        other => other.with_parts(&without_steps),
    }
}

/// The steps of a branch by where they stand in it.
pub(super) fn places(plan: &Plan, branch: &Branch) -> BTreeMap<StepId, usize> {
    let steps = branch.stages().flat_map(|stage| plan.stages[stage.index()].forward_steps());
    steps.enumerate().map(|(place, step)| (step, place)).collect()
}

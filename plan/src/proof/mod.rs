//! The proof of `parallel all_or_nothing`: in every execution all branches of the group end new, or all end old.
//!
//! What that means exactly, and what is assumed, is said in `docs/guarantees.md`. The proof stands on the machine that
//! runs: what rules, barriers and rollbacks mean is asked of the machine's own functions, and a counterexample is only
//! believed when the machine, played through it, ends mixed.
//!
//! | file | holds |
//! | --- | --- |
//! | `standing` | the property: how a branch stands when a run has ended |
//! | `causes` | what conditions come to that ask how a stage failed |
//! | `course` | what a branch can go through, and the faults that end it for good |
//! | `doomed` | what a broken barrier leads a branch to |
//! | `group` | symmetry and epochs: who can be where at the same time |
//! | `candidates` | the decision procedure, with its argument |
//! | `worlds` | open conditions: what they come to together |
//! | `replay` | playing a counterexample on the machine |
//! | `effort` | how much may be done |
//! | `exceptions` | what rules may leave changed, in any pipeline |

mod candidates;
mod causes;
mod course;
mod doomed;
mod effort;
mod exceptions;
mod group;
mod replay;
mod standing;
mod worlds;

pub(crate) use course::limits;
pub use course::{Fault, may_be_passed_over};
pub use effort::Effort;
pub use exceptions::{Exception, exceptions};
pub use standing::{Standing, is_mixed, is_undone, standing};
pub use worlds::{Known, Staged, World, Worlds};

use crate::machine::{StepStatus, judge_barrier, passes};
use crate::rehearsal::{Shown, shown};
use crate::{
    Chosen, ConditionId, Expr, FailureFact, Fallible, Happening, ItemId, Kind, Plan, Role, ScopeId, StageId,
    StepId, Verdict,
};
use candidates::{Candidate, Focus, candidates};
use course::Truth;
use group::Group;
use replay::{Replay, assignments, orders, replay, skeleton, undecidable};
use std::collections::BTreeMap;
use worlds::{nearest, of_undoing, open_conditions, pairs};

/// More replays than this are not made for one group and one set of answers.
const MOST_REPLAYS: usize = 512;
/// After so many that a rehearsal cannot show no better one is looked for.
const MOST_SPARES: usize = 32;
/// How often showing a counterexample goes through a plan.
const ROUNDS_OF_A_REHEARSAL: usize = 8;
/// More worlds than this are not looked at for all branches at once.
const MOST_AT_ONCE: usize = 256;
/// More worlds than this are not looked at for one group.
const MOST_WORLDS: usize = 4096;

/// What is known of a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promise {
    /// It holds in every execution.
    Kept,
    /// It does not: this execution of the machine ends mixed.
    Broken(Box<Counterexample>),
    /// It could not be proved, and nothing was found that breaks it.
    Unproved(Box<Suspicion>),
}

/// An execution that ends with some branches new and others old, or with one in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// What goes wrong.
    pub fault: Fault,
    /// How a rehearsal can show it.
    pub shown: Shown,
    /// What the plan's conditions came to, those that ask how something failed included.
    pub conditions: Vec<bool>,
    /// What made it so.
    pub suspicion: Suspicion,
    /// How each branch stands in the end.
    pub standings: Vec<Standing>,
    /// Where other branches are at that moment, as far as it matters: a stage, and an index into its positions.
    pub meanwhile: Vec<(StageId, u32)>,
    /// Everything that the machine announced, in order.
    pub story: Vec<Happening>,
    /// Steps whose changes stay although their branch did not succeed, or although others went back.
    pub left: Vec<StepId>,
}

/// Why a promise may be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// What the rules make of the fault where it leaves something.
    pub verdict: Verdict,
    /// The rule that says so.
    pub rule: Option<(ScopeId, u32)>,
    /// A step whose change stays.
    pub stays: StepId,
    /// The rule of the pipeline, by its index, that takes the group back after it has ended, because of a later item.
    pub later: Option<u32>,
}

/// How much was covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Faults: each way in which something can fail for good or stand failed, and each wait that can run out.
    pub faults: u64,
    /// Each fault with each place where each other branch may be then.
    pub scenarios: u64,
    /// Branches.
    pub branches: u64,
    /// Branches that differ in more than names.
    pub shapes: u64,
    /// Stretches between barriers, of all shapes.
    pub epochs: u64,
    /// Faults and pairs that were looked at, for all scenarios.
    pub checked: u64,
    /// Sets of answers to some of the open conditions that were looked at.
    pub worlds: u64,
    /// Executions of the machine that were played.
    pub replays: u64,
    /// Ways in which the promise might have broken, had the machine not shown that it does not come to that.
    pub refuted: u64,
}

/// What was found about one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The group.
    pub item: ItemId,
    /// Whether it keeps its promise.
    pub promise: Promise,
    /// How much was covered.
    pub coverage: Coverage,
}

/// Looks at every `all_or_nothing` group of a plan. What would take more work than is left could not be proved.
pub fn prove(plan: &Plan, worlds: &Worlds<'_>, effort: &mut Effort) -> Vec<Proof> {
    let items = plan.items.iter().enumerate().filter(|(_, item)| item.promises());
    items.map(|(index, _)| prove_group(plan, ItemId(index as u32), worlds, effort)).collect()
}

fn prove_group(plan: &Plan, item: ItemId, open_worlds: &Worlds<'_>, effort: &mut Effort) -> Proof {
    // First with every condition open: that allows more executions than there are.
    let decided = causes::decided(plan);
    let group = Group::new(plan, item, Truth::nothing_asked(plan, &decided));
    let found = candidates(&group, Focus::All);
    let mut coverage = cover(&group);
    coverage.checked = found.checked;
    let Some(first) = found.candidates.first() else {
        return Proof { item, promise: Promise::Kept, coverage };
    };
    let mut open = open_conditions(plan, item);
    // A later item's conditions say whether it can fail at all.
    if found.candidates.iter().any(|it| it.later.is_some()) {
        let later = item.index() + 1..plan.items.len();
        open.extend(later.flat_map(|item| open_conditions(plan, ItemId(item as u32))));
    }
    let promise = if open.is_empty() {
        try_out(plan, &group, &found, &mut coverage, effort)
    } else if let Some(world) = open_worlds(&open) {
        let mut search =
            Search { plan, item, open: &open, decided: &decided, coverage, left: MOST_AT_ONCE, effort };
        let mut promise = search.look(&*world, Focus::All);
        if promise.is_none() {
            search.left = MOST_WORLDS;
            let foci = match found.complete {
                true => pairs(&group, &found.candidates),
                false => vec![Focus::All],
            };
            promise = search.all(foci.iter().map(|focus| (&*world, *focus)));
        }
        coverage = search.coverage;
        promise.unwrap_or_else(|| suspect(first))
    } else {
        // Which answers can be given together is not known: what is found with some of them may never happen.
        suspect(first)
    };
    Proof { item, promise, coverage }
}

/// The search for a world in which a suspicion is true; its argument is in [`worlds`].
struct Search<'a> {
    plan: &'a Plan,
    item: ItemId,
    open: &'a [ConditionId],
    decided: &'a BTreeMap<ConditionId, bool>,
    coverage: Coverage,
    /// How many more worlds may be looked at.
    left: usize,
    effort: &'a mut Effort,
}

impl<'a> Search<'a> {
    /// Whether the promise is kept in a world and all those that differ only in what is still open. Nothing where that would
    /// take too long to say.
    fn look(&mut self, world: &dyn World, focus: Focus) -> Option<Promise> {
        let nearest = {
            let group = self.group(world)?;
            let found = self.candidates(&group, focus);
            match found.candidates.first() {
                Some(first) => nearest(&group, first, focus),
                None if found.complete => return Some(Promise::Kept),
                None => Vec::new(),
            }
        };
        if let Some(worlds) = split(world, &nearest) {
            return self.all(worlds.iter().map(|world| (&**world, focus)));
        }
        // All that the suspicion hangs on is known.
        let Some(full) = world.complete() else {
            let all: Vec<ConditionId> = (0..self.plan.conditions.len() as u32).map(ConditionId).collect();
            let worlds = split(world, &all)?;
            return self.all(worlds.iter().map(|world| (&**world, focus)));
        };
        self.one_more()?;
        let truth = Truth::in_world(self.plan, &*full, self.decided);
        let staged = of_undoing(self.plan, self.item).into_iter().filter(|it| self.open.contains(it));
        let staged = staged.filter_map(|condition| Some((condition, full.staged(condition)?)));
        let group = Group::new(self.plan, self.item, truth.with(staged.collect()));
        let found = self.candidates(&group, focus);
        let tried = try_out(self.plan, &group, &found, &mut self.coverage, self.effort);
        if matches!(tried, Promise::Broken(_)) {
            return Some(tried);
        }
        match split(world, self.open) {
            Some(worlds) => self.all(worlds.iter().map(|world| (&**world, focus))),
            None => Some(tried),
        }
    }

    /// Whether it is kept in all of these.
    fn all<'w>(&mut self, worlds: impl Iterator<Item = (&'w dyn World, Focus)>) -> Option<Promise> {
        let mut promise = Promise::Kept;
        for (world, focus) in worlds {
            match self.look(world, focus)? {
                Promise::Kept => {}
                broken @ Promise::Broken(_) => return Some(broken),
                unproved @ Promise::Unproved(_) => promise = unproved,
            }
        }
        Some(promise)
    }

    fn group(&mut self, world: &dyn World) -> Option<Group<'a>> {
        self.one_more()?;
        Some(Group::new(self.plan, self.item, Truth::in_world(self.plan, world, self.decided)))
    }

    /// One more world is looked at, if it may be.
    fn one_more(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        self.effort.take(effort::once(self.plan))?;
        self.coverage.worlds += 1;
        Some(())
    }

    fn candidates(&mut self, group: &Group<'_>, focus: Focus) -> candidates::Found {
        let found = candidates(group, focus);
        self.effort.take(found.checked as usize / 16 + found.gone_through as usize / 64);
        self.coverage.checked += found.checked;
        found
    }
}

/// The worlds that differ in the first question that any of these conditions still asks.
fn split(world: &dyn World, conditions: &[ConditionId]) -> Option<Vec<Box<dyn World>>> {
    conditions.iter().find_map(|condition| world.split(*condition))
}

/// Tries candidates on the machine, shortest first. One that a rehearsal can show goes before those that it cannot.
fn try_out(
    plan: &Plan,
    group: &Group<'_>,
    found: &candidates::Found,
    coverage: &mut Coverage,
    effort: &mut Effort,
) -> Promise {
    let mut bare: Option<(Option<ConditionId>, Plan)> = None;
    let mut unsure: Option<&Candidate> = None;
    let (mut late, mut taken_back): (Option<&Candidate>, bool) = (None, false);
    let mut replays = 0;
    let mut spare: Option<Counterexample> = None;
    let mut spares = 0;
    let mut messages = Vec::new();
    for candidate in &found.candidates {
        let undecidable = undecidable(candidate);
        if bare.as_ref().is_none_or(|(of, _)| *of != undecidable) {
            effort.take(effort::once(plan));
            let plan = skeleton(plan, &group.truth, undecidable);
            messages = replay::messages(&plan);
            bare = Some((undecidable, plan));
        }
        let Some((_, bare)) = &bare else { continue };
        coverage.refuted += 1;
        let (assignments, complete) = assignments(group, candidate);
        // What a step says when it fails may be anything: only some of it is tried.
        if !complete || (messages.len() > 1 && depends_on_words(plan, candidate.stays)) {
            unsure.get_or_insert(candidate);
        }
        // So is who has not been started when a wait of a later item runs out.
        if candidate.later.is_some()
            && matches!(candidate.trigger.fault, Fault::Waited(place) if passes(&judge_barrier(plan, place).0))
        {
            late.get_or_insert(candidate);
        }
        for (branches, message) in
            assignments.iter().flat_map(|branches| messages.iter().map(move |message| (branches, message)))
        {
            let orders = orders(group, candidate);
            if replays >= MOST_REPLAYS || spares >= MOST_SPARES || effort.is_spent() {
                return match spare {
                    Some(found) => Promise::Broken(Box::new(found)),
                    None => suspect(unsure.unwrap_or(candidate)),
                };
            }
            for last in orders {
                replays += 1;
                coverage.replays += 1;
                let run = replay(bare, group, candidate, branches, (message, *last), effort);
                let Some(run) = run else { continue };
                if is_mixed(bare, &run.state, group.item) && !run.tells_of_silent(group, branches) {
                    // It is rehearsed as well.
                    effort.take(ROUNDS_OF_A_REHEARSAL * effort::once(bare));
                    let found = counterexample(bare, group, candidate, branches, run);
                    if found.shown == Shown::Plainly {
                        return Promise::Broken(Box::new(found));
                    }
                    spares += 1;
                    if spare.as_ref().is_none_or(|known| found.shown < known.shown) {
                        spare = Some(found);
                    }
                    continue;
                }
                taken_back |= undecidable.is_none() && run.takes_back(group.item);
            }
        }
    }
    if let Some(found) = spare {
        return Promise::Broken(Box::new(found));
    }
    // A group that is taken back because of a later item comes to the same whatever that was: its stages are told no more.
    match unsure.or(late.filter(|_| !taken_back)) {
        Some(candidate) => suspect(candidate),
        None if !found.complete => found.candidates.first().map_or(Promise::Kept, suspect),
        None => Promise::Kept,
    }
}

fn counterexample(
    plan: &Plan,
    group: &Group<'_>,
    candidate: &Candidate,
    branches: &[usize],
    run: Replay<'_>,
) -> Counterexample {
    let count = plan.items[group.item.index()].branches.len() as u32;
    let standings = (0..count).map(|branch| standing(plan, &run.state, group.item, branch)).collect();
    let left = left(plan, &run.state, group.item);
    let fault = match candidate.later {
        Some(_) => candidate.trigger.fault.clone(),
        None => {
            let at = &group.branches[branches[0]].1.elements[candidate.at.at];
            at.triggers[candidate.nth].fault.clone()
        }
    };
    let others = candidate.others.iter().zip(branches.get(1..).unwrap_or_default());
    let meanwhile = others.filter_map(|(point, branch)| {
        let element = group.branches[*branch].1.elements.get(point.at)?;
        match plan.items[group.item.index()].branches[*branch].parts.get(element.part)? {
            crate::Part::Stage(stage) => Some((*stage, element.at as u32)),
            crate::Part::Approval(_) => None,
        }
    });
    let meanwhile = meanwhile.collect();
    let mut suspicion = suspicion(candidate);
    if !left.contains(&suspicion.stays)
        && let Some(step) = left.first()
    {
        suspicion.stays = *step;
    }
    Counterexample {
        shown: shown_as(plan, group.item, &fault),
        fault,
        conditions: came_to(plan, &run.state),
        suspicion,
        standings,
        meanwhile,
        story: run.told,
        left,
    }
}

/// How a rehearsal can show a fault of a skeleton. Of what it cannot choose nothing is said, and of very long plans.
fn shown_as(plan: &Plan, item: ItemId, fault: &Fault) -> Shown {
    const MOST_STEPS: usize = 5_000;
    let chosen = |what, kind, share| Chosen { what, kind, share };
    let (chosen, answer) = match *fault {
        Fault::Step { step, kind, hosts, answer } => {
            let share = hosts.map(|(failed, of)| failed * 100 / of.max(1));
            (chosen(Fallible::Step(step), kind, share), answer)
        }
        Fault::Waited(place) => (chosen(Fallible::Wait(place), Kind::Barrier, None), None),
        Fault::Approval(approval, kind) => (chosen(Fallible::Approval(approval), kind, None), None),
        Fault::Condition(_) => return Shown::Plainly,
    };
    match plan.items[item.index()].group {
        Some(group) if plan.steps.len() <= MOST_STEPS => shown(plan, group.number, chosen, answer),
        _ => Shown::Plainly,
    }
}

/// What the conditions came to in an ended run. One that asks how something failed may come to both, in different
/// stages: then it counts where it skipped something.
fn came_to(plan: &Plan, state: &crate::machine::State) -> Vec<bool> {
    let value = |condition: &Expr| condition.as_value().and_then(crate::Value::as_bool).unwrap_or(true);
    let mut holds: Vec<bool> = plan.conditions.iter().map(value).collect();
    for (step, now) in plan.steps.iter().zip(&state.steps) {
        if step.role == Role::Forward || now.status != StepStatus::Skipped {
            continue;
        }
        for condition in &step.when {
            holds[condition.index()] &= state.decides(plan, step.stage, *condition) != Some(false);
        }
    }
    holds
}

/// Whether what undoes a step asks what was said when something failed.
pub fn depends_on_words(plan: &Plan, step: StepId) -> bool {
    let Some(undo) = plan.steps[step.index()].undo.step() else { return false };
    let mut when = plan.steps[undo.index()].when.iter();
    when.any(|condition| plan.conditions[condition.index()].asks_of_failure(&[FailureFact::Message]))
}

fn suspicion(candidate: &Candidate) -> Suspicion {
    Suspicion {
        verdict: candidate.verdict,
        rule: candidate.rule,
        stays: candidate.stays,
        later: candidate.later.map(|(_, rule)| rule),
    }
}

fn suspect(candidate: &Candidate) -> Promise {
    Promise::Unproved(Box::new(suspicion(candidate)))
}

/// What stays changed in the group.
fn left(plan: &Plan, state: &crate::machine::State, item: ItemId) -> Vec<StepId> {
    let stages = plan.items[item.index()].branches.iter().flat_map(crate::Branch::stages);
    stages
        .flat_map(|stage| plan.changing_steps(stage))
        .filter(|step| state.steps[step.index()].attempts > 0 && !is_undone(plan, state, *step))
        .collect()
}

fn cover(group: &Group<'_>) -> Coverage {
    let places: u64 = group.branches.iter().map(|(_, course)| course.elements.len() as u64 + 1).sum();
    let mut coverage = Coverage {
        branches: group.branches.len() as u64,
        shapes: group.shapes.len() as u64,
        epochs: group.epochs() as u64,
        ..Coverage::default()
    };
    for (_, course) in &group.branches {
        let faults: u64 = course.elements.iter().map(|element| element.triggers.len() as u64).sum();
        let elsewhere = places - (course.elements.len() as u64 + 1);
        coverage.faults += faults;
        coverage.scenarios = coverage.scenarios.saturating_add(faults.saturating_mul(elsewhere.max(1)));
    }
    coverage
}

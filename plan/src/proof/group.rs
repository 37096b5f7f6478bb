//! A group as the proof sees it: branches of one shape are one, and barriers say who can be where at the same time.
//!
//! **Symmetry.** Two branches are of one shape when their courses differ in names only and they meet the same barriers at
//! the same places. Swapping them turns any execution into another one, so that what holds for one (and for two of them
//! against each other) holds for all. (Where a rollback asks how the stage failed, that has to come to the same for the same
//! failure in both; where that cannot be said before, as with words of a failure, a branch is a shape of its own.)
//!
//! **Epochs.** Between two barriers at which a branch has to wait, nothing keeps it from being anywhere. Whether a branch
//! can be at `q` while another is at `r` therefore only depends on which barriers each has crossed: to be behind a
//! barrier, everybody else has to have come to it, and so on through the barriers that they crossed on the way
//! ([`Group::crossing`], the least such cut). Least cuts can be joined, so that two branches can be at `q` and `r`
//! together, with everybody else somewhere, exactly when neither needs the other one to be farther.

use super::candidates::Point;
use super::causes::comes_to;
use super::course::{Course, Fault, Trigger, Truth, What, course, may_be_passed_over, soft_barriers};
use super::worlds::{Known, places, without_steps};
use crate::{BarrierId, Expr, ItemId, Plan, Role, StepId, Verdict};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Where every shape has come to at least.
type Cut = Vec<usize>;

/// More work than this on crossings is not done: then nothing is known to keep branches apart, which is sound.
const MOST_CROSSINGS: usize = 40_000_000;

/// Branches of one shape.
#[derive(Debug)]
pub(super) struct Shape {
    pub course: Course,
    /// Indices of the branches.
    pub members: Vec<usize>,
    /// For each element, and for `commit`: the last barrier before it at which the branch has to wait.
    behind: Vec<Option<BarrierId>>,
}

/// A group under proof.
pub(super) struct Group<'a> {
    pub plan: &'a Plan,
    pub item: ItemId,
    pub truth: Truth,
    pub shapes: Vec<Shape>,
    /// For each branch its shape and its own course.
    pub branches: Vec<(usize, Course)>,
    crossings: BTreeMap<BarrierId, Cut>,
    /// For each barrier the first participant that does not pass over its breaking: whether others surely wait for it there, and
    /// where its stage begins.
    pub first_judged: HashMap<BarrierId, (bool, Point)>,
}

/// What tells shapes apart: everything but names.
type Key = Vec<(usize, u32, Option<(BarrierId, [bool; 3])>, Option<Verdict>, Vec<u32>, Vec<(bool, bool)>)>;

impl<'a> Group<'a> {
    pub fn new(plan: &'a Plan, item: ItemId, truth: Truth) -> Self {
        let soft = soft_barriers(plan, item, &truth);
        let count = plan.items[item.index()].branches.len();
        let mut shapes: Vec<Shape> = Vec::new();
        let mut known: HashMap<((Undoing, Vec<String>), Key), usize> = HashMap::default();
        let mut branches = Vec::new();
        for branch in 0..count {
            let course = course(plan, item, branch, &truth, &soft);
            let own = (undoing(plan, branch, &course, &truth), staged(plan, item, branch, &truth));
            let shape = *known.entry((own, key(&course))).or_insert_with(|| {
                let behind = behind(&course);
                shapes.push(Shape { course: course.clone(), members: Vec::new(), behind });
                shapes.len() - 1
            });
            shapes[shape].members.push(branch);
            branches.push((shape, course));
        }
        let crossings = crossings(&shapes);
        let first_judged = first_judged(&branches);
        Group { plan, item, truth, shapes, branches, crossings, first_judged }
    }

    /// Whether a branch of one shape can be at `q` while another branch, of the other shape, is at `r`.
    pub fn together(&self, (a, q): (usize, usize), (b, r): (usize, usize)) -> bool {
        let needs = |shape: usize, at: usize, of: usize| {
            let cut = self.shapes[shape].behind[at].and_then(|barrier| self.crossings.get(&barrier));
            cut.map_or(0, |cut| cut[of])
        };
        needs(a, q, b) <= r && needs(b, r, a) <= q
    }

    /// The first place at or behind `from` where a branch of shape `a` can be while one of shape `b` is at `r`.
    pub fn first_together(&self, a: usize, from: usize, (b, r): (usize, usize)) -> Option<usize> {
        let cut = self.shapes[b].behind[r].and_then(|barrier| self.crossings.get(&barrier));
        let q = from.max(cut.map_or(0, |cut| cut[a]));
        (q <= self.shapes[a].course.elements.len() && self.together((a, q), (b, r))).then_some(q)
    }

    /// How many epochs the group has: stretches of shapes between the barriers at which they have to wait.
    pub fn epochs(&self) -> usize {
        let distinct = |shape: &Shape| shape.behind.iter().collect::<BTreeSet<_>>().len();
        self.shapes.iter().map(distinct).sum()
    }
}

/// What a rollback that asks how the stage failed comes to.
#[derive(PartialEq, Eq, Hash)]
enum Undoing {
    /// For each condition, for each way of failing.
    Comes(Vec<Vec<bool>>),
    /// Not known before: of that branch alone.
    Alone(usize),
}

fn undoing(plan: &Plan, branch: usize, course: &Course, truth: &Truth) -> Undoing {
    let asks = course.asks.iter().map(|(stage, condition)| match truth.known(*condition) {
        Known::Asks(asks) => comes_to(plan, *stage, asks),
        _ => comes_to(plan, *stage, &plan.conditions[condition.index()]),
    });
    asks.collect::<Option<_>>().map_or(Undoing::Alone(branch), Undoing::Comes)
}

/// What undoes a branch's steps, where that depends on which steps have run: these by their places in the branch.
fn staged(plan: &Plan, item: ItemId, branch: usize, truth: &Truth) -> Vec<String> {
    if !truth.is_staged() {
        return Vec::new();
    }
    let branch = &plan.items[item.index()].branches[branch];
    let stages: Vec<_> = branch.stages().collect();
    let places = places(plan, branch);
    let place = |step: &StepId| (places.get(step).copied().ok_or(*step), may_be_passed_over(plan, *step));
    let steps = plan.steps.iter().enumerate().map(|(at, step)| (StepId(at as u32), step));
    let undoing = steps.filter(|(_, step)| step.role != Role::Forward && stages.contains(&step.stage));
    let described = undoing.map(|(id, step)| {
        let undoes: Vec<usize> = (places.iter())
            .filter(|(forward, _)| plan.steps[forward.index()].undo.step() == Some(id))
            .map(|(_, place)| *place)
            .collect();
        let asked = step.when.iter().map(|condition| {
            let Some(staged) = truth.staged(*condition) else {
                return format!("{:?}", truth.known(*condition));
            };
            let mut reads = Vec::new();
            staged.form.walk(&mut |part| {
                if let Expr::Output { step, .. } = part {
                    reads.push(place(step));
                }
            });
            let silent: Vec<_> = staged.silent.iter().map(place).collect();
            format!("{:?} {reads:?} {silent:?}", without_steps(&staged.form))
        });
        format!("{undoes:?} {:?}", asked.collect::<Vec<_>>())
    });
    described.collect()
}

fn key(course: &Course) -> Key {
    let element = |it: &super::course::Element| {
        let (barrier, judged) = match it.what {
            What::Barrier { barrier, may_wait, must_wait, awaited, judged, .. } => {
                (Some((barrier, [may_wait, must_wait, awaited])), judged.map(|(verdict, _)| verdict))
            }
            _ => (None, None),
        };
        let triggers = it.triggers.iter().map(trigger_key).collect();
        let changes = it.changes.iter().map(|change| (change.whole, change.phase)).collect();
        (it.part, it.phase, barrier, judged, triggers, changes)
    };
    course.elements.iter().map(element).collect()
}

/// What kind of trigger it is, but for the names of what it is about.
fn trigger_key(trigger: &Trigger) -> u32 {
    let fault = match &trigger.fault {
        Fault::Step { kind, hosts, answer, .. } => {
            let hosts = hosts.map_or(0, |(failed, _)| failed + 1);
            let answer = answer.map_or(0, |answer| answer as u32 + 1);
            4 + *kind as u32 + 16 * answer + 256 * hosts
        }
        Fault::Waited(_) => 0,
        Fault::Approval(_, kind) => 1 + u32::from(*kind == crate::Kind::Timeout),
        Fault::Condition(_) => 3,
    };
    let verdict = match trigger.verdict {
        Verdict::Ignore => 1,
        Verdict::Fail => 2,
        Verdict::Abort => 3,
        Verdict::RollbackPhase => 4,
        _ => 0,
    };
    fault * 8 + verdict
}

fn behind(course: &Course) -> Vec<Option<BarrierId>> {
    let mut last = None;
    let mut behind = Vec::with_capacity(course.elements.len() + 1);
    for element in &course.elements {
        behind.push(last);
        if let What::Barrier { barrier, must_wait: true, .. } = element.what {
            last = Some(barrier);
        }
    }
    behind.push(last);
    behind
}

/// See [`Group::first_judged`].
fn first_judged(branches: &[(usize, Course)]) -> HashMap<BarrierId, (bool, Point)> {
    let mut first: HashMap<BarrierId, (usize, (bool, Point))> = HashMap::default();
    for (shape, course) in branches {
        let mut begins = 0;
        for (at, element) in course.elements.iter().enumerate() {
            if course.elements[begins].part != element.part {
                begins = at;
            }
            let What::Barrier { barrier, place, awaited, judged: Some(_), .. } = element.what else {
                continue;
            };
            let here = (place.index(), (awaited, Point { shape: *shape, at: begins }));
            let known = first.entry(barrier).or_insert(here);
            if here.0 < known.0 {
                *known = here;
            }
        }
    }
    first.into_iter().map(|(barrier, (_, first))| (barrier, first)).collect()
}

/// For each barrier where every shape has come to, at least, when somebody who waits for it has crossed it.
fn crossings(shapes: &[Shape]) -> BTreeMap<BarrierId, Cut> {
    // For each barrier: which shapes come to it, and where.
    let mut met: BTreeMap<BarrierId, Vec<(usize, usize)>> = BTreeMap::new();
    for (shape, it) in shapes.iter().enumerate() {
        for (at, element) in it.course.elements.iter().enumerate() {
            if let What::Barrier { barrier, awaited: true, .. } = element.what {
                met.entry(barrier).or_default().push((shape, at));
            }
        }
    }
    let meetings: usize = met.values().map(Vec::len).sum();
    if meetings.saturating_mul(shapes.len()) > MOST_CROSSINGS {
        return BTreeMap::new();
    }
    // What has to be crossed before: each barrier waits until those before it are known. In a circle (which another rule
    // reports) nothing is.
    let before = |barrier: &BarrierId| -> BTreeSet<BarrierId> {
        met[barrier].iter().filter_map(|(shape, at)| shapes[*shape].behind[*at]).collect()
    };
    let mut missing: BTreeMap<BarrierId, BTreeSet<BarrierId>> =
        met.keys().map(|barrier| (*barrier, before(barrier))).collect();
    let mut after: BTreeMap<BarrierId, Vec<BarrierId>> = BTreeMap::new();
    for (barrier, before) in &missing {
        for earlier in before {
            after.entry(*earlier).or_default().push(*barrier);
        }
    }
    let mut ready: Vec<BarrierId> =
        missing.iter().filter(|(_, before)| before.is_empty()).map(|(barrier, _)| *barrier).collect();
    let mut cuts: BTreeMap<BarrierId, Cut> = BTreeMap::new();
    while let Some(barrier) = ready.pop() {
        let mut cut = vec![0; shapes.len()];
        for earlier in before(&barrier) {
            for (least, known) in cut.iter_mut().zip(&cuts[&earlier]) {
                *least = (*least).max(*known);
            }
        }
        for (shape, at) in &met[&barrier] {
            cut[*shape] = cut[*shape].max(at + 1);
        }
        cuts.insert(barrier, cut);
        for later in after.remove(&barrier).unwrap_or_default() {
            if let Some(before) = missing.get_mut(&later) {
                before.remove(&barrier);
                if before.is_empty() {
                    ready.push(later);
                }
            }
        }
    }
    cuts
}

//! Where the promise could break: every place at which a fault leaves something that cannot be taken back.
//!
//! `commit` is decided once, for everybody.
//!
//! *If it opens*, every stage has succeeded, and a branch is new unless it went on past a changing step that failed:
//! `ignore`.
//!
//! *If it breaks*, it does so in the machine step in which something fails for good for the first time, and that step
//! dooms all other branches where they are. From then on no rule of the group runs any more, so one fault decides. What
//! each branch comes to is the verdict of its own failure, or of the first broken barrier that it has not crossed and
//! that its rules do not pass over, or, for want of one, `commit`'s: rolling back. A branch is then old exactly when each
//! changing step that it had started is undone by that, which does not depend on other steps. So it is enough to look at
//! each branch alone for its own faults, and at pairs of branches for those of others (at a third one, where a run is
//! aborted, to see whether it had changed something).
//!
//! *Behind the group* a rule of the pipeline may take everything back because a later item fails.
//!
//! Leaving `max`, claims and the time that steps take out of account only adds executions. Candidates are therefore all
//! there are and perhaps more: each is tried on the machine ([`super::replay`]) before it is believed.

use super::course::{Fault, Trigger, What, stage_triggers};
use super::doomed::Doomed;
use super::group::Group;
use crate::machine::matches;
use crate::{Failure, ItemId, Kind, Part, Reaction, StepId, Verdict};

/// More than this are not tried.
const MOST: usize = 2048;

/// Where a branch is to be: at an element of its course, or at `commit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub shape: usize,
    pub at: usize,
}

/// A way in which the promise could break.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Where the fault comes, which one of the element's, and where others are then.
    pub at: Point,
    pub trigger: Trigger,
    pub others: Vec<Point>,
    /// The verdict that leaves something behind, and its rule.
    pub verdict: Verdict,
    pub rule: Option<(crate::ScopeId, u32)>,
    /// What stays.
    pub stays: StepId,
    /// In which branch: 0 for the one with the fault, or one more than an index into `others`.
    pub whose: usize,
    /// Index of the trigger among those of its element.
    pub nth: usize,
    /// The fault comes in this later item, when the group has ended, and this rule of the pipeline takes the group back.
    pub later: Option<(ItemId, u32)>,
}

impl Candidate {
    /// The point of the branch in which something stays.
    pub fn stays_in(&self) -> Point {
        self.whose.checked_sub(1).and_then(|other| self.others.get(other)).copied().unwrap_or(self.at)
    }
}

/// Which candidates are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    /// All.
    All,
    /// Those where this branch, or one of its shape, fails, and something stays in that one.
    Pair { fails: usize, stays: usize },
    /// Those where a later item fails.
    Later,
}

/// What was found.
pub(super) struct Found {
    /// Shortest first.
    pub candidates: Vec<Candidate>,
    /// Whether these are all.
    pub complete: bool,
    /// How many faults, and pairs of a fault and another branch's place, were looked at.
    pub checked: u64,
    /// How many changing steps were gone through besides.
    pub gone_through: u64,
}

/// All candidates of a focus.
pub(super) fn candidates(group: &Group<'_>, focus: Focus) -> Found {
    let mut search = Search { group, focus, found: Vec::new(), checked: 0, gone_through: 0 };
    if focus != Focus::Later {
        search.own();
    }
    if focus != Focus::Later && search.found.len() < MOST {
        search.pairs();
    }
    if matches!(focus, Focus::All | Focus::Later) {
        search.later();
    }
    let complete = search.found.len() < MOST;
    let mut found = search.found;
    found.sort_by_key(|it| {
        let others: usize = it.others.iter().map(|point| point.at + 1).sum();
        (it.later.is_some(), it.others.len(), it.at.at + others)
    });
    Found { candidates: found, complete, checked: search.checked, gone_through: search.gone_through }
}

struct Search<'g, 'a> {
    group: &'g Group<'a>,
    focus: Focus,
    found: Vec<Candidate>,
    checked: u64,
    gone_through: u64,
}

impl Search<'_, '_> {
    /// Faults that their own branch does not survive as it should.
    fn own(&mut self) {
        for (shape, it) in self.group.shapes.iter().enumerate() {
            if !self.may_fail(shape) {
                continue;
            }
            for (r, element) in it.course.elements.iter().enumerate() {
                for (nth, trigger) in element.triggers.iter().enumerate() {
                    self.checked += 1;
                    let at = Point { shape, at: r };
                    if trigger.verdict == Verdict::Ignore {
                        // The branch goes on with a change that did not succeed.
                        if let Fault::Step { step, .. } = trigger.fault {
                            self.add(
                                at,
                                (nth, trigger),
                                Vec::new(),
                                (Verdict::Ignore, trigger.rule),
                                (0, step),
                            );
                        }
                        continue;
                    }
                    let judged = match trigger.fault {
                        Fault::Waited(_) => {
                            Doomed::new(self.group, at).comes_to(at, &trigger.fault).collect()
                        }
                        _ => vec![(trigger.verdict, trigger.rule)],
                    };
                    for judged in judged {
                        if let Some(step) = it.course.stays(r, judged.0) {
                            self.add(at, (nth, trigger), Vec::new(), judged, (0, step));
                        }
                        if judged.0 == Verdict::Abort && self.found.len() < MOST {
                            self.aborted(at, (nth, trigger), judged);
                        }
                    }
                }
            }
        }
    }

    /// An abort: others may have changed something, whether or not the branch itself has.
    fn aborted(&mut self, at: Point, trigger: (usize, &Trigger), judged: super::course::Judged) {
        for (other, it) in self.group.shapes.iter().enumerate() {
            if other == at.shape && it.members.len() < 2 {
                continue;
            }
            let Some(first) = it.course.first_change else { continue };
            if let Some(q) = self.group.first_together(other, first, (at.shape, at.at))
                && let Some(step) = it.course.stays(q, Verdict::Abort)
            {
                self.add(at, trigger, vec![Point { shape: other, at: q }], judged, (1, step));
            }
        }
    }

    /// Faults that another branch does not survive as it should.
    fn pairs(&mut self) {
        let faults: Vec<Vec<usize>> =
            (0..self.group.shapes.len()).map(|shape| self.first_faults(shape)).collect();
        for (shape, it) in self.group.shapes.iter().enumerate() {
            // Rolling back takes everything back, and no rule says anything else: nothing to look for.
            if it.course.first_left.is_none() && !it.course.judges {
                continue;
            }
            for q in 0..=it.course.elements.len() {
                let rests = it.course.elements.get(q).is_none_or(|element| match element.what {
                    What::Barrier { may_wait, .. } => may_wait,
                    _ => true,
                });
                let quiet = !it.course.judges && it.course.first_left.is_none_or(|first| first > q);
                if !rests || quiet {
                    continue;
                }
                self.gone_through += it.course.changing.len() as u64;
                let mut doomed = Doomed::new(self.group, Point { shape, at: q });
                if !doomed.leaves_anything() {
                    continue;
                }
                for (other, faults) in faults.iter().enumerate() {
                    if other == shape && it.members.len() < 2 || !self.may_fail(other) {
                        continue;
                    }
                    for r in faults {
                        self.pair((Point { shape, at: q }, &mut doomed), Point { shape: other, at: *r });
                        if self.found.len() >= MOST {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Of each stretch of a shape between barriers the first element where something can fail for good: for the other
    /// branches one is like another.
    fn first_faults(&self, shape: usize) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut open = true;
        let mut part = usize::MAX;
        for (r, element) in self.group.shapes[shape].course.elements.iter().enumerate() {
            let barrier = matches!(element.what, What::Barrier { .. });
            open |= barrier || element.part != part || matches!(element.what, What::Approval);
            part = element.part;
            if open && element.triggers.iter().any(is_final) {
                found.push(r);
                open = barrier || matches!(element.what, What::Approval);
            }
        }
        found
    }

    fn pair(&mut self, (q, doomed): (Point, &mut Doomed<'_, '_>), r: Point) {
        self.checked += 1;
        let group = self.group;
        if !group.together((q.shape, q.at), (r.shape, r.at)) {
            return;
        }
        let theirs = &group.shapes[r.shape].course;
        let mut seen = 0u32;
        for (nth, trigger) in theirs.elements[r.at].triggers.iter().enumerate() {
            if !is_final(trigger) {
                continue;
            }
            // Only a rule of the pipeline can tell kinds apart now.
            let kind = if group.plan.rules.is_empty() { 0 } else { 1 + kind_of(&trigger.fault) as u32 };
            let alike = 1 << (2 * kind + u32::from(matches!(trigger.fault, Fault::Waited(_))));
            if seen & alike != 0 {
                continue;
            }
            seen |= alike;
            let trigger = (nth, trigger);
            for judged in doomed.comes_to(r, &trigger.1.fault) {
                if let Some(step) = doomed.stays(judged.0) {
                    self.add(r, trigger, vec![q], judged, (1, step));
                }
                if judged.0 == Verdict::Abort {
                    if let Some(step) = theirs.stays(r.at, Verdict::Abort) {
                        self.add(r, trigger, vec![q], judged, (0, step));
                    }
                    self.third(q, r, trigger, judged);
                }
            }
        }
    }

    /// A barrier's rule aborts the run: a third branch may have changed something.
    fn third(&mut self, q: Point, r: Point, trigger: (usize, &Trigger), judged: super::course::Judged) {
        let group = self.group;
        for (shape, it) in group.shapes.iter().enumerate() {
            let taken = usize::from(shape == q.shape) + usize::from(shape == r.shape);
            let Some(first) = it.course.first_change.filter(|_| it.members.len() > taken) else { continue };
            let behind_q = group.first_together(shape, first, (q.shape, q.at));
            let at = behind_q.and_then(|from| group.first_together(shape, from, (r.shape, r.at)));
            if let Some(at) = at
                && group.together((shape, at), (q.shape, q.at))
                && let Some(step) = it.course.stays(at, Verdict::Abort)
            {
                self.add(r, trigger, vec![q, Point { shape, at }], judged, (2, step));
            }
        }
    }

    /// `rollback pipeline`, because a later item fails: then everything must be undone.
    fn later(&mut self) {
        let plan = self.group.plan;
        let left = self.group.shapes.iter().enumerate().find_map(|(shape, it)| {
            let at = it.course.first_left?;
            Some((Point { shape, at }, it.course.stays(at, Verdict::Rollback)?))
        });
        let Some((at, stays)) = left else { return };
        let takes_back = |kind: Kind| {
            let failure = Failure::new(kind, "");
            let rule = plan.rules.iter().position(|rule| matches(rule, &failure))?;
            (plan.rules[rule].reaction == Reaction::RollbackPipeline).then_some(rule as u32)
        };
        for (index, item) in plan.items.iter().enumerate().skip(self.group.item.index() + 1) {
            for part in item.branches.iter().flat_map(|branch| &branch.parts) {
                let faults: Vec<Trigger> = match part {
                    Part::Stage(stage) => stage_triggers(plan, *stage, &self.group.truth),
                    Part::Approval(approval) => [Kind::ApprovalRejected, Kind::Timeout]
                        .map(|kind| Trigger {
                            fault: Fault::Approval(*approval, kind),
                            verdict: Verdict::Rollback,
                            rule: None,
                        })
                        .to_vec(),
                };
                for trigger in &faults {
                    if matches!(trigger.verdict, Verdict::Ignore | Verdict::Abort) {
                        continue;
                    }
                    let Some(rule) = takes_back(kind_of(&trigger.fault)) else { continue };
                    self.found.push(Candidate {
                        at,
                        trigger: trigger.clone(),
                        others: Vec::new(),
                        verdict: Verdict::Rollback,
                        rule: None,
                        stays,
                        whose: 0,
                        nth: 0,
                        later: Some((ItemId(index as u32), rule)),
                    });
                    if self.found.len() >= MOST {
                        return;
                    }
                }
            }
        }
    }

    fn add(
        &mut self,
        at: Point,
        (nth, trigger): (usize, &Trigger),
        others: Vec<Point>,
        (verdict, rule): super::course::Judged,
        (whose, stays): (usize, StepId),
    ) {
        let trigger = trigger.clone();
        let candidate = Candidate { at, trigger, others, verdict, rule, stays, whose, nth, later: None };
        let wanted = match self.focus {
            Focus::All => true,
            Focus::Pair { fails, stays } if fails == stays => whose == 0,
            Focus::Pair { stays, .. } => {
                whose > 0 && candidate.stays_in().shape == self.group.branches[stays].0
            }
            Focus::Later => false,
        };
        if wanted {
            self.found.push(candidate);
        }
    }

    /// Whether faults of branches of a shape are looked for.
    fn may_fail(&self, shape: usize) -> bool {
        match self.focus {
            Focus::Pair { fails, .. } => self.group.branches[fails].0 == shape,
            Focus::All | Focus::Later => true,
        }
    }
}

/// Whether the fault makes its stage fail for good, and only that.
fn is_final(trigger: &Trigger) -> bool {
    !matches!(trigger.verdict, Verdict::Ignore | Verdict::Abort)
}

/// The kind that rules of the pipeline see.
fn kind_of(fault: &Fault) -> Kind {
    match fault {
        Fault::Step { kind, .. } | Fault::Approval(_, kind) => *kind,
        Fault::Waited(_) => Kind::Barrier,
        Fault::Condition(_) => Kind::Application,
    }
}

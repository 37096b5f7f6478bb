//! What may stay changed after a failure, for every pipeline, promise or not: only what a rule, or the source's own
//! `irreversible`, leaves as it is.
//!
//! That everything else is undone is no matter of a pipeline but of the machine: a stage that fails for good ends rolled
//! back, each executed step's undo commanded, unless a rule said `fail`, `abort` or `rollback phase`, or a step went on
//! with `ignore`. So it is enough to list these.

use super::course::{Course, Fault, Judged, Truth, What, course, soft_barriers};
use crate::machine::{Settled, final_verdict, judge_barrier};
use crate::{ItemId, PlaceId, Plan, Reaction, ScopeId, StepId, Verdict};
use foldhash::HashMap;
use std::collections::BTreeSet;

/// Changes that may stay although their stage failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The steps that made them, in source order; with [`Verdict::Abort`] also what others have under way at that moment.
    pub steps: BTreeSet<StepId>,
    /// What is done about a failure then; [`Verdict::Rollback`] where nothing undoes the step.
    pub verdict: Verdict,
    /// The rule that says so; none for a person's answer to a broken barrier.
    pub rule: Option<(ScopeId, u32)>,
}

/// Every exception of a plan, one for each rule and what it comes to, in source order.
pub fn exceptions(plan: &Plan) -> Vec<Exception> {
    let truth = Truth::of(plan);
    let mut found = Exceptions::default();
    // Where any failure takes the whole pipeline back, what a rule left before goes back with it.
    let taken_back = plan
        .rules
        .first()
        .is_some_and(|rule| rule.kinds.is_empty() && rule.reaction == Reaction::RollbackPipeline);
    for (index, item) in plan.items.iter().enumerate() {
        let id = ItemId(index as u32);
        let soft = soft_barriers(plan, id, &truth);
        let courses: Vec<Course> =
            (0..item.branches.len()).map(|branch| course(plan, id, branch, &truth, &soft)).collect();
        let changing = courses.iter().filter(|course| course.first_change.is_some()).count();
        for course in &courses {
            let elsewhere = changing > usize::from(course.first_change.is_some());
            look_at(plan, course, elsewhere, &mut found);
        }
    }
    // Unless somebody's abort stops everything before it has.
    let stopped = found.found.iter().any(|it| it.verdict == Verdict::Abort);
    let goes_back = |it: &Exception| {
        taken_back && !stopped && matches!(it.verdict, Verdict::Fail | Verdict::RollbackPhase)
    };
    found.found.retain(|it| !goes_back(it));
    found.found
}

fn look_at(plan: &Plan, course: &Course, elsewhere: bool, found: &mut Exceptions) {
    for (q, element) in course.elements.iter().enumerate() {
        let whole = element.changes.iter().filter(|change| !change.whole).map(|change| change.step);
        found.add((Verdict::Rollback, None), whole, false);
        for trigger in &element.triggers {
            let judged = (trigger.verdict, trigger.rule);
            match (&trigger.fault, trigger.verdict) {
                (_, Verdict::Rollback) => {}
                (Fault::Step { step, .. }, Verdict::Ignore) => found.add(judged, [*step].into_iter(), false),
                (_, verdict) => found.add(judged, course.left_here(q, verdict), elsewhere),
            }
        }
        if let What::Barrier { place, may_wait: true, .. } = element.what {
            for judged in broken(plan, place) {
                found.add(judged, course.left_here(q, judged.0), elsewhere);
            }
        }
    }
}

#[derive(Default)]
struct Exceptions {
    found: Vec<Exception>,
    known: HashMap<(u32, Option<(ScopeId, u32)>), usize>,
}

impl Exceptions {
    fn add(&mut self, (verdict, rule): Judged, steps: impl Iterator<Item = StepId>, elsewhere: bool) {
        let steps: BTreeSet<StepId> = steps.collect();
        if steps.is_empty() && !(elsewhere && verdict == Verdict::Abort) {
            return;
        }
        let at = *self.known.entry((order(verdict), rule)).or_insert_with(|| {
            self.found.push(Exception { steps: BTreeSet::new(), verdict, rule });
            self.found.len() - 1
        });
        self.found[at].steps.extend(steps);
    }
}

/// What a broken barrier can come to, beside rolling back and going on.
fn broken(plan: &Plan, place: PlaceId) -> Vec<Judged> {
    let (settled, decision) = judge_barrier(plan, place);
    let mut found = match settled {
        Settled::Verdict(verdict) => vec![(verdict, decision.rule)],
        Settled::Ask(ask) => {
            let mut unanswered = &ask.then;
            while let Reaction::Retry { then, .. } | Reaction::Ask { then, .. } = unanswered {
                unanswered = then;
            }
            vec![(final_verdict(unanswered), decision.rule), (Verdict::Abort, decision.rule)]
        }
    };
    found.retain(|(verdict, _)| !matches!(verdict, Verdict::Rollback | Verdict::Ignore | Verdict::Succeed));
    found
}

fn order(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Ignore => 1,
        Verdict::Fail => 2,
        Verdict::Abort => 3,
        Verdict::RollbackPhase => 4,
        _ => 0,
    }
}

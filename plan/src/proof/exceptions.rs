//! What may stay changed after a failure, for every pipeline, promise or not: only what a rule, or the source's own
//! `irreversible`, leaves as it is.
//!
//! That everything else is undone is no matter of a pipeline but of the machine: a stage that fails for good ends rolled
//! back, each executed step's undo commanded, unless a rule said `fail`, `abort` or `rollback phase`, or a step went on
//! with `ignore`. So it is enough to list these.

use super::course::{Fault, What, course, soft_barriers};
use crate::{ItemId, Plan, ScopeId, StepId, Value, Verdict};

/// A change that may stay although its stage failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// The step that made it.
    pub step: StepId,
    /// What is done about a failure then; [`Verdict::Rollback`] where nothing undoes the step.
    pub verdict: Verdict,
    /// The rule that says so.
    pub rule: Option<(ScopeId, u32)>,
}

/// Every exception of a plan, each once, in source order.
pub fn exceptions(plan: &Plan) -> Vec<Exception> {
    let known = |condition: &crate::Expr| condition.as_value().and_then(Value::as_bool);
    let truth: Vec<Option<bool>> = plan.conditions.iter().map(known).collect();
    let mut found: Vec<Exception> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in plan.items.iter().enumerate() {
        let id = ItemId(index as u32);
        let soft = soft_barriers(plan, id, &truth);
        for branch in 0..item.branches.len() {
            let course = course(plan, id, branch, &truth, &soft);
            let mut add = |step: StepId, verdict: Verdict, rule: Option<(ScopeId, u32)>| {
                if seen.insert((step, verdict_order(verdict), rule)) {
                    found.push(Exception { step, verdict, rule });
                }
            };
            for (q, element) in course.elements.iter().enumerate() {
                for change in element.changes.iter().filter(|change| !change.whole) {
                    add(change.step, Verdict::Rollback, None);
                }
                for trigger in &element.triggers {
                    let stays = match (&trigger.fault, trigger.verdict) {
                        (_, Verdict::Rollback) => None,
                        (Fault::Step { step, .. }, Verdict::Ignore) => Some(*step),
                        (_, verdict) => course.stays(q, verdict),
                    };
                    if let Some(step) = stays {
                        add(step, trigger.verdict, trigger.rule);
                    }
                }
                if let What::Barrier { judged: Some((verdict, rule)), .. } = element.what
                    && verdict != Verdict::Rollback
                    && let Some(step) = course.stays(q, verdict)
                {
                    add(step, verdict, rule);
                }
            }
        }
    }
    found
}

fn verdict_order(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Ignore => 1,
        Verdict::Fail => 2,
        Verdict::Abort => 3,
        Verdict::RollbackPhase => 4,
        _ => 0,
    }
}

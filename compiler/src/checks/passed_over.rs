//! Steps that must have failed, and been passed over, for the conditions of a story to come to what they come to: with nothing
//! that such a step puts out they would come to something else.

use super::all_or_nothing_violated::around;
use lockstep_plan::proof::{Counterexample, Fault, may_be_passed_over};
use lockstep_plan::{Expr, Facts, FailureFact, Function, Operator, Plan, RunFact, StepId, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The steps, of what lets the failing step and the one that stays run, and what undoes that one.
pub fn passed_over(plan: &Plan, found: &Counterexample) -> Vec<StepId> {
    let failing = match found.fault {
        Fault::Step { step, .. } => Some(step),
        _ => None,
    };
    let stays = found.suspicion.stays;
    let mut conditions: BTreeSet<usize> = around(plan, stays).into_iter().collect();
    conditions.extend(failing.into_iter().flat_map(|step| around(plan, step)));
    if let Some(undo) = plan.steps[stays.index()].undo.step() {
        conditions.extend(plan.steps[undo.index()].when.iter().map(|it| it.index()));
    }
    let mut read: BTreeMap<(StepId, &str), Vec<usize>> = BTreeMap::new();
    for index in conditions {
        if let Some(output) = the_output(&plan.conditions[index]) {
            read.entry(output).or_default().push(index);
        }
    }
    let silent = read.into_iter().filter(|((step, _), conditions)| {
        let comes_to = |value: Option<&Value>| {
            conditions.iter().all(|index| {
                let told = plan.conditions[*index].eval(&Put(value));
                told.ok().and_then(|told| told.as_bool()) == Some(found.conditions[*index])
            })
        };
        let values = conditions.iter().flat_map(|index| texts(&plan.conditions[*index]));
        let mut values = values.chain([String::from("\u{0}")]).map(Value::Text);
        Some(*step) != failing
            && may_be_passed_over(plan, *step)
            && comes_to(None)
            && !values.any(|value| comes_to(Some(&value)))
    });
    silent.map(|((step, _), _)| step).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The one output that a condition reads, where it reads nothing else and only compares it with texts: then one that it
/// compares it with, or any other, stands for all that it can be.
fn the_output(condition: &Expr) -> Option<(StepId, &str)> {
    match condition {
        Expr::Output { step, name } => Some((*step, name)),
        Expr::Not(of) => the_output(of),
        Expr::Binary(Operator::Equal | Operator::NotEqual, one, other) => match (&**one, &**other) {
            (of, Expr::Value(Value::Text(_))) | (Expr::Value(Value::Text(_)), of) => the_output(of),
            _ => None,
        },
        Expr::Binary(Operator::And | Operator::Or, one, other) => {
            the_output(one).filter(|output| the_output(other) == Some(*output))
        }
        Expr::Call(Function::Default, of) => match of.as_slice() {
            [of @ Expr::Output { .. }, Expr::Value(Value::Text(_))] => the_output(of),
            _ => None,
        },
        _ => None,
    }
}

/// The texts in a condition.
fn texts(condition: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    condition.walk(&mut |part| {
        if let Expr::Value(Value::Text(text)) = part {
            found.push(text.clone());
        }
    });
    found
}

/// That an output is this, or that nothing was put out.
struct Put<'v>(Option<&'v Value>);

impl Facts for Put<'_> {
    fn output(&self, _: StepId, _: &str) -> Option<Value> {
        self.0.cloned()
    }
    fn run(&self, _: RunFact) -> Option<Value> {
        None
    }
    fn failure(&self, _: FailureFact) -> Option<Value> {
        None
    }
}

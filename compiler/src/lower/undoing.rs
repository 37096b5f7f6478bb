//! What undoes a step has to be able to begin: with the values of a run at hand, its arguments are looked at before it.

use super::Lowered;
use crate::checks::all_or_nothing_violated::RULE;
use crate::diagnostic::{Diagnostic, Location};
use lockstep_plan::{Expr, Function, Operator, Role, Value};
use std::collections::BTreeSet;

/// Reports steps of rollbacks, in groups that promise to go back together, with arguments that these values leave without a
/// meaning: a map lacks the key that they ask for, and nothing stands for it.
pub fn check(lowered: &Lowered, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&lowered.plan, &lowered.origins);
    let mut seen: BTreeSet<(Location, &str)> = BTreeSet::new();
    for (step, at) in plan.steps.iter().zip(&origins.steps) {
        let item = plan.stages[step.stage.index()].item;
        let promised = plan.items[item.index()].promises();
        let never = |it: &Expr| it.as_value() == Some(&Value::Bool(false));
        let skipped = step.when.iter().any(|condition| never(&plan.conditions[condition.index()]));
        if !promised || step.role == Role::Forward || skipped {
            continue;
        }
        for (name, _) in step.action.arguments.iter().filter(|(_, value)| lacks(value)) {
            if !seen.insert((*at, name)) {
                continue;
            }
            let message = format!(
                "`all_or_nothing` does not hold with these values: what `{}` undoes stays, for it cannot begin",
                step.name
            );
            sink.push(
                Diagnostic::new(&RULE, *at, message)
                    .label(format!("`{name}` asks a map for a key that it lacks"))
                    .also(origins.items[item.index()], "all branches should end new, or all old")
                    .help("give the map that key, or say what stands for it: `default(MAP.KEY, …)`"),
            );
        }
    }
}

/// Whether an expression can surely not be evaluated, whatever steps put out.
fn lacks(expr: &Expr) -> bool {
    match expr {
        Expr::Param(name) => name == "?",
        Expr::Call(Function::Default, parts) if parts.len() == 2 => parts.iter().all(lacks),
        // Either may be enough.
        Expr::Binary(Operator::And | Operator::Or, left, right) => lacks(left) && lacks(right),
        Expr::If(condition, then, otherwise) => lacks(condition) || lacks(then) && lacks(otherwise),
        other => {
            let mut found = false;
            other.each_part(&mut |part| found |= lacks(part));
            found
        }
    }
}

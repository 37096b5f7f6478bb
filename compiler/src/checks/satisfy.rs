//! Whether open conditions can hold together: a small search over what they ask.

use foldhash::HashSet;
use lockstep_plan::{Expr, NoFacts, Operator, Value};

/// More questions than this are not tried out.
pub const MOST_ATOMS: usize = 12;

/// The questions that conditions ask, without `!`, `&&` and `||`.
#[derive(Debug, Default)]
pub struct Atoms(Vec<Expr>, HashSet<Expr>);

impl Atoms {
    /// Adds the questions of a condition.
    pub fn add(&mut self, condition: &Expr) {
        match condition {
            Expr::Value(_) => {}
            Expr::Not(inner) => self.add(inner),
            Expr::Binary(Operator::And | Operator::Or, left, right) => {
                self.add(left);
                self.add(right);
            }
            Expr::If(condition, then, otherwise) => {
                for part in [condition, then, otherwise] {
                    self.add(part);
                }
            }
            atom => {
                if self.1.insert(atom.clone()) {
                    self.0.push(atom.clone());
                }
            }
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every set of answers that can be given together; none when there are too many questions to try.
    pub fn answers(&self) -> Option<impl Iterator<Item = Vec<bool>> + '_> {
        let count = self.0.len();
        (count <= MOST_ATOMS).then(|| {
            (0..1_u32 << count)
                .map(move |bits| (0..count).map(|index| bits >> index & 1 == 1).collect::<Vec<bool>>())
                .filter(|answers| self.consistent(answers))
        })
    }

    /// What a condition comes to with these answers.
    pub fn holds(&self, condition: &Expr, answers: &[bool]) -> bool {
        match condition {
            Expr::Value(value) => value.as_bool().unwrap_or(true),
            Expr::Not(inner) => !self.holds(inner, answers),
            Expr::Binary(Operator::And, left, right) => {
                self.holds(left, answers) && self.holds(right, answers)
            }
            Expr::Binary(Operator::Or, left, right) => {
                self.holds(left, answers) || self.holds(right, answers)
            }
            Expr::If(condition, then, otherwise) => {
                self.holds(if self.holds(condition, answers) { then } else { otherwise }, answers)
            }
            atom => self.0.iter().position(|known| known == atom).is_none_or(|index| answers[index]),
        }
    }

    /// Questions about one parameter must have one value that answers them all so.
    fn consistent(&self, answers: &[bool]) -> bool {
        let asked: Vec<Option<String>> = self.0.iter().map(only_param).collect();
        asked.iter().enumerate().all(|(index, param)| {
            let Some(param) = param else { return true };
            if asked[..index].iter().any(|earlier| earlier.as_ref() == Some(param)) {
                return true; // Judged with the first question about it.
            }
            let about: Vec<usize> =
                (0..asked.len()).filter(|other| asked[*other].as_ref() == Some(param)).collect();
            let mut candidates = vec![Value::Bool(true), Value::Bool(false)];
            for atom in &about {
                self.0[*atom].walk(&mut |part| {
                    if let Expr::Value(value) = part {
                        candidates.extend(around(value));
                    }
                });
            }
            let fits = |value: &Value| {
                about.iter().all(|atom| match substitute(&self.0[*atom], param, value).eval(&NoFacts) {
                    Ok(Value::Bool(result)) => result == answers[*atom],
                    _ => false,
                })
            };
            // A question that no candidate can be put to is left free.
            let askable = |value: &Value| {
                about.iter().all(|atom| substitute(&self.0[*atom], param, value).eval(&NoFacts).is_ok())
            };
            candidates.iter().any(fits)
                || !candidates.iter().any(askable)
                || about.iter().any(|it| !simple(&self.0[*it]))
        })
    }
}

/// Whether trying values near the constants is enough to see every answer.
fn simple(atom: &Expr) -> bool {
    match atom {
        Expr::Param(_) => true,
        Expr::Binary(_, left, right) => {
            matches!((&**left, &**right), (Expr::Param(_), Expr::Value(_)) | (Expr::Value(_), Expr::Param(_)))
        }
        _ => false,
    }
}

/// The parameter that an expression depends on, where it is one and nothing else is open.
fn only_param(expr: &Expr) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    let mut free = false;
    expr.walk(&mut |part| match part {
        Expr::Param(name) if !names.contains(name) => names.push(name.clone()),
        Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_) => free = true,
        _ => {}
    });
    match names.as_slice() {
        [only] if !free => Some(only.clone()),
        _ => None,
    }
}

/// A value and its neighbours: what comparisons with it can tell apart.
fn around(value: &Value) -> Vec<Value> {
    match value {
        Value::Int(n) => {
            vec![Value::Int(n.saturating_sub(1)), Value::Int(*n), Value::Int(n.saturating_add(1))]
        }
        Value::Percent(n) => (n.saturating_sub(1)..=n.saturating_add(1)).map(Value::Percent).collect(),
        Value::Duration(n) => (n.saturating_sub(1)..=n.saturating_add(1)).map(Value::Duration).collect(),
        Value::Text(text) => {
            vec![Value::Text(text.clone()), Value::Text(format!("{text}\u{1}")), Value::Text(String::new())]
        }
        Value::List(items) => items.iter().flat_map(around).collect(),
        other => vec![other.clone()],
    }
}

/// The expression with a value in place of a parameter.
pub fn substitute(expr: &Expr, name: &str, value: &Value) -> Expr {
    let again = |expr: &Expr| Box::new(substitute(expr, name, value));
    let all = |items: &[Expr]| items.iter().map(|item| substitute(item, name, value)).collect();
    match expr {
        Expr::Param(param) if param == name => Expr::Value(value.clone()),
        Expr::Not(inner) => Expr::Not(again(inner)),
        Expr::Binary(operator, left, right) => Expr::Binary(*operator, again(left), again(right)),
        Expr::If(condition, then, otherwise) => Expr::If(again(condition), again(then), again(otherwise)),
        Expr::Call(function, items) => Expr::Call(*function, all(items)),
        Expr::Text(items) => Expr::Text(all(items)),
        Expr::List(items) => Expr::List(all(items)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(param: &str, value: &str) -> Expr {
        Expr::Binary(
            Operator::Equal,
            Box::new(Expr::Param(param.into())),
            Box::new(Expr::Value(Value::Text(value.into()))),
        )
    }

    #[test]
    fn one_parameter_has_one_value() {
        let mut atoms = Atoms::default();
        atoms.add(&is("env", "a"));
        atoms.add(&is("env", "b"));
        let answers: Vec<_> = atoms.answers().unwrap().collect();
        assert_eq!(answers, [vec![false, false], vec![true, false], vec![false, true]]);
    }

    #[test]
    fn different_parameters_are_free() {
        let mut atoms = Atoms::default();
        atoms.add(&Expr::Param("x".into()));
        atoms.add(&Expr::Not(Box::new(Expr::Param("y".into()))));
        assert_eq!(atoms.answers().unwrap().count(), 4);
    }
}

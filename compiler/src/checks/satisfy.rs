//! Whether open conditions can hold together: a small search over what they ask.

use super::type_not_allowed_value::constant;
use crate::model::{DeclId, Model};
use crate::types::{ParamInfo, Ty};
use foldhash::HashSet;
use lockstep_grammar::ast::{DeclarationKind, Within};
use lockstep_plan::{Expr, FailureFact, NoFacts, Operator, Value};
use std::collections::BTreeMap;

/// More questions than this are not tried out.
pub const MOST_ATOMS: usize = 12;
/// Longer ranges are not gone through value by value.
const LONGEST_RANGE: i64 = 64;

/// What the parameters of a pipeline can be, where their types say so: a run with anything else is refused.
#[derive(Debug, Default)]
pub struct Domains(BTreeMap<String, Domain>);

#[derive(Debug)]
enum Domain {
    /// One of these.
    Listed(Vec<Value>),
    /// From the one to the other, both included.
    Range(i64, i64),
}

impl Domains {
    /// As the pipeline declares them.
    pub fn of(model: &Model<'_>, pipeline: DeclId) -> Self {
        let DeclarationKind::Pipeline(declared) = &model.decl(pipeline).kind else { return Self::default() };
        let infos = model.params(pipeline.file, &declared.params.items);
        Domains(infos.iter().filter_map(|info| Some((info.name().to_owned(), domain(info)?))).collect())
    }
}

/// Of an optional parameter nothing is known: it may not be given.
fn domain(info: &ParamInfo<'_>) -> Option<Domain> {
    match (&info.ty, info.within()) {
        (Ty::Bool, None) => Some(Domain::Listed(vec![Value::Bool(false), Value::Bool(true)])),
        (Ty::Int, Some(Within::Range(first, last, _))) => Some(Domain::Range(*first, *last)),
        (
            Ty::String | Ty::Int | Ty::Bool | Ty::Duration | Ty::Percent | Ty::Path,
            Some(Within::List(items, _)),
        ) => items.iter().map(constant).collect::<Option<_>>().map(Domain::Listed),
        _ => None,
    }
}

/// The questions that conditions ask, without `!`, `&&` and `||`.
#[derive(Debug)]
pub struct Atoms<'d>(Vec<Expr>, HashSet<Expr>, &'d Domains);

/// The questions about one parameter, a bit for each, and the answers that one value of it can give to all of them.
struct Together {
    asked: u32,
    answers: HashSet<u32>,
}

impl<'d> Atoms<'d> {
    /// No questions yet.
    pub fn new(domains: &'d Domains) -> Self {
        Atoms(Vec::new(), HashSet::default(), domains)
    }

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
    pub fn answers(&self) -> Option<impl Iterator<Item = Vec<bool>> + use<>> {
        let count = self.0.len();
        let together = if count <= MOST_ATOMS { self.together() } else { return None };
        let fits = move |bits: &u32| together.iter().all(|it| it.answers.contains(&(bits & it.asked)));
        let answers = move |bits: u32| (0..count).map(|index| bits >> index & 1 == 1).collect();
        Some((0..1_u32 << count).filter(fits).map(answers))
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

    /// The condition with these answers in place of its questions, but for those about a failure that is being rolled back.
    pub fn decided(&self, condition: &Expr, answers: &[bool]) -> Expr {
        let again = |part: &Expr| Box::new(self.decided(part, answers));
        let decided = match condition {
            Expr::Not(inner) => Expr::Not(again(inner)),
            Expr::Binary(operator @ (Operator::And | Operator::Or), left, right) => {
                Expr::Binary(*operator, again(left), again(right))
            }
            Expr::If(condition, then, otherwise) => Expr::If(again(condition), again(then), again(otherwise)),
            atom if atom.asks_of_failure(&FailureFact::ALL) => atom.clone(),
            other => Expr::Value(Value::Bool(self.holds(other, answers))),
        };
        // Nothing in it can go wrong but what asks about the failure, which stays as it is.
        decided.clone().fold().unwrap_or(decided)
    }

    /// Questions about one parameter must have one value that answers them all.
    fn together(&self) -> Vec<Together> {
        let mut about: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, atom) in self.0.iter().enumerate() {
            about.entry(only_param(atom).unwrap_or_default()).or_default().push(index);
        }
        // What asks about several things, or about none that is known by name, is left free.
        about.remove("");
        about.iter().filter_map(|(param, asked)| self.of_param(param, asked)).collect()
    }

    /// Nothing where any answers have to be taken for possible.
    fn of_param(&self, param: &str, asked: &[usize]) -> Option<Together> {
        let (candidates, all) = self.candidates(param, asked);
        if !all && !asked.iter().all(|atom| simple(&self.0[*atom])) {
            return None;
        }
        let mut answers: HashSet<u32> = HashSet::default();
        for value in &candidates {
            let mut bits = 0;
            let answered =
                asked.iter().all(|atom| match substitute(&self.0[*atom], param, value).eval(&NoFacts) {
                    Ok(Value::Bool(answer)) => {
                        bits |= u32::from(answer) << atom;
                        true
                    }
                    _ => false,
                });
            match answered {
                true => _ = answers.insert(bits),
                // One of the values that it can have leaves a question open.
                false if all => return None,
                false => {}
            }
        }
        // A question that no candidate can be put to is left free.
        let asked = asked.iter().fold(0, |bits, atom| bits | 1 << atom);
        (!answers.is_empty()).then_some(Together { asked, answers })
    }

    /// Values of a parameter that are worth trying, and whether they are all that it can have.
    fn candidates(&self, param: &str, asked: &[usize]) -> (Vec<Value>, bool) {
        let near = || {
            let mut near = Vec::new();
            for atom in asked {
                self.0[*atom].walk(&mut |part| {
                    if let Expr::Value(value) = part {
                        near.extend(around(value));
                    }
                });
            }
            near
        };
        match self.2.0.get(param) {
            Some(Domain::Listed(values)) => (values.clone(), true),
            Some(Domain::Range(first, last)) if last.saturating_sub(*first) < LONGEST_RANGE => {
                ((*first..=*last).map(Value::Int).collect(), true)
            }
            Some(Domain::Range(first, last)) => {
                let within = |value: &Value| matches!(value, Value::Int(n) if (first..=last).contains(&n));
                let near = near().into_iter().chain([Value::Int(*first), Value::Int(*last)]);
                (near.filter(within).collect(), false)
            }
            None => ([vec![Value::Bool(true), Value::Bool(false)], near()].concat(), false),
        }
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
        // Of that name is whatever has none.
        [only] if !free && only != "?" => Some(only.clone()),
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

    fn compared(operator: Operator, param: &str, value: i64) -> Expr {
        let value = Box::new(Expr::Value(Value::Int(value)));
        Expr::Binary(operator, Box::new(Expr::Param(param.into())), value)
    }

    fn answers(domains: &Domains, conditions: &[Expr]) -> Vec<Vec<bool>> {
        let mut atoms = Atoms::new(domains);
        conditions.iter().for_each(|condition| atoms.add(condition));
        atoms.answers().unwrap().collect()
    }

    fn listed(param: &str, values: &[&str]) -> Domains {
        let values = values.iter().map(|value| Value::Text((*value).into())).collect();
        Domains(BTreeMap::from([(param.into(), Domain::Listed(values))]))
    }

    #[test]
    fn one_parameter_has_one_value() {
        let found = answers(&Domains::default(), &[is("env", "a"), is("env", "b")]);
        assert_eq!(found, [vec![false, false], vec![true, false], vec![false, true]]);
    }

    #[test]
    fn different_parameters_are_free() {
        let conditions = [Expr::Param("x".into()), Expr::Not(Box::new(Expr::Param("y".into())))];
        assert_eq!(answers(&Domains::default(), &conditions).len(), 4);
    }

    #[test]
    fn a_parameter_has_one_of_its_values() {
        let conditions = [is("env", "a"), is("env", "b")];
        assert_eq!(answers(&listed("env", &["a", "b"]), &conditions), [vec![true, false], vec![false, true]]);
        assert_eq!(
            answers(&listed("env", &["b", "c"]), &conditions),
            [vec![false, false], vec![false, true]]
        );
        assert_eq!(answers(&listed("other", &["a", "b"]), &conditions).len(), 3);
    }

    /// With all values there are, questions need not be simple ones.
    #[test]
    fn every_value_is_tried_where_they_are_few() {
        let starts = Expr::Call(
            lockstep_plan::Function::StartsWith,
            vec![Expr::Param("env".into()), Expr::Value(Value::Text("a".into()))],
        );
        let conditions = [starts, is("env", "b")];
        assert_eq!(answers(&listed("env", &["ab", "ac"]), &conditions), [[true, false]]);
        assert_eq!(answers(&Domains::default(), &conditions).len(), 4);
    }

    #[test]
    fn ranges_end_where_they_end() {
        for last in [9, 900] {
            let domains = Domains(BTreeMap::from([("n".into(), Domain::Range(1, last))]));
            let all = |operator, value| answers(&domains, &[compared(operator, "n", value)]);
            assert_eq!(all(Operator::Less, last + 1), [[true]]);
            assert_eq!(all(Operator::GreaterEqual, 1), [[true]]);
            assert_eq!(all(Operator::Less, 1), [[false]]);
            assert_eq!(all(Operator::Less, last).len(), 2);
            let both = [compared(Operator::Less, "n", last), compared(Operator::NotEqual, "n", last)];
            assert_eq!(answers(&domains, &both), [[false, false], [true, true]]);
        }
    }

    /// What has no name may be several things.
    #[test]
    fn the_unnamed_is_left_free() {
        assert_eq!(answers(&Domains::default(), &[is("?", "a"), is("?", "b")]).len(), 4);
    }
}

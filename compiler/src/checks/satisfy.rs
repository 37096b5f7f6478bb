//! Whether open conditions can hold together: a small search over what they ask.

use super::type_not_allowed_value::constant;
use crate::model::{DeclId, Model};
use crate::types::{ParamInfo, Ty};
use foldhash::HashSet;
use lockstep_grammar::ast::{DeclarationKind, Within};
use lockstep_plan::{
    EvalError, Expr, Facts, FailureFact, Function, NoFacts, Operator, RunFact, StepId, Value,
};
use std::collections::BTreeMap;

/// More questions than this are not tried out.
pub const MOST_ATOMS: usize = 12;
/// Longer ranges are not gone through value by value.
const LONGEST_RANGE: i64 = 64;

/// What the parameters of a pipeline can be, where their types say so: a run with anything else is refused.
#[derive(Debug, Default)]
pub struct Domains {
    of: BTreeMap<String, Domain>,
    /// Those without which there is no run.
    required: HashSet<String>,
}

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
        let of = infos.iter().filter_map(|info| Some((info.name().to_owned(), domain(info)?))).collect();
        let required = infos.iter().filter(|info| !matches!(info.ty, Ty::Optional(_)));
        Domains { of, required: required.map(|info| info.name().to_owned()).collect() }
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

/// What several questions are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A parameter of the pipeline.
    Param(String),
    /// What a step puts out.
    Output(StepId, String),
    /// A fact of the run.
    Run(RunFact),
}

impl Subject {
    /// Whether it is what is under a key of a map, which the map may lack.
    pub fn is_key(&self) -> bool {
        matches!(self, Subject::Param(name) | Subject::Output(_, name) if Expr::as_key(name).is_some())
    }
}

/// Questions about one subject, and the answers that one value of it can give to all of them.
#[derive(Debug)]
pub struct Together {
    /// What they are about.
    pub subject: Subject,
    /// Indices of the questions.
    pub asked: Vec<usize>,
    /// Answers in that order.
    pub answers: Vec<Pattern>,
}

/// Answers that can be given together; nothing where any can.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// Whether the subject has no value: an optional parameter that is not given, a step that put nothing out.
    pub missing: bool,
    /// An answer for each question.
    pub answers: Vec<Option<bool>>,
}

impl Pattern {
    /// Whether these answers, as far as they are known, are among those.
    pub fn fits(&self, asked: &[usize], known: &dyn Fn(usize) -> Option<bool>) -> bool {
        let mut both = asked.iter().zip(&self.answers);
        both.all(|(question, answer)| {
            answer.is_none() || known(*question).is_none_or(|it| *answer == Some(it))
        })
    }
}

impl<'d> Atoms<'d> {
    /// No questions yet.
    pub fn new(domains: &'d Domains) -> Self {
        Atoms(Vec::new(), HashSet::default(), domains)
    }

    /// The questions, in the order in which they were added.
    pub fn all(&self) -> &[Expr] {
        &self.0
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
        let fits = move |bits: &u32| {
            let known = |question: usize| Some(bits >> question & 1 == 1);
            // What has no value is answered as what stands for it is.
            let fits = |it: &Together, pattern: &Pattern| !pattern.missing && pattern.fits(&it.asked, &known);
            together.iter().all(|it| it.answers.iter().any(|pattern| fits(it, pattern)))
        };
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

    /// Questions about one subject must have one value that answers them all.
    pub fn together(&self) -> Vec<Together> {
        let mut about: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
        for (index, atom) in self.0.iter().enumerate() {
            // What asks about several things, or about none that is known by name, is left free.
            if let Some(subject) = subject(atom) {
                about.entry(subject).or_default().push(index);
            }
        }
        about.into_iter().map(|(subject, asked)| self.about(subject, asked)).collect()
    }

    /// What one subject's value can answer.
    ///
    /// Each value that it can have answers every [`simple`] question as one of the candidates does, which are the constants
    /// that these compare with and their neighbours. A value that equals a constant is itself a candidate, and answers all
    /// other questions too; of the rest only the simple answers are known.
    fn about(&self, subject: Subject, asked: Vec<usize>) -> Together {
        let (candidates, all) = self.candidates(&subject, &asked);
        let atoms = || asked.iter().map(|atom| &self.0[*atom]);
        let mut answers: Vec<Pattern> = Vec::new();
        for value in &candidates {
            let of = |atom: &Expr| with(atom, &subject, value);
            let exact = all || atoms().any(|atom| is_equal(atom, of(atom)));
            let answer = |atom: &Expr| match of(atom) {
                Ok(Value::Bool(answer)) => Ok((exact || is_simple(atom)).then_some(answer)),
                // It is a value of another type.
                Err(EvalError::Type(_)) if !all => Err(()),
                _ => Ok(None),
            };
            if let Ok(given) = atoms().map(answer).collect() {
                answers.push(Pattern { missing: false, answers: given });
            }
        }
        if answers.is_empty() {
            answers.push(Pattern { missing: false, answers: vec![None; asked.len()] });
        }
        let may_be_missing = match &subject {
            Subject::Output(..) => true,
            Subject::Param(name) => Expr::may_be_missing(name),
            Subject::Run(_) => false,
        };
        let surely_there = matches!(&subject, Subject::Param(name) if self.2.required.contains(name));
        if may_be_missing || !surely_there && atoms().any(has_default) {
            let without = |atom: &Expr| atom.eval(&NoFacts).ok().and_then(|value| value.as_bool());
            answers.push(Pattern { missing: true, answers: atoms().map(without).collect() });
        }
        let mut seen: HashSet<Pattern> = HashSet::default();
        answers.retain(|pattern| seen.insert(pattern.clone()));
        Together { subject, asked, answers }
    }

    /// Values of a subject that are worth trying, and whether they are all that it can have.
    fn candidates(&self, subject: &Subject, asked: &[usize]) -> (Vec<Value>, bool) {
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
        let domain = match subject {
            Subject::Param(name) => self.2.of.get(name),
            Subject::Output(..) | Subject::Run(_) => None,
        };
        match domain {
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
fn is_simple(atom: &Expr) -> bool {
    is_subject(atom) || compared(atom).is_some()
}

/// The operator with which a subject is compared with a constant.
fn compared(atom: &Expr) -> Option<Operator> {
    let Expr::Binary(operator, left, right) = atom else { return None };
    match (&**left, &**right) {
        (subject, Expr::Value(_)) if is_subject(subject) => Some(*operator),
        (Expr::Value(_), subject) if is_subject(subject) && *operator != Operator::In => Some(*operator),
        _ => None,
    }
}

/// Whether an atom with that answer says that its subject equals a constant.
fn is_equal(atom: &Expr, answer: Result<Value, EvalError>) -> bool {
    matches!(
        (compared(atom), answer),
        (Some(Operator::Equal | Operator::In), Ok(Value::Bool(true)))
            | (Some(Operator::NotEqual), Ok(Value::Bool(false)))
    )
}

/// A subject alone, or with what stands for it where it has no value.
fn is_subject(expr: &Expr) -> bool {
    match expr {
        Expr::Param(_) | Expr::Output { .. } | Expr::Run(_) => true,
        Expr::Call(Function::Default, parts) => {
            matches!(parts.as_slice(), [first, Expr::Value(_)] if is_subject(first))
        }
        _ => false,
    }
}

fn has_default(atom: &Expr) -> bool {
    let mut found = false;
    atom.walk(&mut |part| found |= matches!(part, Expr::Call(Function::Default, _)));
    found
}

/// What an expression depends on, where it is one thing and nothing else is open.
fn subject(expr: &Expr) -> Option<Subject> {
    let mut found: Vec<Subject> = Vec::new();
    let mut free = false;
    expr.walk(&mut |part| {
        let subject = match part {
            Expr::Param(name) => Subject::Param(name.clone()),
            Expr::Output { step, name } => Subject::Output(*step, name.clone()),
            Expr::Run(fact) => Subject::Run(*fact),
            Expr::Failure(_) => {
                free = true;
                return;
            }
            _ => return,
        };
        if !found.contains(&subject) {
            found.push(subject);
        }
    });
    // Of that name is whatever has none.
    free |= found.iter().any(|it| matches!(it, Subject::Param(name) if name == "?"));
    (!free && found.len() == 1).then(|| found.remove(0))
}

/// What an expression comes to when its subject has that value.
fn with(expr: &Expr, subject: &Subject, value: &Value) -> Result<Value, EvalError> {
    struct Only<'a>(&'a Value);
    impl Facts for Only<'_> {
        fn output(&self, _: StepId, _: &str) -> Option<Value> {
            Some(self.0.clone())
        }
        fn run(&self, _: RunFact) -> Option<Value> {
            Some(self.0.clone())
        }
        fn failure(&self, _: FailureFact) -> Option<Value> {
            None
        }
    }
    match subject {
        Subject::Param(name) => substitute(expr, name, value).eval(&NoFacts),
        // It reads nothing else.
        Subject::Output(..) | Subject::Run(_) => expr.eval(&Only(value)),
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
            // No text is less than the empty one, and none lies between a text and that with a zero behind it.
            vec![Value::Text(text.clone()), Value::Text(format!("{text}\0")), Value::Text(String::new())]
        }
        // What is in it, and what equals it.
        Value::List(items) => items.iter().flat_map(around).chain([value.clone()]).collect(),
        other => vec![other.clone()],
    }
}

/// The expression with a value in place of a parameter.
pub fn substitute(expr: &Expr, name: &str, value: &Value) -> Expr {
    match expr {
        Expr::Param(param) if param == name => Expr::Value(value.clone()),
        Expr::Map(_) => expr.clone(),
        other => other.with_parts(&|part| substitute(part, name, value)),
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
        Domains { of: BTreeMap::from([(param.into(), Domain::Listed(values))]), ..Domains::default() }
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
        // It starts with `a`, or it is `b`, or neither.
        assert_eq!(answers(&Domains::default(), &conditions).len(), 3);
    }

    /// What is compared with a constant answers every other question where it is that constant.
    #[test]
    fn a_constant_answers_all_questions() {
        let output = Expr::Output { step: StepId(3), name: "stdout".into() };
        for it in [Expr::Param("v".into()), Expr::Run(RunFact::By), output] {
            let equals = |operator, text: &str| {
                let text = Expr::Value(Value::Text(text.into()));
                Expr::Binary(operator, Box::new(it.clone()), Box::new(text))
            };
            let text = Expr::Value(Value::Text("v".into()));
            let starts = Expr::Call(Function::StartsWith, vec![it.clone(), text]);
            let all = answers(&Domains::default(), &[equals(Operator::Equal, "latest"), starts]);
            assert!(!all.contains(&vec![true, true]) && all.len() == 3, "{all:?}");
            let both = [equals(Operator::Equal, "a"), equals(Operator::NotEqual, "a")];
            let all = answers(&Domains::default(), &both);
            assert_eq!(all, [[true, false], [false, true]]);
        }
    }

    #[test]
    fn ranges_end_where_they_end() {
        for last in [9, 900] {
            let of = BTreeMap::from([("n".into(), Domain::Range(1, last))]);
            let domains = Domains { of, ..Domains::default() };
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

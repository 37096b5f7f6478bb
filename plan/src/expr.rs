//! Expressions that only a run can decide, and their evaluation.
//!
//! The compiler folds whatever is constant with the same functions that the machine later uses for the rest, so
//! that an expression has one meaning.

use crate::{StepId, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An expression with every name resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    /// A constant.
    Value(Value),
    /// A pipeline parameter that is not known: only in plans that were made for checking.
    Param(String),
    /// An output of an earlier step.
    Output {
        /// The step.
        step: StepId,
        /// The output.
        name: String,
    },
    /// A fact of the run.
    Run(RunFact),
    /// A fact of the failure that is being rolled back.
    Failure(FailureFact),
    /// `!a`
    Not(Box<Expr>),
    /// `a && b`
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `if c then a else b`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `contains(a, b)`
    Call(Function, Vec<Expr>),
    /// Text pieces joined: `"a${b}"`.
    Text(Vec<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{ a = b }`
    Map(BTreeMap<String, Expr>),
}

/// What is known of an expression before anything has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// What it comes to, whatever the run puts out.
    Comes(bool),
    /// It will be known: it hangs on parameters that have no value yet.
    Open,
    /// It is only known while the run goes on.
    Late,
}

/// `run.id`, `run.by`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunFact {
    /// The run's id.
    Id,
    /// Who started it.
    By,
}

/// `failure.step`, `failure.kind`, `failure.message`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureFact {
    /// The failed step's name.
    Step,
    /// The kind.
    Kind,
    /// What it said.
    Message,
}

/// Infix operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `in`
    In,
}

/// The pure functions of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// `contains(text or list, part)`
    Contains,
    /// `starts_with(text, start)`
    StartsWith,
    /// `ends_with(text, end)`
    EndsWith,
    /// `matches(text, regular expression)`: somewhere in the text, unless anchored
    Matches,
    /// `lower(text)`
    Lower,
    /// `upper(text)`
    Upper,
    /// `join(list, separator)`
    Join,
    /// `len(text, list or map)`: text in characters
    Len,
    /// `default(optional, otherwise)`
    Default,
}

/// What an expression may ask of the run.
pub trait Facts {
    /// An output of a step, if it has run and given it.
    fn output(&self, step: StepId, name: &str) -> Option<Value>;
    /// A fact of the run.
    fn run(&self, fact: RunFact) -> Option<Value>;
    /// A fact of the failure that is being rolled back.
    fn failure(&self, fact: FailureFact) -> Option<Value>;
}

/// No facts at all: what can be decided before a run.
pub struct NoFacts;

impl Facts for NoFacts {
    fn output(&self, _: StepId, _: &str) -> Option<Value> {
        None
    }
    fn run(&self, _: RunFact) -> Option<Value> {
        None
    }
    fn failure(&self, _: FailureFact) -> Option<Value> {
        None
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// It depends on something that is not known.
    #[error("{0} is not known")]
    Unknown(String),
    /// Its parts do not fit together; the compiler's type check keeps such expressions out of plans.
    #[error("{0}")]
    Type(String),
    /// A regular expression that is none.
    #[error("`{pattern}` is not a regular expression: {message}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Expr {
    /// What is under that key in a parameter that is not known. It may have no such key.
    pub fn key_of(param: &str, key: &str) -> Expr {
        Expr::Param(Self::key_name(param, key))
    }

    /// How what is under a key of a map is named, where the map is not known yet: as one of the parameters, or of the outputs.
    pub fn key_name(map: &str, key: &str) -> String {
        format!("{map}[{key}]")
    }

    /// The map and the key, if the name of a parameter or of an output is that of what is under a key.
    pub fn as_key(name: &str) -> Option<(&str, &str)> {
        name.strip_suffix(']')?.rsplit_once('[')
    }

    /// Whether a parameter of that name may have no value in a run, which knows all that it is given: it stands for a key that
    /// a map may not have, or for what was not given at all.
    pub fn may_be_missing(param: &str) -> bool {
        Self::as_key(param).is_some() || param == "?" || param.starts_with("?.")
    }

    /// The constant, where it is one.
    pub fn as_value(&self) -> Option<&Value> {
        match self {
            Expr::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value.
    ///
    /// # Errors
    /// [`EvalError::Unknown`] when a fact is missing (`&&`, `||` and `if` ask only for what they need), the others when
    /// the parts do not fit.
    pub fn eval(&self, facts: &dyn Facts) -> Result<Value, EvalError> {
        match self {
            Expr::Value(value) => Ok(value.clone()),
            Expr::Param(name) => Err(EvalError::Unknown(format!("parameter `{name}`"))),
            Expr::Output { step, name } => {
                put_out(facts, *step, name).ok_or_else(|| EvalError::Unknown(format!("output `{name}`")))
            }
            Expr::Run(fact) => facts.run(*fact).ok_or_else(|| EvalError::Unknown("`run`".into())),
            Expr::Failure(fact) => facts.failure(*fact).ok_or_else(|| EvalError::Unknown("`failure`".into())),
            Expr::Not(inner) => Ok(Value::Bool(!truth(inner.eval(facts)?)?)),
            Expr::Binary(Operator::And, left, right) => logic(left, right, false, facts),
            Expr::Binary(Operator::Or, left, right) => logic(left, right, true, facts),
            Expr::Binary(operator, left, right) => compare(*operator, left.eval(facts)?, right.eval(facts)?),
            Expr::If(condition, then, otherwise) => {
                if truth(condition.eval(facts)?)? {
                    then.eval(facts)
                } else {
                    otherwise.eval(facts)
                }
            }
            Expr::Call(Function::Default, arguments) => {
                // An optional parameter that was not given is folded away; an unknown output takes the fallback.
                let [first, second] = arguments.as_slice() else { return Err(arity("default", 2)) };
                match first.eval(facts) {
                    Err(EvalError::Unknown(_)) => second.eval(facts),
                    other => other,
                }
            }
            Expr::Call(function, arguments) => {
                let values =
                    arguments.iter().map(|argument| argument.eval(facts)).collect::<Result<Vec<_>, _>>()?;
                call(*function, &values)
            }
            Expr::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part.eval(facts)? {
                        Value::Secret(name) => {
                            return Err(EvalError::Type(format!("secret `{name}` cannot become text")));
                        }
                        value => text.push_str(&value.to_string()),
                    }
                }
                Ok(Value::Text(text))
            }
            Expr::List(items) => {
                Ok(Value::List(items.iter().map(|item| item.eval(facts)).collect::<Result<_, _>>()?))
            }
            Expr::Map(entries) => Ok(Value::Map(
                entries.iter().map(|(key, value)| Ok((key.clone(), value.eval(facts)?))).collect::<Result<
                    _,
                    EvalError,
                >>(
                )?,
            )),
        }
    }

    /// Replaces every part that needs no facts by its value. An error of a constant part is an error of the whole
    /// unless that part is never asked for.
    ///
    /// # Errors
    /// As [`Expr::eval`], but for unknown facts, which are left in place.
    pub fn fold(self) -> Result<Expr, EvalError> {
        let folded = match self {
            Expr::Not(inner) => Expr::Not(Box::new(inner.fold()?)),
            Expr::Binary(operator, left, right) => {
                let left = left.fold()?;
                let decides = match operator {
                    Operator::And => Some(false),
                    Operator::Or => Some(true),
                    _ => None,
                };
                if let (Some(decides), Some(value)) = (decides, left.as_value().and_then(Value::as_bool)) {
                    return if value == decides { Ok(left) } else { right.fold() };
                }
                let right = right.fold()?;
                if let (Some(decides), Some(value)) = (decides, right.as_value().and_then(Value::as_bool)) {
                    return Ok(if value == decides { right } else { left });
                }
                Expr::Binary(operator, Box::new(left), Box::new(right))
            }
            Expr::If(condition, then, otherwise) => {
                let condition = condition.fold()?;
                if let Some(value) = condition.as_value().and_then(Value::as_bool) {
                    return if value { then.fold() } else { otherwise.fold() };
                }
                Expr::If(Box::new(condition), Box::new(then.fold()?), Box::new(otherwise.fold()?))
            }
            // What is not known yet may become known: only a constant first argument decides.
            Expr::Call(Function::Default, mut arguments) if arguments.len() == 2 => {
                let second = arguments.remove(1).fold()?;
                let first = arguments.remove(0).fold()?;
                return Ok(match first {
                    Expr::Value(_) => first,
                    first => Expr::Call(Function::Default, vec![first, second]),
                });
            }
            Expr::Call(function, arguments) => Expr::Call(function, fold_all(arguments)?),
            Expr::Text(parts) => Expr::Text(fold_all(parts)?),
            Expr::List(items) => Expr::List(fold_all(items)?),
            Expr::Map(entries) => {
                Expr::Map(entries.into_iter().map(|(key, value)| Ok((key, value.fold()?))).collect::<Result<
                    _,
                    EvalError,
                >>(
                )?)
            }
            other => return Ok(other),
        };
        // What still waits for something below cannot be decided here: asking anew at every level would be quadratic.
        if !folded.parts_are_values() {
            return Ok(folded);
        }
        match folded.eval(&NoFacts) {
            Ok(value) => Ok(Expr::Value(value)),
            Err(EvalError::Unknown(_)) => Ok(folded),
            Err(error) => Err(error),
        }
    }

    /// Whether everything directly below is a constant.
    fn parts_are_values(&self) -> bool {
        let value = |expr: &Expr| expr.as_value().is_some();
        match self {
            Expr::Not(inner) => value(inner),
            Expr::Binary(_, left, right) => value(left) && value(right),
            Expr::If(condition, then, otherwise) => value(condition) && value(then) && value(otherwise),
            Expr::Call(_, items) | Expr::Text(items) | Expr::List(items) => items.iter().all(value),
            Expr::Map(entries) => entries.values().all(value),
            Expr::Value(_) | Expr::Param(_) | Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_) => true,
        }
    }

    /// Calls `visit` for this expression and every part of it.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        self.each_part(&mut |part| part.walk(visit));
    }

    /// Visits what it is made of, without what that is made of.
    pub fn each_part(&self, visit: &mut dyn FnMut(&Expr)) {
        match self {
            Expr::Not(inner) => visit(inner),
            Expr::Binary(_, left, right) => {
                visit(left);
                visit(right);
            }
            Expr::If(condition, then, otherwise) => {
                visit(condition);
                visit(then);
                visit(otherwise);
            }
            Expr::Call(_, items) | Expr::Text(items) | Expr::List(items) => items.iter().for_each(visit),
            Expr::Map(entries) => entries.values().for_each(visit),
            Expr::Value(_) | Expr::Param(_) | Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_) => {}
        }
    }

    /// The same, made of what `change` makes of each part.
    pub fn with_parts(&self, change: &dyn Fn(&Expr) -> Expr) -> Expr {
        let one = |part: &Expr| Box::new(change(part));
        let all = |items: &[Expr]| items.iter().map(change).collect();
        match self {
            Expr::Not(inner) => Expr::Not(one(inner)),
            Expr::Binary(operator, left, right) => Expr::Binary(*operator, one(left), one(right)),
            Expr::If(condition, then, otherwise) => Expr::If(one(condition), one(then), one(otherwise)),
            Expr::Call(function, items) => Expr::Call(*function, all(items)),
            Expr::Text(items) => Expr::Text(all(items)),
            Expr::List(items) => Expr::List(all(items)),
            Expr::Map(entries) => {
                Expr::Map(entries.iter().map(|(key, part)| (key.clone(), change(part))).collect())
            }
            Expr::Value(_) | Expr::Param(_) | Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_) => {
                self.clone()
            }
        }
    }

    /// What is known of a condition before anything has run, when that is known of its parts other than `!`, `&&`, `||` and `if`.
    pub fn before(&self, atom: &dyn Fn(&Expr) -> Before) -> Before {
        match self {
            Expr::Value(Value::Bool(value)) => Before::Comes(*value),
            Expr::Not(inner) => match inner.before(atom) {
                Before::Comes(to) => Before::Comes(!to),
                other => other,
            },
            Expr::Binary(operator @ (Operator::And | Operator::Or), left, right) => {
                let decides = Before::Comes(*operator == Operator::Or);
                match (left.before(atom), right.before(atom)) {
                    (left, right) if left == decides || right == decides => decides,
                    (Before::Open, _) | (_, Before::Open) => Before::Open,
                    (Before::Late, _) | (_, Before::Late) => Before::Late,
                    (same, Before::Comes(_)) => same,
                }
            }
            Expr::If(condition, then, otherwise) => match condition.before(atom) {
                Before::Comes(true) => then.before(atom),
                Before::Comes(false) => otherwise.before(atom),
                other => other,
            },
            other => atom(other),
        }
    }

    /// The same where nothing is known but constants.
    pub fn known_before(&self) -> Before {
        self.before(&|atom| if atom.asks_of_run() { Before::Late } else { Before::Open })
    }

    /// Whether anything is read that only a run knows.
    pub fn asks_of_run(&self) -> bool {
        let mut found = false;
        self.walk(&mut |part| {
            found |= matches!(part, Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_));
        });
        found
    }

    /// Whether any of these facts of the failure that is being rolled back is read.
    pub fn asks_of_failure(&self, facts: &[FailureFact]) -> bool {
        let mut found = false;
        self.walk(&mut |part| found |= matches!(part, Expr::Failure(fact) if facts.contains(fact)));
        found
    }
}

impl FailureFact {
    /// Every fact.
    pub const ALL: [FailureFact; 3] = [FailureFact::Step, FailureFact::Kind, FailureFact::Message];
}

/// An output, or what is under a key of one.
fn put_out(facts: &dyn Facts, step: StepId, name: &str) -> Option<Value> {
    facts.output(step, name).or_else(|| {
        let (map, key) = Expr::as_key(name)?;
        match put_out(facts, step, map)? {
            Value::Map(mut entries) => entries.remove(key),
            _ => None,
        }
    })
}

fn fold_all(items: Vec<Expr>) -> Result<Vec<Expr>, EvalError> {
    items.into_iter().map(Expr::fold).collect()
}

fn truth(value: Value) -> Result<bool, EvalError> {
    value.as_bool().ok_or_else(|| EvalError::Type(format!("`{value}` is not true or false")))
}

/// `&&` and `||`: `decides` is the value of one side that makes the other irrelevant. An unknown side does not
/// matter when the other decides.
fn logic(left: &Expr, right: &Expr, decides: bool, facts: &dyn Facts) -> Result<Value, EvalError> {
    match left.eval(facts) {
        Ok(value) if truth(value.clone())? == decides => Ok(value),
        Ok(_) => Ok(Value::Bool(truth(right.eval(facts)?)?)),
        Err(error) => match right.eval(facts) {
            Ok(value) if truth(value.clone())? == decides => Ok(value),
            _ => Err(error),
        },
    }
}

fn compare(operator: Operator, left: Value, right: Value) -> Result<Value, EvalError> {
    use std::cmp::Ordering;
    let result = match operator {
        Operator::Equal => equal(&left, &right),
        Operator::NotEqual => !equal(&left, &right),
        Operator::In => match &right {
            Value::List(items) => items.iter().any(|item| equal(item, &left)),
            Value::Map(entries) => left.as_text().is_some_and(|key| entries.contains_key(key)),
            _ => return Err(EvalError::Type(format!("`{right}` is not a list"))),
        },
        _ => {
            let order = order(&left, &right)?;
            match operator {
                Operator::Less => order == Ordering::Less,
                Operator::LessEqual => order != Ordering::Greater,
                Operator::Greater => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
        }
    };
    Ok(Value::Bool(result))
}

/// Text and paths compare by their text.
fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_text(), right.as_text()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Result<std::cmp::Ordering, EvalError> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Percent(left), Value::Percent(right)) => left.cmp(right),
        (Value::Duration(left), Value::Duration(right)) => left.cmp(right),
        _ => match (left.as_text(), right.as_text()) {
            (Some(left), Some(right)) => left.cmp(right),
            _ => return Err(EvalError::Type(format!("`{left}` and `{right}` have no order"))),
        },
    })
}

fn arity(name: &str, count: usize) -> EvalError {
    EvalError::Type(format!("`{name}` takes {count} arguments"))
}

fn call(function: Function, arguments: &[Value]) -> Result<Value, EvalError> {
    let text = |index: usize| {
        arguments
            .get(index)
            .and_then(Value::as_text)
            .ok_or_else(|| EvalError::Type(format!("argument {} of a function is not text", index + 1)))
    };
    Ok(match function {
        Function::Contains => match arguments {
            [Value::List(items), part] => Value::Bool(items.iter().any(|item| equal(item, part))),
            _ => Value::Bool(text(0)?.contains(text(1)?)),
        },
        Function::StartsWith => Value::Bool(text(0)?.starts_with(text(1)?)),
        Function::EndsWith => Value::Bool(text(0)?.ends_with(text(1)?)),
        Function::Matches => {
            let pattern = text(1)?;
            let regex = regex::Regex::new(pattern).map_err(|error| EvalError::Pattern {
                pattern: pattern.into(),
                message: error.to_string(),
            })?;
            Value::Bool(regex.is_match(text(0)?))
        }
        Function::Lower => Value::Text(text(0)?.to_lowercase()),
        Function::Upper => Value::Text(text(0)?.to_uppercase()),
        Function::Join => {
            let Some(Value::List(items)) = arguments.first() else {
                return Err(EvalError::Type("`join` takes a list".into()));
            };
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            Value::Text(items.join(text(1)?))
        }
        Function::Len => {
            let length = match arguments.first() {
                Some(Value::List(items)) => items.len(),
                Some(Value::Map(entries)) => entries.len(),
                _ => text(0)?.chars().count(),
            };
            Value::Int(length as i64)
        }
        Function::Default => return Err(arity("default", 2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Put(Value);

    impl Facts for Put {
        fn output(&self, _: StepId, name: &str) -> Option<Value> {
            (name == "state").then(|| self.0.clone())
        }
        fn run(&self, _: RunFact) -> Option<Value> {
            None
        }
        fn failure(&self, _: FailureFact) -> Option<Value> {
            None
        }
    }

    #[test]
    fn what_is_under_a_key_of_an_output_is_read_there() {
        let text = |text: &str| Value::Text(text.to_owned());
        let inner = Value::Map([("name".to_owned(), text("a"))].into());
        let facts =
            Put(Value::Map([("colour".to_owned(), text("green")), ("zone".to_owned(), inner)].into()));
        let read = |name: &str| Expr::Output { step: StepId(0), name: name.to_owned() }.eval(&facts).ok();
        let (colour, zone) = (Expr::key_name("state", "colour"), Expr::key_name("state", "zone"));
        assert_eq!(read(&colour), Some(text("green")));
        assert_eq!(read(&Expr::key_name(&zone, "name")), Some(text("a")));
        for lacking in
            [Expr::key_name(&zone, "size"), Expr::key_name(&colour, "x"), Expr::key_name("other", "a")]
        {
            assert_eq!(read(&lacking), None, "{lacking}");
        }
    }
}

//! Whether conditions that hold make others hold, as they are written: names are not looked into.

use foldhash::HashMap;
use lockstep_grammar::ast::{Expr, ExprKind, Operator, Span};

/// More questions than this are not tried out.
const MOST_ATOMS: usize = 10;

/// A condition: `only if` or `skip if`, and its expression.
pub type Condition<'p> = (bool, &'p Expr);

/// Whether the conclusions hold wherever the premises do, and what trying that took. What cannot be tried out is not so.
pub fn implies<'p>(
    text: &dyn Fn(Span) -> &'p str,
    premises: &[Condition<'p>],
    conclusions: &[Condition<'p>],
) -> (bool, usize) {
    let mut atoms = Atoms { text, numbers: HashMap::default(), values: Vec::new() };
    let mut all = |conditions: &[Condition<'p>]| -> Vec<Formula> {
        let formula = |(only, expr): &Condition<'p>| {
            let formula = atoms.formula(expr);
            if *only { formula } else { Formula::Not(Box::new(formula)) }
        };
        conditions.iter().map(formula).collect()
    };
    let (premises, conclusions) = (all(premises), all(conclusions));
    let count = atoms.values.len();
    if count > MOST_ATOMS {
        return (false, 1);
    }
    let holds = |answers: u32| {
        let all = |formulas: &[Formula]| formulas.iter().all(|formula| formula.holds(answers));
        !atoms.possible(answers) || !all(&premises) || all(&conclusions)
    };
    ((0..1 << count).all(holds), 1 << count)
}

enum Formula {
    Constant(bool),
    Atom(usize),
    Not(Box<Formula>),
    And(Box<Formula>, Box<Formula>),
    Or(Box<Formula>, Box<Formula>),
    If(Box<Formula>, Box<Formula>, Box<Formula>),
}

impl Formula {
    fn holds(&self, answers: u32) -> bool {
        match self {
            Formula::Constant(value) => *value,
            Formula::Atom(number) => answers >> number & 1 == 1,
            Formula::Not(inner) => !inner.holds(answers),
            Formula::And(left, right) => left.holds(answers) && right.holds(answers),
            Formula::Or(left, right) => left.holds(answers) || right.holds(answers),
            Formula::If(condition, then, otherwise) => {
                if condition.holds(answers) {
                    then.holds(answers)
                } else {
                    otherwise.holds(answers)
                }
            }
        }
    }
}

struct Atoms<'t, 'p> {
    text: &'t dyn Fn(Span) -> &'p str,
    numbers: HashMap<String, usize>,
    /// For each atom, where it says that something is a certain literal: what, and which.
    values: Vec<Option<(String, String)>>,
}

impl<'p> Atoms<'_, 'p> {
    fn formula(&mut self, expr: &'p Expr) -> Formula {
        match &expr.kind {
            ExprKind::Bool(value) => Formula::Constant(*value),
            ExprKind::Paren(inner) => self.formula(inner),
            ExprKind::Not(inner) => Formula::Not(Box::new(self.formula(inner))),
            ExprKind::If { condition, then, otherwise } => {
                let mut part = |expr| Box::new(self.formula(expr));
                Formula::If(part(condition), part(then), part(otherwise))
            }
            ExprKind::Binary { operator, left, right, .. } => match operator {
                Operator::And => Formula::And(Box::new(self.formula(left)), Box::new(self.formula(right))),
                Operator::Or => Formula::Or(Box::new(self.formula(left)), Box::new(self.formula(right))),
                Operator::Equal => self.equal(left, right),
                Operator::NotEqual => Formula::Not(Box::new(self.equal(left, right))),
                _ => self.atom(self.words(expr), None),
            },
            _ => self.atom(self.words(expr), None),
        }
    }

    fn equal(&mut self, left: &'p Expr, right: &'p Expr) -> Formula {
        let literal = |expr: &Expr| crate::checks::type_not_allowed_value::constant(expr).is_some();
        let (left, right) = if literal(left) { (right, left) } else { (left, right) };
        let (what, which) = (self.words(left), self.words(right));
        let value = literal(right).then(|| (what.clone(), which.clone()));
        self.atom(format!("{what} == {which}"), value)
    }

    fn atom(&mut self, text: String, value: Option<(String, String)>) -> Formula {
        let next = self.values.len();
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        Formula::Atom(number)
    }

    fn words(&self, expr: &Expr) -> String {
        (self.text)(expr.span).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Nothing is two literals at once.
    fn possible(&self, answers: u32) -> bool {
        let said = |number: usize| self.values[number].as_ref().filter(|_| answers >> number & 1 == 1);
        (0..self.values.len()).all(|number| {
            let Some((what, which)) = said(number) else { return true };
            (0..number).filter_map(said).all(|(other, value)| other != what || value == which)
        })
    }
}

//! What the open conditions of a plan can come to together, one question after another: the worlds that the proof looks at.
//!
//! A question is an atom of a condition, or whether a step has put something out. A condition that reads what was not put
//! out fails, but for `default(…)`, which takes what stands for it.

use super::satisfy::{Atoms, Domains, Subject, Together};
use foldhash::HashMap;
use lockstep_plan::proof::{Known, World};
use lockstep_plan::{ConditionId, Expr, FailureFact, Function, NoFacts, Operator, Plan, StepId, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What can be asked, and what can be answered.
struct Questions {
    /// The plan's conditions.
    conditions: Vec<Expr>,
    /// By condition: what it asks, whether something was put out before what it was.
    asks: Vec<Vec<usize>>,
    /// By question: the conditions that ask it.
    asked: Vec<Vec<usize>>,
    atoms: HashMap<Expr, usize>,
    /// By step and output: the question whether it was put out.
    given: BTreeMap<(StepId, String), usize>,
    together: Vec<Together>,
    /// By question: those of `together` that it belongs to.
    rules: Vec<Vec<usize>>,
}

/// Some of the answers.
struct Answered {
    questions: Rc<Questions>,
    answers: Vec<Option<bool>>,
    known: Vec<Known>,
}

/// The world in which only what is constant is decided; these conditions are asked about.
pub fn world(plan: &Plan, domains: &Domains, open: &[ConditionId]) -> Box<dyn World> {
    let mut atoms = Atoms::new(domains);
    let asks_of_failure = |atom: &Expr| atom.asks_of_failure(&FailureFact::ALL);
    for condition in open {
        atoms.add(&plan.conditions[condition.index()]);
    }
    let together = atoms.together();
    let mut count = atoms.len();
    let mut given: BTreeMap<(StepId, String), usize> = BTreeMap::new();
    for atom in atoms.all().iter().filter(|atom| !asks_of_failure(atom)) {
        for output in outputs(atom, true) {
            given.entry(output).or_insert_with(|| {
                count += 1;
                count - 1
            });
        }
    }
    let index: HashMap<Expr, usize> =
        atoms.all().iter().enumerate().map(|(at, atom)| (atom.clone(), at)).collect();
    let mut asks: Vec<Vec<usize>> = vec![Vec::new(); plan.conditions.len()];
    let mut asked: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, condition) in plan.conditions.iter().enumerate() {
        let mut own = Atoms::new(domains);
        own.add(condition);
        for atom in own.all().iter().filter(|atom| !asks_of_failure(atom)) {
            let Some(question) = index.get(atom) else { continue };
            asks[at].extend(outputs(atom, true).iter().map(|output| given[output]));
            asks[at].push(*question);
        }
        for question in &asks[at] {
            asked[*question].push(at);
        }
    }
    let mut rules: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (rule, it) in together.iter().enumerate() {
        for question in &it.asked {
            rules[*question].push(rule);
        }
        if let Subject::Output(step, name) = &it.subject {
            rules[given[&(*step, name.clone())]].push(rule);
        }
    }
    let conditions = plan.conditions.clone();
    let questions = Questions { conditions, asks, asked, atoms: index, given, together, rules };
    let mut world = Answered { questions: Rc::new(questions), answers: vec![None; count], known: Vec::new() };
    world.known = (0..world.questions.conditions.len()).map(|at| world.decided(at)).collect();
    Box::new(world)
}

/// What an expression reads of steps; with `all`, also inside of `default(…)`.
fn outputs(expr: &Expr, all: bool) -> Vec<(StepId, String)> {
    fn read(expr: &Expr, all: bool, found: &mut Vec<(StepId, String)>) {
        match expr {
            Expr::Output { step, name } => found.push((*step, name.clone())),
            Expr::Call(Function::Default, _) if !all => {}
            other => other.each_part(&mut |part| read(part, all, found)),
        }
    }
    let mut found = Vec::new();
    read(expr, all, &mut found);
    found
}

/// Whether an expression tries a pattern that may be none.
fn tries_a_pattern(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        if let Expr::Call(Function::Matches, parts) = part {
            let pattern = parts.get(1).and_then(Expr::as_value).cloned().map(Expr::Value);
            let tried = pattern.map(|it| {
                Expr::Call(Function::Matches, vec![Expr::Value(Value::Text(String::new())), it])
                    .eval(&NoFacts)
            });
            found |= !matches!(tried, Some(Ok(_)));
        }
    });
    found
}

impl Answered {
    fn decided(&self, at: usize) -> Known {
        let condition = &self.questions.conditions[at];
        match self.part(condition) {
            Known::Comes { to, .. } => Known::Comes { to, surely: !tries_a_pattern(condition) },
            other => other,
        }
    }

    /// What a part of a condition comes to, as the machine decides it.
    fn part(&self, expr: &Expr) -> Known {
        let comes = |to| Known::Comes { to, surely: true };
        match expr {
            Expr::Value(value) => comes(value.as_bool().unwrap_or(true)),
            Expr::Not(inner) => match self.part(inner) {
                Known::Comes { to, .. } => comes(!to),
                Known::Asks(asks) => Known::Asks(Expr::Not(Box::new(asks))),
                other => other,
            },
            Expr::Binary(operator @ (Operator::And | Operator::Or), left, right) => {
                let decides = *operator == Operator::Or;
                match (self.part(left), self.part(right)) {
                    (Known::Comes { to, .. }, _) | (_, Known::Comes { to, .. }) if to == decides => comes(to),
                    // The other side does not decide it.
                    (Known::Comes { .. }, other) | (other, Known::Comes { .. }) => other,
                    (Known::Open, _) | (_, Known::Open) => Known::Open,
                    (Known::Fails, Known::Fails) => Known::Fails,
                    (left, right) => {
                        Known::Asks(Expr::Binary(*operator, Box::new(form(left)), Box::new(form(right))))
                    }
                }
            }
            Expr::If(condition, then, otherwise) => match self.part(condition) {
                Known::Comes { to, .. } => self.part(if to { then } else { otherwise }),
                Known::Asks(asks) => match (self.part(then), self.part(otherwise)) {
                    (Known::Open, _) | (_, Known::Open) => Known::Open,
                    (then, otherwise) => {
                        let [then, otherwise] = [then, otherwise].map(|it| Box::new(form(it)));
                        Known::Asks(Expr::If(Box::new(asks), then, otherwise))
                    }
                },
                other => other,
            },
            atom if atom.asks_of_failure(&FailureFact::ALL) => Known::Asks(atom.clone()),
            atom => self.atom(atom),
        }
    }

    fn atom(&self, atom: &Expr) -> Known {
        let given = |output: &(StepId, String)| {
            self.questions.given.get(output).and_then(|question| self.answers[*question])
        };
        let read = outputs(atom, false);
        if read.iter().any(|output| given(output) == Some(false)) {
            return Known::Fails;
        }
        let answer = self.questions.atoms.get(atom).and_then(|question| self.answers[*question]);
        match answer {
            Some(to) if read.iter().all(|output| given(output) == Some(true)) => {
                Known::Comes { to, surely: true }
            }
            _ => Known::Open,
        }
    }

    /// The same with one more answer, where that can be.
    fn with(&self, question: usize, answer: bool) -> Option<Answered> {
        let questions = &self.questions;
        let mut answers = self.answers.clone();
        answers[question] = Some(answer);
        let known = |question: usize| answers[question];
        let fits = |rule: &usize| {
            let it = &questions.together[*rule];
            let given = match &it.subject {
                Subject::Output(step, name) => answers[questions.given[&(*step, name.clone())]],
                Subject::Param(_) | Subject::Run(_) => None,
            };
            let there = |missing: bool| given.is_none_or(|given| given != missing);
            it.answers.iter().any(|pattern| there(pattern.missing) && pattern.fits(&it.asked, &known))
        };
        if !questions.rules[question].iter().all(fits) {
            return None;
        }
        let mut world = Answered { questions: questions.clone(), answers, known: self.known.clone() };
        for condition in &questions.asked[question] {
            world.known[*condition] = world.decided(*condition);
        }
        Some(world)
    }

    /// The answers to the next question of a condition, first the one that skips least.
    fn next(&self, condition: usize) -> Vec<Answered> {
        if self.known[condition] != Known::Open {
            return Vec::new();
        }
        let mut asks = self.questions.asks[condition].iter().copied();
        let Some(question) = asks.find(|question| self.answers[*question].is_none()) else {
            return Vec::new();
        };
        let mut found: Vec<Answered> =
            [true, false].iter().filter_map(|answer| self.with(question, *answer)).collect();
        let skips = |world: &Answered| {
            let asked = world.questions.asked[question].iter();
            let skips = |known: &Known| matches!(known, Known::Fails | Known::Comes { to: false, .. });
            asked.filter(|condition| skips(&world.known[**condition])).count()
        };
        found.sort_by_key(skips);
        found
    }
}

/// Something decided, or the machine's to decide, as it can stand in an expression.
fn form(known: Known) -> Expr {
    match known {
        Known::Comes { to, .. } => Expr::Value(Value::Bool(to)),
        Known::Asks(asks) => asks,
        // The machine knows nothing of that name: so it fails there too.
        Known::Fails | Known::Open => Expr::Param("?".into()),
    }
}

impl World for Answered {
    fn known(&self) -> &[Known] {
        &self.known
    }

    fn split(&self, condition: ConditionId) -> Vec<Box<dyn World>> {
        self.next(condition.index()).into_iter().map(|world| Box::new(world) as Box<dyn World>).collect()
    }

    fn complete(&self) -> Box<dyn World> {
        let mut world = Answered {
            questions: self.questions.clone(),
            answers: self.answers.clone(),
            known: self.known.clone(),
        };
        for condition in 0..world.known.len() {
            while let Some(next) = world.next(condition).into_iter().next() {
                world = next;
            }
        }
        Box::new(world)
    }
}

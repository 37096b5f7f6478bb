//! What the open conditions of a plan can come to together, one question after another: the worlds that the proof looks at.
//!
//! A question is an atom of a condition, or whether something is there to be read: an output of a step that was skipped or
//! that failed and was passed over is not, nor is a key that a map lacks. A condition that reads what is not there fails, but
//! for `default(…)`, which takes what stands for it.

use super::satisfy::{Atoms, Domains, Subject, Together};
use foldhash::HashMap;
use lockstep_plan::proof::{Known, Staged, World, may_be_passed_over};
use lockstep_plan::{
    BarrierKind, Before, ConditionId, Expr, FailureFact, Function, NoFacts, Operator, Plan, Role, StepId,
    Value, Work,
};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Of more outputs it is not looked at whether each has been put out yet when a condition is decided.
const MOST_READ: usize = 4;

/// What can be asked, and what can be answered.
struct Questions {
    /// The plan's conditions.
    conditions: Vec<Expr>,
    /// By condition: what it asks, whether something is there before what it is.
    asks: Vec<Vec<usize>>,
    /// By question: the conditions that ask it.
    asked: Vec<Vec<usize>>,
    atoms: HashMap<Expr, usize>,
    /// By what can be missing: the question whether it is there.
    given: BTreeMap<Subject, usize>,
    /// By question whether an output is there: what decides that.
    put_out: BTreeMap<usize, PutOut>,
    /// By question: the outputs that hang on it, each by its own question.
    skipping: Vec<Vec<usize>>,
    /// Whether a map has a key, and whether what is under that key is there: one question asked in two ways.
    keys: Vec<[usize; 2]>,
    together: Vec<Together>,
    /// By question: those of `together` that it belongs to.
    rules: Vec<Vec<usize>>,
}

/// When a step puts something out.
struct PutOut {
    /// Everything under which it runs.
    when: Vec<ConditionId>,
    /// Whether it may be missing although the step succeeded, or be read although that failed or has not run.
    passed_over: bool,
}

/// Whether a part of a condition reads something that is not there, with nothing that stands for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    No,
    Yes,
    /// As it comes out which of its parts are read.
    Perhaps,
    /// That has not been answered.
    Open,
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
    let mut given: BTreeMap<Subject, usize> = BTreeMap::new();
    for atom in atoms.all().iter().filter(|atom| !asks_of_failure(atom)) {
        for subject in perhaps_missing(atom) {
            given.entry(subject).or_insert_with(|| {
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
            asks[at].extend(perhaps_missing(atom).iter().map(|subject| given[subject]));
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
        if let Some(question) = given.get(&it.subject) {
            rules[*question].push(rule);
        }
    }
    let put_out = put_out(plan, &given);
    let mut skipping: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (question, it) in &put_out {
        let conditions = it.when.iter().flat_map(|condition| &asks[condition.index()]);
        for asked in conditions.chain([question]) {
            if !skipping[*asked].contains(question) {
                skipping[*asked].push(*question);
            }
        }
    }
    let keys = atoms.all().iter().enumerate();
    let keys = keys.filter_map(|(at, atom)| Some([at, *given.get(&has_key(atom)?)?])).collect();
    let conditions = plan.conditions.clone();
    let questions =
        Questions { conditions, asks, asked, atoms: index, given, put_out, skipping, keys, together, rules };
    let mut world = Answered { questions: Rc::new(questions), answers: vec![None; count], known: Vec::new() };
    world.known = (0..world.questions.conditions.len()).map(|at| world.decided(at)).collect();
    Box::new(world)
}

/// What an expression reads that may not be there.
fn perhaps_missing(expr: &Expr) -> Vec<Subject> {
    let mut found = Vec::new();
    expr.walk(&mut |part| found.extend(missing(part)));
    found
}

/// What an expression itself reads, where that may not be there.
fn missing(expr: &Expr) -> Option<Subject> {
    match expr {
        Expr::Output { step, name } => Some(Subject::Output(*step, name.clone())),
        Expr::Param(name) if Expr::may_be_missing(name) => Some(Subject::Param(name.clone())),
        _ => None,
    }
}

/// What is there when an expression holds that asks for a key of a map.
fn has_key(expr: &Expr) -> Option<Subject> {
    let Expr::Binary(Operator::In, key, map) = expr else { return None };
    match (&**key, &**map) {
        (Expr::Value(Value::Text(key)), Expr::Param(map)) => missing(&Expr::key_of(map, key)),
        (Expr::Value(Value::Text(key)), Expr::Output { step, name }) => {
            Some(Subject::Output(*step, Expr::key_name(name, key)))
        }
        _ => None,
    }
}

/// What decides whether each output is there.
fn put_out(plan: &Plan, given: &BTreeMap<Subject, usize>) -> BTreeMap<usize, PutOut> {
    let steps = given.iter().filter_map(|(subject, question)| match subject {
        Subject::Output(step, _) => Some((*step, *question, subject)),
        _ => None,
    });
    // A rollback may begin before it has run.
    let undoing = plan.steps.iter().filter(|step| step.role != Role::Forward).flat_map(|step| &step.when);
    let places =
        plan.places.iter().filter(|it| plan.barriers[it.barrier.index()].kind == BarrierKind::Rollback);
    let read: BTreeSet<Subject> = undoing
        .chain(places.flat_map(|place| &place.when))
        .flat_map(|condition| perhaps_missing(&plan.conditions[condition.index()]))
        .collect();
    let of = |step: StepId, perhaps: bool| {
        let data = &plan.steps[step.index()];
        let stage = &plan.stages[data.stage.index()];
        let here = |work: &Work| matches!(work, Work::Steps(steps) if steps.contains(&step));
        let position = stage.positions.iter().find(|position| here(&position.work));
        let around = position.map(|position| position.when.as_slice()).unwrap_or_default();
        PutOut {
            when: [stage.when.as_slice(), around, &data.when].concat(),
            passed_over: perhaps || may_be_passed_over(plan, step),
        }
    };
    let perhaps = |subject: &Subject| read.contains(subject) || subject.is_key();
    steps.map(|(step, question, subject)| (question, of(step, perhaps(subject)))).collect()
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
            Known::Comes { to, .. } => {
                let surely = !tries_a_pattern(condition) && !self.any_atom_may_fail(condition);
                Known::Comes { to, surely }
            }
            other => other,
        }
    }

    /// Whether it is not known of some atom whether it reads what is not there.
    fn any_atom_may_fail(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Not(_) | Expr::Binary(Operator::And | Operator::Or, ..) | Expr::If(..) => {
                let mut found = false;
                expr.each_part(&mut |part| found |= self.any_atom_may_fail(part));
                found
            }
            atom => self.lack(atom) == Lack::Perhaps,
        }
    }

    /// Whether what an expression reads is there.
    fn lack(&self, expr: &Expr) -> Lack {
        let either = |first: Lack, second: Lack| match (first, second) {
            (Lack::Open, _) | (_, Lack::Open) => Lack::Open,
            (first, second) if first == second => first,
            _ => Lack::Perhaps,
        };
        let both = |first: Lack, second: Lack| match (first, second) {
            (Lack::Yes, _) | (_, Lack::Yes) => Lack::Yes,
            (Lack::Open, _) | (_, Lack::Open) => Lack::Open,
            (Lack::Perhaps, _) | (_, Lack::Perhaps) => Lack::Perhaps,
            (Lack::No, Lack::No) => Lack::No,
        };
        match expr {
            Expr::Call(Function::Default, parts) if parts.len() == 2 => {
                match (self.lack(&parts[0]), self.lack(&parts[1])) {
                    (Lack::No, _) | (_, Lack::No) => Lack::No,
                    (Lack::Yes, second) => second,
                    (Lack::Open, _) | (_, Lack::Open) => Lack::Open,
                    (Lack::Perhaps, _) => Lack::Perhaps,
                }
            }
            Expr::If(condition, then, otherwise) => {
                both(self.lack(condition), either(self.lack(then), self.lack(otherwise)))
            }
            Expr::Binary(Operator::And | Operator::Or, left, right) => {
                either(self.lack(left), self.lack(right))
            }
            other => match missing(other) {
                Some(subject) => {
                    let question = self.questions.given.get(&subject);
                    match question.and_then(|question| self.answers[*question]) {
                        Some(true) => Lack::No,
                        Some(false) => Lack::Yes,
                        None => Lack::Open,
                    }
                }
                None => {
                    let mut found = Lack::No;
                    other.each_part(&mut |part| found = both(found, self.lack(part)));
                    found
                }
            },
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

    /// What a condition comes to while none of these is there, as far as that can be told.
    fn before(&self, condition: &Expr, absent: &[Subject]) -> Known {
        self.part(&without(condition, absent).unwrap_or_else(|| form(Known::Fails)))
    }

    /// A condition while some of what it reads, the first of these, may not be there yet, and that.
    fn by_stages(&self, condition: usize, reads: &[Subject], absent: &mut Vec<Subject>) -> Expr {
        let Some((Subject::Output(step, name), rest)) = reads.split_first() else {
            let now = match absent.as_slice() {
                [] => Known::Open,
                _ => self.before(&self.questions.conditions[condition], absent),
            };
            return form(match now {
                Known::Open => self.known[condition].clone(),
                now => now,
            });
        };
        let there = self.by_stages(condition, rest, absent);
        absent.push(reads[0].clone());
        let not_yet = self.by_stages(condition, rest, absent);
        absent.pop();
        if there == not_yet {
            return there;
        }
        let output = Expr::Output { step: *step, name: name.clone() };
        let is_there = Expr::Call(Function::Default, vec![output, Expr::Value(Value::Bool(false))]);
        Expr::If(Box::new(is_there), Box::new(there), Box::new(not_yet))
    }

    fn atom(&self, atom: &Expr) -> Known {
        if let Expr::Value(value) = atom {
            return Known::Comes { to: value.as_bool().unwrap_or(true), surely: true };
        }
        if *atom == form(Known::Fails) {
            return Known::Fails;
        }
        let question = self.questions.atoms.get(atom);
        match (self.lack(atom), question.and_then(|question| self.answers[*question])) {
            (Lack::Yes, _) => Known::Fails,
            (Lack::No | Lack::Perhaps, Some(to)) => Known::Comes { to, surely: true },
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
            let given = questions.given.get(&it.subject).and_then(|question| answers[*question]);
            let there = |missing: bool| given.is_none_or(|given| given != missing);
            it.answers.iter().any(|pattern| there(pattern.missing) && pattern.fits(&it.asked, &known))
        };
        let agrees = |[has, there]: &[usize; 2]| match (answers[*has], answers[*there]) {
            (Some(has), Some(there)) => has == there,
            _ => true,
        };
        if !questions.rules[question].iter().all(fits) || !questions.keys.iter().all(agrees) {
            return None;
        }
        let mut world = Answered { questions: questions.clone(), answers, known: self.known.clone() };
        for condition in &questions.asked[question] {
            world.known[*condition] = world.decided(*condition);
        }
        questions.skipping[question].iter().all(|output| world.may_be(*output)).then_some(world)
    }

    /// Whether an output can be there, or not be, with what is known of the conditions under which its step runs: one that was
    /// skipped puts nothing out, and so does one that failed, but there the stage ends unless its rules go on.
    fn may_be(&self, output: usize) -> bool {
        let Some(given) = self.answers[output] else { return true };
        let it = &self.questions.put_out[&output];
        let holds = |to: bool| move |known: &Known| matches!(known, Known::Comes { to: it, .. } if *it == to);
        let mut when = it.when.iter().map(|condition| &self.known[condition.index()]);
        match given {
            true => !when.any(holds(false)),
            false => it.passed_over || !when.all(holds(true)),
        }
    }

    /// The answers to the next question of a condition, first the one that skips least. Nothing when it asks nothing more.
    fn next(&self, condition: usize) -> Option<Vec<Answered>> {
        if self.known[condition] != Known::Open {
            return None;
        }
        let mut asks = self.questions.asks[condition].iter().copied();
        let question = asks.find(|question| self.answers[*question].is_none())?;
        let mut found: Vec<Answered> =
            [true, false].iter().filter_map(|answer| self.with(question, *answer)).collect();
        let skips = |world: &Answered| {
            let asked = world.questions.asked[question].iter();
            let skips = |known: &Known| matches!(known, Known::Fails | Known::Comes { to: false, .. });
            asked.filter(|condition| skips(&world.known[**condition])).count()
        };
        found.sort_by_key(skips);
        Some(found)
    }
}

/// An expression while these are not there, so that what stands for them counts; nothing: it cannot be evaluated.
fn without(expr: &Expr, absent: &[Subject]) -> Option<Expr> {
    let or_fails = |part: &Expr| without(part, absent).unwrap_or_else(|| form(Known::Fails));
    match expr {
        // These may not need all of their parts.
        Expr::Not(_) | Expr::Binary(Operator::And | Operator::Or, ..) | Expr::If(..) => {
            Some(expr.with_parts(&or_fails))
        }
        Expr::Call(Function::Default, parts) if parts.len() == 2 => match without(&parts[0], absent) {
            Some(first) => Some(Expr::Call(Function::Default, vec![first, or_fails(&parts[1])])),
            None => without(&parts[1], absent),
        },
        other if missing(other).is_some_and(|subject| absent.contains(&subject)) => None,
        other => {
            let mut lacks = false;
            other.each_part(&mut |part| lacks |= without(part, absent).is_none());
            if lacks {
                return None;
            }
            let rest = other.with_parts(&or_fails);
            Some(match rest.eval(&NoFacts) {
                Ok(value) => Expr::Value(value),
                Err(_) => rest,
            })
        }
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

    fn split(&self, condition: ConditionId) -> Option<Vec<Box<dyn World>>> {
        let worlds = self.next(condition.index())?;
        Some(worlds.into_iter().map(|world| Box::new(world) as Box<dyn World>).collect())
    }

    fn complete(&self) -> Option<Box<dyn World>> {
        let mut world = Answered {
            questions: self.questions.clone(),
            answers: self.answers.clone(),
            known: self.known.clone(),
        };
        for condition in 0..world.known.len() {
            while let Some(worlds) = world.next(condition) {
                world = worlds.into_iter().next()?;
            }
        }
        Some(Box::new(world))
    }

    fn before(&self, condition: ConditionId) -> Before {
        self.questions.conditions[condition.index()].before(&|atom| match self.atom(atom) {
            _ if atom.asks_of_run() => Before::Late,
            Known::Comes { to, .. } => Before::Comes(to),
            Known::Open => Before::Open,
            // Nobody is kept away by what fails.
            Known::Fails | Known::Asks(_) => Before::Late,
        })
    }

    fn staged(&self, condition: ConditionId) -> Option<Staged> {
        let (at, questions) = (condition.index(), &self.questions);
        if matches!(self.known[at], Known::Open) {
            return None;
        }
        let there = |subject: &Subject| questions.given.get(subject).and_then(|at| self.answers[*at]);
        let mut reads = Vec::new();
        let mut silent = Vec::new();
        for subject in perhaps_missing(&questions.conditions[at]) {
            let Subject::Output(step, _) = &subject else { continue };
            match there(&subject) {
                Some(true) if !reads.contains(&subject) => reads.push(subject),
                // A key may be missing from what was put out.
                Some(false) if !subject.is_key() => silent.push(*step),
                _ => {}
            }
        }
        // More would be too many ways in which it could stand.
        reads.truncate(MOST_READ);
        let form = self.by_stages(at, &reads, &mut Vec::new());
        (!reads.is_empty() || !silent.is_empty()).then_some(Staged { form, silent })
    }
}

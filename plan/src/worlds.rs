//! What outputs, and facts of the run, can be, as far as conditions tell values apart.
//!
//! A step's output is known when it has run, who runs a pipeline when it begins. Conditions that read them go one way for some
//! values and the other way for others; a rehearsal tries such values, and says which. What is looked for, stage by stage: values
//! with which each of its elements runs, and with which each condition fails. Elements for which none are found are named.

use crate::example::matching;
use crate::{
    ConditionId, Expr, Facts, FailureFact, Function, Plan, RunFact, StageId, StepId, Value, ValueType, Work,
};
use std::collections::{BTreeMap, BTreeSet};

/// Something that a condition reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readable {
    /// A fact of the run.
    Run(RunFact),
    /// What a step gives.
    Output(StepId, String),
}

/// What they are.
pub(crate) type Given = BTreeMap<Readable, Value>;

/// More values are not tried for what one element reads, in all their combinations.
const MOST_TRIED: usize = 4096;
/// More than that many outcomes of a stage's conditions are not told apart; those of the step that fails are besides.
const MOST_OF_A_STAGE: usize = 8;
/// Up to here, stages are combined in every way.
const MOST: usize = 16;
/// Texts that conditions ask for are put together, where there are so few.
const FEW_TEXTS: usize = 6;

/// For stages in which values make a difference: those of their outputs, the plainest first.
type OfStages = Vec<(StageId, Vec<Given>)>;

/// The values to try.
pub(crate) struct Worlds {
    /// For each choice of the run's facts, the plainest first: for each stage in which values make a difference those of its
    /// outputs, the plainest first.
    runs: Vec<(Given, OfStages)>,
    /// With which values a step runs that has conditions.
    needs: BTreeMap<StepId, Given>,
    /// Steps with which none was found.
    pub untried: Vec<StepId>,
}

/// The conditions of one stage: all that are there, and those that have to hold for a step to run.
struct Asked {
    stage: StageId,
    conditions: BTreeSet<ConditionId>,
    steps: Vec<(StepId, Vec<ConditionId>)>,
    /// The same of barriers, which are no steps.
    places: Vec<Vec<ConditionId>>,
}

impl Asked {
    fn of(plan: &Plan) -> Vec<Asked> {
        let stages = plan.stages.iter().enumerate().map(|(index, data)| {
            let stage = StageId(index as u32);
            let mut asked =
                Asked { stage, conditions: BTreeSet::new(), steps: Vec::new(), places: Vec::new() };
            for position in &data.positions {
                let around = [data.when.as_slice(), &position.when].concat();
                match &position.work {
                    Work::Barrier(place) => {
                        asked.places.push([around.as_slice(), &plan.places[place.index()].when].concat());
                    }
                    Work::Steps(steps) => {
                        for step in steps {
                            let when = [around.as_slice(), &plan.steps[step.index()].when].concat();
                            asked.steps.push((*step, when));
                        }
                    }
                }
            }
            asked
        });
        let mut stages: Vec<Asked> = stages.collect();
        // What undoes something, too.
        for (index, step) in plan.steps.iter().enumerate().filter(|(_, step)| !step.when.is_empty()) {
            let asked = &mut stages[step.stage.index()];
            let id = StepId(index as u32);
            if !asked.steps.iter().any(|(known, _)| *known == id) {
                asked.steps.push((id, step.when.clone()));
            }
        }
        for asked in &mut stages {
            asked.conditions.extend(asked.steps.iter().flat_map(|(_, when)| when));
            asked.conditions.extend(asked.places.iter().flatten());
        }
        stages
    }
}

impl Worlds {
    /// Reads the plan's conditions. What is given already stays.
    pub fn new(plan: &Plan, given: &Given) -> Self {
        let asked = Asked::of(plan);
        let tries = Tries { plan, given };
        let mut worlds = Worlds { runs: Vec::new(), needs: BTreeMap::new(), untried: Vec::new() };
        let mut unmet: BTreeSet<StepId> = BTreeSet::new();
        let runs = tries.runs(&asked);
        for (at, run) in runs.into_iter().enumerate() {
            let mut stages = Vec::new();
            for asked in &asked {
                let (found, steps) = tries.stage(asked, &run);
                for (step, world) in steps {
                    match world {
                        Some(world) => {
                            unmet.remove(&step);
                            let world = run.clone().into_iter().chain(world).collect();
                            worlds.needs.entry(step).or_insert(world);
                        }
                        None if at == 0 => _ = unmet.insert(step),
                        None => {}
                    }
                }
                if found.len() > 1 {
                    stages.push((asked.stage, found));
                }
            }
            worlds.runs.push((run, stages));
        }
        worlds.untried = unmet.into_iter().filter(|step| !worlds.needs.contains_key(step)).collect();
        worlds
    }

    /// What to try where it is about a step, or another element, of one stage: all of that stage's own, with the others' in
    /// every combination; or, where there are very many, with the same one of each of the others.
    pub fn of(&self, stage: Option<StageId>, step: Option<StepId>) -> Vec<Given> {
        let mut found: Vec<Given> = Vec::new();
        for (run, stages) in &self.runs {
            found.extend(times(std::slice::from_ref(run), &combined(stages, stage)));
        }
        if let Some(needs) = step.and_then(|step| self.needs.get(&step))
            && !found.iter().any(|world| needs.iter().all(|(source, value)| world.get(source) == Some(value)))
        {
            found.push(needs.clone());
        }
        found
    }
}

fn combined(stages: &[(StageId, Vec<Given>)], stage: Option<StageId>) -> Vec<Given> {
    let all = stages.iter().map(|(_, found)| found.len()).try_fold(1, usize::checked_mul);
    if all.is_some_and(|all| all <= MOST) {
        return stages.iter().fold(vec![Given::new()], |worlds, (_, found)| times(&worlds, found));
    }
    let own = stages.iter().find(|(id, _)| Some(*id) == stage);
    let others: Vec<&Vec<Given>> =
        stages.iter().filter(|(id, _)| Some(*id) != stage).map(|(_, found)| found).collect();
    let most = others.iter().map(|found| found.len()).max().unwrap_or(1);
    let others: Vec<Given> = (0..most)
        .map(|at| others.iter().flat_map(|found| found[at.min(found.len() - 1)].clone()).collect())
        .collect();
    match own {
        Some((_, own)) => times(&others, own),
        None => others,
    }
}

fn times(worlds: &[Given], found: &[Given]) -> Vec<Given> {
    let join =
        |world: &Given, more: &Given| world.iter().chain(more).map(|(k, v)| (k.clone(), v.clone())).collect();
    worlds.iter().flat_map(|world| found.iter().map(move |more| join(world, more))).collect()
}

/// Looks for values.
struct Tries<'a> {
    plan: &'a Plan,
    given: &'a Given,
}

/// What a stage is tried with, and with what each of its steps runs that has conditions.
type OfStage = (Vec<Given>, Vec<(StepId, Option<Given>)>);

impl Tries<'_> {
    fn expr(&self, condition: ConditionId) -> &Expr {
        &self.plan.conditions[condition.index()]
    }

    /// Values of the facts of the run, the plainest first: one for each way in which the conditions come out that read them.
    fn runs(&self, asked: &[Asked]) -> Vec<Given> {
        let conditions: BTreeSet<ConditionId> =
            asked.iter().flat_map(|asked| asked.conditions.iter().copied()).collect();
        let conditions: Vec<&Expr> = conditions.into_iter().map(|it| self.expr(it)).collect();
        let reads: Vec<&Expr> = conditions
            .iter()
            .copied()
            .filter(|it| sources(self.plan, it).iter().any(|source| matches!(source, Readable::Run(_))))
            .collect();
        let mut values = self.values(&reads);
        values.retain(|source, _| matches!(source, Readable::Run(_)));
        // What else a condition reads may make any of them matter.
        let mixed = reads
            .iter()
            .any(|it| sources(self.plan, it).iter().any(|source| matches!(source, Readable::Output(..))));
        let mut found: Vec<(Vec<Option<bool>>, Given)> = Vec::new();
        each(&values, &mut |world| {
            let comes_to: Vec<_> = reads.iter().map(|it| self.comes_to(it, &world)).collect();
            if mixed || !found.iter().any(|(known, _)| *known == comes_to) {
                found.push((comes_to, world));
            }
            found.len() < MOST_OF_A_STAGE
        });
        found.into_iter().map(|(_, world)| world).collect()
    }

    fn stage(&self, asked: &Asked, run: &Given) -> OfStage {
        let conditions: Vec<&Expr> = asked.conditions.iter().map(|it| self.expr(*it)).collect();
        let plain: Given = self
            .values(&conditions)
            .into_iter()
            .filter(|(source, _)| !run.contains_key(source))
            .filter_map(|(source, values)| Some((source, values.into_iter().next()?)))
            .collect();
        let with = |more: &Given| -> Given {
            let all = run.iter().chain(&plain).chain(more);
            all.map(|(source, value)| (source.clone(), value.clone())).collect()
        };
        let outcome = |world: &Given| -> Vec<Option<bool>> {
            conditions.iter().map(|it| self.comes_to(it, &with(world))).collect()
        };
        let mut found = vec![(outcome(&Given::new()), plain.clone())];
        let mut add = |world: &Given| {
            let comes_to = outcome(world);
            if found.len() < MOST_OF_A_STAGE && !found.iter().any(|(known, _)| *known == comes_to) {
                let all: Given = plain.iter().chain(world).map(|(k, v)| (k.clone(), v.clone())).collect();
                found.push((comes_to, all));
            }
        };
        let mut steps = Vec::new();
        for (step, when) in &asked.steps {
            match self.holds(when, true, &plain, run) {
                _ if !self.reads(when) => {}
                Some(world) => {
                    add(&world);
                    let all = plain.iter().chain(&world).map(|(k, v)| (k.clone(), v.clone())).collect();
                    steps.push((*step, Some(all)));
                }
                None => steps.push((*step, None)),
            }
        }
        for when in &asked.places {
            self.holds(when, true, &plain, run).iter().for_each(&mut add);
        }
        for condition in &asked.conditions {
            for wanted in [false, true] {
                self.holds(&[*condition], wanted, &plain, run).iter().for_each(&mut add);
            }
        }
        // And how these come out together.
        let mut values = self.values(&conditions);
        values.retain(|source, _| !run.contains_key(source));
        if values.values().map(Vec::len).try_fold(1, usize::checked_mul).is_some_and(|all| all <= MOST_TRIED)
        {
            each(&values, &mut |world| {
                add(&world);
                true
            });
        }
        (found.into_iter().map(|(_, world)| world).collect(), steps)
    }

    /// Values, beside the plainest, with which these all hold, or one does not.
    fn holds(&self, when: &[ConditionId], wanted: bool, plain: &Given, run: &Given) -> Option<Given> {
        let conditions: Vec<&Expr> = when.iter().map(|it| self.expr(*it)).collect();
        let mut values = self.values(&conditions);
        values.retain(|source, _| !run.contains_key(source));
        let comes_to = |world: &Given| {
            let all = run.iter().chain(plain).chain(world);
            let all: Given = all.map(|(source, value)| (source.clone(), value.clone())).collect();
            let mut each = conditions.iter().map(|it| self.comes_to(it, &all));
            match wanted {
                true => each.all(|it| it == Some(true)),
                false => each.any(|it| it == Some(false)),
            }
        };
        if comes_to(&Given::new()) {
            return Some(Given::new());
        }
        let mut found = None;
        each(&values, &mut |world| {
            if comes_to(&world) {
                found = Some(world);
            }
            found.is_none()
        });
        found
    }

    /// Whether anything is read that can be one thing or another.
    fn reads(&self, when: &[ConditionId]) -> bool {
        let reads = |it: &ConditionId| sources(self.plan, self.expr(*it));
        when.iter().flat_map(reads).any(|source| !self.given.contains_key(&source))
    }

    fn comes_to(&self, condition: &Expr, world: &Given) -> Option<bool> {
        condition.eval(&Known { given: self.given, world }).ok().and_then(|value| value.as_bool())
    }

    /// The values that these conditions may tell apart, of everything that they read and that is not given.
    fn values(&self, conditions: &[&Expr]) -> BTreeMap<Readable, Vec<Value>> {
        let mut asked: BTreeMap<Readable, (ValueType, Vec<Value>)> = BTreeMap::new();
        for condition in conditions {
            let mut constants = Vec::new();
            condition.walk(&mut |part| match part {
                Expr::Value(value) => constants_of(value, &mut constants),
                Expr::Call(Function::Matches, parts) => {
                    let pattern = parts.get(1).and_then(Expr::as_value).and_then(Value::as_text);
                    constants.extend(pattern.and_then(matching).map(Value::Text));
                }
                _ => {}
            });
            for source in sources(self.plan, condition) {
                let ty = match &source {
                    _ if self.given.contains_key(&source) => None,
                    Readable::Run(_) => Some(ValueType::Text),
                    Readable::Output(step, name) => type_of_output(self.plan, *step, name),
                };
                if let Some(ty) = ty {
                    asked.entry(source).or_insert((ty, Vec::new())).1.extend(constants.iter().cloned());
                }
            }
        }
        let values = asked.into_iter().map(|(source, (ty, constants))| {
            let plainest = match source {
                Readable::Run(_) => Value::Text("simulation".into()),
                Readable::Output(..) => ty.example(),
            };
            let mut values = vec![plainest];
            for value in candidates(ty, &constants) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            (source, values)
        });
        values.collect()
    }
}

/// Goes through all combinations of values, the first ones first, for as long as that is wanted.
fn each(values: &BTreeMap<Readable, Vec<Value>>, visit: &mut dyn FnMut(Given) -> bool) {
    let mut at = vec![0; values.len()];
    for _ in 0..MOST_TRIED {
        let chosen =
            values.iter().zip(&at).map(|((source, values), at)| (source.clone(), values[*at].clone()));
        if !visit(chosen.collect()) {
            return;
        }
        let next = values.values().zip(&mut at).find_map(|(values, at)| {
            *at = (*at + 1) % values.len();
            (*at > 0).then_some(())
        });
        if next.is_none() {
            return;
        }
    }
}

/// What a condition reads.
fn sources(plan: &Plan, condition: &Expr) -> BTreeSet<Readable> {
    let mut found = BTreeSet::new();
    condition.walk(&mut |part| match part {
        Expr::Run(fact) => _ = found.insert(Readable::Run(*fact)),
        Expr::Output { step, name } if plan.steps[step.index()].puts_out(name) => {
            found.insert(Readable::Output(*step, name.clone()));
        }
        _ => {}
    });
    found
}

/// The type of an output; of what is under a key of one, which has no declared type here, the type of what conditions compare
/// it with. None where the step does not put it out.
pub fn type_of_output(plan: &Plan, step: StepId, name: &str) -> Option<ValueType> {
    let data = &plan.steps[step.index()];
    if let Some(ty) = data.outputs.get(name) {
        return Some(*ty);
    }
    if !data.puts_out(name) {
        return None;
    }
    let output = Expr::Output { step, name: name.to_owned() };
    let mut found = ValueType::Text;
    for condition in &plan.conditions {
        let (mut reads, mut constants) = (false, Vec::new());
        condition.walk(&mut |part| match part {
            Expr::Value(value) => constants_of(value, &mut constants),
            part => reads |= *part == output,
        });
        if reads {
            // What is compared with nothing is true or false by itself.
            found = constants.iter().find_map(ValueType::of).unwrap_or(ValueType::Bool);
        }
    }
    Some(found)
}

fn constants_of(value: &Value, into: &mut Vec<Value>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| constants_of(item, into)),
        Value::Map(entries) => into.extend(entries.keys().map(|key| Value::Text(key.clone()))),
        other => into.push(other.clone()),
    }
}

/// Values of a type that conditions with such constants may tell apart.
fn candidates(ty: ValueType, constants: &[Value]) -> Vec<Value> {
    const LONGEST: i64 = 256;
    let mut found = Vec::new();
    for constant in constants {
        match (ty, constant) {
            (ValueType::Text, Value::Text(text) | Value::Path(text)) => found.push(Value::Text(text.clone())),
            (ValueType::Path, Value::Text(text) | Value::Path(text)) => found.push(Value::Path(text.clone())),
            (ValueType::Text, Value::Int(length)) if (0..LONGEST).contains(length) => {
                found.extend([0, 1].map(|more| Value::Text("x".repeat(*length as usize + more))));
            }
            (ValueType::Int, Value::Int(number)) => {
                let near = [Some(*number), number.checked_sub(1), number.checked_add(1)];
                found.extend(near.into_iter().flatten().map(Value::Int));
            }
            (ValueType::Percent, Value::Percent(number)) => {
                let near = [Some(*number), number.checked_sub(1), number.checked_add(1)];
                found.extend(near.into_iter().flatten().map(Value::Percent));
            }
            (ValueType::Duration, Value::Duration(time)) => {
                let near = [Some(*time), time.checked_sub(1), time.checked_add(1)];
                found.extend(near.into_iter().flatten().map(Value::Duration));
            }
            (ValueType::List, constant) => found.push(Value::List(vec![constant.clone()])),
            (ValueType::Map, Value::Text(key)) => {
                found.push(Value::Map([(key.clone(), Value::Text(String::new()))].into()));
            }
            _ => {}
        }
    }
    // Something that no condition knows.
    match ty {
        ValueType::Bool => found.push(Value::Bool(true)),
        ValueType::Text => found.push(Value::Text("other".into())),
        ValueType::Path => found.push(Value::Path("other".into())),
        _ => {}
    }
    // What begins so may end otherwise.
    let texts: BTreeSet<&str> = constants.iter().filter_map(Value::as_text).collect();
    if matches!(ty, ValueType::Text) && texts.len() <= FEW_TEXTS {
        for first in &texts {
            found.extend(texts.iter().map(|last| Value::Text(format!("{first}{last}"))));
        }
    }
    found
}

/// What is known when values have been chosen.
struct Known<'a> {
    given: &'a Given,
    world: &'a Given,
}

impl Known<'_> {
    fn value(&self, source: &Readable) -> Option<Value> {
        self.given.get(source).or_else(|| self.world.get(source)).cloned()
    }
}

impl Facts for Known<'_> {
    fn output(&self, step: StepId, name: &str) -> Option<Value> {
        self.value(&Readable::Output(step, name.to_owned()))
    }
    fn run(&self, fact: RunFact) -> Option<Value> {
        self.value(&Readable::Run(fact)).or_else(|| Some(Value::Text("simulation".into())))
    }
    fn failure(&self, _: FailureFact) -> Option<Value> {
        None
    }
}

//! What outputs can be, as far as conditions tell values apart.
//!
//! A step's output is known when it has run. Conditions that read it (they stand in the same stage) go one way for some
//! values and the other way for others; a rehearsal tries such values, and says which.

use crate::{ConditionId, Expr, Facts, FailureFact, Plan, RunFact, StageId, StepId, Value, ValueType, Work};
use std::collections::{BTreeMap, BTreeSet};

/// What steps give, by step and output.
pub(crate) type Given = BTreeMap<(StepId, String), Value>;

/// More values are not tried for the outputs of one stage, in all their combinations.
const MOST_TRIED: usize = 4096;
/// More than that many outcomes of a stage's conditions are not told apart.
const MOST_OF_A_STAGE: usize = 8;
/// Up to here, stages are combined in every way.
const MOST: usize = 16;

/// The values to try.
pub(crate) struct Worlds {
    /// For each stage in which values make a difference: those of its outputs, the plainest first.
    stages: Vec<(StageId, Vec<Given>)>,
}

impl Worlds {
    /// Reads the plan's conditions. What is given already stays.
    pub fn new(plan: &Plan, given: &Given) -> Self {
        let mut when: Vec<BTreeSet<ConditionId>> = vec![BTreeSet::new(); plan.stages.len()];
        for (stage, data) in when.iter_mut().zip(&plan.stages) {
            for position in &data.positions {
                stage.extend(&position.when);
                if let Work::Barrier(place) = &position.work {
                    stage.extend(&plan.places[place.index()].when);
                }
            }
        }
        for step in &plan.steps {
            when[step.stage.index()].extend(&step.when);
        }
        let stages = when.iter().enumerate().filter_map(|(stage, when)| {
            let conditions: Vec<&Expr> = when.iter().map(|it| &plan.conditions[it.index()]).collect();
            let found = alternatives(plan, &conditions, given);
            (found.len() > 1).then_some((StageId(stage as u32), found))
        });
        Worlds { stages: stages.collect() }
    }

    /// What to try where it is about one stage: all of that stage's own, with the others' in every combination; or, where there
    /// are very many, with the same one of each of the others.
    pub fn of(&self, stage: Option<StageId>) -> Vec<Given> {
        let all = self.stages.iter().map(|(_, found)| found.len()).try_fold(1, usize::checked_mul);
        if all.is_some_and(|all| all <= MOST) {
            return self.stages.iter().fold(vec![Given::new()], |worlds, (_, found)| times(&worlds, found));
        }
        let own = self.stages.iter().find(|(id, _)| Some(*id) == stage);
        let others: Vec<&Vec<Given>> =
            self.stages.iter().filter(|(id, _)| Some(*id) != stage).map(|(_, found)| found).collect();
        let most = others.iter().map(|found| found.len()).max().unwrap_or(1);
        let others: Vec<Given> = (0..most)
            .map(|at| others.iter().flat_map(|found| found[at.min(found.len() - 1)].clone()).collect())
            .collect();
        match own {
            Some((_, own)) => times(&others, own),
            None => others,
        }
    }
}

fn times(worlds: &[Given], found: &[Given]) -> Vec<Given> {
    let join =
        |world: &Given, more: &Given| world.iter().chain(more).map(|(k, v)| (k.clone(), v.clone())).collect();
    worlds.iter().flat_map(|world| found.iter().map(move |more| join(world, more))).collect()
}

/// Values of the outputs that these conditions read: one for each way in which they come out that is found.
fn alternatives(plan: &Plan, conditions: &[&Expr], given: &Given) -> Vec<Given> {
    let mut values: BTreeMap<(StepId, String), Vec<Value>> = BTreeMap::new();
    for condition in conditions {
        let mut constants = Vec::new();
        condition.walk(&mut |part| {
            if let Expr::Value(value) = part {
                constants_of(value, &mut constants);
            }
        });
        condition.walk(&mut |part| {
            if let Expr::Output { step, name } = part
                && let Some(ty) = plan.steps[step.index()].outputs.get(name)
                && !given.contains_key(&(*step, name.clone()))
            {
                let known = values.entry((*step, name.clone())).or_insert_with(|| vec![ty.example()]);
                for value in candidates(*ty, &constants) {
                    if !known.contains(&value) {
                        known.push(value);
                    }
                }
            }
        });
    }
    let reads: Vec<&Expr> = conditions.iter().copied().filter(|it| reads_outputs(it)).collect();
    let mut found: Vec<(Vec<Option<bool>>, Given)> = Vec::new();
    let mut at = vec![0; values.len()];
    for _ in 0..MOST_TRIED {
        let chosen =
            values.iter().zip(&at).map(|((output, values), at)| (output.clone(), values[*at].clone()));
        let world: Given = chosen.collect();
        let facts = Known { given, world: &world };
        let comes_to: Vec<Option<bool>> =
            reads.iter().map(|it| it.eval(&facts).ok().and_then(|value| value.as_bool())).collect();
        if !found.iter().any(|(known, _)| *known == comes_to) {
            found.push((comes_to, world));
        }
        // The next combination.
        let step = values.values().zip(&mut at).find_map(|(values, at)| {
            *at = (*at + 1) % values.len();
            (*at > 0).then_some(())
        });
        if step.is_none() || found.len() >= MOST_OF_A_STAGE {
            break;
        }
    }
    found.into_iter().map(|(_, world)| world).collect()
}

fn reads_outputs(condition: &Expr) -> bool {
    let mut found = false;
    condition.walk(&mut |part| found |= matches!(part, Expr::Output { .. }));
    found
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
    match ty {
        ValueType::Bool => found.push(Value::Bool(true)),
        // Something that no condition knows.
        ValueType::Text => found.push(Value::Text("other".into())),
        ValueType::Path => found.push(Value::Path("other".into())),
        _ => {}
    }
    found
}

/// What is known when values have been chosen.
struct Known<'a> {
    given: &'a Given,
    world: &'a Given,
}

impl Facts for Known<'_> {
    fn output(&self, step: StepId, name: &str) -> Option<Value> {
        let output = (step, name.to_owned());
        self.world.get(&output).or_else(|| self.given.get(&output)).cloned()
    }
    fn run(&self, _: RunFact) -> Option<Value> {
        Some(Value::Text("simulation".into()))
    }
    fn failure(&self, _: FailureFact) -> Option<Value> {
        None
    }
}

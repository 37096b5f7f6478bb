//! What `dsl check --explain-proof` tells: how much the proof of each promise covered, and what rules leave changed.

use crate::checks::all_or_nothing_violated;
use crate::checks::satisfy::Domains;
use crate::diagnostic::Location;
use crate::lower::{Budget, Lowered, lower_open};
use crate::model::Model;
use crate::program::{ModuleId, Program};
use lockstep_grammar::ast::DeclarationKind;
use lockstep_plan::proof::{Coverage, Promise, Proof, exceptions};
use lockstep_plan::{StepId, Undo, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// More steps than this are counted, not named.
const MOST_NAMES: usize = 3;

/// What was found about one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineProof {
    /// Its name.
    pub pipeline: String,
    /// Its declaration.
    pub at: Location,
    /// Its promises.
    pub promises: Vec<PromiseProof>,
    /// What may stay changed after a failure, each place once.
    pub left: Vec<Left>,
    /// How long proving took.
    pub took: Duration,
}

/// A promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseProof {
    /// The word `parallel`.
    pub at: Location,
    /// What was found.
    pub found: Found,
    /// How much was looked at.
    pub coverage: Coverage,
}

/// What is known of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is kept in every execution.
    Kept,
    /// An execution breaks it.
    Broken,
    /// Neither could be shown.
    Unproved,
}

/// Something that may stay changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The rule that leaves it, or the step where nothing undoes it.
    pub at: Location,
    /// Why, for people.
    pub why: String,
}

/// Proves the promises of every pipeline again, with the time that each took by the given clock.
pub fn proofs(program: &Program, clock: &dyn Fn() -> Duration) -> Vec<PipelineProof> {
    let model = Model::new(program);
    let mut budget = Budget::of(program);
    let mut all = Vec::new();
    for id in model.declarations() {
        let prelude = program.file(id.file).module == ModuleId::PRELUDE;
        if prelude || !matches!(model.decl(id).kind, DeclarationKind::Pipeline(_)) {
            continue;
        }
        let Some(lowered) = lower_open(&model, id, &mut budget, &mut Vec::new()) else { continue };
        let before = clock();
        let proofs =
            all_or_nothing_violated::proofs(&lowered.plan, &|| Domains::of(&model, id), &mut budget.proofs);
        let took = clock().saturating_sub(before);
        let promise = |proof: &Proof| PromiseProof {
            at: lowered.origins.items[proof.item.index()],
            found: match proof.promise {
                Promise::Kept => Found::Kept,
                Promise::Broken(_) => Found::Broken,
                Promise::Unproved(_) => Found::Unproved,
            },
            coverage: proof.coverage,
        };
        all.push(PipelineProof {
            pipeline: model.name(id).to_string(),
            at: model.location(id),
            promises: proofs.iter().map(promise).collect(),
            left: left(&lowered, &proofs),
            took,
        });
    }
    all
}

fn left(lowered: &Lowered, proofs: &[Proof]) -> Vec<Left> {
    let (plan, origins) = (&lowered.plan, &lowered.origins);
    // Instances of one workflow share its rules and steps: each place once.
    let mut all: Vec<(Location, Verdict, Vec<&str>)> = Vec::new();
    let mut perhaps: BTreeSet<Location> = BTreeSet::new();
    let mut known: BTreeMap<Location, usize> = BTreeMap::new();
    let mut add = |at: Location, verdict: Verdict, step: Option<StepId>| {
        let index = *known.entry(at).or_insert_with(|| {
            all.push((at, verdict, Vec::new()));
            all.len() - 1
        });
        let name = step.and_then(|step| plan.steps[step.index()].name.rsplit('.').next());
        let names = &mut all[index].2;
        names.extend(name.filter(|name| !names.contains(name)));
    };
    // What undoes a step runs after all where that has just been proved.
    let is_kept = |step: StepId| {
        let item = plan.stages[plan.steps[step.index()].stage.index()].item;
        let undone = matches!(plan.steps[step.index()].undo, Undo::Derived(_) | Undo::Block(_));
        undone && proofs.iter().any(|proof| proof.item == item && proof.promise == Promise::Kept)
    };
    for exception in exceptions(plan) {
        let rule = exception.rule.and_then(|(scope, at)| origins.scopes.get(scope.index())?.get(at as usize));
        match rule {
            Some(at) => {
                add(*at, exception.verdict, None);
                exception.steps.iter().for_each(|step| add(*at, exception.verdict, Some(*step)));
            }
            None => {
                for step in exception.steps.iter().filter(|step| !is_kept(**step)) {
                    let at = origins.steps[step.index()];
                    add(at, exception.verdict, Some(*step));
                    if matches!(plan.steps[step.index()].undo, Undo::Derived(_) | Undo::Block(_)) {
                        perhaps.insert(at);
                    }
                }
            }
        }
    }
    let left = |(at, verdict, names): (Location, Verdict, Vec<&str>)| {
        let why = match perhaps.contains(&at) {
            true => format!("what undoes {} may not run", listed(&names)),
            false => why(verdict, &names),
        };
        Left { at, why }
    };
    all.into_iter().map(left).collect()
}

/// Names of steps, the first of many.
fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let mut steps: Vec<String> = names.iter().take(MOST_NAMES).map(|name| format!("`{name}`")).collect();
    if more > 0 {
        steps.push(format!("{more} more"));
    }
    match steps.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => steps.concat(),
    }
}

fn why(verdict: Verdict, names: &[&str]) -> String {
    let steps = listed(names);
    match verdict {
        Verdict::Ignore => format!("`ignore` goes on although {steps} failed"),
        Verdict::Fail => format!("`fail` leaves what {steps} changed"),
        Verdict::Abort if names.is_empty() => "`abort` leaves what others have changed by then".to_owned(),
        Verdict::Abort => format!("`abort` leaves what {steps}, and others by then, changed"),
        Verdict::RollbackPhase => format!("`rollback phase` leaves what {steps} changed"),
        _ => format!("nothing undoes what {steps} changed"),
    }
}

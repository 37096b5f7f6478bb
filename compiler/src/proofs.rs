//! What `dsl check --explain-proof` tells: how much the proof of each promise covered, and what rules leave changed.

use crate::checks::all_or_nothing_violated;
use crate::diagnostic::Location;
use crate::lower::{Budget, Lowered, lower_open};
use crate::model::Model;
use crate::program::{ModuleId, Program};
use lockstep_grammar::ast::DeclarationKind;
use lockstep_plan::Verdict;
use lockstep_plan::proof::{Coverage, Promise, exceptions};
use std::time::Duration;

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
    /// Whether it is kept in every execution.
    pub kept: bool,
    /// How much was looked at.
    pub coverage: Coverage,
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
        let proofs = all_or_nothing_violated::proofs(&lowered.plan);
        let took = clock().saturating_sub(before);
        let promise = |proof: &lockstep_plan::proof::Proof| PromiseProof {
            at: lowered.origins.items[proof.item.index()],
            kept: proof.promise == Promise::Kept,
            coverage: proof.coverage,
        };
        all.push(PipelineProof {
            pipeline: model.name(id).to_string(),
            at: model.location(id),
            promises: proofs.iter().map(promise).collect(),
            left: left(&lowered),
            took,
        });
    }
    all
}

fn left(lowered: &Lowered) -> Vec<Left> {
    let (plan, origins) = (&lowered.plan, &lowered.origins);
    let mut all: Vec<Left> = Vec::new();
    for exception in exceptions(plan) {
        let step = plan.steps[exception.step.index()].name.rsplit('.').next().unwrap_or_default();
        let rule = exception.rule.and_then(|(scope, at)| origins.scopes.get(scope.index())?.get(at as usize));
        let at = rule.copied().unwrap_or(origins.steps[exception.step.index()]);
        let why = match exception.verdict {
            Verdict::Ignore => format!("`ignore` goes on although `{step}` failed"),
            Verdict::Fail => format!("`fail` leaves what `{step}` changed"),
            Verdict::Abort => format!("`abort` leaves what `{step}` changed"),
            Verdict::RollbackPhase => format!("`rollback phase` leaves what `{step}` changed"),
            _ => format!("nothing undoes what `{step}` changed"),
        };
        if !all.iter().any(|known| known.at == at) {
            all.push(Left { at, why });
        }
    }
    all
}

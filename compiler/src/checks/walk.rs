//! Ways through the syntax tree that several checks take.

use crate::model::Model;
use crate::program::FileId;
use crate::types::steps_of;
use lockstep_grammar::ast::{Barrier, DeclarationKind, Failure, Item, Name, Rollback, Step, Workflow};
use std::cell::OnceCell;

/// Where a list of failure rules stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleScope {
    Pipeline,
    Workflow,
    Phase,
    Section,
    Step,
    RollbackStep,
}

/// What several checks go through, found once.
#[derive(Debug, Default)]
pub struct Walked<'p> {
    workflows: OnceCell<Vec<Declared<'p>>>,
    failures: OnceCell<Failures<'p>>,
}

/// A workflow, with its name.
type Declared<'p> = (FileId, &'p Name, &'p Workflow);

/// Lists of failure rules.
type Failures<'p> = Vec<(FileId, RuleScope, &'p [Failure])>;

/// Every workflow outside the prelude.
pub fn workflows<'m, 'p>(model: &'m Model<'p>) -> impl Iterator<Item = Declared<'p>> + use<'m, 'p> {
    let of = |id| match &model.decl(id).kind {
        DeclarationKind::Workflow(workflow) => Some((id.file, &model.decl(id).name, workflow)),
        _ => None,
    };
    let found = model.walked.workflows.get_or_init(|| model.declarations().filter_map(of).collect());
    found.iter().copied()
}

/// Every list of failure rules.
pub fn failures<'m, 'p>(
    model: &'m Model<'p>,
) -> impl Iterator<Item = (FileId, RuleScope, &'p [Failure])> + use<'m, 'p> {
    model.walked.failures.get_or_init(|| find_failures(model)).iter().copied()
}

fn find_failures<'p>(model: &Model<'p>) -> Failures<'p> {
    let mut all = Vec::new();
    for id in model.declarations() {
        match &model.decl(id).kind {
            DeclarationKind::Pipeline(pipeline) => {
                all.push((id.file, RuleScope::Pipeline, pipeline.failures.as_slice()));
            }
            DeclarationKind::Workflow(workflow) => {
                all.push((id.file, RuleScope::Workflow, workflow.failures.as_slice()));
                for phase in &workflow.phases {
                    all.push((id.file, RuleScope::Phase, phase.failures.as_slice()));
                    of_items(&phase.items, id.file, RuleScope::Step, &mut all);
                    of_blocks(&phase.rollbacks, id.file, &mut all);
                }
                of_blocks(&workflow.rollbacks, id.file, &mut all);
            }
            _ => {}
        }
    }
    all.retain(|(_, _, failures)| !failures.is_empty());
    all
}

fn of_blocks<'p>(blocks: &'p [Rollback], file: FileId, all: &mut Failures<'p>) {
    for block in blocks {
        of_items(&block.items, file, RuleScope::RollbackStep, all);
    }
}

fn of_items<'p>(items: &'p [Item], file: FileId, scope: RuleScope, all: &mut Failures<'p>) {
    for item in items {
        match item {
            Item::Step(step) => all.push((file, scope, step.failures.as_slice())),
            Item::Steps(parallel) => {
                all.extend(parallel.steps.iter().map(|step| (file, scope, step.failures.as_slice())));
            }
            Item::Section(section) => {
                all.push((file, RuleScope::Section, section.failures.as_slice()));
                of_items(&section.items, file, scope, all);
            }
            Item::Barrier(_) => {}
        }
    }
}

/// A list of failure rules, with the steps whose failures it can meet.
type Covered<'p> = (FileId, Vec<&'p Step>, &'p [Failure]);

/// Every list of failure rules of which one is `meant`, with the steps whose failures it can meet: where all of these were
/// understood.
pub fn covered<'p>(model: &Model<'p>, meant: impl Fn(&Failure) -> bool) -> Vec<Covered<'p>> {
    let is_meant = |file, failures: &[Failure], span| {
        failures.iter().any(&meant) && !model.program.is_broken(file, span)
    };
    let own = |file, step: &'p Step| -> Option<Covered<'p>> {
        let told = is_meant(file, &step.failures, step.span);
        told.then(|| (file, vec![step], step.failures.as_slice()))
    };
    let mut all = Vec::new();
    for (file, _, workflow) in workflows(model) {
        if is_meant(file, &workflow.failures, workflow.body) {
            let of_phases = workflow.phases.iter().flat_map(|phase| steps_of(&phase.items)).collect();
            all.push((file, of_phases, workflow.failures.as_slice()));
        }
        for phase in &workflow.phases {
            for item in &phase.items {
                if let Item::Section(section) = item
                    && is_meant(file, &section.failures, section.span)
                {
                    all.push((file, steps_of(&section.items).collect(), section.failures.as_slice()));
                }
            }
            let blocks = phase.rollbacks.iter().flat_map(|block| steps_of(&block.items));
            all.extend(steps_of(&phase.items).chain(blocks).filter_map(|step| own(file, step)));
            if is_meant(file, &phase.failures, phase.span) {
                all.push((file, steps_of(&phase.items).collect(), phase.failures.as_slice()));
            }
        }
        let blocks = workflow.rollbacks.iter().flat_map(|block| steps_of(&block.items));
        all.extend(blocks.filter_map(|step| own(file, step)));
    }
    all
}

/// The barriers among these items, those of sections included, in order.
pub fn barriers(items: &[Item]) -> Vec<&Barrier> {
    let mut all = Vec::new();
    for item in items {
        match item {
            Item::Barrier(barrier) => all.push(barrier),
            Item::Section(section) => all.extend(barriers(&section.items)),
            Item::Step(_) | Item::Steps(_) => {}
        }
    }
    all
}

/// The barriers of the phases and those of the rollback blocks.
pub fn barriers_of(workflow: &Workflow) -> (Vec<&Barrier>, Vec<&Barrier>) {
    let forward = workflow.phases.iter().flat_map(|phase| barriers(&phase.items)).collect();
    let blocks = workflow.phases.iter().flat_map(|phase| &phase.rollbacks).chain(&workflow.rollbacks);
    (forward, blocks.flat_map(|block| barriers(&block.items)).collect())
}

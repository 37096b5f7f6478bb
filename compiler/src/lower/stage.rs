//! Lowering of stages: a workflow with its arguments.

use super::Lowerer;
use super::matching::Settled;
use super::value::{Frame, Outputs, Val};
use crate::checks;
use crate::diagnostic::Location;
use crate::index::Index;
use crate::model::{DeclId, setting};
use crate::program::FileId;
use crate::types::{Implicit, ParamInfo, Ty, implicit};
use compact_str::CompactString;
use foldhash::HashMap;
use lockstep_grammar::ast::{
    self, ActionKind, Condition, ExprKind, Failure, Item, Rollback, Setting, Within,
};
use lockstep_plan::{
    Barrier, BarrierId, BarrierKind, BlockItem, Concurrency, ConditionId, Expr, ItemId, Kind, Phase, Place,
    PlaceId, Position, Reaction, Role, Rule, Scope, ScopeId, Stage, StageId, Step, StepId, Undo, Use, Value,
    Work,
};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Barriers wait that long unless they say otherwise.
const BARRIER_TIMEOUT: u64 = 600_000;

/// What a barrier costs, in the units of the budget.
const BARRIER: usize = 4;

/// Where a stage is being lowered.
#[derive(Debug, Clone)]
pub struct Here {
    pub stage: StageId,
    /// The names of the stage and, within one, of the phase: `region1.deploy`.
    pub name: String,
    pub item: ItemId,
    pub branch: u32,
    pub phase: Option<u32>,
    pub sections: Vec<CompactString>,
    /// Conditions of phase and section.
    pub when: Vec<ConditionId>,
    /// Failure rules of section, phase and workflow, innermost first.
    pub scopes: Vec<ScopeId>,
    /// Whether undoing is derived: no rollback block stands for it.
    pub derived: bool,
    /// The deployment type of the phase's steps, as far as the stage tells.
    pub settled: Option<Rc<Settled>>,
}

impl Here {
    /// The full name of a step or barrier that stands here.
    pub fn element(&self, name: &str, in_block: bool) -> String {
        [self.name.as_str(), if in_block { ".rollback." } else { "." }, name].concat()
    }

    /// What every element that stands here takes over, in the units of the budget.
    pub fn weight(&self) -> usize {
        self.when.len() + self.scopes.len() + self.sections.len() + self.name.len() / 32
    }
}

impl<'p> Lowerer<'_, 'p> {
    /// Lowers one stage; none where its workflow is not known.
    pub fn stage(
        &mut self,
        stage: &'p ast::Stage,
        frame: &Frame<'p>,
        item: ItemId,
        branch: u32,
    ) -> Option<StageId> {
        let found = self.model.find(self.model.module(frame.file), &stage.path).ok();
        let workflow = found.and_then(|found| Some((found, self.model.as_workflow(found.decl)?)));
        let Some((found, workflow)) = workflow else {
            self.lacking.push(item);
            return None;
        };
        let name = self.indexed(&stage.name.text, stage.index.as_ref(), frame);
        let name = self.distinct(name, frame.at(stage.name.span), "stage");
        let when = self.conditions(&stage.conditions, frame);
        let infos = self.model.params(found.decl.file, &workflow.params.items);
        let mut inner = self.arguments(stage, &infos, frame, found.decl);
        let given = |name: &str| inner.var(name).and_then(Val::as_value).cloned();
        let (at, own) = (frame.at(stage.path.span), (found.decl.file, workflow));
        self.sink.extend(checks::phase_strategy::of_stage(self.model, own, (stage, at), &given));
        inner.stage = Some(name.as_str().into());

        let first = self.plan.steps.len();
        let positions = workflow.phases.iter().map(|phase| phase.items.len()).sum();
        self.plan.steps.reserve(positions);
        let id = StageId(self.plan.stages.len() as u32);
        self.plan.stages.push(Stage {
            name: name.clone(),
            workflow: self.model.name(found.decl).into(),
            item,
            branch,
            when,
            phases: Vec::with_capacity(workflow.phases.len()),
            positions: Vec::with_capacity(positions),
            rollback: None,
            uses: Vec::new(),
            concurrency: concurrency(&workflow.settings),
            notifies: Vec::new(),
            claim: None,
            rollback_claim: None,
        });
        self.origins.stages.push(frame.at(stage.name.span));
        let declared = self.model.decl(found.decl).span;
        self.origins.workflows.push(Location { file: found.decl.file, span: declared });
        self.origins.phases.push(Vec::new());
        if self.copied(found.decl, &inner.vars, id) {
            return Some(id);
        }
        let before = self.extent();
        self.asked = false;
        let notifies = self.notifies(&workflow.notifies, &inner);
        let uses = self.uses(&workflow.uses, &inner);
        let scopes = self.scope(("workflow", self.model.name(found.decl)), &workflow.failures, &inner);
        let mut here = Here {
            stage: id,
            name,
            item,
            branch,
            phase: None,
            sections: Vec::new(),
            when: Vec::new(),
            scopes: scopes.into_iter().collect(),
            derived: workflow.rollbacks.is_empty(),
            settled: None,
        };
        for (index, phase) in workflow.phases.iter().enumerate() {
            here.phase = Some(index as u32);
            self.phase(phase, &mut inner, &infos, &here, stage, frame);
        }
        let outer = self.with_things(&inner, &[], &infos);
        if let Some(block) = workflow.rollbacks.first() {
            here.phase = None;
            // What does not match is reported with the phases that work on it.
            let before = self.sink.len();
            here.settled = self.settle(&outer, &[], &infos, stage, frame);
            self.sink.truncate(before);
            let lowered = self.block(block, &outer, &here);
            self.plan.stages[id.index()].rollback = Some(lowered);
            self.cover(&workflow.phases, block, found.decl.file, first, None);
        }
        let stage = &mut self.plan.stages[id.index()];
        stage.notifies = notifies;
        stage.uses = uses;
        self.remember(found.decl, inner.vars, id, before);
        Some(id)
    }

    /// The workflow's parameters with the values that the stage gives them.
    fn arguments(
        &mut self,
        stage: &'p ast::Stage,
        infos: &[ParamInfo<'p>],
        frame: &Frame<'p>,
        workflow: DeclId,
    ) -> Frame<'p> {
        let mut inner = Frame::of(workflow.file);
        let entries = Index::new(&stage.arguments.entries, |entry| entry.name.text.as_str());
        for info in infos {
            let given = entries.get(info.name());
            let value = match (given, &info.param.default) {
                (Some(entry), _) => {
                    let value = self.eval(&entry.value, &info.ty, frame);
                    self.restricted(&value, info, frame.at(entry.value.span));
                    value
                }
                (None, Some(default)) => self.eval(default, &info.ty, &inner),
                (None, None) if matches!(info.ty, Ty::Optional(_)) => Val::Absent,
                (None, None) => Val::Unknown(info.name().to_string()),
            };
            inner.bind(info.name(), value);
        }
        for info in infos {
            let Some(Within::Name(environment)) = info.within() else { continue };
            let (Some(Val::Target(target)), Some(Val::Environment(wanted))) =
                (inner.var(info.name()), inner.var(&environment.text))
            else {
                continue;
            };
            let given = |name: &str| {
                let entry = stage.arguments.entries.iter().find(|entry| entry.name.text == name);
                frame.at(entry.map_or(stage.path.span, |entry| entry.value.span))
            };
            if self.environment_of(*target) != Some(*wanted) {
                let target = &self.plan.targets[target.index()];
                self.sink.push(checks::template_environment_mismatch::report(
                    self.model,
                    (given(info.name()), &target.name),
                    (given(&environment.text), *wanted),
                    info,
                ));
            }
        }
        inner
    }

    /// The frame with the service and target that these settings or the workflow's parameters give.
    fn with_things(
        &mut self,
        frame: &Frame<'p>,
        settings: &'p [Setting],
        infos: &[ParamInfo<'p>],
    ) -> Frame<'p> {
        let mut result = frame.clone();
        let thing = |lowerer: &mut Self, name: &str, is_one: fn(&Ty) -> bool| match implicit(
            settings, name, infos, is_one,
        ) {
            Implicit::Entry(setting) => {
                lowerer.asked = true;
                Some(lowerer.eval(&setting.value, &Ty::Error, frame))
            }
            Implicit::Param(index) => frame.var(infos[index].name()).cloned(),
            Implicit::None | Implicit::Ambiguous(..) => None,
        };
        result.service = thing(self, "service", |ty| matches!(ty, Ty::Service(_)));
        result.infra = thing(self, "infra", |ty| matches!(ty, Ty::Infra(_)));
        result.own = !settings.is_empty();
        result
    }

    fn phase(
        &mut self,
        phase: &'p ast::Phase,
        inner: &mut Frame<'p>,
        infos: &[ParamInfo<'p>],
        here: &Here,
        stage: &'p ast::Stage,
        outer: &Frame<'p>,
    ) {
        let mut frame = self.with_things(inner, &phase.settings, infos);
        inner.outputs = Outputs::default(); // Not shared while the phase adds to them.
        let mut here = here.clone();
        here.settled = self.settle(&frame, &phase.settings, infos, stage, outer);
        here.name = [&here.name, ".", &phase.name.text].concat();
        here.when = self.conditions(&phase.conditions, &frame);
        if let Some(scope) = self.scope(("phase", phase.name.text.as_str()), &phase.failures, &frame) {
            here.scopes.insert(0, scope);
        }
        here.derived &= phase.rollbacks.is_empty();
        let uses = self.uses(&phase.uses, &frame);
        let at = frame.at(phase.name.span);
        self.plan.stages[here.stage.index()].phases.push(Phase {
            name: phase.name.text.clone(),
            conditions: here.when.len() as u32,
            rollback: None,
            uses,
            claim: None,
        });
        self.origins.phases[here.stage.index()].push(at);
        let first = self.plan.steps.len();
        self.items(&phase.items, &mut frame, &here);
        inner.outputs = frame.outputs.clone();
        if let Some(block) = phase.rollbacks.first() {
            let lowered = self.block(block, &frame, &here);
            let index = here.phase.unwrap_or_default() as usize;
            self.plan.stages[here.stage.index()].phases[index].rollback = Some(lowered);
            self.cover(std::slice::from_ref(phase), block, frame.file, first, here.phase);
        }
    }

    fn items(&mut self, items: &'p [Item], frame: &mut Frame<'p>, here: &Here) {
        for item in items {
            if self.is_spent() {
                return;
            }
            let work = match item {
                Item::Section(section) => {
                    let mut here = here.clone();
                    here.sections.push(section.name.text.clone());
                    here.when.extend(self.conditions(&section.conditions, frame));
                    let scope = self.scope(("section", section.name.text.as_str()), &section.failures, frame);
                    here.scopes.splice(0..0, scope);
                    self.items(&section.items, frame, &here);
                    continue;
                }
                Item::Step(step) => {
                    let id = self.step(step, frame, here, Role::Forward);
                    frame.outputs.insert(step.name.text.as_str(), id);
                    Work::Steps(vec![id])
                }
                Item::Steps(parallel) => {
                    let steps: Vec<_> = parallel
                        .steps
                        .iter()
                        .map(|step| self.step(step, frame, here, Role::Forward))
                        .collect();
                    for (step, id) in parallel.steps.iter().zip(&steps) {
                        frame.outputs.insert(step.name.text.as_str(), *id);
                    }
                    if steps.is_empty() {
                        continue;
                    }
                    Work::Steps(steps)
                }
                Item::Barrier(barrier) => {
                    Work::Barrier(self.barrier(barrier, frame, here, BarrierKind::Forward))
                }
            };
            self.plan.stages[here.stage.index()].positions.push(Position {
                phase: here.phase.unwrap_or_default(),
                sections: here.sections.clone(),
                when: here.when.clone(),
                work,
            });
        }
    }

    fn barrier(
        &mut self,
        barrier: &'p ast::Barrier,
        frame: &Frame<'p>,
        here: &Here,
        kind: BarrierKind,
    ) -> PlaceId {
        let when = self.conditions(&barrier.conditions, frame);
        let is_damaged = self.model.program.is_damaged(frame.file, barrier.span);
        let timeout = match setting(&barrier.settings, "timeout") {
            // One that is still open is never too short.
            Some(it) => self.duration(&it.value, frame),
            None if barrier.settings.is_empty() && !is_damaged => Some(BARRIER_TIMEOUT),
            // It may be what is misspelt, or was not understood.
            None => None,
        };
        self.charge(BARRIER + here.weight());
        let name = barrier.name.text.as_str();
        let key = (here.item, name, kind);
        let id = match self.barriers.get(&key) {
            Some(id) => *id,
            None => {
                let id = BarrierId(self.plan.barriers.len() as u32);
                let (name, item) = (name.to_string(), here.item);
                self.plan.barriers.push(Barrier { name, item, kind, places: Vec::new() });
                self.barriers.insert(key, id);
                id
            }
        };
        let place = PlaceId(self.plan.places.len() as u32);
        let full = here.element(name, kind == BarrierKind::Rollback);
        self.plan.places.push(Place {
            name: full,
            barrier: id,
            stage: Some(here.stage),
            branch: here.branch,
            when,
            timeout,
            scopes: if kind == BarrierKind::Rollback { Vec::new() } else { here.scopes.clone() },
            skipped: false,
        });
        self.origins.places.push(frame.at(barrier.name.span));
        self.plan.barriers[id.index()].places.push(place);
        place
    }

    fn block(&mut self, block: &'p Rollback, frame: &Frame<'p>, here: &Here) -> Vec<BlockItem> {
        let mut frame = frame.clone();
        frame.rollback = true;
        let mut items = Vec::new();
        for item in &block.items {
            match item {
                Item::Step(step) => {
                    items.push(BlockItem::Steps(vec![self.step(step, &frame, here, Role::Block)]))
                }
                Item::Steps(parallel) if !parallel.steps.is_empty() => {
                    let steps = parallel.steps.iter();
                    items.push(BlockItem::Steps(
                        steps.map(|step| self.step(step, &frame, here, Role::Block)).collect(),
                    ));
                }
                Item::Barrier(barrier) => {
                    items.push(BlockItem::Barrier(self.barrier(
                        barrier,
                        &frame,
                        here,
                        BarrierKind::Rollback,
                    )));
                }
                Item::Steps(_) | Item::Section(_) => {}
            }
        }
        items
    }

    /// Connects changing steps with the steps of a rollback block that undo them: the one that a step names, else the
    /// one that its provider names. The steps of this stage and, for a phase's block, of this phase begin at `first`.
    fn cover(
        &mut self,
        phases: &'p [ast::Phase],
        block: &'p Rollback,
        file: FileId,
        first: usize,
        phase: Option<u32>,
    ) {
        let steps = &self.plan.steps;
        let undoable = |step: &Step| step.role == Role::Forward && step.changes && step.undo == Undo::None;
        if !steps[first..].iter().any(undoable) {
            return;
        }
        let mut forward: HashMap<(Option<u32>, &str), usize> = HashMap::default();
        let mut undoing: HashMap<&str, StepId> = HashMap::default();
        for (index, step) in steps.iter().enumerate().skip(first) {
            let short = step.name.rsplit('.').next().unwrap_or_default();
            match step.role {
                Role::Forward => {
                    forward.insert((step.phase, short), index);
                }
                Role::Block if step.phase == phase => {
                    undoing.insert(short, StepId(index as u32));
                }
                Role::Block | Role::Undo(_) => {}
            }
        }
        // By the provider and step that they carry out, the first of each.
        let mut carried: HashMap<(&str, &str), &str> = HashMap::default();
        for step in crate::types::steps_of(&block.items) {
            if let [.., provider, undo] = step.path.names.as_slice() {
                carried.entry((&provider.text, &undo.text)).or_insert(&step.name.text);
            }
        }
        let mut undone: Vec<(usize, StepId)> = Vec::new();
        for (index, it) in (phase.unwrap_or_default()..).zip(phases) {
            for step in crate::types::steps_of(&it.items) {
                let Some(found) = forward.get(&(Some(index), step.name.text.as_str())) else { continue };
                if !undoable(&steps[*found]) {
                    continue;
                }
                let named = step.arguments.entries.iter().find(|entry| entry.name.text == "undone_by");
                let named = named.and_then(|entry| match &entry.value.kind {
                    ExprKind::Path(path) => Some(path.names[0].text.as_str()),
                    _ => None,
                });
                let by_provider = || {
                    let (provider, signature) = self.model.find_step(file, &step.path)?;
                    let undo = signature.undone_by.as_ref()?;
                    carried.get(&(self.model.name(provider), undo.text.as_str())).copied()
                };
                let undo = named.or_else(by_provider).and_then(|name| undoing.get(name));
                undone.extend(undo.map(|undo| (*found, *undo)));
            }
        }
        // Of several steps of one name, the first says what undoes it.
        for (found, undo) in undone.into_iter().rev() {
            self.plan.steps[found].undo = Undo::Block(undo);
        }
    }

    /// The conditions that are not constantly true.
    pub fn conditions(&mut self, conditions: &'p [Condition], frame: &Frame<'p>) -> Vec<ConditionId> {
        if conditions.is_empty() {
            return Vec::new();
        }
        let (mut ids, mut seen) = (Vec::new(), BTreeSet::new());
        for condition in conditions {
            let value = self.data(&condition.value, &Ty::Bool, frame);
            let value = if condition.only { value } else { Expr::Not(Box::new(value)) };
            let Ok(value) = value.fold() else { continue };
            if value == Expr::Value(Value::Bool(true)) {
                continue;
            }
            let id = match self.conditions.get(&value) {
                Some(id) => *id,
                None => {
                    let id = ConditionId(self.plan.conditions.len() as u32);
                    self.plan.conditions.push(value.clone());
                    self.origins.conditions.push(frame.at(condition.span));
                    self.conditions.insert(value, id);
                    id
                }
            };
            if seen.insert(id) {
                ids.push(id);
            }
        }
        ids
    }

    /// A scope for these rules of a step, phase or the like, if there are any.
    pub fn scope(
        &mut self,
        (kind, name): (&str, &str),
        failures: &'p [Failure],
        frame: &Frame<'p>,
    ) -> Option<ScopeId> {
        if failures.is_empty() {
            return None;
        }
        let (rules, places) = self.rules(failures, frame);
        let owner = [kind, " ", name].concat();
        self.plan.scopes.push(Scope { owner, rules });
        self.origins.scopes.push(places);
        Some(ScopeId(self.plan.scopes.len() as u32 - 1))
    }

    /// The plan's form of failure rules, and where they stand.
    pub fn rules(&mut self, failures: &'p [Failure], frame: &Frame<'p>) -> (Vec<Rule>, Vec<Location>) {
        let rules = failures
            .iter()
            .map(|failure| Rule {
                kinds: failure.kinds.iter().filter_map(|kind| Kind::from_name(&kind.text)).collect(),
                under: failure.under.map(|(share, _)| share),
                reaction: self.reaction(&failure.action.kind, frame),
            })
            .collect();
        (rules, failures.iter().map(|failure| frame.at(failure.span)).collect())
    }

    fn reaction(&mut self, action: &'p ActionKind, frame: &Frame<'p>) -> Reaction {
        match action {
            ActionKind::Ignore => Reaction::Ignore,
            ActionKind::Succeed => Reaction::Succeed,
            ActionKind::Fail => Reaction::Fail,
            ActionKind::Abort => Reaction::Abort,
            ActionKind::Rollback => Reaction::Rollback,
            ActionKind::RollbackPhase => Reaction::RollbackPhase,
            ActionKind::RollbackPipeline => Reaction::RollbackPipeline,
            ActionKind::Retry { times, every, then } => Reaction::Retry {
                times: *times,
                every: every.clone(),
                then: Box::new(self.reaction(&then.kind, frame)),
            },
            ActionKind::Ask { group, within, then } => {
                let value = match frame.var(&group.text) {
                    Some(value) => Some(value.clone()),
                    None => {
                        let found = self.model.find_name(self.model.module(frame.file), group);
                        found.map(|id| self.declared(id, &[]))
                    }
                };
                let name = match value.as_ref().and_then(Val::as_value) {
                    Some(Value::Text(name)) => name.clone(),
                    _ => group.text.as_str().to_owned(),
                };
                let then = Box::new(self.reaction(&then.kind, frame));
                Reaction::Ask { group: name, within: *within, then }
            }
        }
    }

    fn uses(&mut self, uses: &'p [ast::Use], frame: &Frame<'p>) -> Vec<Use> {
        let mut lowered = Vec::new();
        for it in uses {
            let Ok(found) = self.model.find(self.model.module(frame.file), &it.resource) else { continue };
            let permits =
                it.record.as_ref().and_then(|record| self.entry(record, "permits", &Ty::Int, frame));
            let permits = match permits.as_ref().and_then(Val::as_value) {
                Some(Value::Int(permits)) => u32::try_from(*permits).unwrap_or(u32::MAX),
                _ => 1,
            };
            lowered.push(Use { resource: self.resource(found.decl), permits });
        }
        lowered
    }
}

fn concurrency(settings: &[Setting]) -> Concurrency {
    match crate::model::words(settings, "concurrency").first() {
        Some(&"reject") => Concurrency::Reject,
        Some(&"none") => Concurrency::None,
        _ => Concurrency::Queue,
    }
}

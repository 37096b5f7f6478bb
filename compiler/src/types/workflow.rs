//! The types of workflows: phases, sections, steps, outputs, conditions.

use super::expr::Typer;
use super::scope::{Implicit, Standing, StepInfo, implicit};
use super::steps::steps_of;
use super::{ParamInfo, Ty, What};
use crate::checks;
use lockstep_grammar::ast::{
    Barrier, Condition, Declaration, Expr, ExprKind, Failure, Item, Name, Notify, Phase, Record, Rollback,
    Setting, Step, Use, Workflow,
};
use std::collections::BTreeSet;

/// The words that `strategy` takes.
pub const STRATEGIES: [&str; 5] = ["basic", "rolling", "canary", "blue_green", "multi_service"];

impl<'p> Typer<'_, 'p> {
    pub fn workflow(&mut self, declaration: &'p Declaration, workflow: &'p Workflow) {
        self.in_workflow = true;
        let infos = self.declare_params(&workflow.params.items);
        self.settings_once(&workflow.settings);
        for setting in &workflow.settings {
            match setting.name.text.as_str() {
                "strategy" => self.word(setting, &STRATEGIES),
                "concurrency" => self.word(setting, &["queue", "reject", "none"]),
                name => {
                    let what = format!("workflow `{}`", declaration.name.text);
                    let at = self.at(setting.name.span);
                    let known = ["strategy", "concurrency"];
                    self.sink.push(checks::type_argument_unknown::report(at, &what, name, known));
                    self.infer_quietly(&setting.value);
                }
            }
        }
        self.steps = self.collect_steps(workflow);
        self.step_names.reserve(self.steps.len());
        for (index, info) in self.steps.iter().enumerate() {
            let known = self.step_names.entry(info.step.name.text.as_str());
            known.and_modify(|(_, second)| *second = second.or(Some(index))).or_insert((index, None));
        }
        self.names_once(workflow.phases.iter().map(|phase| &phase.name), "phase");
        let mut position = 0;
        for (index, phase) in workflow.phases.iter().enumerate() {
            self.phase(phase, index, &infos, workflow, &mut position);
        }
        self.standing = Standing::default();
        self.phase_things(&[], &infos);
        self.failures(&workflow.failures);
        self.notifies(&workflow.notifies);
        self.uses(&workflow.uses);
        self.standing.rollback = Some(None);
        for block in &workflow.rollbacks {
            self.rollback(block);
        }
        self.once(&workflow.rollbacks, "rollback");
    }

    /// Every forward step with its position and conditions.
    fn collect_steps(&mut self, workflow: &'p Workflow) -> Vec<StepInfo<'p>> {
        let mut all = Vec::new();
        let mut position = 0;
        for (phase, it) in workflow.phases.iter().enumerate() {
            let conditions = self.numbered(&it.conditions);
            self.collect(&it.items, phase, &conditions, &mut position, &mut all);
        }
        all
    }

    /// The numbers of these conditions: what is written alike has one number.
    fn numbered(&mut self, conditions: &'p [Condition]) -> BTreeSet<u32> {
        conditions.iter().map(|condition| self.number(condition.only, &condition.value)).collect()
    }

    fn number(&mut self, only: bool, condition: &'p Expr) -> u32 {
        let next = self.numbers.len() as u32;
        let text = self.model.program.text(self.file, condition.span);
        let number = *self.numbers.entry((only, text)).or_insert(next);
        if number == next {
            self.said.push((only, condition));
        }
        number
    }

    /// Looks at something that is only read where the condition holds, or where it does not.
    pub fn where_it_holds<T>(
        &mut self,
        holds: bool,
        condition: &'p Expr,
        look: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if self.steps.is_empty() {
            return look(self); // Only outputs can be missing.
        }
        let number = self.number(holds, condition);
        let added = self.standing.conditions.insert(number);
        let result = look(self);
        if added {
            self.standing.conditions.remove(&number);
        }
        result
    }

    fn collect(
        &mut self,
        items: &'p [Item],
        phase: usize,
        around: &BTreeSet<u32>,
        position: &mut usize,
        all: &mut Vec<StepInfo<'p>>,
    ) {
        for item in items {
            match item {
                Item::Section(section) => {
                    let mut around = around.clone();
                    around.extend(self.numbered(&section.conditions));
                    self.collect(&section.items, phase, &around, position, all);
                    continue;
                }
                Item::Step(step) => all.push(self.info(step, phase, *position, around)),
                Item::Steps(parallel) => {
                    for step in &parallel.steps {
                        all.push(self.info(step, phase, *position, around));
                    }
                }
                Item::Barrier(_) => {}
            }
            *position += 1;
        }
    }

    fn info(
        &mut self,
        step: &'p Step,
        phase: usize,
        position: usize,
        around: &BTreeSet<u32>,
    ) -> StepInfo<'p> {
        let found = self.model.find_step(self.file, &step.path);
        let outputs = found
            .and_then(|(provider, signature)| {
                let fields = signature.outputs.as_ref()?;
                Some(self.model.params(provider.file, &fields.items))
            })
            .unwrap_or_default();
        let mut conditions = around.clone();
        conditions.extend(self.numbered(&step.conditions));
        let signature = found.map(|(_, signature)| signature);
        StepInfo { step, signature, outputs, phase, position, conditions }
    }

    /// Finds the service and infrastructure that these settings or the workflow's parameters give.
    fn phase_things(&mut self, settings: &'p [Setting], infos: &[ParamInfo<'p>]) {
        let before = self.standing.own;
        self.standing.own = false;
        let service = implicit(settings, "service", infos, |ty| matches!(ty, Ty::Service(_)));
        let infra = implicit(settings, "infra", infos, |ty| matches!(ty, Ty::Infra(_)));
        let service_ty = self.thing(service, infos, || Ty::Service(Default::default()));
        let infra_ty = self.thing(infra, infos, || Ty::Infra(Default::default()));
        self.standing.service = service_ty;
        self.standing.infra = infra_ty;
        self.standing.own = before || !settings.is_empty();
    }

    fn thing(&mut self, implicit: Implicit<'p>, infos: &[ParamInfo<'p>], kind: fn() -> Ty) -> Option<Ty> {
        match implicit {
            Implicit::None | Implicit::Ambiguous(..) => None,
            Implicit::Param(index) => {
                let at = self.at(infos[index].param.name.span);
                self.used.names.insert(at);
                Some(infos[index].ty.clone())
            }
            Implicit::Entry(setting) => {
                let ty = self.infer(&setting.value);
                if !ty.same_kind(&kind()) {
                    self.fit(setting.value.span, &ty, &kind(), &None);
                    return Some(Ty::Error);
                }
                Some(ty)
            }
        }
    }

    fn phase(
        &mut self,
        phase: &'p Phase,
        index: usize,
        infos: &[ParamInfo<'p>],
        workflow: &'p Workflow,
        position: &mut usize,
    ) {
        self.standing = Standing { position: Some(*position), ..Standing::default() };
        self.settings_once(&phase.settings);
        for setting in &phase.settings {
            let name = setting.name.text.as_str();
            if !matches!(name, "service" | "infra") {
                let what = format!("phase `{}`", phase.name.text);
                let at = self.at(setting.name.span);
                let known = ["service", "infra"];
                self.sink.push(checks::type_argument_unknown::report(at, &what, name, known));
                self.infer_quietly(&setting.value);
            }
        }
        self.phase_things(&phase.settings, infos);
        checks::template_infrastructure_type::phase(self, phase, infos);
        checks::step_provider::ambiguous(self, phase, infos);
        self.conditions(&phase.conditions);
        self.standing.conditions = self.numbered(&phase.conditions);
        self.names_of(&phase.items);
        self.items(&phase.items, position);
        self.failures(&phase.failures);
        self.uses(&phase.uses);
        let blocks: Vec<&Rollback> = phase.rollbacks.iter().chain(&workflow.rollbacks).collect();
        // What was not understood may be such a block, or `rollback = { … }`.
        let mut broken = self.model.program.broken(self.file, workflow.body);
        let unsure = broken.any(|it| it == workflow.body || phase.span.contains(it.start))
            || phase.settings.iter().any(|setting| setting.name.text == "rollback");
        for step in steps_of(&phase.items).filter(|_| !unsure) {
            self.undone_by(step, &blocks);
        }
        self.standing.rollback = Some(Some(index));
        for block in &phase.rollbacks {
            self.rollback(block);
        }
        self.standing.rollback = None;
        self.once(&phase.rollbacks, "rollback");
    }

    fn items(&mut self, items: &'p [Item], position: &mut usize) {
        for item in items {
            self.standing.position = Some(*position);
            match item {
                Item::Section(section) => {
                    self.conditions(&section.conditions);
                    let before = self.standing.conditions.clone();
                    let own = self.numbered(&section.conditions);
                    self.standing.conditions.extend(own);
                    self.items(&section.items, position);
                    self.failures(&section.failures);
                    self.standing.conditions = before;
                    continue;
                }
                Item::Step(step) => self.forward_step(step),
                Item::Steps(parallel) => {
                    for step in &parallel.steps {
                        self.forward_step(step);
                    }
                }
                Item::Barrier(barrier) => self.barrier(barrier),
            }
            *position += 1;
        }
    }

    fn forward_step(&mut self, step: &'p Step) {
        // What decides whether the step runs is read before it, all else only if it runs.
        self.conditions(&step.conditions);
        let mut own = self.numbered(&step.conditions);
        own.retain(|condition| self.standing.conditions.insert(*condition));
        self.step(step, None);
        self.failures(&step.failures);
        self.standing.conditions.retain(|condition| !own.contains(condition));
    }

    fn barrier(&mut self, barrier: &'p Barrier) {
        self.conditions(&barrier.conditions);
        self.settings_once(&barrier.settings);
        for setting in &barrier.settings {
            if setting.name.text == "timeout" {
                self.expect(&setting.value, &Ty::Duration, &None);
            } else {
                let what = format!("barrier `{}`", barrier.name.text);
                let at = self.at(setting.name.span);
                self.sink.push(checks::type_argument_unknown::report(
                    at,
                    &what,
                    &setting.name.text,
                    ["timeout"],
                ));
                self.infer_quietly(&setting.value);
            }
        }
    }

    fn rollback(&mut self, block: &'p Rollback) {
        self.names_of(&block.items);
        for item in &block.items {
            match item {
                Item::Step(step) => {
                    self.step(step, Some(block));
                    self.failures(&step.failures);
                }
                Item::Steps(parallel) => {
                    for step in &parallel.steps {
                        self.step(step, Some(block));
                        self.failures(&step.failures);
                    }
                }
                Item::Barrier(barrier) => self.barrier(barrier),
                Item::Section(_) => {}
            }
        }
    }

    fn once(&mut self, blocks: &'p [Rollback], what: &str) {
        if let [first, second, ..] = blocks {
            let (at, first) = (self.at(second.keyword), self.at(first.keyword));
            self.sink.push(checks::name_duplicate::report(at, first, "block", what));
        }
    }

    /// Steps, sections and barriers of a phase share one space of names.
    fn names_of(&mut self, items: &'p [Item]) {
        fn collect<'p>(items: &'p [Item], names: &mut Vec<&'p Name>, sections: &mut Vec<&'p Name>) {
            for item in items {
                match item {
                    Item::Step(step) => names.push(&step.name),
                    Item::Steps(parallel) => names.extend(parallel.steps.iter().map(|step| &step.name)),
                    Item::Barrier(barrier) => names.push(&barrier.name),
                    Item::Section(section) => {
                        sections.push(&section.name);
                        collect(&section.items, names, sections);
                    }
                }
            }
        }
        let (mut names, mut sections) = (Vec::new(), Vec::new());
        collect(items, &mut names, &mut sections);
        self.names_once(names.iter().copied(), "step");
        self.names_once(sections.iter().copied(), "section");
    }

    pub fn names_once(&mut self, names: impl Iterator<Item = &'p Name> + Clone, what: &str) {
        self.each_once(names.map(|name| (name, what)));
    }

    /// Names that share one space, each with what it is a name of.
    pub fn each_once<'w>(&mut self, names: impl Iterator<Item = (&'p Name, &'w str)> + Clone) {
        let repeated = super::repeated(names.clone().map(|(name, _)| name.text.as_str()));
        if repeated.is_empty() {
            return;
        }
        let names: Vec<_> = names.collect();
        for (first, again) in repeated {
            let ((first, _), (name, what)) = (names[first], names[again]);
            let (at, first) = (self.at(name.span), self.at(first.span));
            self.sink.push(checks::name_duplicate::report(at, first, what, &name.text));
        }
    }

    /// Names in failure rules: groups that are asked. Kinds and actions are checks of their own.
    pub fn failures(&mut self, failures: &'p [Failure]) {
        for failure in failures {
            let mut action = &failure.action;
            loop {
                use lockstep_grammar::ast::ActionKind;
                match &action.kind {
                    ActionKind::Retry { then, .. } => action = then,
                    ActionKind::Ask { group, then, .. } => {
                        checks::failure_invalid::group(self, group);
                        action = then;
                    }
                    _ => break,
                }
            }
        }
    }

    pub fn notifies(&mut self, notifies: &'p [Notify]) {
        const EVENTS: [&str; 4] = ["success", "failure", "rollback", "waiting"];
        for notify in notifies {
            for channel in &notify.channels {
                self.named(channel, &Ty::Channel, "channel");
            }
            for event in &notify.events {
                if !EVENTS.contains(&event.text.as_str()) {
                    let at = self.at(event.span);
                    self.sink.push(checks::type_not_allowed_value::word(at, "on", &event.text, &EVENTS));
                }
            }
        }
    }

    /// A single name that must be a thing of this type.
    pub fn named(&mut self, name: &'p Name, ty: &Ty, what: &str) {
        let path = crate::model::path_of(name);
        let found = if let Some(var) = self.vars.iter().rev().find(|var| var.name == name.text).cloned() {
            self.used.names.insert(var.at);
            Some(var.ty)
        } else {
            self.find(&path, what).map(|(id, _)| match &self.model.decl(id).kind {
                lockstep_grammar::ast::DeclarationKind::Channel(_) => Ty::Channel,
                lockstep_grammar::ast::DeclarationKind::Group(_) => Ty::Group,
                lockstep_grammar::ast::DeclarationKind::Secret(_) => Ty::Secret,
                _ => Ty::Environment,
            })
        };
        if let Some(found) = found
            && !found.fits(ty)
        {
            let at = self.at(name.span);
            self.sink.push(checks::type_mismatch::wrong_kind(at, &name.text, what));
        }
    }

    fn uses(&mut self, uses: &'p [Use]) {
        for it in uses {
            if let Some((id, taken)) = self.find(&it.resource, "resource") {
                let is_resource =
                    matches!(self.model.decl(id).kind, lockstep_grammar::ast::DeclarationKind::Resource(_));
                if !is_resource || taken != it.resource.names.len() {
                    let at = self.at(it.resource.span);
                    let name = self.model.program.text(self.file, it.resource.span);
                    self.sink.push(checks::type_mismatch::wrong_kind(at, name, "resource"));
                }
            }
            if let Some(record) = &it.record {
                self.use_record(record, it);
            }
        }
    }

    fn use_record(&mut self, record: &'p Record, it: &'p Use) {
        let before = self.sink.len();
        self.known_entries(record, &[("permits", Ty::Int, false)], it.resource.span, What("", "use"));
        self.at_least_one(record, "permits");
        for entry in &record.entries {
            if !matches!(entry.value.kind, ExprKind::Int(_)) && entry.name.text == "permits" {
                let at = self.at(entry.value.span);
                if self.sink[before..].iter().any(|it| it.primary == at) {
                    continue; // No number in the first place.
                }
                let found = self.model.program.text(self.file, entry.value.span);
                self.sink.push(checks::type_not_allowed_value::number_written(at, "permits", found));
            }
        }
    }
}

//! Lowering of steps, and of what undoes them.

use super::Lowerer;
use super::stage::Here;
use super::things::Held;
use super::value::{Frame, Val};
use crate::checks;
use crate::checks::satisfy::substitute;
use crate::model::{DeclId, flag};
use crate::suggest;
use crate::types::{Ty, step_timeout_default, strangers};
use compact_str::CompactString;
use lockstep_grammar::ast::{self, ExprKind, Signature};
use lockstep_plan::{Action, Expr, Fields, Role, Step, StepId, Undo, Value, ValueType, fields};

/// What a step costs beside its arguments, in the units of the budget.
const STEP: usize = 24;
/// Steps may take that long unless they say otherwise.
const STEP_TIMEOUT: u64 = 600_000;
/// What a step that lets time pass may take beside that time.
const GRACE: u64 = 60_000;

impl<'p> Lowerer<'_, 'p> {
    /// Lowers a step; a forward one together with the step that undoes it.
    pub fn step(&mut self, step: &'p ast::Step, frame: &Frame<'p>, here: &Here, role: Role) -> StepId {
        let found = self.model.find_step(frame.file, &step.path);
        if let Some((provider, _)) = found {
            self.settled_step(step, provider, here, frame);
        }
        let when = self.conditions(&step.conditions, frame);
        let scope = self.scope(("step", step.name.text.as_str()), &step.failures, frame);
        let name = here.element(&step.name.text, role == Role::Block);
        self.charge(STEP + here.weight());
        let action = self.action(step, found, frame);
        let signature = found.map(|(_, signature)| signature);
        let says = |name: &str| {
            step.arguments
                .entries
                .iter()
                .any(|entry| entry.name.text == name && matches!(entry.value.kind, ExprKind::Bool(true)))
        };
        let named = step.arguments.entries.iter().any(|entry| entry.name.text == "undone_by");
        // What can be undone was changed; a step that does not say so is reported.
        let changes = signature.is_some_and(|it| it.changes.is_some())
            || role == Role::Forward && (named || says("changes") || says("irreversible"));
        let irreversible = signature.is_some_and(|it| it.irreversible.is_some()) || says("irreversible");
        let mut scopes: Vec<_> = scope.into_iter().collect();
        if role == Role::Forward {
            scopes.extend(&here.scopes);
        }
        let id = StepId(self.plan.steps.len() as u32);
        let timeout = self.timeout(step, signature, &action, frame);
        let settings = signature.map(|it| it.settings.as_slice()).unwrap_or_default();
        let lowered = Step {
            name,
            stage: here.stage,
            phase: here.phase,
            role,
            action,
            when,
            timeout,
            changes,
            undo: if changes && irreversible { Undo::Irreversible } else { Undo::None },
            idempotent: flag(settings, "idempotent"),
            interruptible: flag(settings, "interruptible"),
            scopes,
            outputs: self.outputs(signature),
        };
        let at = frame.at(step.name.span);
        self.plan.steps.push(lowered);
        self.origins.steps.push(at);
        if role == Role::Forward
            && changes
            && !irreversible
            && here.derived
            && !named
            && let Some((provider, signature)) = found
            && let Some(undo) = &signature.undone_by
            && let Some(signature) = self.model.signature(provider, &undo.text)
        {
            self.undo(id, provider, signature, at);
        }
        id
    }

    /// The step of the derived rollback that undoes a step.
    fn undo(
        &mut self,
        of: StepId,
        provider: DeclId,
        signature: &'p Signature,
        at: crate::diagnostic::Location,
    ) {
        let infos = self.model.params(provider.file, &signature.params.items);
        let frame = Frame::of(provider.file);
        let mut arguments = Fields::new();
        for info in infos.iter().filter(|info| info.name() != "timeout") {
            // What undoes a step works with the same arguments, where it takes them.
            let given = self.plan.steps[of.index()].action.arguments.get(info.name()).cloned();
            let value = match (given, &info.param.default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) if !self.open || !self.is_quiet(default, &frame, false) => {
                    Some(self.data(default, &info.ty, &frame))
                }
                (None, _) => None,
            };
            if let Some(value) = value {
                arguments.insert(info.name().to_string(), value);
            }
        }
        let id = StepId(self.plan.steps.len() as u32);
        let forward = &self.plan.steps[of.index()];
        let undoing = Step {
            name: [&forward.name, ".undo"].concat(),
            stage: forward.stage,
            phase: forward.phase,
            role: Role::Undo(of),
            action: Action {
                provider: forward.action.provider.clone(),
                step: signature.name.text.clone(),
                arguments,
                target: forward.action.target,
                service: forward.action.service,
                files: Vec::new(),
                service_files: Vec::new(),
            },
            when: Vec::new(),
            timeout: step_timeout_default(signature).unwrap_or(STEP_TIMEOUT),
            changes: signature.changes.is_some(),
            undo: Undo::None,
            idempotent: flag(&signature.settings, "idempotent"),
            interruptible: flag(&signature.settings, "interruptible"),
            scopes: Vec::new(),
            outputs: self.outputs(Some(signature)),
        };
        self.plan.steps.push(undoing);
        self.origins.steps.push(at);
        self.plan.steps[of.index()].undo = Undo::Derived(id);
    }

    fn action(
        &mut self,
        step: &'p ast::Step,
        found: Option<(DeclId, &'p Signature)>,
        frame: &Frame<'p>,
    ) -> Action {
        let target = match &frame.infra {
            Some(Val::Target(target)) => Some(*target),
            _ => None,
        };
        let service = match &frame.service {
            Some(Val::Service(service, _)) => Some(*service),
            _ => None,
        };
        let Some((provider, signature)) = found else {
            let text = self.model.program.text(frame.file, step.path.span);
            return Action {
                provider: text.into(),
                step: CompactString::default(),
                arguments: Fields::new(),
                target,
                service,
                files: Vec::new(),
                service_files: Vec::new(),
            };
        };
        let infos = self.model.params(provider.file, &signature.params.items);
        // A plan that is made for checking holds the arguments that checks read, and those that something is to be said about.
        let held = match self.model.name(provider) {
            "wait" | "approval" => Held::All,
            _ => Held::Doubtful,
        };
        let mut arguments = self.settings_held(held, &step.arguments, &infos, frame);
        for entry in &step.arguments.entries {
            if let Some(Expr::Value(value)) = arguments.get(entry.name.text.as_str())
                && let Some(info) = infos.iter().find(|info| info.name() == entry.name.text)
            {
                self.sink.extend(checks::type_not_allowed_value::share(
                    frame.at(entry.value.span),
                    value,
                    info,
                ));
            }
        }
        arguments.remove("timeout");
        self.program(provider);
        let files = self.files(provider, &step.arguments, frame);
        let service_files = self.service_files(provider, frame);
        Action {
            provider: self.model.name(provider).into(),
            step: signature.name.text.clone(),
            arguments,
            target,
            service,
            files,
            service_files,
        }
    }

    /// A time that has to be known before the run. Where it depends on a parameter that is still open, its default counts.
    pub fn duration(&mut self, expr: &'p ast::Expr, frame: &Frame<'p>) -> Option<u64> {
        let Val::Data(mut value) = self.eval(expr, &Ty::Duration, frame) else { return None };
        let mut runs = false;
        value.walk(&mut |part| runs |= matches!(part, Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_)));
        if runs {
            self.sink.push(checks::type_not_allowed_value::timeout(frame.at(expr.span)));
        }
        if value.as_value().is_none() {
            for (name, default) in &self.loops {
                value = substitute(&value, name, default);
            }
            value = value.fold().ok()?;
        }
        match value.as_value() {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    fn timeout(
        &mut self,
        step: &'p ast::Step,
        signature: Option<&'p Signature>,
        action: &Action,
        frame: &Frame<'p>,
    ) -> u64 {
        let entry = step.arguments.entries.iter().find(|entry| entry.name.text == "timeout");
        if let Some(timeout) = entry.and_then(|entry| self.duration(&entry.value, frame)) {
            return timeout;
        }
        // One of another type is an error, and not the default.
        let names = signature.into_iter().flat_map(|signature| strangers(step, signature));
        if entry.is_some_and(|entry| matches!(entry.value.kind, ExprKind::Text(_) | ExprKind::Int(_)))
            || entry.is_none() && suggest::slipped("timeout", names)
        {
            return 0;
        }
        let lasts = match (action.provider.as_str(), action.step.as_str()) {
            ("wait", "wait") => action.arguments.get("duration"),
            ("approval", "approval") => action.arguments.get("within"),
            _ => None,
        };
        if let Some(Value::Duration(lasts)) = lasts.and_then(Expr::as_value) {
            return lasts.saturating_add(GRACE);
        }
        signature.and_then(step_timeout_default).unwrap_or(STEP_TIMEOUT)
    }
}

impl Lowerer<'_, '_> {
    /// What a step gives; checks do not ask.
    fn outputs(&self, signature: Option<&Signature>) -> Fields<ValueType> {
        let given = signature.and_then(|it| it.outputs.as_ref()).filter(|_| !self.open);
        let given = given.map(|given| given.items.as_slice()).unwrap_or_default();
        let typed =
            |field: &ast::Param| (field.name.text.as_str().to_owned(), value_type(&field.ty.name.text));
        fields(given.iter().map(typed))
    }
}

fn value_type(name: &str) -> ValueType {
    match name {
        "int" => ValueType::Int,
        "bool" => ValueType::Bool,
        "percent" => ValueType::Percent,
        "duration" => ValueType::Duration,
        "path" => ValueType::Path,
        "list" => ValueType::List,
        "map" => ValueType::Map,
        _ => ValueType::Text,
    }
}

//! The types of steps and what every step takes beside its own parameters.

use super::Ty;
use super::expr::{Typer, What};
use crate::checks;
use crate::model::{self, DeclId};
use crate::program::FileId;
use crate::suggest;
use lockstep_grammar::ast::{Condition, Entry, ExprKind, Item, Record, Rollback, Signature, Span, Step};
use std::slice;

/// Entries that every step takes, `timeout` first.
pub const COMMON: [&str; 4] = ["timeout", "changes", "undone_by", "irreversible"];

/// The names of a step's entries that neither every step takes nor this one.
pub fn strangers<'s>(step: &'s Step, signature: &'s Signature) -> impl Iterator<Item = &'s str> + Clone {
    let names = step.arguments.entries.iter().map(|entry| entry.name.text.as_str());
    let is_param = |name: &str| signature.params.items.iter().any(|info| info.name.text == name);
    names.filter(move |name| !COMMON.contains(name) && !is_param(name))
}

/// The default timeout that a signature declares, in milliseconds.
pub fn step_timeout_default(signature: &Signature) -> Option<u64> {
    let param = signature.params.items.iter().find(|param| param.name.text == "timeout")?;
    match param.default.as_ref()?.kind {
        ExprKind::Duration(milliseconds) => Some(milliseconds),
        _ => None,
    }
}

impl<'p> Typer<'_, 'p> {
    pub fn conditions(&mut self, conditions: &'p [Condition]) {
        for condition in conditions {
            self.expect(&condition.value, &Ty::Bool, &None);
        }
    }

    /// A step in a phase, or in the rollback block that is given.
    pub fn step(&mut self, step: &'p Step, rollback: Option<&'p Rollback>) {
        self.conditions(&step.conditions);
        let module = self.module();
        let head = &step.path.names[0].text;
        if self.model.names(module).imports.contains_key(head) {
            self.used.imports.insert((module, head.to_string()));
        }
        let Some((provider, signature)) = self.model.find_step(self.file, &step.path) else {
            self.unknown_step(step);
            for entry in &step.arguments.entries {
                if !COMMON.contains(&entry.name.text.as_str()) {
                    self.infer(&entry.value);
                }
            }
            return;
        };
        let place = if rollback.is_some() { "rollback" } else { "forward" };
        let places = model::words(&signature.settings, "place");
        if !places.is_empty() && !places.contains(&place) {
            let at = self.at(step.path.span);
            self.sink.push(checks::step_place::report(at, &signature.name.text, &places));
        }
        checks::step_provider::step(self, step, provider);
        let before = self.sink.len();
        let infos = self.model.params(provider.file, &signature.params.items);
        let what = What("step", self.model.program.text(self.file, step.path.span));
        // A signature may declare the timeout itself, to give it another default.
        let others = match infos.iter().any(|info| info.name() == "timeout") {
            true => &COMMON[1..],
            false => &COMMON,
        };
        self.called = Some((provider.file, signature.params.span));
        let unknown = self.record(&step.arguments, &infos, step.path.span, what, others);
        for entry in &step.arguments.entries {
            if let Some(info) = infos.iter().find(|info| info.name() == entry.name.text)
                && *info.ty.required() == Ty::Percent
                && let Some(value) = checks::type_not_allowed_value::constant(&entry.value)
            {
                let at = self.at(entry.value.span);
                self.sink.extend(checks::type_not_allowed_value::share(at, &value, info));
            }
        }
        self.one_of((provider.file, signature), &step.arguments, step.path.span, what, &unknown);
        checks::shell_injection::step(self, step, before);
        self.template_files(provider, &step.arguments);
        self.common(step, signature, rollback, others, &unknown);
    }

    fn unknown_step(&mut self, step: &'p Step) {
        let module = self.module();
        let at = self.at(step.path.span);
        let text = self.model.program.text(self.file, step.path.span);
        let diagnostic = match self.model.find_provider(module, &step.path) {
            // The step may be what was not understood.
            Some(found) if self.model.is_broken(found.decl) || self.goes_on(&step.path) => return,
            Some(found) => {
                let provider = self.model.name(found.decl);
                let signatures = self.model.as_provider(found.decl).map(|it| it.steps.as_slice());
                let known = signatures.unwrap_or_default().iter().map(|it| it.name.text.as_str());
                match step.path.names.get(found.taken) {
                    Some(name) => {
                        let at = self.at(name.span);
                        let known = self.model.candidates(known);
                        checks::name_unknown::member(at, provider, &name.text, known)
                    }
                    None => checks::name_unknown::step_of(at, provider, known),
                }
            }
            None if self.model.is_of_unreadable(module, text) => return,
            None => {
                let known = self.model.provider_names(module);
                checks::name_unknown::report(at, "step", text, known)
            }
        };
        self.sink.push(diagnostic);
    }

    /// Exactly one of the parameters that `one_of` lists. Entries that are `unknown` may have been meant for one.
    pub fn one_of(
        &mut self,
        (declared, signature): (FileId, &'p Signature),
        record: &'p Record,
        owner: Span,
        what: What<'_>,
        unknown: &[&str],
    ) {
        let choices = model::words(&signature.settings, "one_of");
        if choices.is_empty() {
            return;
        }
        let given: Vec<_> =
            record.entries.iter().filter(|entry| choices.contains(&entry.name.text.as_str())).collect();
        let is_param = |name: &str| signature.params.items.iter().any(|param| param.name.text == name);
        let slipped = || choices.iter().any(|choice| suggest::slipped(choice, unknown.iter().copied()));
        match given.as_slice() {
            [] if self.model.program.is_damaged(self.file, record.span) || slipped() => {}
            // One that is none has been reported where it is listed.
            [] if choices.iter().any(|choice| !is_param(choice)) => {}
            [] if self.model.program.is_damaged(declared, signature.span) => {}
            [] => {
                let at = self.at(owner);
                self.sink.push(checks::type_argument_missing::one_of(at, &what.to_string(), &choices));
            }
            // Twice the same is said of any name.
            [first, others @ ..] if others.iter().all(|other| other.name.text == first.name.text) => {}
            [first, second, ..] => {
                let (at, first_at) = (self.at(second.name.span), self.at(first.name.span));
                self.sink.push(checks::type_argument_unknown::one_of(
                    at,
                    &second.name.text,
                    first_at,
                    &first.name.text,
                ));
            }
            [_] => {}
        }
    }

    fn common(
        &mut self,
        step: &'p Step,
        signature: &'p Signature,
        rollback: Option<&'p Rollback>,
        others: &[&str],
        unknown: &[&str],
    ) {
        let given = |name: &str| step.arguments.entries.iter().find(|entry| entry.name.text == name);
        let says = |name: &str| given(name).filter(|entry| matches!(entry.value.kind, ExprKind::Bool(true)));
        let slipped = || suggest::slipped("changes", unknown.iter().copied());
        let denied = |entry: &Entry| matches!(entry.value.kind, ExprKind::Bool(false));
        // What is not understood of it, or no truth value, is reported as that.
        let changes = signature.changes.is_some()
            || given("changes").is_some_and(|entry| !denied(entry))
            || slipped()
            || self.lost_in(step.arguments.span)("changes");
        for entry in &step.arguments.entries {
            let name = entry.name.text.as_str();
            if !others.contains(&name) {
                continue;
            }
            let at = self.at(entry.name.span);
            if rollback.is_some() && name != "timeout" {
                let what = "a step of a rollback block";
                self.sink.push(checks::type_argument_unknown::report(at, what, name, []));
                continue;
            }
            match name {
                "timeout" => self.expect(&entry.value, &Ty::Duration, &None),
                // Which step it names is the workflow's matter.
                "undone_by" if !changes => self.sink.push(checks::type_argument_missing::changes(at, name)),
                "undone_by" => {
                    if let Some(other) = says("irreversible") {
                        let (at, first) =
                            (at.max(self.at(other.name.span)), at.min(self.at(other.name.span)));
                        let (later, earlier) = if at.span == other.name.span {
                            ("irreversible", name)
                        } else {
                            (name, "irreversible")
                        };
                        self.sink.push(checks::type_argument_unknown::one_of(at, later, first, earlier));
                    }
                }
                "irreversible" if !changes && says(name).is_some() => {
                    self.sink.push(checks::type_argument_missing::changes(at, name));
                }
                "changes"
                    if signature.changes.is_some() && matches!(entry.value.kind, ExprKind::Bool(false)) =>
                {
                    let at = self.at(entry.value.span);
                    let step = self.model.program.text(self.file, step.path.span);
                    self.sink.push(checks::type_not_allowed_value::changes(at, step));
                }
                _ => {
                    if !matches!(entry.value.kind, ExprKind::Bool(_)) {
                        let at = self.at(entry.value.span);
                        self.sink.push(checks::type_not_allowed_value::word(
                            at,
                            name,
                            self.model.program.text(self.file, entry.value.span),
                            &["true", "false"],
                        ));
                    }
                }
            }
        }
    }

    /// `undone_by = NAME` names a step of one of these rollback blocks.
    pub fn undone_by(&mut self, step: &'p Step, blocks: &[&'p Rollback]) {
        let Some(entry) = step.arguments.entries.iter().find(|entry| entry.name.text == "undone_by") else {
            return;
        };
        let known: Vec<&str> = blocks
            .iter()
            .flat_map(|block| steps_of(&block.items))
            .map(|step| step.name.text.as_str())
            .collect();
        let at = self.at(entry.value.span);
        match &entry.value.kind {
            ExprKind::Path(path) if path.names.len() == 1 => {
                let name = path.names[0].text.as_str();
                if !known.contains(&name) {
                    self.sink.push(checks::name_unknown::rollback_step(at, name, known));
                }
            }
            _ => {
                let found = self.model.program.text(self.file, entry.value.span);
                self.sink.push(checks::type_not_allowed_value::word(at, "undone_by", found, &known));
            }
        }
    }
}

/// Every step among these items, those of sections and parallel blocks included, in order.
pub fn steps_of(items: &[Item]) -> Steps<'_> {
    Steps { items: items.iter(), parallel: [].iter(), around: Vec::new() }
}

/// See [`steps_of`].
#[derive(Debug, Clone)]
pub struct Steps<'p> {
    items: slice::Iter<'p, Item>,
    /// What is left of a parallel block.
    parallel: slice::Iter<'p, Step>,
    /// What follows the sections that the items are in, outermost first.
    around: Vec<slice::Iter<'p, Item>>,
}

impl<'p> Iterator for Steps<'p> {
    type Item = &'p Step;

    fn next(&mut self) -> Option<&'p Step> {
        loop {
            if let Some(step) = self.parallel.next() {
                return Some(step);
            }
            match self.items.next() {
                Some(Item::Step(step)) => return Some(step),
                Some(Item::Steps(parallel)) => self.parallel = parallel.steps.iter(),
                Some(Item::Section(section)) => {
                    self.around.push(std::mem::replace(&mut self.items, section.items.iter()));
                }
                Some(Item::Barrier(_)) => {}
                None => self.items = self.around.pop()?,
            }
        }
    }
}

/// Whether a phase works on that provider's services and targets.
pub fn allows(provider: DeclId, ty: &Ty) -> bool {
    match ty {
        Ty::Service(service) => service.providers.is_empty() || service.providers.contains(&provider),
        Ty::Infra(infra) => infra.providers.is_empty() || infra.providers.contains(&provider),
        _ => true,
    }
}

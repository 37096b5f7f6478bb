//! The types of declarations: services, environments, sources, groups, resources and providers.

use super::expr::{Because, Typer, Used, begins_with};
use super::{ParamInfo, Ty, What};
use crate::checks;
use crate::diagnostic::Diagnostic;
use crate::model::{DeclId, Model, PROVIDER_SETTINGS, names_after, names_before_colon};
use crate::program::ModuleId;
use crate::suggest;
use lockstep_grammar::ast::{
    Construct, Declaration, DeclarationKind, Environment, Expr, ExprKind, Params, Path, Provider, Record,
    Setting, Type,
};
use lockstep_plan::Value;
use std::rc::Rc;

/// Checks names and types in every declaration of a module.
pub fn check_declarations(model: &Model<'_>, module: ModuleId, sink: &mut Vec<Diagnostic>) -> Used {
    let mut used = Used::default();
    for id in model.declarations_of(module) {
        check_declaration(model, id, sink, &mut used);
    }
    used
}

/// Checks names and types in one declaration.
pub fn check_declaration(model: &Model<'_>, id: DeclId, sink: &mut Vec<Diagnostic>, used: &mut Used) {
    let declaration = model.decl(id);
    let mut typer = Typer::new(model, id.file, sink, used);
    if model.program.is_damaged(id.file, declaration.span) {
        let text = model.program.text(id.file, declaration.span);
        typer.lost.extend(names_after(text, &["step", "for"]));
        typer.lost.extend(names_before_colon(text));
        // `rollout = shell { … }`, and `step = shell { … }`, which may be any.
        for line in text.lines().map(str::trim_start).filter(|line| line.contains('{')) {
            match line.split_once('=') {
                Some(("step " | "step", _)) => typer.any_lost = true,
                Some((name, _)) => typer.lost.extend([name.trim_end()]),
                None => {}
            }
        }
        // A parameter without its type.
        let params = match &declaration.kind {
            DeclarationKind::Service { params, .. } => Some(params),
            DeclarationKind::Workflow(workflow) => Some(&workflow.params),
            DeclarationKind::Pipeline(pipeline) => Some(&pipeline.params),
            _ => None,
        };
        if let Some(params) = params.filter(|params| model.program.is_damaged(id.file, params.span)) {
            typer.params_damaged = true;
            let text = model.program.text(id.file, params.span);
            typer.lost.extend(text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')));
            typer.any_lost |= begins_with(text, ':');
        }
    }
    match &declaration.kind {
        DeclarationKind::Service { params, value } => typer.service(id, params, value),
        DeclarationKind::Environment(environment) => typer.environment(declaration, environment),
        DeclarationKind::Secret(value) => typer.source(value, "secret", "secret source"),
        DeclarationKind::Channel(value) => typer.source(value, "channel", "channel kind"),
        DeclarationKind::Group(record) => {
            typer.settings_record(declaration, record, &[("members", Ty::List(Rc::new(Ty::String)), true)]);
        }
        DeclarationKind::Resource(record) => {
            typer.settings_record(declaration, record, &[("capacity", Ty::Int, true)]);
            typer.at_least_one(record, "capacity");
        }
        DeclarationKind::Workflow(workflow) => typer.workflow(declaration, workflow),
        DeclarationKind::Pipeline(pipeline) => typer.pipeline(pipeline),
        DeclarationKind::Provider(provider) => typer.provider(declaration, provider),
    }
}

impl<'p> Typer<'_, 'p> {
    /// The provider that a construct is an instance of.
    fn constructor(&mut self, path: &'p Path, what: &str, of_infrastructure: bool) -> Option<DeclId> {
        let module = self.module();
        let head = &path.names[0].text;
        if self.model.names(module).imports.contains_key(head) {
            self.used.imports.insert((module, head.to_string()));
        }
        let found = self.model.find_provider(module, path).filter(|found| found.taken == path.names.len());
        let known = || {
            self.model
                .provider_names(module)
                .into_iter()
                .filter(|name| {
                    let id = self.model.provider_named(module, name);
                    id.is_some_and(|id| self.model.is_deployment_type(id))
                })
                .collect::<Vec<_>>()
        };
        let at = self.at(path.span);
        let Some(found) = found else {
            let text = self.model.program.text(self.file, path.span);
            if self.model.is_of_unreadable(module, text) {
                return None;
            }
            let diagnostic = checks::name_unknown::report(at, "deployment type", text, known());
            self.sink.push(diagnostic);
            return None;
        };
        let provider = self.model.as_provider(found.decl)?;
        let fine =
            if of_infrastructure { provider.infrastructure.is_some() } else { provider.service.is_some() };
        if !fine && !(self.model.is_deployment_type(found.decl)) {
            // What makes it one may be what was not understood.
            if self.model.is_broken(found.decl) {
                return None;
            }
            let diagnostic = checks::type_mismatch::not_a_deployment_type(at, what, head, &known());
            self.sink.push(diagnostic);
            return None;
        }
        Some(found.decl)
    }

    fn service(&mut self, own: DeclId, params: &'p Params, value: &'p Construct) {
        self.declare_params(&params.items);
        let Some(id) = self.constructor(&value.path, "service", false) else {
            for entry in &value.record.entries {
                match &entry.value.kind {
                    ExprKind::Construct(artifact) if entry.name.text == "artifact" => {
                        self.infer_entries_quietly(&artifact.record);
                    }
                    _ => drop(self.infer_quietly(&entry.value)),
                }
            }
            return;
        };
        let infos = self.fields_of(id, false);
        let what = What("service", self.model.name(own));
        let unknown = self.record(&value.record, &infos, value.path.span, what, &["artifact"]);
        self.artifact(id, value, what, &unknown);
        self.service_files(own, id, &value.record);
    }

    /// The artifact that a service of that provider is made of.
    fn artifact(&mut self, id: DeclId, value: &'p Construct, what: What<'_>, unknown: &[&str]) {
        let accepted = self.model.artifacts_of(id);
        let Some(entry) = value.record.entries.iter().find(|entry| entry.name.text == "artifact") else {
            // `image = …` is meant to be one.
            let fields = accepted.iter().filter_map(|name| self.model.artifact(name));
            let mut fields = fields.flat_map(|artifact| &artifact.fields.items);
            let slipped = suggest::slipped("artifact", unknown.iter().copied())
                || fields.any(|field| unknown.contains(&field.name.text.as_str()));
            if !accepted.is_empty() && !slipped && !self.lost_in(value.record.span)("artifact") {
                let at = self.at(value.path.span);
                self.sink.push(checks::type_argument_missing::artifact(at, &what.to_string(), &accepted));
            }
            return;
        };
        let construct = match &entry.value.kind {
            ExprKind::Construct(construct) => construct,
            ExprKind::Path(path) => {
                let at = self.at(path.span);
                self.sink.push(checks::type_mismatch::artifact(at, &accepted));
                return;
            }
            _ => {
                let at = self.at(entry.value.span);
                self.sink.push(checks::type_mismatch::artifact(at, &accepted));
                self.infer_quietly(&entry.value);
                return;
            }
        };
        let name = construct.path.names[0].text.as_str();
        let at = self.at(construct.path.span);
        let Some(artifact) = self.model.artifact(name).filter(|_| construct.path.names.len() == 1) else {
            self.sink.push(checks::name_unknown::report(at, "artifact type", name, accepted));
            self.infer_entries_quietly(&construct.record);
            return;
        };
        // A type that there is none of, or a setting, has been reported there, and may be this one.
        let is_clear =
            self.model.has_clear_settings(id) && accepted.iter().all(|it| self.model.artifact(it).is_some());
        if is_clear && !accepted.contains(&name) {
            let provider = self.at(value.path.span);
            let diagnostic =
                checks::template_artifact_type::not_taken(at, name, provider, self.model.name(id), &accepted);
            self.sink.push(diagnostic);
        }
        let infos = self.model.params(id.file, &artifact.fields.items);
        self.record(&construct.record, &infos, construct.path.span, What("artifact type", name), &[]);
    }

    /// The fields that a provider's services or targets have.
    pub fn fields_of(&self, id: DeclId, of_infrastructure: bool) -> Rc<[ParamInfo<'p>]> {
        let Some(provider) = self.model.as_provider(id) else { return Rc::default() };
        let fields = if of_infrastructure { &provider.infrastructure } else { &provider.service };
        let items = fields.as_ref().map(|fields| fields.items.as_slice()).unwrap_or_default();
        self.model.params(id.file, items)
    }

    fn environment(&mut self, declaration: &'p Declaration, environment: &'p Environment) {
        const SETTINGS: [&str; 5] = ["kind", "may_run", "may_rollback", "may_abort", "may_answer"];
        self.settings_once(&environment.settings);
        for setting in &environment.settings {
            match setting.name.text.as_str() {
                "kind" => self.word(setting, &["production", "non_production"]),
                name if SETTINGS.contains(&name) => {
                    self.expect(&setting.value, &Ty::List(Rc::new(Ty::Group)), &None);
                }
                name => {
                    let what = format!("environment `{}`", declaration.name.text);
                    let at = self.at(setting.name.span);
                    self.sink.push(checks::type_argument_unknown::report(at, &what, name, SETTINGS));
                    self.infer_quietly(&setting.value);
                }
            }
        }
        self.names_once(environment.infrastructure.iter().map(|it| &it.name), "infrastructure");
        for infrastructure in &environment.infrastructure {
            let name = &infrastructure.name;
            let value = &infrastructure.value;
            let Some(id) = self.constructor(&value.path, "infrastructure", true) else {
                for entry in &value.record.entries {
                    self.infer_quietly(&entry.value);
                }
                continue;
            };
            let infos = self.fields_of(id, true);
            self.record(&value.record, &infos, value.path.span, What("infrastructure", &name.text), &[]);
        }
    }

    /// A setting that takes one of a few words.
    pub fn word(&mut self, setting: &'p Setting, allowed: &[&str]) {
        let at = self.at(setting.value.span);
        match &setting.value.kind {
            ExprKind::Path(path) if path.names.len() == 1 => {
                let word = path.names[0].text.as_str();
                if !allowed.contains(&word) {
                    self.sink.push(checks::type_not_allowed_value::word(
                        at,
                        &setting.name.text,
                        word,
                        allowed,
                    ));
                }
            }
            _ => {
                let found = self.model.program.text(self.file, setting.value.span);
                self.sink.push(checks::type_not_allowed_value::word(at, &setting.name.text, found, allowed));
            }
        }
    }

    pub fn settings_once(&mut self, settings: &[Setting]) {
        for (first, again) in super::repeated(settings.iter().map(|setting| setting.name.text.as_str())) {
            let (first, again) = (&settings[first].name, &settings[again].name);
            let diagnostic = checks::name_duplicate::report(
                self.at(again.span),
                self.at(first.span),
                "setting",
                &again.text,
            );
            self.sink.push(diagnostic);
        }
    }

    /// `secret NAME = env { … }`, `channel NAME = slack { … }`
    fn source(&mut self, value: &'p Construct, family: &str, what: &str) {
        let signatures = self.model.provider_named(crate::program::ModuleId::PRELUDE, family);
        let provider = signatures.and_then(|id| self.model.as_provider(id));
        let name = value.path.names[0].text.as_str();
        let steps = provider.map(|provider| provider.steps.as_slice()).unwrap_or_default();
        let found = steps.iter().find(|signature| signature.name.text == name && value.path.names.len() == 1);
        let (Some(signature), Some(id)) = (found, signatures) else {
            let at = self.at(value.path.span);
            let known = steps.iter().map(|signature| signature.name.text.as_str());
            self.sink.push(checks::name_unknown::report(at, what, name, known));
            return;
        };
        let infos = self.model.params(id.file, &signature.params.items);
        let unknown = self.record(&value.record, &infos, value.path.span, What("", name), &[]);
        self.one_of((id.file, signature), &value.record, value.path.span, What("", name), &unknown);
    }

    /// Settings that the language itself knows: name, type, and whether it must be given.
    pub fn settings_record(
        &mut self,
        declaration: &Declaration,
        record: &'p Record,
        settings: &[(&'static str, Ty, bool)],
    ) {
        let owner = declaration.name.span;
        self.known_entries(record, settings, owner, What("", &declaration.name.text));
    }

    /// A setting that counts things: a literal `0` is none.
    pub fn at_least_one(&mut self, record: &'p Record, name: &str) {
        for entry in record.entries.iter().filter(|entry| entry.name.text == name) {
            if checks::type_not_allowed_value::constant(&entry.value) == Some(Value::Int(0)) {
                let at = self.at(entry.value.span);
                self.sink.push(checks::type_not_allowed_value::none(at, name));
            }
        }
    }

    pub fn known_entries(
        &mut self,
        record: &'p Record,
        settings: &[(&'static str, Ty, bool)],
        owner: lockstep_grammar::ast::Span,
        what: What<'_>,
    ) {
        self.keys_once(record);
        let mut strange: Vec<(&'p lockstep_grammar::ast::Name, Ty)> = Vec::new();
        for entry in &record.entries {
            match settings.iter().find(|(name, _, _)| entry.name.text == *name) {
                Some((_, ty, _)) => self.expect(&entry.value, ty, &Because::None),
                None => strange.push((&entry.name, self.infer_quietly(&entry.value))),
            }
        }
        let unknown: Vec<&str> = strange.iter().map(|(name, _)| name.text.as_str()).collect();
        let mut missing: Vec<&(&str, Ty, bool)> = settings
            .iter()
            .filter(|(name, _, needed)| {
                *needed && !record.entries.iter().any(|entry| entry.name.text == *name)
            })
            .filter(|(name, ..)| !suggest::slipped(name, unknown.iter().copied()))
            .collect();
        for (name, ty) in &strange {
            let known = || settings.iter().map(|(name, _, _)| *name);
            let at = self.at(name.span);
            let is_open = !checks::type_argument_unknown::is_explained(&name.text, known());
            let meant = missing.iter().position(|(_, wanted, _)| is_open && ty.fits(wanted));
            let report = checks::type_argument_unknown::report(at, &what.to_string(), &name.text, known());
            self.sink.push(match meant.map(|index| missing.remove(index)) {
                Some((name, ..)) => checks::type_argument_unknown::renamed(report, name),
                None => report,
            });
        }
        let missing = missing.into_iter().map(|(name, ..)| *name);
        let may_be_lost = self.lost_in(record.span);
        let missing: Vec<&str> = missing.filter(|name| !may_be_lost(name)).collect();
        if !missing.is_empty() {
            let at = self.at(owner);
            self.sink.push(checks::type_argument_missing::settings(at, &what.to_string(), &missing));
        }
    }

    fn provider(&mut self, declaration: &'p Declaration, provider: &'p Provider) {
        self.settings_once(&provider.settings);
        for setting in &provider.settings {
            let name = setting.name.text.as_str();
            match name {
                "program" => self.expect(&setting.value, &Ty::String, &None),
                "artifacts" | "strategies" | "identity" | "templates" => {
                    self.word_list(setting, provider);
                }
                _ => {
                    let at = self.at(setting.name.span);
                    let what = format!("provider `{}`", declaration.name.text);
                    self.sink.push(checks::type_argument_unknown::report(at, &what, name, PROVIDER_SETTINGS));
                }
            }
        }
        // Of what comes with the language the program is this one.
        let is_own = self.module() != ModuleId::PRELUDE && !provider.steps.is_empty();
        let names = || provider.settings.iter().map(|setting| setting.name.text.as_str());
        let is_told = names().any(|name| name == "program") || suggest::slipped("program", names());
        if is_own && !is_told && !self.model.program.is_damaged(self.file, declaration.span) {
            let at = self.at(declaration.name.span);
            let what = format!("provider `{}`", declaration.name.text);
            let report = checks::type_argument_missing::settings(at, &what, &["program"]);
            let help = "write `program = \"./PROGRAM\"`: it is what carries the steps out";
            self.sink.push(report.label("nothing carries its steps out").help(help));
        }
        let groups = [&provider.service, &provider.infrastructure]
            .into_iter()
            .flatten()
            .map(|fields| fields.items.as_slice())
            .chain(provider.artifacts.iter().map(|artifact| artifact.fields.items.as_slice()));
        for items in groups {
            self.declare_params(items);
            self.vars.clear();
        }
        self.names_once(provider.steps.iter().map(|signature| &signature.name), "step");
        for signature in &provider.steps {
            self.declare_params(&signature.params.items);
            self.vars.clear();
            if let Some(outputs) = &signature.outputs {
                self.declare_params(&outputs.items);
                self.vars.clear();
            }
            if let Some(undo) = &signature.undone_by
                && !provider.steps.iter().any(|it| it.name.text == undo.text)
            {
                let at = self.at(undo.span);
                let known = provider.steps.iter().map(|it| it.name.text.as_str());
                self.sink.push(checks::name_unknown::report(at, "step", &undo.text, known));
            }
            self.signature_settings(signature);
        }
    }

    fn signature_settings(&mut self, signature: &'p lockstep_grammar::ast::Signature) {
        const SETTINGS: [&str; 4] = ["one_of", "place", "idempotent", "interruptible"];
        for setting in &signature.settings {
            let at = self.at(setting.name.span);
            match setting.name.text.as_str() {
                "idempotent" | "interruptible" => self.expect(&setting.value, &Ty::Bool, &None),
                "one_of" => {
                    let known: Vec<&str> =
                        signature.params.items.iter().map(|param| param.name.text.as_str()).collect();
                    self.words_among(setting, &known);
                }
                "place" => self.words_among(setting, &["forward", "rollback"]),
                name => {
                    let what = format!("step `{}`", signature.name.text);
                    self.sink.push(checks::type_argument_unknown::report(at, &what, name, SETTINGS));
                }
            }
        }
    }

    fn word_list(&mut self, setting: &'p Setting, provider: &'p Provider) {
        let known: Vec<&str> = match setting.name.text.as_str() {
            "strategies" => super::workflow::STRATEGIES.to_vec(),
            "identity" => {
                let fields = provider.infrastructure.as_ref().map(|fields| fields.items.as_slice());
                fields.unwrap_or_default().iter().map(|field| field.name.text.as_str()).collect()
            }
            "templates" => {
                let fields = provider.service.iter().flat_map(|fields| &fields.items);
                let params = provider.steps.iter().flat_map(|step| &step.params.items);
                let is_path = |ty: &Type| ty.name.text == "path";
                fields
                    .chain(params)
                    .filter(|it| is_path(&it.ty) || it.ty.arguments.iter().flatten().any(is_path))
                    .map(|it| it.name.text.as_str())
                    .collect()
            }
            _ => return self.artifact_list(setting),
        };
        self.words_among(setting, &known);
    }

    /// The artifact types that a provider takes: those that there are.
    fn artifact_list(&mut self, setting: &'p Setting) {
        let model = self.model;
        for item in items_of(&setting.value) {
            let at = self.at(item.span);
            let known = || model.candidates(model.artifact_names());
            match &item.kind {
                ExprKind::Path(path) if path.names.len() == 1 => {
                    let word = path.names[0].text.as_str();
                    if model.artifact(word).is_none() {
                        self.sink.push(checks::name_unknown::report(at, "artifact type", word, known()));
                    }
                }
                _ => {
                    let found = model.program.text(self.file, item.span);
                    let name = &setting.name.text;
                    self.sink.push(checks::type_not_allowed_value::word(at, name, found, &known()));
                }
            }
        }
    }

    fn words_among(&mut self, setting: &'p Setting, known: &[&str]) {
        for item in items_of(&setting.value) {
            let at = self.at(item.span);
            match &item.kind {
                ExprKind::Path(path) if known.contains(&path.names[0].text.as_str()) => {}
                _ => {
                    let found = self.model.program.text(self.file, item.span);
                    self.sink.push(checks::type_not_allowed_value::word(
                        at,
                        &setting.name.text,
                        found,
                        known,
                    ));
                }
            }
        }
    }
}

/// The items of a list; what is none stands for itself.
fn items_of(value: &Expr) -> &[Expr] {
    match &value.kind {
        ExprKind::List(items) => items,
        _ => std::slice::from_ref(value),
    }
}

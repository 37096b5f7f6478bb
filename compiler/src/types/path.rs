//! What paths mean: parameters, declarations, fields, facts of the run, outputs of steps.

use super::expr::Typer;
use super::implies::implies;
use super::scope::StepInfo;
use super::{InfraTy, ServiceTy, Ty, What};
use crate::checks;
use crate::diagnostic::Location;
use crate::model::{DeclId, Lost, Model};
use crate::program::ModuleId;
use crate::suggest;
use lockstep_grammar::ast::{DeclarationKind, Environment, ExprKind, Name, Path, Record, Span};
use std::collections::BTreeSet;
use std::rc::Rc;

impl<'p> Typer<'_, 'p> {
    /// `production.*`
    pub(super) fn star(&mut self, path: &'p Path) -> Ty {
        if let Some(var) = self.variable(path) {
            let ty = self.fields(var.1, &path.names[1..], path);
            return match ty {
                Ty::Environment | Ty::Error => Ty::List(Rc::new(Ty::Infra(Rc::default()))),
                other => {
                    let at = self.at(path.span);
                    let found = other.show(self.model);
                    self.sink.push(checks::type_mismatch::report(at, "environment", &found, &None));
                    Ty::Error
                }
            };
        }
        let Some(found) = self.find(path, "environment") else { return Ty::Error };
        let environment = self.model.as_environment(found.0).filter(|_| found.1 == path.names.len());
        let Some(environment) = environment else {
            let at = self.at(path.span);
            let found = match found.1 < path.names.len() {
                true => "something else",
                false => kind_name(&self.model.decl(found.0).kind),
            };
            self.sink.push(checks::type_mismatch::report(at, "environment", found, &None));
            return Ty::Error;
        };
        // Of what there is none of nothing can be said.
        if self.model.is_broken(found.0) || environment.infrastructure.is_empty() {
            return Ty::List(Rc::new(Ty::Error));
        }
        let module = self.model.module(found.0.file);
        let mut providers: Vec<DeclId> = Vec::new();
        for infrastructure in &environment.infrastructure {
            if let Some(found) = self.model.find_provider(module, &infrastructure.value.path)
                && !providers.contains(&found.decl)
            {
                providers.push(found.decl);
            }
        }
        Ty::List(Rc::new(Ty::Infra(Rc::new(InfraTy { providers }))))
    }

    pub(super) fn variable(&mut self, path: &Path) -> Option<(Location, Ty)> {
        let head = path.names[0].text.as_str();
        let var = self.vars.iter().rev().find(|var| var.name == head)?;
        self.used.names.insert(var.at);
        Some((var.at, var.ty.clone()))
    }

    /// The declaration at the start of a path and how many names it takes; reports a path that leads nowhere.
    pub fn find(&mut self, path: &Path, what: &str) -> Option<(DeclId, usize)> {
        let module = self.module();
        let head = &path.names[0];
        if self.model.names(module).imports.contains_key(&head.text)
            && self.model.names(module).get(&head.text).is_none()
        {
            self.used.imports.insert((module, head.text.to_string()));
        }
        match self.model.find(module, path) {
            // A name that is an import's, too: which of the two is meant cannot be told, and is reported there.
            Ok(found)
                if found.taken < path.names.len()
                    && self.model.names(module).imports.contains_key(&head.text)
                    && self.model.names(module).get(&head.text).is_some() =>
            {
                None
            }
            Ok(found) => Some((found.decl, found.taken)),
            Err(Lost { known_cause: true, .. }) => None,
            Err(lost) => {
                let name = path.names.get(lost.at).unwrap_or(&path.names[0]);
                let imported = lost.at == 0 && path.names.len() > 1 && self.model.names(module).nameless;
                if imported || self.goes_on(path) || self.may_be_lost(lost.module, &name.text) {
                    return None;
                }
                // Where one kind of thing is asked for, others would not help.
                let any = !KINDS.contains(&what);
                let others = (lost.at == 0).then(|| {
                    let vars = self.vars.iter().filter(move |var| any || is_kind(&var.ty, what));
                    let imports = self.model.names(module).imports.keys().map(|name| name.as_str());
                    let imports = imports.filter(move |_| any || path.names.len() > 1);
                    let things = ["service", "infra"].into_iter().filter(|it| self.phase_thing(it).is_some());
                    let facts = ["stage", "run"].into_iter().filter(|_| self.in_workflow);
                    let steps = self.steps.iter().map(|info| info.step.name.text.as_str());
                    let own = things.chain(facts).chain(steps).filter(move |_| any);
                    vars.map(|var| var.name).chain(imports).chain(own)
                });
                let declared = self.model.declared(lost.module);
                let kind = |id: &DeclId| kind_name(&self.model.decl(*id).kind);
                let asked = |id: &DeclId| any || kind(id) == what;
                let declared = declared.iter().filter(|(_, id)| asked(id)).map(|(name, _)| *name);
                let known: Vec<&str> = self.model.candidates(declared.chain(others.into_iter().flatten()));
                let at = self.at(name.span);
                let near = suggest::nearest(&name.text, known.iter().copied());
                if let Some(near) = near.filter(|_| lost.at == 0) {
                    self.meant(near);
                }
                // `var.version`, as another tool reads a parameter.
                for name in path.names.iter().skip(1).filter(|_| lost.at == 0) {
                    self.meant(&name.text);
                }
                self.sink.push(checks::name_unknown::report(at, what, &name.text, known));
                None
            }
        }
    }

    /// A slip of a name reads it all the same.
    fn meant(&mut self, name: &str) {
        if let Some(var) = self.vars.iter().rev().find(|var| var.name == name) {
            self.used.names.insert(var.at);
        } else if self.model.names(self.module()).imports.contains_key(name) {
            self.used.imports.insert((self.module(), name.to_string()));
        }
    }

    /// Whether a path ends in a dot, behind which a name is missing: that is reported.
    pub(super) fn goes_on(&self, path: &Path) -> bool {
        let text = &self.model.program.file(self.file).text;
        let rest = text.get(path.span.end as usize..).unwrap_or_default();
        rest.starts_with('.') && !rest.starts_with(".*")
    }

    /// Whether a name seems to be declared where something was not understood.
    fn may_be_lost(&self, module: ModuleId, name: &str) -> bool {
        let unreadable = || {
            let imports = self.model.names(module).imports.iter();
            imports.filter(|(_, it)| it.module.is_none()).map(|(alias, _)| alias.as_str())
        };
        // A slip in the path of an import is in the name that it brings, too.
        self.any_lost
            || self.lost.contains(name)
            || self.model.may_be_lost(module, name)
            || suggest::nearest(name, unreadable()).is_some()
    }

    /// The type of what a path names.
    pub fn path(&mut self, path: &'p Path) -> Ty {
        let head = path.names[0].text.as_str();
        let rest = &path.names[1..];
        let own = if self.standing.own { self.phase_thing(head) } else { None };
        if let Some(ty) = own {
            return self.fields(ty, rest, path);
        }
        if let Some((_, ty)) = self.variable(path) {
            return self.fields(ty, rest, path);
        }
        if let Some(ty) = self.phase_thing(head) {
            return self.fields(ty, rest, path);
        }
        if self.in_workflow {
            if let Some(ty) = self.fact(path) {
                return ty;
            }
            if let Some((first, _)) = self.step_names.get(head) {
                if !rest.is_empty() {
                    return self.output(path);
                }
                let (module, info) = (self.module(), &self.steps[*first]);
                // A parameter of that name may be what was not understood.
                if self.may_be_lost(module, head) {
                    return Ty::Error;
                }
                if self.model.names(module).get(head).is_none() {
                    let outputs = info.outputs.iter().map(|output| output.name());
                    let at = self.at(path.span);
                    self.sink.push(checks::name_unknown::step_alone(at, head, outputs));
                    return Ty::Error;
                }
            }
        }
        let Some((id, taken)) = self.find(path, "name") else { return Ty::Error };
        self.declared(id, taken, path)
    }

    fn phase_thing(&self, head: &str) -> Option<Ty> {
        match head {
            "service" => self.standing.service.clone(),
            "infra" => self.standing.infra.clone(),
            _ => None,
        }
    }

    /// `stage.name`, `run.id`, `failure.kind` and the like.
    pub(super) fn fact(&mut self, path: &Path) -> Option<Ty> {
        let known: &[&str] = match path.names[0].text.as_str() {
            "stage" => &["name"],
            "run" => &["id", "by"],
            "failure" if self.standing.rollback.is_some() => &["step", "kind", "message"],
            _ => return None,
        };
        match path.names.as_slice() {
            [_, name] if known.contains(&name.text.as_str()) => Some(Ty::String),
            [head] => {
                let at = self.at(head.span);
                self.sink.push(checks::name_unknown::member(at, &head.text, "", known.iter().copied()));
                Some(Ty::Error)
            }
            [head, name, ..] => {
                let at = self.at(name.span);
                self.sink.push(checks::name_unknown::member(
                    at,
                    &head.text,
                    &name.text,
                    known.iter().copied(),
                ));
                Some(Ty::Error)
            }
            [] => None,
        }
    }

    /// `rollout.revision`
    pub(super) fn output(&mut self, path: &'p Path) -> Ty {
        let head = &path.names[0];
        let at = self.at(path.span);
        let index = match self.step_names.get(head.text.as_str()) {
            Some((only, None)) => *only,
            Some((first, Some(second))) => {
                let places = [*first, *second].map(|index| self.at(self.steps[index].step.name.span));
                self.sink.push(checks::type_output_unavailable::ambiguous(at, &head.text, places));
                return Ty::Error;
            }
            None => return Ty::Error,
        };
        let info = &self.steps[index];
        let Some(signature) = info.signature else { return Ty::Error };
        let name = &path.names[1];
        let outputs = Rc::clone(&info.outputs);
        let Some(output) = outputs.iter().find(|output| output.name() == name.text) else {
            let provider =
                self.model.find_step(self.file, &info.step.path).map(|(provider, _)| provider.file);
            if provider.is_some_and(|file| self.model.program.is_damaged(file, signature.span)) {
                return Ty::Error;
            }
            let at = self.at(name.span);
            let known: Vec<&str> = outputs.iter().map(|output| output.name()).collect();
            self.sink.push(checks::name_unknown::output(
                at,
                &head.text,
                &signature.name.text,
                &name.text,
                known,
            ));
            return Ty::Error;
        };
        if let Some(reason) = self.unavailable(info, path.span) {
            let step = self.at(info.step.name.span);
            self.sink.push(checks::type_output_unavailable::report(at, step, &head.text, &name.text, reason));
        }
        self.fields(output.ty.clone(), &path.names[2..], path)
    }

    /// Why a step may not have run where that expression stands.
    fn unavailable(&self, info: &StepInfo<'p>, expr: Span) -> Option<&'static str> {
        let standing = &self.standing;
        let earlier = match (standing.rollback, standing.position) {
            (Some(Some(phase)), _) => info.phase < phase,
            (Some(None), _) => false,
            (None, Some(position)) => info.position < position,
            (None, None) => false,
        };
        if !earlier {
            // In a rollback anything may not have run, which `default` can answer.
            if standing.rollback.is_some() {
                return (!standing.lenient).then_some("a rollback may start before it has run");
            }
            let is_in = |it: &StepInfo<'_>| it.step.span.contains(expr.start);
            let beside = |it: &StepInfo<'_>| it.position == info.position && is_in(it);
            return Some(match () {
                () if is_in(info) => "it is this step",
                () if self.steps.iter().any(beside) => "it runs in parallel",
                () => "it runs later",
            });
        }
        let implied = info.conditions.is_subset(&standing.conditions) || self.implied(&info.conditions);
        (!implied && !standing.lenient).then_some("it may be skipped")
    }

    /// Whether these conditions hold wherever those do under which the expression is read.
    fn implied(&self, conditions: &BTreeSet<u32>) -> bool {
        if self.standing.conditions.is_empty() || self.tries.get() == 0 {
            return false;
        }
        let said = |numbers: &BTreeSet<u32>| -> Vec<_> {
            numbers.iter().map(|number| self.said[*number as usize]).collect()
        };
        let text = |span| self.model.program.text(self.file, span);
        let (implied, tries) = implies(&text, &said(&self.standing.conditions), &said(conditions));
        self.tries.set(self.tries.get().saturating_sub(tries));
        implied
    }

    /// What a declaration is as a value.
    fn declared(&mut self, id: DeclId, taken: usize, path: &'p Path) -> Ty {
        let rest = &path.names[taken..];
        match &self.model.decl(id).kind {
            DeclarationKind::Service { params, .. } => {
                let before = self.sink.len();
                let ty = if rest.is_empty() { self.given_service(id) } else { self.service_type(id) };
                let ty = self.fields(ty, rest, path);
                // A parameter that was not understood may have this name, too.
                let perhaps = self.params_damaged && self.lost.contains(path.names[0].text.as_str());
                // Of what is no field of it at all, nothing else is said.
                if self.sink.len() == before
                    && !perhaps
                    && let Some(missing) = params
                        .items
                        .iter()
                        .find(|param| param.default.is_none() && param.ty.optional.is_none())
                {
                    let at = self.at(path.span);
                    let declared = Location { file: id.file, span: missing.span };
                    let name = self.model.name(id);
                    self.sink.push(
                        checks::type_argument_missing::report(
                            at,
                            name,
                            &[missing.name.text.as_str()],
                            declared,
                        )
                        .help(format!("write `{name} {{ {} = … }}`", missing.name.text)),
                    );
                }
                ty
            }
            DeclarationKind::Environment(environment) => match rest {
                [] => Ty::Environment,
                [name, rest @ ..] => {
                    let found = environment.infrastructure.iter().find(|it| it.name.text == name.text);
                    if let Some(infrastructure) = found {
                        let module = self.model.module(id.file);
                        let provider = self.model.find_provider(module, &infrastructure.value.path);
                        let ty = provider.map_or(Ty::Error, |found| {
                            Ty::Infra(Rc::new(InfraTy { providers: vec![found.decl] }))
                        });
                        return self.fields(ty, rest, path);
                    }
                    if matches!(name.text.as_str(), "kind" | "name") && rest.is_empty() {
                        return Ty::String;
                    }
                    if self.is_lost_infrastructure(id, environment, &name.text) {
                        return Ty::Error;
                    }
                    let targets = environment.infrastructure.iter().map(|it| it.name.text.as_str());
                    let known = self.model.candidates(targets);
                    let at = self.at(name.span);
                    let owner = self.model.name(id);
                    self.sink.push(checks::name_unknown::member(at, owner, &name.text, known));
                    Ty::Error
                }
            },
            DeclarationKind::Secret(_) => self.fields(Ty::Secret, rest, path),
            DeclarationKind::Channel(_) => self.fields(Ty::Channel, rest, path),
            DeclarationKind::Group(_) => self.fields(Ty::Group, rest, path),
            other => {
                let at = self.at(path.span);
                let declared = self.model.location(id);
                let kind = kind_name(other);
                self.sink.push(checks::type_mismatch::not_a_value(at, self.model.name(id), kind, declared));
                Ty::Error
            }
        }
    }

    /// Whether an environment may have infrastructure of that name which was not understood.
    fn is_lost_infrastructure(&self, id: DeclId, environment: &Environment, name: &str) -> bool {
        let (program, span) = (self.model.program, self.model.decl(id).span);
        // Without its braces, what should stand in them is not known.
        if !program.text(id.file, span).trim_end().ends_with('}') {
            return true;
        }
        if !program.is_damaged(id.file, span) {
            return false;
        }
        let Some(mut words) = self.lost_words(id.file, span) else { return true };
        let known = &environment.infrastructure;
        // One of them may have no name.
        let written = words.clone().filter(|word| *word == "infrastructure").count();
        written > known.len()
            || words.any(|word| {
                let is_known = || known.iter().any(|it| it.name.text == word);
                word == name || suggest::slipped(name, [word]) && !is_known()
            })
    }

    /// The type of a declared service.
    pub fn service_type(&self, id: DeclId) -> Ty {
        service_type(self.model, id)
    }

    /// `checkout { version }`
    pub(super) fn construct(&mut self, path: &'p Path, record: &'p Record) -> Ty {
        let Some((id, taken)) = self.find(path, "service") else {
            for entry in &record.entries {
                self.infer(&entry.value);
            }
            return Ty::Error;
        };
        let DeclarationKind::Service { params, .. } = &self.model.decl(id).kind else {
            let at = self.at(path.span);
            let declared = self.model.location(id);
            let kind = kind_name(&self.model.decl(id).kind);
            self.sink.push(checks::type_mismatch::not_a_service(at, self.model.name(id), kind, declared));
            return Ty::Error;
        };
        if taken < path.names.len() {
            let at = self.at(path.span);
            let declared = self.model.location(id);
            self.sink.push(checks::type_mismatch::not_a_service(
                at,
                self.model.name(id),
                "service",
                declared,
            ));
            return Ty::Error;
        }
        let infos = self.model.params(id.file, &params.items);
        self.called = Some((id.file, params.span));
        self.record(record, &infos, path.span, What("service", self.model.name(id)), &[]);
        self.given_service(id)
    }

    /// The type of a service that is given to something; unknown where its artifact is, which is reported at the declaration.
    fn given_service(&self, id: DeclId) -> Ty {
        let ty = self.service_type(id);
        let takes = |of: &ServiceTy| of.providers.iter().any(|id| !self.model.artifacts_of(*id).is_empty());
        match &ty {
            Ty::Service(of) if of.artifacts.is_empty() && takes(of) => Ty::Error,
            _ => ty,
        }
    }

    /// Follows the fields of a value.
    pub(super) fn fields(&mut self, mut ty: Ty, names: &'p [Name], path: &Path) -> Ty {
        let mut names = names;
        while let [name, rest @ ..] = names {
            if ty == Ty::Error {
                return Ty::Error;
            }
            // `service.artifact.image` takes two names at once: an artifact alone is no value.
            if name.text == "artifact"
                && let (Ty::Service(service), [field, after @ ..]) = (&ty, rest)
            {
                ty = self.artifact_field(&service.clone(), field);
                names = after;
                continue;
            }
            match super::template::field(self.model, &ty, &name.text) {
                Ok(found) => ty = found,
                Err(known) => {
                    let at = self.at(name.span);
                    let owner: Vec<&str> = path
                        .names
                        .iter()
                        .take_while(|part| part.span != name.span)
                        .map(|part| part.text.as_str())
                        .collect();
                    self.sink.push(checks::name_unknown::member(at, &owner.join("."), &name.text, known));
                    return Ty::Error;
                }
            }
            names = rest;
        }
        ty
    }

    fn artifact_field(&mut self, service: &ServiceTy, field: &Name) -> Ty {
        if service.providers.iter().any(|id| self.model.is_broken(*id)) {
            return Ty::Error;
        }
        let mut artifacts: Vec<String> = service.artifacts.clone();
        if artifacts.is_empty() {
            artifacts = service
                .providers
                .iter()
                .flat_map(|id| self.model.artifacts_of(*id))
                .map(Into::into)
                .collect();
        }
        let mut known: Option<Vec<&str>> = None;
        for artifact in artifacts.iter().filter_map(|name| self.model.artifact(name)) {
            let fields: Vec<&str> =
                artifact.fields.items.iter().map(|field| field.name.text.as_str()).collect();
            known = Some(match known {
                None => fields,
                Some(known) => known.into_iter().filter(|name| fields.contains(name)).collect(),
            });
        }
        let known = known.unwrap_or_default();
        if known.contains(&field.text.as_str()) {
            let artifact = artifacts.first().and_then(|name| self.model.artifact(name));
            let item = artifact
                .and_then(|artifact| artifact.fields.items.iter().find(|item| item.name.text == field.text));
            return match item.map(|item| item.ty.name.text.as_str()) {
                Some("int") => Ty::Int,
                Some("path") => Ty::Path,
                Some("bool") => Ty::Bool,
                _ => Ty::String,
            };
        }
        let at = self.at(field.span);
        self.sink.push(checks::name_unknown::member(at, "service.artifact", &field.text, known));
        Ty::Error
    }
}

/// The type of a declared service.
pub fn service_type(model: &Model<'_>, id: DeclId) -> Ty {
    let DeclarationKind::Service { value, .. } = &model.decl(id).kind else { return Ty::Error };
    let Some(found) = model.find_provider(model.module(id.file), &value.path) else { return Ty::Error };
    let artifact = value.record.entries.iter().find(|entry| entry.name.text == "artifact");
    if artifact.is_none() && model.program.is_damaged(id.file, value.record.span) {
        return Ty::Error;
    }
    let artifacts = match artifact.map(|entry| &entry.value.kind) {
        Some(ExprKind::Construct(construct)) if model.artifact(&construct.path.names[0].text).is_some() => {
            vec![construct.path.names[0].text.to_string()]
        }
        _ => Vec::new(),
    };
    Ty::Service(Rc::new(ServiceTy { providers: vec![found.decl], artifacts }))
}

/// What can be asked for by kind.
const KINDS: [&str; 6] = ["service", "environment", "channel", "group", "resource", "workflow"];

/// Whether a parameter of that type can stand where that kind is asked for.
fn is_kind(ty: &Ty, what: &str) -> bool {
    matches!((what, ty), ("channel", Ty::Channel) | ("group", Ty::Group) | ("environment", Ty::Environment))
}

/// The word that declares it.
pub fn kind_name(kind: &DeclarationKind) -> &'static str {
    match kind {
        DeclarationKind::Service { .. } => "service",
        DeclarationKind::Environment(_) => "environment",
        DeclarationKind::Secret(_) => "secret",
        DeclarationKind::Channel(_) => "channel",
        DeclarationKind::Group(_) => "group",
        DeclarationKind::Resource(_) => "resource",
        DeclarationKind::Workflow(_) => "workflow",
        DeclarationKind::Pipeline(_) => "pipeline",
        DeclarationKind::Provider(_) => "provider",
    }
}

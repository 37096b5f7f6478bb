//! Services and infrastructure: their fields, and what to say when one does not match a template.

use super::{InfraTy, Ty, subset};
use crate::checks;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::{DeclId, Model};
use lockstep_grammar::ast::DeclarationKind;

/// What to say about a service or target that does not fit; nothing for other types.
pub fn mismatch(
    model: &Model<'_>,
    at: Location,
    found: &Ty,
    ty: &Ty,
    because: &super::expr::Because,
) -> Option<Diagnostic> {
    match (found, ty.required()) {
        (Ty::Service(from), Ty::Service(to)) => {
            let wrong_type = !subset(&from.providers, &to.providers);
            let candidates = services(model, at, ty.required());
            Some(if wrong_type {
                checks::template_deployment_type::report(model, at, found, ty, because, &candidates)
            } else {
                checks::template_artifact_type::report(model, at, found, ty, because, &candidates)
            })
        }
        (Ty::Infra(_), Ty::Infra(to)) => {
            let candidates = targets(model, at, to);
            Some(checks::template_infrastructure_type::report(model, at, found, ty, because, &candidates))
        }
        (Ty::List(from), Ty::List(to)) => mismatch(model, at, from, to, because),
        _ => None,
    }
}

/// Names of services that would fit, as the module at `at` writes them.
fn services(model: &Model<'_>, at: Location, to: &Ty) -> Vec<String> {
    visible(model, at)
        .into_iter()
        .filter(|(_, id)| super::path::service_type(model, *id).fits(to))
        .filter(|(_, id)| matches!(model.decl(*id).kind, DeclarationKind::Service { .. }))
        .map(|(name, _)| name)
        .collect()
}

/// Names of targets that would fit.
pub fn targets(model: &Model<'_>, at: Location, to: &InfraTy) -> Vec<String> {
    let mut names = Vec::new();
    for (name, id) in visible(model, at) {
        let Some(environment) = model.as_environment(id) else { continue };
        for infrastructure in &environment.infrastructure {
            if let Some(found) = model.find_provider(model.module(id.file), &infrastructure.value.path)
                && subset(&[found.decl], &to.providers)
            {
                names.push(format!("{name}.{}", infrastructure.name.text));
            }
        }
        model.look(environment.infrastructure.len());
    }
    names
}

/// Every declaration that the module at `at` sees, with the name it has there; none when a great many were looked at.
fn visible(model: &Model<'_>, at: Location) -> Vec<(String, DeclId)> {
    /// A name that is copied and judged costs more than one that is looked at.
    const COST: usize = 8;
    if !model.may_look() {
        return Vec::new();
    }
    let module = model.module(at.file);
    let own = model.declared(module).iter();
    let mut all: Vec<(String, DeclId)> = own.map(|(name, id)| ((*name).to_string(), *id)).collect();
    for (alias, import) in &model.names(module).imports {
        if let Some(module) = import.module {
            all.extend(model.declared(module).iter().map(|(name, id)| (format!("{alias}.{name}"), *id)));
        }
    }
    model.look(COST * all.len());
    all
}

/// The type of a field, or the names of the fields there are.
pub fn field<'p>(model: &Model<'p>, ty: &Ty, name: &str) -> Result<Ty, Vec<&'p str>> {
    match ty {
        Ty::Error => Ok(Ty::Error),
        Ty::Environment if matches!(name, "kind" | "name") => Ok(Ty::String),
        Ty::Environment => Err(vec!["kind", "name"]),
        Ty::Service(_) | Ty::Infra(_) if name == "name" => Ok(Ty::String),
        Ty::Infra(_) if name == "environment" => Ok(Ty::Environment),
        Ty::Service(service) => provider_field(model, &service.providers, name, false),
        Ty::Infra(infra) => provider_field(model, &infra.providers, name, true),
        Ty::Map(element) => Ok((**element).clone()),
        _ => Err(Vec::new()),
    }
}

/// A setting that every one of these providers has.
fn provider_field<'p>(
    model: &Model<'p>,
    providers: &[DeclId],
    name: &str,
    of_infrastructure: bool,
) -> Result<Ty, Vec<&'p str>> {
    let mut known: Option<Vec<&'p str>> = None;
    let mut ty = None;
    // A field may be what was not understood.
    if providers.iter().any(|id| model.is_broken(*id)) {
        return Ok(Ty::Error);
    }
    for id in providers {
        let Some(provider) = model.as_provider(*id) else { continue };
        let fields = if of_infrastructure { &provider.infrastructure } else { &provider.service };
        let items = fields.as_ref().map(|fields| fields.items.as_slice()).unwrap_or_default();
        let infos = model.params(id.file, items);
        let names: Vec<&str> = infos.iter().map(|info| info.name()).collect();
        ty = ty.or_else(|| infos.iter().find(|info| info.name() == name).map(|info| info.ty.clone()));
        known = Some(match known {
            None => names,
            Some(known) => known.into_iter().filter(|name| names.contains(name)).collect(),
        });
    }
    let mut known = known.unwrap_or_default();
    match ty {
        Some(ty) if known.contains(&name) => Ok(ty),
        _ => {
            known.push("name");
            known.push(if of_infrastructure { "environment" } else { "artifact" });
            Err(known)
        }
    }
}

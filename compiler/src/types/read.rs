//! Types as they are written, and what parameters say.

use super::{InfraTy, ServiceTy, Ty};
use crate::checks;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::Model;
use crate::program::FileId;
use lockstep_grammar::ast::{Expr, ExprKind, Param, TextPart, Type, Within};
use std::rc::Rc;

/// A parameter or a field with its type resolved.
#[derive(Debug, Clone)]
pub struct ParamInfo<'p> {
    pub param: &'p Param,
    pub file: FileId,
    pub ty: Ty,
    /// Whether its default, if it has one, reads no names.
    pub plain: bool,
}

impl<'p> ParamInfo<'p> {
    pub fn name(&self) -> &'p str {
        self.param.name.text.as_str()
    }

    /// Where its name and type are written.
    pub fn location(&self) -> Location {
        Location { file: self.file, span: self.param.name.span.to(self.param.ty.span) }
    }

    /// What is allowed of its type.
    pub fn within(&self) -> Option<&'p Within> {
        self.param.ty.within.as_ref()
    }

    /// Whether not every value of its type is allowed.
    pub fn is_restricted(&self) -> bool {
        self.within().is_some() || matches!(self.ty.required(), Ty::Percent)
    }

    /// Whether an argument must be given.
    pub fn is_required(&self) -> bool {
        self.param.default.is_none() && !matches!(self.ty, Ty::Optional(_))
    }
}

/// What a list of parameters says. Problems go to `sink`.
pub fn params<'p>(
    model: &Model<'p>,
    file: FileId,
    items: &'p [Param],
    sink: &mut Vec<Diagnostic>,
) -> Vec<ParamInfo<'p>> {
    let info = |param: &'p Param| ParamInfo {
        param,
        file,
        ty: read(model, file, &param.ty, sink),
        plain: param.default.as_ref().is_none_or(is_plain),
    };
    items.iter().map(info).collect()
}

/// Whether an expression reads no names.
fn is_plain(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Bool(_) | ExprKind::Int(_) | ExprKind::Percent(_) | ExprKind::Duration(_) => true,
        ExprKind::Text(text) => text.parts.iter().all(|part| matches!(part, TextPart::Literal(_))),
        ExprKind::List(items) => items.iter().all(is_plain),
        ExprKind::Record(record) => record.entries.iter().all(|entry| is_plain(&entry.value)),
        _ => false,
    }
}

/// The names of types that take no arguments.
const PLAIN: [&str; 10] =
    ["string", "int", "bool", "duration", "percent", "path", "secret", "group", "channel", "environment"];

fn plain(name: &str) -> Option<Ty> {
    Some(match name {
        "string" => Ty::String,
        "int" => Ty::Int,
        "bool" => Ty::Bool,
        "duration" => Ty::Duration,
        "percent" => Ty::Percent,
        "path" => Ty::Path,
        "secret" => Ty::Secret,
        "group" => Ty::Group,
        "channel" => Ty::Channel,
        "environment" => Ty::Environment,
        _ => return None,
    })
}

fn read(model: &Model<'_>, file: FileId, ty: &Type, sink: &mut Vec<Diagnostic>) -> Ty {
    let inner = read_required(model, file, ty, sink);
    if ty.optional.is_some() && inner != Ty::Error { Ty::Optional(Rc::new(inner)) } else { inner }
}

fn read_required(model: &Model<'_>, file: FileId, ty: &Type, sink: &mut Vec<Diagnostic>) -> Ty {
    let at = Location { file, span: ty.span };
    let name = ty.name.text.as_str();
    if let Some(plain) = plain(name) {
        if !ty.arguments.is_empty() {
            sink.push(checks::type_mismatch::type_arguments(at, name, 0));
        }
        return plain;
    }
    match name {
        "list" | "map" => {
            let [alternatives] = ty.arguments.as_slice() else {
                sink.push(checks::type_mismatch::type_arguments(at, name, 1));
                return Ty::Error;
            };
            let [element] = alternatives.as_slice() else {
                sink.push(checks::type_mismatch::type_arguments(at, name, 1));
                return Ty::Error;
            };
            let element = Rc::new(read(model, file, element, sink));
            if name == "list" { Ty::List(element) } else { Ty::Map(element) }
        }
        "service" => {
            if ty.arguments.len() > 2 {
                sink.push(checks::type_mismatch::type_arguments(at, name, 2));
                return Ty::Error;
            }
            let Some(providers) = providers(model, file, ty, sink) else { return Ty::Error };
            let mut artifacts = Vec::new();
            for alternative in ty.arguments.get(1).into_iter().flatten() {
                let name = alternative.name.text.as_str();
                if model.artifact(name).is_none() {
                    let taken: Vec<&str> = providers.iter().flat_map(|id| model.artifacts_of(*id)).collect();
                    let at = Location { file, span: alternative.span };
                    sink.push(checks::name_unknown::report(at, "artifact type", name, taken));
                    return Ty::Error;
                }
                artifacts.push(name.to_string());
            }
            Ty::Service(Rc::new(ServiceTy { providers, artifacts }))
        }
        "infrastructure" => {
            if ty.arguments.len() > 1 {
                sink.push(checks::type_mismatch::type_arguments(at, name, 1));
                return Ty::Error;
            }
            providers(model, file, ty, sink)
                .map_or(Ty::Error, |providers| Ty::Infra(Rc::new(InfraTy { providers })))
        }
        // Where the type is missing before it.
        "in" => Ty::Error,
        _ => {
            let known = PLAIN.into_iter().chain(["list", "map", "service", "infrastructure"]);
            let at = Location { file, span: ty.name.span };
            sink.push(checks::name_unknown::report(at, "type", name, known));
            Ty::Error
        }
    }
}

fn providers(
    model: &Model<'_>,
    file: FileId,
    ty: &Type,
    sink: &mut Vec<Diagnostic>,
) -> Option<Vec<crate::model::DeclId>> {
    let module = model.module(file);
    let mut providers = Vec::new();
    for alternative in ty.arguments.first().into_iter().flatten() {
        let name = alternative.name.text.as_str();
        match model.provider_named(module, name) {
            Some(id) if model.is_deployment_type(id) || model.is_broken(id) => providers.push(id),
            // What an import would have brought that cannot be read.
            None if model.is_of_unreadable(module, name) => return None,
            _ => {
                let known = model.deployment_types(module);
                let at = Location { file, span: alternative.span };
                sink.push(checks::name_unknown::report(at, "deployment type", name, known));
                return None;
            }
        }
    }
    Some(providers)
}

//! Types, and what fits where.

mod declarations;
mod expr;
mod implies;
mod path;
mod pipeline;
mod read;
mod scope;
mod steps;
mod template;
mod templates;
mod workflow;

pub use declarations::check_declarations;
pub use expr::{Because, Typer, Used, What, Why, begins_with};
pub use path::service_type;
pub use read::{ParamInfo, params};
pub use scope::{Implicit, implicit};
pub use steps::{allows, step_timeout_default, steps_of, strangers};
pub use template::{field, targets};
pub use workflow::STRATEGIES;

use crate::model::{DeclId, Model};
use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

/// A type. What reads it mostly keeps a copy, so copies share what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ty {
    /// Not known because of an error that is reported elsewhere: fits everything.
    Error,
    String,
    Int,
    Bool,
    Duration,
    Percent,
    Path,
    Secret,
    Group,
    Channel,
    Environment,
    List(Rc<Ty>),
    Map(Rc<Ty>),
    Optional(Rc<Ty>),
    Service(Rc<ServiceTy>),
    Infra(Rc<InfraTy>),
}

/// `service<P | Q, A | B>`; empty lists restrict nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceTy {
    pub providers: Vec<DeclId>,
    pub artifacts: Vec<String>,
}

/// `infrastructure<P | Q>`; an empty list restricts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InfraTy {
    pub providers: Vec<DeclId>,
}

impl Ty {
    /// Whether an error keeps it, or what it is made of, from being known.
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Ty::Error => true,
            Ty::List(of) | Ty::Map(of) | Ty::Optional(of) => of.is_in_doubt(),
            _ => false,
        }
    }

    /// Whether a value of this type can stand where `to` is expected.
    pub fn fits(&self, to: &Ty) -> bool {
        match (self, to) {
            (Ty::Error, _) | (_, Ty::Error) => true,
            (Ty::Optional(from), Ty::Optional(to)) => from.fits(to),
            (from, Ty::Optional(to)) => from.fits(to),
            (Ty::String, Ty::Path) => true,
            (Ty::List(from), Ty::List(to)) | (Ty::Map(from), Ty::Map(to)) => from.fits(to),
            (Ty::Service(from), Ty::Service(to)) => {
                subset(&from.providers, &to.providers) && subset(&from.artifacts, &to.artifacts)
            }
            (Ty::Infra(from), Ty::Infra(to)) => subset(&from.providers, &to.providers),
            (from, to) => from == to,
        }
    }

    /// For services and infrastructure, or lists of them: the type that both are of.
    pub fn join(&self, other: &Ty) -> Option<Ty> {
        match (self, other) {
            (Ty::Service(one), Ty::Service(two)) => Some(Ty::Service(Rc::new(ServiceTy {
                providers: union(&one.providers, &two.providers),
                artifacts: union(&one.artifacts, &two.artifacts),
            }))),
            (Ty::Infra(one), Ty::Infra(two)) => {
                Some(Ty::Infra(Rc::new(InfraTy { providers: union(&one.providers, &two.providers) })))
            }
            (Ty::List(one), Ty::List(two)) => Some(Ty::List(Rc::new(one.join(two)?))),
            _ => None,
        }
    }

    /// Whether it is a secret where text is expected, or a list or map of such.
    pub fn leaks_into(&self, to: &Ty) -> bool {
        match (self.required(), to.required()) {
            (Ty::Secret, Ty::String | Ty::Path) => true,
            (Ty::List(from), Ty::List(to)) | (Ty::Map(from), Ty::Map(to)) => from.leaks_into(to),
            _ => false,
        }
    }

    /// Whether it is the same kind of thing, whatever deployment or artifact type.
    pub fn same_kind(&self, to: &Ty) -> bool {
        match (self, to) {
            (Ty::Service(_), Ty::Service(_)) | (Ty::Infra(_), Ty::Infra(_)) => true,
            (Ty::List(from), Ty::List(to)) => from.same_kind(to),
            (from, Ty::Optional(to)) => from.same_kind(to),
            _ => self.fits(to),
        }
    }

    /// Whether `"${…}"` can take it.
    pub fn is_textual(&self) -> bool {
        matches!(self, Ty::Error | Ty::String | Ty::Int | Ty::Bool | Ty::Duration | Ty::Percent | Ty::Path)
    }

    /// Whether its values are data: known by their content, not by their declaration.
    pub fn is_data(&self) -> bool {
        match self {
            Ty::Environment | Ty::Service(_) | Ty::Infra(_) => false,
            Ty::List(inner) | Ty::Map(inner) | Ty::Optional(inner) => inner.is_data(),
            _ => true,
        }
    }

    /// Whether a secret is in it: what it says is not to be found out by comparing.
    pub fn holds_secret(&self) -> bool {
        match self {
            Ty::Secret => true,
            Ty::List(inner) | Ty::Map(inner) | Ty::Optional(inner) => inner.holds_secret(),
            _ => false,
        }
    }

    /// Without `?`.
    pub fn required(&self) -> &Ty {
        match self {
            Ty::Optional(inner) => inner,
            other => other,
        }
    }

    /// As the language spells it.
    pub fn show(&self, model: &Model<'_>) -> String {
        let providers = |ids: &[DeclId]| ids.iter().map(|id| model.name(*id)).collect::<Vec<_>>().join(" | ");
        match self {
            Ty::Error => "unknown".into(),
            Ty::String => "string".into(),
            Ty::Int => "int".into(),
            Ty::Bool => "bool".into(),
            Ty::Duration => "duration".into(),
            Ty::Percent => "percent".into(),
            Ty::Path => "path".into(),
            Ty::Secret => "secret".into(),
            Ty::Group => "group".into(),
            Ty::Channel => "channel".into(),
            Ty::Environment => "environment".into(),
            Ty::List(inner) => format!("list<{}>", inner.show(model)),
            Ty::Map(inner) => format!("map<{}>", inner.show(model)),
            Ty::Optional(inner) => format!("{}?", inner.show(model)),
            Ty::Service(ty) if ty.providers.is_empty() => "service".into(),
            Ty::Service(ty) if ty.artifacts.is_empty() => format!("service<{}>", providers(&ty.providers)),
            Ty::Service(ty) => format!("service<{}, {}>", providers(&ty.providers), ty.artifacts.join(" | ")),
            Ty::Infra(ty) if ty.providers.is_empty() => "infrastructure".into(),
            Ty::Infra(ty) => format!("infrastructure<{}>", providers(&ty.providers)),
        }
    }
}

/// Of names in order those that were given before: each with the index of the first one.
pub fn repeated<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<(usize, usize)> {
    /// Up to this many names are compared one by one.
    const FEW: usize = 16;
    let mut repeated = Vec::new();
    if names.clone().count() <= FEW {
        for (index, name) in names.clone().enumerate() {
            if let Some(first) = names.clone().take(index).position(|earlier| earlier == name) {
                repeated.push((first, index));
            }
        }
        return repeated;
    }
    let mut seen: HashMap<&str, usize> = HashMap::default();
    for (index, name) in names.enumerate() {
        match seen.entry(name) {
            Entry::Occupied(first) => repeated.push((*first.get(), index)),
            Entry::Vacant(entry) => {
                entry.insert(index);
            }
        }
    }
    repeated
}

/// What either allows; an empty one allows all.
fn union<T: PartialEq + Clone>(one: &[T], two: &[T]) -> Vec<T> {
    if one.is_empty() || two.is_empty() {
        return Vec::new();
    }
    let mut all = one.to_vec();
    all.extend(two.iter().filter(|item| !one.contains(item)).cloned());
    all
}

/// Whether everything in `from` is allowed by `to`; an empty `to` allows all, an empty `from` may be anything.
pub fn subset<T: PartialEq>(from: &[T], to: &[T]) -> bool {
    to.is_empty() || (!from.is_empty() && from.iter().all(|item| to.contains(item)))
}

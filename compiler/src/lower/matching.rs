//! What a stage's service and target turn out to be, where the types of its workflow leave several deployment types open.

use super::Lowerer;
use super::stage::Here;
use super::value::{Frame, Val};
use crate::checks;
use crate::diagnostic::Location;
use crate::model::{DeclId, Model};
use crate::types::{Implicit, ParamInfo, Ty, implicit};
use lockstep_grammar::ast::{self, ExprKind, Setting};
use std::rc::Rc;

/// The deployment type that a phase's steps belong to in one stage.
#[derive(Debug)]
pub struct Settled {
    /// The name of the deployment type.
    provider: String,
    /// Whether the infrastructure says so, or only the service.
    by_infra: bool,
    /// Where the stage gives it.
    at: Location,
    /// For service and infrastructure the deployment types that the workflow allows; an empty list allows all.
    allowed: Vec<Vec<DeclId>>,
}

/// A service or target of a phase: what it is, and what the workflow says that it may be.
struct Thing<'a> {
    name: &'a str,
    provider: &'a str,
    /// See [`Settled::allowed`]; none where it is only what it is itself.
    allowed: Option<&'a [DeclId]>,
    /// Where it is said: in the stage's arguments, or in the phase.
    at: Option<Location>,
}

impl Thing<'_> {
    /// Whether a deployment type is one that the workflow asks for.
    fn allows(&self, model: &Model<'_>, provider: &str) -> bool {
        match self.allowed {
            Some(allowed) => allows(model, allowed, provider),
            None => self.provider == provider,
        }
    }

    /// Whether nothing but what it is could have been given.
    fn is_sure(&self) -> bool {
        self.allowed.is_none_or(|allowed| allowed.len() == 1)
    }
}

/// Whether a deployment type is among those that are allowed; none means all.
fn allows(model: &Model<'_>, allowed: &[DeclId], provider: &str) -> bool {
    allowed.is_empty() || allowed.iter().any(|id| model.name(*id) == provider)
}

impl<'p> Lowerer<'_, 'p> {
    /// Judges a phase's service and target by what they are. What their types already rule out is reported with the types.
    pub(super) fn settle<'i>(
        &mut self,
        frame: &Frame<'p>,
        settings: &'p [Setting],
        infos: &'i [ParamInfo<'p>],
        stage: &'p ast::Stage,
        outer: &Frame<'p>,
    ) -> Option<Rc<Settled>> {
        let thing = |name: &str, value: &Option<Val>, is_one: fn(&Ty) -> bool| {
            let (found, provider) = self.what(value.as_ref()?)?;
            let given = |info: &'i ParamInfo<'p>| {
                let entry = stage.arguments.entries.iter().find(|entry| entry.name.text == info.name());
                (Some(allowed(&info.ty)), entry.map(|entry| outer.at(entry.value.span)))
            };
            let (allowed, at) = match implicit(settings, name, infos, is_one) {
                Implicit::Param(index) => given(&infos[index]),
                Implicit::Entry(setting) => {
                    let param = match &setting.value.kind {
                        ExprKind::Path(path) if path.names.len() == 1 => {
                            infos.iter().find(|info| info.name() == path.names[0].text)
                        }
                        _ => None,
                    };
                    param.map_or_else(|| (None, Some(frame.at(setting.value.span))), given)
                }
                Implicit::None | Implicit::Ambiguous(..) => return None,
            };
            Some(Thing { name: found, provider, allowed, at })
        };
        let service = thing("service", &frame.service, |ty| matches!(ty, Ty::Service(_)));
        let infra = thing("infra", &frame.infra, |ty| matches!(ty, Ty::Infra(_)));
        let model = self.model;
        // What does not fit has its own report, as an argument.
        if service.iter().chain(&infra).any(|thing| !thing.allows(model, thing.provider)) {
            return None;
        }
        if let (Some(service), Some(infra)) = (&service, &infra)
            && service.provider != infra.provider
        {
            let own = |id: &DeclId| model.name(*id);
            let in_common = match (service.allowed, infra.allowed) {
                (Some([]), _) | (_, Some([])) => true,
                (Some(one), Some(two)) => one.iter().any(|id| allows(model, two, own(id))),
                (Some(one), None) => allows(model, one, infra.provider),
                (None, Some(two)) => allows(model, two, service.provider),
                (None, None) => false,
            };
            if in_common {
                let diagnostic = checks::template_infrastructure_type::instance(
                    infra.at.unwrap_or(outer.at(stage.name.span)),
                    (infra.name, infra.provider),
                    service.at,
                    (service.name, service.provider),
                );
                checks::template_infrastructure_type::once(diagnostic, &mut self.sink);
            }
            return None;
        }
        // Steps of another type are not even allowed by the types then.
        if service.iter().chain(&infra).any(Thing::is_sure) {
            return None;
        }
        let by_infra = infra.is_some();
        let allowed =
            service.iter().chain(&infra).filter_map(|thing| Some(thing.allowed?.to_vec())).collect();
        let says = infra.or(service)?;
        let at = says.at.unwrap_or(outer.at(stage.name.span));
        Some(Rc::new(Settled { provider: says.provider.to_owned(), by_infra, at, allowed }))
    }

    /// A step that its phase's types allow, and what the stage brings does not.
    pub(super) fn settled_step(
        &mut self,
        step: &'p ast::Step,
        provider: DeclId,
        here: &Here,
        frame: &Frame<'p>,
    ) {
        let Some(settled) = &here.settled else { return };
        let name = self.model.name(provider);
        if settled.provider == name
            || !self.model.is_deployment_type(provider)
            || !settled.allowed.iter().all(|allowed| allows(self.model, allowed, name))
        {
            return;
        }
        let what = if settled.by_infra { "infrastructure" } else { "service" };
        self.sink.push(checks::step_provider::instance(
            frame.at(step.path.span),
            name,
            (what, &settled.provider),
            settled.at,
        ));
    }

    /// Name and deployment type of a service or target that is known.
    fn what(&self, value: &Val) -> Option<(&str, &str)> {
        let (name, provider) = match value {
            Val::Service(id, _) => {
                let service = &self.plan.services[id.index()];
                (&service.name, &service.provider)
            }
            Val::Target(id) => {
                let target = &self.plan.targets[id.index()];
                (&target.name, &target.provider)
            }
            _ => return None,
        };
        // What is no provider has its own report.
        (!provider.is_empty()).then_some((name, provider))
    }
}

/// The deployment types that a type allows.
fn allowed(ty: &Ty) -> &[DeclId] {
    match ty {
        Ty::Service(service) => &service.providers,
        Ty::Infra(infra) => &infra.providers,
        _ => &[],
    }
}

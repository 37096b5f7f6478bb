//! What a stage's service and target turn out to be, where the types of its workflow leave several deployment types open.

use super::Lowerer;
use super::stage::Here;
use super::value::{Frame, Val};
use crate::checks;
use crate::diagnostic::Location;
use crate::model::DeclId;
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
    allowed: Vec<Vec<String>>,
}

/// A service or target of a phase: what it is, and what the workflow says that it may be.
struct Thing {
    name: String,
    provider: String,
    /// See [`Settled::allowed`].
    allowed: Vec<String>,
    /// Where it is said: in the stage's arguments, or in the phase.
    at: Option<Location>,
}

impl Thing {
    /// Whether it is what the workflow asks for. If not, the argument has its own report.
    fn fits(&self) -> bool {
        self.allowed.is_empty() || self.allowed.contains(&self.provider)
    }
}

impl<'p> Lowerer<'_, 'p> {
    /// Judges a phase's service and target by what they are. What their types already rule out is reported with the types.
    pub(super) fn settle(
        &mut self,
        frame: &Frame<'p>,
        settings: &'p [Setting],
        infos: &[ParamInfo<'p>],
        stage: &'p ast::Stage,
        outer: &Frame<'p>,
    ) -> Option<Rc<Settled>> {
        let thing = |name: &str, value: &Option<Val>, is_one: fn(&Ty) -> bool| {
            let (found, provider) = self.what(value.as_ref()?)?;
            let given = |info: &ParamInfo<'p>| {
                let entry = stage.arguments.entries.iter().find(|entry| entry.name.text == info.name());
                (self.allowed(&info.ty), entry.map(|entry| outer.at(entry.value.span)))
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
                    let own = || (vec![provider.clone()], Some(frame.at(setting.value.span)));
                    param.map_or_else(own, given)
                }
                Implicit::None | Implicit::Ambiguous(..) => return None,
            };
            Some(Thing { name: found, provider, allowed, at })
        };
        let service = thing("service", &frame.service, |ty| matches!(ty, Ty::Service(_)));
        let infra = thing("infra", &frame.infra, |ty| matches!(ty, Ty::Infra(_)));
        if service.iter().chain(&infra).any(|thing| !thing.fits()) {
            return None;
        }
        if let (Some(service), Some(infra)) = (&service, &infra)
            && service.provider != infra.provider
        {
            let in_common = service.allowed.is_empty()
                || infra.allowed.is_empty()
                || service.allowed.iter().any(|provider| infra.allowed.contains(provider));
            if in_common {
                let diagnostic = checks::template_infrastructure_type::instance(
                    infra.at.unwrap_or(outer.at(stage.name.span)),
                    (&infra.name, &infra.provider),
                    service.at,
                    (&service.name, &service.provider),
                );
                checks::template_infrastructure_type::once(diagnostic, &mut self.sink);
            }
            return None;
        }
        let by_infra = infra.is_some();
        let allowed = service.iter().chain(&infra).map(|thing| thing.allowed.clone()).collect();
        let says = infra.or(service)?;
        let at = says.at.unwrap_or(outer.at(stage.name.span));
        Some(Rc::new(Settled { provider: says.provider, by_infra, at, allowed }))
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
        let allows = |allowed: &Vec<String>| allowed.is_empty() || allowed.iter().any(|it| it == name);
        if settled.provider == name
            || !self.model.is_deployment_type(provider)
            || !settled.allowed.iter().all(allows)
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
    fn what(&self, value: &Val) -> Option<(String, String)> {
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
        (!provider.is_empty()).then(|| (name.clone(), provider.clone()))
    }

    fn allowed(&self, ty: &Ty) -> Vec<String> {
        let providers = match ty {
            Ty::Service(service) => service.providers.as_slice(),
            Ty::Infra(infra) => infra.providers.as_slice(),
            _ => &[],
        };
        providers.iter().map(|id| self.model.name(*id).to_string()).collect()
    }
}

//! `template/infrastructure-type`: a target of another deployment type than the workflow or the service.

use crate::checks::template_deployment_type::mismatch;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use crate::types::{Because, Implicit, InfraTy, ParamInfo, ServiceTy, Ty, Typer, implicit};
use lockstep_grammar::ast::Phase;

pub const RULE: Rule = Rule {
    name: "template/infrastructure-type",
    severity: Severity::Error,
    summary: "infrastructure of another deployment type than the workflow or the service",
    page: include_str!("template_infrastructure_type.md"),
};

/// `found` cannot be the target that `expected` asks for.
pub fn report(
    model: &Model<'_>,
    at: Location,
    found: &Ty,
    expected: &Ty,
    because: &Because,
    candidates: &[String],
) -> Diagnostic {
    let message =
        format!("`{}` cannot stand where `{}` is deployed to", found.show(model), expected.show(model));
    mismatch(Diagnostic::new(&RULE, at, message), model, found, expected, because, candidates)
}

/// The service and the infrastructure of a phase have no deployment type in common.
pub fn phase<'p>(typer: &mut Typer<'_, 'p>, phase: &'p Phase, infos: &[ParamInfo<'p>]) {
    let (Some(Ty::Service(service)), Some(Ty::Infra(infra))) =
        (typer.standing.service.clone(), typer.standing.infra.clone())
    else {
        return;
    };
    if !at_odds(&service, &infra) {
        return;
    }
    let place = |name: &str, is_one: fn(&Ty) -> bool| match implicit(&phase.settings, name, infos, is_one) {
        Implicit::Entry(setting) => Some(Location { file: typer.file, span: setting.value.span }),
        Implicit::Param(index) => Some(infos[index].location()),
        _ => None,
    };
    let first = place("service", |ty| matches!(ty, Ty::Service(_)));
    let second = place("infra", |ty| matches!(ty, Ty::Infra(_)));
    let (Some(first), Some(second)) = (first, second) else { return };
    let (service, infra) = (Ty::Service(service).show(typer.model), Ty::Infra(infra).show(typer.model));
    let diagnostic = Diagnostic::new(&RULE, second, format!("a `{service}` cannot be deployed to `{infra}`"))
        .label(format!("this is `{infra}`"))
        .also(first, format!("this is `{service}`"))
        .help("service and infrastructure of a phase have the same deployment type");
    once(diagnostic, typer.sink);
}

/// Whether no deployment type is that of the service and of the infrastructure.
pub fn at_odds(service: &ServiceTy, infra: &InfraTy) -> bool {
    !service.providers.is_empty()
        && !infra.providers.is_empty()
        && !service.providers.iter().any(|id| infra.providers.contains(id))
}

/// A wrong target is one mistake, however many services go there.
pub fn once(diagnostic: Diagnostic, sink: &mut Vec<Diagnostic>) {
    if !sink.iter().any(|it| it.rule == RULE.name && it.primary == diagnostic.primary) {
        sink.push(diagnostic);
    }
}

/// A service and a target that a stage brings together.
pub fn instance(
    at: Location,
    target: (&str, &str),
    service_at: Option<Location>,
    service: (&str, &str),
) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(
        &RULE,
        at,
        format!("`{}` is deployed with `{}`, but `{}` is `{}`", service.0, service.1, target.0, target.1),
    )
    .label(format!("this is `infrastructure<{}>`", target.1))
    .help("service and infrastructure have the same deployment type");
    if let Some(service_at) = service_at {
        diagnostic = diagnostic.also(service_at, format!("this is `service<{}>`", service.1));
    }
    diagnostic
}

//! `step/provider`: a step of another deployment type than what its phase works on.

use super::phase_strategy::DEPLOYING;
use super::template_infrastructure_type;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model};
use crate::program::{FileId, ModuleId};
use crate::rules::Rule;
use crate::suggest;
use crate::types::{Implicit, ParamInfo, Ty, Typer, allows, implicit, steps_of};
use lockstep_grammar::ast::{Phase, Step};

pub const RULE: Rule = Rule {
    name: "step/provider",
    severity: Severity::Error,
    summary: "a step of another deployment type than the phase's service and infrastructure",
    page: include_str!("step_provider.md"),
};

/// Judges one step by what its phase works on.
pub fn step<'p>(typer: &mut Typer<'_, 'p>, step: &'p Step, provider: DeclId) {
    if !typer.model.is_deployment_type(provider) {
        return;
    }
    let name = typer.model.name(provider);
    let at = typer.at(step.path.span);
    let service = typer.standing.service.clone();
    let infra = typer.standing.infra.clone();
    // Where service and infrastructure are at odds, that is reported of the phase: a step of either is a consequence.
    if let (Some(Ty::Service(of)), Some(Ty::Infra(on))) = (&service, &infra)
        && template_infrastructure_type::at_odds(of, on)
        && (of.providers.contains(&provider) || on.providers.contains(&provider))
    {
        return;
    }
    let wrong = [("service", service.clone()), ("infrastructure", infra.clone())]
        .into_iter()
        .find_map(|(what, ty)| ty.filter(|ty| !allows(provider, ty)).map(|ty| (what, ty)));
    if let Some((what, ty)) = wrong {
        let found = ty.show(typer.model);
        let diagnostic = Diagnostic::new(&RULE, at, format!("a step of `{name}` cannot work on `{found}`"))
            .label(format!("this step belongs to `{name}`"))
            .help(format!("the {what} of this phase is `{found}`: use steps of that deployment type"));
        typer.sink.push(diagnostic);
    } else if infra.is_none() && !typer.standing.ambiguous && !typer.params_damaged {
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("a step of `{name}` needs infrastructure to work on"))
                .label("where should it work?")
                .help(format!("give the workflow a parameter `infra: infrastructure<{name}>`, or the phase an `infra = …`")),
        );
    } else if service.is_none()
        && !typer.standing.ambiguous
        && !typer.params_damaged
        && deploys(typer.model, typer.file, step)
    {
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("a step of `{name}` needs a service to bring there"))
                .label("which service?")
                .help(format!(
                    "give the workflow a parameter `service: service<{name}>`, or the phase a `service = …`"
                )),
        );
    }
}

/// Whether a step that comes with the language brings a service's release to its target.
fn deploys(model: &Model<'_>, file: FileId, step: &Step) -> bool {
    model.find_step(file, &step.path).is_some_and(|(provider, signature)| {
        model.module(provider.file) == ModuleId::PRELUDE && DEPLOYING.contains(&signature.name.text.as_str())
    })
}

/// A step that the types of its phase allow, but not what a stage brings, which is of that deployment type.
pub fn instance(at: Location, name: &str, (what, found): (&str, &str), stage: Location) -> Diagnostic {
    let message = format!("a step of `{name}` cannot work on `{what}<{found}>`");
    Diagnostic::new(&RULE, at, message)
        .label(format!("this step belongs to `{name}`"))
        .also(stage, format!("the {what} of this stage is `{found}`"))
        .help(format!("take `{what}<{name}>` only, and make another workflow for `{found}`"))
}

/// A phase whose service or infrastructure could be one of several parameters.
pub fn ambiguous<'p>(typer: &mut Typer<'_, 'p>, phase: &'p Phase, infos: &[ParamInfo<'p>]) {
    let (model, file) = (typer.model, typer.file);
    let deploys = || {
        let found = |step: &Step| model.find_step(file, &step.path);
        let mut providers = steps_of(&phase.items).filter_map(found);
        providers.any(|(provider, _)| model.is_deployment_type(provider))
    };
    type IsOne = fn(&Ty) -> bool;
    let kinds: [(&str, IsOne); 2] =
        [("service", |ty| matches!(ty, Ty::Service(_))), ("infra", |ty| matches!(ty, Ty::Infra(_)))];
    for (name, is_one) in kinds {
        let Implicit::Ambiguous(first, second) = implicit(&phase.settings, name, infos, is_one) else {
            continue;
        };
        typer.standing.ambiguous = true;
        let given = phase.settings.iter().map(|it| it.name.text.as_str());
        let mut others = given.filter(|given| !kinds.iter().any(|(kind, _)| kind == given));
        // Two parameters of one name are reported; the phase may have said so in what was not understood of it, or under a
        // name with a slip.
        if infos[first].name() == infos[second].name()
            || others.any(|other| suggest::slipped(name, [other]))
            || !deploys()
            || model.program.is_damaged(file, phase.span)
        {
            continue;
        }
        let at = typer.at(phase.name.span);
        let places =
            [first, second].map(|index| Location { file: typer.file, span: infos[index].param.name.span });
        // Either may be what was meant to be read.
        typer.used.names.extend(
            [first, second].map(|index| Location { file: typer.file, span: infos[index].param.name.span }),
        );
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("which `{name}` does phase `{}` work on?", phase.name.text))
                .label("several could be meant")
                .also(places[0], "this one")
                .also(places[1], "or this one")
                .help(format!("say so in the phase: `{name} = {}`", infos[first].name())),
        );
    }
}

//! `template/fixed-infrastructure`: a workflow for any environment that names one environment's infrastructure.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use lockstep_grammar::ast::{ExprKind, Param};

pub const RULE: Rule = Rule {
    name: "template/fixed-infrastructure",
    severity: Severity::Error,
    summary: "a workflow takes an environment and yet names fixed infrastructure",
    page: include_str!("template_fixed_infrastructure.md"),
};

/// Looks at the `infra` entries of phases.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, name, workflow) in walk::workflows(model) {
        let name = name.text.as_str();
        let is_environment = |param: &&Param| param.ty.name.text == "environment";
        let Some(environment) = workflow.params.items.iter().find(is_environment) else { continue };
        for setting in workflow.phases.iter().flat_map(|phase| &phase.settings) {
            let ExprKind::Path(path) = &setting.value.kind else { continue };
            let head = path.names[0].text.as_str();
            if setting.name.text != "infra"
                || workflow.params.items.iter().any(|param| param.name.text == head)
            {
                continue;
            }
            let fixed = model
                .find(model.module(file), path)
                .is_ok_and(|found| model.as_environment(found.decl).is_some());
            if fixed {
                let at = |span| Location { file, span };
                let text = model.program.text(file, path.span);
                sink.push(
                    Diagnostic::new(
                        &RULE,
                        at(setting.value.span),
                        format!("workflow `{name}` takes an environment, but `{text}` is fixed"),
                    )
                    .label("always this one")
                    .also(at(environment.span), "the environment that is given")
                    .help(format!(
                        "take it as a parameter: `infra: infrastructure<…> in {}`",
                        environment.name.text
                    )),
                );
            }
        }
    }
}

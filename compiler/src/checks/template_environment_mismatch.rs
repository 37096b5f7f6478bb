//! `template/environment-mismatch`: a target outside of the environment that was given.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model};
use crate::rules::Rule;
use crate::suggest;
use crate::types::ParamInfo;

pub const RULE: Rule = Rule {
    name: "template/environment-mismatch",
    severity: Severity::Error,
    summary: "infrastructure that does not belong to the environment given beside it",
    page: include_str!("template_environment_mismatch.md"),
};

/// The target does not belong to the environment.
pub fn report(
    model: &Model<'_>,
    target: (Location, &str),
    environment: (Location, DeclId),
    info: &ParamInfo<'_>,
) -> Diagnostic {
    let wanted = model.name(environment.1);
    let inner =
        model.as_environment(environment.1).map(|it| it.infrastructure.as_slice()).unwrap_or_default();
    // As the module of the stage writes it.
    let written = model.name_in(model.module(target.0.file), environment.1);
    let names: Vec<String> = inner.iter().map(|it| format!("{written}.{}", it.name.text)).collect();
    Diagnostic::new(&RULE, target.0, format!("`{}` does not belong to environment `{wanted}`", target.1))
        .label("another environment's")
        .also(environment.0, format!("the environment is `{wanted}`"))
        .also(info.location(), "the template wants it to belong to its environment")
        .help(if names.is_empty() {
            format!("`{wanted}` has no infrastructure")
        } else {
            format!("these would fit: {}", suggest::list(&names))
        })
}

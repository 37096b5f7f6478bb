//! `template/artifact-type`: a service whose artifact is of another type than its workflow or provider takes.

use crate::checks::template_deployment_type::mismatch;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{Because, Ty};

pub const RULE: Rule = Rule {
    name: "template/artifact-type",
    severity: Severity::Error,
    summary: "a service whose artifact is of another type than the workflow or the provider takes",
    page: include_str!("template_artifact_type.md"),
};

/// `found` has another artifact type than `expected` asks for.
pub fn report(
    model: &Model<'_>,
    at: Location,
    found: &Ty,
    expected: &Ty,
    because: &Because,
    candidates: &[String],
) -> Diagnostic {
    let of = |ty: &Ty| match ty.required() {
        Ty::Service(service) if !service.artifacts.is_empty() => service.artifacts.join(" | "),
        _ => "any artifact".into(),
    };
    let message = format!("this workflow deploys `{}`, not `{}`", of(expected), of(found));
    mismatch(Diagnostic::new(&RULE, at, message), model, found, expected, because, candidates)
}

/// The provider does not take artifacts of that type at all.
pub fn not_taken(
    at: Location,
    artifact: &str,
    provider: Location,
    name: &str,
    accepted: &[&str],
) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{name}` does not deploy `{artifact}`"))
        .label("this artifact type")
        .also(provider, format!("the deployment type is `{name}`"))
        .help(if accepted.is_empty() {
            format!("`{name}` takes no artifacts")
        } else {
            format!("`{name}` takes {}", suggest::list(accepted))
        })
}

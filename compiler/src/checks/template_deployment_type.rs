//! `template/deployment-type`: a service of another deployment type than its workflow is made for.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{Because, Ty};

pub const RULE: Rule = Rule {
    name: "template/deployment-type",
    severity: Severity::Error,
    summary: "a service of another deployment type than the workflow is made for",
    page: include_str!("template_deployment_type.md"),
};

/// `found` cannot be the service that `expected` asks for.
pub fn report(
    model: &Model<'_>,
    at: Location,
    found: &Ty,
    expected: &Ty,
    because: &Because,
    candidates: &[String],
) -> Diagnostic {
    let message = format!("a `{}` cannot be deployed as `{}`", found.show(model), expected.show(model));
    mismatch(Diagnostic::new(&RULE, at, message), model, found, expected, because, candidates)
}

/// What all template rules say beside their message.
pub fn mismatch(
    diagnostic: Diagnostic,
    model: &Model<'_>,
    found: &Ty,
    expected: &Ty,
    because: &Because,
    candidates: &[String],
) -> Diagnostic {
    let wanted = expected.show(model);
    let mut diagnostic = diagnostic.label(format!("this is `{}`", found.show(model)));
    if let Some((place, _)) = because {
        diagnostic = diagnostic.also(*place, format!("the template asks for `{wanted}`"));
    }
    let help = if candidates.is_empty() {
        format!(
            "nothing declared here is `{wanted}`: declare one, or use a workflow made for `{}`",
            found.show(model)
        )
    } else {
        format!("these would fit: {}", suggest::list(candidates))
    };
    diagnostic.help(help)
}

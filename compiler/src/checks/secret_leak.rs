//! `secret/leak`: a secret would become text.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "secret/leak",
    severity: Severity::Error,
    summary: "a secret reaches text, where logs and journals would show it",
    page: include_str!("secret_leak.md"),
};

/// The secret `name` stands in text.
pub fn report(at: Location, name: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("the secret `{name}` would become text"))
        .label("a secret in text")
        .help(format!(
            "hand it over as it is, to a parameter of type `secret`: scripts take `secrets = {{ NAME = {name} }}` and read `$NAME`"
        ))
}

//! `step/place`: a step where it may not stand.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "step/place",
    severity: Severity::Error,
    summary: "a step stands where it may not",
    page: include_str!("step_place.md"),
};

/// The step may stand in `places` only.
pub fn report(at: Location, step: &str, places: &[&str]) -> Diagnostic {
    let (message, help) = match places {
        ["forward"] => ("cannot stand in a rollback block", "move it into the phase itself"),
        ["rollback"] => ("stands in rollback blocks only", "move it into `rollback { … }`"),
        _ => ("is no step of workflows", "it belongs to a declaration of its own"),
    };
    Diagnostic::new(&RULE, at, format!("`{step}` {message}")).label("not here").help(help)
}

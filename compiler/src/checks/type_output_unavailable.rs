//! `type/output-unavailable`: an output of a step that may not have run.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "type/output-unavailable",
    severity: Severity::Error,
    summary: "an output of a step that may not have run, or that two steps could give",
    page: include_str!("type_output_unavailable.md"),
};

/// `step.output` is read where the step may not have run.
pub fn report(at: Location, declared: Location, step: &str, output: &str, reason: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{step}.{output}` may not be there: {reason}"))
        .label("read here")
        .also(declared, format!("step `{step}` stands here"))
        .help(format!(
            "read it after the step, under the same conditions, or say what else: `default({step}.{output}, …)`"
        ))
}

/// Two steps of that name could be meant.
pub fn ambiguous(at: Location, step: &str, places: [Location; 2]) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("two steps are called `{step}`: which one is meant?"))
        .label("read here")
        .also(places[0], "it could be this one")
        .also(places[1], "or this one")
        .help("give one of them another name")
}

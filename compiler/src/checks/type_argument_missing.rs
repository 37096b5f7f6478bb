//! `type/argument-missing`: something must be given and is not.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;
use crate::suggest;

pub const RULE: Rule = Rule {
    name: "type/argument-missing",
    severity: Severity::Error,
    summary: "an argument without a default is not given",
    page: include_str!("type_argument_missing.md"),
};

/// `what` needs the arguments `names`, the first of which is declared there.
pub fn report(at: Location, what: &str, names: &[&str], declared: Location) -> Diagnostic {
    settings(at, what, names).also(declared, "declared here, without a default")
}

/// As [`report`], for entries that the language itself knows.
pub fn settings(at: Location, what: &str, names: &[&str]) -> Diagnostic {
    let plural = if names.len() == 1 { "" } else { "s" };
    Diagnostic::new(&RULE, at, format!("{what} needs the argument{plural} {}", suggest::list(names)))
        .label("not given here")
        .help(format!(
            "add {}",
            names.iter().map(|name| format!("`{name} = …`")).collect::<Vec<_>>().join(", ")
        ))
}

/// `undone_by` and `irreversible` of a step that changes nothing.
pub fn changes(at: Location, name: &str) -> Diagnostic {
    Diagnostic::new(
        &RULE,
        at,
        format!("`{name}` needs `changes = true`: this step counts as changing nothing"),
    )
    .label("speaks of a change")
    .help(format!("add `changes = true` if the step changes its target, else remove `{name}`"))
}

/// None of several choices is given.
pub fn one_of(at: Location, what: &str, choices: &[&str]) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("{what} needs one of {}", suggest::list(choices)))
        .label("none is given")
}

/// A service without an artifact.
pub fn artifact(at: Location, what: &str, accepted: &[&str]) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("{what} needs an artifact"))
        .label("not given here")
        .help(format!("add `artifact = TYPE {{ … }}`; the types here are: {}", suggest::list(accepted)))
}

/// A function with too few arguments.
pub fn function(at: Location, name: &str, count: usize, given: usize) -> Diagnostic {
    let plural = if count == 1 { "" } else { "s" };
    Diagnostic::new(&RULE, at, format!("`{name}` takes {count} argument{plural}, {given} given"))
        .label("called here")
}

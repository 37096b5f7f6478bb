//! `type/argument-unknown`: something is given that nobody takes.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;
use crate::suggest;

pub const RULE: Rule = Rule {
    name: "type/argument-unknown",
    severity: Severity::Error,
    summary: "an argument is given that nobody takes",
    page: include_str!("type_argument_unknown.md"),
};

/// `what` takes no argument `name`.
pub fn report<'a>(
    at: Location,
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("{what} takes no argument `{name}`"))
        .label("not known here")
        .maybe_help(elsewhere(name).or_else(|| suggest::help("argument", name, known)))
}

/// Whether something better can be said of the name than what there is.
pub fn is_explained<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> bool {
    elsewhere(name).is_some() || suggest::nearest(name, known).is_some()
}

/// An unknown argument, for which the value of another one was meant that is needed and not given.
pub fn renamed(report: Diagnostic, meant: &str) -> Diagnostic {
    report.help(format!("`{meant}` is needed, and not given: was that meant?"))
}

/// A function with too many arguments.
pub fn function(at: Location, name: &str, count: usize, given: usize) -> Diagnostic {
    let plural = if count == 1 { "" } else { "s" };
    Diagnostic::new(&RULE, at, format!("`{name}` takes {count} argument{plural}, {given} given"))
        .label("called here")
}

/// A second one of several choices.
pub fn one_of(at: Location, name: &str, first: Location, other: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{name}` cannot be given beside `{other}`"))
        .label("one too many")
        .also(first, "already given here")
        .help("keep one of them")
}

/// What other languages write as an entry, and this one in words of its own.
fn elsewhere(name: &str) -> Option<String> {
    match name {
        "skip_if" => Some("write `skip if CONDITION`, without `=`".into()),
        "only_if" => Some("write `only if CONDITION`, without `=`".into()),
        "use" => Some("write `use RESOURCE`, without `=`".into()),
        "notify" => Some("write `notify CHANNEL on EVENT`, without `=`".into()),
        _ => lockstep_grammar::foreign_help(name),
    }
}

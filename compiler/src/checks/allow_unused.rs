//! `allow/unused`: a comment that silences nothing.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::program::Program;
use crate::rules::{Rule, rules};
use crate::suggest;

pub const RULE: Rule = Rule {
    name: "allow/unused",
    severity: Severity::Warning,
    summary: "an `allow` comment that silences nothing",
    page: include_str!("allow_unused.md"),
};

/// The comment names a rule that reports nothing on the next line.
pub fn report(program: &Program, at: Location, name: &str) -> Diagnostic {
    let known = rules().iter().any(|rule| rule.name == name) || name.starts_with("syntax/");
    let help = if known {
        "remove it; an `allow` silences reports whose first place is on the next line".to_string()
    } else {
        let near = suggest::nearest(name, rules().iter().map(|rule| rule.name));
        near.map_or("there is no such rule".into(), |near| {
            format!("there is no such rule; did you mean `{near}`?")
        })
    };
    let report = Diagnostic::new(&RULE, at, format!("this `allow({name})` silences nothing"))
        .label("not needed")
        .help(help);
    // A name with a slip in it is better mended.
    if known { report.fix("remove it", vec![(program.removal(at), String::new())]) } else { report }
}

/// `// allow(NAME): reason` without the reason.
pub fn without_reason(at: Location, name: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`allow({name})` gives no reason, and is not followed"))
        .label("why?")
        .help(format!("say why: `// allow({name}): …`"))
}

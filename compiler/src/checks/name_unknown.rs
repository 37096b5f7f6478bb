//! `name/unknown`: a name that means nothing here.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;
use crate::suggest;

pub const RULE: Rule = Rule {
    name: "name/unknown",
    severity: Severity::Error,
    summary: "a name that is not declared",
    page: include_str!("name_unknown.md"),
};

/// `what` is not called `name`.
pub fn report<'a>(
    at: Location,
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let message = if what == "name" {
        format!("`{name}` is not declared")
    } else {
        format!("there is no {what} `{name}`")
    };
    let help = if what == "deployment type" && matches!(name, "k8s" | "kube" | "k8") {
        Some("did you mean `kubernetes`?".into())
    } else if let Some(ours) = elsewhere(what, name) {
        Some(format!("did you mean `{ours}`?"))
    } else if let Some(help) = lockstep_grammar::foreign_value_help(name).filter(|_| what == "name") {
        Some(help.to_string())
    } else if matches!(what, "name" | "step") {
        let near = suggest::nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        near.or_else(|| {
            (what == "name").then(|| format!("{DECLARE}, or write it in quotes if it is text: `\"{name}\"`"))
        })
    } else if what == "type" && matches!(name, "Optional" | "optional" | "Option" | "Maybe") {
        Some("what may be left out is `name: type?`".into())
    } else if what == "function" && matches!(name, "not" | "NOT") {
        Some("write `!(…)`".into())
    } else if what == "function"
        && matches!(name, "concat" | "format" | "printf" | "str" | "string" | "tostring")
    {
        Some("text is joined by interpolation: `\"${a} and ${b}\"`".into())
    } else {
        suggest::help(what, name, known)
    };
    Diagnostic::new(&RULE, at, message).label("not known here").maybe_help(help)
}

/// What may be done about a name that is like no other.
const DECLARE: &str = "declare it";

/// A name that is read within a text is meant to be one.
pub fn within_text(found: &mut Diagnostic) {
    found.help.take_if(|help| found.rule == RULE.name && help.starts_with(DECLARE));
}

/// `web(version)`, as if a service were a function.
pub fn service_called(at: Location, name: &str, declared: Location) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("there is no function `{name}`"))
        .label("a service, not a function")
        .also(declared, "the service is declared here")
        .help(format!("arguments of a service stand in braces: `{name} {{ name = value }}`"))
}

/// `owner.name` does not exist.
pub fn member<'a>(
    at: Location,
    owner: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let message = if name.is_empty() {
        format!("`{owner}` alone is no value")
    } else {
        format!("`{owner}` has no `{name}`")
    };
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("`{owner}` has {}", suggest::list(&known))),
    };
    Diagnostic::new(&RULE, at, message).label("not known here").maybe_help(help)
}

/// A step gives no such output.
pub fn output(at: Location, step: &str, signature: &str, name: &str, known: Vec<&str>) -> Diagnostic {
    let help = if known.is_empty() {
        Some(format!("a `{signature}` step gives no outputs"))
    } else {
        suggest::help("output", name, known)
    };
    Diagnostic::new(&RULE, at, format!("step `{step}` has no output `{name}`"))
        .label("no such output")
        .maybe_help(help)
}

/// A step is named where a value should be.
pub fn step_alone<'a>(at: Location, step: &str, outputs: impl Iterator<Item = &'a str>) -> Diagnostic {
    let outputs: Vec<String> = outputs.map(|output| format!("{step}.{output}")).collect();
    let help = match outputs.as_slice() {
        [] => "it gives no outputs".to_string(),
        outputs => format!("what it gives is {}", suggest::list(outputs)),
    };
    Diagnostic::new(&RULE, at, format!("step `{step}` alone is no value")).label("a step").help(help)
}

/// A provider is named where one of its steps should be.
pub fn step_of<'a>(at: Location, provider: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    let steps: Vec<String> = known.into_iter().map(|step| format!("{provider}.{step}")).collect();
    Diagnostic::new(&RULE, at, format!("provider `{provider}` has no step of its own name"))
        .label("which of its steps?")
        .maybe_help((!steps.is_empty()).then(|| format!("its steps are: {}", suggest::list(&steps))))
}

/// `undone_by` names no step of a rollback block.
pub fn rollback_step(at: Location, name: &str, known: Vec<&str>) -> Diagnostic {
    let help = if known.is_empty() {
        "add `rollback { … }` with that step to the phase".to_string()
    } else {
        suggest::help("rollback step", name, known).unwrap_or_default()
    };
    Diagnostic::new(&RULE, at, format!("no step `{name}` stands in a rollback block of this phase"))
        .label("not known here")
        .help(help)
}

/// A service or environment whose settings read themselves.
pub fn circle(at: Location, name: &str) -> Diagnostic {
    Diagnostic::new(
        &RULE,
        at,
        format!("what `{name}` holds is not known: its settings lead back to themselves"),
    )
    .label("read by its own settings")
    .help("write the value out where it is read, or make it a parameter")
}

/// Services or targets that read each other, too many of them in a row.
pub fn chain(at: Location, name: &str, most: usize) -> Diagnostic {
    Diagnostic::new(
        &RULE,
        at,
        format!("what `{name}` holds is not known: it is read through more than {most} others"),
    )
    .label("at the end of a chain")
    .help("write the value out where it is read, or make it a parameter")
}

/// How this language spells a word of others.
fn elsewhere(what: &str, name: &str) -> Option<&'static str> {
    Some(match (what, name) {
        ("type", "str" | "String" | "text") => "string",
        ("type", "integer" | "Int" | "number" | "int32" | "int64") => "int",
        ("type", "boolean" | "Bool" | "Boolean") => "bool",
        ("type", "array") => "list",
        ("type", "object" | "dict") => "map",
        ("function", "not") => "!",
        ("function", "length" | "size" | "count") => "len",
        ("function", "regex" | "match") => "matches",
        ("function", "coalesce" | "or_else") => "default",
        ("function", "toUpper" | "upcase") => "upper",
        ("function", "toLower" | "downcase") => "lower",
        ("name", "True" | "TRUE" | "yes") => "true",
        ("name", "False" | "FALSE" | "no") => "false",
        _ => return None,
    })
}

//! `type/mismatch`: a value of another type than the one that can stand there.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;
use crate::suggest;
use crate::types::{Because, ParamInfo, Ty, Typer, Why};
use lockstep_grammar::ast::Within;

pub const RULE: Rule = Rule {
    name: "type/mismatch",
    severity: Severity::Error,
    summary: "a value of another type than the one that can stand there",
    page: include_str!("type_mismatch.md"),
};

/// `expected`, but `found`.
pub fn report(at: Location, expected: &str, found: &str, because: &Because) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(&RULE, at, format!("expected `{expected}`, found `{found}`"))
        .label(format!("this is `{found}`"))
        .maybe_help(advice(expected, found));
    if let Some((place, text)) = because {
        diagnostic = diagnostic.also(*place, text.to_string());
    }
    diagnostic
}

/// A text that would fit if it stood without its quotes; nothing where it would not.
pub fn quoted(report: Diagnostic, expected: &str, written: &str) -> Diagnostic {
    let at = report.primary;
    let inner = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let bare = match inner {
        "true" | "false" => Some("bool"),
        _ => lockstep_grammar::number_type(inner),
    };
    if bare != Some(expected.trim_end_matches('?')) {
        return report;
    }
    let help = format!("write it without quotes: `{inner}`");
    report.help(help).fix("remove the quotes", vec![(at, inner.to_string())])
}

fn advice(expected: &str, found: &str) -> Option<String> {
    match (expected, found) {
        ("string", "int" | "bool" | "duration" | "percent" | "path") => {
            Some("write it as text, `\"${…}\"` around a name".into())
        }
        ("duration", "int") => Some("durations have a unit: `30s`, `10m`, `1h30m`".into()),
        ("percent", "int") => Some("a share ends in `%`: `20%`".into()),
        (_, found) if found.ends_with('?') => {
            Some("it may be missing: `default(value, otherwise)` says what then".into())
        }
        (list, found) if list.starts_with("list<") && !found.starts_with("list<") => {
            Some("a list is written in brackets: `[a, b]`".into())
        }
        (target, "environment") if target.starts_with("infrastructure") => {
            Some("name one of its targets: `ENVIRONMENT.TARGET`".into())
        }
        (named, "string") if ["service", "infrastructure"].iter().any(|kind| named.starts_with(kind)) => {
            Some("it is named without quotes".into())
        }
        ("group" | "channel" | "environment", "string") => Some("it is named without quotes".into()),
        ("secret", _) => Some("declare one: `secret NAME = env { name = \"…\" }`".into()),
        _ => None,
    }
}

/// A value that cannot become text.
pub fn text(at: Location, found: &str) -> Diagnostic {
    let help = if found.ends_with('?') {
        "it may be missing: `default(value, otherwise)` says what then"
    } else {
        "only text, numbers, truth values, durations and shares become text; `join(list, \", \")` writes a list"
    };
    Diagnostic::new(&RULE, at, format!("`{found}` cannot stand in text")).label("this is no text").help(help)
}

/// Two values that cannot be compared.
pub fn comparison(at: Location, left: (Location, &str), right: (Location, &str)) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{}` and `{}` cannot be compared", left.1, right.1))
        .label("compared here")
        .also(left.0, format!("this is `{}`", left.1))
        .also(right.0, format!("this is `{}`", right.1))
}

/// A declaration that is no value.
pub fn not_a_value(at: Location, name: &str, kind: &str, declared: Location) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{name}` is a {kind}, which is no value"))
        .label("not a value")
        .also(declared, format!("the {kind} is declared here"))
}

/// `NAME { … }` of something that is no service.
pub fn not_a_service(at: Location, name: &str, kind: &str, declared: Location) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{name}` is a {kind}; only services take arguments here"))
        .label("not a service")
        .also(declared, format!("the {kind} is declared here"))
}

/// A general provider where a deployment type must stand.
pub fn not_a_deployment_type(at: Location, what: &str, name: &str, known: &[&str]) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{name}` is not a deployment type: it has no {what}s"))
        .label("not a deployment type")
        .help(format!("deployment types are: {}", suggest::list(known)))
}

/// An artifact that is not written as one.
pub fn artifact(at: Location, accepted: &[&str]) -> Diagnostic {
    let example = accepted.first().copied().unwrap_or("other");
    Diagnostic::new(&RULE, at, "an artifact is written with its type").label("not an artifact").help(format!(
        "write `artifact = {example} {{ … }}`; the types here are: {}",
        suggest::list(accepted)
    ))
}

/// A name of something else.
pub fn wrong_kind(at: Location, name: &str, wanted: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{name}` is not a {wanted}")).label(format!("expected a {wanted}"))
}

/// A type with the wrong number of arguments.
pub fn type_arguments(at: Location, name: &str, count: usize) -> Diagnostic {
    let help = match (name, count) {
        ("service", _) => {
            "write `service`, `service<PROVIDER>` or `service<PROVIDER, ARTIFACT | ARTIFACT>`".into()
        }
        ("infrastructure", _) => "write `infrastructure` or `infrastructure<PROVIDER>`".to_string(),
        (_, 0) => format!("write `{name}` alone"),
        _ => format!("write `{name}<TYPE>`"),
    };
    Diagnostic::new(&RULE, at, format!("type `{name}` has the wrong number of arguments"))
        .label("here")
        .help(help)
}

/// A restriction that its type cannot have.
pub fn restriction<'p>(typer: &mut Typer<'_, 'p>, info: &ParamInfo<'p>) {
    let (fine, span) = match info.within() {
        None => return,
        Some(Within::List(items, span)) => {
            for item in items {
                let because = Some((info.location(), Why::Said("its values are restricted here".into())));
                typer.expect(item, info.ty.required(), &because);
            }
            (info.ty.is_data(), *span)
        }
        Some(Within::Range(_, _, span)) => (matches!(info.ty.required(), Ty::Int | Ty::Error), *span),
        Some(Within::Name(name)) => (matches!(info.ty.required(), Ty::Infra(_) | Ty::Error), name.span),
    };
    if !fine {
        let at = typer.at(span);
        let ty = info.ty.show(typer.model);
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("`{ty}` cannot be restricted like this"))
                .label("this restriction")
                .help("`in [a, b]` lists values, `in 1..20` is for `int`, `in NAME` keeps infrastructure in an environment"),
        );
    }
}

//! `type/not-allowed-value`: a value of the right type that is not among those allowed.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::program::FileId;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{ParamInfo, Ty};
use lockstep_grammar::ast::{Expr, ExprKind, TextPart, Within};
use lockstep_plan::{EvalError, Function, Value};

pub const RULE: Rule = Rule {
    name: "type/not-allowed-value",
    severity: Severity::Error,
    summary: "a value that its type allows, but its parameter or setting does not",
    page: include_str!("type_not_allowed_value.md"),
};

/// A setting that takes one of a few words.
pub fn word(at: Location, setting: &str, found: &str, allowed: &[&str]) -> Diagnostic {
    let bare = found.trim_matches('"');
    let report =
        Diagnostic::new(&RULE, at, format!("`{setting}` cannot be `{bare}`")).label("not one of its words");
    if bare != found && allowed.contains(&bare) {
        let help = format!("write it without quotes: `{setting} = {bare}`");
        return report.help(help).fix("remove the quotes", vec![(at, bare.to_string())]);
    }
    let near = suggest::nearest(found, allowed.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    report.help(near.unwrap_or_else(|| format!("it takes {}", suggest::list(allowed))))
}

/// A number that has to stand in the source, and is computed instead.
pub fn number_written(at: Location, setting: &str, found: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{setting}` has to be a number that is written here, not `{found}`"))
        .label("known only where the workflow is used")
        .help("write the number; stages that need different ones take workflows of their own")
}

/// A literal that a restriction leaves out. Other values are checked once they are known.
pub fn literal(
    model: &Model<'_>,
    file: FileId,
    expr: &Expr,
    info: &ParamInfo<'_>,
    sink: &mut Vec<Diagnostic>,
) {
    if info.within().is_none() {
        return;
    }
    // Whatever decides, both may come.
    match &expr.kind {
        ExprKind::If { then, otherwise, .. } => {
            literal(model, file, then, info, sink);
            return literal(model, file, otherwise, info, sink);
        }
        ExprKind::Paren(inner) => return literal(model, file, inner, info, sink),
        _ => {}
    }
    if let Some(value) = constant(expr)
        && let Some(diagnostic) = check(model, Location { file, span: expr.span }, &value, info)
    {
        sink.push(diagnostic);
    }
}

/// The value of a literal.
pub fn constant(expr: &Expr) -> Option<Value> {
    Some(match &expr.kind {
        ExprKind::Bool(value) => Value::Bool(*value),
        ExprKind::Int(value) => Value::Int(*value),
        ExprKind::Percent(value) => Value::Percent(*value),
        ExprKind::Duration(value) => Value::Duration(*value),
        ExprKind::Text(text) => match text.parts.as_slice() {
            [] => Value::Text(String::new()),
            [TextPart::Literal(text)] => Value::Text(text.as_str().to_owned()),
            _ => return None,
        },
        ExprKind::Paren(inner) => return constant(inner),
        _ => return None,
    })
}

/// What to say about a value that the parameter's restriction leaves out.
pub fn check(_model: &Model<'_>, at: Location, value: &Value, info: &ParamInfo<'_>) -> Option<Diagnostic> {
    let allowed = allowed(value, info.within()?)?;
    Some(
        Diagnostic::new(&RULE, at, format!("`{value}` is not allowed for `{}`", info.name()))
            .label("not one of the allowed values")
            .also(info.location(), format!("`{}` is restricted here", info.name()))
            .help(match suggest::nearest(&value.to_string(), allowed.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("allowed: {}", suggest::list(&allowed)),
            }),
    )
}

/// A pipeline parameter goes, with its default, to a workflow that does not allow it.
pub fn default(
    at: Location,
    default: Location,
    declared: Location,
    (name, value): (&str, &Value),
    allowed: &[String],
) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{value}`, the default of `{name}`, is not allowed here"))
        .label("it goes here")
        .also(default, "this is the default")
        .also(declared, "the values are restricted here")
        .help(match suggest::nearest(&value.to_string(), allowed.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "allowed: {}; give `{name}` one of them as its default, or none",
                suggest::list(allowed)
            ),
        })
}

/// What is allowed, for people, where `value` is not.
pub fn allowed(value: &Value, within: &Within) -> Option<Vec<String>> {
    match within {
        Within::List(items, _) => {
            let items: Option<Vec<Value>> = items.iter().map(constant).collect();
            let items = items?;
            let same = |item: &Value| match (item.as_text(), value.as_text()) {
                (Some(item), Some(value)) => item == value,
                _ => item == value,
            };
            (!items.iter().any(same)).then(|| items.iter().map(Value::to_string).collect())
        }
        Within::Range(first, last, _) => match value {
            Value::Int(value) if value < first || value > last => Some(vec![format!("{first}..{last}")]),
            _ => None,
        },
        Within::Name(_) => None,
    }
}

/// A step is given a share of more than everything.
pub fn share(at: Location, value: &Value, info: &ParamInfo<'_>) -> Option<Diagnostic> {
    let Value::Percent(101..) = value else { return None };
    (*info.ty.required() == Ty::Percent).then(|| {
        Diagnostic::new(&RULE, at, format!("`{value}` is not allowed for `{}`", info.name()))
            .label("more than everything")
            .help("a share goes up to `100%`")
    })
}

/// A number of things of which there has to be one at least.
pub fn none(at: Location, setting: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`{setting}` cannot be `0`"))
        .label("at least `1`")
        .help("with none, whoever asks would wait for ever or hold nothing")
}

/// `changes = false` of a step that always changes its target.
pub fn changes(at: Location, step: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("`changes` cannot be `false`: `{step}` always changes its target"))
        .label("it does")
        .help("remove it; a change that cannot be taken back is `irreversible = true`")
}

/// A timeout that reads what only a run will know.
pub fn timeout(at: Location) -> Diagnostic {
    Diagnostic::new(&RULE, at, "a timeout is known before the run, and this one reads what a step gives")
        .label("known only when it runs")
        .help("take it as a parameter, or write it out: `timeout = 10m`")
}

/// A literal that is no regular expression.
pub fn bad_pattern(at: Location, pattern: &Expr) -> Option<Diagnostic> {
    let pattern = constant(pattern)?;
    let text = lockstep_plan::Expr::Value(Value::Text(String::new()));
    let matches =
        lockstep_plan::Expr::Call(Function::Matches, vec![text, lockstep_plan::Expr::Value(pattern)]);
    match matches.fold() {
        Err(EvalError::Pattern { pattern, message }) => Some(self::pattern(at, &pattern, &message)),
        _ => None,
    }
}

/// A text that is no regular expression.
pub fn pattern(at: Location, pattern: &str, message: &str) -> Diagnostic {
    let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
    Diagnostic::new(&RULE, at, format!("`{pattern}` is not a regular expression")).label(last)
}

/// A value that is made of others, and those of others, too often.
pub fn too_deep(at: Location, most: usize) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("this value is made of others, more than {most} levels deep"))
        .label("too deep")
        .help("write part of it out, or hand it in as a parameter")
}

/// A pipeline that expands to more than is looked at: among many others, or at all.
pub fn too_large(at: Location, among_others: bool) -> Diagnostic {
    let what = "this pipeline expands to more steps, barriers and arguments than";
    if !among_others {
        let help = "shorten the lists of its loops, or make several pipelines of it";
        return Diagnostic::new(&RULE, at, format!("{what} can be carried out"))
            .label("from here on")
            .help(help);
    }
    let mut note = Diagnostic::new(&RULE, at, format!("{what} are looked at here"))
        .label("from here on")
        .help("`dsl plan` with its name checks all of it, as `dsl run` does before it begins");
    note.severity = Severity::Note;
    note
}

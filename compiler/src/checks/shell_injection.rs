//! `shell/injection`: a value that only a run knows is spliced into a script.

use super::type_output_unavailable;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use crate::types::{Ty, Typer};
use lockstep_grammar::ast::{Expr, ExprKind, Path, Step, TextPart};

pub const RULE: Rule = Rule {
    name: "shell/injection",
    severity: Severity::Warning,
    summary: "a run-time value is spliced into a script instead of passed as an environment variable",
    page: include_str!("shell_injection.md"),
};

/// Looks at the `script` of a step. What has been reported of the step begins at `before`: an output that is not there is
/// not spliced, either.
pub fn step<'p>(typer: &mut Typer<'_, 'p>, step: &'p Step, before: usize) {
    let Some(entry) = step.arguments.entries.iter().find(|entry| entry.name.text == "script") else { return };
    let mut spliced = Vec::new();
    collect(typer, &entry.value, &mut spliced);
    for expr in spliced {
        let at = typer.at(expr.span);
        let is_there =
            |found: &Diagnostic| found.rule != type_output_unavailable::RULE.name || found.primary != at;
        if !typer.sink[before..].iter().all(is_there) {
            continue;
        }
        let text = typer.model.program.text(typer.file, expr.span);
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("`{text}` becomes part of the script, whatever it holds"))
                .label("known only when it runs")
                .help(format!("pass it as a variable: `env = {{ VALUE = {text} }}`, and write `\"$VALUE\"` in the script")),
        );
    }
}

/// The names whose text becomes part of the value; what only decides between values does not.
fn collect<'p>(typer: &Typer<'_, 'p>, expr: &'p Expr, spliced: &mut Vec<&'p Expr>) {
    match &expr.kind {
        ExprKind::Text(text) => {
            for part in &text.parts {
                if let TextPart::Expr(inner) = part {
                    collect(typer, inner, spliced);
                }
            }
        }
        ExprKind::Paren(inner) => collect(typer, inner, spliced),
        ExprKind::If { then, otherwise, .. } => {
            collect(typer, then, spliced);
            collect(typer, otherwise, spliced);
        }
        ExprKind::Call { name, arguments }
            if matches!(name.text.as_str(), "default" | "lower" | "upper" | "join") =>
        {
            arguments.iter().for_each(|argument| collect(typer, argument, spliced));
        }
        ExprKind::List(items) => items.iter().for_each(|item| collect(typer, item, spliced)),
        ExprKind::Path(path) if is_text_of_the_run(typer, path) => spliced.push(expr),
        _ => {}
    }
}

fn is_text_of_the_run(typer: &Typer<'_, '_>, path: &Path) -> bool {
    let head = path.names[0].text.as_str();
    let Some(member) = path.names.get(1) else { return false };
    if typer.vars.iter().any(|var| var.name == head) {
        return false;
    }
    let member = member.text.as_str();
    match head {
        "run" => member == "by",
        "failure" => typer.standing.rollback.is_some() && member == "message",
        _ => {
            let output = typer.steps.iter().filter(|info| info.step.name.text == head).find_map(|info| {
                info.outputs.iter().find(|output| output.name() == member).map(|output| output.ty.clone())
            });
            matches!(output, Some(Ty::String | Ty::Path))
        }
    }
}

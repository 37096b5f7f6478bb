//! `shell/injection`: a value that only a run knows is spliced into a script.

use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use crate::types::{Ty, Typer};
use lockstep_grammar::ast::{ExprKind, Step, TextPart};

pub const RULE: Rule = Rule {
    name: "shell/injection",
    severity: Severity::Warning,
    summary: "a run-time value is spliced into a script instead of passed as an environment variable",
    page: include_str!("shell_injection.md"),
};

/// Looks at the `script` of a step.
pub fn step<'p>(typer: &mut Typer<'_, 'p>, step: &'p Step) {
    let Some(entry) = step.arguments.entries.iter().find(|entry| entry.name.text == "script") else { return };
    let ExprKind::Text(text) = &entry.value.kind else { return };
    for part in &text.parts {
        let TextPart::Expr(expr) = part else { continue };
        let ExprKind::Path(path) = &expr.kind else { continue };
        let head = path.names[0].text.as_str();
        if path.names.len() < 2 || typer.vars.iter().any(|var| var.name == head) {
            continue;
        }
        let member = path.names[1].text.as_str();
        let spliced = match head {
            "run" => member == "by",
            "failure" => typer.standing.rollback.is_some() && member == "message",
            _ => {
                let output = typer.steps.iter().filter(|info| info.step.name.text == head).find_map(|info| {
                    info.outputs.iter().find(|output| output.name() == member).map(|output| output.ty.clone())
                });
                matches!(output, Some(Ty::String | Ty::Path))
            }
        };
        if spliced {
            let at = typer.at(expr.span);
            let text = typer.model.program.text(typer.file, expr.span);
            typer.sink.push(
                Diagnostic::new(&RULE, at, format!("`{text}` becomes part of the script, whatever it holds"))
                    .label("known only when it runs")
                    .help(format!("pass it as a variable: `env = {{ VALUE = {text} }}`, and write `\"$VALUE\"` in the script")),
            );
        }
    }
}

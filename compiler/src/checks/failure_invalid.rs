//! `failure/invalid`: a failure rule that speaks of something there is not.

use crate::checks::walk::{self, RuleScope};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{Ty, Typer};
use lockstep_grammar::ast::{ActionKind, DeclarationKind, Name};
use lockstep_plan::Kind;

pub const RULE: Rule = Rule {
    name: "failure/invalid",
    severity: Severity::Error,
    summary: "a failure rule with an unknown kind or group, or an action that cannot be taken there",
    page: include_str!("failure_invalid.md"),
};

/// The group of an `ask`.
pub fn group<'p>(typer: &mut Typer<'_, 'p>, group: &'p Name) {
    let before = typer.sink.len();
    typer.named(group, &Ty::Group, "group");
    if typer.sink.len() > before {
        typer.sink.truncate(before);
        let module = typer.module();
        let names = &typer.model.names(module).declarations;
        let known: Vec<&str> = names
            .values()
            .filter(|id| matches!(typer.model.decl(**id).kind, DeclarationKind::Group(_)))
            .map(|id| typer.model.name(*id))
            .collect();
        let at = typer.at(group.span);
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("there is no group `{}` to ask", group.text))
                .label("not a group")
                .help(suggest::help("group", &group.text, known).unwrap_or_else(|| {
                    format!("declare it: `group {} {{ members = [\"…\"] }}`", group.text)
                })),
        );
    }
}

/// Kinds, `under`, and actions that their place does not allow.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, scope, failures) in walk::failures(model) {
        for failure in failures {
            for kind in &failure.kinds {
                if Kind::from_name(&kind.text).is_none() {
                    let at = Location { file, span: kind.span };
                    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                    let help = suggest::nearest(&kind.text, known.iter().copied())
                        .map(|near| format!("did you mean `{near}`?"))
                        .unwrap_or_else(|| format!("kinds are {}", suggest::list(&known)));
                    sink.push(
                        Diagnostic::new(&RULE, at, format!("there is no failure kind `{}`", kind.text))
                            .label("not a kind")
                            .help(help),
                    );
                }
            }
            let mut action = &failure.action;
            loop {
                let wrong = match (&action.kind, scope) {
                    (ActionKind::RollbackPipeline, RuleScope::Pipeline) => None,
                    (ActionKind::RollbackPipeline, _) => Some((
                        "`rollback pipeline` stands in pipelines only",
                        "move the rule into the pipeline, or write `rollback`",
                    )),
                    (ActionKind::RollbackPhase, RuleScope::Pipeline | RuleScope::RollbackStep) => {
                        Some(("there is no phase to roll back here", "write `rollback`"))
                    }
                    (
                        ActionKind::Rollback
                        | ActionKind::Succeed
                        | ActionKind::Retry { .. }
                        | ActionKind::Ask { .. },
                        RuleScope::Pipeline,
                    ) => Some((
                        "a pipeline's rule cannot do this",
                        "a pipeline takes `rollback pipeline`, `fail`, `ignore` and `abort`",
                    )),
                    (
                        ActionKind::Rollback | ActionKind::Succeed | ActionKind::Abort,
                        RuleScope::RollbackStep,
                    ) => Some((
                        "a step of a rollback block cannot do this",
                        "it takes `retry`, `ask`, `ignore` and `fail`",
                    )),
                    _ => None,
                };
                if let Some((message, help)) = wrong {
                    let at = Location { file, span: action.span };
                    sink.push(Diagnostic::new(&RULE, at, message).label("not here").help(help));
                    break;
                }
                match &action.kind {
                    ActionKind::Retry { then, .. } | ActionKind::Ask { then, .. } => action = then,
                    _ => break,
                }
            }
        }
    }
}

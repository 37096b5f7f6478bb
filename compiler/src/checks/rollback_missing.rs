//! `rollback/missing`: a step that changes its target, and nothing that undoes it.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model};
use crate::program::FileId;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{steps_of, strangers};
use lockstep_grammar::ast::{ExprKind, Phase, Rollback, Signature, Span, Step};

pub const RULE: Rule = Rule {
    name: "rollback/missing",
    severity: Severity::Warning,
    summary: "a changing step that no rollback undoes, and that does not say `irreversible`",
    page: include_str!("rollback_missing.md"),
};

/// Looks at every step that changes something.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, workflow) in walk::workflows(model) {
        let program = model.program;
        if program.broken(file, workflow.body).any(|it| !is_within(&workflow.phases, it)) {
            continue;
        }
        for phase in workflow.phases.iter().filter(|phase| !program.is_broken(file, phase.span)) {
            // The workflow's block replaces the phases' ones. Of one that undoes nothing `rollback/empty` tells.
            let block = workflow.rollbacks.first().or(phase.rollbacks.first());
            let block = block.filter(|block| steps_of(&block.items).next().is_some());
            for step in steps_of(&phase.items) {
                let Some((provider, signature)) = model.find_step(file, &step.path) else {
                    continue;
                };
                let covered = match undone_by(step) {
                    Some(name) => named(name, phase, block),
                    None => derived(model, file, provider, signature, block),
                };
                let damaged = || {
                    let declared = (provider.file, signature.span);
                    let places = [(file, step.arguments.span), declared];
                    places.iter().any(|(file, span)| model.program.is_damaged(*file, *span))
                };
                if !is_open(step, signature) || covered || damaged() {
                    continue;
                }
                let name = &step.name.text;
                let at = |span| Location { file, span };
                let diagnostic =
                    Diagnostic::new(&RULE, at(step.name.span), format!("nothing undoes step `{name}`"))
                        .label("changes its target");
                sink.push(match block {
                    Some(block) => diagnostic
                        .also(at(block.keyword), "this block replaces the derived rollback, and leaves it out")
                        .help(format!(
                            "add a step that undoes it and say `undone_by = NAME` in `{name}`, or `irreversible = true`"
                        )),
                    None => diagnostic.help(
                        "add `undone_by = NAME` and a step of that name in `rollback { … }`, or say `irreversible = true`",
                    ),
                });
            }
        }
    }
}

/// Whether a span lies within one of these phases, which are in source order.
fn is_within(phases: &[Phase], span: Span) -> bool {
    let behind = phases.partition_point(|phase| phase.span.start <= span.start);
    phases[..behind].last().is_some_and(|phase| span.end <= phase.span.end)
}

fn says(step: &Step, name: &str) -> bool {
    let given = |entry: &&lockstep_grammar::ast::Entry| entry.name.text == name;
    step.arguments
        .entries
        .iter()
        .find(given)
        .is_some_and(|entry| matches!(entry.value.kind, ExprKind::Bool(true)))
}

/// As [`says`], or says something that is no truth value, which is reported.
fn claims(step: &Step, name: &str) -> bool {
    let given = step.arguments.entries.iter().find(|entry| entry.name.text == name);
    given.is_some_and(|entry| !matches!(entry.value.kind, ExprKind::Bool(false)))
}

/// Whether the step changes something and does not say that this is for good.
fn is_open(step: &Step, signature: &Signature) -> bool {
    (signature.changes.is_some() || says(step, "changes"))
        && signature.irreversible.is_none()
        && !claims(step, "irreversible")
        && !slipped(step, signature)
}

/// Whether what it says of its undoing is misspelt, which is reported.
fn slipped(step: &Step, signature: &Signature) -> bool {
    let names = || strangers(step, signature);
    ["irreversible", "undone_by"].into_iter().any(|name| suggest::slipped(name, names()))
        || names().any(|name| name == "rollback")
}

/// What `undone_by` says.
fn undone_by(step: &Step) -> Option<&str> {
    let entry = step.arguments.entries.iter().find(|entry| entry.name.text == "undone_by")?;
    match &entry.value.kind {
        ExprKind::Path(path) => Some(path.names[0].text.as_str()),
        // Judged where values are.
        _ => Some(""),
    }
}

/// Whether the block that counts has the step of that name. One that no block has is judged where names are.
fn named(name: &str, phase: &Phase, block: Option<&Rollback>) -> bool {
    let has = |block: &Rollback| steps_of(&block.items).any(|step| step.name.text == name);
    block.is_none_or(has) || !phase.rollbacks.iter().any(has)
}

/// Whether what the declaration of the step names undoes it, in the block where there is one.
fn derived(
    model: &Model<'_>,
    file: FileId,
    provider: DeclId,
    signature: &Signature,
    block: Option<&Rollback>,
) -> bool {
    let Some(undo) = &signature.undone_by else { return false };
    let Some(block) = block else { return true };
    steps_of(&block.items).any(|it| {
        let found = model.find_step(file, &it.path);
        // One that does not exist is reported, and may be the one that is meant.
        found.is_none_or(|(id, signature)| id == provider && signature.name.text == undo.text)
    })
}

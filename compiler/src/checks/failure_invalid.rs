//! `failure/invalid`: a failure rule that speaks of something there is not.

use crate::checks::walk::{self, RuleScope};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::program::FileId;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{Ty, Typer};
use lockstep_grammar::ast::{ActionKind, DeclarationKind, Failure, Name, Step};
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
        let model = typer.model;
        let groups = |module| {
            let all = model.declared(module).values();
            all.filter(|id| matches!(model.decl(**id).kind, DeclarationKind::Group(_)))
                .map(|id| model.name(*id))
        };
        let import = group.text.rsplit_once('.').map(|(import, _)| import);
        let imported = import.and_then(|import| {
            let module = model.names(typer.module()).imports.get(import)?.module?;
            Some(groups(module).map(|name| format!("{import}.{name}")).collect::<Vec<_>>())
        });
        let known = match &imported {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => groups(typer.module()).collect::<Vec<_>>(),
        };
        let at = typer.at(group.span);
        typer.sink.push(
            Diagnostic::new(&RULE, at, format!("there is no group `{}` to ask", group.text))
                .label("not a group")
                .help(suggest::help("group", &group.text, known).unwrap_or_else(|| {
                    // No declaration has a dot in its name: what is before it is the import.
                    match group.text.rsplit_once('.') {
                        Some((module, name)) => {
                            format!("declare it in `{module}`: `group {name} {{ members = [\"…\"] }}`")
                        }
                        None => format!("declare it: `group {} {{ members = [\"…\"] }}`", group.text),
                    }
                })),
        );
    }
}

/// Whether a step works on hosts: the infrastructure of its provider has a list of them. A provider that is not known
/// is some other report's matter.
fn has_hosts(model: &Model<'_>, file: FileId, step: &Step) -> bool {
    let Some((provider, _)) = model.find_step(file, &step.path) else { return true };
    let fields = model.as_provider(provider).and_then(|it| it.infrastructure.as_ref());
    let mut fields = fields.into_iter().flat_map(|fields| &fields.items);
    fields.any(|field| field.name.text == "hosts" && field.ty.name.text == "list")
}

/// `under N% of hosts` where no step that the rule covers has hosts.
fn under(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, covered, failures) in walk::covered(model, |failure| failure.under.is_some()) {
        if covered.iter().any(|step| has_hosts(model, file, step)) {
            continue;
        }
        let shares = failures.iter().filter_map(|failure| failure.under);
        for (share, span) in shares.filter(|(share, _)| can_be(*share)) {
            let message = format!("`under {share}% of hosts` speaks of hosts, and no step here has any");
            sink.push(
                Diagnostic::new(&RULE, Location { file, span }, message)
                    .label("a share of which hosts?")
                    .help("leave `under …` out, or let the rule stand where steps work on hosts, as those of `ssh` do"),
            );
        }
    }
}

/// Fewer failed than that share: of something that failed that is more than none, and no share is above the whole.
fn can_be(share: u32) -> bool {
    (1..=100).contains(&share)
}

/// A share that always or never holds, and a retry that does not try again.
fn amounts(file: FileId, failure: &Failure, sink: &mut Vec<Diagnostic>) {
    if let Some((share, span)) = failure.under.filter(|(share, _)| !can_be(*share)) {
        let (label, help) = match share {
            0 => ("none is fewer", "leave the rule out, or give a share from `1%` to `100%`"),
            _ => ("more than all of them", "a share goes up to `100%`"),
        };
        let message = format!("`under {share}% of hosts` is no share that some hosts can stay below");
        sink.push(Diagnostic::new(&RULE, Location { file, span }, message).label(label).help(help));
    }
    let mut action = &failure.action;
    while let ActionKind::Retry { then, .. } | ActionKind::Ask { then, .. } = &action.kind {
        if matches!(action.kind, ActionKind::Retry { times: 0, .. }) {
            let at = Location { file, span: action.span };
            sink.push(
                Diagnostic::new(&RULE, at, "`retry 0` does not try again")
                    .label("no attempt")
                    .help("say how often, at least `retry 1 every …`, or leave the retry out"),
            );
        }
        action = then;
    }
}

/// Kinds, `under`, and actions that their place does not allow.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    under(model, sink);
    for (file, scope, failures) in walk::failures(model) {
        for failure in failures {
            amounts(file, failure, sink);
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

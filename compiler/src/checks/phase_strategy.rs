//! `phase/strategy`: phases that do not fit the workflow's strategy.

use crate::checks::type_not_allowed_value::constant;
use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model, setting, words};
use crate::program::FileId;
use crate::rules::Rule;
use crate::suggest;
use crate::types::{STRATEGIES, steps_of};
use lockstep_grammar::ast::{Expr, ExprKind, Phase, Span, Stage, Step, Workflow};
use lockstep_plan::Value;

pub const RULE: Rule = Rule {
    name: "phase/strategy",
    severity: Severity::Error,
    summary: "the phases do not fit the strategy, or the provider does not know the strategy",
    page: include_str!("phase_strategy.md"),
};

/// Steps that bring the release to the target.
pub const DEPLOYING: [&str; 6] = ["rolling", "canary", "promote", "stage", "apply", "deploy"];

/// Steps of one name, with the phase that they stand in.
struct Steps<'p>(Vec<(&'p Phase, &'p Step, DeclId, &'p str)>);

impl<'p> Steps<'p> {
    fn named(&self, names: &[&str]) -> Vec<&(&'p Phase, &'p Step, DeclId, &'p str)> {
        self.0.iter().filter(|(_, _, _, name)| names.contains(name)).collect()
    }
}

const CANARY: &str =
    "`canary` has at least two deploying phases with growing shares, and ends with `promote` or 100%";

/// What a workflow without a strategy has to do with it.
const UNSAID: &str = "a workflow that names no strategy is `basic`";

/// Looks at every workflow; one that names no strategy is `basic`.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, name, workflow) in walk::workflows(model) {
        let declared = name.span;
        let name = name.text.as_str();
        let strategy = setting(&workflow.settings, "strategy").map(|it| it.value.span);
        let word = match strategy {
            Some(_) => words(&workflow.settings, "strategy").first().copied().unwrap_or_default(),
            None => "basic",
        };
        let unknown = || {
            let mut steps = workflow.phases.iter().flat_map(|phase| steps_of(&phase.items));
            steps.any(|step| model.find_step(file, &step.path).is_none())
        };
        let given = || workflow.settings.iter().map(|it| it.name.text.as_str());
        if strategy.is_none() && suggest::slipped("strategy", given()) {
            continue;
        }
        // The strategy may be what is missing, or a phase or a step; a canary is judged by arguments, too.
        let unsure = match word {
            "canary" | "blue_green" if unknown() => true,
            "canary" => model.program.is_damaged(file, workflow.body),
            _ => {
                model.program.is_broken(file, workflow.body)
                    || strategy.is_none()
                        && model.program.without_details(file, workflow.body).any(|it| it == workflow.body)
            }
        };
        if !STRATEGIES.contains(&word) || unsure {
            continue;
        }
        let at = |span: Span| Location { file, span };
        let steps = steps(model, file, workflow);
        let strategy_at = strategy.unwrap_or(declared);
        let mut report = |span: Span, message: String, help: &str| {
            let diagnostic = Diagnostic::new(&RULE, at(span), message).help(help);
            let said = if strategy.is_some() { "the strategy" } else { UNSAID };
            sink.push(if span == strategy_at {
                diagnostic.label(said)
            } else {
                diagnostic.label("does not fit").also(at(strategy_at), said)
            });
        };
        if let Some((_, step, provider, _)) = steps.0.iter().find(|(_, _, provider, _)| {
            let known = model.as_provider(*provider).map(|it| words(&it.settings, "strategies"));
            let known = known.unwrap_or_default();
            // One that is none has been reported where it is listed, and may be this one.
            let is_clear =
                model.has_clear_settings(*provider) && known.iter().all(|known| STRATEGIES.contains(known));
            is_clear && !matches!(word, "basic" | "multi_service") && !known.contains(&word)
        }) {
            let known = model.as_provider(*provider).map(|it| words(&it.settings, "strategies"));
            let mut known = known.unwrap_or_default();
            known.extend(["basic", "multi_service"]);
            report(
                step.path.span,
                format!("`{}` does not know the strategy `{word}`", model.name(*provider)),
                &format!("it knows {}", crate::suggest::list(&known)),
            );
            continue;
        }
        let mut deploying: Vec<&Phase> = Vec::new();
        for (phase, ..) in steps.named(&DEPLOYING) {
            if !deploying.iter().any(|known| std::ptr::eq(*known, *phase)) {
                deploying.push(phase);
            }
        }
        match word {
            "canary" => canary(&steps, &deploying, strategy_at, name, &mut report),
            "blue_green" => {
                let stage = steps.named(&["stage"]).first().map(|(_, step, ..)| step.span);
                let swap = steps.named(&["swap"]).last().map(|(_, step, ..)| step.span);
                match (stage, swap) {
                    (Some(stage), Some(swap)) if stage < swap => {}
                    (None, _) => report(
                        strategy_at,
                        format!("workflow `{name}` never stages the new release"),
                        "`blue_green` has a `stage` step, and a `swap` later",
                    ),
                    _ => report(
                        strategy_at,
                        format!("workflow `{name}` never swaps to the release that it stages"),
                        "`blue_green` has a `stage` step, and a `swap` later",
                    ),
                }
            }
            _ => {}
        }
        if !matches!(word, "canary" | "multi_service")
            && let [_, second, ..] = deploying.as_slice()
        {
            report(
                second.name.span,
                format!("phase `{}` is a second one that deploys", second.name.text),
                "write `strategy = canary` or `strategy = multi_service`: only these have several deploying phases",
            );
        }
        if !matches!(word, "canary" | "multi_service") {
            for phase in &workflow.phases {
                for entry in
                    phase.settings.iter().filter(|it| matches!(it.name.text.as_str(), "service" | "infra"))
                {
                    report(
                        entry.span,
                        format!("phase `{}` sets its own `{}`", phase.name.text, entry.name.text),
                        "write `strategy = canary` or `strategy = multi_service`: only these do this per phase",
                    );
                }
            }
        }
    }
}

fn steps<'p>(model: &Model<'p>, file: FileId, workflow: &'p Workflow) -> Steps<'p> {
    let mut all = Vec::new();
    for phase in &workflow.phases {
        for step in steps_of(&phase.items) {
            if let Some((provider, signature)) = model.find_step(file, &step.path)
                && model.is_deployment_type(provider)
            {
                all.push((phase, step, provider, signature.name.text.as_str()));
            }
        }
    }
    Steps(all)
}

/// How much of the load a step moves to the new release, as it is written.
fn written_share(step: &Step) -> Option<&Expr> {
    let mut entries = step.arguments.entries.iter();
    let entry = entries.find(|it| matches!(it.name.text.as_str(), "share" | "replicas" | "count"))?;
    Some(&entry.value)
}

/// Whether a step says `share`, not how many.
fn is_percent(step: &Step) -> bool {
    step.arguments.entries.iter().any(|it| it.name.text == "share")
}

/// How much of the load a step moves to the new release, where that is a constant.
fn share(step: &Step) -> Option<Value> {
    constant(written_share(step)?)
}

/// Steps that move load to the new release.
const GROWING: [&str; 3] = ["canary", "traffic", "select"];

/// Whether a share or a count comes after a greater one.
fn falls(first: &Value, second: &Value) -> bool {
    match (first, second) {
        (Value::Percent(first), Value::Percent(second)) => second < first,
        (Value::Int(first), Value::Int(second)) => second < first,
        _ => false,
    }
}

/// A canary whose shares are parameters, and that shrinks with what a stage gives for them.
pub fn of_stage<'p>(
    model: &Model<'p>,
    (file, workflow): (FileId, &'p Workflow),
    (stage, at): (&Stage, Location),
    given: &dyn Fn(&str) -> Option<Value>,
) -> Option<Diagnostic> {
    if words(&workflow.settings, "strategy") != ["canary"] {
        return None;
    }
    let value = |expr: &Expr| match &expr.kind {
        ExprKind::Path(path) if path.names.len() == 1 => Some((given(&path.names[0].text)?, true)),
        _ => Some((constant(expr)?, false)),
    };
    let steps = steps(model, file, workflow);
    let growing = steps.named(&GROWING);
    growing.windows(2).find_map(|pair| {
        let (before, step) = (pair[0].1, pair[1].1);
        let ((first, one), (second, two)) = (value(written_share(before)?)?, value(written_share(step)?)?);
        // Constants are reported with the workflow.
        ((one || two) && falls(&first, &second)).then(|| {
            let message =
                format!("the canary of stage `{}` shrinks from {first} to {second}", stage.name.text);
            let place = |step: &Step| Location { file, span: step.name.span };
            Diagnostic::new(&RULE, at, message)
                .label("by what it is given here")
                .also(place(before), format!("{first} here"))
                .also(place(step), format!("{second} here"))
                .help(CANARY)
        })
    })
}

fn canary(
    steps: &Steps<'_>,
    deploying: &[&Phase],
    strategy: Span,
    name: &str,
    report: &mut dyn FnMut(Span, String, &str),
) {
    if deploying.len() < 2 {
        report(strategy, format!("workflow `{name}` has fewer than two deploying phases"), CANARY);
        return;
    }
    let growing = steps.named(&GROWING);
    for pair in growing.windows(2) {
        let (Some(first), Some(second)) = (share(pair[0].1), share(pair[1].1)) else { continue };
        if falls(&first, &second) {
            report(pair[1].1.path.span, format!("the canary shrinks from {first} to {second}"), CANARY);
            return;
        }
    }
    let whole = |step: &Step| {
        share(step).is_none_or(|share| share == Value::Percent(100) || matches!(share, Value::Int(_)))
    };
    let last = steps.named(&["promote", "canary", "deploy", "rolling"]).last().copied();
    let ended = match last {
        Some((_, _, _, "promote" | "rolling")) => true,
        // What is no share is reported as that.
        Some((_, step, _, "canary")) => match written_share(step).map(|it| &it.kind) {
            Some(ExprKind::Int(_)) if is_percent(step) => true,
            Some(ExprKind::Text(_) | ExprKind::Duration(_) | ExprKind::Bool(_)) => true,
            _ => share(step) == Some(Value::Percent(100)),
        },
        Some((phase, ..)) => steps
            .named(&["select"])
            .iter()
            .filter(|(of, ..)| std::ptr::eq(*of, *phase))
            .all(|(_, step, ..)| whole(step)),
        None => false,
    };
    if !ended {
        report(strategy, format!("workflow `{name}` leaves the canary half done"), CANARY);
    }
}

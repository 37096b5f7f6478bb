//! The closing table: for each stage what happened, and why.

use lockstep_plan::machine::{StageMode, State, StepStatus};
use lockstep_plan::{BarrierId, Cause, Happening, Plan, Role, StageId};
use serde::Serialize;

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The stage.
    pub stage: String,
    /// One of the outcomes of `CLI.md`, or what it does now.
    pub outcome: &'static str,
    /// What it did.
    pub did: String,
    /// Why it did not succeed.
    pub why: Option<String>,
}

/// The table of a run.
pub fn rows(plan: &Plan, state: &State, happenings: &[(u64, Happening)]) -> Vec<Row> {
    (0..plan.stages.len())
        .map(|index| {
            let stage = StageId(index as u32);
            Row {
                stage: plan.stages[index].name.clone(),
                outcome: outcome(state, stage),
                did: did(plan, state, stage),
                why: state.stages[index].cause.as_ref().map(|cause| why(plan, cause, happenings)),
            }
        })
        .collect()
}

fn outcome(state: &State, stage: StageId) -> &'static str {
    match &state.stages[stage.index()].mode {
        StageMode::Waiting => "waiting",
        StageMode::Forward(_) => "running",
        StageMode::Draining(..) => "failing",
        StageMode::Asking(..) => "asking",
        StageMode::RollingBack(_) => "rolling_back",
        StageMode::Ended(outcome) => outcome.name(),
    }
}

/// Which steps ran, which were undone.
fn did(plan: &Plan, state: &State, stage: StageId) -> String {
    let names = |wanted: &dyn Fn(&lockstep_plan::Step, &lockstep_plan::machine::StepState) -> bool| {
        let steps = plan.steps.iter().zip(&state.steps);
        let steps = steps.filter(|(step, now)| step.stage == stage && now.attempts > 0 && wanted(step, now));
        steps.map(|(step, _)| step).collect::<Vec<_>>()
    };
    let ran = names(&|step, _| step.role == Role::Forward);
    let undone = names(&|step, now| step.role != Role::Forward && now.status == StepStatus::Succeeded);
    let mut parts = Vec::new();
    if !ran.is_empty() {
        parts.push(format!("ran {}", list(ran.iter().map(|step| short(plan, step)))));
    }
    if !undone.is_empty() {
        parts.push(format!(
            "undid {}",
            list(undone.iter().map(|step| short(plan, step).replace(".undo", "")))
        ));
    }
    parts.join(", ")
}

/// The name without stage and phase, which the table says already.
fn short(plan: &Plan, step: &lockstep_plan::Step) -> String {
    let stage = &plan.stages[step.stage.index()];
    let name = step.name.strip_prefix(&stage.name).unwrap_or(&step.name).trim_start_matches('.');
    let phase = step.phase.map(|phase| stage.phases[phase as usize].name.as_str()).unwrap_or_default();
    name.strip_prefix(phase).unwrap_or(name).trim_start_matches('.').to_owned()
}

fn list(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let names: Vec<String> = names.collect();
    match names.len() {
        0..=SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

/// The cause, followed through broken barriers to where it began.
pub fn why(plan: &Plan, cause: &Cause, happenings: &[(u64, Happening)]) -> String {
    let mut text = String::new();
    let mut cause = cause;
    // Each barrier breaks once, so this ends; the bound is for journals that are not what they should be.
    for _ in 0..=plan.barriers.len() {
        let Cause::Barrier(barrier) = cause else { break };
        let Some(broke) = broken_by(happenings, *barrier) else { break };
        text.push_str(&format!("barrier `{}` broke: ", plan.barriers[barrier.index()].name));
        cause = broke;
    }
    text + cause.describe(plan).lines().next().unwrap_or_default()
}

fn broken_by(happenings: &[(u64, Happening)], wanted: BarrierId) -> Option<&Cause> {
    happenings.iter().find_map(|(_, happening)| match happening {
        Happening::BarrierBroken(barrier, _, cause) if *barrier == wanted => Some(cause),
        _ => None,
    })
}

/// The table for people.
pub fn text(rows: &[Row]) -> String {
    let width =
        |of: &dyn Fn(&Row) -> usize, title: &str| rows.iter().map(of).max().unwrap_or(0).max(title.len());
    let stage = width(&|row| row.stage.chars().count(), "stage");
    let outcome = width(&|row| row.outcome.len(), "outcome");
    let did = width(&|row| row.did.chars().count(), "what it did");
    let mut text = String::new();
    let mut line = |a: &str, b: &str, c: &str, d: &str| {
        let line = format!("{a:stage$}  {b:outcome$}  {c:did$}  {d}");
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line("stage", "outcome", "what it did", "why");
    for row in rows {
        let why = row.why.as_deref().unwrap_or_default();
        line(&row.stage, &row.outcome.replace('_', " "), &row.did, why);
    }
    text
}

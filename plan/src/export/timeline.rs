//! A simulation as text for people: a timeline, and how everything ended.

use crate::machine::StageMode;
use crate::{Cause, Happening, Plan, Simulation, StageOutcome, Verdict, format_duration};
use std::fmt::Write;

/// A simulation as a timeline, with a closing table. A moment's time stands only at the first thing that happens then, and a
/// stage's name is not repeated in the names of its steps.
pub fn simulation_text(plan: &Plan, simulation: &Simulation) -> String {
    let mut out = format!("pipeline {}\n\n", plan.pipeline);
    let told: Vec<(String, &Happening)> = simulation
        .events
        .iter()
        .filter(|(_, happening)| !is_said_already(happening))
        .map(|(at, happening)| (format_duration(*at), happening))
        .collect();
    let times = told.iter().map(|(time, _)| time.len()).max().unwrap_or(0);
    let names = plan.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
    let mut last: Option<&str> = None;
    for (time, happening) in &told {
        let shown = if last == Some(time) { "" } else { time };
        last = Some(time);
        let stage = happening.stage(plan).unwrap_or_default();
        let text = happening.describe(plan);
        let own = text.strip_prefix(stage).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&text);
        let _ = writeln!(out, "{shown:>times$}  {stage:names$} {} {own}", mark(happening));
    }
    out.push('\n');
    for (index, stage) in plan.stages.iter().enumerate() {
        let state = &simulation.state.stages[index];
        let outcome = match &state.mode {
            StageMode::Ended(outcome) => outcome.name().replace('_', " "),
            _ => "never ends".into(),
        };
        let why = state.cause.as_ref().map(|cause| cause.describe(plan)).unwrap_or_default();
        let _ = writeln!(out, "{}", format!("{:names$}  {outcome:15}  {why}", stage.name).trim_end());
    }
    let took = simulation.events.last().map_or(0, |(at, _)| *at);
    let outcome = simulation.state.phrase().unwrap_or("never ends");
    let _ = writeln!(out, "\nThe run {outcome}, after {}.", format_duration(took));
    for item in &plan.items {
        let Some(group) = item.group.filter(|group| group.all_or_nothing) else { continue };
        let number = group.number;
        let ends = if simulation.broken.contains(&number) {
            "breaks its promise: its branches end neither all new nor all old."
        } else if simulation.outside.contains(&number) {
            "ends neither all new nor all old, because a step that undoes something fails; its promise assumes that these work."
        } else {
            "keeps its promise."
        };
        let _ = writeln!(out, "Group {number} {ends}");
    }
    out
}

/// What is no news next to the line before it, or in the table.
fn is_said_already(happening: &Happening) -> bool {
    matches!(
        happening,
        Happening::RunStarted
            | Happening::RunEnded(..)
            | Happening::PhaseStarted(..)
            | Happening::StageFailing(_, Cause::Step(..), _)
    )
}

/// What kind of news it is.
fn mark(happening: &Happening) -> char {
    match happening {
        Happening::StepSucceeded(_)
        | Happening::BarrierOpened(_)
        | Happening::StageEnded(_, StageOutcome::Succeeded) => '✔',
        Happening::StepFailed { decision, .. } => match decision.verdict {
            Verdict::Retry(_) => '↻',
            Verdict::Ask => '?',
            Verdict::Ignore | Verdict::Succeed => '»',
            _ => '✖',
        },
        Happening::BarrierBroken(..)
        | Happening::StageFailing(..)
        | Happening::RollbackFailed(..)
        | Happening::ClaimsRefused(..)
        | Happening::StageEnded(
            _,
            StageOutcome::RollbackFailed | StageOutcome::Failed | StageOutcome::Aborted,
        ) => '✖',
        Happening::BarrierArrived(_) => '●',
        Happening::BarrierPassed(..) | Happening::BarrierGivenUp(_) => '»',
        Happening::BarrierExcused(_)
        | Happening::StepSkipped(_)
        | Happening::StageEnded(_, StageOutcome::Skipped | StageOutcome::NotStarted) => '–',
        Happening::Asked(..) | Happening::AnsweredBy(..) | Happening::QuestionTimedOut(_) => '?',
        Happening::RollbackStarted(_) | Happening::StageEnded(_, StageOutcome::RolledBack) => '↩',
        _ => ' ',
    }
}

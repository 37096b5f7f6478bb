//! One happening as a line for programs: the common part of `--events` and of a simulation's events.

use crate::{Cause, Happening, Kind, Plan};
use serde::Serialize;
use std::borrow::Cow;

/// A happening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventLine {
    /// The stage it belongs to.
    pub stage: Option<String>,
    /// The step, barrier or approval it is about, by its full name.
    pub step: Option<String>,
    /// A stable word.
    pub event: &'static str,
    /// Which attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The kind of a failure; of a stage that goes back although nothing of it failed there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// How a stage or the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// The line that people read.
    pub message: String,
}

/// The line of a happening.
pub fn event_line(plan: &Plan, happening: &Happening) -> EventLine {
    let (mut attempt, mut kind, mut outcome) = (None, None, None);
    match happening {
        Happening::StepStarted(_, number) => attempt = Some(*number),
        Happening::StepFailed { attempt: number, failure, .. } => {
            attempt = Some(*number);
            kind = Some(failure.kind.name());
        }
        Happening::RollbackFailed(_, _, failure) => kind = Some(failure.kind.name()),
        Happening::StageFailing(_, cause, _) => kind = cause_kind(plan, cause),
        Happening::StageEnded(_, ended) => outcome = Some(ended.name()),
        Happening::RunEnded(ended, _) => outcome = Some(ended.name()),
        _ => {}
    }
    EventLine {
        stage: happening.stage(plan).map(str::to_owned),
        step: happening.subject(plan).map(Cow::into_owned),
        event: happening.name(),
        attempt,
        kind,
        outcome,
        message: happening.describe(plan),
    }
}

fn cause_kind(plan: &Plan, cause: &Cause) -> Option<&'static str> {
    cause.facts(plan).1.map(Kind::name)
}

//! What the story of a broken promise needs besides its failure: that nobody answers, that a stage comes late to a barrier
//! at which it would lose patience otherwise, or that the run lies still for a while.

use super::passed_over::passed_over;
use lockstep_plan::proof::{Counterexample, Fault};
use lockstep_plan::{
    Happening, Kind, PlaceId, Plan, Question, Reaction, Shown, StepId, Verdict, Work, format_duration,
    question_name,
};

/// Something that a story needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Besides {
    /// Nobody answers that.
    Silence(Question),
    /// A stage waits there that would have waited for too long had it come when the step first failed.
    Late {
        /// Where.
        place: PlaceId,
        /// For how long it waits at most, in milliseconds.
        timeout: u64,
        /// How long it takes after the first failure until it is decided what follows, in milliseconds.
        delay: u64,
        /// Whether what it does before can take so long; else only the clock can have stood still.
        slow: bool,
    },
    /// A step failed, and its rules went on.
    PassedOver(StepId),
    /// The process is away for a while.
    Away,
    /// That step fails so, and what its rules do takes longer than the wait.
    After(StepId, Kind),
    /// No step that is waited for is slow enough, and nobody is away for long enough.
    Slower,
}

/// What the story needs.
pub fn besides(plan: &Plan, found: &Counterexample) -> Vec<Besides> {
    let (mut open, mut waiting) = (Vec::new(), Vec::new());
    let mut at_failure = None;
    let fault = match found.fault {
        Fault::Step { step, .. } => Some(step),
        _ => None,
    };
    for told in &found.story {
        match told {
            Happening::Asked(question, _) if !open.contains(question) => open.push(*question),
            Happening::AnsweredBy(question, ..) => open.retain(|it| it != question),
            Happening::BarrierArrived(place) => waiting.push(*place),
            Happening::BarrierOpened(barrier) | Happening::BarrierBroken(barrier, ..) => {
                waiting.retain(|place: &PlaceId| plan.places[place.index()].barrier != *barrier);
            }
            Happening::StepFailed { step, decision, .. }
                if Some(*step) == fault && !matches!(decision.verdict, Verdict::Retry(_) | Verdict::Ask) =>
            {
                at_failure.get_or_insert_with(|| waiting.clone());
            }
            _ => {}
        }
    }
    // An approval that is not given in time is the failure itself.
    let said = |question: &Question| match (question, &found.fault) {
        (Question::Approval(asked), Fault::Approval(failed, _)) => asked == failed,
        _ => false,
    };
    let silent = open.iter().filter(|question| !said(question));
    let mut all: Vec<Besides> = passed_over(plan, found).into_iter().map(Besides::PassedOver).collect();
    all.extend(silent.map(|question| Besides::Silence(*question)));
    all.extend(late(plan, found, &open, fault.zip(at_failure)));
    let lies_still = |it: &Besides| matches!(it, Besides::Late { slow: false, .. });
    match found.shown {
        Shown::Plainly => all.retain(|it| !lies_still(it)),
        Shown::Away if !all.iter().any(lies_still) => all.push(Besides::Away),
        Shown::After(step, kind) => all.push(Besides::After(step, kind)),
        Shown::Slower => {
            all.retain(|it| !lies_still(it));
            all.push(Besides::Slower);
        }
        Shown::Away | Shown::Not => {}
    }
    all
}

/// Who would have waited for too long until it is decided what follows from a failure.
fn late(
    plan: &Plan,
    found: &Counterexample,
    open: &[Question],
    failed: Option<(StepId, Vec<PlaceId>)>,
) -> Vec<Besides> {
    let mut all = Vec::new();
    let Some((step, waiting)) = failed else { return all };
    let Some((scope, rule)) = found.suspicion.rule else { return all };
    let rules = plan.scopes.get(scope.index()).map(|scope| scope.rules.as_slice()).unwrap_or_default();
    let Some(rule) = rules.get(rule as usize) else { return all };
    let silent = open.contains(&Question::Step(step));
    let delay = delay(&rule.reaction, silent);
    for place in waiting {
        let data = &plan.places[place.index()];
        if let Some(timeout) = data.timeout.filter(|timeout| *timeout < delay) {
            let slow = before(plan, place).saturating_add(timeout) > delay;
            all.push(Besides::Late { place, timeout, delay, slow });
        }
    }
    all
}

/// How long it takes until a reaction has come to its end.
fn delay(reaction: &Reaction, silent: bool) -> u64 {
    match reaction {
        Reaction::Retry { times, every, then } => {
            let wait = |attempt: u32| every.get(attempt as usize).or(every.last()).copied().unwrap_or(0);
            // After so many the last wait is the same again.
            let told = (*times).min(every.len() as u32);
            let rest = u64::from(*times - told).saturating_mul(every.last().copied().unwrap_or(0));
            (0..told).map(wait).fold(rest, u64::saturating_add).saturating_add(delay(then, silent))
        }
        Reaction::Ask { within, then, .. } if silent => within.saturating_add(delay(then, silent)),
        _ => 0,
    }
}

/// How long what a stage does between the barrier before and this one can take.
fn before(plan: &Plan, place: PlaceId) -> u64 {
    let Some(stage) = plan.places[place.index()].stage else { return 0 };
    let takes = |step: &StepId| plan.steps[step.index()].timeout;
    let mut sum = 0u64;
    for position in &plan.stages[stage.index()].positions {
        match &position.work {
            Work::Barrier(it) if *it == place => break,
            Work::Barrier(_) => sum = 0,
            Work::Steps(steps) => sum = sum.saturating_add(steps.iter().map(takes).max().unwrap_or(0)),
        }
    }
    sum
}

impl Besides {
    /// In the sentence that tells what goes wrong.
    pub fn clause(self, plan: &Plan) -> String {
        match self {
            Besides::Silence(question) => format!("nobody answers about `{}`", question_name(plan, question)),
            Besides::Late { place, slow: true, .. } => {
                let data = &plan.places[place.index()];
                let stage = data.stage.map_or("", |stage| &plan.stages[stage.index()].name);
                let barrier = &plan.barriers[data.barrier.index()].name;
                format!("`{stage}` comes late to `{barrier}`")
            }
            Besides::Late { .. } => "nobody carries the run out for a while".to_owned(),
            Besides::PassedOver(step) => {
                format!("`{}` has failed, too, and its rules went on", plan.steps[step.index()].name)
            }
            Besides::Away => {
                "nobody carries the run out for a while (the clocks of barriers stand still then)".to_owned()
            }
            Besides::After(step, kind) => {
                let name = &plan.steps[step.index()].name;
                format!("`{name}` has failed ({kind}) and is tried again or asked about for longer")
            }
            Besides::Slower => "the others take longer than their steps may".to_owned(),
        }
    }

    /// At a barrier, what makes it so.
    pub fn label(self, plan: &Plan) -> Option<(PlaceId, String)> {
        let Besides::Late { place, timeout, delay, slow } = self else { return None };
        let name = &plan.places[place.index()].name;
        let (timeout, delay) = (format_duration(timeout), format_duration(delay));
        let text = match slow {
            true => format!(
                "`{name}` is waited at for {timeout} at most, and what follows from the failure is decided after {delay}: it is reached late"
            ),
            false => format!(
                "the wait at `{name}` has not run out after {delay}: its clock stands still while nobody carries the run out"
            ),
        };
        Some((place, text))
    }
}

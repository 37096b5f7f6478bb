//! What a person sees while a run goes on: a lane for each stage on a terminal, else one plain line for each event.

mod frame;
mod live;
mod model;

use crate::clock::{now, time_of_day};
use crate::events::Written;
use crate::failure::say;
use crate::text::harmless;
use live::Live;
use lockstep_executor::{Line, Observer, Stream};
use lockstep_plan::{Cause, Happening, Plan, StageOutcome, question_name};
use std::sync::{Arc, PoisonError};

/// Shows a run.
pub struct Progress {
    plan: Arc<Plan>,
    events: Option<Written>,
    live: Option<Live>,
    run: String,
    /// The widest stage's name.
    width: usize,
}

impl Progress {
    /// For a run of that plan; `live` on a terminal.
    pub fn new(plan: Arc<Plan>, run: &str, events: Option<Written>, live: bool) -> Progress {
        let live = live.then(|| Live::new(&plan, run));
        let width = plan.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
        Progress { plan, events, live, run: run.into(), width }
    }

    /// Writes a message without disturbing the view.
    pub fn message(&self, text: &str) {
        match &self.live {
            Some(live) => live.say(text),
            None => say(text),
        }
    }

    /// Nothing is drawn any more.
    pub fn close(&self) {
        if let Some(live) = &self.live {
            live.close();
        }
    }

    /// One line that stays, further ones indented.
    fn tell(&self, at: u64, stage: &str, text: &str) {
        let width = self.width;
        let text = harmless(text).replace('\n', "\n    ");
        self.message(&format!("{}  {stage:width$}  {text}", time_of_day(at)));
    }
}

impl Observer for Progress {
    fn happening(&self, at: u64, happening: &Happening, replayed: bool) {
        let warning = self.events.as_ref().and_then(|events| events.happening(&self.plan, at, happening));
        warning.into_iter().for_each(|warning| self.message(&warning));
        let told = match &self.live {
            Some(live) => {
                let mut model = live.model.lock().unwrap_or_else(PoisonError::into_inner);
                model.happened(&self.plan, at, happening);
                is_notable(happening)
            }
            None => !is_said_already(happening),
        };
        if told && !replayed {
            let mut text = happening.describe(&self.plan);
            if let Happening::Asked(question, _) = happening {
                let name = question_name(&self.plan, *question);
                text.push_str(&format!(": `dsl answer {} {name}` with the answer", self.run));
            }
            self.tell(at, happening.stage(&self.plan).unwrap_or_default(), &text);
        }
    }

    fn note(&self, text: &str) {
        self.tell(now(), "", text);
    }

    fn line(&self, line: &Line<'_>) {
        let warning = self.events.as_ref().and_then(|events| events.printed(&self.plan, now(), line));
        warning.into_iter().for_each(|warning| self.message(&warning));
        match (&self.live, line.stream) {
            (Some(live), _) => {
                let mut model = live.model.lock().unwrap_or_else(PoisonError::into_inner);
                model.printed(&self.plan, line);
            }
            (None, Stream::Driver) => {
                let step = &self.plan.steps[line.step.index()];
                let stage = &self.plan.stages[step.stage.index()].name;
                self.tell(now(), stage, &format!("{}: {}", step.name, line.text));
            }
            (None, Stream::Stdout | Stream::Stderr) => {}
        }
    }
}

/// A stage that fails by its own step, or a phase that begins, is no news next to the line before.
pub fn is_said_already(happening: &Happening) -> bool {
    matches!(happening, Happening::StageFailing(_, Cause::Step(..), _) | Happening::PhaseStarted(..))
}

/// What stays on the screen above the live view: decisions and failures, not each step.
fn is_notable(happening: &Happening) -> bool {
    match happening {
        Happening::StepFailed { .. }
        | Happening::BarrierOpened(_)
        | Happening::BarrierBroken(..)
        | Happening::BarrierGivenUp(_)
        | Happening::BarrierPassed(..)
        | Happening::Asked(..)
        | Happening::AnsweredBy(..)
        | Happening::QuestionTimedOut(_)
        | Happening::RollbackStarted(_)
        | Happening::RollbackFailed(..)
        | Happening::ClaimsRefused(..)
        | Happening::AbortRequested(_)
        | Happening::RollbackRequested(_) => true,
        Happening::StageEnded(_, outcome) => {
            !matches!(outcome, StageOutcome::Skipped | StageOutcome::NotStarted)
        }
        _ => false,
    }
}

//! What a person sees while a run goes on: a lane for each stage on a terminal, else one plain line for each event.

use crate::clock::{now, time_of_day};
use crate::events::Events;
use crate::failure::say;
use crate::text::{harmless, one_line};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstep_executor::{Line, Observer, Stream};
use lockstep_plan::{Cause, Happening, Plan, StageOutcome};
use std::sync::Arc;
use std::time::Duration;

/// More lanes than a screen has lines help nobody; then plain lines are written.
const MOST_LANES: usize = 30;

/// Shows a run.
pub struct Progress {
    plan: Arc<Plan>,
    events: Option<Events>,
    lanes: Option<Lanes>,
}

struct Lanes {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Progress {
    /// For a run of that plan; `live` on a terminal.
    pub fn new(plan: Arc<Plan>, events: Option<Events>, live: bool) -> Progress {
        let lanes = (live && plan.stages.len() <= MOST_LANES).then(|| Lanes::new(&plan));
        Progress { plan, events, lanes }
    }

    /// Writes a message without disturbing the lanes.
    pub fn message(&self, text: &str) {
        match &self.lanes {
            Some(lanes) => {
                let _ = lanes.all.println(text);
            }
            None => say(text),
        }
    }

    /// Nothing is drawn any more.
    pub fn close(&self) {
        if let Some(lanes) = &self.lanes {
            lanes.bars.iter().filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
        }
    }

    fn plain(&self, at: u64, happening: &Happening) {
        let stage = happening.stage(&self.plan).unwrap_or_default();
        let width = self.plan.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
        let text = harmless(&happening.describe(&self.plan)).replace('\n', "\n    ");
        say(&format!("{}  {stage:width$}  {text}", time_of_day(at)));
    }
}

impl Observer for Progress {
    fn happening(&self, at: u64, happening: &Happening, replayed: bool) {
        if let (Some(events), false) = (&self.events, replayed) {
            events.happening(&self.plan, at, happening);
        }
        match &self.lanes {
            Some(lanes) => lanes.show(&self.plan, at, happening, replayed),
            None if !replayed && !is_said_already(happening) => self.plain(at, happening),
            None => {}
        }
    }

    fn line(&self, line: &Line<'_>) {
        if let Some(events) = &self.events {
            events.printed(&self.plan, now(), line);
        }
        match (&self.lanes, line.stream) {
            (Some(lanes), _) => {
                let step = &self.plan.steps[line.step.index()];
                lanes.bars[step.stage.index()]
                    .set_message(one_line(&format!("{}: {}", step.name, line.text)));
            }
            (None, Stream::Driver) => {
                let width =
                    self.plan.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
                let step = &self.plan.steps[line.step.index()];
                let stage = &self.plan.stages[step.stage.index()].name;
                say(&format!(
                    "{}  {stage:width$}  {}: {}",
                    time_of_day(now()),
                    step.name,
                    harmless(line.text)
                ));
            }
            (None, Stream::Stdout | Stream::Stderr) => {}
        }
    }
}

/// A stage that fails by its own step, or a phase that begins, is no news next to the line before.
pub fn is_said_already(happening: &Happening) -> bool {
    matches!(happening, Happening::StageFailing(_, Cause::Step(..), _) | Happening::PhaseStarted(..))
}

impl Lanes {
    fn new(plan: &Plan) -> Lanes {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let width = plan.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
        let bars = plan.stages.iter().map(|stage| {
            let bar = all.add(ProgressBar::new_spinner());
            bar.set_style(waiting_style());
            bar.set_prefix(format!("{:width$}", stage.name));
            bar.set_message("waiting");
            bar
        });
        let bars = bars.collect();
        Lanes { all, bars }
    }

    fn show(&self, plan: &Plan, at: u64, happening: &Happening, replayed: bool) {
        let text = harmless(&happening.describe(plan));
        let first = text.lines().next().unwrap_or_default().to_owned();
        let notable = matches!(
            happening,
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
                | Happening::AbortRequested(_)
                | Happening::RollbackRequested(_)
        );
        let stage = happening.stage(plan);
        if notable && !replayed {
            let _ = self.all.println(format!("{}  {}  {text}", time_of_day(at), stage.unwrap_or_default()));
        }
        let Some(index) = stage.and_then(|name| plan.stages.iter().position(|stage| stage.name == name))
        else {
            return;
        };
        let bar = &self.bars[index];
        match happening {
            Happening::StageStarted(_) => {
                bar.set_style(running_style());
                bar.reset_elapsed();
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_message(first);
            }
            Happening::StageEnded(_, outcome) => {
                bar.disable_steady_tick();
                bar.set_style(ended_style(*outcome));
                bar.abandon_with_message(first);
            }
            Happening::RollbackStarted(_) => {
                // A stage that had succeeded may still be taken back with its branch.
                bar.set_style(running_style());
                bar.enable_steady_tick(Duration::from_millis(100));
                bar.set_message(first);
            }
            _ => bar.set_message(first),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template is checked when it is written, so a bad one shows in every test of the live view.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn waiting_style() -> ProgressStyle {
    style("  {prefix}  {wide_msg:.dim}")
}

fn running_style() -> ProgressStyle {
    style("{spinner:.cyan} {prefix}  {wide_msg} {elapsed:.dim}")
}

fn ended_style(outcome: StageOutcome) -> ProgressStyle {
    match outcome {
        StageOutcome::Succeeded => style("{prefix:.green}  ✔ {wide_msg:.green} {elapsed:.dim}"),
        StageOutcome::Skipped | StageOutcome::NotStarted => style("{prefix:.dim}  - {wide_msg:.dim}"),
        StageOutcome::RolledBack => style("{prefix:.yellow}  ↩ {wide_msg:.yellow} {elapsed:.dim}"),
        StageOutcome::Failed | StageOutcome::RollbackFailed | StageOutcome::Aborted => {
            style("{prefix:.red}  ✖ {wide_msg:.red} {elapsed:.dim}")
        }
    }
}

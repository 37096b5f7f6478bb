//! The live view as lines of text: a lane for each stage, a column for each barrier, as much as fits on the screen.

use super::model::{Doing, Lane, Mode, Model, Place};
use crate::clock::span;
use console::{Style, measure_text_width, truncate_str};
use lockstep_plan::{BarrierId, BarrierKind, Plan, StageOutcome, StepId};

/// Narrower screens get no columns of barriers.
const NARROW: usize = 70;

/// Lines of the screen that are left to what is printed above.
const RESERVED: usize = 4;

/// What turns while something runs.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The size of the screen and the time: all that a frame depends on besides the model.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub width: usize,
    pub height: usize,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// The lines of a frame; none is wider than the screen, and they are fewer than it has.
pub fn lines(plan: &Plan, model: &Model, run: &str, view: View) -> Vec<String> {
    let frame = Frame::new(plan, model, view);
    let mut lines = vec![frame.head(run)];
    let room = view.height.saturating_sub(RESERVED + 1 + model.approvals.len()).max(3);
    let (shown, hidden) = frame.choose(room);
    lines.extend(shown.into_iter().map(|index| frame.lane(index)));
    if !hidden.is_empty() {
        lines.push(frame.rest(&hidden));
    }
    for (approval, (group, since)) in &model.approvals {
        let name = &plan.approvals[approval.index()].name;
        let time = span_of(view.now, *since);
        let text = format!("? {name}  waits {time} for {group}: dsl answer {run} {name} approve|reject");
        lines.push(style().cyan().apply_to(text).to_string());
    }
    lines
        .into_iter()
        .map(|line| truncate_str(line.trim_end(), view.width.saturating_sub(1), "…").into_owned())
        .collect()
}

struct Frame<'a> {
    plan: &'a Plan,
    model: &'a Model,
    view: View,
    stage: usize,
    phase: usize,
    /// Barriers with columns, and how wide these are.
    columns: Vec<(BarrierId, usize)>,
}

fn style() -> Style {
    Style::new().for_stderr()
}

/// Whole seconds: what changes ten times a second cannot be read.
fn span_of(now: u64, since: u64) -> String {
    span(now.saturating_sub(since).max(1000) / 1000 * 1000).replace(".0s", "s")
}

fn pad(text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let cut = truncate_str(text, width, "…");
    let missing = width.saturating_sub(measure_text_width(&cut));
    format!("{cut}{}", " ".repeat(missing))
}

impl<'a> Frame<'a> {
    fn new(plan: &'a Plan, model: &'a Model, view: View) -> Frame<'a> {
        let widest = |names: &mut dyn Iterator<Item = &'a str>, most: usize| {
            names.map(measure_text_width).max().unwrap_or(0).min(most)
        };
        let stage = widest(&mut plan.stages.iter().map(|stage| stage.name.as_str()), view.width / 4);
        let phases = plan.stages.iter().flat_map(|stage| &stage.phases);
        let phases = &mut phases.map(|phase| phase.name.as_str());
        let phase = if view.width < NARROW { 0 } else { widest(phases, 14) };
        let mut frame = Frame { plan, model, view, stage, phase, columns: Vec::new() };
        frame.columns = frame.choose_columns();
        frame
    }

    /// The barriers that matter now: undecided ones of groups that run, then the last decided ones, as many as fit.
    fn choose_columns(&self) -> Vec<(BarrierId, usize)> {
        if self.view.width < NARROW {
            return Vec::new();
        }
        let live = |barrier: &BarrierId| {
            let item = self.plan.barriers[barrier.index()].item;
            self.plan.stages.iter().zip(&self.model.lanes).any(|(stage, lane)| {
                stage.item == item && !matches!(lane.mode, Mode::Waiting | Mode::Ended(_))
            })
        };
        let mut all: Vec<BarrierId> = (0..self.plan.barriers.len() as u32).map(BarrierId).collect();
        // Those of rollbacks come into sight when somebody is there.
        all.retain(|barrier| {
            self.plan.barriers[barrier.index()].kind != BarrierKind::Rollback
                || self.model.count(self.plan, *barrier).0 > 0
        });
        all.sort_by_key(|barrier| {
            let decided = self.model.barriers[barrier.index()].is_some();
            (!live(barrier), decided, if decided { u32::MAX - barrier.0 } else { barrier.0 })
        });
        let mut room = self.view.width / 3;
        let mut chosen = Vec::new();
        for barrier in all {
            let width = measure_text_width(&self.title(barrier)).min(24);
            if room < width + 2 {
                break;
            }
            room -= width + 2;
            chosen.push((barrier, width));
        }
        chosen.sort_by_key(|(barrier, _)| *barrier);
        chosen
    }

    fn title(&self, barrier: BarrierId) -> String {
        let name = &self.plan.barriers[barrier.index()].name;
        let (there, all) = self.model.count(self.plan, barrier);
        match self.model.barriers[barrier.index()] {
            None => format!("{name} {there}/{all}"),
            Some(true) => format!("{name} open"),
            Some(false) => format!("{name} broken"),
        }
    }

    fn head(&self, run: &str) -> String {
        let elapsed = span_of(self.view.now, self.model.began);
        let mut left = format!("{}  {run}  {elapsed}", self.plan.pipeline);
        if let Some(turned) = self.model.turned {
            left.push_str(&format!("  {turned}"));
        }
        let mut line = style().bold().apply_to(pad(&left, self.left_width())).to_string();
        for (barrier, width) in &self.columns {
            let shown = match self.model.barriers[barrier.index()] {
                None => style().dim(),
                Some(true) => style().green(),
                Some(false) => style().red(),
            };
            line.push_str(&format!("  {}", shown.apply_to(pad(&self.title(*barrier), *width))));
        }
        line
    }

    /// The width of everything left of the barriers' columns.
    fn left_width(&self) -> usize {
        let columns: usize = self.columns.iter().map(|(_, width)| width + 2).sum();
        self.view.width.saturating_sub(1 + columns)
    }

    /// Which stages are shown, in the plan's order: those that do something before those that have ended, and these
    /// before those that have not begun.
    fn choose(&self, room: usize) -> (Vec<usize>, Vec<usize>) {
        let mut all: Vec<usize> = (0..self.model.lanes.len()).collect();
        if all.len() <= room {
            return (all, Vec::new());
        }
        all.sort_by_key(|index| match self.model.lanes[*index].mode {
            Mode::Failing | Mode::Back => 0,
            Mode::Ended(outcome) if is_bad(outcome) => 1,
            Mode::Forward => 2,
            Mode::Waiting => 3,
            Mode::Ended(_) => 4,
        });
        let mut hidden = all.split_off(room - 1);
        all.sort_unstable();
        hidden.sort_unstable();
        (all, hidden)
    }

    fn rest(&self, hidden: &[usize]) -> String {
        let mut counts = [("failing", 0), ("running", 0), ("waiting", 0), ("done", 0), ("not done", 0)];
        for index in hidden {
            let at = match self.model.lanes[*index].mode {
                Mode::Failing | Mode::Back => 0,
                Mode::Forward => 1,
                Mode::Waiting => 2,
                Mode::Ended(StageOutcome::Succeeded | StageOutcome::Skipped) => 3,
                Mode::Ended(_) => 4,
            };
            counts[at].1 += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        style().dim().apply_to(format!("  … {} more stages: {}", hidden.len(), counts.join(", "))).to_string()
    }

    fn lane(&self, index: usize) -> String {
        let lane = &self.model.lanes[index];
        let stage = &self.plan.stages[index];
        let (sign, shown) = self.sign(lane);
        let phase = match (lane.mode, lane.phase) {
            (Mode::Forward | Mode::Failing | Mode::Back, Some(phase)) => {
                stage.phases.get(phase as usize).map(|phase| phase.name.as_str()).unwrap_or_default()
            }
            _ => "",
        };
        let mut left = format!("{} {}", shown.apply_to(sign), shown.apply_to(pad(&stage.name, self.stage)));
        if self.phase > 0 {
            left.push_str(&format!("  {}", style().dim().apply_to(pad(phase, self.phase))));
        }
        left.push_str(&format!("  {}", self.says(index, lane)));
        let time = match (lane.began, lane.ended) {
            (Some(began), Some(ended)) => span(ended.saturating_sub(began)),
            (Some(began), None) => span_of(self.view.now, began),
            (None, _) => String::new(),
        };
        let room = self.left_width().saturating_sub(measure_text_width(&time) + 1);
        let mut line = format!("{} {}", pad(&left, room), style().dim().apply_to(time));
        for (barrier, width) in &self.columns {
            line.push_str(&format!("  {}", self.cell(index, *barrier, *width)));
        }
        line
    }

    fn sign(&self, lane: &Lane) -> (&'static str, Style) {
        let turning = SPINNER[(self.view.now / 100 % SPINNER.len() as u64) as usize];
        let asks =
            lane.asked.is_some() || lane.doing.values().any(|(doing, _)| matches!(doing, Doing::Asking(_)));
        match lane.mode {
            Mode::Waiting => ("·", style().dim()),
            Mode::Forward | Mode::Failing | Mode::Back if asks => ("?", style().cyan()),
            Mode::Forward => (turning, style().cyan()),
            Mode::Failing => (turning, style().red()),
            Mode::Back => (turning, style().yellow()),
            Mode::Ended(StageOutcome::Succeeded) => ("✔", style().green()),
            Mode::Ended(StageOutcome::Skipped | StageOutcome::NotStarted) => ("-", style().dim()),
            Mode::Ended(StageOutcome::RolledBack) => ("↩", style().yellow()),
            Mode::Ended(_) => ("✖", style().red()),
        }
    }

    /// What the stage does, or what it waits for.
    fn says(&self, index: usize, lane: &Lane) -> String {
        let dim = style().dim();
        if let Some((place, group, since)) = &lane.asked {
            let time = span_of(self.view.now, *since);
            return format!("{} asks {group} {time}", self.plan.places[place.index()].name);
        }
        if let Some((place, since)) = lane.waits {
            let barrier = &self.plan.barriers[self.plan.places[place.index()].barrier.index()];
            let missing: Vec<&str> = barrier
                .places
                .iter()
                .filter(|place| self.model.places[place.index()] == Place::Ahead)
                .map(|place| self.participant(place.index()))
                .collect();
            let who = match missing.len() {
                0..=2 => missing.join(", "),
                count => format!("{} and {} more", missing[0], count - 1),
            };
            return format!("{} waits {} for {who}", barrier.name, span_of(self.view.now, since));
        }
        let doing: Vec<String> =
            lane.doing.iter().map(|(step, doing)| self.doing(index, *step, doing)).collect();
        match lane.mode {
            Mode::Waiting => dim.apply_to("waiting").to_string(),
            Mode::Ended(outcome) => outcome.name().replace('_', " "),
            Mode::Back if doing.is_empty() => "rolling back".into(),
            Mode::Failing if doing.is_empty() => "failing".into(),
            Mode::Forward if doing.is_empty() => String::new(),
            _ => {
                let mut text = doing.join(", ");
                if let Some((_, line)) = lane.line.as_ref().filter(|(step, _)| lane.doing.contains_key(step))
                {
                    text.push_str(&format!("  {}", dim.apply_to(format!("│ {line}"))));
                }
                text
            }
        }
    }

    fn doing(&self, index: usize, step: StepId, (doing, since): &(Doing, u64)) -> String {
        let stage = &self.plan.stages[index].name;
        let data = &self.plan.steps[step.index()];
        let name = data.name.strip_prefix(stage.as_str()).unwrap_or(&data.name).trim_start_matches('.');
        let phase = data.phase.and_then(|phase| self.plan.stages[index].phases.get(phase as usize));
        let name = phase
            .filter(|_| self.phase > 0)
            .and_then(|phase| name.strip_prefix(phase.name.as_str())?.strip_prefix('.'))
            .unwrap_or(name);
        match doing {
            Doing::Attempt(1) => format!("{name} {}", span_of(self.view.now, *since)),
            Doing::Attempt(attempt) => {
                format!("{name} (attempt {attempt}) {}", span_of(self.view.now, *since))
            }
            Doing::Backoff(wait) => {
                let rest = (since + wait).saturating_sub(self.view.now);
                format!("{name} tries again in {}", span_of(rest, 0))
            }
            Doing::Asking(group) => format!("{name} asks {group} {}", span_of(self.view.now, *since)),
        }
    }

    fn participant(&self, place: usize) -> &'a str {
        let place = &self.plan.places[place];
        match place.stage {
            Some(stage) => &self.plan.stages[stage.index()].name,
            None => &place.name,
        }
    }

    fn cell(&self, index: usize, barrier: BarrierId, width: usize) -> String {
        let data = &self.plan.barriers[barrier.index()];
        let own = data
            .places
            .iter()
            .find(|place| self.plan.places[place.index()].stage.is_some_and(|stage| stage.index() == index));
        let Some(place) = own else { return " ".repeat(width) };
        let (sign, shown) = match (self.model.barriers[barrier.index()], self.model.places[place.index()]) {
            (_, Place::Excused) => ("–", style().dim()),
            (_, Place::Passed) => ("»", style().yellow()),
            (None, Place::Arrived) => ("●", style().yellow()),
            (None, Place::Ahead) => ("○", style().dim()),
            (Some(true), _) => ("✔", style().green()),
            (Some(false), _) => ("✖", style().red()),
        };
        format!("{}{}", shown.apply_to(sign), " ".repeat(width.saturating_sub(1)))
    }
}

fn is_bad(outcome: StageOutcome) -> bool {
    !matches!(outcome, StageOutcome::Succeeded | StageOutcome::Skipped | StageOutcome::NotStarted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_compiler::{DiskLoader, Program, lower};
    use lockstep_plan::{Kind, Scenario, simulate};
    use std::collections::BTreeMap;
    use std::path::Path;

    fn plan(example: &str, pipeline: &str, arguments: &[(&str, &str)]) -> Plan {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        let program = Program::load(&DiskLoader, std::slice::from_ref(&dir)).expect("the example");
        let arguments: BTreeMap<String, String> =
            arguments.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        lower(&program, &dir, pipeline, &arguments).expect("a plan").plan
    }

    /// What the screen shows at that time of a simulation.
    fn screen(plan: &Plan, scenario: &Scenario, at: u64, (width, height): (usize, usize)) -> String {
        let mut model = Model::new(plan);
        // A run begins at some time; zero would be none.
        for (time, happening) in simulate(plan, scenario).events.iter().filter(|(time, _)| *time <= at) {
            model.happened(plan, time + 1000, happening);
        }
        let lines = lines(plan, &model, "0abc", View { width, height, now: at + 1000 });
        assert!(lines.len() < height, "{} lines on {height}", lines.len());
        for line in &lines {
            assert!(measure_text_width(line) < width, "{line}");
        }
        let lines: Vec<String> =
            lines.iter().map(|line| console::strip_ansi_codes(line).trim_end().to_owned()).collect();
        lines.join("\n")
    }

    fn step(plan: &Plan, name: &str) -> StepId {
        StepId(plan.steps.iter().position(|step| step.name == name).expect("a step") as u32)
    }

    #[test]
    fn two_regions() {
        let plan = plan("two-regions", "release", &[("version", "1.4.0"), ("break_region2", "true")]);
        let takes = [("region1.deploy.rollout", 30_000), ("region2.deploy.rollout", 95_000)];
        let mut scenario = Scenario {
            takes: takes.iter().map(|(name, time)| (step(&plan, name), *time)).collect(),
            ..Scenario::default()
        };
        let breaks = step(&plan, "region2.deploy.break_it");
        scenario.fail.insert(breaks, Kind::Application);
        scenario.takes.insert(breaks, 10_000);
        for undo in ["region1.deploy.rollout.undo", "region2.deploy.rollout.undo"] {
            scenario.takes.insert(step(&plan, undo), 20_000);
        }
        let at = |time, size| screen(&plan, &scenario, time, size);
        insta::assert_snapshot!("both_deploy", at(12_000, (90, 24)));
        insta::assert_snapshot!("one_waits", at(62_000, (90, 24)));
        insta::assert_snapshot!("both_go_back", at(110_000, (90, 24)));
        insta::assert_snapshot!("narrow", at(62_000, (40, 24)));
    }

    #[test]
    fn many_stages() {
        let plan = plan("fifty-regions", "release", &[("version", "5.2.1")]);
        let takes = plan.steps.iter().enumerate();
        let takes = takes.map(|(index, _)| (StepId(index as u32), 20_000 + 500 * index as u64)).collect();
        let scenario = Scenario { takes, ..Scenario::default() };
        insta::assert_snapshot!("fifty", screen(&plan, &scenario, 200_000, (100, 18)));
        for width in [10, 30, 69, 70, 71, 300] {
            for height in [5, 6, 24, 200] {
                screen(&plan, &scenario, 150_000, (width, height));
            }
        }
    }
}

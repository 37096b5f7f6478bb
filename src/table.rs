//! The closing table: for each stage what happened, and why.

use crate::text::one_line;
use lockstep_plan::machine::{ApprovalState, StageMode, State};
use lockstep_plan::{
    ApprovalId, BarrierId, Cause, Happening, Plan, Question, Role, StageId, Step, StepId, Verdict,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The stage, or the approval between stages.
    pub stage: String,
    /// One of the outcomes of `CLI.md`, or what it does now.
    pub outcome: &'static str,
    /// What it did, in the order in which it did.
    pub did: String,
    /// Why it did not succeed, or how it did although something failed.
    pub why: Option<String>,
}

/// The table of a run: its stages, then its approvals.
pub fn rows(plan: &Plan, state: &State, happenings: &[(u64, Happening)]) -> Vec<Row> {
    let mut telling = Telling::new(plan);
    happenings.iter().for_each(|(_, happening)| telling.happened(plan, happening));
    telling.rows(plan, state)
}

/// What the table says of what has happened so far.
pub struct Telling {
    stages: Vec<Told>,
    /// Who answered approvals between stages.
    answers: BTreeMap<ApprovalId, String>,
    /// Why barriers broke.
    broken: BTreeMap<BarrierId, Cause>,
}

impl Telling {
    /// Nothing has happened.
    pub fn new(plan: &Plan) -> Telling {
        let stages = vec![Told::default(); plan.stages.len()];
        Telling { stages, answers: BTreeMap::new(), broken: BTreeMap::new() }
    }

    /// Takes note of what happened next.
    pub fn happened(&mut self, plan: &Plan, happening: &Happening) {
        match happening {
            Happening::AnsweredBy(Question::Approval(approval), _, by) => {
                self.answers.insert(*approval, by.name.clone());
            }
            Happening::BarrierBroken(barrier, _, cause) => {
                self.broken.entry(*barrier).or_insert_with(|| cause.clone());
            }
            happening => note(plan, happening, &mut self.stages),
        }
    }

    /// The table.
    pub fn rows(&self, plan: &Plan, state: &State) -> Vec<Row> {
        let stages = self.stages.iter().enumerate().map(|(index, told)| {
            let cause = state.stages[index].cause.as_ref();
            let mut why: Vec<String> = cause.map(|cause| self.why(plan, cause)).into_iter().collect();
            why.extend(told.besides.iter().map(|text| one_line(text)));
            let outcome = outcome(state, StageId(index as u32));
            // A rollback that was gone on with since has not stopped.
            let stopped = told.stopped.iter().filter(|_| outcome == "rollback_failed");
            why.extend(stopped.map(|text| one_line(text)));
            Row {
                stage: plan.stages[index].name.clone(),
                outcome,
                did: told.did(plan),
                why: (!why.is_empty()).then(|| why.join("; ")),
            }
        });
        let approvals = plan.approvals.iter().enumerate().map(|(index, approval)| {
            let by = self.answers.get(&ApprovalId(index as u32));
            Row {
                stage: approval.name.clone(),
                outcome: match state.approvals[index] {
                    // Nobody will be asked any more once the run is over.
                    ApprovalState::Waiting if state.is_finished() => "not_asked",
                    ApprovalState::Waiting => "waiting",
                    ApprovalState::Asked => "asking",
                    ApprovalState::Approved => "approved",
                    ApprovalState::Rejected => "rejected",
                    ApprovalState::Dropped => "not_asked",
                },
                did: by.map(|by| format!("answered by {by}")).unwrap_or_default(),
                why: (state.approvals[index] == ApprovalState::Rejected && by.is_none())
                    .then(|| "nobody answered in time".into()),
            }
        });
        stages.chain(approvals).collect()
    }

    /// The cause, followed through broken barriers to where it began.
    fn why(&self, plan: &Plan, cause: &Cause) -> String {
        let mut text = String::new();
        let mut cause = cause;
        // Each barrier breaks once, so this ends; the bound is for journals that are not what they should be.
        for _ in 0..=plan.barriers.len() {
            let Cause::Barrier(barrier) = cause else { break };
            let Some(broke) = self.broken.get(barrier) else { break };
            text.push_str(&format!("barrier `{}` broke: ", plan.barriers[barrier.index()].name));
            cause = broke;
        }
        text + &one_line(&cause.describe(plan))
    }
}

/// What the journal tells of one stage.
#[derive(Debug, Clone, Default)]
struct Told {
    ran: Once,
    undone: Once,
    /// What failed without the stage failing.
    besides: Vec<String>,
    /// What stopped the rollback last.
    stopped: Option<String>,
}

/// Steps in the order in which they first came.
#[derive(Debug, Clone, Default)]
struct Once {
    order: Vec<StepId>,
    known: BTreeSet<StepId>,
}

impl Once {
    fn add(&mut self, step: StepId) {
        if self.known.insert(step) {
            self.order.push(step);
        }
    }
}

fn note(plan: &Plan, happening: &Happening, told: &mut [Told]) {
    let of = |step: &StepId| plan.steps[step.index()].stage.index();
    let role = |step: &StepId| plan.steps[step.index()].role;
    match happening {
        Happening::StepStarted(step, _) if role(step) == Role::Forward => told[of(step)].ran.add(*step),
        Happening::StepSucceeded(step) if role(step) != Role::Forward => told[of(step)].undone.add(*step),
        Happening::StepFailed { step, attempt, failure, decision } => {
            let data = &plan.steps[step.index()];
            // What was asked of people has run, too; what could not be evaluated has not.
            let failed = match (*attempt, data.action.provider.as_str()) {
                (0, "approval") => {
                    told[of(step)].ran.add(*step);
                    "failed"
                }
                (0, _) => "could not be started",
                _ => "failed",
            };
            let so = match decision.verdict {
                Verdict::Ignore => "was ignored",
                Verdict::Succeed => "counts as success",
                _ => return,
            };
            let (name, kind, message) = (&data.name, failure.kind, &failure.message);
            told[of(step)].besides.push(format!("{name} {failed} ({kind}) and {so}: {message}"));
        }
        Happening::RollbackFailed(stage, step, failure) => {
            let name = &plan.steps[step.index()].name;
            let text = format!("rollback stopped: {name} failed ({}): {}", failure.kind, failure.message);
            told[stage.index()].stopped = Some(text);
        }
        Happening::BarrierPassed(place, _) => {
            if let Some(stage) = plan.places[place.index()].stage {
                told[stage.index()]
                    .besides
                    .push(format!("passed the broken {}", plan.places[place.index()].name));
            }
        }
        _ => {}
    }
}

impl Told {
    fn did(&self, plan: &Plan) -> String {
        // Names are unique in a phase only; where two phases share one, all are told with their phases.
        let ran = || self.ran.order.iter().map(|step| &plan.steps[step.index()]);
        let mut names: Vec<&str> = ran().map(|step| last(&step.name)).collect();
        names.sort_unstable();
        let ambiguous = names.windows(2).any(|pair| pair[0] == pair[1]);
        let named = |step: &Step| if ambiguous { in_stage(plan, step) } else { in_phase(plan, step) };
        let undone = self.undone.order.iter().map(|step| {
            let name = named(&plan.steps[step.index()]);
            name.strip_suffix(".undo").map(str::to_owned).unwrap_or(name)
        });
        let mut parts = Vec::new();
        if !self.ran.order.is_empty() {
            parts.push(format!("ran {}", list(ran().map(named))));
        }
        if !self.undone.order.is_empty() {
            parts.push(format!("undid {}", list(undone)));
        }
        parts.join(", ")
    }
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

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The name without its stage.
fn in_stage(plan: &Plan, step: &Step) -> String {
    let stage = &plan.stages[step.stage.index()].name;
    step.name.strip_prefix(stage.as_str()).unwrap_or(&step.name).trim_start_matches('.').to_owned()
}

/// The name without its stage and phase.
fn in_phase(plan: &Plan, step: &Step) -> String {
    let name = in_stage(plan, step);
    let phase = step.phase.map(|phase| &plan.stages[step.stage.index()].phases[phase as usize].name);
    let short =
        phase.and_then(|phase| name.strip_prefix(phase.as_str())?.strip_prefix('.').map(str::to_owned));
    short.unwrap_or(name)
}

fn list(mut names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = names.by_ref().take(SHOWN).collect();
    let shown = shown.join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The table for people. On a terminal that is too narrow for the reasons, each stands below its row.
pub fn text(rows: &[Row]) -> String {
    let terminal = console::Term::stdout();
    layout(rows, terminal.is_term().then(|| usize::from(terminal.size().1)))
}

fn layout(rows: &[Row], limit: Option<usize>) -> String {
    let width =
        |of: &dyn Fn(&Row) -> usize, title: &str| rows.iter().map(of).max().unwrap_or(0).max(title.len());
    let stage = width(&|row| row.stage.chars().count(), "stage");
    let outcome = width(&|row| row.outcome.len(), "outcome");
    let did = width(&|row| row.did.chars().count(), "what it did");
    let why = width(&|row| row.why.as_deref().unwrap_or_default().chars().count(), "why");
    let narrow = limit.filter(|limit| stage + outcome + did + why + 6 > *limit);
    let mut text = String::new();
    let mut line = |a: &str, b: &str, c: &str, d: &str| {
        let line = format!("{a:stage$}  {b:outcome$}  {c:did$}  {d}");
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line("stage", "outcome", "what it did", if narrow.is_some() { "" } else { "why" });
    for row in rows {
        let why = row.why.as_deref().unwrap_or_default();
        let outcome = row.outcome.replace('_', " ");
        match narrow {
            None => line(&row.stage, &outcome, &row.did, why),
            Some(limit) => {
                line(&row.stage, &outcome, &row.did, "");
                for part in wrapped(why, limit.saturating_sub(4).max(20)) {
                    line(&format!("    {part}"), "", "", "");
                }
            }
        }
    }
    text
}

/// A text in lines of at most that many characters, as far as its words let it.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(stage: &str, did: &str, why: Option<&str>) -> Row {
        Row { stage: stage.into(), outcome: "rolled_back", did: did.into(), why: why.map(str::to_owned) }
    }

    #[test]
    fn reasons_stand_below_where_they_do_not_fit() {
        let why = "deploy.break_it failed (application): exit status 1: the smoke test has found a fault";
        let rows = [row("region1", "ran rollout, undid rollout", Some(why)), row("b", "", None)];
        let wide = "stage    outcome      what it did                 why\n\
                    region1  rolled back  ran rollout, undid rollout  deploy.break_it failed (application): exit status 1: the \
                    smoke test has found a fault\n\
                    b        rolled back\n";
        assert_eq!(layout(&rows, None), wide);
        assert_eq!(layout(&rows, Some(200)), wide);
        let narrow = "stage    outcome      what it did\n\
                      region1  rolled back  ran rollout, undid rollout\n    \
                      deploy.break_it failed (application): exit\n    \
                      status 1: the smoke test has found a fault\n\
                      b        rolled back\n";
        assert_eq!(layout(&rows, Some(50)), narrow);
    }
}

//! The matrix of every failure, as text and as JSON: `docs/schemas/every-failure.schema.json`.

use super::json::{StageJson, barrier_word};
use super::text::quoted;
use crate::machine::{BarrierState, is_approval};
use crate::{
    Chosen, Fallible, Plan, Question, Readable, Rehearsal, RunFact, RunOutcome, StageOutcome, StepId,
    format_duration, question_name,
};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What no row is about.
const NOT_TRIED: [&str; 2] =
    ["several failures at once", "waits that run out although nobody is slower than timeouts allow"];

/// Stages up to here have a column each.
const MOST_COLUMNS: usize = 4;

/// The matrix. Rows are made as they are written: of a thousand stages they would fill the memory.
#[derive(Debug, Serialize)]
pub struct RehearsalJson<'a> {
    version: u32,
    scenarios: Scenarios<'a>,
    not_tried: Vec<String>,
}

#[derive(Debug)]
struct Scenarios<'a> {
    plan: &'a Plan,
    rows: &'a [Rehearsal],
    chosen: &'a [Chosen],
    barriers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ScenarioJson<'a> {
    fail: Vec<String>,
    given: BTreeMap<String, String>,
    happens: bool,
    away: bool,
    outcome: &'static str,
    stages: BTreeMap<&'a str, StageJson>,
    barriers: BTreeMap<&'a str, &'static str>,
    asked: Vec<AskedJson<'a>>,
    at_most: String,
    broken_promises: &'a [u32],
    outside_promises: &'a [u32],
}

#[derive(Debug, Serialize)]
struct AskedJson<'a> {
    question: &'a str,
    of: &'a str,
}

impl Serialize for Scenarios<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().map(|row| self.scenario(row)))
    }
}

impl Scenarios<'_> {
    fn scenario<'r>(&'r self, row: &'r Rehearsal) -> ScenarioJson<'r> {
        let plan = self.plan;
        let stages = plan.stages.iter().zip(&row.stages).map(|(stage, outcome)| {
            let outcome = outcome.map_or("stuck", StageOutcome::name);
            (stage.name.as_str(), StageJson { outcome, reason: None })
        });
        let asked =
            row.asked.iter().map(|(question, of)| AskedJson { question: question_name(plan, *question), of });
        ScenarioJson {
            fail: self.chosen.iter().chain(&row.fail).map(|chosen| chosen.text(plan)).collect(),
            given: row.given.iter().map(|(of, value)| (source_name(plan, of), value.to_string())).collect(),
            happens: row.happens,
            away: row.away,
            outcome: row.outcome.map_or("needs_person", RunOutcome::name),
            stages: stages.collect(),
            barriers: self
                .barriers
                .iter()
                .map(String::as_str)
                .zip(row.barriers.iter().map(barrier_word))
                .collect(),
            asked: asked.collect(),
            at_most: format_duration(row.at_most),
            broken_promises: &row.broken,
            outside_promises: &row.outside,
        }
    }
}

/// As `--gives` takes it.
fn source_name(plan: &Plan, source: &Readable) -> String {
    match source {
        Readable::Output(step, name) => format!("{}.{name}", plan.steps[step.index()].name),
        Readable::Run(RunFact::By) => "run.by".into(),
        Readable::Run(RunFact::Id) => "run.id".into(),
    }
}

fn not_tried(plan: &Plan, rows: &[Rehearsal], untried: &[StepId]) -> Vec<String> {
    // Approvals are given, and refused in rows of their own.
    let asks = |row: &Rehearsal| {
        row.asked.iter().any(|(question, _)| match question {
            Question::Step(step) => !is_approval(&plan.steps[step.index()]),
            Question::Place(_) => true,
            Question::Approval(_) => false,
        })
    };
    let answers = rows.iter().any(asks).then(|| "answers that were not chosen with --answer".to_owned());
    let values = untried
        .iter()
        .map(|step| format!("values with which {} runs, for none were found", plan.steps[step.index()].name));
    NOT_TRIED.into_iter().map(str::to_owned).chain(answers).chain(values).collect()
}

/// The form of a matrix, of which `chosen` fails in every row; `untried` are the steps that [`crate::untried`] names.
pub fn rehearsal_json<'a>(
    plan: &'a Plan,
    rows: &'a [Rehearsal],
    chosen: &'a [Chosen],
    untried: &[StepId],
) -> RehearsalJson<'a> {
    RehearsalJson {
        version: 1,
        scenarios: Scenarios { plan, rows, chosen, barriers: plan.barrier_names() },
        not_tried: not_tried(plan, rows, untried),
    }
}

/// The matrix as a table: what fails, what each stage ends as, which barriers break, who is asked, how long at most. What is
/// `chosen` fails in every row; `untried` are the steps that [`crate::untried`] names.
pub fn rehearsal_text(plan: &Plan, rows: &[Rehearsal], chosen: &[Chosen], untried: &[StepId]) -> String {
    let wide = plan.stages.len() <= MOST_COLUMNS;
    let mut head = vec!["fails".to_owned(), "run".to_owned()];
    if wide {
        head.extend(plan.stages.iter().map(|stage| stage.name.clone()));
    } else {
        head.push("stages".to_owned());
    }
    head.extend(["breaks", "asks", "at most"].map(str::to_owned));
    let mut table = vec![head];
    let barriers = plan.barrier_names();
    table.extend(rows.iter().map(|row| cells(plan, &barriers, row, chosen, wide)));
    let mut out = lines(&table);
    // A failure may have several rows.
    let count = |wanted: &dyn Fn(&Rehearsal) -> bool| {
        let failures: BTreeSet<Chosen> =
            rows.iter().filter(|row| wanted(row)).filter_map(|row| row.fail).collect();
        failures.len()
    };
    let further = if chosen.is_empty() { "" } else { "further " };
    let failures = match count(&|_| true) {
        1 => format!("1 {further}failure"),
        number => format!("{number} {further}failures"),
    };
    let broken = match count(&|row| row.happens && !row.broken.is_empty()) {
        0 => "no promise is broken".to_owned(),
        1 => "1 breaks a promise".to_owned(),
        number => format!("{number} break a promise"),
    };
    let _ = writeln!(out, "\n{failures}, {broken}.");
    if rows.iter().any(|row| row.fail.is_none() && !row.broken.is_empty()) {
        let _ = writeln!(out, "A promise is broken without a further failure, too.");
    }
    let _ = match count(&|row| !row.happens) {
        0 => Ok(()),
        1 => writeln!(out, "1 of them does not happen: it is not come to."),
        number => writeln!(out, "{number} of them do not happen: they are not come to."),
    };
    if rows.iter().any(|row| row.away) {
        let _ = writeln!(
            out,
            "Process away: it takes that nobody carries the run out for a while. The clocks of barriers stand still then, those of steps \
             and questions do not."
        );
    }
    if rows.iter().any(|row| !row.outside.is_empty()) {
        let _ = writeln!(out, "Outside the promise: it assumes that steps work which undo something.");
    }
    let _ = writeln!(out, "Not tried: {}.", not_tried(plan, rows, untried).join("; "));
    out
}

/// What fails, and how.
fn failure_text(plan: &Plan, chosen: Chosen) -> String {
    let name = chosen.what.name(plan);
    match chosen {
        Chosen { what: Fallible::Wait(_), .. } => format!("{name} (waits too long)"),
        Chosen { kind, share: None, .. } => format!("{name} ({kind})"),
        Chosen { kind, share: Some(share), .. } => format!("{name} ({kind} on {share}% of its hosts)"),
    }
}

/// What fails in a row. What fails in all of them is named in the first.
fn fails_text(plan: &Plan, row: &Rehearsal, chosen: &[Chosen]) -> String {
    match row.fail {
        Some(fail) if chosen.is_empty() => failure_text(plan, fail),
        Some(fail) => format!("and {}", failure_text(plan, fail)),
        None if chosen.is_empty() => "nothing".to_owned(),
        None => chosen.iter().map(|it| failure_text(plan, *it)).collect::<Vec<_>>().join(" and "),
    }
}

fn cells(plan: &Plan, barriers: &[String], row: &Rehearsal, chosen: &[Chosen], wide: bool) -> Vec<String> {
    let mut fails = fails_text(plan, row, chosen);
    let given: Vec<String> = row
        .given
        .iter()
        .map(|(of, value)| format!("{} = {}", source_name(plan, of), quoted(value)))
        .collect();
    if !given.is_empty() {
        let _ = write!(fails, ", with {}", given.join(", "));
    }
    if row.away {
        fails.push_str(", process away");
    }
    if !row.happens {
        fails.push_str(": does not happen");
    }
    let words = |outcome: Option<StageOutcome>| outcome.map_or("stuck", StageOutcome::name).replace('_', " ");
    let mut run = row.outcome.map_or("stuck", RunOutcome::name).replace('_', " ");
    if !row.broken.is_empty() {
        run.push_str(", breaks its promise");
    } else if !row.outside.is_empty() {
        run.push_str(", outside its promise");
    }
    let mut cells = vec![fails, run];
    if wide {
        cells.extend(row.stages.iter().map(|outcome| words(*outcome)));
    } else {
        let mut count: BTreeMap<Option<StageOutcome>, u32> = BTreeMap::new();
        for outcome in &row.stages {
            *count.entry(*outcome).or_default() += 1;
        }
        let counted: Vec<String> =
            count.into_iter().map(|(outcome, number)| format!("{number} {}", words(outcome))).collect();
        cells.push(counted.join(", "));
    }
    let broken = barriers.iter().zip(&row.barriers).filter(|(_, state)| **state == BarrierState::Broken);
    cells.push(broken.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "));
    let asked = row.asked.iter().map(|(question, of)| format!("{of}: {}", question_name(plan, *question)));
    cells.push(asked.collect::<Vec<_>>().join(", "));
    cells.push(format_duration(row.at_most));
    cells
}

fn lines(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in table {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

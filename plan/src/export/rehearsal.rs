//! The matrix of every failure, as text and as JSON: `docs/schemas/every-failure.schema.json`.

use super::json::{StageJson, barrier_names, barrier_word};
use crate::machine::BarrierState;
use crate::{Chosen, Fallible, Plan, Rehearsal, RunOutcome, StageOutcome, format_duration};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Stages up to here have a column each.
const MOST_COLUMNS: usize = 4;

/// The matrix.
#[derive(Debug, Serialize)]
pub struct RehearsalJson {
    version: u32,
    scenarios: Vec<ScenarioJson>,
}

#[derive(Debug, Serialize)]
struct ScenarioJson {
    fail: Vec<String>,
    outcome: &'static str,
    stages: BTreeMap<String, StageJson>,
    barriers: BTreeMap<String, &'static str>,
    asked: Vec<AskedJson>,
    at_most: String,
    broken_promises: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct AskedJson {
    question: String,
    of: String,
}

/// The form of a matrix.
pub fn rehearsal_json(plan: &Plan, rows: &[Rehearsal]) -> RehearsalJson {
    let names = barrier_names(plan);
    let scenario = |row: &Rehearsal| ScenarioJson {
        fail: row.fail.iter().map(|chosen| chosen.text(plan)).collect(),
        outcome: row.outcome.map_or("needs_person", RunOutcome::name),
        stages: plan
            .stages
            .iter()
            .zip(&row.stages)
            .map(|(stage, outcome)| {
                let outcome = outcome.map_or("stuck", StageOutcome::name);
                (stage.name.clone(), StageJson { outcome, reason: None })
            })
            .collect(),
        barriers: names.iter().cloned().zip(row.barriers.iter().map(barrier_word)).collect(),
        asked: row
            .asked
            .iter()
            .map(|(question, of)| AskedJson { question: question.clone(), of: of.clone() })
            .collect(),
        at_most: format_duration(row.at_most),
        broken_promises: row.mixed.clone(),
    };
    RehearsalJson { version: 1, scenarios: rows.iter().map(scenario).collect() }
}

/// The matrix as a table: what fails, what each stage ends as, which barriers break, who is asked, how long at most.
pub fn rehearsal_text(plan: &Plan, rows: &[Rehearsal]) -> String {
    let wide = plan.stages.len() <= MOST_COLUMNS;
    let mut head = vec!["fails".to_owned(), "run".to_owned()];
    if wide {
        head.extend(plan.stages.iter().map(|stage| stage.name.clone()));
    } else {
        head.push("stages".to_owned());
    }
    head.extend(["breaks", "asks", "at most"].map(str::to_owned));
    let mut table = vec![head];
    table.extend(rows.iter().map(|row| cells(plan, row, wide)));
    let mut out = lines(&table);
    let broken: Vec<&Rehearsal> = rows.iter().filter(|row| !row.mixed.is_empty()).collect();
    let _ = match broken.as_slice() {
        [] => writeln!(out, "\n{} failures, no promise is broken.", rows.len() - 1),
        some => writeln!(out, "\n{} failures, {} break a promise.", rows.len() - 1, some.len()),
    };
    out
}

fn cells(plan: &Plan, row: &Rehearsal, wide: bool) -> Vec<String> {
    let fails = match row.fail {
        None => "nothing".to_owned(),
        Some(Chosen { what: what @ Fallible::Wait(_), .. }) => {
            format!("{} (waits too long)", what.name(plan))
        }
        Some(Chosen { what, kind, share: None }) => format!("{} ({kind})", what.name(plan)),
        Some(Chosen { what, kind, share: Some(share) }) => {
            format!("{} ({kind} on {share}% of its hosts)", what.name(plan))
        }
    };
    let words = |outcome: Option<StageOutcome>| outcome.map_or("stuck", StageOutcome::name).replace('_', " ");
    let mut run = row.outcome.map_or("stuck", RunOutcome::name).replace('_', " ");
    if !row.mixed.is_empty() {
        run.push_str(", breaks its promise");
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
    let names = barrier_names(plan);
    let broken = names.into_iter().zip(&row.barriers).filter(|(_, state)| **state == BarrierState::Broken);
    cells.push(broken.map(|(name, _)| name).collect::<Vec<_>>().join(", "));
    let asked = row.asked.iter().map(|(question, of)| format!("{of}: {question}"));
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

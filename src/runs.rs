//! `dsl runs`: what has run and what is running.

use crate::args::{RunsArgs, TextFormat};
use crate::clock::{date_time, rfc3339};
use crate::failure::{Failure, print, to_json};
use crate::holdings::{Claim, Holdings};
use crate::run::how_it_ended;
use crate::state;
use lockstep_executor::Store;
use lockstep_plan::RunOutcome;
use serde::Serialize;

#[derive(Serialize)]
struct Runs {
    version: u32,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    run: String,
    pipeline: String,
    state: &'static str,
    alive: bool,
    started: String,
    by: String,
    claims: Vec<Claim>,
}

/// Lists every run, oldest first.
pub fn run(args: &RunsArgs) -> Result<u8, Failure> {
    let (runs, text) = match state::if_any(&args.state)? {
        Some(store) => list(&store)?,
        None => (Vec::new(), String::new()),
    };
    print(&match args.format {
        TextFormat::Json => to_json(&Runs { version: 1, runs })?,
        TextFormat::Text if text.is_empty() => "nothing has run yet\n".into(),
        TextFormat::Text => text,
    })?;
    Ok(0)
}

/// The runs, and the same for people.
fn list(store: &Store) -> Result<(Vec<Run>, String), Failure> {
    let holdings = Holdings::of(store)?;
    let mut runs = Vec::new();
    let mut text = String::new();
    for info in store.runs()? {
        let state = info.outcome.map_or("running", |outcome| outcome.name());
        let alive = info.outcome.is_none() && store.is_carried_out(&info.id)?;
        let cut = info.outcome.is_none() && !alive;
        let word = match info.outcome {
            // Only the journal knows whether anything was.
            Some(RunOutcome::RolledBack) => how_it_ended(store, &info.id)?.unwrap_or(state).into(),
            _ if cut => "unfinished, nobody carries it out".into(),
            _ => state.replace('_', " "),
        };
        let started = date_time(info.created_at);
        text.push_str(&format!("{}  {started}  {}  by {}  {word}\n", info.id, info.pipeline, info.by));
        for line in holdings.lines(&info.id) {
            text.push_str(&format!("    {line}\n"));
        }
        let started = rfc3339(info.created_at);
        let claims = holdings.claims(&info.id);
        runs.push(Run { claims, run: info.id, pipeline: info.pipeline, state, alive, started, by: info.by });
    }
    Ok((runs, text))
}

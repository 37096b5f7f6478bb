//! `dsl status`: what a run has come to, and the journal's explanation of every decision.

use crate::args::{StatusArgs, TextFormat};
use crate::clock::{date_time, rfc3339, time_of_day};
use crate::failure::{Failure, print, to_json};
use crate::holdings::{Claim, Holdings};
use crate::progress::is_said_already;
use crate::text::harmless;
use crate::{request, state, table};
use lockstep_executor::{Replay, Request, RunInfo, replay};
use lockstep_plan::export::{EventLine, event_line};
use lockstep_plan::machine::BarrierState;
use lockstep_plan::{Plan, question_name};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Serialize)]
struct Status {
    version: u32,
    run: String,
    pipeline: String,
    state: &'static str,
    alive: bool,
    by: String,
    started: String,
    stages: BTreeMap<String, Stage>,
    barriers: BTreeMap<String, &'static str>,
    questions: Vec<Question>,
    claims: Vec<Claim>,
    requests: Vec<Pending>,
    refused: Vec<Refused>,
    events: Vec<TimedEvent>,
}

#[derive(Serialize)]
struct Stage {
    outcome: &'static str,
    did: String,
    why: Option<String>,
}

#[derive(Serialize)]
struct Question {
    step: String,
    group: String,
    answers: Vec<&'static str>,
}

/// A request that nobody has taken up.
#[derive(Serialize)]
struct Pending {
    at: String,
    by: String,
    request: String,
}

/// A request that came too late.
#[derive(Serialize)]
struct Refused {
    #[serde(flatten)]
    request: Pending,
    why: String,
}

#[derive(Serialize)]
struct TimedEvent {
    at: String,
    #[serde(flatten)]
    line: EventLine,
}

/// Writes the state of one run.
pub fn run(args: &StatusArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = store.find_run(&args.run)?;
    let info = store.run(&run)?;
    let replay = replay(&store, &run)?;
    let alive = store.is_carried_out(&run)?;
    let requests = Requests { open: store.requests(&run)?, late: store.late_requests(&run)? };
    let holdings = Holdings::of(&store)?;
    print(&match args.format {
        TextFormat::Text => text(&info, &replay, alive, &requests, &holdings),
        TextFormat::Json => to_json(&status(info, &replay, alive, &requests, &holdings))?,
    })?;
    Ok(0)
}

/// What other processes asked for and did not get, or not yet.
struct Requests {
    open: Vec<Request>,
    late: Vec<(Request, String)>,
}

/// The word for the run as a whole; `queued` when it waits for what other runs hold.
fn word(replay: &Replay, queued: bool) -> &'static str {
    match replay.state.outcome() {
        Some(outcome) => outcome.name(),
        None if replay.questions.is_empty() && !queued => "running",
        None => "waiting",
    }
}

fn barriers(replay: &Replay) -> BTreeMap<String, &'static str> {
    let words = replay.state.barriers.iter().map(|barrier| match barrier {
        BarrierState::Open => "open",
        BarrierState::Broken => "broken",
        BarrierState::Undecided { .. } => "not_reached",
    });
    replay.plan.barrier_names().into_iter().zip(words).collect()
}

fn describe(plan: &Plan, request: &Request) -> (String, String) {
    request::describe(&request.event, |question| question_name(plan, *question).to_owned())
}

fn pending(plan: &Plan, request: &Request) -> Pending {
    let (by, what) = describe(plan, request);
    Pending { at: rfc3339(request.at), by, request: what }
}

fn status(info: RunInfo, replay: &Replay, alive: bool, requests: &Requests, holdings: &Holdings) -> Status {
    let rows = table::rows(&replay.plan, &replay.state, &replay.happenings);
    Status {
        version: 1,
        state: word(replay, holdings.waits(&info.id)),
        claims: holdings.claims(&info.id),
        alive,
        run: info.id,
        pipeline: info.pipeline,
        by: info.by,
        started: rfc3339(info.created_at),
        stages: rows
            .into_iter()
            .map(|row| (row.stage, Stage { outcome: row.outcome, did: row.did, why: row.why }))
            .collect(),
        barriers: barriers(replay),
        questions: replay
            .questions
            .iter()
            .map(|(question, (group, answers))| Question {
                step: question_name(&replay.plan, *question).into(),
                group: group.clone(),
                answers: answers.iter().map(|answer| answer.name()).collect(),
            })
            .collect(),
        requests: requests.open.iter().map(|request| pending(&replay.plan, request)).collect(),
        refused: requests
            .late
            .iter()
            .map(|(request, why)| Refused { request: pending(&replay.plan, request), why: why.clone() })
            .collect(),
        events: replay
            .happenings
            .iter()
            .map(|(at, happening)| TimedEvent { at: rfc3339(*at), line: event_line(&replay.plan, happening) })
            .collect(),
    }
}

fn text(info: &RunInfo, replay: &Replay, alive: bool, requests: &Requests, holdings: &Holdings) -> String {
    let plan = &replay.plan;
    let mut text = String::new();
    let state = replay.state.phrase().unwrap_or_else(|| word(replay, holdings.waits(&info.id)));
    let cut = if replay.state.is_finished() || alive {
        ""
    } else {
        " (nobody carries it out: `dsl resume` goes on)"
    };
    let _ = writeln!(text, "run {}  {}  {state}{cut}", info.id, info.pipeline);
    let _ = writeln!(text, "started {} by {}", date_time(info.created_at), info.by);
    let _ = writeln!(text, "\n{}", table::text(&table::rows(plan, &replay.state, &replay.happenings)));
    for (name, word) in barriers(replay) {
        let _ = writeln!(text, "barrier {name}  {}", word.replace('_', " "));
    }
    for ((step, attempt), since) in &replay.running {
        let name = &plan.steps[step.index()].name;
        let _ = writeln!(text, "{name} runs since {} (attempt {attempt})", time_of_day(*since));
    }
    for (question, (group, answers)) in &replay.questions {
        let answers: Vec<&str> = answers.iter().map(|answer| answer.name()).collect();
        let name = question_name(plan, *question);
        let _ = writeln!(text, "{name} waits for an answer of {group}: {}", answers.join(", "));
    }
    for line in holdings.lines(&info.id) {
        let _ = writeln!(text, "{line}");
    }
    for (request, why) in &requests.late {
        let (by, what) = describe(plan, request);
        let why = harmless(why);
        let _ = writeln!(text, "{by} asked at {}: {what}; too late: {why}", time_of_day(request.at));
    }
    for request in &requests.open {
        let (by, what) = describe(plan, request);
        let _ =
            writeln!(text, "{by} asked at {}: {what}; nobody has taken it up yet", time_of_day(request.at));
    }
    let _ = writeln!(text);
    let width = plan.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
    for (at, happening) in replay.happenings.iter().filter(|(_, happening)| !is_said_already(happening)) {
        let stage = happening.stage(plan).unwrap_or_default();
        let said = harmless(&happening.describe(plan)).replace('\n', "\n    ");
        let _ = writeln!(text, "{}  {stage:width$}  {said}", time_of_day(*at));
    }
    text
}

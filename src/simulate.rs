//! `dsl simulate`: plays a pipeline through under chosen outcomes.

use crate::args::{SimulateArgs, TextFormat};
use crate::failure::{Failure, print, say, to_json};
use crate::source::lower;
use lockstep_compiler::Purpose;
use lockstep_plan::export::{rehearsal_json, rehearsal_text, simulation_json, simulation_text};
use lockstep_plan::{
    Answer, ApprovalId, Kind, PlaceId, Plan, Question, Rehearsal, Scenario, StepId, broken_promises,
    every_failure, simulate,
};
use std::collections::BTreeMap;

/// Exit code 1 when a promise does not hold, or the run would never end.
pub fn run(args: &SimulateArgs) -> Result<u8, Failure> {
    let (lowered, _) = lower(&args.pipeline, BTreeMap::new(), Purpose::Rehearsal)?;
    let plan = &lowered.plan;
    let mut scenario = Scenario::default();
    for fail in &args.fail {
        let (name, kind) = match fail.split_once('=') {
            Some((name, kind)) => (name, kind_named(kind)?),
            None => (fail.as_str(), Kind::Application),
        };
        scenario.fail.insert(step(plan, name)?, kind);
    }
    for takes in &args.takes {
        let (name, time) = pair(takes, "--takes", "STEP=DURATION")?;
        let time = lockstep_compiler::parse_duration(time).ok_or_else(|| {
            Failure::new(format!("`{time}` is not a duration"))
                .help("durations are written like 30s, 10m or 1h30m")
        })?;
        scenario.takes.insert(step(plan, name)?, time);
    }
    for answer in &args.answer {
        let (name, word) = pair(answer, "--answer", "STEP=ANSWER")?;
        let answer = Answer::from_name(word).ok_or_else(|| {
            Failure::new(format!("`{word}` is not an answer"))
                .help("answers are approve, reject, retry, ignore, succeed, rollback and abort")
        })?;
        scenario.answers.insert(question(plan, name)?, answer);
    }
    if args.every_failure {
        let rows = every_failure(plan, &scenario);
        match args.format {
            TextFormat::Text => print(&rehearsal_text(plan, &rows))?,
            TextFormat::Json => print(&to_json(&rehearsal_json(plan, &rows))?)?,
        }
        let kept = |row: &Rehearsal| row.outcome.is_some() && row.mixed.is_empty();
        return Ok(u8::from(!rows.iter().all(kept)));
    }
    let simulation = simulate(plan, &scenario);
    match args.format {
        TextFormat::Text => print(&simulation_text(plan, &simulation))?,
        TextFormat::Json => print(&to_json(&simulation_json(plan, &simulation))?)?,
    }
    let broken = broken_promises(plan, &simulation);
    for group in &broken {
        say(&format!(
            "the promise of group {group} does not hold: its branches end neither all new nor all old"
        ));
    }
    Ok(u8::from(simulation.outcome.is_none() || !broken.is_empty()))
}

fn pair<'a>(text: &'a str, option: &str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    text.rsplit_once('=')
        .ok_or_else(|| Failure::new(format!("`{option} {text}` should be `{option} {form}`")))
}

fn kind_named(name: &str) -> Result<Kind, Failure> {
    Kind::from_name(name).ok_or_else(|| {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Failure::new(format!("`{name}` is not a kind of failure"))
            .help(format!("kinds are {}", kinds.join(", ")))
    })
}

fn step(plan: &Plan, name: &str) -> Result<StepId, Failure> {
    plan.step_named(name).ok_or_else(|| {
        let names = plan.steps.iter().map(|step| step.name.as_str());
        let failure = Failure::new(format!("the plan has no step `{name}`"));
        match lockstep_compiler::nearest(name, names) {
            Some(near) => failure.help(format!("did you mean `{near}`? Steps are named `stage.phase.step`")),
            None => failure.help("steps are named `stage.phase.step`; `dsl plan` shows them"),
        }
    })
}

/// What can be asked about: a step, an approval between stages, or a barrier's place.
pub fn question(plan: &Plan, name: &str) -> Result<Question, Failure> {
    if let Some(at) = plan.approvals.iter().position(|approval| approval.name == name) {
        return Ok(Question::Approval(ApprovalId(at as u32)));
    }
    if let Some(at) = plan.places.iter().position(|place| place.name == name) {
        return Ok(Question::Place(PlaceId(at as u32)));
    }
    step(plan, name).map(Question::Step)
}

//! `dsl simulate`: plays a pipeline through under chosen outcomes.

use crate::args::{SimulateArgs, TextFormat};
use crate::failure::{Failure, print, say, to_json};
use crate::source::lower;
use lockstep_compiler::Purpose;
use lockstep_plan::export::{rehearsal_json, rehearsal_text, simulation_json, simulation_text};
use lockstep_plan::{
    Answer, ApprovalId, Chosen, Fallible, Kind, PlaceId, Plan, Question, Rehearsal, Scenario, StepId,
    broken_promises, every_failure, late, question_name, questions, simulate,
};
use std::collections::BTreeMap;

/// More names than this are counted, not listed.
const MOST_NAMES: usize = 12;

/// Exit code 1 when a promise does not hold, or the run would never end.
pub fn run(args: &SimulateArgs) -> Result<u8, Failure> {
    let (lowered, _) = lower(&args.pipeline, BTreeMap::new(), Purpose::Rehearsal)?;
    let plan = &lowered.plan;
    let scenario = scenario(plan, args)?;
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

/// What was chosen on the command line.
fn scenario(plan: &Plan, args: &SimulateArgs) -> Result<Scenario, Failure> {
    let mut scenario = Scenario::default();
    let mut waits = Vec::new();
    let mut given = Given::default();
    for fail in &args.fail {
        let (name, how) = match fail.rsplit_once('=') {
            Some((name, how)) => (name, Some(how)),
            None => (fail.as_str(), None),
        };
        given.once("--fail", name, fail)?;
        let chosen = chosen(plan, name, how)?;
        match chosen.what {
            Fallible::Wait(place) => waits.push(place),
            _ => scenario.fail(chosen),
        }
    }
    for takes in &args.takes {
        let (name, time) = pair(takes, "--takes", "STEP=DURATION")?;
        given.once("--takes", name, takes)?;
        let time = lockstep_compiler::parse_duration(time).ok_or_else(|| {
            Failure::new(format!("`{time}` is not a duration"))
                .help("durations are written like 30s, 10m or 1h30m")
        })?;
        match fallible(plan, name)? {
            Fallible::Step(step) => _ = scenario.takes.insert(step, time),
            Fallible::Approval(approval) => {
                scenario.takes_to_answer.insert(Question::Approval(approval), time);
            }
            Fallible::Wait(_) => {
                return Err(Failure::new(format!("`{name}` is a barrier, not a step")).help(
                    "a wait lasts until the others arrive: let one of their steps `--takes` long, or the wait `--fail`",
                ));
            }
        }
    }
    for answer in &args.answer {
        let (name, word) = pair(answer, "--answer", "STEP=ANSWER")?;
        given.once("--answer", name, answer)?;
        let (question, offered) = asked(plan, name)?;
        let answer = Answer::from_name(word).filter(|answer| offered.contains(answer)).ok_or_else(|| {
            let offered: Vec<&str> = offered.iter().map(|answer| answer.name()).collect();
            choices(format!("`{name}` cannot be answered with `{word}`"), word, "answers", &offered)
        })?;
        scenario.answers.insert(question, answer);
    }
    for place in waits {
        scenario = late(plan, &scenario, place).ok_or_else(|| {
            let name = &plan.places[place.index()].name;
            Failure::new(format!("the wait at `{name}` does not run out, however slow the others are")).help(
                "their timeouts end them before; a failure of one of their steps breaks the barrier, too",
            )
        })?;
    }
    Ok(scenario)
}

/// What was said so far, by option and name: each can be said once.
#[derive(Default)]
struct Given<'a>(BTreeMap<(&'static str, &'a str), &'a str>);

impl<'a> Given<'a> {
    fn once(&mut self, option: &'static str, name: &'a str, text: &'a str) -> Result<(), Failure> {
        match self.0.insert((option, name), text) {
            Some(before) if before != text => {
                Err(Failure::new(format!("`{option} {before}` and `{option} {text}` contradict each other"))
                    .help("a rehearsal chooses one of them: leave the other one out"))
            }
            _ => Ok(()),
        }
    }
}

/// `KIND` or `KIND@SHARE%`, or nothing, of something that can fail.
fn chosen(plan: &Plan, name: &str, how: Option<&str>) -> Result<Chosen, Failure> {
    let what = fallible(plan, name)?;
    let (kind, share) = match how.and_then(|how| how.split_once('@')) {
        Some((kind, share)) => (Some(kind), Some(hosts(plan, what, share)?)),
        None => (how, None),
    };
    let kind = match kind {
        Some(kind) => kind_named(plan, what, kind)?,
        // The plainest: `application`, of an approval `approval_rejected`.
        None => what.kinds(plan).first().copied().unwrap_or(Kind::Application),
    };
    Ok(Chosen { what, kind, share })
}

/// On how many of its hosts a step fails, in percent.
fn hosts(plan: &Plan, what: Fallible, share: &str) -> Result<u32, Failure> {
    let name = what.name(plan);
    let target = match what {
        Fallible::Step(step) => plan.steps[step.index()].action.target,
        _ => None,
    };
    if !target.is_some_and(|target| plan.targets[target.index()].settings.contains_key("hosts")) {
        return Err(Failure::new(format!("`{name}` does not work on hosts of which a share could fail"))
            .help(format!("leave `@{share}` out")));
    }
    let percent = share.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
    percent.filter(|percent| (1..=100).contains(percent)).ok_or_else(|| {
        Failure::new(format!("`{share}` is not a share of hosts"))
            .help("shares are written like 20%, up to 100%")
    })
}

fn pair<'a>(text: &'a str, option: &str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    text.rsplit_once('=')
        .ok_or_else(|| Failure::new(format!("`{option} {text}` should be `{option} {form}`")))
}

/// A failure that names what there is instead.
fn choices(message: String, word: &str, what: &str, there: &[&str]) -> Failure {
    let near = lockstep_compiler::nearest(word, there.iter().copied());
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let more = there.len().saturating_sub(MOST_NAMES);
    let named = there[..there.len() - more].join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Failure::new(message).help(format!("{near}{what}: {named}{more}"))
}

fn kind_named(plan: &Plan, what: Fallible, name: &str) -> Result<Kind, Failure> {
    let kinds = what.kinds(plan);
    Kind::from_name(name).filter(|kind| kinds.contains(kind)).ok_or_else(|| {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        choices(format!("`{}` cannot fail with `{name}`", what.name(plan)), name, "kinds", &kinds)
    })
}

/// A step, an approval between stages, or a wait at a barrier.
fn fallible(plan: &Plan, name: &str) -> Result<Fallible, Failure> {
    if let Some(at) = plan.approvals.iter().position(|approval| approval.name == name) {
        return Ok(Fallible::Approval(ApprovalId(at as u32)));
    }
    if let Some(at) = plan.places.iter().position(|place| place.name == name) {
        return Ok(Fallible::Wait(PlaceId(at as u32)));
    }
    step(plan, name).map(Fallible::Step)
}

fn step(plan: &Plan, name: &str) -> Result<StepId, Failure> {
    plan.step_named(name).ok_or_else(|| {
        let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
        let approvals = plan.approvals.iter().map(|approval| approval.name.as_str());
        let names: Vec<&str> = names.into_iter().chain(approvals).collect();
        choices(format!("the plan has no step `{name}`"), name, "steps are named `stage.phase.step`", &names)
    })
}

/// What is asked about under that name, and the answers that there are.
fn asked(plan: &Plan, name: &str) -> Result<(Question, Vec<Answer>), Failure> {
    let question = question(plan, name)?;
    let all = questions(plan);
    if let Some(found) = all.iter().find(|(known, _)| *known == question) {
        return Ok(found.clone());
    }
    let message = format!("nobody is ever asked about `{name}`");
    if all.is_empty() {
        return Err(Failure::new(message).help("the plan has neither approvals nor `ask` rules"));
    }
    let names: Vec<&str> = all.iter().map(|(question, _)| question_name(plan, *question)).collect();
    Err(choices(message, name, "asked about", &names))
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

//! `dsl simulate`: plays a pipeline through under chosen outcomes.

use crate::args::{PipelineArgs, SimulateArgs, TextFormat};
use crate::failure::{Failure, print, print_json, say, to_json};
use crate::source::lower;
use crate::values::arguments;
use lockstep_compiler::Purpose;
use lockstep_plan::export::{
    SimulationJson, rehearsal_json, rehearsal_text, simulation_json, simulation_text,
};
use lockstep_plan::machine::StepStatus;
use lockstep_plan::{
    Answer, ApprovalId, Chosen, Fallible, Kind, PlaceId, Plan, Question, Rehearsal, RunFact, Scenario,
    Simulation, StepId, Value, ValueType, every_failure, late, question_name, questions, simulate,
    unanswered, undelayed, unfailed, untried,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// More names than this are counted, not listed.
const MOST_NAMES: usize = 12;

/// Exit code 1 when a promise does not hold, or the run would never end.
pub fn run(args: &SimulateArgs) -> Result<u8, Failure> {
    let PipelineArgs { path, pipeline, .. } = &args.pipeline;
    let (lowered, _) = lower(path, pipeline, &arguments(&args.pipeline)?, Purpose::Rehearsal)?;
    let plan = &lowered.plan;
    let choices = choices_of(plan, args)?;
    if args.every_failure {
        let rows = every_failure(plan, &choices.scenario);
        let untried = untried(plan, &choices.scenario);
        let chosen: BTreeSet<Chosen> = choices.fails.iter().map(|(_, chosen)| *chosen).collect();
        let chosen: Vec<Chosen> = chosen.into_iter().collect();
        match args.format {
            TextFormat::Text => print(&rehearsal_text(plan, &rows, &chosen, &untried))?,
            TextFormat::Json => print_json(&rehearsal_json(plan, &rows, &chosen, &untried))?,
        }
        let kept = |row: &Rehearsal| row.outcome.is_some() && row.broken.is_empty();
        return Ok(u8::from(!rows.iter().all(kept)));
    }
    let simulation = simulate(plan, &choices.scenario);
    let without_effect = choices.without_effect(plan, &simulation);
    for Idle { option, why } in &without_effect {
        say(&format!("`{option}` makes no difference: {why}"));
    }
    match args.format {
        TextFormat::Text => print(&simulation_text(plan, &simulation))?,
        TextFormat::Json => {
            let simulation = simulation_json(plan, &simulation);
            print(&to_json(&Told { simulation, without_effect })?)?;
        }
    }
    for group in &simulation.broken {
        say(&format!(
            "the promise of group {group} does not hold: its branches end neither all new nor all old"
        ));
    }
    Ok(u8::from(simulation.outcome.is_none() || !simulation.broken.is_empty()))
}

/// A simulation with what came of the options.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    simulation: SimulationJson,
    without_effect: Vec<Idle>,
}

/// An option that came to nothing.
#[derive(Serialize)]
struct Idle {
    option: String,
    why: String,
}

/// What was chosen on the command line: each with the option that says so, and all together.
#[derive(Default)]
struct Choices {
    fails: Vec<(String, Chosen)>,
    takes: Vec<(String, Fallible)>,
    answers: Vec<(String, Question)>,
    gives: Vec<(String, StepId)>,
    scenario: Scenario,
}

impl Choices {
    /// Options that came to nothing in a simulation.
    fn without_effect(&self, plan: &Plan, simulation: &Simulation) -> Vec<Idle> {
        let fails = self.fails.iter().map(|(option, chosen)| (option, unfailed(plan, simulation, *chosen)));
        let takes = self.takes.iter().map(|(option, what)| (option, undelayed(simulation, *what)));
        let answers =
            self.answers.iter().map(|(option, question)| (option, unanswered(simulation, *question)));
        let gives = self.gives.iter().map(|(option, step)| {
            let succeeded = simulation.state.steps[step.index()].status == StepStatus::Succeeded;
            (option, (!succeeded).then(|| "the step does not succeed".into()))
        });
        let all = fails.chain(takes).chain(answers).chain(gives);
        all.filter_map(|(option, why)| Some(Idle { option: option.clone(), why: why? })).collect()
    }

    /// Why the wait at a barrier does not run out.
    fn in_time(&self, plan: &Plan, option: &str, place: PlaceId) -> Failure {
        let fails = self.fails.iter().map(|(option, chosen)| (option, true, chosen.what));
        let takes = self.takes.iter().map(|(option, what)| (option, false, *what));
        let others: Vec<(&String, bool, Fallible)> = fails.chain(takes).collect();
        let without = |forgotten: &[(&String, bool, Fallible)]| {
            let mut scenario = self.scenario.clone();
            for (_, fails, what) in forgotten {
                match (what, fails) {
                    (Fallible::Step(step), true) => _ = scenario.fail.remove(step),
                    (Fallible::Step(step), false) => _ = scenario.takes.remove(step),
                    (Fallible::Approval(approval), true) => _ = scenario.refuse.remove(approval),
                    (Fallible::Approval(approval), false) => {
                        scenario.takes_to_answer.remove(&Question::Approval(*approval));
                    }
                    (Fallible::Wait(_), _) => {}
                }
            }
            late(plan, &scenario, place).is_some()
        };
        let alone = others.iter().find(|other| without(&[**other]));
        let blamed = match alone {
            Some(other) => vec![*other],
            None if without(&others) => others.into_iter().filter(|(known, ..)| *known != option).collect(),
            None => Vec::new(),
        };
        if blamed.is_empty() {
            let name = &plan.places[place.index()].name;
            return Failure::new(format!(
                "the wait at `{name}` does not run out, however slow the others are"
            ))
            .help("their timeouts end them before; a failure of one of their steps breaks the barrier, too");
        }
        let blamed: Vec<String> = blamed.iter().map(|(option, ..)| format!("`{option}`")).collect();
        Failure::new(format!("`{option}` and {} contradict each other", blamed.join(" and ")))
            .help("for this wait to run out the others have to come late: leave one of the options out")
    }
}

/// Reads the options.
fn choices_of(plan: &Plan, args: &SimulateArgs) -> Result<Choices, Failure> {
    let mut choices = Choices::default();
    let mut waits = Vec::new();
    let mut given = Given::default();
    for fail in &args.fail {
        let (name, how) = match fail.rsplit_once('=') {
            Some((name, how)) => (name, Some(how)),
            None => (fail.as_str(), None),
        };
        given.once("--fail", name, fail)?;
        let chosen = chosen(plan, name, how)?;
        let option = format!("--fail {fail}");
        match chosen.what {
            Fallible::Wait(place) => waits.push((option.clone(), place)),
            _ => choices.scenario.fail(chosen),
        }
        choices.fails.push((option, chosen));
    }
    for takes in &args.takes {
        let (name, time) = pair(takes, "--takes", "STEP=DURATION")?;
        given.once("--takes", name, takes)?;
        let time = lockstep_compiler::parse_duration(time).ok_or_else(|| {
            Failure::new(format!("`{time}` is not a duration"))
                .help("durations are written like 30s, 10m or 1h30m")
        })?;
        let what = fallible(plan, name)?;
        match what {
            Fallible::Step(step) => _ = choices.scenario.takes.insert(step, time),
            Fallible::Approval(approval) => {
                choices.scenario.takes_to_answer.insert(Question::Approval(approval), time);
            }
            Fallible::Wait(_) => {
                return Err(Failure::new(format!("`{name}` is a barrier, not a step")).help(
                    "a wait lasts until the others arrive: let one of their steps `--takes` long, or the wait `--fail`",
                ));
            }
        }
        choices.takes.push((format!("--takes {takes}"), what));
    }
    for gives in &args.gives {
        let (output, value) = gives.split_once('=').ok_or_else(|| {
            Failure::new(format!("`--gives {gives}` should be `--gives STEP.OUTPUT=VALUE`"))
        })?;
        given.once("--gives", output, gives)?;
        let fact = match output {
            "run.by" => Some(RunFact::By),
            "run.id" => Some(RunFact::Id),
            _ => None,
        };
        if let Some(fact) = fact {
            choices.scenario.facts.insert(fact, value.to_owned());
            continue;
        }
        let (step, name, value) = output_of(plan, output, value)?;
        choices.scenario.outputs.insert((step, name), value);
        choices.gives.push((format!("--gives {gives}"), step));
    }
    for answer in &args.answer {
        let (name, word) = pair(answer, "--answer", "STEP=ANSWER")?;
        given.once("--answer", name, answer)?;
        let (question, offered) = asked(plan, name)?;
        let answer_given =
            Answer::from_name(word).filter(|answer| offered.contains(answer)).ok_or_else(|| {
                let offered: Vec<&str> = offered.iter().map(|answer| answer.name()).collect();
                self::choices(format!("`{name}` cannot be answered with `{word}`"), word, "answers", &offered)
            })?;
        choices.scenario.answers.insert(question, answer_given);
        choices.answers.push((format!("--answer {answer}"), question));
    }
    for (option, place) in waits {
        choices.scenario = match late(plan, &choices.scenario, place) {
            Some(scenario) => scenario,
            None => return Err(choices.in_time(plan, &option, place)),
        };
    }
    Ok(choices)
}

/// An output of a step, and what it is to be.
fn output_of(plan: &Plan, output: &str, value: &str) -> Result<(StepId, String, Value), Failure> {
    let Some((step_name, name)) = output.rsplit_once('.') else {
        return Err(Failure::new(format!("`{output}` is no output of a step"))
            .help("outputs are named `stage.phase.step.output`"));
    };
    let step = step(plan, step_name)?;
    let outputs = &plan.steps[step.index()].outputs;
    let Some(ty) = lockstep_plan::type_of_output(plan, step, name) else {
        let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
        return Err(choices(format!("`{step_name}` has no output `{name}`"), name, "its outputs", &names));
    };
    let number = |text: &str| text.parse::<i64>().ok();
    let read = match ty {
        ValueType::Text => Some(Value::Text(value.to_owned())),
        ValueType::Path => Some(Value::Path(value.to_owned())),
        ValueType::Bool => value.parse().ok().map(Value::Bool),
        ValueType::Int => number(value).map(Value::Int),
        ValueType::Percent => {
            value.strip_suffix('%').and_then(|share| share.parse().ok()).map(Value::Percent)
        }
        ValueType::Duration => lockstep_compiler::parse_duration(value).map(Value::Duration),
        ValueType::List => match serde_json::from_str(value) {
            Ok(list @ serde_json::Value::Array(_)) => Some(Value::of_json(&list)),
            _ => {
                return Err(Failure::new(format!("`{value}` is no list"))
                    .help("lists are written as JSON: `STEP.OUTPUT=[\"a\", \"b\"]`"));
            }
        },
        ValueType::Map => {
            return Err(Failure::new(format!("`{output}` is a map, which cannot be chosen as a whole"))
                .help("what conditions read of a map can be: `STEP.OUTPUT[KEY]=VALUE`"));
        }
    };
    let value = read.ok_or_else(|| Failure::new(format!("`{value}` is no value of `{output}`")))?;
    Ok((step, name.to_owned(), value))
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

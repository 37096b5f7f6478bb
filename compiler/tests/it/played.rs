//! Stories of broken promises, played through: what `dsl check` tells is what `dsl simulate` shows when that is chosen.

use crate::promises::{broken, cases_of};
use lockstep_compiler::{Diagnostic, Program, Purpose, lower_for};
use lockstep_plan::proof::{Standing, standing};
use lockstep_plan::{
    Answer, ApprovalId, Chosen, Fallible, Happening, Kind, Patience, PlaceId, Plan, Question, Role, Scenario,
    Stage, StageId, StepId, Value, ValueType, late, question_name, questions, simulate,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Files of cases whose stories are played.
const FILES: &[&str] = &[
    "tests/stories.lockstep",
    "tests/cases/promises.lockstep",
    "tests/cases/pipelines.lockstep",
    "tests/cases/answers.lockstep",
    "tests/cases/late.lockstep",
    "tests/cases/undecided.lockstep",
];

/// Stories that no option of `dsl simulate` leads to.
const NOT_CHOSEN: &[&str] = &[
    // The words of a failure are nobody's choice.
    "and one that asks for words: they can be any",
    // Finding out what a target runs takes as long as it takes.
    "a wait before another attempt outlasts another's wait: nobody can be away then",
    // What is given for a parameter is looked at before anything begins, and refused.
    "a later stage of a lane may fail before its first step: nobody knows whether the pattern is one",
];

/// What others take longer for, in milliseconds.
const A_WHILE: u64 = 1_000;

/// The text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// A story, and the plan that it is about.
struct Told<'a> {
    plan: &'a Plan,
    source: &'a str,
    story: &'a Diagnostic,
}

impl Told<'_> {
    fn step(&self, name: &str) -> StepId {
        self.plan.step_named(name).unwrap_or_else(|| panic!("no step `{name}`: {}", self.story.message))
    }

    fn approval(&self, name: &str) -> Option<ApprovalId> {
        let at = self.plan.approvals.iter().position(|approval| approval.name == name)?;
        Some(ApprovalId(at as u32))
    }

    /// What people say who are not told of: yes to what is to be approved.
    fn answers(&self, scenario: &mut Scenario) {
        let message = &self.story.message;
        for (question, offered) in questions(self.plan) {
            let name = question_name(self.plan, question);
            if offered.contains(&Answer::Approve)
                && !message.contains(&format!("nobody answers about `{name}`"))
            {
                scenario.answers.insert(question, Answer::Approve);
            }
        }
    }

    /// What the story says that fails, chosen as options choose it; nothing where they cannot.
    fn chosen(&self, mut scenario: Scenario) -> Option<Scenario> {
        let message = &self.story.message;
        let name = |before: &str, after: &str| between(message, before, after);
        if let Some(name) = name("when the wait at `", "` runs out") {
            let before = message.split(", `").filter_map(|it| it.split_once("` has failed ("));
            if let Some((step, rest)) = before.last() {
                let (what, kind) =
                    (Fallible::Step(self.step(step)), Kind::from_name(rest.split_once(')')?.0)?);
                scenario.fail(Chosen { what, kind, share: None });
                return Some(scenario);
            }
            let at = self.plan.places.iter().position(|place| place.name == name)?;
            return late(self.plan, &scenario, PlaceId(at as u32));
        }
        let refused = name("when `", "` is refused").map(|name| (name, Kind::ApprovalRejected));
        let silent = name("when nobody answers `", "` in time").map(|name| (name, Kind::Timeout));
        if let Some((approval, kind)) = refused.or(silent)
            && let Some(approval) = self.approval(approval)
        {
            scenario.fail(Chosen { what: Fallible::Approval(approval), kind, share: None });
            return Some(scenario);
        }
        if let Some(step) = name("because `", "` failed, and its rules went on") {
            let what = Fallible::Step(self.step(step));
            scenario.fail(Chosen { what, kind: Kind::Application, share: None });
            return Some(scenario);
        }
        if message.contains("cannot be decided") {
            return Some(scenario);
        }
        let (step, rest) = message.split_once("when `")?.1.split_once("` fails (")?;
        let (kind, rest) = rest.split_once(')')?;
        let share = match rest.strip_prefix(" on ") {
            Some(rest) if rest.starts_with("all of its hosts") => Some(100),
            Some(rest) => rest.split_once("% of its hosts").and_then(|(share, _)| share.parse().ok()),
            None => None,
        };
        let step = self.step(step);
        scenario.fail(Chosen { what: Fallible::Step(step), kind: Kind::from_name(kind)?, share });
        let mut clauses = message.split(", `").filter_map(|it| it.split_once("` has failed, too"));
        if let Some((step, _)) = clauses.next() {
            let what = Fallible::Step(self.step(step));
            scenario.fail(Chosen { what, kind: Kind::Application, share: None });
        }
        if let Some(answer) = name(" and a person answers `", "`").and_then(Answer::from_name) {
            scenario.answers.insert(Question::Step(step), answer);
        }
        Some(scenario)
    }

    /// Lets the steps take long where stages are at that moment.
    fn meanwhile(&self, scenario: &mut Scenario) {
        for (at, text) in &self.story.labels {
            let word = &self.source[at.span.start as usize..at.span.end as usize];
            for stage in text.split("; ").filter_map(|it| it.strip_suffix("` is here at that moment")) {
                let stage = stage.trim_start_matches('`');
                for (index, step) in self.plan.steps.iter().enumerate() {
                    let here = self.plan.stages[step.stage.index()].name == stage;
                    if here && step.name.ends_with(&format!(".{word}")) {
                        scenario.takes.insert(StepId(index as u32), step.timeout / 2);
                    }
                }
            }
        }
    }

    /// What is wrong with an execution, beside the story.
    fn differs(&self, scenario: &Scenario) -> Option<String> {
        let simulation = simulate(self.plan, scenario);
        if simulation.broken.is_empty() {
            return Some("no promise is broken".into());
        }
        let texts = self.story.labels.iter().flat_map(|(_, text)| text.split("; "));
        for text in texts {
            let Some((name, end)) = text.strip_prefix('`').and_then(|text| text.split_once("` ")) else {
                continue;
            };
            let back = end.starts_with("is rolled back, and ");
            let wanted = match end.trim_start_matches("is rolled back, and ") {
                // Not yet, in the story: in a rehearsal everybody has come as far as he can.
                "has changed nothing" => continue,
                "ends new" => Standing::New,
                "ends old" => Standing::Old,
                "ends neither new nor old" => Standing::Between,
                _ => continue,
            };
            // A lane goes by its own name.
            let is_called = |stage: &&Stage| {
                let lane = &self.plan.items[stage.item.index()].branches[stage.branch as usize].lane;
                lane.as_deref().unwrap_or(&stage.name) == name
            };
            let stage = self.plan.stages.iter().find(is_called).expect("a stage or a lane");
            let found = standing(self.plan, &simulation.state, stage.item, stage.branch);
            if found != wanted {
                return Some(format!("`{name}` ends as {found:?}, not {wanted:?}"));
            }
            let goes = |told: &Happening| {
                let Happening::RollbackStarted(it) = told else { return false };
                let it = &self.plan.stages[it.index()];
                (it.item, it.branch) == (stage.item, stage.branch)
            };
            if back && !simulation.events.iter().any(|(_, told)| goes(told)) {
                return Some(format!("`{name}` is not rolled back"));
            }
        }
        None
    }
}

/// The pipeline that a report is about.
fn pipeline<'s>(source: &'s str, story: &Diagnostic) -> &'s str {
    let before = &source[..story.primary.span.start as usize];
    let rest = before.rsplit_once("\npipeline ").expect("a pipeline").1;
    rest.split([' ', '(']).next().expect("its name")
}

/// What can be given for the parameters that a pipeline has: those of the cases.
fn arguments(source: &str, pipeline: &str) -> Vec<BTreeMap<String, String>> {
    let line = source.lines().find(|line| line.starts_with(&format!("pipeline {pipeline}")));
    let params = line.and_then(|line| between(line, "(", ") {")).unwrap_or_default();
    let mut all = vec![BTreeMap::new()];
    for param in params.split(", ").filter_map(|param| param.split_once(": ")) {
        let values: &[&str] = match param {
            (_, ty) if ty.contains(" = ") => continue,
            (_, "bool") => &["true", "false"],
            ("pattern", _) => &["("],
            (_, ty) if ty.starts_with("string in") => &["gold", "silver", "bronze"],
            (_, "map<string>") => &["{}"],
            (_, "list<string>") => &["a"],
            _ => &["1", "v1", "magic"],
        };
        let with = |known: &BTreeMap<String, String>, value: &str| {
            let mut known = known.clone();
            known.insert(param.0.to_owned(), value.to_owned());
            known
        };
        all = all.iter().flat_map(|known| values.iter().map(|value| with(known, value))).collect();
    }
    all
}

/// Who is slower than the others.
#[derive(Clone, Copy)]
enum Slow {
    Nobody,
    /// The step that fails.
    Failing,
    /// The stages in which nothing fails.
    Others,
}

impl Told<'_> {
    /// Who comes first, and where others are at that moment.
    fn timed(&self, scenario: &Scenario) -> Vec<Scenario> {
        let own: Vec<StageId> =
            scenario.fail.keys().map(|step| self.plan.steps[step.index()].stage).collect();
        let mut all = Vec::new();
        for slow in [Slow::Nobody, Slow::Failing, Slow::Others] {
            let mut plain = scenario.clone();
            for (index, step) in self.plan.steps.iter().enumerate() {
                let id = StepId(index as u32);
                let late = match slow {
                    Slow::Nobody => false,
                    Slow::Failing => scenario.fail.contains_key(&id),
                    Slow::Others => step.role == Role::Forward && !own.contains(&step.stage),
                };
                if late {
                    plain.takes.insert(id, A_WHILE);
                }
            }
            let mut there = plain.clone();
            self.meanwhile(&mut there);
            all.extend([plain, there]);
        }
        all
    }

    /// What steps put out: texts that the source asks for.
    fn given(&self) -> Vec<BTreeMap<(StepId, String), Value>> {
        let outputs = self.plan.steps.iter().enumerate().flat_map(|(index, step)| {
            let texts = step.outputs.iter().filter(|(_, ty)| **ty == ValueType::Text);
            texts.map(move |(name, _)| (StepId(index as u32), name.clone()))
        });
        let outputs: Vec<(StepId, String)> = outputs.collect();
        let mut texts: BTreeSet<&str> = self.source.split('"').skip(1).step_by(2).collect();
        texts.insert("(");
        let mut all = vec![BTreeMap::new()];
        for text in texts {
            let gives = |output: &(StepId, String)| (output.clone(), Value::Text(text.into()));
            all.push(outputs.iter().map(gives).collect());
            all.extend(outputs.iter().map(|output| [gives(output)].into()));
        }
        all
    }

    /// Whether a rehearsal shows the story; what is wrong where none does.
    fn played(&self) -> Result<(), String> {
        let patience = match self.story.message.contains("nobody carries the run out for a while") {
            true => Patience::Away,
            false => Patience::Usual,
        };
        let mut plain = Scenario { patience, ..Scenario::default() };
        self.answers(&mut plain);
        let mut wrong = String::from("it cannot be chosen");
        for outputs in self.given() {
            let Some(chosen) = self.chosen(Scenario { outputs, ..plain.clone() }) else { continue };
            for scenario in self.timed(&chosen) {
                match self.differs(&scenario) {
                    None => return Ok(()),
                    Some(differs) => wrong = differs,
                }
            }
        }
        Err(wrong)
    }
}

/// The plan with a wait that slow steps let run out: others may be late for what has no timeout of its own, such as finding
/// out what a target runs.
fn impatient(plan: &Plan, message: &str) -> Option<Plan> {
    let name = between(message, "when the wait at `", "` runs out")?;
    let mut plan = plan.clone();
    plan.places.iter_mut().find(|place| place.name == name)?.timeout = Some(1);
    Some(plan)
}

/// Plays one story; what is wrong with it where nothing that can be given leads to it.
fn play(program: &Program, source: &str, found: &[Diagnostic], story: &Diagnostic) -> Result<(), String> {
    let name = pipeline(source, story);
    let mut wrong = String::from("there are no arguments");
    for values in arguments(source, name) {
        let lowered = lower_for(Purpose::Rehearsal, program, found.to_vec(), Path::new(""), name, &values);
        let plan = match lowered {
            Ok(lowered) => lowered.plan,
            Err(found) => {
                wrong = found.iter().map(|it| it.message.as_str()).collect();
                continue;
            }
        };
        let impatient = impatient(&plan, &story.message);
        for plan in std::iter::once(&plan).chain(&impatient) {
            match (Told { plan, source, story }).played() {
                Ok(()) => return Ok(()),
                Err(differs) => wrong = differs,
            }
        }
    }
    Err(wrong)
}

#[test]
fn what_a_story_tells_is_what_a_rehearsal_shows() {
    let (mut played, mut others) = (0, Vec::new());
    for file in FILES {
        for (name, source) in cases_of(file) {
            let (program, found) = broken(&source);
            for story in found.iter().filter(|it| it.message.contains("does not hold")) {
                match play(&program, &source, &found, story) {
                    Ok(()) => played += 1,
                    Err(wrong) => others.push(format!("{name}: {}: {wrong}", story.message)),
                }
            }
        }
    }
    others.retain(|it| !NOT_CHOSEN.iter().any(|known| it.starts_with(known)));
    assert!(others.is_empty(), "{played} played, but:\n{}", others.join("\n"));
    assert!(played > 40, "{played}");
}

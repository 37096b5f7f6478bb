//! `all-or-nothing/violated`: a group that promises to end all new or all old can end mixed.
//!
//! The proof and the counterexample are the plan's matter ([`lockstep_plan::proof`]); here the story gets its places in the
//! source.

use super::Judged;
use super::barrier_deadlock::condition_text;
use super::besides::{Besides, besides};
use super::satisfy::Domains;
use super::walk;
use super::worlds::world;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::program::FileId;
use crate::rules::Rule;
use crate::suggest;
use crate::types::steps_of;
use lockstep_grammar::ast::{Span, Workflow};
use lockstep_plan::proof::{
    Counterexample, Effort, Fault, Promise, Proof, Standing, Suspicion, Worlds, depends_on_words,
    may_be_passed_over, prove,
};
use lockstep_plan::{
    Before, BlockItem, ConditionId, Expr, Happening, ItemId, Kind, Part, PlaceId, Plan, Position,
    StageOutcome, StepId, Undo, Verdict, Work,
};
use std::collections::BTreeSet;

pub const RULE: Rule = Rule {
    name: "all-or-nothing/violated",
    severity: Severity::Error,
    summary: "a group that promises to end all new or all old can end mixed",
    page: include_str!("all_or_nothing_violated.md"),
};

/// More branches than this are counted, not named.
const MOST_NAMES: usize = 3;

/// Proves the promise of every group.
pub fn check(judged: &Judged<'_, '_>, effort: &mut Effort, sink: &mut Vec<Diagnostic>) {
    for proof in proofs(&judged.lowered.plan, &|| Domains::of(judged.model, judged.pipeline), effort) {
        if judged.is_damaged(proof.item) {
            continue;
        }
        match &proof.promise {
            Promise::Kept => {}
            Promise::Broken(found) => sink.push(broken(judged, &proof, found)),
            Promise::Unproved(suspicion) => sink.push(unproved(judged, &proof, suspicion)),
        }
    }
}

/// Takes back what is said of workflows whose undoing is misspelt: nobody knows what it would do.
pub fn hide_consequences(model: &Model<'_>, found: &mut Vec<Diagnostic>) {
    if found.iter().all(|it| it.rule != RULE.name) {
        return;
    }
    let within = |at: Location, file: FileId, span: Span| {
        at.file == file && span.start <= at.span.start && at.span.end <= span.end
    };
    let unclear = |file: FileId, workflow: &Workflow| {
        let phases = &workflow.phases;
        let blocks = || workflow.rollbacks.iter().chain(phases.iter().flat_map(|phase| &phase.rollbacks));
        let steps = || phases.iter().flat_map(|phase| steps_of(&phase.items));
        let entries = || steps().flat_map(|step| &step.arguments.entries);
        let words = ["undone_by", "changes", "irreversible"];
        let named = || entries().filter(|entry| words.contains(&entry.name.text.as_str()));
        found.iter().any(|it| {
            let at = it.primary;
            match it.rule {
                _ if !within(at, file, workflow.body) => false,
                "name/unknown" => {
                    blocks().any(|block| within(at, file, block.span))
                        || named().any(|entry| within(at, file, entry.value.span))
                }
                "type/not-allowed-value" => named().any(|entry| within(at, file, entry.span)),
                "type/argument-unknown" => {
                    let name = model.program.text(file, at.span);
                    name == "rollback" || words.iter().any(|known| suggest::slipped(known, [name]))
                }
                _ => false,
            }
        })
    };
    let workflows = walk::workflows(model).filter(|(file, _, workflow)| unclear(*file, workflow));
    let workflows: Vec<(FileId, Span)> = workflows.map(|(file, _, workflow)| (file, workflow.body)).collect();
    found.retain(|it| {
        let speaks_of =
            |(file, body): &(FileId, Span)| it.labels.iter().any(|(at, _)| within(*at, *file, *body));
        it.rule != RULE.name || !workflows.iter().any(speaks_of)
    });
}

/// What is known of the promises of a plan, of whose parameters that is known: asked where conditions matter.
pub fn proofs(plan: &Plan, domains: &dyn Fn() -> Domains, effort: &mut Effort) -> Vec<Proof> {
    let ask: &Worlds<'_> = &|open| Some(world(plan, &domains(), open));
    prove(plan, ask, effort)
}

fn broken(judged: &Judged<'_, '_>, proof: &Proof, found: &Counterexample) -> Diagnostic {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let item = proof.item;
    let besides = besides(plan, found);
    let message = format!(
        "`all_or_nothing` does not hold: {}{}, {}",
        fault_text(plan, &found.fault),
        besides_text(plan, &besides),
        standings_text(plan, proof, found)
    );
    let mut story = Story::default();
    let (at, text) = fault_label(judged, &found.fault);
    story.add(at, text);
    if let Some(at) = rule_at(judged, &found.suspicion) {
        story.add(at, verdict_label(found.suspicion.verdict).to_owned());
    }
    for step in found.left.iter().filter(|step| **step == found.suspicion.stays) {
        story.add(origins.steps[step.index()], stays_label(plan, *step));
        if let Some(source) = Source::of(judged, *step).filter(|it| it.leaves_out(plan, *step)) {
            let name = plan.steps[step.index()].name.rsplit('.').next().unwrap_or_default();
            let text = format!("this block replaces the derived rollback, and leaves `{name}` out");
            story.add(source.block, text);
        }
    }
    for (stage, at) in &found.meanwhile {
        let name = &plan.stages[stage.index()].name;
        match &plan.stages[stage.index()].positions[*at as usize].work {
            Work::Steps(steps) => {
                for step in steps.iter().take(1) {
                    story.add(origins.steps[step.index()], format!("`{name}` is here at that moment"));
                }
            }
            Work::Barrier(place) => {
                story.add(origins.places[place.index()], format!("`{name}` waits here at that moment"));
            }
        }
    }
    for (place, text) in besides.iter().filter_map(|it| it.label(plan)) {
        story.add(origins.places[place.index()], text);
    }
    for (branch, standing) in plan.items[item.index()].branches.iter().zip(&found.standings) {
        // Of a lane, where something stays.
        let stays = plan.steps[found.suspicion.stays.index()].stage;
        if let Some(stage) = branch.stages().find(|it| *it == stays).or_else(|| branch.stages().next()) {
            let name = branch.lane.as_ref().unwrap_or(&plan.stages[stage.index()].name);
            let of_branch = |stage| branch.stages().any(|it| it == stage);
            let goes_back =
                |told: &Happening| matches!(told, Happening::RollbackStarted(it) if of_branch(*it));
            let back = match standing {
                Standing::Between if found.story.iter().any(goes_back) => "is rolled back, and ",
                _ => "",
            };
            let text = format!("`{name}` {back}{}", standing_text(*standing));
            story.add(origins.stages[stage.index()], text);
        }
    }
    let place = |index: usize| origins.conditions[index];
    let all = || found.conditions.iter().enumerate();
    let skipped = skipped(plan, item, found);
    let holds: Vec<Location> = all().filter(|(_, holds)| **holds).map(|(index, _)| place(index)).collect();
    for (index, _) in all().filter(|(_, holds)| !**holds) {
        // What stands at a condition of several stages may run in some: what undoes the step that stays does not.
        if undoes(plan, found.suspicion.stays, index) && holds.contains(&place(index)) {
            let stage = &plan.stages[plan.steps[found.suspicion.stays.index()].stage.index()].name;
            let text = condition_text(judged, ConditionId(index as u32));
            story.add(place(index), format!("`{text}` skips what it stands at in `{stage}`, in this story"));
        } else if skipped.contains(&index) && !holds.contains(&place(index)) {
            let text = condition_text(judged, ConditionId(index as u32));
            story.add(origins.conditions[index], format!("`{text}` skips what it stands at, in this story"));
        }
    }
    // What has to hold for the change that stays to be made, and for what fails to run.
    let failing = match &found.fault {
        Fault::Step { step, .. } => Some(*step),
        _ => None,
    };
    for index in failing.into_iter().chain([found.suspicion.stays]).flat_map(|step| around(plan, step)) {
        if plan.conditions[index].as_value().is_none() && found.conditions[index] {
            let text = condition_text(judged, ConditionId(index as u32));
            story.add(place(index), format!("`{text}` lets it run, in this story"));
        }
    }
    let diagnostic = Diagnostic::new(&RULE, origins.items[item.index()], message)
        .label("all branches should end new, or all old");
    story.tell(diagnostic).help(help(judged, &found.suspicion, &found.left))
}

/// The conditions, by their index, that a step has to pass to run: its own, and those around it.
pub fn around(plan: &Plan, step: StepId) -> Vec<usize> {
    let data = &plan.steps[step.index()];
    let stage = &plan.stages[data.stage.index()];
    let position = stage.positions.iter().find(|position| position.steps().contains(&step));
    let around = position.iter().flat_map(|position| &position.when);
    stage.when.iter().chain(around).chain(&data.when).map(|it| it.index()).collect()
}

/// The conditions, by their index, under which somebody comes to a barrier.
fn around_place(plan: &Plan, place: PlaceId) -> impl Iterator<Item = usize> {
    let data = &plan.places[place.index()];
    let stage = data.stage.map(|stage| &plan.stages[stage.index()]);
    let here = move |position: &&Position| position.work == Work::Barrier(place);
    let position = stage.and_then(|stage| stage.positions.iter().find(here));
    let around = stage.into_iter().flat_map(|stage| &stage.when);
    let around = around.chain(position.into_iter().flat_map(|position| &position.when));
    around.chain(&data.when).map(|it| it.index())
}

/// The open conditions at what the story skips.
fn skipped(plan: &Plan, item: ItemId, found: &Counterexample) -> BTreeSet<usize> {
    let mut at: BTreeSet<usize> = BTreeSet::new();
    for told in &found.story {
        match told {
            Happening::StepSkipped(step) => at.extend(around(plan, *step)),
            Happening::StageEnded(stage, StageOutcome::Skipped) => {
                at.extend(plan.stages[stage.index()].when.iter().map(|it| it.index()));
            }
            Happening::BarrierExcused(place) => at.extend(around_place(plan, *place)),
            _ => {}
        }
    }
    // Whom an argument keeps away is never told of.
    for barrier in plan.barriers.iter().filter(|barrier| barrier.item == item) {
        let around = barrier.places.iter().flat_map(|place| around_place(plan, *place));
        let away = |it: &usize| !found.conditions[*it] && plan.conditions[*it].known_before() != Before::Late;
        at.extend(around.filter(away));
    }
    at.retain(|index| plan.conditions[*index].as_value().is_none());
    at
}

/// Whether a condition stands at what undoes a step.
fn undoes(plan: &Plan, step: StepId, condition: usize) -> bool {
    let Some(undo) = plan.steps[step.index()].undo.step() else { return false };
    plan.steps[undo.index()].when.iter().any(|it| it.index() == condition)
}

/// Where a step is written whose phase, or workflow, has a rollback block.
struct Source {
    /// The word `rollback`.
    block: Location,
    /// What undoes the step where no block does, as it is called there.
    derived: Option<String>,
}

impl Source {
    fn of(judged: &Judged<'_, '_>, step: StepId) -> Option<Self> {
        let (data, origins) = (&judged.lowered.plan.steps[step.index()], &judged.lowered.origins);
        let phase = *origins.phases[data.stage.index()].get(data.phase? as usize)?;
        let at = origins.steps[step.index()];
        let mut workflows = walk::workflows(judged.model).filter(|(file, _, _)| *file == phase.file);
        let (block, step) = workflows.find_map(|(_, _, workflow)| {
            let phase = workflow.phases.iter().find(|it| it.name.span == phase.span)?;
            let block = workflow.rollbacks.first().or(phase.rollbacks.first())?;
            Some((block, steps_of(&phase.items).find(|it| it.name.span == at.span)?))
        })?;
        let (_, provider) = step.path.names.split_last()?;
        let provider: Vec<&str> = provider.iter().map(|name| name.text.as_str()).collect();
        let signature = judged.model.find_step(phase.file, &step.path).map(|(_, signature)| signature);
        let undo = signature.and_then(|it| it.undone_by.as_ref()).map(|it| it.text.as_str());
        Some(Source {
            block: Location { file: phase.file, span: block.keyword },
            derived: undo.map(|undo| format!("{}.{undo}", provider.join("."))),
        })
    }

    /// Whether the block leaves out a step that would be undone without it.
    fn leaves_out(&self, plan: &Plan, step: StepId) -> bool {
        self.derived.is_some() && plan.steps[step.index()].undo == Undo::None
    }
}

/// One change that helps.
fn help(judged: &Judged<'_, '_>, suspicion: &Suspicion, left: &[StepId]) -> String {
    let plan = &judged.lowered.plan;
    let step = suggested(suspicion, left);
    let takes_all = !matches!(
        suspicion.verdict,
        Verdict::Ignore | Verdict::Fail | Verdict::Abort | Verdict::RollbackPhase
    );
    match Source::of(judged, step).filter(|it| takes_all && it.leaves_out(plan, step)) {
        Some(Source { derived: Some(undo), .. }) => {
            let name = plan.steps[step.index()].name.rsplit('.').next().unwrap_or_default();
            format!("say what undoes `{name}` in the `rollback` block, too: a step of `{undo}`")
        }
        _ => suggestion(plan, suspicion, left),
    }
}

fn unproved(judged: &Judged<'_, '_>, proof: &Proof, suspicion: &Suspicion) -> Diagnostic {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let stays = &plan.steps[suspicion.stays.index()].name;
    let message =
        format!("it could not be proved that `all_or_nothing` holds: what `{stays}` changed may stay");
    let mut story = Story::default();
    if let Some(at) = rule_at(judged, suspicion) {
        story.add(at, verdict_label(suspicion.verdict).to_owned());
    }
    story.add(origins.steps[suspicion.stays.index()], stays_label(plan, suspicion.stays));
    let why = match depends_on_words(plan, suspicion.stays) {
        true => "what undoes it depends on the words of a failure, which can be any",
        false => "too many conditions or branches to try them all",
    };
    let diagnostic = Diagnostic::new(&RULE, origins.items[proof.item.index()], message).label(why);
    story.tell(diagnostic).help(suggestion(plan, suspicion, &[suspicion.stays]))
}

/// Labels, each place once.
#[derive(Default)]
struct Story(Vec<(Location, Vec<String>)>);

impl Story {
    fn add(&mut self, at: Location, text: String) {
        match self.0.iter_mut().find(|(known, _)| *known == at) {
            Some((_, texts)) if texts.contains(&text) => {}
            Some((_, texts)) => texts.push(text),
            None => self.0.push((at, vec![text])),
        }
    }

    fn tell(self, mut diagnostic: Diagnostic) -> Diagnostic {
        for (at, mut texts) in self.0 {
            let more = texts.len().saturating_sub(MOST_NAMES + 1);
            if more > 0 {
                texts.truncate(MOST_NAMES);
                texts.push(format!("and {} more", more + 1));
            }
            diagnostic = diagnostic.also(at, texts.join("; "));
        }
        diagnostic
    }
}

fn fault_text(plan: &Plan, fault: &Fault) -> String {
    match fault {
        Fault::Step { step, kind, answer, hosts } => {
            let name = &plan.steps[step.index()].name;
            let asked = match answer {
                Some(answer) => format!(" and a person answers `{}`", answer.name()),
                None => String::new(),
            };
            format!("when `{name}` fails ({kind}){}{asked}", share_text(*hosts))
        }
        Fault::Waited(place) => {
            format!("when the wait at `{}` runs out", plan.places[place.index()].name)
        }
        Fault::Approval(approval, kind) => {
            let name = &plan.approvals[approval.index()].name;
            match kind {
                Kind::Timeout => format!("when nobody answers `{name}` in time"),
                _ => format!("when `{name}` is refused"),
            }
        }
        Fault::Condition(condition) => {
            format!("when a condition cannot be decided, because {}", undecided(plan, *condition))
        }
    }
}

/// What else has to come to pass.
fn besides_text(plan: &Plan, besides: &[Besides]) -> String {
    let mut clauses: Vec<String> = Vec::new();
    for clause in besides.iter().map(|it| it.clause(plan)) {
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    clauses.iter().take(MOST_NAMES).map(|clause| format!(", {clause}")).collect()
}

/// Of how many hosts a failure is, where rules tell that apart.
fn share_text(hosts: Option<(u32, u32)>) -> String {
    match hosts {
        Some((failed, of)) if failed == of => " on all of its hosts".to_owned(),
        Some((failed, of)) => format!(" on {}% of its hosts", failed * 100 / of.max(1)),
        None => String::new(),
    }
}

/// Why a condition cannot be decided.
fn undecided(plan: &Plan, condition: ConditionId) -> String {
    let mut why = None;
    plan.conditions[condition.index()].walk(&mut |part| match part {
        Expr::Output { step, name } if why.is_none() => {
            let of = &plan.steps[step.index()].name;
            why = match Expr::as_key(name) {
                _ if may_be_passed_over(plan, *step) => {
                    Some(format!("`{of}` failed, and its rules went on without `{name}`"))
                }
                Some((map, key)) => Some(format!("the `{map}` of `{of}` may have no `{key}`")),
                None => None,
            };
        }
        Expr::Param(name) if why.is_none() && Expr::may_be_missing(name) => {
            why = Some(match Expr::as_key(name) {
                Some((map, key)) => format!("`{map}` may have no `{key}`"),
                None => "it reads what was not given".to_owned(),
            });
        }
        _ => {}
    });
    why.unwrap_or_else(|| "its pattern is none".to_owned())
}

fn fault_label(judged: &Judged<'_, '_>, fault: &Fault) -> (Location, String) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    match fault {
        Fault::Step { step, kind, answer, hosts } => {
            let name = &plan.steps[step.index()].name;
            let asked = match answer {
                // The only answer that does not help.
                Some(_) => ", and a person lets it roll back",
                None => "",
            };
            (origins.steps[step.index()], format!("`{name}` fails ({kind}){}{asked}", share_text(*hosts)))
        }
        Fault::Waited(place) => {
            let data = &plan.places[place.index()];
            (origins.places[place.index()], format!("`{}` is waited at for too long", data.name))
        }
        Fault::Approval(approval, _) => (origins.approvals[approval.index()], "is not given".to_owned()),
        Fault::Condition(condition) => (
            origins.conditions[condition.index()],
            format!("cannot be decided: {}", undecided(plan, *condition)),
        ),
    }
}

fn rule_at(judged: &Judged<'_, '_>, suspicion: &Suspicion) -> Option<Location> {
    let origins = &judged.lowered.origins;
    if let Some(rule) = suspicion.later {
        return origins.rules.get(rule as usize).copied();
    }
    let (scope, rule) = suspicion.rule?;
    // A rule that rolls everything back is not what makes it so.
    (suspicion.verdict != Verdict::Rollback)
        .then(|| origins.scopes.get(scope.index()).and_then(|rules| rules.get(rule as usize)).copied())
        .flatten()
}

fn verdict_label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ignore => "this rule goes on, with a change that did not succeed",
        Verdict::Fail => "this rule leaves the stage as it is",
        Verdict::Abort => "this rule stops the run, and nothing is undone",
        Verdict::RollbackPhase => "this rule takes back only the phase",
        _ => "this rule takes everything back, also what cannot be",
    }
}

fn stays_label(plan: &Plan, step: StepId) -> String {
    let name = &plan.steps[step.index()].name;
    match plan.steps[step.index()].undo {
        Undo::Irreversible => format!("what `{name}` changed stays: it is irreversible"),
        Undo::None if plan.stages[plan.steps[step.index()].stage.index()].rollback.is_some() => {
            format!("what `{name}` changed stays: the workflow's `rollback` does not undo it")
        }
        Undo::None => format!("what `{name}` changed stays: nothing undoes it"),
        _ if is_replaced(plan, step) => {
            format!("what `{name}` changed stays: the workflow's `rollback` does not undo it")
        }
        _ => format!("what `{name}` changed stays"),
    }
}

/// Whether what undoes a step stands in a block that another one of the workflow replaces.
fn is_replaced(plan: &Plan, step: StepId) -> bool {
    let Some(undo) = plan.steps[step.index()].undo.step() else { return false };
    let steps = |item: &BlockItem| matches!(item, BlockItem::Steps(steps) if steps.contains(&undo));
    let block = &plan.stages[plan.steps[step.index()].stage.index()].rollback;
    block.as_ref().is_some_and(|block| !block.iter().any(steps))
}

/// Whether what undoes a step stands in the workflow's own block.
fn is_of_workflow(plan: &Plan, step: StepId) -> bool {
    plan.steps[step.index()].undo.step().is_some_and(|undo| plan.steps[undo.index()].phase.is_none())
}

fn standing_text(standing: Standing) -> &'static str {
    match standing {
        Standing::Untouched => "has changed nothing",
        Standing::New => "ends new",
        Standing::Old => "ends old",
        Standing::Between => "ends neither new nor old",
    }
}

/// `a` ends old, `b` ends neither new nor old
fn standings_text(plan: &Plan, proof: &Proof, found: &Counterexample) -> String {
    let branches = &plan.items[proof.item.index()].branches;
    let name = |index: usize| -> String {
        let branch = &branches[index];
        let part = branch.parts.first().map(|part| match part {
            Part::Stage(stage) => plan.stages[stage.index()].name.clone(),
            Part::Approval(approval) => plan.approvals[approval.index()].name.clone(),
        });
        format!("`{}`", branch.lane.clone().or(part).unwrap_or_default())
    };
    let mut parts = Vec::new();
    for standing in [Standing::Between, Standing::New, Standing::Old] {
        let these: Vec<usize> = (0..branches.len()).filter(|it| found.standings[*it] == standing).collect();
        let what = standing_text(standing);
        let plural = what.replacen("ends", "end", 1);
        match these.as_slice() {
            [] => {}
            [one] => parts.push(format!("{} {what}", name(*one))),
            some if some.len() <= MOST_NAMES => {
                let names: Vec<String> = some.iter().map(|it| name(*it)).collect();
                parts.push(format!("{} {plural}", names.join(" and ")));
            }
            [first, rest @ ..] => parts.push(format!("{} and {} others {plural}", name(*first), rest.len())),
        }
    }
    parts.join(", ")
}

/// The step that a suggestion is about.
fn suggested(suspicion: &Suspicion, left: &[StepId]) -> StepId {
    match left.contains(&suspicion.stays) {
        true => suspicion.stays,
        false => left.first().copied().unwrap_or(suspicion.stays),
    }
}

/// One change that helps, whatever the source looks like.
fn suggestion(plan: &Plan, suspicion: &Suspicion, left: &[StepId]) -> String {
    let step = suggested(suspicion, left);
    let name = plan.steps[step.index()].name.rsplit('.').next().unwrap_or_default();
    match suspicion.verdict {
        Verdict::Ignore => "write `rollback` instead of `ignore`, so that a change that failed is taken back; or `succeed`, if the target is as good as new then".to_owned(),
        Verdict::Fail => "write `rollback` instead of `fail`: the other branches roll back too".to_owned(),
        Verdict::Abort => "write `rollback` instead of `abort`: an abort undoes nothing".to_owned(),
        Verdict::RollbackPhase if is_of_workflow(plan, step) => format!(
            "write `rollback` instead of `rollback phase`: `{name}` is undone by the workflow's own `rollback`, which does not run for one phase"
        ),
        Verdict::RollbackPhase => "write `rollback` instead of `rollback phase`, so that earlier phases are taken back too".to_owned(),
        _ if suspicion.later.is_some() && plan.steps[step.index()].undo == Undo::Irreversible => {
            format!("write `fail` instead of `rollback pipeline`: `{name}` cannot be taken back when a later item fails; or move it behind everything that can fail")
        }
        _ if plan.steps[step.index()].undo == Undo::None => {
            format!("say what undoes `{name}`: a step in a `rollback` block, and `undone_by` with its name")
        }
        _ if plan.steps[step.index()].undo == Undo::Irreversible => {
            format!("move `{name}` to a stage behind the group, where nothing of it can fail any more")
        }
        _ if is_replaced(plan, step) => format!(
            "say what undoes `{name}` in the workflow's own `rollback`, which replaces those of its phases, or remove that block"
        ),
        _ => format!("let what undoes `{name}` run whenever it does, without a condition of its own"),
    }
}

//! Every failure of a plan, one after another: what each stage ends as, which barriers break, who is asked, how long it
//! can take.

use crate::chosen::{Chosen, Fallible, ToldApart, questions};
use crate::effect::unfailed;
use crate::late::{late, slow};
use crate::machine::BarrierState;
use crate::simulate::{Scenario, Simulation, simulate};
use crate::twins::Twins;
use crate::worlds::{Given, Worlds};
use crate::{
    Answer, ApprovalId, Cause, ConditionId, Happening, Kind, PlaceId, Plan, Question, Role, RunOutcome,
    StageId, StageOutcome, Step, StepId, Value, Work,
};
use std::collections::BTreeMap;

/// A row of the matrix: one thing that is chosen to fail, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What fails besides what the scenario says; nothing in the first row.
    pub fail: Option<Chosen>,
    /// What outputs are here, where that makes a difference: the step, the output, its value.
    pub given: Vec<((StepId, String), Value)>,
    /// Whether the failure happens. It does not where its step never runs, or not any more.
    pub happens: bool,
    /// How the run ends; nothing when it never would.
    pub outcome: Option<RunOutcome>,
    /// How each stage ends, in the plan's order.
    pub stages: Vec<Option<StageOutcome>>,
    /// What each barrier comes to, in the plan's order.
    pub barriers: Vec<BarrierState>,
    /// What is asked, each once, in the order in which it is, and who.
    pub asked: Vec<(Question, String)>,
    /// How long the run takes at most when every attempt takes as long as its timeout allows, and every question is open for
    /// as long as it may be where the scenario does not answer it, in milliseconds. See [`every_failure`].
    pub at_most: u64,
    /// Groups (their numbers) that break their promise; see [`Simulation::broken`].
    pub broken: Vec<u32>,
    /// Groups that end mixed, but outside their promise; see [`Simulation::outside`].
    pub outside: Vec<u32>,
}

/// Plays a scenario, and then again with each further failure: of every forward step with each kind and share of hosts that
/// make a difference (see [`ToldApart`]), of every approval, and of every wait at a barrier that slow steps can make run out
/// (see [`late`]). Approvals that the scenario says nothing about are given.
///
/// Where conditions read outputs of steps, each failure is played with values of every sort. What comes to the same is one
/// row; where rows of one failure differ, they say what was given. Where a failure happens with some values, only those count.
///
/// How long a run takes at most is looked at in four ways, of which the longest counts: as the scenario has it; with every
/// attempt as long as its timeout allows; the same while waits at barriers never run out; and with only the stage that fails
/// and all rollbacks being slow, so that the others have come far by then and have much to take back.
///
/// Of stages that are alike but for their names (see [`Twins`]) one is played.
pub fn every_failure(plan: &Plan, scenario: &Scenario) -> Vec<Rehearsal> {
    let mut scenario = scenario.clone();
    for (question, answers) in questions(plan) {
        if answers.contains(&Answer::Approve) {
            scenario.answers.entry(question).or_insert(Answer::Approve);
        }
    }
    let worlds = Worlds::new(plan, &scenario.outputs);
    let twins = Twins::new(plan, &scenario);
    let mut rows = rows_of(plan, &scenario, &worlds, None);
    let mut known: BTreeMap<Chosen, Vec<Rehearsal>> = BTreeMap::new();
    for chosen in failures(plan).filter(|it| !scenario.fails(it.what)) {
        let (first, swap) = twins.first(chosen);
        let found = known.entry(first).or_insert_with(|| rows_of(plan, &scenario, &worlds, Some(first)));
        match swap {
            None => rows.extend(found.iter().cloned()),
            Some(swap) => rows.extend(found.iter().map(|row| swap.row(row, chosen))),
        }
    }
    rows
}

/// Everything that is let fail, in the order of the matrix.
fn failures(plan: &Plan) -> impl Iterator<Item = Chosen> {
    let told = ToldApart::new(plan);
    let never = never(plan);
    let steps = plan.steps.iter().enumerate().filter(|(_, step)| step.role == Role::Forward);
    let steps = steps.map(|(index, _)| StepId(index as u32)).filter(move |step| !never[step.index()]);
    let failures = steps.flat_map(move |step| told.failures(step));
    let approvals = (0..plan.approvals.len()).map(|index| Fallible::Approval(ApprovalId(index as u32)));
    let refused = approvals
        .flat_map(|what| what.kinds(plan).into_iter().map(move |kind| Chosen { what, kind, share: None }));
    let places = (0..plan.places.len() as u32).map(|place| Fallible::Wait(PlaceId(place)));
    let waits = places.map(|what| Chosen { what, kind: Kind::Barrier, share: None });
    failures.chain(refused).chain(waits)
}

/// Whether steps are skipped whatever happens.
fn never(plan: &Plan) -> Vec<bool> {
    let skips = |when: &[ConditionId]| {
        let mut when = when.iter().map(|condition| plan.conditions[condition.index()].as_value());
        when.any(|value| value.and_then(Value::as_bool) == Some(false))
    };
    let mut never: Vec<bool> = plan.steps.iter().map(|step| skips(&step.when)).collect();
    for stage in &plan.stages {
        let whole = skips(&stage.when);
        for position in &stage.positions {
            if let Work::Steps(steps) = &position.work
                && (whole || skips(&position.when))
            {
                steps.iter().for_each(|step| never[step.index()] = true);
            }
        }
    }
    never
}

/// The rows of one failure: one for each sort of end.
fn rows_of(plan: &Plan, scenario: &Scenario, worlds: &Worlds, fail: Option<Chosen>) -> Vec<Rehearsal> {
    let mut found: Vec<(Given, Rehearsal)> = Vec::new();
    // With these values slow steps do not lead there.
    let mut none: Option<Given> = None;
    for world in worlds.of(fail.and_then(|fail| stage_of(plan, fail))) {
        let mut scenario = scenario.clone();
        scenario.outputs.extend(world.clone());
        let Some(row) = rehearse(plan, scenario, fail) else {
            none.get_or_insert(world);
            continue;
        };
        match found.iter_mut().find(|(_, known)| known.ends_like(&row)) {
            Some((_, known)) => known.at_most = known.at_most.max(row.at_most),
            None => found.push((world, row)),
        }
    }
    let all: Vec<Given> = found.iter().map(|(world, _)| world.clone()).chain(none).collect();
    if found.iter().any(|(_, row)| row.happens) {
        found.retain(|(_, row)| row.happens);
    }
    let row = |(world, mut row): (Given, Rehearsal)| {
        let telling = |(output, value): &(&(StepId, String), &Value)| {
            all.iter().any(|other| other.get(*output) != Some(*value))
        };
        row.given =
            world.iter().filter(telling).map(|(output, value)| (output.clone(), value.clone())).collect();
        row
    };
    found.into_iter().map(row).collect()
}

impl Rehearsal {
    /// Whether everything but the time it takes is the same.
    fn ends_like(&self, other: &Rehearsal) -> bool {
        let ends = |it: &Rehearsal| Rehearsal { at_most: 0, given: Vec::new(), ..it.clone() };
        ends(self) == ends(other)
    }
}

/// The stage that a failure is of.
fn stage_of(plan: &Plan, fail: Chosen) -> Option<StageId> {
    match fail.what {
        Fallible::Step(step) => Some(plan.steps[step.index()].stage),
        Fallible::Wait(place) => plan.places[place.index()].stage,
        Fallible::Approval(_) => None,
    }
}

/// Plays one scenario with a failure; nothing where it is a wait that slow steps do not make run out.
fn rehearse(plan: &Plan, mut scenario: Scenario, fail: Option<Chosen>) -> Option<Rehearsal> {
    match fail {
        Some(Chosen { what: Fallible::Wait(place), .. }) => scenario = late(plan, &scenario, place)?,
        Some(chosen) => scenario.fail(chosen),
        None => {}
    }
    let failing = match fail {
        Some(Chosen { what: Fallible::Step(step), .. }) => Some(plan.steps[step.index()].stage),
        _ => None,
    };
    let happens = |it: &Simulation| fail.is_none_or(|fail| unfailed(plan, it, fail).is_none());
    let mut simulation = simulate(plan, &scenario);
    if fail.is_some_and(|fail| fail.kind == Kind::Timeout) && !happens(&simulation) {
        // Others wait for less long at a barrier: but they may come there later.
        let which = |_, step: &Step| step.role == Role::Forward && Some(step.stage) != failing;
        let again = simulate(plan, &slow(plan, &scenario, &which));
        if happens(&again) {
            simulation = again;
        }
    }
    Some(Rehearsal {
        fail,
        given: Vec::new(),
        happens: happens(&simulation),
        at_most: lasts(&simulation).max(at_most(plan, &scenario, failing)),
        asked: asked(&simulation),
        outcome: simulation.outcome,
        stages: (0..plan.stages.len()).map(|it| simulation.state.stage_outcome(StageId(it as u32))).collect(),
        barriers: simulation.state.barriers,
        broken: simulation.broken,
        outside: simulation.outside,
    })
}

fn asked(simulation: &Simulation) -> Vec<(Question, String)> {
    let mut asked = Vec::new();
    for (_, happening) in &simulation.events {
        if let Happening::Asked(question, group) = happening
            && !asked.iter().any(|(known, _)| known == question)
        {
            asked.push((*question, group.clone()));
        }
    }
    asked
}

fn lasts(simulation: &Simulation) -> u64 {
    simulation.events.last().map_or(0, |(at, _)| *at)
}

/// How long it takes at most.
fn at_most(plan: &Plan, scenario: &Scenario, failing: Option<StageId>) -> u64 {
    let everything = slow(plan, scenario, &|_, _| true);
    let played = simulate(plan, &everything);
    let mut longest = lasts(&played);
    // Patience makes a difference where it ran out.
    let impatient = |(_, happening): &(u64, Happening)| {
        matches!(happening, Happening::BarrierBroken(_, _, Cause::Waited(_)) | Happening::BarrierGivenUp(_))
    };
    if played.events.iter().any(impatient) {
        let patient = Scenario { patient: true, ..everything };
        longest = longest.max(lasts(&simulate(plan, &patient)));
    }
    if failing.is_some() {
        let which = |_, step: &Step| Some(step.stage) == failing || step.role != Role::Forward;
        let slow = Scenario { patient: true, ..slow(plan, scenario, &which) };
        longest = longest.max(lasts(&simulate(plan, &slow)));
    }
    longest
}

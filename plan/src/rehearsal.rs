//! Every failure of a plan, one after another: what each stage ends as, which barriers break, who is asked, how long it
//! can take.

use crate::chosen::{Chosen, Fallible, ToldApart, questions};
use crate::effect::unfailed;
use crate::late::{Which, late, slow};
use crate::longest::at_most;
use crate::machine::{BarrierState, StepStatus};
use crate::simulate::{Scenario, Simulation, simulate};
use crate::twins::Twins;
use crate::worlds::{Given, Readable, Worlds};
use crate::{
    Answer, Approval, ApprovalId, ConditionId, Happening, ItemId, Kind, PlaceId, Plan, Question, Reaction,
    Role, Rule, RunOutcome, StageId, StageOutcome, Step, StepId, Undo, Value, Work,
};
use std::collections::{BTreeMap, BTreeSet};

/// A row of the matrix: one thing that is chosen to fail, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What fails besides what the scenario says; nothing in the first row.
    pub fail: Option<Chosen>,
    /// What conditions read is here, where that makes a difference.
    pub given: Vec<(Readable, Value)>,
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
    /// How long the run takes at most when that fails and no other wait at a barrier runs out, in milliseconds: every attempt
    /// takes as long as its timeout allows, and every question is open for as long as it may be where the scenario does not
    /// answer it, and other stages of the run hold what they can hold. Time for which other runs hold it, or nobody carries the
    /// run out, is not in it.
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
/// A failure that others stand in the way of is played with them being slow; and where a promise can be broken, each one with
/// the others far ahead, or far behind.
///
/// Of stages that are alike but for their names (see [`Twins`]) one is played.
pub fn every_failure(plan: &Plan, scenario: &Scenario) -> Vec<Rehearsal> {
    let mut scenario = scenario.clone();
    for (question, answers) in questions(plan) {
        if answers.contains(&Answer::Approve) {
            scenario.answers.entry(question).or_insert(Answer::Approve);
        }
    }
    let worlds = Tried { worlds: Worlds::new(plan, &given(&scenario)), breakable: may_break(plan) };
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

/// What every failure is tried with.
struct Tried {
    worlds: Worlds,
    /// Whether a promise may be broken at all.
    breakable: bool,
}

/// Steps of which no values were found with which they run, of what their conditions read: nothing is said of these.
pub fn untried(plan: &Plan, scenario: &Scenario) -> Vec<StepId> {
    Worlds::new(plan, &given(scenario)).untried
}

/// What the scenario says of what conditions read.
fn given(scenario: &Scenario) -> Given {
    let outputs = scenario.outputs.iter();
    let outputs = outputs.map(|((step, name), value)| (Readable::Output(*step, name.clone()), value.clone()));
    let facts = scenario.facts.iter().map(|(fact, text)| (Readable::Run(*fact), Value::Text(text.clone())));
    outputs.chain(facts).collect()
}

fn step_of(fail: Chosen) -> Option<StepId> {
    match fail.what {
        Fallible::Step(step) => Some(step),
        Fallible::Approval(_) | Fallible::Wait(_) => None,
    }
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
fn rows_of(plan: &Plan, scenario: &Scenario, tried: &Tried, fail: Option<Chosen>) -> Vec<Rehearsal> {
    let mut found: Vec<(Given, Rehearsal)> = Vec::new();
    // With these values slow steps do not lead there.
    let mut none: Option<Given> = None;
    for world in tried.worlds.of(fail.and_then(|fail| stage_of(plan, fail)), fail.and_then(step_of)) {
        let mut scenario = scenario.clone();
        for (source, value) in world.clone() {
            scenario.give(source, value);
        }
        let Some(row) = rehearse(plan, scenario, fail, tried.breakable) else {
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
        let telling = |(output, value): &(&Readable, &Value)| {
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

/// What breaks a promise although it does not where everything is as fast as it can be: when the others have come far by
/// then, or are far behind.
fn worst(plan: &Plan, scenario: &Scenario, fail: Chosen) -> Option<Simulation> {
    let own = own_branch(plan, fail);
    let forward = |step: &Step| step.role == Role::Forward;
    let here = |step: &Step| Some(branch_of(plan, step.stage)) == own;
    let tries: [(&Which<'_>, bool); 2] =
        [(&|_, step| forward(step) && here(step), true), (&|_, step| forward(step) && !here(step), false)];
    let scenarios = [false, true].into_iter().flat_map(|patient| {
        tries.iter().map(move |(which, mine)| {
            let approvals = |it: &Approval| *mine == (Some((it.item, it.branch)) == own);
            Scenario { patient, ..slow(plan, scenario, which, &approvals) }
        })
    });
    let mut played = scenarios.map(|it| simulate(plan, &it));
    played.find(|it| !it.broken.is_empty() && unfailed(plan, it, fail).is_none())
}

/// Whether a promise may be broken at all: where each change is taken back by a step of its own, and every rule rolls back or
/// counts a step as done, it is not.
fn may_break(plan: &Plan) -> bool {
    let promised = |stage: StageId| {
        let item = plan.stages[stage.index()].item;
        plan.items[item.index()].group.is_some_and(|group| group.all_or_nothing)
    };
    let plain = |step: &Step| match step.undo {
        Undo::Derived(undo) => plan.steps[undo.index()].when.is_empty(),
        Undo::None | Undo::Irreversible | Undo::Block(_) => false,
    };
    let safe = |rule: &Rule| {
        let mut reaction = &rule.reaction;
        while let Reaction::Retry { then, .. } | Reaction::Ask { then, .. } = reaction {
            reaction = then;
        }
        matches!(reaction, Reaction::Rollback | Reaction::RollbackPipeline | Reaction::Succeed)
    };
    let mut changes = plan.steps.iter().filter(|step| step.role == Role::Forward && step.changes);
    plan.items.iter().any(|item| item.group.is_some_and(|group| group.all_or_nothing))
        && (changes.any(|step| promised(step.stage) && !plain(step))
            || plan.scopes.iter().flat_map(|scope| &scope.rules).any(|rule| !safe(rule)))
}

/// The branch that a failure is of, and its item.
fn own_branch(plan: &Plan, fail: Chosen) -> Option<(ItemId, u32)> {
    if let Fallible::Approval(approval) = fail.what {
        let approval = &plan.approvals[approval.index()];
        return Some((approval.item, approval.branch));
    }
    stage_of(plan, fail).map(|stage| branch_of(plan, stage))
}

fn branch_of(plan: &Plan, stage: StageId) -> (ItemId, u32) {
    let stage = &plan.stages[stage.index()];
    (stage.item, stage.branch)
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
fn rehearse(plan: &Plan, mut scenario: Scenario, fail: Option<Chosen>, breakable: bool) -> Option<Rehearsal> {
    match fail {
        Some(Chosen { what: Fallible::Wait(place), .. }) => scenario = late(plan, &scenario, place)?,
        Some(chosen) => scenario.fail(chosen),
        None => {}
    }
    let (mut simulation, happens) = lead_there(plan, &scenario, fail);
    if let Some(fail) = fail.filter(|_| happens && breakable && simulation.broken.is_empty()) {
        simulation = worst(plan, &scenario, fail).unwrap_or(simulation);
    }
    Some(Rehearsal {
        fail,
        given: Vec::new(),
        happens,
        at_most: at_most(plan, &scenario, fail, &simulation),
        asked: asked(&simulation),
        outcome: simulation.outcome,
        stages: (0..plan.stages.len()).map(|it| simulation.state.stage_outcome(StageId(it as u32))).collect(),
        barriers: simulation.state.barriers,
        broken: simulation.broken,
        outside: simulation.outside,
    })
}

/// Plays a failure, and says whether it happens. Where others come in its way, for they fail themselves or wait for less long
/// than it takes, they come later: everything that anybody does may be fast or slow. In the end nobody's patience runs out: the
/// clocks of barriers stand still while nobody carries the run out, those of steps do not. Then only what is never begun
/// does not fail.
fn lead_there(plan: &Plan, scenario: &Scenario, fail: Option<Chosen>) -> (Simulation, bool) {
    let plain = simulate(plan, scenario);
    let Some(fail) = fail else { return (plain, true) };
    let happens = |it: &Simulation| unfailed(plan, it, fail).is_none();
    let hopeless = match fail.what {
        Fallible::Step(step) => plain.state.steps[step.index()].status == StepStatus::Skipped,
        Fallible::Wait(_) => true,
        Fallible::Approval(_) => false,
    };
    if hopeless || happens(&plain) {
        let happens = happens(&plain);
        return (plain, happens);
    }
    let own = own_branch(plan, fail);
    let forward = |step: &Step| step.role == Role::Forward;
    let others = |step: &Step| forward(step) && Some(branch_of(plan, step.stage)) != own;
    let failing = |step: &StepId| branch_of(plan, plan.steps[step.index()].stage);
    let failing: BTreeSet<_> = scenario.fail.keys().map(failing).collect();
    let tries: [(&Which<'_>, bool); 5] = [
        (&|_, step| others(step), false),
        (&|_, step| forward(step), true),
        (&|_, step| others(step) && failing.contains(&branch_of(plan, step.stage)), false),
        (&|id, step| forward(step) && Fallible::Step(id) != fail.what, false),
        (&|_, _| false, false),
    ];
    let scenarios = [false, true].into_iter().flat_map(|patient| {
        tries.iter().map(move |(which, all)| {
            let approvals = |it: &Approval| *all || Some((it.item, it.branch)) != own;
            Scenario { patient, ..slow(plan, scenario, which, &approvals) }
        })
    });
    let found = scenarios.map(|it| simulate(plan, &it)).find(&happens);
    let leads = found.is_some();
    (found.unwrap_or(plain), leads)
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

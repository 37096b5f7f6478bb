//! Every failure of a plan, one after another: what each stage ends as, which barriers break, who is asked, how long it
//! can take.

use crate::chosen::{Chosen, Fallible, ToldApart, questions};
use crate::effect::unfailed;
use crate::late::{Which, each_late, late, slow};
use crate::longest::at_most;
use crate::machine::{BarrierState, StepStatus, is_promised};
use crate::simulate::{Patience, Scenario, Simulation, simulate};
use crate::twins::Twins;
use crate::worlds::{Given, Readable, Worlds};
use crate::{
    Answer, Approval, ApprovalId, Cause, ConditionId, Happening, ItemId, Kind, Part, PlaceId, Plan, Question,
    Reaction, Role, Rule, RunOutcome, StageId, StageOutcome, Step, StepId, Undo, Value, Work,
};
use std::collections::{BTreeMap, BTreeSet};

/// A row of the matrix: one thing that is chosen to fail, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What fails besides what the scenario says; nothing in the first row.
    pub fail: Option<Chosen>,
    /// What conditions read is here, where that makes a difference.
    pub given: Vec<(Readable, Value)>,
    /// Whether the failure happens. It does not where its step never runs, or not any more. In the first row: whether all that
    /// the scenario says fails does.
    pub happens: bool,
    /// How the run ends; nothing when it never would.
    pub outcome: Option<RunOutcome>,
    /// How each stage ends, in the plan's order.
    pub stages: Vec<Option<StageOutcome>>,
    /// What each barrier comes to, in the plan's order.
    pub barriers: Vec<BarrierState>,
    /// What is asked, each once, in the order in which it is, and who.
    pub asked: Vec<(Question, String)>,
    /// Whether it takes a process that is away for a while: nobody carries the run out then, so that no wait at a barrier runs
    /// out, while steps and questions go on.
    pub away: bool,
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
/// A failure that others stand in the way of is played with them being slow, and with what else fails coming last; and where a
/// promise can be broken, each one with the others far ahead, far behind, or in the middle of a change.
///
/// Of stages that are alike but for their names (see [`Twins`]) one is played.
pub fn every_failure(plan: &Plan, scenario: &Scenario) -> Vec<Rehearsal> {
    let mut scenario = scenario.clone();
    approve(plan, &mut scenario);
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
            Some((given, known)) => {
                if known.away && !row.away {
                    (*given, known.away) = (world, false);
                }
                known.at_most = known.at_most.max(row.at_most);
            }
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
        let ends = |it: &Rehearsal| Rehearsal { at_most: 0, away: false, given: Vec::new(), ..it.clone() };
        ends(self) == ends(other)
    }
}

/// What breaks a promise although it does not where everything is as fast as it can be: when the others have come far by
/// then, are far behind, or are in the middle of a change.
///
/// What breaks it as well when the failure does not come, which is what `without` says, is another matter, and has rows of its own.
fn worst(plan: &Plan, scenario: &Scenario, fail: Chosen, without: &Scenario) -> Option<Played> {
    let own = own_branch(plan, fail);
    let forward = |step: &Step| step.role == Role::Forward;
    let here = |step: &Step| Some(branch_of(plan, step.stage)) == own;
    let tries: [(&Which<'_>, bool); 2] =
        [(&|_, step| forward(step) && here(step), true), (&|_, step| forward(step) && !here(step), false)];
    let scenarios = [Patience::Usual, Patience::Away].into_iter().flat_map(|patience| {
        tries.iter().map(move |(which, mine)| {
            let approvals = |it: &Approval| *mine == (Some((it.item, it.branch)) == own);
            Scenario { patience, ..slow(plan, scenario, which, &approvals) }
        })
    });
    let midway = midway(plan, scenario, fail);
    let late = match fail.what {
        Fallible::Wait(place) => Some(each_late(plan, without, place)),
        Fallible::Step(_) | Fallible::Approval(_) => None,
    };
    let mut played =
        scenarios.chain(midway).chain(late.into_iter().flatten()).map(|it| (Played::of(plan, &it), it));
    let breaks = |it: &Simulation| !it.broken.is_empty() && unfailed(plan, it, fail).is_none();
    let else_broken = |slow: &Scenario| {
        let (fail, shares, refuse) = (without.fail.clone(), without.shares.clone(), without.refuse.clone());
        let unfailing = Scenario { fail, shares, refuse, ..slow.clone() };
        !simulate(plan, &unfailing).broken.is_empty()
    };
    let waits = matches!(fail.what, Fallible::Wait(_));
    let found = played.find(|(it, slow)| breaks(&it.simulation) && (waits || !else_broken(slow)));
    found.map(|(played, _)| played)
}

/// Scenarios in which the failure comes while others are in the middle of a change: of the first of every lane, of the second,
/// and so on. Only changes count that stay when they are cut short.
fn midway<'a>(plan: &'a Plan, scenario: &'a Scenario, fail: Chosen) -> impl Iterator<Item = Scenario> + 'a {
    let aborts = plan.scopes.iter().flat_map(|scope| &scope.rules).any(|rule| last(rule) == &Reaction::Abort);
    let stays = move |step: &Step| aborts || !is_plain(plan, step);
    let mut lanes: BTreeMap<(ItemId, u32), Vec<StepId>> = BTreeMap::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        let id = StageId(index as u32);
        let own =
            own_branch(plan, fail).is_some_and(|(item, branch)| item != stage.item || branch == stage.branch);
        if !own && is_promised(plan, id) {
            let changes = plan.changing_steps(id).filter(|step| stays(&plan.steps[step.index()]));
            lanes.entry((stage.item, stage.branch)).or_default().extend(changes);
        }
    }
    let most = lanes.values().map(Vec::len).max().unwrap_or(0);
    (0..most).map(move |nth| {
        let slowed: BTreeSet<StepId> = lanes.values().filter_map(|lane| lane.get(nth).copied()).collect();
        let mut scenario = slow(plan, scenario, &|id, _| slowed.contains(&id), &|_| false);
        // It fails before any of them can have ended.
        let soonest = slowed.iter().filter_map(|step| scenario.takes.get(step)).min().copied().unwrap_or(0);
        if let Fallible::Step(step) = fail.what
            && fail.kind != Kind::Timeout
        {
            let takes = (soonest / 2).min(plan.steps[step.index()].timeout);
            scenario.takes.entry(step).or_insert(takes);
        }
        scenario
    })
}

/// Whether a promise may be broken at all: where each change is taken back by a step of its own, and every rule rolls back or
/// counts a step as done, it is not.
fn may_break(plan: &Plan) -> bool {
    let safe = |rule: &Rule| {
        matches!(last(rule), Reaction::Rollback | Reaction::RollbackPipeline | Reaction::Succeed)
    };
    let mut changes = plan.steps.iter().filter(|step| step.role == Role::Forward && step.changes);
    plan.items.iter().any(|item| item.promises())
        && (changes.any(|step| is_promised(plan, step.stage) && !is_plain(plan, step))
            || plan.scopes.iter().flat_map(|scope| &scope.rules).any(|rule| !safe(rule)))
}

/// Whether a step is taken back by one of its own, whatever happens.
fn is_plain(plan: &Plan, step: &Step) -> bool {
    match step.undo {
        Undo::Derived(undo) => plan.steps[undo.index()].when.is_empty(),
        Undo::None | Undo::Irreversible | Undo::Block(_) => false,
    }
}

/// What a rule comes to when trying again and asking do not help.
pub(crate) fn last(rule: &Rule) -> &Reaction {
    let mut reaction = &rule.reaction;
    while let Reaction::Retry { then, .. } | Reaction::Ask { then, .. } = reaction {
        reaction = then;
    }
    reaction
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

/// A scenario that was played, and whether nobody lost patience in it.
struct Played {
    simulation: Simulation,
    away: bool,
}

impl Played {
    fn of(plan: &Plan, scenario: &Scenario) -> Self {
        Played { simulation: simulate(plan, scenario), away: scenario.patience == Patience::Away }
    }
}

/// How an execution that the proof found can be shown, the plainest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// With steps that are fast or slow, and people who are.
    Plainly,
    /// A wait runs out when that step fails so before: its rules try it again, or ask, for longer.
    After(StepId, Kind),
    /// Only where the process is away for a while.
    Away,
    /// Only where something takes longer than its steps may, such as finding out what a target runs.
    Slower,
    /// By nothing that a rehearsal can choose.
    Not,
}

/// Whether a rehearsal of a failure, about which people answer like that, breaks the promise of a group of that number.
pub(crate) fn shown(plan: &Plan, group: u32, fail: Chosen, answer: Option<Answer>) -> Shown {
    // A skeleton does not say which targets are one, so nobody takes turns.
    let mut scenario = Scenario { alone: true, ..Scenario::default() };
    approve(plan, &mut scenario);
    if let (Fallible::Step(step), Some(answer)) = (fail.what, answer) {
        scenario.answers.insert(Question::Step(step), answer);
    }
    match (rehearse(plan, scenario.clone(), Some(fail), true), fail.what) {
        (Some(row), _) if row.happens && row.broken.contains(&group) => match row.away {
            true => Shown::Away,
            false => Shown::Plainly,
        },
        (_, Fallible::Wait(place)) => after(plan, group, &scenario, place).unwrap_or(Shown::Slower),
        _ if has_time(plan, group, &scenario, fail) => Shown::Slower,
        _ => Shown::Not,
    }
}

/// A failure elsewhere whose rules take longer than a wait lasts.
fn after(plan: &Plan, group: u32, scenario: &Scenario, place: PlaceId) -> Option<Shown> {
    const MOST: usize = 32;
    let own = plan.places[place.index()].branch;
    let item = plan.barriers[plan.places[place.index()].barrier.index()].item;
    let elsewhere = plan.steps.iter().zip(0..).filter(|(step, _)| {
        let (of, branch) = branch_of(plan, step.stage);
        step.role == Role::Forward && of == item && branch != own
    });
    let failures = elsewhere.flat_map(|(step, at)| {
        let rules = step.scopes.iter().flat_map(|scope| &plan.scopes[scope.index()].rules);
        let slow =
            rules.filter(|rule| matches!(rule.reaction, Reaction::Retry { .. } | Reaction::Ask { .. }));
        slow.map(move |rule| (StepId(at), rule.kinds.first().copied().unwrap_or(Kind::Application)))
    });
    failures.take(MOST).find_map(|(step, kind)| {
        let mut scenario = scenario.clone();
        scenario.fail(Chosen { what: Fallible::Step(step), kind, share: None });
        let simulation = simulate(plan, &scenario);
        let shows = simulation.broken.contains(&group) && simulation.ran_out(place).is_some();
        shows.then_some(Shown::After(step, kind))
    })
}

/// Whether a failure breaks a promise once no wait at a barrier ever runs out.
fn has_time(plan: &Plan, group: u32, scenario: &Scenario, fail: Chosen) -> bool {
    let mut scenario = Scenario { patience: Patience::Endless, ..scenario.clone() };
    scenario.fail(fail);
    let own = own_branch(plan, fail);
    let here = |step: &Step| Some(branch_of(plan, step.stage)) == own;
    let tries: [&Which<'_>; 3] =
        [&|_, _| false, &|_, step| step.role == Role::Forward && !here(step), &|_, step| {
            step.role == Role::Forward && here(step)
        }];
    tries.into_iter().any(|which| {
        let simulation = simulate(plan, &slow(plan, &scenario, which, &|_| false));
        simulation.broken.contains(&group) && unfailed(plan, &simulation, fail).is_none()
    })
}

/// Approvals that the scenario says nothing about are given.
fn approve(plan: &Plan, scenario: &mut Scenario) {
    for (question, answers) in questions(plan) {
        if answers.contains(&Answer::Approve) {
            scenario.answers.entry(question).or_insert(Answer::Approve);
        }
    }
}

/// Plays one scenario with a failure; nothing where it is a wait that slow steps do not make run out.
fn rehearse(plan: &Plan, mut scenario: Scenario, fail: Option<Chosen>, breakable: bool) -> Option<Rehearsal> {
    let without = scenario.clone();
    match fail {
        Some(Chosen { what: Fallible::Wait(place), .. }) => scenario = late(plan, &scenario, place)?,
        Some(chosen) => scenario.fail(chosen),
        None => {}
    }
    let (mut played, happens) = lead_there(plan, &scenario, fail);
    if let Some(fail) = fail.filter(|_| happens && breakable && played.simulation.broken.is_empty()) {
        played = worst(plan, &scenario, fail, &without).unwrap_or(played);
    }
    let Played { simulation, away } = played;
    Some(Rehearsal {
        fail,
        given: Vec::new(),
        happens,
        away,
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
/// clocks of barriers stand still while nobody carries the run out, those of steps do not ([`Patience::Away`]). Then only what
/// is never begun does not fail.
fn lead_there(plan: &Plan, scenario: &Scenario, fail: Option<Chosen>) -> (Played, bool) {
    let plain = Played::of(plan, scenario);
    let Some(fail) = fail else {
        let happens = scenario.failing().all(|it| unfailed(plan, &plain.simulation, it).is_none());
        return (plain, happens);
    };
    let happens = |it: &Simulation| unfailed(plan, it, fail).is_none();
    let hopeless = match fail.what {
        Fallible::Step(step) => plain.simulation.state.steps[step.index()].status == StepStatus::Skipped,
        Fallible::Wait(_) => true,
        Fallible::Approval(_) => false,
    };
    let happens_so = happens(&plain.simulation);
    if hopeless || happens_so {
        return (plain, happens_so);
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
    let scenarios = [Patience::Usual, Patience::Away].into_iter().flat_map(|patience| {
        tries.iter().map(move |(which, all)| {
            let approvals = |it: &Approval| *all || Some((it.item, it.branch)) != own;
            Scenario { patience, ..slow(plan, scenario, which, &approvals) }
        })
    });
    let found = scenarios.map(|it| Played::of(plan, &it)).find(|it| happens(&it.simulation));
    let found = found.or_else(|| held_up(plan, scenario, fail.what, &happens));
    let leads = found.is_some();
    (found.unwrap_or(plain), leads)
}

/// Plays what else fails as late as it can come, and everything else at once, with all of these failures held up or only some
/// of them: one may have to come for others to go on. What fails by itself, for a condition cannot be decided, is held up by
/// what its lane does before.
fn held_up(
    plan: &Plan,
    scenario: &Scenario,
    what: Fallible,
    happens: &dyn Fn(&Simulation) -> bool,
) -> Option<Played> {
    let forward = |step: &StepId| plan.steps[step.index()].role == Role::Forward;
    let steps = scenario.fail.keys().copied().filter(forward).map(Fallible::Step);
    let refused = scenario.refuse.keys().copied().map(Fallible::Approval);
    let mut failing: BTreeSet<Fallible> = steps.chain(refused).filter(|it| *it != what).collect();
    let play = |held: &BTreeSet<Fallible>, patience: Patience| {
        let which = |id: StepId, _: &Step| held.contains(&Fallible::Step(id));
        let held_approval = |it: &Approval| {
            held.iter().any(|held| match held {
                Fallible::Approval(held) => plan.approvals[held.index()].name == it.name,
                _ => false,
            })
        };
        Played::of(plan, &Scenario { patience, ..slow(plan, scenario, &which, &held_approval) })
    };
    // Each time another one may be the first to fail by itself.
    for _ in 0..=plan.stages.len().min(MOST_HELD) {
        let mut before = BTreeSet::new();
        for patience in [Patience::Usual, Patience::Away] {
            let played = play(&failing, patience);
            if happens(&played.simulation) {
                return Some(played);
            }
            before.extend(before_failures(plan, scenario, &played.simulation).filter(|it| *it != what));
        }
        let known = failing.len();
        failing.extend(before);
        if failing.len() == known {
            break;
        }
    }
    if failing.len() < 2 || failing.len() > MOST_HELD {
        return None;
    }
    let failing: Vec<Fallible> = failing.into_iter().collect();
    let some = (0..1u32 << failing.len()).rev().skip(1).map(|picked| {
        let held = failing.iter().enumerate().filter(|(at, _)| picked & (1 << at) != 0);
        held.map(|(_, held)| *held).collect::<BTreeSet<_>>()
    });
    some.flat_map(|held| [(held.clone(), Patience::Usual), (held, Patience::Away)])
        .map(|(held, patience)| play(&held, patience))
        .find(|it| happens(&it.simulation))
}

/// Of how many failures every choice is held up.
const MOST_HELD: usize = 4;

/// What comes last in its lane before something there that was not chosen fails.
fn before_failures<'a>(
    plan: &'a Plan,
    scenario: &'a Scenario,
    played: &'a Simulation,
) -> impl Iterator<Item = Fallible> + 'a {
    let stages = played.events.iter().filter_map(|(_, happening)| match happening {
        Happening::StageFailing(_, Cause::Step(step, _), _) if scenario.fail.contains_key(step) => None,
        Happening::StageFailing(stage, Cause::Step(..) | Cause::Stage(..), _) => Some(*stage),
        _ => None,
    });
    stages.flat_map(|stage| {
        let (item, branch) = branch_of(plan, stage);
        let parts = &plan.items[item.index()].branches[branch as usize].parts;
        let upto = parts.iter().position(|part| *part == Part::Stage(stage)).map_or(0, |at| at + 1);
        let mut last = Vec::new();
        for part in &parts[..upto] {
            match part {
                Part::Approval(approval) => last = vec![Fallible::Approval(*approval)],
                Part::Stage(stage) => {
                    for position in &plan.stages[stage.index()].positions {
                        if let Work::Steps(steps) = &position.work {
                            let began = |step: &&StepId| played.state.steps[step.index()].attempts > 0;
                            let began: Vec<Fallible> =
                                steps.iter().filter(began).map(|step| Fallible::Step(*step)).collect();
                            if !began.is_empty() {
                                last = began;
                            }
                        }
                    }
                }
            }
        }
        last
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

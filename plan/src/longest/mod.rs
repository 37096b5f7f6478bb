//! How long a run with one failure takes at most.
//!
//! Until something fails, whatever takes longer makes nothing earlier: waits, lanes and `max` (whose branches start in the
//! order of the source) only ever take the latest of some times. So the slowest run is the one in which everything is slow,
//! and it is played ([`latest`]). A failure is different: it comes latest where everything is slow, but the others have most
//! to take back where they were fast. Nobody can say how far they are in a clumsy world in between, so that the worst of both
//! is added up: the failure as late as it can be; what another one has just begun then; the longest question that a broken
//! barrier asks; and taking back all that the others can have done by then, which is what stands before the barriers that
//! they have yet to cross together with the one that fails.
//!
//! What stages of the run hold against each other is left out of all that, and added in the end ([`waiting`]): making a step
//! slow can change who comes first, and a run that waits less shorter by more.
//!
//! Rolling back goes from one barrier of rollback blocks to the next, and nobody meets one twice: what is between two of them
//! takes as long as the slowest stage needs for it.

mod along;
mod takes;

use crate::chosen::{Chosen, Fallible};
use crate::late::slow;
use crate::machine::{Settled, final_verdict, judge_barrier, passes, rollback_queue, rule_for};
use crate::rehearsal::last;
use crate::simulate::{Patience, Scenario, Simulation, simulate};
use crate::{
    Answer, BarrierId, BlockItem, Cause, Failure, Happening, ItemId, Part, PlaceId, Plan, Question, Reaction,
    Role, StageId, StepId, Verdict, Work,
};
use along::{Place, SOMEWHERE, at_once, holds, joined, works};
use std::collections::{BTreeMap, BTreeSet};
use takes::{forward_takes, question, undoing_takes, waiting};
/// How long a run takes at most, in milliseconds, when that fails and whatever else the scenario says, every attempt and every answer
/// takes as long as it may, and no other wait at a barrier runs out; `played` is the run as the row shows it.
pub(crate) fn at_most(plan: &Plan, scenario: &Scenario, fail: Option<Chosen>, played: &Simulation) -> u64 {
    let scenario = &Scenario { alone: true, ..scenario.clone() };
    // What cannot have come by itself is left out of what others do alone.
    let besides = chosen_in(plan, scenario).filter(|it| fail.is_none_or(|fail| fail.what != it.what));
    let failing: Vec<Chosen> = besides.chain(fail).collect();
    let everything = slow(plan, scenario, &|_, _| true, &|_| true);
    let all = simulate(plan, &everything);
    let mut longest = lasts(played).max(lasts(&all));
    // Patience makes a difference where it ran out.
    let impatient = |(_, happening): &(u64, Happening)| {
        matches!(happening, Happening::BarrierBroken(_, _, Cause::Waited(_)) | Happening::BarrierGivenUp(_))
    };
    let patient = match all.events.iter().any(impatient) {
        true => simulate(plan, &Scenario { patience: Patience::Endless, ..everything.clone() }),
        false => all,
    };
    longest = longest.max(lasts(&patient));
    // With several failures each one may come first, or hold up another.
    let sum = failing.iter().map(|chosen| {
        let alone = match failing.len() {
            1 => None,
            _ => Some(latest(plan, &only(plan, scenario, *chosen))),
        };
        with_others(plan, scenario, *chosen, alone.as_ref().unwrap_or(&patient))
    });
    let others = by_itself(plan, &patient, &failing);
    let others = others.map(|(place, at)| from_place(plan, scenario, &place, at, &patient, false));
    let goes_back = |(_, happening): &(u64, Happening)| matches!(happening, Happening::RollbackStarted(_));
    let back = !failing.is_empty() || patient.events.iter().any(goes_back);
    let waiting = waiting(plan, &everything, back);
    longest.max(sum.chain(others).fold(0, u64::saturating_add)).saturating_add(waiting).max(lasts(played))
}

/// Stages that fail because a condition or an argument of theirs cannot be decided, and when.
fn by_itself<'a>(
    plan: &'a Plan,
    simulation: &'a Simulation,
    chosen: &'a [Chosen],
) -> impl Iterator<Item = (Place, u64)> + 'a {
    let known = |step: &StepId| chosen.iter().any(|it| it.what == Fallible::Step(*step));
    simulation.events.iter().filter_map(move |(at, happening)| {
        let stage = match happening {
            Happening::StageFailing(stage, Cause::Step(step, _), _) if !known(step) => *stage,
            Happening::StageFailing(stage, Cause::Stage(..), _) => *stage,
            _ => return None,
        };
        Some((Place::of_stage(plan, stage, Some(SOMEWHERE), None)?, *at))
    })
}

/// Everything as slow as it may be, and nobody loses patience.
fn latest(plan: &Plan, scenario: &Scenario) -> Simulation {
    simulate(plan, &Scenario { patience: Patience::Endless, ..slow(plan, scenario, &|_, _| true, &|_| true) })
}

/// What a scenario lets fail on the way forward.
fn chosen_in(plan: &Plan, scenario: &Scenario) -> impl Iterator<Item = Chosen> {
    scenario.failing().filter(|it| match it.what {
        Fallible::Step(step) => plan.steps[step.index()].role == Role::Forward,
        Fallible::Approval(_) | Fallible::Wait(_) => true,
    })
}

/// The scenario in which nothing else fails on the way forward.
fn only(plan: &Plan, scenario: &Scenario, chosen: Chosen) -> Scenario {
    let mut only = scenario.clone();
    only.fail.retain(|step, _| {
        plan.steps[step.index()].role != Role::Forward || Fallible::Step(*step) == chosen.what
    });
    only.refuse.retain(|approval, _| Fallible::Approval(*approval) == chosen.what);
    only.fail(chosen);
    only
}

pub(crate) fn lasts(simulation: &Simulation) -> u64 {
    simulation.events.last().map_or(0, |(at, _)| *at)
}

/// How long it takes with all that the others may have begun and done when the failure comes; `patient` is the run in which
/// everything is slow.
fn with_others(plan: &Plan, scenario: &Scenario, chosen: Chosen, patient: &Simulation) -> u64 {
    let Some(from) = Place::of(plan, chosen.what) else { return lasts(patient) };
    let Some(at) = fails_at(plan, patient, chosen) else { return lasts(patient) };
    from_place(plan, scenario, &from, at, patient, rolls_back(plan, chosen))
}

/// With all that the others may have begun and done when a failure comes there; `rolls_back` says that its own stage surely
/// goes back then.
fn from_place(
    plan: &Plan,
    scenario: &Scenario,
    from: &Place,
    at: u64,
    patient: &Simulation,
    rolls_back: bool,
) -> u64 {
    let joined = joined(plan, from);
    let taken_back = plan.rules.iter().any(|rule| rule.reaction == Reaction::RollbackPipeline);
    if joined.len() < 2 && !taken_back {
        return lasts(patient);
    }
    let ahead = from.ahead(plan);
    let mut begun = 0;
    let mut asks = 0;
    let mut executed: BTreeSet<StepId> = BTreeSet::new();
    for &branch in &joined {
        let own = branch == from.branch;
        let before = |stage: StageId, at: usize| own && from.is_behind(plan, stage, at);
        for (stage, at, work) in works(plan, from.item, branch) {
            if before(stage, at) {
                break;
            }
            match work {
                Work::Steps(steps) => {
                    executed.extend(steps);
                    let data = steps.iter().map(|step| &plan.steps[step.index()]);
                    let runs_on = data.filter(|step| !own && !step.interruptible).map(|step| step.timeout);
                    begun = begun.max(runs_on.max().unwrap_or(0));
                }
                Work::Barrier(place)
                    if !own
                        && ahead.contains(&plan.places[place.index()].barrier)
                        && holds(plan, stage, at, *place) =>
                {
                    break;
                }
                Work::Barrier(_) => {}
            }
        }
        let places = works(plan, from.item, branch).filter_map(|(_, _, work)| match work {
            Work::Barrier(place) => Some(question(plan, *place)),
            Work::Steps(_) => None,
        });
        asks = asks.max(places.max().unwrap_or(0));
    }
    let cost = |step: StepId| undoing_takes(plan, scenario, step);
    let failed =
        at.saturating_add(begun).saturating_add(asks).saturating_add(onward(plan, scenario, from, &joined));
    let elsewhere = elsewhere(plan, scenario, from, at, patient);
    let executed = |step: StepId| executed.contains(&step);
    let back = |branches: &BTreeSet<u32>, executed: &dyn Fn(StepId) -> bool| {
        rollback(plan, from.item, branches, executed, &cost)
    };
    if !taken_back {
        return failed.saturating_add(back(&joined, &executed)).saturating_add(elsewhere);
    }
    // When the item has ended the others go back, too. A stage goes back once (but for one that took a phase back before): who
    // surely did at once has nothing left, and what one lane takes back first it does not take back again.
    let at_once = at_once(plan, from, rolls_back);
    let all = 0..plan.items[from.item.index()].branches.len() as u32;
    let later: BTreeSet<u32> = all.filter(|branch| !at_once.contains(branch)).collect();
    // Where it stopped for good it does nothing more.
    let stopped = later.iter().eq([&from.branch]) && from.barrier.is_none();
    let once = later.len() == 1 && !takes_back_phases(plan);
    let first = back(if once { &at_once } else { &joined }, &executed);
    let second = if once && stopped { back(&later, &executed) } else { back(&later, &|_| true) };
    let ended = failed.saturating_add(first).max(goes_on(plan, from.item, &joined, patient));
    ended.saturating_add(second).saturating_add(elsewhere)
}

/// Until when the stages of an item work that a failure does not take along.
fn goes_on(plan: &Plan, item: ItemId, joined: &BTreeSet<u32>, patient: &Simulation) -> u64 {
    let mut ended: BTreeMap<StageId, u64> = BTreeMap::new();
    for (at, happening) in &patient.events {
        if let Happening::StageEnded(stage, _) = happening {
            let data = &plan.stages[stage.index()];
            if data.item == item && !joined.contains(&data.branch) {
                // Later it may end again: taken back.
                ended.entry(*stage).or_insert(*at);
            }
        }
    }
    ended.into_values().max().unwrap_or(0)
}

/// Whether a stage can go back twice: a phase of it first, and all of it with the pipeline.
fn takes_back_phases(plan: &Plan) -> bool {
    let mut rules = plan.scopes.iter().flat_map(|scope| &scope.rules);
    rules.any(|rule| last(rule) == &Reaction::RollbackPhase)
}

/// Whether the stage of a step that fails surely goes back.
fn rolls_back(plan: &Plan, chosen: Chosen) -> bool {
    let Fallible::Step(step) = chosen.what else { return true };
    let hosts = chosen.share.map(|share| (share, 100));
    let failure = Failure { hosts, ..Failure::new(chosen.kind, "") };
    match rule_for(plan, &plan.steps[step.index()].scopes, &failure) {
        Some((_, rule)) => {
            let mut reaction = &rule.reaction;
            while let Reaction::Retry { then, .. } = reaction {
                reaction = then;
            }
            // A person may say something else.
            !matches!(reaction, Reaction::Ask { .. }) && final_verdict(reaction) == Verdict::Rollback
        }
        None => true,
    }
}

/// How long others go on at most that pass what broke: they may have been there early, and be slow only then.
fn onward(plan: &Plan, scenario: &Scenario, from: &Place, joined: &BTreeSet<u32>) -> u64 {
    // One may wait for another where they meet again, so that they come one after the other.
    let lanes = joined.iter().filter(|branch| **branch != from.branch);
    lanes.fold(0, |longest, &branch| {
        let mut passed = false;
        let mut takes = 0u64;
        for part in &plan.items[from.item.index()].branches[branch as usize].parts {
            let stage = match part {
                Part::Approval(approval) => {
                    let question = Question::Approval(*approval);
                    let within = plan.approvals[approval.index()].within;
                    let open = scenario.takes_to_answer.get(&question).copied().unwrap_or(within);
                    takes = takes.saturating_add(if passed { open } else { 0 });
                    continue;
                }
                Part::Stage(stage) => *stage,
            };
            for position in &plan.stages[stage.index()].positions {
                let more = match &position.work {
                    Work::Barrier(place) => {
                        passed |= may_pass(plan, scenario, *place);
                        question(plan, *place)
                    }
                    Work::Steps(steps) => {
                        let all = steps.iter().map(|step| forward_takes(plan, scenario, *step));
                        all.max().unwrap_or(0)
                    }
                };
                takes = takes.saturating_add(if passed { more } else { 0 });
            }
        }
        longest.saturating_add(takes)
    })
}

/// Whether a participant may go on where its barrier is broken.
fn may_pass(plan: &Plan, scenario: &Scenario, place: PlaceId) -> bool {
    match judge_barrier(plan, place).0 {
        settled @ Settled::Verdict(_) => passes(&settled),
        Settled::Ask(ask) => {
            let answer = scenario.answers.get(&Question::Place(place));
            passes(&Settled::Verdict(final_verdict(&ask.then)))
                || matches!(answer, Some(Answer::Ignore | Answer::Succeed))
        }
    }
}

/// When the failure is one for good.
fn fails_at(plan: &Plan, simulation: &Simulation, chosen: Chosen) -> Option<u64> {
    let waits = |verdict: Verdict| matches!(verdict, Verdict::Retry(_) | Verdict::Ask);
    let mut told = simulation.events.iter();
    match chosen.what {
        Fallible::Step(step) => told.rev().find_map(|(at, happening)| match happening {
            Happening::StepFailed { step: known, decision, .. } if *known == step => {
                (!waits(decision.verdict)).then_some(*at)
            }
            _ => None,
        }),
        Fallible::Approval(approval) => told.rev().find_map(|(at, happening)| match happening {
            Happening::AnsweredBy(Question::Approval(known), ..)
            | Happening::QuestionTimedOut(Question::Approval(known)) => (*known == approval).then_some(*at),
            _ => None,
        }),
        Fallible::Wait(place) => {
            let arrived = told.find(|(_, it)| *it == Happening::BarrierArrived(place)).map(|(at, _)| *at);
            Some(arrived?.saturating_add(plan.places[place.index()].timeout?))
        }
    }
}

/// How long other items take after one in which something failed.
fn elsewhere(plan: &Plan, scenario: &Scenario, from: &Place, at: u64, patient: &Simulation) -> u64 {
    let names: BTreeSet<&str> =
        plan.stages.iter().filter(|stage| stage.item != from.item).map(|stage| stage.name.as_str()).collect();
    let after = |simulation: &Simulation, at: u64| {
        let others = |happening: &Happening| match happening {
            Happening::Asked(Question::Approval(approval), _) => {
                plan.approvals[approval.index()].item != from.item
            }
            other => other.stage(plan).is_some_and(|stage| names.contains(stage)),
        };
        let starts = |happening: &Happening| {
            matches!(
                happening,
                Happening::StageStarted(_) | Happening::RollbackStarted(_) | Happening::Asked(..)
            )
        };
        let first = simulation.events.iter().find(|(time, it)| *time >= at && starts(it) && others(it));
        first.map_or(0, |(time, _)| lasts(simulation) - time)
    };
    let Some(place) = from.barrier else { return after(patient, at) };
    // What earlier items did lies behind, and being slow there could break a barrier of theirs.
    let which = |_, step: &crate::Step| {
        step.role != Role::Forward || plan.stages[step.stage.index()].item.index() > from.item.index()
    };
    let approvals = |approval: &crate::Approval| approval.item.index() >= from.item.index();
    let simulation = simulate(plan, &slow(plan, scenario, &which, &approvals));
    simulation.ran_out(place).map_or(0, |at| after(&simulation, at))
}

/// How long these branches take to go back, side by side.
fn rollback(
    plan: &Plan,
    item: ItemId,
    branches: &BTreeSet<u32>,
    executed: &dyn Fn(StepId) -> bool,
    cost: &dyn Fn(StepId) -> u64,
) -> u64 {
    let whole = plan.items[item.index()].promises()
        || plan.rules.iter().any(|rule| rule.reaction == Reaction::RollbackPipeline);
    // By the barrier behind which they are: none at the beginning.
    let mut longest: BTreeMap<Option<BarrierId>, u64> = BTreeMap::new();
    for &branch in branches {
        let parts = plan.items[item.index()].branches[branch as usize].parts.iter().rev();
        let mut own: BTreeMap<Option<BarrierId>, u64> = BTreeMap::new();
        let mut behind = None;
        for part in parts {
            let Part::Stage(stage) = part else { continue };
            if !whole {
                // One of them at most.
                merge(&mut longest, std::mem::take(&mut own));
                behind = None;
            }
            for item in rollback_queue(plan, *stage, None, executed) {
                match item {
                    BlockItem::Steps(steps) => {
                        let time = own.entry(behind).or_default();
                        *time = time.saturating_add(steps.into_iter().map(cost).max().unwrap_or(0));
                    }
                    BlockItem::Barrier(place) => behind = Some(plan.places[place.index()].barrier),
                }
            }
        }
        merge(&mut longest, own);
    }
    longest.into_values().fold(0, u64::saturating_add)
}

fn merge(longest: &mut BTreeMap<Option<BarrierId>, u64>, own: BTreeMap<Option<BarrierId>, u64>) {
    for (behind, time) in own {
        let known = longest.entry(behind).or_default();
        *known = (*known).max(time);
    }
}

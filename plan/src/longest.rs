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

use crate::chosen::{Chosen, Fallible};
use crate::late::slow;
use crate::machine::{Settled, final_verdict, is_approval, judge_barrier, passes, rollback_queue, rule_for};
use crate::rehearsal::last;
use crate::roots::Roots;
use crate::simulate::{Scenario, Simulation, simulate};
use crate::tickets;
use crate::{
    Answer, BarrierId, BarrierKind, BlockItem, Cause, Claim, ClaimScope, Failure, Happening, ItemId, Kind,
    Part, PlaceId, Plan, Question, Reaction, Role, StageId, StepId, Value, Verdict, Work,
};
use std::collections::{BTreeMap, BTreeSet};

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
        true => simulate(plan, &Scenario { patient: true, ..everything.clone() }),
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

/// For how long claims, and turns in a directory, are waited for at most, in all, on the way to the end of a run.
///
/// While one is waited for, another one that needs the same is held: so for no longer than all of them are held, and the one
/// that is waited for is not held then.
fn waiting(plan: &Plan, slow: &Scenario, back: bool) -> u64 {
    let contended = plan.claims.iter().zip(tickets::contended(plan)).filter(|(_, contended)| *contended);
    let held: Vec<u64> = contended.map(|(claim, _)| held(plan, slow, claim, back)).collect();
    let shortest = held.iter().min().copied().unwrap_or(0);
    let claims = held.into_iter().fold(0, u64::saturating_add).saturating_sub(shortest);
    // To find out what a target runs has no timeout of its own: it may wait for all that others do in its directory.
    let shared = Roots::shared(plan);
    let in_turn = plan.steps.iter().zip(0..).filter(|(step, _)| {
        shared.contains(&step.stage) && step.action.target.is_some() && (back || step.role == Role::Forward)
    });
    let takes = in_turn.map(|(step, index)| match step.role {
        Role::Forward => forward_takes(plan, slow, StepId(index)),
        _ => undoing_takes(plan, slow, StepId(index)),
    });
    takes.fold(claims, u64::saturating_add)
}

/// How long a claim is held at most: what is done under it, one after the other, and taking it back.
fn held(plan: &Plan, slow: &Scenario, claim: &Claim, back: bool) -> u64 {
    let under = |phase: Option<u32>| match claim.scope {
        ClaimScope::Stages => true,
        ClaimScope::Phase(of) => phase == Some(of),
        ClaimScope::Rollback => phase.is_none(),
    };
    let mut held = 0u64;
    for &stage in &claim.stages {
        let data = &plan.stages[stage.index()];
        for position in data.positions.iter().filter(|position| under(Some(position.phase))) {
            let takes = match &position.work {
                Work::Steps(steps) => {
                    steps.iter().map(|step| forward_takes(plan, slow, *step)).max().unwrap_or(0)
                }
                Work::Barrier(place) => question(plan, *place),
            };
            held = held.saturating_add(takes);
        }
        let undoing = plan.steps.iter().enumerate().filter(|(_, step)| {
            back && step.stage == stage && step.role != Role::Forward && under(step.phase)
        });
        for (index, _) in undoing {
            held = held.saturating_add(undoing_takes(plan, slow, StepId(index as u32)));
        }
    }
    if claim.scope == ClaimScope::Stages {
        let items: BTreeSet<ItemId> = claim.stages.iter().map(|it| plan.stages[it.index()].item).collect();
        let approvals = plan.approvals.iter().filter(|approval| items.contains(&approval.item));
        held = approvals.map(|approval| approval.within).fold(held, u64::saturating_add);
    }
    held
}

/// How long a step that goes forward takes at most, with what its rules have it tried again, and asked.
fn forward_takes(plan: &Plan, slow: &Scenario, step: StepId) -> u64 {
    let data = &plan.steps[step.index()];
    let takes = slow.takes.get(&step).copied().unwrap_or(data.timeout);
    // An approval is open for as long as people take.
    let once = if is_approval(data) { takes } else { takes.min(data.timeout) };
    let Some(kind) = slow.fail.get(&step) else { return once };
    let again = rule_for(plan, &data.scopes, &Failure::new(*kind, "")).map(|(_, rule)| tries(&rule.reaction));
    let (attempts, waits) = again.unwrap_or((0, 0));
    once.saturating_mul(attempts + 1).saturating_add(waits)
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
    simulate(plan, &Scenario { patient: true, ..slow(plan, scenario, &|_, _| true, &|_| true) })
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

/// The branches that surely go back as a whole as soon as something fails there, if they have done anything: those that have
/// yet to cross a barrier together with it (or with one of these), and have no rule that does something else where one is
/// broken. In a lane what had succeeded goes back with it only in a group with a promise.
fn at_once(plan: &Plan, from: &Place, rolls_back: bool) -> BTreeSet<u32> {
    let item = &plan.items[from.item.index()];
    let goes_back = |branch: u32| {
        let parts = &item.branches[branch as usize].parts;
        let mut own = plan.places.iter().zip(0..).filter(|(place, _)| {
            place.branch == branch && plan.barriers[place.barrier.index()].item == from.item
        });
        (item.promises() || parts.len() == 1)
            && (branch != from.branch || rolls_back)
            && own.all(|(place, at)| {
                let rollback = Settled::Verdict(Verdict::Rollback);
                plan.barriers[place.barrier.index()].kind == BarrierKind::Rollback
                    || judge_barrier(plan, PlaceId(at)).0 == rollback
            })
    };
    let all = 0..item.branches.len() as u32;
    if item.promises() {
        // They all meet at `commit`.
        return all.filter(|branch| goes_back(*branch)).collect();
    }
    let mut broken = from.ahead(plan);
    let mut doomed: BTreeSet<u32> = [from.branch].into();
    loop {
        let before = broken.len();
        for branch in all.clone().filter(|branch| *branch != from.branch) {
            let barriers = works(plan, from.item, branch).filter_map(|(stage, at, work)| match work {
                Work::Barrier(place) => {
                    Some((plan.places[place.index()].barrier, holds(plan, stage, at, *place)))
                }
                Work::Steps(_) => None,
            });
            // It has not come further than to the first of them.
            let uncrossed = barriers.skip_while(|(barrier, holds)| !holds || !broken.contains(barrier));
            let uncrossed: Vec<BarrierId> = uncrossed.map(|(barrier, _)| barrier).collect();
            if !uncrossed.is_empty() {
                doomed.insert(branch);
                broken.extend(uncrossed);
            }
        }
        if broken.len() == before {
            return doomed.into_iter().filter(|branch| goes_back(*branch)).collect();
        }
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

/// Where in its stage something fails is not known.
const SOMEWHERE: usize = usize::MAX;

/// Where something fails.
struct Place {
    item: ItemId,
    branch: u32,
    /// The part of the branch.
    part: usize,
    /// The position in the stage, or [`SOMEWHERE`]; none for an approval.
    at: Option<usize>,
    /// The barrier at which it waits.
    barrier: Option<PlaceId>,
}

impl Place {
    fn of_stage(plan: &Plan, stage: StageId, at: Option<usize>, barrier: Option<PlaceId>) -> Option<Place> {
        let data = &plan.stages[stage.index()];
        let parts = &plan.items[data.item.index()].branches[data.branch as usize].parts;
        let part = parts.iter().position(|part| *part == Part::Stage(stage))?;
        Some(Place { item: data.item, branch: data.branch, part, at, barrier })
    }

    fn of(plan: &Plan, what: Fallible) -> Option<Place> {
        match what {
            Fallible::Step(step) => {
                let stage = plan.steps[step.index()].stage;
                let here = |work: &Work| matches!(work, Work::Steps(steps) if steps.contains(&step));
                let at = plan.stages[stage.index()].positions.iter().position(|it| here(&it.work));
                Place::of_stage(plan, stage, at, None)
            }
            Fallible::Wait(place) => {
                let stage = plan.places[place.index()].stage?;
                let positions = &plan.stages[stage.index()].positions;
                let at = positions.iter().position(|it| it.work == Work::Barrier(place));
                Place::of_stage(plan, stage, at, Some(place))
            }
            Fallible::Approval(approval) => {
                let data = &plan.approvals[approval.index()];
                let parts = &plan.items[data.item.index()].branches[data.branch as usize].parts;
                let part = parts.iter().position(|part| *part == Part::Approval(approval))?;
                Some(Place { item: data.item, branch: data.branch, part, at: None, barrier: None })
            }
        }
    }

    fn part_of(&self, plan: &Plan, stage: StageId) -> Option<usize> {
        let parts = &plan.items[self.item.index()].branches[self.branch as usize].parts;
        parts.iter().position(|part| *part == Part::Stage(stage))
    }

    /// Whether a position of its own branch comes behind it.
    fn is_behind(&self, plan: &Plan, stage: StageId, at: usize) -> bool {
        let Some(part) = self.part_of(plan, stage) else { return false };
        part > self.part || part == self.part && self.at.is_none_or(|own| at > own)
    }

    /// The barriers that its branch has surely crossed: they are decided, and break no more.
    fn crossed(&self, plan: &Plan) -> BTreeSet<BarrierId> {
        let before = |stage: StageId, at: usize| {
            let part = self.part_of(plan, stage);
            let here = self.at.is_some_and(|own| own != SOMEWHERE && at < own);
            part.is_some_and(|part| part < self.part || part == self.part && here)
        };
        let crossed = works(plan, self.item, self.branch).filter_map(|(stage, at, work)| match work {
            Work::Barrier(place) if before(stage, at) && holds(plan, stage, at, *place) => {
                Some(plan.places[place.index()].barrier)
            }
            _ => None,
        });
        crossed.collect()
    }

    /// The barriers that its branch has not crossed.
    fn ahead(&self, plan: &Plan) -> BTreeSet<BarrierId> {
        let behind = works(plan, self.item, self.branch).filter_map(|(stage, at, work)| match work {
            Work::Barrier(place) if self.is_behind(plan, stage, at) || self.barrier == Some(*place) => {
                Some(plan.places[place.index()].barrier)
            }
            _ => None,
        });
        behind.collect()
    }
}

/// Whether nobody comes past a place without being there: it is never skipped.
fn holds(plan: &Plan, stage: StageId, at: usize, place: PlaceId) -> bool {
    let stage = &plan.stages[stage.index()];
    let mut when = stage.when.iter().chain(&stage.positions[at].when).chain(&plan.places[place.index()].when);
    when.all(|condition| plan.conditions[condition.index()].as_value().and_then(Value::as_bool) == Some(true))
}

/// Everything that a branch does, in order.
fn works(plan: &Plan, item: ItemId, branch: u32) -> impl Iterator<Item = (StageId, usize, &Work)> {
    plan.items[item.index()].branches[branch as usize].stages().flat_map(|stage| {
        let positions = plan.stages[stage.index()].positions.iter().enumerate();
        positions.map(move |(at, position)| (stage, at, &position.work))
    })
}

/// The branches that a failure can take along: those that meet its own at a barrier that may break yet, and so on.
fn joined(plan: &Plan, from: &Place) -> BTreeSet<u32> {
    let crossed = from.crossed(plan);
    let mut joined: BTreeSet<u32> = [from.branch].into();
    let barriers = || {
        let here = plan.barriers.iter().zip(0..).filter(|(it, _)| it.item == from.item);
        here.filter(|(it, at)| it.kind != BarrierKind::Rollback && !crossed.contains(&BarrierId(*at)))
    };
    loop {
        let before = joined.len();
        for (barrier, _) in barriers() {
            let branches = || barrier.places.iter().map(|place| plan.places[place.index()].branch);
            if branches().any(|branch| joined.contains(&branch)) {
                joined.extend(branches());
            }
        }
        if joined.len() == before {
            return joined;
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
    let broke = simulation.events.iter().find(
        |(_, it)| matches!(it, Happening::BarrierBroken(_, _, Cause::Waited(known)) if *known == place),
    );
    broke.map_or(0, |(at, _)| after(&simulation, *at))
}

/// How long a person may think about a barrier that broke.
fn question(plan: &Plan, place: PlaceId) -> u64 {
    match judge_barrier(plan, place).0 {
        Settled::Ask(ask) => ask.within.saturating_add(thinking(&ask.then)),
        Settled::Verdict(_) => 0,
    }
}

fn thinking(reaction: &Reaction) -> u64 {
    match reaction {
        Reaction::Ask { within, then, .. } => within.saturating_add(thinking(then)),
        Reaction::Retry { then, .. } => thinking(then),
        _ => 0,
    }
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

/// How long a step that undoes something takes, with all its attempts where it is chosen to fail.
fn undoing_takes(plan: &Plan, scenario: &Scenario, step: StepId) -> u64 {
    /// What the machine does where no rule says anything.
    const DEFAULT: (u64, u64) = (5, 10_000 + 30_000 + 3 * 60_000);
    let data = &plan.steps[step.index()];
    let once = scenario.takes.get(&step).copied().unwrap_or(data.timeout).min(data.timeout);
    let Some(kind) = scenario.fail.get(&step) else { return once };
    let (attempts, waits) = match rule_for(plan, &data.scopes, &Failure::new(*kind, "")) {
        Some((_, rule)) => tries(&rule.reaction),
        None if matches!(kind, Kind::Connectivity | Kind::Timeout) => DEFAULT,
        None => (0, 0),
    };
    once.saturating_mul(attempts + 1).saturating_add(waits)
}

/// How many more attempts a reaction makes, and how long it waits in all.
fn tries(reaction: &Reaction) -> (u64, u64) {
    match reaction {
        Reaction::Retry { times, every, then } => {
            let (more, waits) = tries(then);
            let longest = every.iter().copied().max().unwrap_or(0);
            (u64::from(*times) + more, longest.saturating_mul(u64::from(*times)).saturating_add(waits))
        }
        // An answer may be another attempt.
        Reaction::Ask { within, then, .. } => {
            let (more, waits) = tries(then);
            (more + 1, within.saturating_mul(2).saturating_add(waits))
        }
        _ => (0, 0),
    }
}

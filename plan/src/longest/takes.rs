//! How long each thing takes at most: a step, a question, what waits for a claim.

use crate::machine::{Settled, is_approval, judge_barrier, rule_for};
use crate::roots::Roots;
use crate::simulate::Scenario;
use crate::tickets;
use crate::{Claim, ClaimScope, Failure, ItemId, Kind, PlaceId, Plan, Reaction, Role, StepId, Work};
use std::collections::BTreeSet;

/// For how long claims, and turns in a directory, are waited for at most, in all, on the way to the end of a run.
///
/// While one is waited for, another one that needs the same is held: so for no longer than all of them are held, and the one
/// that is waited for is not held then.
pub(super) fn waiting(plan: &Plan, slow: &Scenario, back: bool) -> u64 {
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
pub(super) fn held(plan: &Plan, slow: &Scenario, claim: &Claim, back: bool) -> u64 {
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
pub(super) fn forward_takes(plan: &Plan, slow: &Scenario, step: StepId) -> u64 {
    let data = &plan.steps[step.index()];
    let takes = slow.takes.get(&step).copied().unwrap_or(data.timeout);
    // An approval is open for as long as people take.
    let once = if is_approval(data) { takes } else { takes.min(data.timeout) };
    let Some(kind) = slow.fail.get(&step) else { return once };
    let again = rule_for(plan, &data.scopes, &Failure::new(*kind, "")).map(|(_, rule)| tries(&rule.reaction));
    let (attempts, waits) = again.unwrap_or((0, 0));
    once.saturating_mul(attempts + 1).saturating_add(waits)
}

/// How long a person may think about a barrier that broke.
pub(super) fn question(plan: &Plan, place: PlaceId) -> u64 {
    match judge_barrier(plan, place).0 {
        Settled::Ask(ask) => ask.within.saturating_add(thinking(&ask.then)),
        Settled::Verdict(_) => 0,
    }
}

pub(super) fn thinking(reaction: &Reaction) -> u64 {
    match reaction {
        Reaction::Ask { within, then, .. } => within.saturating_add(thinking(then)),
        Reaction::Retry { then, .. } => thinking(then),
        _ => 0,
    }
}

/// How long a step that undoes something takes, with all its attempts where it is chosen to fail.
pub(super) fn undoing_takes(plan: &Plan, scenario: &Scenario, step: StepId) -> u64 {
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
pub(super) fn tries(reaction: &Reaction) -> (u64, u64) {
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

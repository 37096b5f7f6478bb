//! `barrier/timeout-too-short`: a wait that is shorter than what a peer may need to arrive.

use super::Judged;
use super::barrier_deadlock::has_circle;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule as CheckRule;
use foldhash::HashMap;
use lockstep_plan::{
    BarrierId, BarrierKind, Expr, ItemId, Kind as FailureKind, Part, PlaceId, Plan, Reaction, Rule, ScopeId,
    Step, StepId, Value, Work, format_duration,
};
use std::collections::BTreeSet;

pub const RULE: CheckRule = CheckRule {
    name: "barrier/timeout-too-short",
    severity: Severity::Warning,
    summary: "a barrier's wait is shorter than what a peer may need to arrive",
    page: include_str!("barrier_timeout_too_short.md"),
};

/// When a branch may arrive at a barrier, since the start of the group, if nothing else held it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Arrival {
    barrier: BarrierId,
    /// What surely passes before.
    least: u64,
    /// What may pass before, waits at other barriers included.
    most: u64,
    /// How long the branch waits there; none where that is not limited, or not known yet.
    timeout: Option<u64>,
}

/// Branches that arrive alike.
struct Alike {
    arrivals: Vec<Arrival>,
    index: HashMap<BarrierId, usize>,
    /// The places at which each of the first two such branches arrives.
    places: Vec<Vec<PlaceId>>,
}

/// More comparisons than this are not made in one group.
const MOST_COMPARISONS: usize = 4_000_000;

/// Looks at every barrier with several participants.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let plan = &judged.lowered.plan;
    for item in judged.items() {
        if plan.items[item.index()].group.is_none_or(|group| group.max.is_some()) {
            continue; // With `max`, when a branch starts is another question.
        }
        let kinds = kinds(judged, item);
        // Who waits for ever waits too long, which is said.
        let order = |kind: &Alike| kind.arrivals.iter().map(|it| it.barrier).collect::<Vec<_>>();
        let for_ever = || has_circle(&kinds.iter().map(order).collect::<Vec<_>>());
        if kinds.len() > 1 && for_ever() {
            continue;
        }
        let mut left = MOST_COMPARISONS;
        let mut reports = Vec::new();
        let mut barriers: Vec<BarrierId> =
            kinds.iter().flat_map(|kind| &kind.arrivals).map(|it| it.barrier).collect();
        barriers.sort_unstable();
        barriers.dedup();
        for barrier in barriers {
            let there: Vec<&Alike> = kinds.iter().filter(|kind| kind.index.contains_key(&barrier)).collect();
            // One report for each barrier.
            let found = there.iter().find_map(|own| {
                let timeout = own.arrivals[own.index[&barrier]].timeout?;
                let peers = there.iter().filter_map(|peer| {
                    let second = std::ptr::eq(*own, *peer);
                    let places = peer.places.get(usize::from(second))?;
                    left = left.saturating_sub(peer.index[&barrier] + 1);
                    let needed = if left == 0 { 0 } else { longer(own, peer, barrier) };
                    Some((needed, places[peer.index[&barrier]]))
                });
                let (needed, place) = peers.max_by_key(|(needed, _)| *needed)?;
                (needed > timeout).then(|| (own.places[0][own.index[&barrier]], timeout, place, needed))
            });
            reports.extend(found.map(|found| report(judged, barrier, found)));
        }
        // One that a branch meets twice is a circle by itself.
        if !reports.is_empty() && (kinds.len() > 1 || !for_ever()) {
            sink.append(&mut reports);
        }
    }
}

/// How much longer a peer may take to arrive at a barrier, counted from the last one that both cross: it resets the clock.
fn longer(own: &Alike, peer: &Alike, barrier: BarrierId) -> u64 {
    let (here, there) = (own.index[&barrier], peer.index[&barrier]);
    let common = peer.arrivals[..there].iter().rev().find_map(|it| {
        let index = *own.index.get(&it.barrier)?;
        (index < here).then_some((own.arrivals[index].least, it.most.saturating_add(it.timeout.unwrap_or(0))))
    });
    let (least, most) = common.unwrap_or((0, 0));
    let (own, peer) = (own.arrivals[here].least - least, peer.arrivals[there].most - most);
    peer.saturating_sub(own)
}

fn report(
    judged: &Judged<'_, '_>,
    barrier: BarrierId,
    (own, timeout, peer, needed): (PlaceId, u64, PlaceId, u64),
) -> Diagnostic {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let name = &plan.barriers[barrier.index()].name;
    let stage = |place: PlaceId| {
        let stage = plan.places[place.index()].stage;
        stage.map_or("", |id| plan.stages[id.index()].name.as_str())
    };
    let (own_at, peer_at) = (origins.places[own.index()], origins.places[peer.index()]);
    let mut diagnostic = Diagnostic::new(
        &RULE,
        own_at,
        format!(
            "stage `{}` waits {} at `{name}`, but stage `{}` may need {} more to arrive",
            stage(own),
            format_duration(timeout),
            stage(peer),
            format_duration(needed)
        ),
    )
    .label(format!("waits {}", format_duration(timeout)))
    .help(format!(
        "raise it to `timeout = {}`, or lower the timeouts of the steps before it",
        format_duration(needed)
    ));
    if peer_at != own_at {
        diagnostic = diagnostic.also(peer_at, format!("stage `{}` arrives here", stage(peer)));
    }
    diagnostic
}

/// The branches of an item by how they arrive, in order of the first of each.
fn kinds(judged: &Judged<'_, '_>, item: ItemId) -> Vec<Alike> {
    let mut met: HashMap<BarrierId, usize> = HashMap::default();
    for meeting in judged.meetings(item, BarrierKind::Forward).iter().flatten() {
        *met.entry(meeting.barrier).or_default() += 1;
    }
    let shared = met.into_iter().filter(|(_, count)| *count > 1).map(|(barrier, _)| barrier).collect();
    let mut known: HashMap<Vec<Arrival>, usize> = HashMap::default();
    let mut kinds: Vec<Alike> = Vec::new();
    for branch in 0..judged.lowered.plan.items[item.index()].branches.len() {
        let (arrivals, places): (Vec<_>, Vec<_>) = arrive(judged, item, branch, &shared).into_iter().unzip();
        let next = kinds.len();
        let number = *known.entry(arrivals.clone()).or_insert(next);
        if number == next {
            // Twice in one branch is the matter of `barrier/sequential`.
            let index = arrivals.iter().enumerate().rev().map(|(index, it)| (it.barrier, index)).collect();
            kinds.push(Alike { arrivals, index, places: Vec::new() });
        }
        if kinds[number].places.len() < 2 {
            kinds[number].places.push(places);
        }
    }
    kinds
}

/// When a branch may arrive at each of its barriers.
fn arrive(
    judged: &Judged<'_, '_>,
    item: ItemId,
    branch: usize,
    shared: &BTreeSet<BarrierId>,
) -> Vec<(Arrival, PlaceId)> {
    let plan = &judged.lowered.plan;
    let never = |when: &[lockstep_plan::ConditionId]| {
        when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)))
    };
    let (mut least, mut most) = (0_u64, 0_u64);
    let mut all = Vec::new();
    let mut rules = Rules::default();
    for part in &plan.items[item.index()].branches[branch].parts {
        let id = match part {
            Part::Approval(id) => {
                most = most.saturating_add(plan.approvals[id.index()].within);
                continue;
            }
            Part::Stage(id) => id,
        };
        let stage = &plan.stages[id.index()];
        if never(&stage.when) {
            continue;
        }
        for position in stage.positions.iter().filter(|position| !never(&position.when)) {
            match &position.work {
                Work::Steps(ids) => {
                    let running =
                        ids.iter().map(|id| &plan.steps[id.index()]).filter(|step| !never(&step.when));
                    let longest = running.map(|step| longest(plan, step, &mut rules)).max().unwrap_or(0);
                    most = most.saturating_add(longest);
                    if stage.when.is_empty() && position.when.is_empty() {
                        least = least.saturating_add(surely(plan, ids));
                    }
                }
                Work::Barrier(place) if !never(&plan.places[place.index()].when) => {
                    let it = &plan.places[place.index()];
                    if plan.barriers[it.barrier.index()].kind != BarrierKind::Forward {
                        continue;
                    }
                    all.push((Arrival { barrier: it.barrier, least, most, timeout: it.timeout }, *place));
                    // One that nobody else comes to is crossed at once.
                    if shared.contains(&it.barrier) {
                        most = most.saturating_add(it.timeout.unwrap_or(0));
                    }
                }
                Work::Barrier(_) => {}
            }
        }
    }
    all
}

/// What a step takes at most, with every attempt and every question that its rules allow.
fn longest<'a>(plan: &'a Plan, step: &'a Step, rules: &mut Rules<'a>) -> u64 {
    // Letting time pass does not fail.
    if step.action.provider == "wait" {
        return match step.action.arguments.get("duration").and_then(Expr::as_value) {
            Some(Value::Duration(duration)) => *duration,
            _ => step.timeout,
        };
    }
    if step.scopes.is_empty() {
        return step.timeout;
    }
    let (mut retries, mut asks) = (0_u64, 0_u64);
    for rule in rules.reached(plan, step) {
        let (attempts, questions) = more(&rule.reaction, step.timeout);
        retries = retries.saturating_add(attempts);
        asks = asks.max(questions);
    }
    step.timeout.saturating_add(retries).saturating_add(asks)
}

/// The rules that failures of the last step that was looked at can lead to: mostly the next one has the same.
#[derive(Default)]
struct Rules<'a> {
    /// The scopes of that step, and whether it is an approval.
    of: (&'a [ScopeId], bool),
    reached: Vec<&'a Rule>,
}

impl<'a> Rules<'a> {
    fn reached(&mut self, plan: &'a Plan, step: &'a Step) -> &[&'a Rule] {
        let of = (step.scopes.as_slice(), step.action.provider == "approval");
        if self.of != of {
            (self.of, self.reached) = (of, reached(plan, step));
        }
        &self.reached
    }
}

/// The rules that a failure of the step can lead to: for each kind the first that covers it, and those that cover only a
/// share of the hosts on the way to it.
fn reached<'a>(plan: &'a Plan, step: &Step) -> Vec<&'a Rule> {
    let rules = || step.scopes.iter().flat_map(|scope| &plan.scopes[scope.index()].rules);
    let mut reached: Vec<&Rule> = Vec::new();
    for kind in FailureKind::ALL {
        let possible = match kind {
            FailureKind::Barrier => false,
            FailureKind::ApprovalRejected => step.action.provider == "approval",
            _ => true,
        };
        for rule in rules().filter(|rule| possible && (rule.kinds.is_empty() || rule.kinds.contains(&kind))) {
            if !reached.iter().any(|known| std::ptr::eq(*known, rule)) {
                reached.push(rule);
            }
            if rule.under.is_none() {
                break;
            }
        }
    }
    reached
}

/// What a reaction adds in further attempts, and in questions.
fn more(reaction: &Reaction, timeout: u64) -> (u64, u64) {
    match reaction {
        Reaction::Retry { times, every, then } => {
            let waits: u64 = (0..*times as usize)
                .take(10_000)
                .map(|attempt| every.get(attempt).or(every.last()).copied().unwrap_or(0))
                .fold(0, u64::saturating_add);
            let attempts = timeout.saturating_mul(u64::from(*times)).saturating_add(waits);
            let (retries, asks) = more(then, timeout);
            (attempts.saturating_add(retries), asks)
        }
        Reaction::Ask { within, then, .. } => {
            let (retries, asks) = more(then, timeout);
            (retries, within.saturating_add(asks))
        }
        _ => (0, 0),
    }
}

/// What a position takes at least: the waits that nothing skips.
fn surely(plan: &Plan, ids: &[StepId]) -> u64 {
    ids.iter()
        .map(|id| &plan.steps[id.index()])
        .filter(|step| step.action.provider == "wait" && step.when.is_empty())
        .filter_map(|step| match step.action.arguments.get("duration").and_then(Expr::as_value) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        })
        .max()
        .unwrap_or(0)
}

//! `barrier/timeout-too-short`: a wait that is shorter than what a peer may need to arrive.

use super::Judged;
use super::barrier_alone::is_misspelt;
use super::barrier_deadlock::has_circle;
use super::held_up::{self, Holding};
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule as CheckRule;
use foldhash::HashMap;
use lockstep_plan::{
    BarrierId, BarrierKind, ConditionId, Expr, ItemId, Kind as FailureKind, Part, PlaceId, Plan, Reaction,
    Rule, ScopeId, StageId, Step, StepId, Value, Work, format_duration,
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
pub struct Arrival {
    pub barrier: BarrierId,
    /// What surely passes before.
    pub least: u64,
    /// What may pass before, waits at other barriers included.
    pub most: u64,
    /// What of that the branch itself may need: without those waits.
    pub busy: u64,
    /// How long the branch waits there; none where that is not limited, or not known yet.
    pub timeout: Option<u64>,
}

/// What a branch does, as far as others wait for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Course<'a> {
    pub arrivals: Vec<Arrival>,
    /// What the branch may need from its start to its end, where that frees a slot.
    pub busy: u64,
    /// The resources that its phases hold on the way.
    pub holds: Vec<Holding<'a>>,
}

/// Branches that arrive alike.
pub struct Alike<'a> {
    pub course: Course<'a>,
    pub index: HashMap<BarrierId, usize>,
    /// The branches, in order.
    pub branches: Vec<usize>,
    /// The places at which each of the first two such branches arrives; with `max`, each of all.
    places: Vec<Vec<PlaceId>>,
}

/// More comparisons than this are not made in one group.
const MOST_COMPARISONS: usize = 4_000_000;

/// Looks at every barrier with several participants.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let plan = &judged.lowered.plan;
    let mut reports = Vec::new();
    let asks = held_up::asks(plan);
    look(judged, asks.then_some(plan), &mut reports);
    // Claims are made where it depends on them: some of what phases use is theirs from the start, and not waited for.
    if asks && !reports.is_empty() {
        reports.clear();
        look(judged, Some(&held_up::claiming(plan)), &mut reports);
    }
    sink.append(&mut reports);
}

/// `claiming`: the plan in which phases ask for resources, if any do.
fn look(judged: &Judged<'_, '_>, claiming: Option<&Plan>, sink: &mut Vec<Diagnostic>) {
    let plan = &judged.lowered.plan;
    // What is not known of a wait, or of a step, would be taken for its default.
    let unsure = judged.lost("timeout");
    for item in judged
        .items()
        .filter(|item| !unsure[item.index()] && !judged.is_broken(*item) && !is_misspelt(judged, *item))
    {
        let (Some(group), count) = (plan.items[item.index()].group, plan.items[item.index()].branches.len())
        else {
            continue;
        };
        let max = group.max.map(|max| max as usize).filter(|max| *max < count);
        let kinds = kinds(judged, item, claiming, max.is_some());
        // Who waits for ever waits too long, which is said.
        let order = |kind: &Alike<'_>| kind.course.arrivals.iter().map(|it| it.barrier).collect::<Vec<_>>();
        let for_ever = || has_circle(&kinds.iter().map(order).collect::<Vec<_>>());
        if kinds.len() > 1 && for_ever() {
            continue;
        }
        let mut left = MOST_COMPARISONS;
        if let Some(max) = max {
            limited(judged, item, &kinds, max, &mut left, sink);
            continue;
        }
        let mut reports = Vec::new();
        let mut barriers: Vec<BarrierId> =
            kinds.iter().flat_map(|kind| &kind.course.arrivals).map(|it| it.barrier).collect();
        barriers.sort_unstable();
        barriers.dedup();
        for barrier in barriers {
            let there: Vec<&Alike<'_>> =
                kinds.iter().filter(|kind| kind.index.contains_key(&barrier)).collect();
            // One report for each barrier: of who would have to wait longest, the first.
            let found = there.iter().rev().filter_map(|own| {
                let timeout = own.course.arrivals[own.index[&barrier]].timeout?;
                let peers = there.iter().filter_map(|peer| {
                    let second = std::ptr::eq(*own, *peer);
                    let places = peer.places.get(usize::from(second))?;
                    left = left.saturating_sub(peer.index[&barrier] + 1);
                    let needed = if left == 0 { 0 } else { longer(&kinds, own, peer, barrier, claiming) };
                    Some((needed, places[peer.index[&barrier]]))
                });
                let (needed, place) = peers.max_by_key(|(needed, _)| *needed)?;
                (needed > timeout).then(|| (own.places[0][own.index[&barrier]], timeout, place, needed))
            });
            let found = found.max_by_key(|(_, _, _, needed)| *needed);
            reports.extend(found.map(|found| report(judged, barrier, found, None)));
        }
        // One that a branch meets twice is a circle by itself.
        if !reports.is_empty() && (kinds.len() > 1 || !for_ever()) {
            sink.append(&mut reports);
        }
    }
}

/// How much longer a peer may take to arrive at a barrier, counted from the last one that both cross: it resets the clock.
fn longer(
    kinds: &[Alike<'_>],
    own: &Alike<'_>,
    peer: &Alike<'_>,
    barrier: BarrierId,
    claiming: Option<&Plan>,
) -> u64 {
    let (here, there) = (own.index[&barrier], peer.index[&barrier]);
    let arrivals = (&own.course.arrivals, &peer.course.arrivals);
    let common = arrivals.1[..there].iter().enumerate().rev().find_map(|(at, it)| {
        let index = *own.index.get(&it.barrier)?;
        let most = || it.most.saturating_add(it.timeout.unwrap_or(0));
        (index < here).then(|| (arrivals.0[index].least, most(), at + 1))
    });
    let (least, most, from) = common.unwrap_or((0, 0, 0));
    let waits = match claiming {
        Some(plan) if !peer.course.holds.is_empty() => {
            held_up::for_permits(plan, kinds, (own, peer), from..=there)
        }
        _ => 0,
    };
    let (own, peer) = (arrivals.0[here].least - least, arrivals.1[there].most - most);
    peer.saturating_add(waits).saturating_sub(own)
}

/// With `max`, when a branch starts depends on the others: for each kind, one run in which its first branch is as fast and all
/// others are as slow as can be.
fn limited(
    judged: &Judged<'_, '_>,
    item: ItemId,
    kinds: &[Alike<'_>],
    max: usize,
    left: &mut usize,
    sink: &mut Vec<Diagnostic>,
) {
    // By branch: its kind, and the how manieth of that it is.
    let mut all: Vec<(usize, (&Alike<'_>, usize))> = kinds
        .iter()
        .flat_map(|kind| kind.branches.iter().zip(0..).map(move |(branch, at)| (*branch, (kind, at))))
        .collect();
    all.sort_unstable_by_key(|(branch, _)| *branch);
    let of: Vec<(&Alike<'_>, usize)> = all.into_iter().map(|(_, it)| it).collect();
    let courses: Vec<&Course<'_>> = of.iter().map(|(kind, _)| &kind.course).collect();
    let cost = courses.iter().map(|course| course.arrivals.len() + 1).sum::<usize>();
    let mut reported: BTreeSet<BarrierId> = BTreeSet::new();
    for kind in kinds {
        *left = left.saturating_sub(cost);
        let Some(own) = kind.branches.first().filter(|_| *left > 0 && !kind.course.arrivals.is_empty())
        else {
            continue;
        };
        // A group that cannot finish is the matter of `barrier/limited-parallelism`.
        let Some(run) = held_up::with_slots(&courses, max, *own) else { return };
        for (at, arrival) in kind.course.arrivals.iter().enumerate() {
            let Some((last, when)) = run.last(arrival.barrier) else { continue };
            let Some(timeout) = arrival.timeout else { continue };
            let needed = when.saturating_sub(run.arrived(*own, at));
            if needed > timeout && reported.insert(arrival.barrier) {
                let (peer, number) = of[last];
                let place = peer.places[number][peer.index[&arrival.barrier]];
                let found = (kind.places[0][at], timeout, place, needed);
                let slots = (last >= max).then_some((item, max));
                sink.push(report(judged, arrival.barrier, found, slots));
            }
        }
    }
}

fn report(
    judged: &Judged<'_, '_>,
    barrier: BarrierId,
    (own, timeout, peer, needed): (PlaceId, u64, PlaceId, u64),
    slots: Option<(ItemId, usize)>,
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
        "raise it to `timeout = {}`, {}or lower the timeouts of the steps before it",
        format_duration(needed),
        if slots.is_some() { "raise `max`, " } else { "" }
    ));
    let (parts, others) = parts(plan, (own, peer));
    if peer_at != own_at {
        let more = match others {
            0 => String::new(),
            _ => format!("; other steps before it may need {}", format_duration(others)),
        };
        diagnostic = diagnostic.also(peer_at, format!("stage `{}` arrives here{more}", stage(peer)));
    }
    for (step, needed, why) in parts {
        let name = &plan.steps[step.index()].name;
        let told = format!("`{name}` may need {}{why}", format_duration(needed));
        diagnostic = diagnostic.also(origins.steps[step.index()], told);
    }
    if let Some((item, max)) = slots {
        let told = format!("{max} at once: `{}` may wait for one of the others to end first", stage(peer));
        diagnostic = diagnostic.also(origins.items[item.index()], told);
    }
    diagnostic
}

/// What a peer may need before it arrives, since the last barrier that both have crossed: of the steps that need most which one,
/// how long, and with what; and what the others need, with its approvals and waits.
fn parts(plan: &Plan, (own, peer): (PlaceId, PlaceId)) -> (Vec<(StepId, u64, &'static str)>, u64) {
    /// Several are told of at most.
    const MOST_PARTS: usize = 3;
    let branch = |place: PlaceId| {
        let stage = &plan.stages[plan.places[place.index()].stage?.index()];
        plan.items[stage.item.index()].branches.get(stage.branch as usize)
    };
    let places = |place: PlaceId| {
        let stages = branch(place).into_iter().flat_map(|branch| branch.stages());
        let stages =
            stages.map(|stage| &plan.stages[stage.index()]).filter(|stage| !never(plan, &stage.when));
        let positions = stages.flat_map(|stage| &stage.positions).filter(|it| !never(plan, &it.when));
        let works = positions.map(|it| &it.work);
        works.take_while(move |work| !matches!(work, Work::Barrier(it) if *it == place))
    };
    let crossed: BTreeSet<BarrierId> = places(own)
        .filter_map(|work| match work {
            Work::Barrier(place) => Some(plan.places[place.index()].barrier),
            Work::Steps(_) => None,
        })
        .collect();
    let mut rules = Rules::default();
    let mut parts = Vec::new();
    for work in places(peer) {
        match work {
            Work::Barrier(place) if crossed.contains(&plan.places[place.index()].barrier) => parts.clear(),
            Work::Barrier(_) => {}
            Work::Steps(ids) => {
                let ids = ids.iter().filter(|id| !never(plan, &plan.steps[id.index()].when));
                let needed = ids.map(|id| (*id, longest(plan, &plan.steps[id.index()], &mut rules)));
                parts.extend(needed.max_by_key(|(_, needed)| *needed));
            }
        }
    }
    parts.sort_by_key(|(_, needed)| std::cmp::Reverse(*needed));
    let others = parts.iter().skip(MOST_PARTS).map(|(_, needed)| *needed).fold(0, u64::saturating_add);
    let why = |(id, needed): (StepId, u64)| {
        let step = &plan.steps[id.index()];
        let reactions = reached(plan, step).into_iter().map(|rule| more(&rule.reaction, step.timeout));
        let (retries, asks) = reactions.fold((0, 0), |(a, b), (c, d)| (a.max(c), b.max(d)));
        let why = match (retries > 0, asks > 0) {
            _ if step.action.provider == "wait" => "",
            (true, true) => ", with its retries and the answer of a person",
            (true, false) => ", with its retries",
            (false, true) => ", with the answer of a person",
            (false, false) => "",
        };
        (id, needed, why)
    };
    (parts.into_iter().take(MOST_PARTS).map(why).collect(), others)
}

/// The branches of an item by how they arrive, in order of the first of each.
fn kinds<'a>(
    judged: &Judged<'_, '_>,
    item: ItemId,
    claiming: Option<&'a Plan>,
    limited: bool,
) -> Vec<Alike<'a>> {
    /// Up to so many different ones are compared one by one.
    const FEW: usize = 8;
    let met = judged.by_barrier(item, BarrierKind::Forward);
    let several = met.chunk_by(|one, two| one.barrier == two.barrier).filter(|all| all.len() > 1);
    let shared: Vec<BarrierId> = several.map(|all| all[0].barrier).collect();
    let mut known: HashMap<Course<'a>, usize> = HashMap::default();
    let mut kinds: Vec<Alike<'a>> = Vec::new();
    for branch in 0..judged.lowered.plan.items[item.index()].branches.len() {
        let (mut course, places) = arrive(judged, item, branch, &shared, claiming);
        course.busy = if limited { course.busy } else { 0 };
        let next = kinds.len();
        let number = match kinds.iter().take(FEW).position(|kind| kind.course == course) {
            Some(number) => number,
            None if next < FEW => next,
            None => *known.entry(course.clone()).or_insert(next),
        };
        if number == next {
            // Twice in one branch is the matter of `barrier/sequential`.
            let index =
                course.arrivals.iter().enumerate().rev().map(|(index, it)| (it.barrier, index)).collect();
            kinds.push(Alike { course, index, branches: Vec::new(), places: Vec::new() });
        }
        kinds[number].branches.push(branch);
        if limited || kinds[number].places.len() < 2 {
            kinds[number].places.push(places);
        }
    }
    kinds
}

/// Whether a condition keeps it away for good.
fn never(plan: &Plan, when: &[ConditionId]) -> bool {
    when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)))
}

/// When a branch may arrive at each of its barriers.
fn arrive<'a>(
    judged: &Judged<'_, '_>,
    item: ItemId,
    branch: usize,
    shared: &[BarrierId],
    claiming: Option<&'a Plan>,
) -> (Course<'a>, Vec<PlaceId>) {
    let plan = &judged.lowered.plan;
    let never = |when: &[ConditionId]| never(plan, when);
    let (mut least, mut most) = (0_u64, 0_u64);
    let (mut course, mut places) = (Course::default(), Vec::new());
    let mut holding: Option<(StageId, u32)> = None;
    let mut rules = Rules::default();
    for part in &plan.items[item.index()].branches[branch].parts {
        let id = match part {
            Part::Approval(id) => {
                most = most.saturating_add(plan.approvals[id.index()].within);
                course.busy = course.busy.saturating_add(plan.approvals[id.index()].within);
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
                    course.busy = course.busy.saturating_add(longest);
                    if let Some(plan) = claiming {
                        let again = holding.replace((*id, position.phase)) == Some((*id, position.phase));
                        held_up::hold(plan, (*id, position.phase), again, longest, &mut course);
                    }
                    if stage.when.is_empty() && position.when.is_empty() {
                        least = least.saturating_add(surely(plan, ids));
                    }
                }
                Work::Barrier(place) if !never(&plan.places[place.index()].when) => {
                    let it = &plan.places[place.index()];
                    if plan.barriers[it.barrier.index()].kind != BarrierKind::Forward {
                        continue;
                    }
                    let (barrier, timeout, busy) = (it.barrier, it.timeout, course.busy);
                    course.arrivals.push(Arrival { barrier, least, most, busy, timeout });
                    places.push(*place);
                    // One that nobody else comes to is crossed at once.
                    if shared.binary_search(&it.barrier).is_ok() {
                        most = most.saturating_add(it.timeout.unwrap_or(0));
                    }
                }
                Work::Barrier(_) => {}
            }
        }
    }
    (course, places)
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
    let possible = |kind: &FailureKind| match kind {
        FailureKind::Barrier => false,
        FailureKind::ApprovalRejected => step.action.provider == "approval",
        _ => true,
    };
    // The kinds that no rule has caught yet.
    let mut open: Vec<FailureKind> = FailureKind::ALL.into_iter().filter(possible).collect();
    let mut reached: Vec<&Rule> = Vec::new();
    for rule in step.scopes.iter().flat_map(|scope| &plan.scopes[scope.index()].rules) {
        let covers = |kind: &FailureKind| rule.kinds.is_empty() || rule.kinds.contains(kind);
        if open.iter().any(covers) {
            reached.push(rule);
        }
        if rule.under.is_none() {
            open.retain(|kind| !covers(kind));
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
            // One answer of `retry`: how often a person gives it nobody knows.
            (retries, within.saturating_add(timeout).saturating_add(asks))
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

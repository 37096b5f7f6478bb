//! The matrix of every failure against brute force: what it says does not happen cannot, and nothing takes longer than it
//! says.
//!
//! Some pipelines in every test run; `LOCKSTEP_ORACLE=2000` tries more, as for the oracle.

use crate::explore::{Adversary, World};
use crate::generate::{any_spec, asks_what_has_run, decided, may_fail, open_conditions, spec, worlds};
use lockstep_plan::machine::StepStatus;
use lockstep_plan::proof::{self, Effort, Promise, prove};
use lockstep_plan::*;
use proptest::prelude::{Strategy, any, prop};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

/// Pipelines with more states than this are left out, and counted.
const MOST_STATES: usize = 4_000;

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok())
}

/// Hands over generated values; some, or as many as are asked for.
fn for_each<S: Strategy>(some: u32, of: u8, strategy: S, mut judge: impl FnMut(S::Value)) {
    let cases = number("LOCKSTEP_ORACLE").unwrap_or(some);
    let seed = number("LOCKSTEP_ORACLE_SEED").unwrap_or(1).to_le_bytes();
    let mut bytes = [of; 32];
    bytes[..4].copy_from_slice(&seed);
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
    );
    for _ in 0..cases {
        judge(strategy.new_tree(&mut runner).expect("a value").current());
    }
}

/// Steps of which an attempt is begun in some execution, and steps that fail in some without one: because a condition of
/// theirs cannot be decided.
#[derive(Default)]
struct Seen {
    begun: BTreeSet<StepId>,
    undecided: BTreeSet<StepId>,
}

/// What is seen in any execution, in which that step always fails if there is one, and waits at barriers run out or not;
/// nothing where there are too many states to see.
fn seen(plan: &Plan, adversary: &Adversary, fails: Option<StepId>, waits: bool) -> Option<Seen> {
    let hasher = RandomState::new();
    let mut known: HashSet<u64> = HashSet::new();
    let mut seen = Seen::default();
    let mut stack = vec![World::begin(plan).0];
    while let Some(world) = stack.pop() {
        if !known.insert(hasher.hash_one(&world)) {
            continue;
        }
        if known.len() > MOST_STATES {
            return None;
        }
        for (at, step) in world.state.steps.iter().enumerate() {
            let id = StepId(at as u32);
            match step.status {
                // One that is stopped in the very moment in which it is begun cannot fail any more.
                StepStatus::Running | StepStatus::AwaitingApproval => _ = seen.begun.insert(id),
                StepStatus::Failed | StepStatus::Ignored | StepStatus::Asserted => {
                    seen.undecided.insert(id);
                }
                _ => {}
            }
        }
        if world.state.is_finished() {
            continue;
        }
        for (event, failure) in world.moves(plan, adversary) {
            let runs_out = waits && matches!(event, Event::TimerFired(Timer::Barrier(_)));
            if !runs_out && !fits(plan, &event, failure, fails) {
                continue;
            }
            let mut next = world.clone();
            next.fold(plan, event, false);
            stack.push(next);
        }
    }
    Some(seen)
}

/// Whether the matrix plays that: approvals are given or not, and nobody answers other questions.
fn is_tried(event: &Event) -> bool {
    !matches!(event, Event::Answered { answer, .. } if !matches!(answer, Answer::Approve | Answer::Reject))
}

/// Whether that can come where one step always fails if there is one, and nothing else does.
fn fits(plan: &Plan, event: &Event, failure: bool, fails: Option<StepId>) -> bool {
    match event {
        Event::StepEnded { step, outcome: Outcome::Failed(failed), .. } if Some(*step) == fails => {
            failed.kind == Kind::Application && failed.hosts.is_none()
        }
        Event::StepEnded { step, .. } => Some(*step) != fails && !failure,
        // An approval that nobody gives is another failure.
        Event::TimerFired(Timer::Question(Question::Approval(_))) => false,
        Event::TimerFired(Timer::Question(Question::Step(step))) => !asks(plan, *step),
        Event::Answered { answer, .. } => *answer == Answer::Approve,
        _ => !failure,
    }
}

/// Whether a step is an approval.
fn asks(plan: &Plan, step: StepId) -> bool {
    plan.steps[step.index()].action.provider == "approval"
}

/// Different timeouts, so that waits run out before others come.
fn with_times(mut plan: Plan, minutes: &[u64], patience: u64) -> Plan {
    // Steps of `local` would take turns, and time out while they wait: that is another failure than the one of a row.
    for step in plan.steps.iter_mut().filter(|step| step.action.provider == "local") {
        step.action.provider = "host".into();
    }
    let mut times = minutes.iter().cycle();
    let mut next = || times.next().copied().unwrap_or(1) * 60_000;
    plan.steps.iter_mut().for_each(|step| step.timeout = next());
    for place in plan.places.iter_mut().filter(|place| place.timeout.is_some()) {
        place.timeout = Some(patience * 60_000);
    }
    plan
}

fn minutes() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1u64..30, 12)
}

#[test]
fn what_does_not_happen_cannot() {
    let (mut judged, mut undecided, mut hopeless) = (0, 0, 0);
    for_each(25, 21, (any_spec(), minutes(), 1u64..40, any::<usize>()), |(spec, minutes, patience, nth)| {
        let plan = with_times(spec.plan(), &minutes, patience);
        if open_conditions(&plan) > 2 || asks_what_has_run(&plan) {
            return;
        }
        let step = |row: &Rehearsal| match row.fail {
            Some(Chosen { what: Fallible::Step(step), kind, .. }) => Some((step, kind)),
            _ => None,
        };
        // In some a condition cannot be decided: then a step fails as it stands.
        for world in worlds(&plan) {
            let plan = decided(&plan, &world);
            let rows = every_failure(&plan, &Scenario::default());
            let adversary = Adversary { failures: 1, ..spec.adversary() };
            let Some(all) = seen(&plan, &adversary, None, false) else { return };
            judged += 1;
            undecided += u32::from(world.iter().any(may_fail));
            let fails = |all: &Seen, step: StepId, kind: Kind| {
                all.begun.contains(&step) || kind == Kind::Application && all.undecided.contains(&step)
            };
            for row in &rows {
                let Some((step, kind)) = step(row) else { continue };
                // What fails by itself does not wait until another one's time is up.
                let too_late = kind == Kind::Timeout && world.iter().any(may_fail);
                let right = match (row.happens, fails(&all, step, kind)) {
                    (true, true) | (false, false) => true,
                    (false, true) => too_late,
                    // Only where somebody waits too long, which slow steps alone can come to.
                    (true, false) => {
                        seen(&plan, &adversary, None, true).is_none_or(|all| fails(&all, step, kind))
                    }
                };
                let name = &plan.steps[step.index()].name;
                assert!(right, "{name}={kind} in {minutes:?} {patience}: {spec:?} {world:?} {}", row.happens);
            }
            if world.iter().any(may_fail) {
                continue;
            }
            // And where something else fails as well, as `--fail` says.
            let steps: Vec<StepId> = all.begun.into_iter().collect();
            let Some(other) = steps.get(nth % steps.len().max(1)).copied().filter(|it| !asks(&plan, *it))
            else {
                continue;
            };
            let adversary = Adversary { kinds: vec![Kind::Application], failures: 99, ..adversary };
            let Some(with) = seen(&plan, &adversary, Some(other), false) else { return };
            let fails = Scenario { fail: [(other, Kind::Application)].into(), ..Scenario::default() };
            for row in every_failure(&plan, &fails) {
                let Some((step, kind)) = step(&row) else { continue };
                hopeless += u32::from(!row.happens);
                // The other one may not take that long.
                if kind == Kind::Timeout {
                    continue;
                }
                let names = (&plan.steps[step.index()].name, &plan.steps[other.index()].name);
                let happens = row.happens || !with.begun.contains(&step);
                assert!(happens, "{names:?} in {minutes:?} {patience}: {spec:?}");
            }
        }
    });
    assert!(judged > 10 && hopeless > 10, "{judged} judged, {hopeless} rows do not happen");
    assert!(undecided > 3, "{undecided} with conditions that cannot be decided");
}

/// A run in which everything takes some time, as long as it may or not at all.
fn at_times(plan: &Plan, scenario: &Scenario, shares: &[u8]) -> Scenario {
    let mut shares = shares.iter().cycle().map(|share| match share % 4 {
        0 => 0,
        1 | 2 => 1000,
        _ => u64::from(*share) * 1000 / 256,
    });
    let mut part = |time: u64| time * shares.next().unwrap_or(0) / 1000;
    let mut timed = scenario.clone();
    for (index, step) in plan.steps.iter().enumerate() {
        timed.takes.insert(StepId(index as u32), part(step.timeout));
    }
    for (index, approval) in plan.approvals.iter().enumerate() {
        let question = Question::Approval(ApprovalId(index as u32));
        timed.takes_to_answer.insert(question, part(approval.within));
    }
    timed
}

fn approving(plan: &Plan) -> Scenario {
    let approve = |(question, answers): (Question, Vec<Answer>)| {
        answers.contains(&Answer::Approve).then_some((question, Answer::Approve))
    };
    Scenario { answers: questions(plan).into_iter().filter_map(approve).collect(), ..Scenario::default() }
}

#[test]
fn nothing_takes_longer_than_the_matrix_says() {
    let mut waits = 0;
    let mut near = 0;
    let shares = prop::collection::vec(any::<u8>(), 17);
    let values = (any_spec(), minutes(), 1u64..90, prop::collection::vec(shares, 6));
    for_each(40, 22, values, |(spec, minutes, patience, shares)| {
        let plan = with_times(spec.plan(), &minutes, patience);
        let plan = decided(&plan, &worlds(&plan)[0]);
        let rows = every_failure(&plan, &Scenario::default());
        let longest: BTreeMap<Option<Chosen>, u64> = rows.iter().fold(BTreeMap::new(), |mut known, row| {
            let at_most = known.entry(row.fail).or_insert(0);
            *at_most = row.at_most.max(*at_most);
            known
        });
        for (fail, at_most) in &longest {
            for shares in &shares {
                let mut scenario = at_times(&plan, &approving(&plan), shares);
                if let Some(chosen) = fail {
                    scenario.fail(*chosen);
                }
                let end = simulate(&plan, &scenario);
                let ran_out: Vec<Fallible> = end
                    .events
                    .iter()
                    .filter_map(|(_, it)| match it {
                        Happening::BarrierBroken(_, _, Cause::Waited(place)) => Some(Fallible::Wait(*place)),
                        _ => None,
                    })
                    .collect();
                let at_most = match (fail, &ran_out[..]) {
                    (_, []) => *at_most,
                    (None, [what]) => {
                        let wait = Chosen { what: *what, kind: Kind::Barrier, share: None };
                        waits += 1;
                        let Some(at_most) = longest.get(&Some(wait)) else {
                            panic!(
                                "no row for {}: {minutes:?} {patience} {shares:?} {spec:?}",
                                what.name(&plan)
                            );
                        };
                        *at_most
                    }
                    _ => continue,
                };
                let lasts = end.events.last().map_or(0, |(at, _)| *at);
                near += u32::from(lasts == at_most);
                let what = fail.map_or("nothing".into(), |chosen| chosen.text(&plan));
                let text = export::simulation_text(&plan, &end);
                assert!(
                    lasts <= at_most,
                    "{what}: {} and not {}: {minutes:?} {patience} {shares:?} {spec:?}\n{text}",
                    format_duration(lasts),
                    format_duration(at_most)
                );
            }
        }
    });
    assert!(waits > 10 && near > 20, "{waits} waits ran out, {near} took as long as they may");
}

fn proved(plan: &Plan) -> Promise {
    let listed = |_: &[ConditionId]| -> Option<Box<dyn proof::World>> {
        Some(Box::new(crate::generate::Listed::all(plan)))
    };
    prove(plan, &listed, &mut Effort::new(usize::MAX)).remove(0).promise
}

/// How one failure, or one wait that runs out, breaks the promise, when every event is tried in every order; nothing if it
/// never does.
fn breaks_alone(plan: &Plan, adversary: &Adversary) -> Option<String> {
    let hasher = RandomState::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut stack = vec![World::begin(plan)];
    while let Some((world, story)) = stack.pop() {
        if !seen.insert(hasher.hash_one(&world)) {
            continue;
        }
        if world.state.is_finished() {
            if proof::is_mixed(plan, &world.state, ItemId(0)) {
                return Some(story.text(plan));
            }
            continue;
        }
        assert!(seen.len() < 100_000, "too many states");
        // A question is open for longer than everything takes that is under way.
        let works = |step: &StepStatus| step.is_active() || *step == StepStatus::Recording;
        let busy = world.state.steps.iter().any(|step| works(&step.status));
        for (event, failure) in world.moves(plan, adversary) {
            let too_soon = busy && matches!(event, Event::TimerFired(Timer::Question(_)));
            if is_tried(&event) && !too_soon {
                let (next, story) = world.then(plan, event, failure, &story);
                stack.push((next, story));
            }
        }
    }
    None
}

/// What the proof finds broken is broken in some row, or takes several failures at once: which the matrix says it does not try.
#[test]
fn a_broken_promise_has_its_row() {
    let (mut broken, mut several) = (0, 0);
    for_each(50, 23, spec(), |spec| {
        // Slow steps make every wait run out that somebody can be late for.
        let plan = with_times(spec.plan(), &[10], 1);
        if open_conditions(&plan) > 3 || asks_what_has_run(&plan) {
            return;
        }
        let plans: Vec<Plan> = worlds(&plan).iter().map(|world| decided(&plan, world)).collect();
        let in_a_row = |plan: &&Plan| {
            let rows = every_failure(plan, &Scenario::default());
            rows.iter().any(|row| row.happens && !row.broken.is_empty())
        };
        match (proved(&plan), plans.iter().find(in_a_row)) {
            (Promise::Kept, Some(_)) => panic!("a row breaks a promise that is kept: {spec:?}"),
            (Promise::Broken(found), None) => {
                several += 1;
                let adversary = Adversary { failures: 1, ..spec.adversary() };
                if let Some(how) = plans.iter().find_map(|plan| breaks_alone(plan, &adversary)) {
                    panic!("{:?} has no row: {spec:?}\n{how}", found.fault);
                }
            }
            (Promise::Broken(_), Some(_)) => broken += 1,
            _ => {}
        }
    });
    assert!(broken > 10 && several <= broken / 10, "{broken} broken, {several} by several failures");
}

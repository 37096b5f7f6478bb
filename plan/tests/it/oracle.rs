//! The proof against brute force: on small pipelines of every kind its verdict is what the machine does when every event
//! is tried in every order.
//!
//! A few hundred pipelines in every test run. `LOCKSTEP_ORACLE=5000 cargo test -p lockstep-plan --release oracle` tries more,
//! `LOCKSTEP_ORACLE_SEED` others.

use crate::build::{Builder, Shape, ask, retry, rule};
use crate::explore::{Adversary, World};
use lockstep_plan::machine::{State, StepStatus};
use lockstep_plan::proof::{Promise, is_mixed, prove};
use lockstep_plan::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

/// Pipelines with more states than this are left out, and counted.
const MOST_STATES: usize = 40_000;

/// A stage: its words, the rules of its workflow, a rollback block and whether that undoes what it stands for.
#[derive(Debug, Clone)]
struct StageSpec {
    words: Vec<String>,
    rules: Vec<Rule>,
    block: Option<bool>,
    skippable: bool,
}

/// A pipeline with one promise.
#[derive(Debug, Clone)]
struct Spec {
    branches: Vec<Vec<StageSpec>>,
    /// For each branch, whether its lane begins with an approval.
    approvals: Vec<bool>,
    /// For each barrier and branch where it stands, if it does, and whether a condition decides.
    barriers: Vec<Vec<Option<(usize, bool)>>>,
    max: Option<u32>,
    /// A later item that may fail, and the pipeline's own rule.
    later: Option<Reaction>,
    pairs: bool,
}

fn reactions() -> impl Strategy<Value = Reaction> {
    let last = prop_oneof![
        9 => Just(Reaction::Rollback),
        2 => Just(Reaction::Ignore),
        2 => Just(Reaction::Succeed),
        1 => Just(Reaction::Fail),
        1 => Just(Reaction::Abort),
        2 => Just(Reaction::RollbackPhase),
    ];
    (last, 0..8u32).prop_map(|(last, around)| match around {
        0 => retry(1, last),
        1 => ask(last),
        2 => retry(1, ask(last)),
        _ => last,
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let kinds = prop_oneof![
        2 => Just(vec![]),
        2 => Just(vec![Kind::Application]),
        2 => Just(vec![Kind::Barrier]),
        1 => Just(vec![Kind::Verification]),
        1 => Just(vec![Kind::ApprovalRejected, Kind::Timeout]),
    ];
    let one = (kinds, reactions()).prop_map(|(kinds, reaction)| rule(&kinds, reaction)).boxed();
    prop_oneof![
        3 => Just(Vec::new()),
        3 => prop::collection::vec(one.clone(), 1..2),
        1 => prop::collection::vec(one, 2..3),
    ]
}

fn stage() -> impl Strategy<Value = StageSpec> {
    let word = prop_oneof![
        8 => Just("x!"),
        6 => Just("u"),
        2 => Just("w~"),
        1 => Just("k!!"),
        1 => Just("m!&n"),
        1 => Just("m!&n!"),
        1 => Just("c!?"),
        1 => Just("c?"),
        1 => Just("@g"),
        2 => Just("/"),
    ];
    let block = prop_oneof![6 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    (prop::collection::vec(word, 1..4), rules(), block, prop::bool::weighted(0.1)).prop_map(
        |(words, rules, block, skippable)| {
            // Names are unique in a stage.
            let numbered = words.iter().enumerate().map(|(at, word)| {
                word.split('&')
                    .map(|word| match word.trim_start_matches('@') {
                        "/" => "/".to_owned(),
                        rest => {
                            let sign = if word.starts_with('@') { "@" } else { "" };
                            format!("{sign}{}{at}{}", &rest[..1], &rest[1..])
                        }
                    })
                    .collect::<Vec<_>>()
                    .join("&")
            });
            StageSpec { words: numbered.collect(), rules, block, skippable }
        },
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    let lane =
        prop_oneof![5 => prop::collection::vec(stage(), 1..2), 1 => prop::collection::vec(stage(), 2..3)];
    let place = prop::option::weighted(0.8, (0usize..5, prop::bool::weighted(0.15)));
    let barriers = prop::collection::vec(prop::collection::vec(place, 3), 0..3);
    let later = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Reaction::RollbackPipeline)),
        1 => Just(Some(Reaction::Ignore)),
    ];
    (
        prop::collection::vec(lane, 2..4),
        prop::collection::vec(prop::bool::weighted(0.1), 3),
        barriers,
        prop::option::weighted(0.25, 1u32..3),
        later,
        prop::bool::weighted(0.5),
    )
        .prop_map(|(branches, approvals, barriers, max, later, pairs)| Spec {
            branches,
            approvals,
            // With `max` a group with barriers could not finish: another rule's matter.
            barriers: if max.is_some() { Vec::new() } else { barriers },
            max,
            later,
            pairs,
        })
}

/// A condition that is not decided before the run.
fn open(plan: &mut Plan, name: String) -> ConditionId {
    plan.conditions.push(Expr::Param(name));
    ConditionId(plan.conditions.len() as u32 - 1)
}

impl Spec {
    fn plan(&self) -> Plan {
        let mut texts: Vec<Vec<(String, String, Vec<Rule>)>> = Vec::new();
        for (branch, stages) in self.branches.iter().enumerate() {
            let mut words: Vec<Vec<String>> = stages.iter().map(|stage| stage.words.clone()).collect();
            // In one order everywhere, so that nobody waits for ever: each stands behind the one before.
            let mut least = 0;
            for (number, places) in self.barriers.iter().enumerate() {
                let Some((at, open)) = places[branch] else { continue };
                let total: usize = words.iter().map(Vec::len).sum();
                let mut at = at.clamp(least, total.max(least)).min(total);
                least = at + 1;
                let sign = if open { "?" } else { "" };
                let word = format!("|{}{sign}", ["p", "q"][number]);
                for stage in &mut words {
                    if at <= stage.len() {
                        stage.insert(at, word.clone());
                        break;
                    }
                    at -= stage.len();
                }
            }
            let mut lane: Vec<(String, String, Vec<Rule>)> = Vec::new();
            if self.approvals[branch] {
                lane.push((format!("@ok{branch}"), String::new(), Vec::new()));
            }
            for (at, (stage, words)) in stages.iter().zip(&words).enumerate() {
                lane.push((format!("s{branch}{at}"), words.join(" "), stage.rules.clone()));
            }
            texts.push(lane);
        }
        let branches: Vec<Vec<(&str, &str, &[Rule])>> = texts
            .iter()
            .map(|lane| lane.iter().map(|(n, w, r)| (n.as_str(), w.as_str(), r.as_slice())).collect())
            .collect();
        let branches: Vec<&[(&str, &str, &[Rule])]> = branches.iter().map(Vec::as_slice).collect();
        let mut builder = Builder::default().group(Shape { promise: true, max: self.max }, &branches);
        if self.later.is_some() {
            builder = builder.group(Shape::default(), &[&[("later", "z", &[])]]);
        }
        for (branch, stages) in self.branches.iter().enumerate() {
            for (at, stage) in stages.iter().enumerate() {
                if stage.block.is_some() {
                    builder = builder.rollback(&format!("s{branch}{at}"), 0, &format!("|back{at} v"));
                }
            }
        }
        let mut plan = builder.done();
        for (branch, stages) in self.branches.iter().enumerate() {
            for (at, spec) in stages.iter().enumerate() {
                let name = format!("s{branch}{at}");
                let id = plan.stages.iter().position(|stage| stage.name == name).expect("the stage");
                if let Some(covers) = spec.block {
                    let Some(BlockItem::Steps(steps)) =
                        plan.stages[id].phases[0].rollback.as_ref().and_then(|block| block.last()).cloned()
                    else {
                        panic!("a step at the end of the block")
                    };
                    for step in plan.steps.iter_mut().filter(|step| {
                        step.stage.index() == id && step.phase == Some(0) && step.role == Role::Forward
                    }) {
                        if matches!(step.undo, Undo::Derived(_)) {
                            step.undo = if covers { Undo::Block(steps[0]) } else { Undo::None };
                        }
                    }
                }
                if spec.skippable {
                    let condition = open(&mut plan, format!("skip {name}"));
                    plan.stages[id].when.push(condition);
                }
            }
        }
        plan.rules.extend(self.later.clone().map(|reaction| rule(&[], reaction)));
        plan
    }

    /// What the rules can tell apart.
    fn kinds(&self) -> Vec<Kind> {
        let rules = self.branches.iter().flatten().flat_map(|stage| &stage.rules);
        let mut kinds: BTreeSet<Kind> = rules.flat_map(|rule| rule.kinds.clone()).collect();
        kinds.insert(Kind::Application);
        // A barrier's breaking, a person's no and a timeout come by themselves.
        kinds.retain(|kind| !matches!(kind, Kind::Barrier | Kind::ApprovalRejected | Kind::Timeout));
        kinds.into_iter().collect()
    }
}

/// Every set of answers to the plan's conditions.
fn worlds(plan: &Plan) -> Vec<Vec<bool>> {
    let count = plan.conditions.len();
    (0..1u32 << count).map(|bits| (0..count).map(|at| bits >> at & 1 == 0).collect()).collect()
}

fn decided(plan: &Plan, world: &[bool]) -> Plan {
    let mut plan = plan.clone();
    for (condition, holds) in plan.conditions.iter_mut().zip(world) {
        *condition = Expr::Value(Value::Bool(*holds));
    }
    plan
}

/// The property again, in other words than the proof's: what is changed in the end, and what should be.
fn breaks(plan: &Plan, state: &State) -> bool {
    let mut all_new = true;
    let mut all_old = true;
    for branch in &plan.items[0].branches {
        let stages: Vec<usize> = branch
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Stage(stage) => Some(stage.index()),
                Part::Approval(_) => None,
            })
            .collect();
        let changing: Vec<usize> = (0..plan.steps.len())
            .filter(|at| {
                let step = &plan.steps[*at];
                step.role == Role::Forward && step.changes && stages.contains(&step.stage.index())
            })
            .collect();
        if changing.iter().all(|step| state.steps[*step].attempts == 0) {
            continue;
        }
        let taken_back = |step: usize| match plan.steps[step].undo {
            Undo::Derived(undo) | Undo::Block(undo) => {
                state.steps[undo.index()].status == StepStatus::Succeeded
            }
            _ => false,
        };
        all_old &= changing.iter().all(|step| state.steps[*step].attempts == 0 || taken_back(*step));
        let good = |stage: &usize| {
            matches!(
                state.stage_outcome(StageId(*stage as u32)),
                Some(StageOutcome::Succeeded | StageOutcome::Skipped)
            )
        };
        let stands_failed =
            |step: &usize| matches!(state.steps[*step].status, StepStatus::Ignored | StepStatus::Failed);
        all_new &= stages.iter().all(good) && !changing.iter().any(stands_failed);
    }
    !all_new && !all_old
}

/// Whether any execution of the machine breaks the promise; nothing when there are too many states to see. A crash is
/// an execution like any other: what a resumed run knows is its journal folded again, which is tried at every end.
fn by_force(plan: &Plan, adversary: &Adversary, most: usize, states: &Cell<usize>) -> Option<bool> {
    let hashers = [RandomState::new(), RandomState::new()];
    let print = |world: &World| (hashers[0].hash_one(world), hashers[1].hash_one(world));
    let mut seen = HashSet::new();
    let mut stack = vec![World::begin(plan).0];
    while let Some(world) = stack.pop() {
        if !seen.insert(print(&world)) {
            continue;
        }
        if seen.len() > most {
            return None;
        }
        if world.state.is_finished() {
            if breaks(plan, &world.state) {
                states.set(states.get() + seen.len());
                return Some(true);
            }
            assert!(!is_mixed(plan, &world.state, ItemId(0)), "the two ways of saying the property differ");
            continue;
        }
        let moves = world.moves(plan, adversary);
        assert!(!moves.is_empty(), "it waits for ever");
        for (event, fails) in moves {
            let mut next = world.clone();
            next.fold(plan, event, fails);
            stack.push(next);
        }
    }
    states.set(states.get() + seen.len());
    Some(false)
}

#[derive(Default)]
struct Tally {
    judged: Cell<u32>,
    broken: Cell<u32>,
    unproved: Cell<u32>,
    too_large: Cell<u32>,
    states: Cell<usize>,
}

fn judge(spec: &Spec, most: usize, tally: &Tally) -> Result<(), TestCaseError> {
    let plan = spec.plan();
    if plan.conditions.len() > 4 {
        return Ok(());
    }
    let adversary = Adversary {
        kinds: spec.kinds(),
        failures: if spec.pairs { 3 } else { 2 },
        timeouts: true,
        ..Adversary::default()
    };
    let mut forced = false;
    for world in worlds(&plan) {
        match by_force(&decided(&plan, &world), &adversary, most, &tally.states) {
            Some(found) => forced |= found,
            None => {
                tally.too_large.set(tally.too_large.get() + 1);
                return Ok(());
            }
        }
        if forced {
            break;
        }
    }
    let all = |_: &[ConditionId]| Some(worlds(&plan));
    let proofs = prove(&plan, &all);
    prop_assert_eq!(proofs.len(), 1);
    tally.judged.set(tally.judged.get() + 1);
    match &proofs[0].promise {
        Promise::Kept => prop_assert!(!forced, "proved, but the machine can end mixed"),
        Promise::Broken(found) => {
            tally.broken.set(tally.broken.get() + 1);
            prop_assert!(forced, "not found by force: {:?}", found);
        }
        Promise::Unproved(_) => {
            tally.unproved.set(tally.unproved.get() + 1);
            prop_assert!(forced, "neither proved nor broken");
        }
    }
    Ok(())
}

#[test]
fn the_proof_says_what_the_machine_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let most = if number("LOCKSTEP_ORACLE").is_some() { MOST_STATES } else { MOST_STATES / 10 };
    let cases = number("LOCKSTEP_ORACLE").unwrap_or(48);
    let seed = number("LOCKSTEP_ORACLE_SEED").unwrap_or(1).to_le_bytes();
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&seed);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tally = Tally::default();
    let result = runner.run(&spec(), |spec| judge(&spec, most, &tally));
    let seen = format!(
        "{} pipelines judged, {} broken, {} unproved, {} too large, {} states",
        tally.judged.get(),
        tally.broken.get(),
        tally.unproved.get(),
        tally.too_large.get(),
        tally.states.get()
    );
    if let Err(error) = result {
        panic!("{seen}\n{error}");
    }
    // The pipelines are worth something: many keep their promise, many do not.
    assert!(tally.judged.get() * 2 > cases && tally.broken.get() * 10 > cases, "{seen}");
    if std::env::var_os("LOCKSTEP_ORACLE").is_some() {
        panic!("{seen}: this is no failure, only the way to say it");
    }
}

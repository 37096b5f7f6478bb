//! The proof against brute force: on small pipelines of every kind its verdict is what the machine does when every event
//! is tried in every order.
//!
//! Some in every test run. More, which takes minutes and says what was seen:
//! `LOCKSTEP_ORACLE=10000 cargo test -p lockstep-plan --release --test it oracle -- --nocapture`; `LOCKSTEP_ORACLE_SEED` chooses
//! others.

use crate::explore::{Adversary, World};
use crate::generate::{Listed, Spec, decided, open_conditions, spec, worlds};
use lockstep_plan::machine::{State, StepStatus};
use lockstep_plan::proof::{self, Effort, Promise, is_mixed, prove};
use lockstep_plan::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

/// Pipelines with more states than this are left out, and counted.
const MOST_STATES: usize = 12_000;

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

/// What led to a state, last first.
struct Journal(Event, bool, Option<Rc<Journal>>);

/// Whether any execution of the machine breaks the promise; nothing when there are too many states to see.
///
/// A crash is among them: of every hundredth state the journal is folded again, as resuming does, and what comes of it is
/// that very state with the same commands without an answer. So whatever can follow a crash follows without one, but for an
/// attempt that nobody knows the end of, which is a failure like others.
fn by_force(plan: &Plan, adversary: &Adversary, tally: &mut Tally) -> Option<bool> {
    let hasher = RandomState::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut stack: Vec<(World, Option<Rc<Journal>>)> = vec![(World::begin(plan).0, None)];
    let mut forced = false;
    while let Some((world, journal)) = stack.pop() {
        if !seen.insert(hasher.hash_one(&world)) {
            continue;
        }
        if seen.len() > tally.most {
            return None;
        }
        if seen.len().is_multiple_of(100) {
            assert!(resumed(plan, journal.as_deref()) == world, "a resumed run is somewhere else");
            tally.crashes += 1;
        }
        if world.state.is_finished() {
            if breaks(plan, &world.state) {
                forced = true;
                break;
            }
            assert!(!is_mixed(plan, &world.state, ItemId(0)), "the two ways of saying the property differ");
            continue;
        }
        let moves = world.moves(plan, adversary);
        assert!(!moves.is_empty(), "it waits for ever");
        for (event, fails) in moves {
            let mut next = world.clone();
            next.fold(plan, event.clone(), fails);
            stack.push((next, Some(Rc::new(Journal(event, fails, journal.clone())))));
        }
    }
    tally.states += seen.len();
    Some(forced)
}

/// The run as its journal tells it to a process that knows nothing else.
fn resumed(plan: &Plan, journal: Option<&Journal>) -> World {
    let entries: Vec<&Journal> = std::iter::successors(journal, |entry| entry.2.as_deref()).collect();
    let mut world = World::begin(plan).0;
    for Journal(event, fails, _) in entries.into_iter().rev() {
        world.fold(plan, event.clone(), *fails);
    }
    world
}

/// What was seen.
#[derive(Default)]
struct Tally {
    /// How many states are looked at in one world of one pipeline.
    most: usize,
    kept: u32,
    broken: u32,
    unproved: u32,
    /// Kept promises for which the machine had to be asked.
    refuted: u32,
    /// Broken promises that take more failures than force tries at first.
    rare: u32,
    left_out: u32,
    states: usize,
    crashes: u32,
    /// By feature: kept, broken.
    features: BTreeMap<&'static str, (u32, u32)>,
}

impl Tally {
    fn text(&self) -> String {
        let judged = self.kept + self.broken + self.unproved;
        let mut text = format!(
            "{judged} pipelines judged: {} keep their promise ({} of them only by the machine's word), {} break it ({} of them by many failures at once), {} are not proved; {} left out, being too large; {} states, {} crashes",
            self.kept,
            self.refuted,
            self.broken,
            self.rare,
            self.unproved,
            self.left_out,
            self.states,
            self.crashes
        );
        for (feature, (kept, broken)) in &self.features {
            text.push_str(&format!("\n  {feature}: {kept} kept, {broken} broken"));
        }
        text
    }
}

/// [`by_force`], whatever open conditions come to.
fn any_world(plan: &Plan, adversary: &Adversary, tally: &mut Tally) -> Option<bool> {
    for world in worlds(plan) {
        if by_force(&decided(plan, &world), adversary, tally)? {
            return Some(true);
        }
    }
    Some(false)
}

fn judge(spec: &Spec, tally: &mut Tally) -> Result<(), TestCaseError> {
    let plan = spec.plan();
    if open_conditions(&plan) > 4 {
        tally.left_out += 1;
        return Ok(());
    }
    let adversary = spec.adversary();
    let Some(mut forced) = any_world(&plan, &adversary, tally) else {
        tally.left_out += 1;
        return Ok(());
    };
    let all = |_: &[ConditionId]| -> Option<Box<dyn proof::World>> { Some(Box::new(Listed::all(&plan))) };
    let proofs = prove(&plan, &all, &mut Effort::new(usize::MAX));
    prop_assert_eq!(proofs.len(), 1);
    if !forced && matches!(proofs[0].promise, Promise::Broken(_)) {
        // It may take more at once than force has tried: waits that run out one after another, and then a failure.
        let patient = Adversary { failures: 6, ..adversary };
        let Some(found) = any_world(&plan, &patient, tally) else {
            tally.left_out += 1;
            return Ok(());
        };
        forced = found;
        tally.rare += u32::from(found);
    }
    for feature in spec.features(&plan) {
        let (kept, broken) = tally.features.entry(feature).or_default();
        *(if forced { broken } else { kept }) += 1;
    }
    // With little to spend it may give up, but says nothing else.
    let hasty = prove(&plan, &all, &mut Effort::new(200)).remove(0).promise;
    let agrees = match (&hasty, &proofs[0].promise) {
        (Promise::Kept, sure) => *sure == Promise::Kept,
        (Promise::Broken(_), sure) => matches!(sure, Promise::Broken(_)),
        (Promise::Unproved(_), _) => true,
    };
    prop_assert!(agrees, "in haste {:?}", hasty);
    match &proofs[0].promise {
        Promise::Kept => {
            tally.kept += 1;
            tally.refuted += u32::from(proofs[0].coverage.refuted > 0);
            prop_assert!(!forced, "proved, but the machine can end mixed");
        }
        Promise::Broken(found) => {
            tally.broken += 1;
            prop_assert!(forced, "not found by force: {:?}", found);
        }
        Promise::Unproved(_) => {
            tally.unproved += 1;
            prop_assert!(forced, "neither proved nor broken");
        }
    }
    Ok(())
}

#[test]
#[allow(clippy::print_stdout)]
fn the_proof_says_what_the_machine_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let wanted = number("LOCKSTEP_ORACLE");
    let cases = wanted.unwrap_or(80);
    let seed = number("LOCKSTEP_ORACLE_SEED").unwrap_or(1).to_le_bytes();
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&seed);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let most = if wanted.is_some() { MOST_STATES } else { MOST_STATES / 5 };
    let tally = RefCell::new(Tally { most, ..Tally::default() });
    let result = runner.run(&spec(), |spec| judge(&spec, &mut tally.borrow_mut()));
    let tally = tally.into_inner();
    if let Err(error) = result {
        panic!("{}\n{error}", tally.text());
    }
    if wanted.is_some() {
        println!("{}", tally.text());
    }
    // The pipelines are worth something: both verdicts are common.
    let judged = tally.kept + tally.broken + tally.unproved;
    let common = |count: u32| count * 10 >= judged * 3;
    assert!(judged * 3 > cases && common(tally.kept) && common(tally.broken), "{}", tally.text());
}

//! What holds for every pipeline, whether it promises something or not: it ends, no stage is left waiting, and what stays
//! changed although its stage did not succeed is what a rule or `irreversible` says.
//!
//! Looked at on small pipelines of every kind, every event in every order. `LOCKSTEP_ORACLE=5000` tries more, as for the oracle.

use crate::explore::{Adversary, World};
use crate::generate::{Spec, any_spec, asks_what_has_run, decided, open_conditions, worlds};
use lockstep_plan::machine::{State, StepStatus};
use lockstep_plan::proof::{Exception, exceptions};
use lockstep_plan::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

/// Pipelines with more states than this are left out, and counted.
const MOST_STATES: usize = 8_000;

enum Visit {
    Enter(Box<World>),
    Leave(u64),
}

/// Goes through every execution and hands every end over; nothing when there are too many states. Fails where an
/// execution could go round for ever, or stops before its end.
fn every_end(plan: &Plan, adversary: &Adversary, most: usize, mut end: impl FnMut(&State)) -> Option<usize> {
    let hasher = RandomState::new();
    let (mut seen, mut path): (HashSet<u64>, HashSet<u64>) = (HashSet::new(), HashSet::new());
    let mut stack = vec![Visit::Enter(Box::new(World::begin(plan).0))];
    while let Some(visit) = stack.pop() {
        let world = match visit {
            Visit::Leave(at) => {
                path.remove(&at);
                continue;
            }
            Visit::Enter(world) => world,
        };
        let at = hasher.hash_one(&world);
        assert!(!path.contains(&at), "an execution goes round for ever");
        if !seen.insert(at) {
            continue;
        }
        if seen.len() > most {
            return None;
        }
        if world.state.is_finished() {
            end(&world.state);
            continue;
        }
        path.insert(at);
        stack.push(Visit::Leave(at));
        let moves = world.moves(plan, adversary);
        assert!(!moves.is_empty(), "it waits for ever");
        for (event, fails) in moves {
            let mut next = world.clone();
            next.fold(plan, event, fails);
            stack.push(Visit::Enter(next));
        }
    }
    Some(seen.len())
}

/// Steps that changed something, whose stage did not succeed or that stand failed, and whose undo was never commanded.
fn left(plan: &Plan, state: &State) -> BTreeSet<(StepId, bool)> {
    let mut found = BTreeSet::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let it = &state.steps[index];
        if step.role != Role::Forward || !step.changes || it.attempts == 0 {
            continue;
        }
        let outcome = state.stage_outcome(step.stage).expect("every stage has ended");
        let good = outcome == StageOutcome::Succeeded && it.status != StepStatus::Ignored;
        let commanded = match step.undo {
            Undo::Derived(undo) | Undo::Block(undo) => state.steps[undo.index()].attempts > 0,
            Undo::None | Undo::Irreversible => false,
        };
        // A rollback that could not be carried out says so itself, and a person is needed.
        if !good && !commanded && outcome != StageOutcome::RollbackFailed {
            found.insert((StepId(index as u32), outcome == StageOutcome::Aborted));
        }
    }
    found
}

fn explains(exception: &Exception, step: StepId, aborted: bool) -> bool {
    match exception.verdict {
        // It leaves whatever anybody has changed and not finished.
        Verdict::Abort => aborted,
        _ => exception.steps.contains(&step),
    }
}

#[derive(Default)]
struct Tally {
    most: usize,
    judged: u32,
    left_out: u32,
    with_exceptions: u32,
    states: usize,
}

fn judge(spec: &Spec, tally: &mut Tally) {
    let plan = spec.plan();
    if open_conditions(&plan) > 3 {
        tally.left_out += 1;
        return;
    }
    let adversary = Adversary { lost: !spec.promise, ..spec.adversary() };
    let mut all_left = BTreeSet::new();
    for world in worlds(&plan) {
        let plan = decided(&plan, &world);
        let states = every_end(&plan, &adversary, tally.most, |state| all_left.extend(left(&plan, state)));
        let Some(states) = states else {
            tally.left_out += 1;
            return;
        };
        tally.states += states;
    }
    tally.judged += 1;
    let listed = exceptions(&plan);
    tally.with_exceptions += u32::from(!listed.is_empty());
    let name = |step: StepId| plan.steps[step.index()].name.as_str();
    for (step, aborted) in &all_left {
        let explained = listed.iter().any(|exception| explains(exception, *step, *aborted));
        assert!(explained, "{} stays changed, and nothing says so: {listed:?}", name(*step));
    }
    // Nor is anything listed that cannot happen. Of several barriers that break at once another one's rule may decide, so
    // that rules about barriers are left out; and a rule of the pipeline that is about some kinds may take back what those
    // leave. Where branches wait for their turn or for each other, an abort may come before there is anything to leave. And what
    // undoes a step only until that one has run may be named, although it runs whenever that one fails.
    let taken_back = plan.rules.iter().any(|rule| rule.reaction == Reaction::RollbackPipeline);
    let group = |item: &Item| item.group.is_some_and(|group| group.max.is_some());
    let queued = plan.items.iter().any(group) || plan.barriers.iter().any(|barrier| barrier.places.len() > 1);
    let plain = |exception: &&Exception| {
        let rule = exception.rule.map(|(scope, at)| &plan.scopes[scope.index()].rules[at as usize]);
        let early = exception.verdict == Verdict::Abort && queued;
        let ends = matches!(exception.verdict, Verdict::Fail | Verdict::RollbackPhase);
        rule.is_some_and(|rule| !rule.kinds.is_empty() && !rule.kinds.contains(&Kind::Barrier))
            && !(taken_back && ends || early)
            && !asks_what_has_run(&plan)
    };
    for exception in listed.iter().filter(plain) {
        let happens = all_left.iter().any(|(step, aborted)| explains(exception, *step, *aborted));
        assert!(happens, "{exception:?} never happens");
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn it_ends_and_leaves_nothing_that_is_not_said() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let wanted = number("LOCKSTEP_ORACLE");
    let seed = number("LOCKSTEP_ORACLE_SEED").unwrap_or(1).to_le_bytes();
    let mut bytes = [11; 32];
    bytes[..4].copy_from_slice(&seed);
    let cases = wanted.unwrap_or(60);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let most = if wanted.is_some() { MOST_STATES } else { MOST_STATES / 5 };
    let tally = RefCell::new(Tally { most, ..Tally::default() });
    let result = runner.run(&any_spec(), |spec| {
        judge(&spec, &mut tally.borrow_mut());
        Ok(())
    });
    let Tally { judged, left_out, with_exceptions, states, .. } = tally.into_inner();
    let seen = format!(
        "{judged} pipelines, {with_exceptions} with exceptions, {states} states; {left_out} left out"
    );
    if let Err(error) = result {
        panic!("{seen}\n{error}");
    }
    if wanted.is_some() {
        println!("{seen}");
    }
    assert!(judged * 3 > cases && with_exceptions * 4 > judged && with_exceptions < judged, "{seen}");
}

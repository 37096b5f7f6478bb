//! What the law says of rollbacks, aborts and what a person may do, tried in every execution of small plans.

use crate::build::{Builder, Shape, ask, retry, rule};
use crate::explore::{Adversary, explore};
use lockstep_plan::machine::StepStatus;
use lockstep_plan::*;
use std::collections::BTreeSet;

const PLAIN: Shape = Shape { max: None, promise: false };
const PROMISE: Shape = Shape { max: None, promise: true };

fn failing(failures: u32) -> Adversary {
    Adversary { kinds: vec![Kind::Application], failures, ..Adversary::default() }
}

fn person(failures: u32) -> Adversary {
    Adversary { person: true, ..failing(failures) }
}

/// The rollback steps of a story, in the order in which their first attempts started.
fn undone(plan: &Plan, told: &[Happening]) -> Vec<String> {
    let started = told.iter().filter_map(|happening| match happening {
        Happening::StepStarted(step, _) if plan.steps[step.index()].role != Role::Forward => {
            Some(plan.steps[step.index()].name.clone())
        }
        _ => None,
    });
    started.collect()
}

/// The story of the run in which that step fails.
fn story(plan: &Plan, step: &str) -> Vec<String> {
    let step = plan.step_named(step).expect("a step of that name");
    let scenario = Scenario { fail: [(step, Kind::Application)].into(), ..Scenario::default() };
    let told: Vec<Happening> = simulate(plan, &scenario).events.into_iter().map(|(_, it)| it).collect();
    undone(plan, &told)
}

/// "Undo goes over executed phases, last first, in them over executed changing steps, last first … a `rollback` block
/// replaces the derived order, and a block step named by some `undone_by` runs only if that step was executed."
#[test]
fn undo_goes_backwards_over_what_was_executed() {
    let stage: &[(&str, &str, &[Rule])] = &[("a", "x! y!&z! / b! c! / d! e f!", &[])];
    let mut plan = Builder::default().group(PLAIN, &[stage]).rollback("a", 1, "r s t").done();
    assert_eq!(story(&plan, "a.p1.y"), ["a.p1.z.undo", "a.p1.y.undo", "a.p1.x.undo"]);
    let block = ["a.p2.rollback.r", "a.p2.rollback.s", "a.p2.rollback.t"];
    let first = ["a.p1.z.undo", "a.p1.y.undo", "a.p1.x.undo"];
    assert_eq!(story(&plan, "a.p3.e"), [&["a.p3.d.undo"], &block[..], &first[..]].concat());
    // `s` undoes `c` by name: it runs only where `c` was executed.
    let s = plan.step_named("a.p2.rollback.s").expect("the block's step");
    let c = plan.step_named("a.p2.c").expect("the step");
    plan.steps[c.index()].undo = Undo::Block(s);
    assert_eq!(story(&plan, "a.p2.b"), [&[block[0], block[2]], &first[..]].concat());
    assert_eq!(story(&plan, "a.p2.c"), [&block[..], &first[..]].concat());
    // The workflow's block replaces all of it.
    plan.stages[0].rollback = plan.stages[0].phases[1].rollback.take();
    assert_eq!(story(&plan, "a.p3.e"), block);
    // Only the phase, and the stage ends failed.
    plan.stages[0].rollback = None;
    plan.scopes.push(Scope { owner: "step f".into(), rules: vec![rule(&[], Reaction::RollbackPhase)] });
    let f = plan.step_named("a.p3.f").expect("the step");
    plan.steps[f.index()].scopes.push(ScopeId(plan.scopes.len() as u32 - 1));
    assert_eq!(story(&plan, "a.p3.f"), ["a.p3.f.undo", "a.p3.d.undo"]);
    let scenario = Scenario { fail: [(f, Kind::Application)].into(), ..Scenario::default() };
    let end = simulate(&plan, &scenario).state;
    assert_eq!(end.stage_outcome(StageId(0)), Some(StageOutcome::Failed));
    // All of it is taken back then: the rest, and nothing twice.
    plan.rules.push(rule(&[], Reaction::RollbackPipeline));
    let told = story(&plan, "a.p3.f");
    assert_eq!(told[..2], ["a.p3.f.undo", "a.p3.d.undo"]);
    assert_eq!(told[told.len() - 3..], first);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
    let end = simulate(&plan, &scenario).state;
    assert_eq!(end.stage_outcome(StageId(0)), Some(StageOutcome::RolledBack));
}

/// "Rollback steps … connectivity and timeout are retried 5 times every 10s, 30s, 1m, then … `rollback_failed`; others go on."
#[test]
fn rollback_steps_try_lost_connections_again() {
    let plan = Builder::default()
        .group(PLAIN, &[&[("a", "w! x! |all", &[])], &[("b", "y! |all", &[])], &[("c", "z |all", &[])]])
        .done();
    let step = |name| plan.step_named(name).expect("the step");
    for (kind, attempts) in [(Kind::Connectivity, 6), (Kind::Timeout, 6), (Kind::Application, 1)] {
        let fail = [(step("a.p1.x.undo"), kind), (step("c.p1.z"), Kind::Application)].into();
        let takes = [(step("c.p1.z"), 1000)].into();
        let simulation = simulate(&plan, &Scenario { fail, takes, ..Scenario::default() });
        let waits: Vec<u64> = simulation
            .events
            .iter()
            .filter_map(|(_, happening)| match happening {
                Happening::StepFailed {
                    decision: Decision { verdict: Verdict::Retry(wait), .. }, ..
                } => Some(*wait),
                _ => None,
            })
            .collect();
        let all = [10_000, 30_000, 60_000, 60_000, 60_000];
        assert_eq!(waits, all[..attempts as usize - 1]);
        let state = simulation.state;
        assert_eq!(state.steps[step("a.p1.x.undo").index()].attempts, attempts);
        assert_eq!(state.stage_outcome(StageId(0)), Some(StageOutcome::RollbackFailed));
        assert_eq!(state.stage_outcome(StageId(1)), Some(StageOutcome::RolledBack));
        // Nothing further of that stage is undone.
        assert_eq!(state.steps[step("a.p1.w.undo").index()].attempts, 0);
    }
}

/// Rules of rollback steps: retry, ask, ignore, fail; nothing of a failed rollback starts, in parallel blocks too.
#[test]
fn rollback_steps_have_rules_and_stop_together() {
    let rules = [
        vec![rule(&[], Reaction::Fail)],
        vec![rule(&[], Reaction::Ignore)],
        vec![rule(&[], retry(1, Reaction::Fail))],
        vec![rule(&[], retry(1, ask(Reaction::Ignore)))],
        vec![rule(&[], ask(retry(1, Reaction::Fail)))],
        vec![],
    ];
    for rules in rules {
        let mut plan =
            Builder::default().group(PLAIN, &[&[("a", "x! y", &[])]]).rollback("a", 0, "r s t u").done();
        // `s` and `t` run in parallel.
        let block = plan.stages[0].phases[0].rollback.as_mut().expect("the block");
        let BlockItem::Steps(moved) = block.remove(2) else { panic!("a step") };
        let BlockItem::Steps(steps) = &mut block[1] else { panic!("a step") };
        steps.extend(moved);
        let scope = ScopeId(plan.scopes.len() as u32);
        plan.scopes.push(Scope { owner: "steps".into(), rules });
        plan.steps
            .iter_mut()
            .filter(|step| step.role == Role::Block)
            .for_each(|step| step.scopes.push(scope));
        let explored = explore(&plan, &Adversary { rollbacks: true, lost: true, person: true, ..failing(3) });
        let outcomes: Vec<_> = explored.ends.iter().map(|(_, ends)| ends[0]).collect();
        for outcome in [StageOutcome::Succeeded, StageOutcome::RolledBack, StageOutcome::RollbackFailed] {
            assert!(outcomes.contains(&outcome), "{outcomes:?}");
        }
    }
}

/// A step of a parallel block that cannot even be started stops those beside it.
#[test]
fn nothing_starts_in_a_rollback_that_has_failed() {
    let mut plan = Builder::default().group(PLAIN, &[&[("a", "x! y", &[])]]).rollback("a", 0, "r s").done();
    let block = plan.stages[0].phases[0].rollback.as_mut().expect("the block");
    let BlockItem::Steps(moved) = block.remove(1) else { panic!("a step") };
    let BlockItem::Steps(steps) = &mut block[0] else { panic!("a step") };
    steps.extend(moved);
    let r = plan.step_named("a.p1.rollback.r").expect("the step");
    plan.steps[r.index()].action.arguments.insert("script".into(), Expr::Param("unknown".into()));
    assert!(story(&plan, "a.p1.y").is_empty());
}

/// "A rollback step's `under`" counts as everywhere.
#[test]
fn under_counts_in_rollback_rules_too() {
    let mut plan = Builder::default().group(PLAIN, &[&[("a", "x! y", &[])]]).done();
    let undo = plan.step_named("a.p1.x.undo").expect("the step");
    plan.scopes.push(Scope {
        owner: "step".into(),
        rules: vec![Rule { under: Some(20), ..rule(&[], Reaction::Ignore) }],
    });
    plan.steps[undo.index()].scopes.push(ScopeId(0));
    let y = plan.step_named("a.p1.y").expect("the step");
    let fail = [(y, Kind::Application), (undo, Kind::Application)].into();
    let end = simulate(&plan, &Scenario { fail, ..Scenario::default() }).state;
    assert_eq!(end.stage_outcome(StageId(0)), Some(StageOutcome::RollbackFailed));
}

/// "A person's rollback of a running run covers the whole run": whatever it is in the middle of, the promise's own rollback
/// of a lane included; and "last first".
#[test]
fn a_persons_rollback_finds_the_run_in_every_state() {
    let asks = [rule(&[], ask(Reaction::Fail)), rule(&[Kind::Barrier], ask(Reaction::Ignore))];
    let phase = [rule(&[], Reaction::RollbackPhase)];
    let fails = [rule(&[], retry(1, Reaction::Fail))];
    let groups: [(Shape, &[&[(&str, &str, &[Rule])]]); 7] = [
        (PROMISE, &[&[("a", "x!", &[]), ("b", "y!", &[]), ("c", "z!", &[])]]),
        (PROMISE, &[&[("a", "x!", &[])], &[("b", "y!", &[]), ("@go", "", &[]), ("c", "z!", &[])]]),
        (PLAIN, &[&[("a", "x!", &asks)], &[("b", "y!&z!", &fails)]]),
        (PLAIN, &[&[("a", "x! / y! z!", &phase), ("b", "w!", &[])]]),
        (PLAIN, &[&[("a", "x! |all", &asks)], &[("b", "y! |all", &[])]]),
        (PLAIN, &[&[("@go", "", &[])], &[("b", "@y z!", &[])]]),
        (
            Shape { max: Some(1), promise: true },
            &[&[("a", "x!", &[])], &[("b", "y!", &[]), ("c", "z!", &[])]],
        ),
    ];
    for (shape, group) in groups {
        let plan = Builder::default().group(PLAIN, &[&[("first", "f!", &[])]]).group(shape, group).done();
        let explored = explore(&plan, &person(2));
        for (state, told) in &explored.finals {
            if !told.iter().any(|it| matches!(it, Happening::RollbackRequested(_))) {
                continue;
            }
            assert_eq!(state.outcome(), Some(RunOutcome::RolledBack), "{told:#?}");
            for (index, step) in plan.steps.iter().enumerate() {
                if let (Undo::Derived(undo), true) = (&step.undo, state.steps[index].attempts > 0) {
                    let status = &state.steps[undo.index()].status;
                    assert_eq!(*status, StepStatus::Succeeded, "{} stands: {told:#?}", step.name);
                }
            }
            // Last first: nothing of a lane or of an earlier item while something later is not undone.
            let at = |wanted: &dyn Fn(&Happening) -> bool| told.iter().position(wanted);
            for stage in 0..plan.stages.len() as u32 {
                let started = at(&|it| *it == Happening::RollbackStarted(StageId(stage)));
                for later in (stage + 1)..plan.stages.len() as u32 {
                    let (one, two) = (&plan.stages[stage as usize], &plan.stages[later as usize]);
                    let ordered = one.item != two.item || one.branch == two.branch;
                    let last = told.iter().rposition(|it| match it {
                        Happening::StageEnded(it, outcome) => {
                            *it == StageId(later) && *outcome != StageOutcome::NotStarted
                        }
                        _ => false,
                    });
                    assert!(!ordered || started.is_none() || last < started, "{told:#?}");
                }
            }
        }
    }
}

/// A run that a person rolled back did not succeed, even where there was nothing to undo.
#[test]
fn a_run_that_was_rolled_back_before_it_did_anything_did_not_succeed() {
    let plan = Builder::default().group(PLAIN, &[&[("@go", "", &[])]]).done();
    let explored = explore(&plan, &person(0));
    let asked = |told: &[Happening]| told.iter().any(|it| matches!(it, Happening::RollbackRequested(_)));
    for (state, told) in &explored.finals {
        if asked(told) {
            assert_eq!(state.outcome(), Some(RunOutcome::RolledBack));
        }
    }
    assert!(explored.finals.iter().any(|(_, told)| asked(told)));
}

/// "Rollback barriers … wait for stages that are failed or doomed and whose rollback will reach the name; everybody else is
/// excused; when the wait times out, rollback goes on."
#[test]
fn rollback_barriers_wait_for_those_who_come_and_for_nobody_else() {
    let fail = [rule(&[], Reaction::Fail)];
    for (shape, rules) in [(PLAIN, &[][..]), (PLAIN, &fail[..]), (PROMISE, &[][..])] {
        let plan = Builder::default()
            .group(
                shape,
                &[
                    &[("a", "x! w! |all", rules), ("d", "q!", &[])],
                    &[("b", "y! |all v!", &[])],
                    &[("c", "z! |all", &[])],
                ],
            )
            .rollback("a", 0, "u |back")
            .rollback("b", 0, "u |back")
            .done();
        let adversary = Adversary { person: shape.promise, rollbacks: !shape.promise, ..failing(1) };
        let explored = explore(&plan, &adversary);
        let barrier = plan.barriers.iter().position(|it| it.kind == BarrierKind::Rollback).expect("it");
        let mut together = 0;
        for (_, told) in &explored.finals {
            let arrived = |stage: u32| {
                told.iter().position(|it| match it {
                    Happening::BarrierArrived(place) => {
                        let place = &plan.places[place.index()];
                        place.barrier.index() == barrier && place.stage == Some(StageId(stage))
                    }
                    _ => false,
                })
            };
            let opened =
                told.iter().position(|it| *it == Happening::BarrierOpened(BarrierId(barrier as u32)));
            if let (Some(one), Some(other), Some(opened)) = (arrived(0), arrived(2), opened) {
                together += usize::from(one < opened && other < opened);
            }
        }
        assert_eq!(together > 0, rules.is_empty());
    }
}

/// A stage that had failed with `fail` is rolled back by a person's rollback: the others wait for it at a rollback barrier.
#[test]
fn rollback_barriers_wait_for_failed_stages_of_a_run_that_goes_back() {
    let fail = [rule(&[], Reaction::Fail)];
    let mut plan = Builder::default()
        .group(PLAIN, &[&[("a", "x! w", &fail)], &[("b", "y! v", &[])]])
        .rollback("a", 0, "u |back")
        .rollback("b", 0, "u |back")
        .done();
    plan.rules.push(rule(&[], Reaction::RollbackPipeline));
    let explored = explore(&plan, &failing(1));
    let barrier = plan.barriers.iter().position(|it| it.kind == BarrierKind::Rollback).expect("it");
    let mut seen = 0;
    for (_, told) in &explored.finals {
        let failed = told.contains(&Happening::StageEnded(StageId(0), StageOutcome::Failed));
        let both = (0..2).all(|stage| told.contains(&Happening::RollbackStarted(StageId(stage))));
        if !failed || !both {
            continue;
        }
        seen += 1;
        let arrivals = |told: &[Happening]| {
            let here = |it: &&Happening| match it {
                Happening::BarrierArrived(place) => plan.places[place.index()].barrier.index() == barrier,
                _ => false,
            };
            told.iter().filter(here).count()
        };
        let opened = told.iter().position(|it| *it == Happening::BarrierOpened(BarrierId(barrier as u32)));
        assert_eq!(opened.map(|at| arrivals(&told[..at])), Some(2), "{told:#?}");
    }
    assert!(seen > 0);
}

/// "Abort … rollbacks stop after their running step": those that wait at a rollback barrier or back off, too.
#[test]
fn abort_stops_rollbacks_wherever_they_are() {
    let plan = Builder::default()
        .group(PLAIN, &[&[("a", "x! |all", &[])], &[("b", "y!&z! |all", &[])]])
        .rollback("a", 0, "u |back v")
        .rollback("b", 0, "|back u v")
        .done();
    let kinds = vec![Kind::Connectivity];
    let adversary =
        Adversary { rollbacks: true, timeouts: true, records: true, lost: true, kinds, ..person(2) };
    let explored = explore(&plan, &adversary);
    let outcomes = (RunOutcome::Aborted, vec![StageOutcome::Aborted; 2]);
    assert!(explored.ends.contains(&outcomes), "{:?}", explored.ends);
}

/// "Pipeline rules apply when the item has ended."
#[test]
fn pipeline_rules_apply_when_the_item_has_ended() {
    let pipeline = |reaction: Option<Rule>| {
        let mut plan = Builder::default()
            .group(PLAIN, &[&[("a", "x!", &[])], &[("b", "y!", &[])]])
            .group(PLAIN, &[&[("c", "z!", &[])]])
            .done();
        plan.rules.extend(reaction);
        explore(&plan, &failing(1)).ends
    };
    use StageOutcome::{NotStarted, RolledBack, Succeeded};
    let one_failed = |run, rest: &[StageOutcome]| (run, [&[RolledBack, Succeeded][..], rest].concat());
    assert!(pipeline(None).contains(&one_failed(RunOutcome::RolledBack, &[NotStarted])));
    let ignore = pipeline(Some(rule(&[Kind::Application], Reaction::Ignore)));
    assert!(ignore.contains(&one_failed(RunOutcome::RolledBack, &[Succeeded])));
    assert!(!ignore.iter().any(|(_, ends)| ends.contains(&NotStarted)));
    let abort = pipeline(Some(rule(&[], Reaction::Abort)));
    assert!(abort.contains(&one_failed(RunOutcome::Aborted, &[NotStarted])));
    let other = pipeline(Some(rule(&[Kind::Policy], Reaction::Ignore)));
    assert_eq!(other, pipeline(None));
}

/// "what the target runs is recorded …, once, never again on retry": also when the question was asked before a doom that a
/// person called off.
#[test]
fn the_record_is_taken_once() {
    let rules = [rule(&[Kind::Barrier], ask(Reaction::Ignore)), rule(&[], retry(2, Reaction::Rollback))];
    let plan =
        Builder::default().group(PLAIN, &[&[("a", "x!&y! w! |all", &rules)], &[("b", "z |all", &[])]]).done();
    explore(&plan, &Adversary { records: true, ..failing(3) });
}

/// The pipeline's own channels hear of the first rollback, not only a stage's.
#[test]
fn the_pipelines_channels_hear_of_a_rollback_once() {
    let mut plan =
        Builder::default().group(PLAIN, &[&[("a", "x! |all", &[])], &[("b", "y! |all", &[])]]).done();
    plan.notifies.push(Notify { channels: vec!["ops".into()], events: vec![NotifyEvent::Rollback] });
    let mut state = machine::State::new(&plan);
    let mut told = 0;
    let mut agenda = vec![Event::Started { run: "r".into(), by: "b".into() }];
    while let Some(event) = agenda.pop() {
        for command in machine::step(&plan, &mut state, event) {
            match command {
                Command::Notify { event: NotifyEvent::Rollback, .. } => told += 1,
                Command::Record { stage, target, service, .. } => {
                    let record = Ok(Value::Bool(true));
                    agenda.push(Event::Recorded { stage, target, service, record });
                }
                Command::StartStep { step, attempt, .. } => {
                    let outcome = match plan.steps[step.index()].name.as_str() {
                        "a.p1.x" => Outcome::Failed(Failure::new(Kind::Application, "no")),
                        _ => Outcome::Succeeded { outputs: Default::default() },
                    };
                    agenda.push(Event::StepEnded { step, attempt, outcome });
                }
                _ => {}
            }
        }
    }
    assert_eq!((state.outcome(), told), (Some(RunOutcome::RolledBack), 1));
}

/// "`ignore`: the step stands failed and the stage goes on. `succeed`: … Both leave the step to be undone by a later rollback."
#[test]
fn what_was_passed_over_is_undone_later() {
    for passed in [Reaction::Ignore, Reaction::Succeed] {
        let rules = [rule(&[Kind::Connectivity], passed)];
        let plan = Builder::default().group(PLAIN, &[&[("a", "x! y", &rules)]]).done();
        let step = |name| plan.step_named(name).expect("the step");
        let fail = [(step("a.p1.x"), Kind::Connectivity), (step("a.p1.y"), Kind::Application)].into();
        let state = simulate(&plan, &Scenario { fail, ..Scenario::default() }).state;
        assert_eq!(state.stage_outcome(StageId(0)), Some(StageOutcome::RolledBack));
        assert_eq!(state.steps[step("a.p1.x.undo").index()].status, StepStatus::Succeeded);
    }
}

/// Nothing failed: every stage that goes back says who asked for it.
#[test]
fn what_a_person_takes_back_says_so() {
    let plan =
        Builder::default().group(PLAIN, &[&[("a", "x!", &[])]]).group(PLAIN, &[&[("b", "y!", &[])]]).done();
    let mut state = machine::State::new(&plan);
    let mut agenda = vec![Event::Started { run: "r".into(), by: "b".into() }];
    let mut asked = false;
    loop {
        let Some(event) = agenda.pop() else {
            if std::mem::replace(&mut asked, true) {
                break;
            }
            assert_eq!(state.outcome(), Some(RunOutcome::Succeeded));
            agenda.push(Event::RollbackRequested { by: "alice".into() });
            continue;
        };
        for command in machine::step(&plan, &mut state, event) {
            match command {
                Command::Record { stage, target, service, .. } => {
                    let record = Ok(Value::Bool(true));
                    agenda.push(Event::Recorded { stage, target, service, record });
                }
                Command::StartStep { step, attempt, .. } => {
                    let outcome = Outcome::Succeeded { outputs: Default::default() };
                    agenda.push(Event::StepEnded { step, attempt, outcome });
                }
                Command::AcquireClaims { claim, turn, .. } => {
                    agenda.push(Event::ClaimsGranted { claim, turn });
                }
                _ => {}
            }
        }
    }
    assert_eq!(state.outcome(), Some(RunOutcome::RolledBack));
    for stage in &state.stages {
        assert_eq!(stage.cause, Some(Cause::Person("alice".into())));
    }
}

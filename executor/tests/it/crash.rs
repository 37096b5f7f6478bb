//! Crashes at every journal entry and every command: the run ends as it would have, and nothing with a journalled
//! outcome runs twice.

use crate::support::*;
use lockstep_executor::{Drivers, End, Nobody, Point, Runner};
use lockstep_plan::*;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two stages: each deploys files, notes that it did, meets the other, and goes on.
fn two_regions(world: &World, fails: bool) -> Plan {
    fs::create_dir_all(world.path("app")).unwrap();
    fs::write(world.path("app/version"), "1").unwrap();
    let region = |name: &'static str| {
        let mut works = vec![local("deploy", "deploy"), shell("count", &format!("echo x >>count-{name}"))];
        if fails && name == "b" {
            works.push(shell("fail", "exit 1"));
        }
        works.push(W::Barrier("all"));
        works.push(shell("after", &format!("echo x >>after-{name}")));
        S { artifact: ("other", "app".into()), ..stage(name, works) }
    };
    plan(vec![region("a"), region("b")])
}

fn check_end(world: &World, end: End, fails: bool, context: &str) {
    for name in ["a", "b"] {
        let current = world.path(name).join("current/version");
        assert_eq!(current.exists(), !fails, "{context}: {name}/current");
        assert_eq!(
            world.path(&format!("after-{name}")).exists(),
            !fails,
            "{context}: nobody passes a broken barrier"
        );
    }
    let wanted = if fails { RunOutcome::RolledBack } else { RunOutcome::Succeeded };
    assert_eq!(end, End::Finished(wanted), "{context}");
}

#[tokio::test]
async fn two_regions_meet_at_a_barrier() {
    let world = World::new();
    let ended = world.run(two_regions(&world, false)).await;
    check_end(&world, ended.end, false, "no crash");
    let happenings = ended.memory.happenings.lock().unwrap();
    let opened =
        happenings.iter().filter(|(happening, _)| matches!(happening, Happening::BarrierOpened(_))).count();
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn one_failing_region_takes_the_other_back() {
    let world = World::new();
    let ended = world.run(two_regions(&world, true)).await;
    check_end(&world, ended.end, true, "no crash");
}

/// Runs with a crash at the `at`th point (from 1) that `counts`; false when there are not that many.
async fn crash_at(fails: bool, at: usize, counts: fn(Point) -> bool) -> bool {
    let world = World::new();
    let mut runner = world.runner(two_regions(&world, fails));
    let run = runner.info().id.clone();
    let seen = Arc::new(AtomicUsize::new(0));
    runner.interrupt(Arc::new(move |point| counts(point) && seen.fetch_add(1, Ordering::SeqCst) + 1 == at));
    let mut end = runner.run(Arc::new(Nobody)).await.unwrap();
    let crashed = end == End::Detached;
    let before = world.store().history(&run).unwrap();
    if crashed {
        end = Runner::resume(world.store(), Drivers::built_in(), &run)
            .unwrap()
            .run(Arc::new(Nobody))
            .await
            .unwrap();
    }
    let context = format!("fails {fails}, crash at {at}");
    check_end(&world, end, fails, &context);
    let after = world.store().history(&run).unwrap();
    assert_eq!(after[..before.len()], before, "{context}: the journal only grows");
    let mut ended: Vec<(StepId, u32)> = after
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::StepEnded { step, attempt, .. } => Some((*step, *attempt)),
            _ => None,
        })
        .collect();
    let all = ended.len();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), all, "{context}: an attempt ended twice");
    for name in ["a", "b"] {
        let count = fs::read_to_string(world.path(&format!("count-{name}"))).unwrap_or_default();
        let journalled = before.iter().any(|entry| {
            matches!(&entry.event, Event::StepEnded { step, outcome: Outcome::Succeeded { .. }, .. }
                if world.store().plan(&run).unwrap().steps[step.index()].name == format!("{name}.main.count"))
        });
        assert!(
            count.len() <= 2 || !journalled,
            "{context}: {name} counted again although its outcome was journalled"
        );
        // A supervised script is found again, so it does not even repeat without a journalled outcome.
        assert!(count == "x\n" || fails && count.is_empty(), "{context}: {name} counted {count:?}");
    }
    crashed
}

async fn crash_everywhere(fails: bool, counts: fn(Point) -> bool, at_least: usize) {
    let mut at = 1;
    while crash_at(fails, at, counts).await {
        at += 1;
    }
    assert!(at > at_least, "only {} crash points", at - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_journal_entry_changes_nothing() {
    crash_everywhere(false, |point| matches!(point, Point::Appended(_)), 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_journal_entry_of_a_failing_run_changes_nothing() {
    crash_everywhere(true, |point| matches!(point, Point::Appended(_)), 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_command_changes_nothing() {
    crash_everywhere(false, |point| point == Point::Command, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_command_of_a_failing_run_changes_nothing() {
    crash_everywhere(true, |point| point == Point::Command, 15).await;
}

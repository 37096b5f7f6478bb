//! `kill -9` of the real process that carries a run out, at every journal entry and shortly after: resumed, the run
//! ends as it would have, with one service process in each target, or none.

use crate::support::*;
use lockstep_executor::{Drivers, End, Nobody, Runner};
use lockstep_plan::*;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Names, for the process that is going to be killed, the test's directory and whether the run fails.
const VICTIM: &str = "LOCKSTEP_TEST_VICTIM";

fn regions(world: &World, fails: bool) -> Plan {
    fs::create_dir_all(world.path("app")).unwrap();
    fs::write(world.path("app/version"), "1").unwrap();
    let region = |name: &'static str| {
        let mut works = vec![local("deploy", "deploy"), shell("count", &format!("echo x >>count-{name}"))];
        if fails && name == "b" {
            works.push(shell("fail", "exit 1"));
        }
        works.push(W::Barrier("all"));
        S {
            artifact: ("other", "app".into()),
            service: vec![("start", "exec sleep 614".into()), ("check", "test -e version".into())],
            ..stage(name, works)
        }
    };
    plan(vec![region("a"), region("b")])
}

/// What the killed process runs; does nothing when it is not meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(directory) = std::env::var_os(VICTIM) else { return };
    let run = fs::read_to_string(Path::new(&directory).join("run")).unwrap();
    let store = Arc::new(lockstep_executor::Store::open(&Path::new(&directory).join("state")).unwrap());
    Runner::resume(store, Drivers::built_in(), &run).unwrap().run(Arc::new(Nobody)).await.unwrap();
}

/// How many processes of a service of that root are alive.
fn services(root: &Path) -> usize {
    let mark = format!("LOCKSTEP_ROOT={}", root.canonicalize().unwrap().display());
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.starts_with(b"sleep\x00614"))
        })
        .count()
}

/// Kills at that entry and that much later; false when the run had ended before.
async fn killed_at(fails: bool, seq: usize, later: Duration) -> bool {
    let world = World::new();
    let store = world.store();
    let run = world.runner(regions(&world, fails)).info().id.clone();
    fs::write(world.directory.path().join("run"), &run).unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::victim"])
        .env(VICTIM, world.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while store.history(&run).unwrap().len() < seq && victim.try_wait().unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    tokio::time::sleep(later).await;
    victim.kill().unwrap();
    let finished = victim.wait().unwrap().success();
    let before = store.history(&run).unwrap();
    let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
    let context = format!("fails {fails}, killed {later:?} after entry {seq}");
    let wanted = if fails { RunOutcome::RolledBack } else { RunOutcome::Succeeded };
    let told = || store.history(&run).unwrap();
    assert_eq!(end, End::Finished(wanted), "{context}: {:#?}", told());
    let after = store.history(&run).unwrap();
    assert_eq!(after[..before.len()], before, "{context}");
    for name in ["a", "b"] {
        assert_eq!(services(&world.path(name)), usize::from(!fails), "{context}: services of {name}");
        assert_eq!(world.path(name).join("current/version").exists(), !fails, "{context}");
        let count = fs::read_to_string(world.path(&format!("count-{name}"))).unwrap_or_default();
        assert!(count == "x\n" || fails && count.is_empty(), "{context}: {name} counted {count:?}");
    }
    !finished
}

async fn killed_everywhere(fails: bool) {
    let mut seq = 1;
    while seq < 50 {
        let mut any = false;
        for later in [0, 1, 3, 8] {
            any |= killed_at(fails, seq, Duration::from_millis(later)).await;
        }
        if !any {
            break;
        }
        seq += 1;
    }
    assert!(seq > 5, "killed only up to entry {seq}");
}

#[tokio::test]
async fn a_killed_run_ends_as_it_would_have() {
    killed_everywhere(false).await;
}

#[tokio::test]
async fn a_killed_failing_run_ends_as_it_would_have() {
    killed_everywhere(true).await;
}

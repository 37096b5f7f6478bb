//! `kill -9` anywhere, then `dsl resume last`: the run ends as it would have.

use crate::support::{Sandbox, said};
use serde_json::Value;
use std::collections::BTreeMap;

/// Kills a run at the first event line that holds `mark`, resumes it, and looks at the end.
fn survive(arguments: &[&str], mark: &str, code: i32, version: &str) {
    let sandbox = Sandbox::of_example("quickstart");
    said(&mut sandbox.run(&["release", "version=1.0.0"])).exits(0);
    std::fs::remove_file(sandbox.events()).expect("the events of the first run");
    assert!(sandbox.kill_at(&mut sandbox.run(arguments), mark), "the run ended before {mark}");
    let before = sandbox.status();
    // The last line may be torn, or an entry journalled whose line was never written.
    let events = std::fs::OpenOptions::new().write(true).open(sandbox.events()).expect("the events");
    events.set_len(events.metadata().expect("a size").len() - 10).expect("a shorter file");
    let told = said(sandbox.dsl("resume").arg("last").arg("--events").arg(sandbox.events())).exits(code);
    for region in ["region1", "region2"] {
        assert_eq!(
            sandbox.ask(region),
            version,
            "{region} after a crash at {mark}\n{}\n{}",
            told.out,
            told.err
        );
    }
    let after = sandbox.status();
    assert_eq!(after["barriers"]["all_regions"], if code == 0 { "open" } else { "broken" });
    journalled_outcomes_stay(&before, &after, mark);
    events_hold_everything(&sandbox, &after);
}

/// What a step had printed before the crash is read again by whoever goes on, and told once.
#[test]
fn lines_that_were_told_before_a_crash_are_not_told_again() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w {
  phase a {
    step b = shell { script = "echo one; echo two; echo two; until [ -e open ]; do sleep 0.01; done; echo three" }
  }
}
pipeline p { stage s = w {} }
"#,
    );
    assert!(sandbox.kill_at(&mut sandbox.run(&["p"]), r#""message":"two""#), "it ended early");
    std::fs::write(sandbox.module().join("open"), "").expect("a file");
    said(sandbox.dsl("resume").arg("last").arg("--events").arg(sandbox.events())).exits(0);
    let text = std::fs::read_to_string(sandbox.events()).expect("the events");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let printed: Vec<Value> =
        lines.filter(|line| line["event"] == "output").map(|line| line["message"].clone()).collect();
    assert_eq!(printed, ["one", "two", "two", "three"]);
}

/// The file of `--events` tells the whole run once, however often it was cut short.
fn events_hold_everything(sandbox: &Sandbox, status: &Value) {
    let text = std::fs::read_to_string(sandbox.events()).expect("the events");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let told: Vec<Value> = lines
        .filter(|line| line["event"] != "output")
        .map(|mut line| {
            let line = line.as_object_mut().expect("an object");
            assert_eq!(line.remove("run").as_ref(), Some(&status["run"]));
            line.remove("version");
            Value::Object(line.clone())
        })
        .collect();
    assert_eq!(Some(&told), status["events"].as_array());
}

/// What the journal knew at the crash is still there, word for word, and no attempt that had ended was begun again.
fn journalled_outcomes_stay(before: &Value, after: &Value, mark: &str) {
    let events = |status: &Value| status["events"].as_array().expect("events").clone();
    let (before, after) = (events(before), events(after));
    assert_eq!(before[..], after[..before.len()], "history changed after a crash at {mark}");
    let mut started: BTreeMap<String, u32> = BTreeMap::new();
    for event in after.iter().filter(|event| event["event"] == "step_started") {
        *started.entry(format!("{} attempt {}", event["step"], event["attempt"])).or_default() += 1;
    }
    assert!(started.values().all(|count| *count == 1), "after a crash at {mark}: {started:?}");
}

#[test]
fn when_nothing_has_been_done_yet() {
    survive(&["release", "version=2.0.0"], "run_started", 0, "hello 2.0.0");
}

#[test]
fn in_the_middle_of_a_deploy() {
    survive(
        &["release", "version=2.0.0"],
        r#""step":"region1.deploy.rollout","event":"step_started""#,
        0,
        "hello 2.0.0",
    );
}

#[test]
fn after_a_deploy() {
    survive(&["release", "version=2.0.0"], "step_succeeded", 0, "hello 2.0.0");
}

#[test]
fn while_one_region_waits_at_the_barrier() {
    let broken = ["release", "version=2.0.0", "break_region2=true"];
    survive(&broken, r#""step":"region1.wrap_up.all_regions","event":"barrier_arrived""#, 1, "hello 1.0.0");
}

#[test]
fn while_a_script_runs() {
    let broken = ["release", "version=2.0.0", "break_region2=true"];
    survive(&broken, r#""step":"region2.deploy.break_it","event":"step_started""#, 1, "hello 1.0.0");
}

#[test]
fn when_the_barrier_has_just_broken() {
    let broken = ["release", "version=2.0.0", "break_region2=true"];
    survive(&broken, "barrier_broken", 1, "hello 1.0.0");
}

#[test]
fn in_the_middle_of_a_rollback() {
    let broken = ["release", "version=2.0.0", "break_region2=true"];
    survive(&broken, r#""step":"region1.deploy.rollout.undo","event":"step_started""#, 1, "hello 1.0.0");
}

#[test]
fn after_one_region_has_rolled_back() {
    let broken = ["release", "version=2.0.0", "break_region2=true"];
    survive(&broken, r#""outcome":"rolled_back""#, 1, "hello 1.0.0");
}

#[test]
fn again_and_again() {
    let sandbox = Sandbox::of_example("quickstart");
    let broken = ["release", "version=2.0.0", "break_region2=true"];
    said(&mut sandbox.run(&["release", "version=1.0.0"])).exits(0);
    std::fs::remove_file(sandbox.events()).expect("the events of the first run");
    assert!(sandbox.kill_at(&mut sandbox.run(&broken), "run_started"));
    for mark in ["step_started", "step_succeeded", "barrier_arrived", "barrier_broken", "rollback_started"] {
        let mut resume = sandbox.dsl("resume");
        resume.args(["last", "--events"]).arg(sandbox.events());
        sandbox.kill_at(&mut resume, mark);
    }
    // A kill may come so late that the run had ended; then resuming says how.
    said(sandbox.dsl("resume").arg("last")).exits(1);
    assert_eq!(sandbox.ask("region1"), "hello 1.0.0");
    assert_eq!(sandbox.ask("region2"), "hello 1.0.0");
}

#[test]
fn a_finished_run_is_not_begun_again() {
    let sandbox = Sandbox::of_example("quickstart");
    said(&mut sandbox.run(&["release", "version=1.0.0"])).exits(0);
    let before = sandbox.status();
    said(sandbox.dsl("resume").arg("last")).exits(0);
    assert_eq!(before, sandbox.status());
}

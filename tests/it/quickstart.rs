//! The quickstart, as the README tells it.

use crate::support::{Sandbox, said};

#[test]
fn both_regions_end_on_the_new_version() {
    let sandbox = Sandbox::of_example("quickstart");
    let told = said(&mut sandbox.run(&["release", "version=1.0.0"])).exits(0);
    assert_eq!(sandbox.ask("region1"), "hello 1.0.0");
    assert_eq!(sandbox.ask("region2"), "hello 1.0.0");
    assert!(told.err.contains("barrier all_regions opened"), "{}", told.err);
    assert!(told.out.contains("region1  succeeded"), "{}", told.out);

    said(&mut sandbox.run(&["release", "version=2.0.0"])).exits(0);
    assert_eq!(sandbox.ask("region1"), "hello 2.0.0");
    assert_eq!(sandbox.ask("region2"), "hello 2.0.0");
}

#[test]
fn a_failure_in_one_region_takes_both_back() {
    let sandbox = Sandbox::of_example("quickstart");
    said(&mut sandbox.run(&["release", "version=1.0.0"])).exits(0);
    let told = said(&mut sandbox.run(&["release", "version=2.0.0", "break_region2=true"])).exits(1);
    assert_eq!(sandbox.ask("region1"), "hello 1.0.0");
    assert_eq!(sandbox.ask("region2"), "hello 1.0.0");

    // The closing table says for each stage what happened and why.
    let row = |stage: &str| told.out.lines().find(|line| line.starts_with(stage)).expect("a row").to_owned();
    assert!(row("region1").contains("rolled back"), "{}", told.out);
    assert!(
        row("region1").contains("barrier `all_regions` broke: region2.deploy.break_it failed"),
        "{}",
        told.out
    );
    assert!(row("region2").contains("region2.deploy.break_it failed (application)"), "{}", told.out);
    assert!(told.err.contains("the smoke test has found a fault"), "{}", told.err);

    // region1 was told in the very journal entry in which region2 failed, while it waited on the new version.
    let status = sandbox.status();
    assert_eq!(status["state"], "rolled_back");
    assert_eq!(status["barriers"]["all_regions"], "broken");
    let events = status["events"].as_array().expect("events").clone();
    let at = |event: &str, stage: &str| {
        let found = events.iter().find(|line| line["event"] == event && line["stage"] == stage);
        found.unwrap_or_else(|| panic!("no {event} of {stage}"))["at"].clone()
    };
    assert_eq!(at("barrier_broken", "region2"), at("stage_failing", "region1"));
    let order: Vec<&str> = events
        .iter()
        .filter(|line| line["stage"] == "region1")
        .map(|line| line["event"].as_str().expect("a word"))
        .collect();
    let expected = [
        "stage_started",
        "phase_started",
        "step_started",
        "step_succeeded",
        "step_skipped",
        "phase_started",
        "barrier_arrived",
        "stage_failing",
        "rollback_started",
        "step_started",
        "step_succeeded",
        "stage_ended",
    ];
    assert_eq!(order, expected);

    // `dsl status` explains each decision.
    let told = said(&mut sandbox.dsl("status")).exits(0).out;
    assert!(
        told.contains("barrier all_regions broken: region2.deploy.break_it failed (application)"),
        "{told}"
    );
    assert!(told.contains("fails because barrier `all_regions` is broken; rolling back"), "{told}");
}

#[test]
fn where_nothing_ran_before_nothing_runs_afterwards() {
    let sandbox = Sandbox::of_example("quickstart");
    said(&mut sandbox.run(&["release", "version=2.0.0", "break_region2=true"])).exits(1);
    for region in ["region1", "region2"] {
        assert!(!sandbox.module().join("regions").join(region).join("current").exists());
        assert!(!sandbox.module().join("regions").join(region).join("pid").exists(), "a service still runs");
    }
}

#[test]
fn a_version_that_does_not_exist_is_named() {
    let sandbox = Sandbox::of_example("quickstart");
    let told = said(&mut sandbox.run(&["release", "version=9.9.9"])).exits(1);
    assert!(told.err.contains("builds/9.9.9"), "{}", told.err);
}

#[test]
fn logs_hold_what_a_step_printed() {
    let sandbox = Sandbox::of_example("quickstart");
    said(&mut sandbox.run(&["release", "version=2.0.0", "break_region2=true"])).exits(1);
    let told = said(sandbox.dsl("logs").args(["last", "region2.deploy.break_it"])).exits(0);
    assert!(told.out.contains("the smoke test has found a fault"), "{}", told.out);
    let told = said(sandbox.dsl("logs").args(["last", "region2.deploy.brake_it"])).exits(2);
    assert!(told.err.contains("did you mean `region2.deploy.break_it`?"), "{}", told.err);
}

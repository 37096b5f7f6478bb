//! Every example is checked, planned and simulated.

use crate::support::{dsl, examples, repository, said};
use std::fs;

#[test]
fn examples_are_without_findings() {
    for example in examples() {
        said(dsl().arg("check").arg(&example).arg("--deny-warnings")).exits(0);
    }
}

#[test]
fn the_quickstart_is_planned_and_simulated() {
    let example = repository().join("examples/quickstart");
    let told = said(dsl().arg("plan").arg(&example).args(["release", "version=1.0.0"])).exits(0);
    insta::assert_snapshot!("quickstart_plan", told.out);
    let told =
        said(dsl().arg("plan").arg(&example).args(["release", "version=1.0.0", "--format", "json"])).exits(0);
    insta::assert_snapshot!("quickstart_plan_json", told.out);
    let fail = ["release", "version=1.0.0", "--fail", "region2.deploy.rollout"];
    let told = said(dsl().arg("simulate").arg(&example).args(fail)).exits(0);
    insta::assert_snapshot!("quickstart_simulated", told.out);
    let told = said(dsl().arg("simulate").arg(&example).args(fail).args(["--format", "json"])).exits(0);
    let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(value["version"], 1);
    assert_eq!(value["outcome"], "rolled_back");
    assert_eq!(value["stages"]["region1"]["outcome"], "rolled_back");
    assert_eq!(value["barriers"]["all_regions"], "broken");
}

/// The lines of `examples/plans.txt`: what is planned, under which outcomes, and how it ends.
#[test]
fn every_example_is_planned_and_simulated_as_its_table_says() {
    let root = repository().join("examples");
    let table = fs::read_to_string(root.join("plans.txt")).expect("the table");
    let mut seen = std::collections::BTreeSet::new();
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [plan, chosen, outcome] = parts[..] else { panic!("three parts in `{line}`") };
        let mut words = plan.split_whitespace();
        let module = root.join(words.next().expect("a module"));
        let arguments: Vec<&str> = words.collect();
        said(dsl().arg("plan").arg(&module).args(&arguments)).exits(0);
        let mut simulate = dsl();
        simulate.arg("simulate").arg(&module).args(&arguments).args(chosen.split_whitespace());
        let told = said(simulate.args(["--format", "json"])).exits(0);
        let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
        assert_eq!(value["outcome"], outcome, "{line}");
        seen.insert(plan.split(['/', ' ']).next().expect("a folder").to_owned());
    }
    let names = examples().into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    let missing: Vec<String> = names.filter(|name| name != "quickstart" && !seen.contains(name)).collect();
    assert!(missing.is_empty(), "no line for {missing:?}");
}

#[test]
fn every_wrong_example_is_exactly_that_wrong() {
    let wrong = repository().join("examples/wrong");
    let told = said(dsl().args(["explain", "--format", "json"])).exits(0);
    let rules: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    for rule in rules["rules"].as_array().expect("rules") {
        let name = rule["name"].as_str().expect("a name");
        let module = wrong.join(name.replace('/', "-"));
        assert!(module.join("main.lockstep").exists(), "{name} has no wrong example");
        let told = said(dsl().arg("check").arg(&module).args(["--format", "json"]));
        let found: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
        let found: Vec<&str> = found["diagnostics"]
            .as_array()
            .expect("diagnostics")
            .iter()
            .map(|diagnostic| diagnostic["rule"].as_str().expect("a name"))
            .collect();
        assert_eq!(found, [name], "{}", module.display());
        let path = module.strip_prefix(repository()).expect("below the repository");
        let told = said(dsl().current_dir(repository()).arg("check").arg(path));
        insta::with_settings!({
            snapshot_path => module.clone(), prepend_module_to_snapshot => false, omit_expression => true,
        }, {
            insta::assert_snapshot!("main", told.out);
        });
    }
}

/// What the checker refuses for a promise that breaks can be rehearsed all the same: that is how one sees it break.
#[test]
fn a_broken_promise_can_be_rehearsed() {
    let example = repository().join("examples/wrong/all-or-nothing-violated");
    let simulate = |options: &[&str]| {
        said(dsl().arg("simulate").arg(&example).args(["release", "version=1.0.0"]).args(options))
    };
    let told = simulate(&["--fail", "shop.deploy.look"]).exits(1);
    assert!(told.err.contains("all-or-nothing/violated"), "{}", told.err);
    assert!(told.err.contains("the promise of group 1 does not hold"), "{}", told.err);
    let told = simulate(&["--every-failure", "--format", "json"]).exits(1);
    let matrix: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    let scenario = matrix["scenarios"]
        .as_array()
        .expect("scenarios")
        .iter()
        .find(|scenario| scenario["fail"] == serde_json::json!(["shop.deploy.look=application"]))
        .expect("the step that can fail");
    assert_eq!(scenario["stages"]["shop"]["outcome"], "rolled_back");
    // A run that goes well keeps it, and a plan of it is still refused.
    simulate(&[]).exits(0);
    said(dsl().arg("plan").arg(&example).args(["release", "version=1.0.0"])).exits(2);
}

/// Each step can be said to fail in one way, and what is said of a barrier is about the wait there.
#[test]
fn what_is_chosen_for_a_rehearsal_is_said_once() {
    let example = repository().join("examples/quickstart");
    let simulate = |options: &[&str]| {
        said(dsl().arg("simulate").arg(&example).args(["release", "version=1.0.0"]).args(options))
    };
    let fails = "region1.deploy.rollout";
    let told = simulate(&["--fail", fails, "--fail", "region1.deploy.rollout=timeout"]).exits(2);
    for said in [format!("`--fail {fails}`"), format!("`--fail {fails}=timeout`")] {
        assert!(told.err.contains(&said), "{}", told.err);
    }
    simulate(&["--fail", fails, "--fail", fails]).exits(0);
    simulate(&["--fail", "region1.deploy.rollout=application@20%"]).exits(2);
    // The wait is longer than anything that the other one may do.
    let told = simulate(&["--fail", "region1.wrap_up.all_regions"]).exits(2);
    assert!(told.err.contains("does not run out"), "{}", told.err);
}

//! Every example is checked, planned and simulated.

use crate::support::{dsl, repository, said};
use std::fs;
use std::path::PathBuf;

fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("examples")).expect("there are examples");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|folder| folder.is_dir() && folder.file_name().is_some_and(|name| name != "wrong"));
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

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

//! The JSON forms hold what their schemas say.

use crate::support::{Sandbox, dsl, repository, said};
use serde_json::Value;

#[track_caller]
fn conforms(form: &str, text: &str) {
    let path = repository().join(format!("docs/schemas/{form}.schema.json"));
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a JSON Schema");
    let value: Value = serde_json::from_str(text).expect("JSON");
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{form}: {errors:#?}");
}

#[test]
fn of_the_checker() {
    let file = repository().join("tests/fixtures/many.lockstep");
    conforms("check", &said(dsl().arg("check").arg(file).args(["--format", "json"])).exits(1).out);
    conforms("explain", &said(dsl().args(["explain", "--format", "json"])).exits(0).out);
}

#[test]
fn of_plans_and_simulations() {
    let example = repository().join("examples/quickstart");
    let told = said(dsl().arg("plan").arg(&example).args(["release", "version=1.0.0", "--format", "json"]));
    conforms("plan", &told.exits(0).out);
    let told =
        said(dsl().arg("simulate").arg(&example).args(["release", "version=1.0.0", "--format", "json"]));
    conforms("simulate", &told.exits(0).out);
    let every = ["release", "version=1.0.0", "--every-failure", "--format", "json"];
    conforms("every-failure", &said(dsl().arg("simulate").arg(&example).args(every)).exits(0).out);
}

#[test]
fn of_runs() {
    let sandbox = Sandbox::of_example("quickstart");
    said(&mut sandbox.run(&["release", "version=1.0.0", "break_region2=true"])).exits(1);
    conforms("status", &said(sandbox.dsl("status").args(["--format", "json"])).exits(0).out);
    conforms("runs", &said(sandbox.dsl("runs").args(["--format", "json"])).exits(0).out);
    let events = std::fs::read_to_string(sandbox.events()).expect("events");
    assert!(events.lines().any(|line| line.contains(r#""event":"output""#)), "a script printed a line");
    for line in events.lines() {
        conforms("events", line);
    }
}

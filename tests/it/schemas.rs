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

/// A stage that succeeds, and can be rolled back once there is a file; nobody answers the approval behind it.
const ASKED: &str = r#"
group ops { members = ["nobody-of-that-name"] }
workflow w() {
  phase a {
    step c = shell { script = "true", changes = true, undone_by = u }
    rollback { step u = shell { script = "test -e undo" } }
  }
}
pipeline p { stage s = w {} approval ok { from = ops, within = 100ms } stage t = w {} approval late { from = ops, within = 1h } }
"#;

/// What a run without an answer came to, and its rollback: told alike by the closing table, the status and its events.
#[test]
fn of_a_run_that_nobody_approved() {
    let sandbox = Sandbox::of_source(ASKED);
    let told = said(&mut sandbox.run(&["p"])).exits(1);
    assert!(told.out.contains("failed, and what had succeeded stays"), "{}", told.out);
    let events = std::fs::read_to_string(sandbox.events()).expect("events");
    let texts = ["status", "runs"].map(|subcommand| said(&mut sandbox.dsl(subcommand)).exits(0).out);
    for text in [&told.err, &events].into_iter().chain(&texts) {
        assert!(text.contains("failed, and what had succeeded stays"), "{text}");
        assert!(!text.contains("was rolled back") && !text.contains("  rolled back"), "{text}");
    }
    let status = || {
        let text = said(sandbox.dsl("status").args(["--format", "json"])).exits(0).out;
        conforms("status", &text);
        serde_json::from_str::<Value>(&text).expect("JSON")["stages"].clone()
    };
    let outcomes = ["s", "ok", "t", "late"].map(|stage| status()[stage]["outcome"].clone());
    assert_eq!(outcomes, ["succeeded", "rejected", "not_started", "not_asked"]);
    said(sandbox.dsl("rollback").arg("last")).exits(3);
    let why = status()["s"]["why"].to_string();
    assert!(why.contains("rollback stopped: s.a.rollback.u failed"), "{why}");
    std::fs::write(sandbox.module().join("undo"), "").expect("a file");
    said(sandbox.dsl("rollback").arg("last")).exits(0);
    let why = status()["s"]["why"].to_string();
    assert!(!why.contains("stopped"), "{why}");
    let text = said(&mut sandbox.dsl("status")).exits(0).out;
    assert!(text.trim_end().ends_with("run was rolled back"), "{text}");
}

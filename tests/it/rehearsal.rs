//! `dsl simulate` against `dsl run`: what was carried out for real is rehearsed afterwards, and has to be the same story.
//!
//! A run tells which steps failed, and how, and how long each took. The rehearsal is given just that. Compared are, for each stage and
//! for the run as a whole, all events in their order (with the step, the attempt, the kind and the outcome that they name), and
//! the closing table: how each stage, each barrier and the run ended. The order of events of different stages is not compared,
//! nor the times and the words.

use crate::support::{Sandbox, said};
use serde_json::Value;
use std::collections::BTreeMap;

type Story = BTreeMap<String, Vec<String>>;

/// What happened, by stage.
fn story(events: &[Value]) -> Story {
    let mut story = Story::new();
    for event in events {
        let word = |key: &str| match &event[key] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let line = ["event", "step", "attempt", "kind", "outcome"].map(word).join(" ");
        story.entry(word("stage")).or_default().push(line.trim_end().to_owned());
    }
    // What runs in parallel may end in the same millisecond, and then in any order.
    let succeeded = |line: &String| line.starts_with("step_succeeded");
    for lines in story.values_mut() {
        lines.chunk_by_mut(|one, next| succeeded(one) && succeeded(next)).for_each(|chunk| chunk.sort());
    }
    story
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

/// Which steps failed, and how long each first attempt took: options for `dsl simulate`.
fn as_options(events: &[Value]) -> Vec<String> {
    let at = |event: &Value| text(event, "at").parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    let mut options = Vec::new();
    let (mut begun, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for event in events {
        let step = text(event, "step").to_owned();
        match text(event, "event") {
            "step_started" => {
                begun.entry(step).or_insert(at(event));
            }
            ended @ ("step_succeeded" | "step_failed" | "step_dropped") => {
                if ended == "step_failed" {
                    failed.insert(step.clone(), text(event, "kind").to_owned());
                }
                if let Some(begun) = begun.insert(step.clone(), i64::MAX).filter(|begun| *begun != i64::MAX) {
                    options.push("--takes".into());
                    options.push(format!("{step}={}ms", at(event) - begun));
                }
            }
            _ => {}
        }
    }
    for (step, kind) in failed {
        options.extend(["--fail".into(), format!("{step}={kind}")]);
    }
    options
}

/// Runs a pipeline, then rehearses what happened.
#[track_caller]
fn compare(sandbox: &Sandbox, arguments: &[&str], code: i32) {
    let before = std::fs::read_to_string(sandbox.events()).unwrap_or_default().lines().count();
    said(&mut sandbox.run(arguments)).exits(code);
    let lines = std::fs::read_to_string(sandbox.events()).expect("events");
    let events = lines.lines().skip(before).map(|line| serde_json::from_str(line).expect("JSON"));
    let events: Vec<Value> = events.filter(|event: &Value| event["event"] != "output").collect();
    let mut simulate = sandbox.dsl("simulate");
    simulate.arg(sandbox.module()).args(arguments).args(as_options(&events)).args(["--format", "json"]);
    let told = said(&mut simulate).exits(0);
    let rehearsed: Value = serde_json::from_str(&told.out).expect("JSON");
    let (run, simulated) = (story(&events), story(rehearsed["events"].as_array().expect("events")));
    assert_eq!(run, simulated, "{arguments:?}");
    let status = sandbox.status();
    assert_eq!(status["state"], rehearsed["outcome"], "{arguments:?}");
    assert_eq!(status["barriers"], rehearsed["barriers"], "{arguments:?}");
    for (stage, ended) in rehearsed["stages"].as_object().expect("stages") {
        assert_eq!(status["stages"][stage]["outcome"], ended["outcome"], "{arguments:?}: {stage}");
    }
}

#[test]
fn a_rehearsal_is_what_the_run_does() {
    let quickstart = Sandbox::of_example("quickstart");
    compare(&quickstart, &["release", "version=1.0.0"], 0);
    compare(&quickstart, &["release", "version=2.0.0", "break_region2=true"], 1);

    let build = Sandbox::of_example("build");
    let dist = build.module().join("dist");
    let dist = format!("dist={}", dist.display());
    compare(&build, &["package", "version=1.0.0", &dist], 0);
    // No archive of that name can be written.
    compare(&build, &["package", "version=1/0", &dist], 1);
    // Nothing can be published there, and what may have been is withdrawn.
    compare(&build, &["package", "version=1.0.0", "dist=/dev/null/dist", "with_checksum=false"], 1);
}

/// Retries, an ignored failure, a question that nobody answers, a broken barrier that is passed over, a wait that runs out.
const EVERYTHING: &str = r#"
group sre { members = ["nobody"] }

workflow slow(fails: bool) {
  phase work {
    step look = verify.command { script = "exit 1", on failure { ignore } }
    step make = shell { script = "true", changes = true, undone_by = unmake }
    step again = shell { script = "exit 3", only if fails, on failure { retry 2 every 100ms then ask sre within 300ms then rollback } }
    barrier met { timeout = 1m }
    rollback {
      step unmake = shell { script = "true" }
    }
  }
}

workflow early(patience: duration) {
  phase work {
    step make = shell { script = "true", changes = true, undone_by = unmake }
    barrier met { timeout = patience }
    rollback {
      step unmake = shell { script = "true" }
    }
  }
}

workflow careless {
  phase work {
    barrier met { timeout = 1h }
    step after = shell { script = "true" }
    on failure of barrier { ignore }
  }
}

pipeline go(fails: bool = false, rest: duration = 0s, patience: duration = 1m) {
  parallel {
    lane first {
      stage late = waits { rest }
      stage slow = slow { fails }
    }
    stage early    = early { patience }
    stage careless = careless {}
  }
}

workflow waits(rest: duration) {
  phase rest { step rest = wait { duration = rest } }
}
"#;

#[test]
fn so_it_is_with_rules_of_every_sort() {
    let sandbox = Sandbox::of_source(EVERYTHING);
    compare(&sandbox, &["go"], 0);
    compare(&sandbox, &["go", "fails=true"], 1);
    compare(&sandbox, &["go", "rest=3s", "patience=1s"], 1);
}

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
    compare_with(sandbox, arguments, code, &as_options);
}

/// Runs a pipeline, then rehearses it with such options. What the run and the rehearsal told.
#[track_caller]
fn compare_with(
    sandbox: &Sandbox,
    arguments: &[&str],
    code: i32,
    options: &dyn Fn(&[Value]) -> Vec<String>,
) -> [Vec<Value>; 2] {
    let before = std::fs::read_to_string(sandbox.events()).unwrap_or_default().lines().count();
    said(&mut sandbox.run(arguments)).exits(code);
    let lines = std::fs::read_to_string(sandbox.events()).expect("events");
    let events = lines.lines().skip(before).map(|line| serde_json::from_str(line).expect("JSON"));
    let events: Vec<Value> = events.filter(|event: &Value| event["event"] != "output").collect();
    let mut simulate = sandbox.dsl("simulate");
    simulate.arg(sandbox.module()).args(arguments).args(options(&events)).args(["--format", "json"]);
    let told = said(&mut simulate).exits(0);
    let rehearsed: Value = serde_json::from_str(&told.out).expect("JSON");
    let rehearsal = rehearsed["events"].as_array().expect("events").clone();
    let (run, simulated) = (story(&events), story(&rehearsal));
    assert_eq!(run, simulated, "{arguments:?}");
    let status = sandbox.status();
    assert_eq!(status["state"], rehearsed["outcome"], "{arguments:?}");
    assert_eq!(status["barriers"], rehearsed["barriers"], "{arguments:?}");
    for (stage, ended) in rehearsed["stages"].as_object().expect("stages") {
        assert_eq!(status["stages"][stage]["outcome"], ended["outcome"], "{arguments:?}: {stage}");
    }
    [events, rehearsal]
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

/// Stages that need what only one of them can have at a time.
const IN_TURN: &str = r#"
resource lock { capacity = 1 }
resource pair { capacity = 2 }

environment e { infrastructure here = local { root = "here" } }
service one = local { artifact = other { path = "one" } }
service two = local { artifact = other { path = "two" } }

workflow phased {
  phase held {
    use lock
    step work = shell { script = "sleep 1", timeout = 4s }
  }
  phase after { step rest = shell { script = "true", timeout = 1s } }
}

workflow some {
  use pair
  phase held { step work = shell { script = "sleep 1", timeout = 3s } }
}

workflow all {
  use pair { permits = 2 }
  phase held { step work = shell { script = "sleep 1", timeout = 3s } }
}

workflow met {
  phase held {
    use lock
    step work = shell { script = "sleep 2", timeout = 4s }
  }
  phase after {
    barrier met { timeout = 300ms }
    step rest = shell { script = "true", timeout = 1s }
  }
}

workflow there(service: service<local>, infra: infrastructure<local>) {
  phase held {
    step work = local.command { script = "sleep 1", changes = true, undone_by = back }
    rollback { step back = shell { script = "true" } }
  }
}

pipeline laned { parallel {
  lane first { stage a = all {} stage b = all {} }
  stage c = all {}
} }

pipeline phases { parallel {
  stage a = phased {}
  stage b = phased {}
  stage c = phased {}
} }
pipeline promised { parallel all_or_nothing {
  stage a = phased {}
  stage b = phased {}
} }
pipeline wholes { parallel {
  stage a = some {}
  stage b = all {}
  stage c = some {}
} }
pipeline late { parallel {
  stage a = met {}
  stage b = met {}
} }
pipeline directory { parallel {
  stage a = there { service = one, infra = e.here }
  stage b = there { service = two, infra = e.here }
} }
"#;

/// The order in which something happened to stages.
fn order(events: &[Value], event: &str) -> Vec<String> {
    let these = events.iter().filter(|told| told["event"] == event);
    these.map(|told| text(told, "stage").to_owned()).collect()
}

#[test]
fn stages_wait_for_each_other_as_they_do_in_a_run() {
    let sandbox = Sandbox::of_source(IN_TURN);
    std::fs::write(sandbox.module().join("one"), "").unwrap();
    std::fs::write(sandbox.module().join("two"), "").unwrap();
    let second = |stages: &'static [&str], time: &'static str| {
        move |_: &[Value]| -> Vec<String> {
            stages.iter().flat_map(|stage| ["--takes".into(), format!("{stage}.held.work={time}")]).collect()
        }
    };
    let cases: [(&str, i32, &'static [&str], &'static str, &str); 6] = [
        // A lane holds what its stages need, one after another, until it ends.
        ("laned", 0, &["a", "b", "c"], "1s", "3s"),
        ("phases", 0, &["a", "b", "c"], "1s", "3s"),
        ("promised", 0, &["a", "b"], "1s", "2s"),
        ("wholes", 0, &["a", "b", "c"], "1s", "3s"),
        ("late", 1, &["a", "b"], "2s", "4s"),
        ("directory", 0, &["a", "b"], "1s", "2s"),
    ];
    for (pipeline, code, stages, time, lasts) in cases {
        let [run, rehearsal] = compare_with(&sandbox, &[pipeline], code, &second(stages, time));
        assert_eq!(text(rehearsal.last().expect("an end"), "at"), lasts, "{pipeline}");
        if pipeline != "directory" {
            let granted = order(&run, "claims_granted");
            assert_eq!(granted, order(&rehearsal, "claims_granted"), "{pipeline}");
        }
    }
    // Also with what the run was seen to do.
    compare(&sandbox, &["phases"], 0);
}

/// How long a run takes at most takes into account that stages wait for each other.
#[test]
fn waiting_for_others_is_part_of_how_long_it_takes_at_most() {
    let sandbox = Sandbox::of_source(IN_TURN);
    let most = |pipeline: &str| {
        let mut simulate = sandbox.dsl("simulate");
        simulate.arg(sandbox.module()).args([pipeline, "--every-failure", "--format", "json"]);
        let told: Value = serde_json::from_str(&said(&mut simulate).exits(0).out).expect("JSON");
        text(&told["scenarios"][0], "at_most").to_owned()
    };
    assert_eq!(most("phases"), "13s");
    assert_eq!(most("wholes"), "9s");
    assert_eq!(most("late"), "9s");
}

/// Whom an argument keeps from a barrier is not waited for: not where it is the turn of others first, nor where it would have come to
/// another barrier before.
const KEPT_AWAY: &str = r#"
workflow one(away: bool = false) {
  phase work {
    step make = verify.command { script = "true" }
    barrier met { timeout = 1m, skip if away }
  }
}

workflow first {
  phase work {
    step make = verify.command { script = "true" }
    barrier left { timeout = 1m }
    barrier right { timeout = 1m }
  }
}

workflow second(right: bool) {
  phase work {
    step make = verify.command { script = "true" }
    barrier right { timeout = 1m, only if right }
    barrier left { timeout = 1m, only if !right }
  }
}

pipeline by_turns {
  parallel max 2 {
    stage a = one {}
    stage b = one {}
    stage c = one { away = true }
  }
}

pipeline crossed(right: bool) {
  parallel {
    stage a = first {}
    stage b = second { right }
  }
}
"#;

#[test]
fn nobody_waits_for_whom_an_argument_keeps_away() {
    let sandbox = Sandbox::of_source(KEPT_AWAY);
    compare(&sandbox, &["by_turns"], 0);
    compare(&sandbox, &["crossed", "right=true"], 0);
    compare(&sandbox, &["crossed", "right=false"], 0);
}

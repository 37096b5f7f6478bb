//! `dsl simulate`: what its options mean, and what it says of those that come to nothing.

use crate::support::{Said, Sandbox, said};
use serde_json::{Value, json};

/// Two stages that meet; `b` waits for two seconds, and what it sees says what it does.
const MEETING: &str = r#"
workflow a {
  phase p {
    step one = shell { script = "true", changes = true, undone_by = un, timeout = 4s }
    barrier x { timeout = 1m }
    rollback { step un = shell { script = "true" } }
  }
}

workflow b(tells: bool) {
  phase p {
    step look = shell { script = "cat version" }
    barrier x { timeout = 2s }
    step tell = shell { only if tells && look.stdout == "new", script = "true", changes = true, irreversible = true }
  }
}

pipeline q(tells: bool = false) {
  parallel all_or_nothing {
    stage a = a {}
    stage b = b { tells }
  }
}
"#;

fn simulate(sandbox: &Sandbox, options: &[&str]) -> Said {
    said(sandbox.dsl("simulate").arg(sandbox.module()).arg("q").args(options))
}

fn json_of(sandbox: &Sandbox, options: &[&str], code: i32) -> Value {
    let told = simulate(sandbox, &[options, &["--format", "json"]].concat()).exits(code);
    serde_json::from_str(&told.out).expect("JSON")
}

#[test]
fn an_attempt_that_times_out_takes_its_time() {
    let sandbox = Sandbox::of_source(MEETING);
    let told = simulate(&sandbox, &["--fail", "a.p.one=timeout"]).exits(0);
    assert!(told.out.contains("after 4s."), "{}", told.out);
    // The other one did not wait for that long.
    assert!(told.err.contains("`--fail a.p.one=timeout` makes no difference"), "{}", told.err);
    let told = simulate(&sandbox, &["--fail", "a.p.one=timeout", "--takes", "b.p.look=3s"]).exits(0);
    assert!(!told.err.contains("makes no difference"), "{}", told.err);
    assert!(told.out.contains("a.p.one failed (timeout)"), "{}", told.out);
}

#[test]
fn options_that_come_to_nothing_are_told() {
    let sandbox = Sandbox::of_source(MEETING);
    let idle = |options: &[&str], why: &str| {
        let told = json_of(&sandbox, options, 0);
        let all = told["without_effect"].as_array().expect("a list");
        let reasons: Vec<&str> = all.iter().filter_map(|it| it["why"].as_str()).collect();
        assert!(reasons.iter().any(|it| it.contains(why)), "{options:?}: {all:?}");
    };
    idle(&["--fail", "b.p.tell"], "it was skipped");
    idle(&["--fail", "a.p.rollback.un"], "it was not started");
    idle(&["--takes", "b.p.tell=3s"], "it was skipped");
    idle(&["--fail", "a.p.one", "--takes", "a.p.one=30s", "--takes", "b.p.look=5s"], "it failed as timeout");
    assert_eq!(json_of(&sandbox, &["--fail", "a.p.one"], 0)["without_effect"], json!([]));
}

#[test]
fn options_that_contradict_each_other_are_named() {
    let sandbox = Sandbox::of_source(MEETING);
    simulate(&sandbox, &["--fail", "b.p.x"]).exits(0);
    let told = simulate(&sandbox, &["--fail", "b.p.x", "--takes", "a.p.one=1s"]).exits(2);
    assert!(
        told.err.contains("`--fail b.p.x` and `--takes a.p.one=1s` contradict each other"),
        "{}",
        told.err
    );
    // That it fails late is no reason for others to wait less.
    let told =
        simulate(&sandbox, &["--fail", "a.p.x", "--takes", "b.p.look=1s", "--fail", "b.p.look"]).exits(2);
    assert!(
        told.err.contains("`--fail a.p.x` and `--takes b.p.look=1s` contradict each other"),
        "{}",
        told.err
    );
}

#[test]
fn what_steps_give_can_be_chosen() {
    let sandbox = Sandbox::of_source(MEETING);
    let tells = |gives: &str| {
        let options = ["tells=true", "--fail", "b.p.tell", "--gives", gives];
        simulate(&sandbox, &options)
    };
    let told = tells("b.p.look.stdout=new").exits(1);
    assert!(told.out.contains("Group 1 breaks its promise"), "{}", told.out);
    tells("b.p.look.stdout=old").exits(0);
    let told = tells("b.p.look.stdin=new").exits(2);
    assert!(told.err.contains("its outputs: stdout"), "{}", told.err);
    // The matrix finds by itself what makes the difference.
    let told = json_of(&sandbox, &["tells=true", "--every-failure"], 1);
    let rows = told["scenarios"].as_array().expect("scenarios");
    let row = rows.iter().find(|row| row["fail"] == json!(["b.p.tell=application"])).expect("a row");
    assert_eq!(row["given"], json!({ "b.p.look.stdout": "new" }));
    assert_eq!((&row["happens"], &row["broken_promises"]), (&json!(true), &json!([1])));
}

#[test]
fn lists_that_steps_give_are_chosen_as_json() {
    let sandbox = Sandbox::of_source(
        r#"
/// Finds things.
provider finder {
  program    = "./finder"
  artifacts  = [other]
  strategies = [rolling]
  infrastructure { zone: string = "" }
  step find() -> { found: list<string> } { idempotent = true }
}
environment e { infrastructure here = finder {} }
workflow w(infra: infrastructure<finder>) {
  phase p {
    step look = finder.find {}
    step tell = shell { only if look.found == ["a", "b"], script = "true" }
  }
}
pipeline q() { stage s = w { infra = e.here } }
"#,
    );
    let tells = |found: &str| {
        simulate(&sandbox, &["--fail", "s.p.tell", "--gives", &format!("s.p.look.found={found}")])
    };
    let told = tells(r#"["a", "b"]"#).exits(0);
    assert!(told.out.contains("p.tell failed"), "{}", told.out);
    let told = tells(r#"["a"]"#).exits(0);
    assert!(told.out.contains("p.tell skipped"), "{}", told.out);
    let told = tells("a").exits(2);
    assert!(told.err.contains("lists are written as JSON"), "{}", told.err);
}

#[test]
fn a_rollback_step_that_fails_breaks_no_promise() {
    let sandbox = Sandbox::of_source(MEETING);
    let told = simulate(&sandbox, &["--fail", "b.p.look", "--fail", "a.p.rollback.un"]).exits(0);
    assert!(
        told.out.contains("its promise assumes that these work") || told.out.contains("keeps its promise")
    );
    let matrix = simulate(&sandbox, &["--every-failure"]).exits(0);
    assert!(matrix.out.contains(" failures, no promise is broken."), "{}", matrix.out);
}

/// Barriers of one name that have nothing to do with each other are told apart, in what they came to as in what happened.
#[test]
fn barriers_of_one_name_outside_groups_are_named_after_their_stages() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w(c: string) {
  phase x {
    step s = shell { script = c }
    barrier all {}
  }
}

pipeline q() {
  stage a = w { c = "one" }
  parallel {
    stage b = w { c = "two" }
    stage c = w { c = "three" }
  }
  stage d = w { c = "four" }
}
"#,
    );
    let told = json_of(&sandbox, &["--fail", "d.x.s"], 0);
    assert_eq!(told["barriers"], json!({ "a/all": "open", "1/all": "open", "d/all": "broken" }));
    let events = told["events"].as_array().expect("events");
    let of = |word: &str| -> Vec<&str> {
        let wanted = events.iter().filter(|it| it["event"] == word);
        wanted.filter_map(|it| it["step"].as_str()).collect()
    };
    assert_eq!(of("barrier_opened"), ["a/all", "1/all"]);
    assert_eq!(of("barrier_broken"), ["d/all"]);
}

/// Whoever reads that a condition could not be decided has to find it.
#[test]
fn a_condition_that_cannot_be_decided_is_named_after_its_owner() {
    let of = |place: &str| {
        let at = |wanted: &str| if wanted == place { "skip if m.k == \"x\"" } else { "" };
        let sandbox = Sandbox::of_source(&format!(
            r#"
workflow w(m: map<string>) {{
  phase p {{
    skip if m.j == "x"
    {}
    section some {{
      skip if m.j == "z"
      {}
      step one = shell {{
        {}
        script = "true"
      }}
      barrier all {{
        {}
      }}
    }}
  }}
}}

pipeline q(m: map<string> = {{}}) {{
  stage a = w {{
    {}
    m
  }}
}}
"#,
            at("phase"),
            at("section"),
            at("step"),
            at("barrier"),
            at("stage"),
        ));
        simulate(&sandbox, &["m=j=y"])
    };
    for (place, owner) in [
        ("stage", "stage `a`"),
        ("phase", "phase `a.p`"),
        ("section", "section `a.p.some`"),
        ("step", "step `a.p.one`"),
        ("barrier", "barrier `a.p.all`"),
    ] {
        let told = of(place);
        let wanted = format!("a condition of {owner} could not be decided: it reads what was not given");
        assert!(told.out.contains(&wanted), "{place}: {} {}", told.out, told.err);
    }
}

/// `--values` takes what a parameter can hold, for a rehearsal as for the run.
#[test]
fn arguments_can_come_from_a_file() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w(name: string, words: list<string>, labels: map<int>) {
  phase p {
    step a = shell { skip if name != "it's, \"all\"", script = "true" }
    step b = shell { only if "x, y" in words && len(words) == 2, script = "true" }
    step c = shell { only if labels == { one = 1, "t, w = o" = 2 }, script = "true" }
  }
}

pipeline q(name: string, words: list<string>, labels: map<int> = {}) {
  stage s = w { name, words, labels }
}
"#,
    );
    let file = sandbox.module().join("values.json");
    let values =
        json!({ "name": "it's, \"all\"", "words": ["x, y", "\"z\""], "labels": { "one": 1, "t, w = o": 2 } });
    std::fs::write(&file, values.to_string()).expect("written");
    let file = file.to_str().expect("UTF-8");
    let skipped = |options: &[&str]| {
        let told = json_of(&sandbox, &[&["--values", file], options].concat(), 0);
        let events = told["events"].as_array().expect("events").clone();
        let of = events.iter().filter(|it| it["event"] == "step_skipped");
        of.filter_map(|it| it["step"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(skipped(&[]).is_empty());
    assert_eq!(skipped(&["labels=one=3"]), ["s.p.c"], "what stands on the command line wins");
    let module = sandbox.module();
    for subcommand in ["plan", "run"] {
        said(sandbox.dsl(subcommand).arg(&module).args(["q", "--values", file])).exits(0);
    }
    std::fs::write(file, r#"{ "name": null }"#).expect("written");
    let told = simulate(&sandbox, &["--values", file]).exits(2);
    assert!(told.err.contains("`name` is or holds `null`"), "{}", told.err);
}

#[test]
fn a_matrix_names_in_each_row_what_fails() {
    let sandbox = Sandbox::of_source(MEETING);
    let fails = |options: &[&str]| -> Vec<Value> {
        let told = json_of(&sandbox, &[options, &["--every-failure"]].concat(), 0);
        let rows = told["scenarios"].as_array().expect("scenarios").iter();
        rows.map(|row| json!([row["fail"], row["happens"]])).collect()
    };
    let plain = fails(&[]);
    assert_eq!(plain[0], json!([[], true]));
    assert!(plain.contains(&json!([["b.p.look=application"], true])), "{plain:?}");
    let chosen = fails(&["--fail", "a.p.one"]);
    assert_eq!(chosen[0], json!([["a.p.one=application"], true]));
    assert!(chosen.contains(&json!([["a.p.one=application", "b.p.look=application"], true])), "{chosen:?}");
    // Nothing goes back when only that is to fail.
    assert_eq!(fails(&["--fail", "a.p.rollback.un"])[0], json!([["a.p.rollback.un=application"], false]));
    let told = simulate(&sandbox, &["--fail", "a.p.one", "--every-failure"]).exits(0);
    let row = |text: &str| told.out.lines().any(|line| line.starts_with(text));
    assert!(row("a.p.one (application)  ") && row("and b.p.look (application)  "), "{}", told.out);
    assert!(!row("nothing") && told.out.contains(" further failures, "), "{}", told.out);
}

/// To be silent about an error does not make a plan of the source: a stage would be missing from it.
#[test]
fn an_error_that_is_allowed_keeps_a_pipeline_from_being_planned() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w { phase p { step s = shell { script = "true" } } }
pipeline q {
  stage first = w {}
  // allow(name/unknown): it will be there next week
  stage tests = run_tests {}
}
"#,
    );
    said(sandbox.dsl("check").arg(sandbox.module())).exits(0);
    for command in ["plan", "simulate", "run"] {
        let told = said(sandbox.dsl(command).arg(sandbox.module()).arg("q")).exits(2);
        assert!(told.err.contains("name/unknown") && told.err.contains("run_tests"), "{}", told.err);
    }
}

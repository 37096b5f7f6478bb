//! `dsl rollback` after the end of a run: back to what ran before, or a reason why not.

use crate::control::Started;
use crate::support::{Sandbox, said};

/// The quickstart with these versions released one after another.
fn released(versions: &[&str]) -> Sandbox {
    let sandbox = Sandbox::of_example("quickstart");
    for version in versions {
        said(&mut sandbox.run(&["release", &format!("version={version}")])).exits(0);
    }
    sandbox
}

#[track_caller]
fn serves(sandbox: &Sandbox, version: &str) {
    for region in ["region1", "region2"] {
        assert_eq!(sandbox.ask(region), format!("hello {version}"), "{region}");
    }
}

fn runs(sandbox: &Sandbox) -> Vec<String> {
    let told = said(sandbox.dsl("runs").args(["--format", "json"])).exits(0);
    let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    let runs = value["runs"].as_array().expect("runs");
    runs.iter().map(|run| run["run"].as_str().expect("an id").to_owned()).collect()
}

fn releases(sandbox: &Sandbox, region: &str) -> usize {
    let folder = sandbox.module().join("regions").join(region).join("releases");
    std::fs::read_dir(folder).expect("releases").count()
}

#[test]
fn a_successful_run_is_taken_back_once() {
    let sandbox = released(&["1.0.0", "2.0.0"]);
    serves(&sandbox, "2.0.0");
    let told = said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("was rolled back"), "{}", told.out);
    serves(&sandbox, "1.0.0");
    let status = sandbox.status();
    assert_eq!(status["state"], "rolled_back");
    let asked = status["events"].as_array().expect("events").iter();
    assert_eq!(asked.filter(|event| event["event"] == "rollback_requested").count(), 1);
    let told = said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("everything is rolled back already"), "{}", told.out);
    let told = said(sandbox.dsl("abort").arg("last")).exits(2);
    assert!(told.err.contains("has ended already: it was rolled back"), "{}", told.err);
    assert!(!told.err.contains("takes back what it did"), "{}", told.err);
    serves(&sandbox, "1.0.0");
    // What was taken back no longer stands in the way of the run before.
    said(sandbox.dsl("rollback").arg(&runs(&sandbox)[0])).exits(0);
    assert!(!sandbox.module().join("regions/region1/current").exists());
}

#[test]
fn a_newer_run_is_not_overwritten() {
    let sandbox = released(&["1.0.0", "2.0.0"]);
    let runs = runs(&sandbox);
    let told = said(sandbox.dsl("rollback").arg(&runs[0])).exits(2);
    assert!(told.err.contains("hello on playground.region1"), "{}", told.err);
    assert!(told.err.contains(&format!("run {} by", runs[1])), "{}", told.err);
    serves(&sandbox, "2.0.0");
    // Nothing was begun.
    let told = said(sandbox.dsl("status").args([&runs[0], "--format", "json"])).exits(0);
    let status: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(status["state"], "succeeded");
}

#[test]
fn old_releases_are_removed_once_a_run_has_succeeded() {
    let sandbox = released(&["1.0.0"]);
    said(&mut sandbox.run(&["release", "version=2.0.0", "break_region2=true"])).exits(1);
    assert_eq!(releases(&sandbox, "region1"), 2, "what failed stays until something succeeds");
    said(&mut sandbox.run(&["release", "version=2.0.0"])).exits(0);
    said(&mut sandbox.run(&["release", "version=1.0.0"])).exits(0);
    assert_eq!(releases(&sandbox, "region1"), 2, "the one that runs and the one before");
    // The first release is gone, so there is no way back beyond the second.
    said(sandbox.dsl("rollback").arg("last")).exits(0);
    serves(&sandbox, "2.0.0");
    let third = &runs(&sandbox)[2];
    let told = said(sandbox.dsl("rollback").arg(third)).exits(2);
    assert!(told.err.contains("keep_releases"), "{}", told.err);
    serves(&sandbox, "2.0.0");
}

#[test]
fn a_crash_in_the_middle_is_survived() {
    for mark in ["rollback_requested", "rollback_started", r#"rollout.undo","event":"step_succeeded""#] {
        let sandbox = released(&["1.0.0", "2.0.0"]);
        std::fs::remove_file(sandbox.events()).expect("the events so far");
        let mut rollback = sandbox.dsl("rollback");
        rollback.args(["last", "--events"]).arg(sandbox.events());
        assert!(sandbox.kill_at(&mut rollback, mark), "it ended before {mark}");
        // It goes on with what was asked for last, which is done.
        let told = said(sandbox.dsl("resume").arg("last")).exits(0);
        assert!(told.out.contains("was rolled back") && !told.out.contains("failed"), "{}", told.out);
        serves(&sandbox, "1.0.0");
        let told = said(sandbox.dsl("resume").arg("last")).exits(0);
        assert!(told.err.contains("had ended before: it was rolled back"), "{}", told.err);
        for stage in sandbox.status()["stages"].as_object().expect("stages").values() {
            assert!(stage["why"].as_str().is_some_and(|why| why.ends_with(" asked for it")), "{stage}");
        }
    }
}

/// Its process is killed when the run has ended, and its target has not been told yet.
#[test]
fn a_run_that_was_killed_at_its_very_end_is_taken_back() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    // Nobody comes to the target.
    let lock = std::fs::File::open(run.sandbox.module().join("here/.lock")).expect("a lock");
    lock.lock().expect("a lock");
    run.open();
    while !std::fs::read_to_string(run.sandbox.events()).expect("events").contains(r#""event":"run_ended""#) {
        std::thread::yield_now();
    }
    run.child.kill().expect("it lives");
    run.child.wait().expect("it ends");
    drop(lock);
    let told = said(run.sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("was rolled back"), "{}", told.out);
    assert!(!run.sandbox.module().join("here/current").exists());
}

#[test]
fn nothing_is_begun_where_the_module_is_gone() {
    let sandbox = Sandbox::of_source(WITHOUT_TARGET);
    let mut begun = sandbox.run(&["p", "gate=never"]);
    assert!(sandbox.kill_at(&mut begun, r#""step":"s.a.d","event":"step_started""#));
    let elsewhere = sandbox.module().with_extension("moved");
    std::fs::rename(sandbox.module(), &elsewhere).expect("a folder");
    for subcommand in ["resume", "rollback"] {
        let told = said(sandbox.dsl(subcommand).arg("last").current_dir("/")).exits(2);
        assert!(told.err.contains("put it back where it was"), "{}", told.err);
    }
    std::fs::rename(&elsewhere, sandbox.module()).expect("a folder");
    std::fs::write(sandbox.module().join("never"), "").expect("a file");
    said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert_eq!(std::fs::read_to_string(sandbox.module().join("log")).expect("a log"), "c\nu\n");
}

/// `dsl rollback "$RUN"` where nothing has set RUN: every id begins with nothing.
#[test]
fn an_empty_name_is_no_run() {
    let sandbox = Sandbox::of_source(WITHOUT_TARGET);
    said(&mut sandbox.run(&["p"])).exits(0);
    for arguments in [
        &["rollback", ""][..],
        &["abort", ""],
        &["resume", ""],
        &["status", ""],
        &["logs", ""],
        &["answer", "", "s.a.c", "retry"],
    ] {
        let told = said(sandbox.dsl(arguments[0]).args(&arguments[1..])).exits(2);
        assert!(told.err.contains("the name of the run is empty"), "{arguments:?}: {}", told.err);
    }
    assert_eq!(std::fs::read_to_string(sandbox.module().join("log")).expect("a log"), "c\n");
    assert_eq!(sandbox.status()["state"], "succeeded");
}

/// Steps of no target, which change something all the same.
const WITHOUT_TARGET: &str = r#"
workflow w(gate: string) {
  phase a {
    step c = shell { script = "echo c >>log", changes = true, undone_by = u }
    step d = shell { script = "until [ -e $GATE ]; do sleep 0.05; done", env = { GATE = gate } }
    rollback { step u = shell { script = "echo u >>log" } }
  }
}
pipeline p(gate: string = "main.lockstep") { stage s = w { gate } }
"#;

#[test]
fn what_changed_without_a_target_is_undone_once() {
    let sandbox = Sandbox::of_source(WITHOUT_TARGET);
    let log = || std::fs::read_to_string(sandbox.module().join("log")).expect("a log");
    said(&mut sandbox.run(&["p"])).exits(0);
    let told = said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("was rolled back"), "{}", told.out);
    assert_eq!(log(), "c\nu\n");
    let told = said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("everything is rolled back already"), "{}", told.out);
    assert_eq!(log(), "c\nu\n");
}

#[test]
fn what_an_aborted_run_changed_without_a_target_is_undone() {
    let sandbox = Sandbox::of_source(WITHOUT_TARGET);
    let mut begun = sandbox.run(&["p", "gate=never"]);
    assert!(sandbox.kill_at(&mut begun, r#""step":"s.a.d","event":"step_started""#));
    said(sandbox.dsl("abort").arg("last")).exits(0);
    said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert_eq!(std::fs::read_to_string(sandbox.module().join("log")).expect("a log"), "c\nu\n");
}

/// A release that can fail, and whose rollback can fail then.
const STUCK: &str = r#"
environment lab {
  kind = non_production
  infrastructure here = local { root = "here" }
}
service files = local { artifact = other { path = "files" } }
workflow w(service: service<local>, infra: infrastructure<local>, word: string) {
  phase deploy {
    step put = local.deploy { undone_by = back }
    step try = shell { script = "[ $WORD = good ]", env = { WORD = word } }
    rollback {
      step mend = shell { script = "[ -e mended ]" }
      step back = local.rollback {}
    }
  }
}
pipeline p(word: string = "good") { stage s = w { service = files, infra = lab.here, word } }
"#;

#[test]
fn what_a_stuck_rollback_returns_to_is_not_removed() {
    let sandbox = Sandbox::of_source(STUCK);
    std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
    let release = |version: &str, word: &str, code: i32| {
        std::fs::write(sandbox.module().join("files/version"), version).expect("a file");
        said(&mut sandbox.run(&["p", &format!("word={word}")])).exits(code);
    };
    let there = || std::fs::read_to_string(sandbox.module().join("here/current/version")).expect("a version");
    release("1", "good", 0);
    release("2", "bad", 3);
    release("3", "good", 0);
    let history = || std::fs::read_to_string(sandbox.module().join("here/history")).expect("a history");
    let ids = runs(&sandbox);
    let successful = |wanted: &[usize]| {
        let history = history();
        let made_by: Vec<&str> = history.lines().map(|line| line.split('-').next().expect("a run")).collect();
        let wanted: Vec<&str> = wanted.iter().map(|at| ids[*at].as_str()).collect();
        assert_eq!(made_by, wanted);
    };
    successful(&[0, 2]);
    std::fs::write(sandbox.module().join("mended"), "").expect("a file");
    said(sandbox.dsl("rollback").arg(&ids[2])).exits(0);
    assert_eq!(there(), "2");
    successful(&[0]);
    said(sandbox.dsl("rollback").arg(&ids[1])).exits(0);
    assert_eq!(there(), "1");
    successful(&[0]);
}

/// A pipeline whose stages deploy one service to one target, one after another.
const TWICE: &str = r#"
environment lab {
  kind = non_production
  infrastructure here = local { root = "here" }
}
service files(version: string) = local { artifact = other { path = version } }
workflow w(service: service<local>, infra: infrastructure<local>, gate: string = "main.lockstep") {
  phase deploy {
    step put = local.deploy {}
    step try = shell { script = "[ -e $GATE ]", env = { GATE = gate } }
  }
}
pipeline p(one: string, two: string, gate: string = "main.lockstep") {
  stage first = w { service = files { version = one }, infra = lab.here }
  stage second = w { service = files { version = two }, infra = lab.here, gate }
  on failure { rollback pipeline }
}
"#;

#[test]
fn a_run_that_deploys_twice_to_a_target_is_taken_back_stage_by_stage() {
    let sandbox = Sandbox::of_source(TWICE);
    for version in ["1", "2", "3", "4", "5", "6"] {
        let folder = sandbox.module().join(version);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("version"), version).expect("a file");
    }
    let there = || std::fs::read_to_string(sandbox.module().join("here/current/version")).ok();
    let releases = || std::fs::read_dir(sandbox.module().join("here/releases")).expect("releases").count();
    let run = |one: &str, two: &str, gate: &str, code: i32| {
        let arguments = [format!("one={one}"), format!("two={two}"), format!("gate={gate}")];
        said(&mut sandbox.run(&["p", &arguments[0], &arguments[1], &arguments[2]])).exits(code);
    };
    let back = |run: &str, code: i32| said(sandbox.dsl("rollback").arg(run)).exits(code);
    run("1", "2", "main.lockstep", 0);
    assert_eq!(there().as_deref(), Some("2"));
    run("3", "4", "nowhere", 1);
    assert_eq!(there().as_deref(), Some("2"), "within the run");
    run("3", "4", "main.lockstep", 0);
    // Over the first stage's release, to the one from before the run; and then the run before.
    back("last", 0);
    assert_eq!(there().as_deref(), Some("2"));
    back(&runs(&sandbox)[0], 0);
    assert_eq!(there(), None);
    for (one, two) in [("1", "2"), ("3", "4"), ("5", "6")] {
        run(one, two, "main.lockstep", 0);
    }
    assert_eq!(
        releases(),
        3,
        "the run before the last is too old to be taken back, its second release is not"
    );
    back("last", 0);
    assert_eq!(there().as_deref(), Some("4"));
    let told = back(&runs(&sandbox)[4], 2);
    assert_eq!(told.err.matches("keep_releases").count(), 2, "{}", told.err);
    assert_eq!(there().as_deref(), Some("4"));
    // Where more are kept, what runs put there on the way is kept with them.
    let source = TWICE.replace(r#"root = "here""#, r#"root = "here", keep_releases = 2"#);
    std::fs::write(sandbox.module().join("main.lockstep"), source).expect("a module");
    run("1", "2", "main.lockstep", 0);
    run("3", "4", "main.lockstep", 0);
    for expected in ["2", "4"] {
        let runs = runs(&sandbox);
        back(&runs[if expected == "2" { runs.len() - 1 } else { runs.len() - 2 }], 0);
        assert_eq!(there().as_deref(), Some(expected));
    }
}

/// What undoes a stage is told how it failed; nothing of a stage has failed that goes back for something else.
#[test]
fn only_a_stage_that_failed_has_a_kind_of_failure() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w(fails: bool = false) {
  phase a {
    step c = shell { script = "true", changes = true, undone_by = u }
    step d = shell { script = "! $FAILS", env = { FAILS = "${fails}" } }
    rollback { step u = shell { script = "echo $NAME: $STEP: $KIND >>log", env = { NAME = stage.name, STEP = failure.step, KIND = failure.kind } } }
  }
}
pipeline p(fails: bool = false) {
  stage one = w {}
  stage two = w { fails }
  on failure { rollback pipeline }
}
"#,
    );
    let log = || std::fs::read_to_string(sandbox.module().join("log")).expect("a log");
    said(&mut sandbox.run(&["p"])).exits(0);
    said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert_eq!(log(), "two: :\none: :\n");
    said(&mut sandbox.run(&["p", "fails=true"])).exits(1);
    assert_eq!(log(), "two: :\none: :\ntwo: two.a.d: application\none: :\n");
}

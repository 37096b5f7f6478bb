//! Queueing across processes: runs wait for each other's targets and resources, in order, and never in a circle.

use crate::support::{Sandbox, said};
use std::process::{Child, Stdio};

/// Steps that wait for files which the test makes; each run leaves its mark in `log`.
const QUEUED: &str = r#"
environment lab {
  kind = non_production
  infrastructure here  = local { root = "here" }
  infrastructure there = local { root = "there" }
}

resource lock { capacity = 1 }
resource pair { capacity = 2 }

service files = local { artifact = other { path = "files" } }

workflow deploy(service: service<local>, infra: infrastructure<local>, mark: string) {
  phase deploy {
    step put  = local.deploy {}
    step gate = shell { script = "echo begin $MARK >> log; until [ -e go-$MARK ]; do sleep 0.02; done; echo end $MARK >> log", env = { MARK = mark } }
  }
}

workflow refusing(service: service<local>, infra: infrastructure<local>) {
  concurrency = reject
  phase deploy { step put = local.deploy {} }
}

workflow meeting(service: service<local>, infra: infrastructure<local>, mark: string) {
  phase deploy {
    step put = local.deploy {}
    step note = shell { script = "echo $MARK >> log; sleep 0.05", env = { MARK = mark } }
  }
  phase last { barrier all { timeout = 30m } }
}

workflow locked(mark: string) {
  phase work {
    use lock
    step note = shell { script = "echo begin $MARK >> log; until [ -e go-$MARK ]; do sleep 0.02; done; echo end $MARK >> log", env = { MARK = mark } }
  }
}

workflow sharing(mark: string) {
  use pair { permits = 2 }
  phase work { step note = shell { script = "echo begin $MARK >> log; sleep 0.1; echo end $MARK >> log", env = { MARK = mark } } }
}

pipeline one(mark: string)   { stage s = deploy { service = files, infra = lab.here, mark } }
pipeline busy                { stage s = refusing { service = files, infra = lab.here } }
pipeline forth(mark: string) {
  parallel {
    stage a = meeting { service = files, infra = lab.here, mark }
    stage b = meeting { service = files, infra = lab.there, mark }
  }
}
pipeline back(mark: string) {
  parallel {
    stage a = meeting { service = files, infra = lab.there, mark }
    stage b = meeting { service = files, infra = lab.here, mark }
  }
}
workflow passing(service: service<local>, infra: infrastructure<local>) {
  phase deploy { step put = local.deploy {} }
}
pipeline turns_forth {
  parallel max 1 {
    stage a = passing { service = files, infra = lab.here }
    stage b = passing { service = files, infra = lab.there }
  }
}
pipeline turns_back {
  parallel max 1 {
    stage a = passing { service = files, infra = lab.there }
    stage b = passing { service = files, infra = lab.here }
  }
}
pipeline take(mark: string)  { stage s = locked { mark } }
pipeline share(mark: string) { stage s = sharing { mark } }
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::of_source(QUEUED);
    std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
    std::fs::write(sandbox.module().join("files/a"), "a").expect("a file");
    sandbox
}

fn spawn(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.dsl("run");
    command.arg(sandbox.module()).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

fn log(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.module().join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn let_go(sandbox: &Sandbox, mark: &str) {
    std::fs::write(sandbox.module().join(format!("go-{mark}")), "").expect("a file");
}

/// Looks until it is so.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < patience, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn runs(sandbox: &Sandbox) -> Vec<serde_json::Value> {
    let told = said(sandbox.dsl("runs").args(["--format", "json"]));
    if told.code != Some(0) {
        return Vec::new();
    }
    let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    value["runs"].as_array().expect("runs").clone()
}

/// How many runs wait for others.
fn waiting(sandbox: &Sandbox) -> usize {
    let waits = |run: &serde_json::Value| {
        run["claims"].as_array().expect("claims").iter().any(|claim| claim["holds"] == false)
    };
    runs(sandbox).iter().filter(|run| waits(run)).count()
}

fn ends(mut child: Child, code: i32) {
    assert_eq!(child.wait().expect("it ends").code(), Some(code));
}

#[test]
fn runs_on_one_target_queue_first_in_first_out() {
    let sandbox = sandbox();
    let first = spawn(&sandbox, &["one", "mark=1"]);
    until("the first begins", || log(&sandbox) == ["begin 1"]);
    let second = spawn(&sandbox, &["one", "mark=2"]);
    until("the second waits", || waiting(&sandbox) == 1);
    let third = spawn(&sandbox, &["one", "mark=3"]);
    until("the third waits", || waiting(&sandbox) == 2);
    let holder = runs(&sandbox)[0]["run"].as_str().expect("an id").to_owned();
    let told = said(sandbox.dsl("status").arg("last")).exits(0);
    assert!(told.out.contains("waits for files on lab.here: run"), "{}", told.out);
    assert!(told.out.contains(&format!("run {holder} holds files on lab.here")), "{}", told.out);
    for mark in ["3", "2", "1"] {
        let_go(&sandbox, mark);
    }
    [first, second, third].into_iter().for_each(|child| ends(child, 0));
    assert_eq!(log(&sandbox), ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
    assert!(runs(&sandbox).iter().all(|run| run["claims"].as_array().is_some_and(Vec::is_empty)));
}

#[test]
fn a_stage_that_rejects_names_the_holder_and_begins_nothing() {
    let sandbox = sandbox();
    let first = spawn(&sandbox, &["one", "mark=1"]);
    until("the first begins", || log(&sandbox) == ["begin 1"]);
    let holder = runs(&sandbox)[0]["run"].as_str().expect("an id").to_owned();
    let told = said(sandbox.dsl("run").arg(sandbox.module()).arg("busy")).exits(1);
    assert!(told.err.contains(&format!("run {holder} holds files on lab.here")), "{}", told.err);
    assert_eq!(runs(&sandbox).len(), 1);
    let_go(&sandbox, "1");
    ends(first, 0);
    said(sandbox.dsl("run").arg(sandbox.module()).arg("busy")).exits(0);
}

/// Who has its turn in a group waits for a target, and whoever holds that is on its way already.
#[test]
fn branches_that_take_turns_never_wait_in_a_circle() {
    let sandbox = sandbox();
    let children: Vec<Child> =
        (0..6).map(|number| spawn(&sandbox, &[["turns_forth", "turns_back"][number % 2]])).collect();
    children.into_iter().for_each(|child| ends(child, 0));
}

#[test]
fn runs_with_crossing_needs_never_wait_in_a_circle() {
    let sandbox = sandbox();
    let children: Vec<Child> = (0..6)
        .map(|number| {
            let pipeline = if number % 2 == 0 { "forth" } else { "back" };
            spawn(&sandbox, &[pipeline, &format!("mark={number}")])
        })
        .collect();
    children.into_iter().for_each(|child| ends(child, 0));
    // Each run has both targets for itself.
    let log = log(&sandbox);
    assert!(log.chunks(2).all(|pair| pair[0] == pair[1]) && log.len() == 12, "{log:?}");
}

#[test]
fn a_resource_is_held_by_as_many_as_it_lets() {
    let sandbox = sandbox();
    let first = spawn(&sandbox, &["take", "mark=1"]);
    until("the first begins", || log(&sandbox) == ["begin 1"]);
    let second = spawn(&sandbox, &["take", "mark=2"]);
    until("the second waits", || waiting(&sandbox) == 1);
    let_go(&sandbox, "2");
    let_go(&sandbox, "1");
    ends(first, 0);
    ends(second, 0);
    assert_eq!(log(&sandbox), ["begin 1", "end 1", "begin 2", "end 2"]);
    let children: Vec<Child> =
        (3..6).map(|number| spawn(&sandbox, &["share", &format!("mark={number}")])).collect();
    children.into_iter().for_each(|child| ends(child, 0));
    let log = log(&sandbox).split_off(4);
    let alone = |pair: &[String]| {
        pair[0].strip_prefix("begin") == pair[1].strip_prefix("end") && pair[0].starts_with("begin")
    };
    assert!(log.chunks(2).all(alone) && log.len() == 6, "{log:?}");
}

#[test]
fn a_dead_run_keeps_what_it_holds_until_it_is_taken_up() {
    let sandbox = sandbox();
    let mut first = spawn(&sandbox, &["one", "mark=1"]);
    until("the first begins", || log(&sandbox) == ["begin 1"]);
    first.kill().expect("it lives");
    first.wait().expect("it is gone");
    let holder = runs(&sandbox)[0]["run"].as_str().expect("an id").to_owned();
    let second = spawn(&sandbox, &["one", "mark=2"]);
    until("the second waits", || waiting(&sandbox) == 1);
    let told = said(&mut sandbox.dsl("runs")).exits(0);
    assert!(told.out.contains(&format!("nobody carries it out: `dsl resume {holder}`")), "{}", told.out);
    let_go(&sandbox, "1");
    let_go(&sandbox, "2");
    said(sandbox.dsl("resume").arg(&holder)).exits(0);
    ends(second, 0);
    assert_eq!(log(&sandbox), ["begin 1", "end 1", "begin 2", "end 2"]);
}

#[test]
fn a_dead_run_that_only_waits_is_passed_over() {
    let sandbox = sandbox();
    let first = spawn(&sandbox, &["one", "mark=1"]);
    until("the first begins", || log(&sandbox) == ["begin 1"]);
    let mut second = spawn(&sandbox, &["one", "mark=2"]);
    until("the second waits", || waiting(&sandbox) == 1);
    second.kill().expect("it lives");
    second.wait().expect("it is gone");
    let third = spawn(&sandbox, &["one", "mark=3"]);
    until("the third waits", || waiting(&sandbox) == 2);
    for mark in ["1", "2", "3"] {
        let_go(&sandbox, mark);
    }
    ends(first, 0);
    ends(third, 0);
    let dead = runs(&sandbox)[1]["run"].as_str().expect("an id").to_owned();
    said(sandbox.dsl("resume").arg(dead)).exits(0);
    assert_eq!(log(&sandbox), ["begin 1", "end 1", "begin 3", "end 3", "begin 2", "end 2"]);
}

#[test]
fn a_waiting_run_can_be_aborted() {
    let sandbox = sandbox();
    let first = spawn(&sandbox, &["one", "mark=1"]);
    until("the first begins", || log(&sandbox) == ["begin 1"]);
    let second = spawn(&sandbox, &["one", "mark=2"]);
    until("the second waits", || waiting(&sandbox) == 1);
    said(sandbox.dsl("abort").arg("last")).exits(0);
    ends(second, 4);
    assert_eq!(waiting(&sandbox), 0);
    let_go(&sandbox, "1");
    ends(first, 0);
    assert_eq!(log(&sandbox), ["begin 1", "end 1"]);
}

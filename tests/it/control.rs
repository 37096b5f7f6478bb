//! Acting on a run that is under way: signals, and commands from another process.

use crate::support::{Sandbox, said};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A pipeline whose steps wait for files that the test makes.
pub const GATED: &str = r#"
environment lab {
  kind = non_production
  infrastructure here = local { root = "here" }
}

group ops { members = ["ACCOUNT"] }

service files = local { artifact = other { path = "files" } }

workflow gated(service: service<local>, infra: infrastructure<local>) {
  phase deploy {
    step put = local.deploy {}
    step gate = shell { script = "until [ -e open ]; do sleep 0.05; done" }
  }
}

workflow asking(service: service<local>, infra: infrastructure<local>) {
  on failure { ask ops within 1h then rollback }
  phase deploy {
    step put = local.deploy {}
    step try = shell { script = "test -e open" }
  }
}

pipeline one { stage s = gated { service = files, infra = lab.here } }
pipeline two { stage s = asking { service = files, infra = lab.here } }
"#;

/// A process that was stopped while a step ended in time does not hold it for late.
#[test]
fn what_ended_in_time_while_the_process_was_stopped_is_no_timeout() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w {
  phase a {
    step b = shell { script = "echo >begun; until [ -e open ]; do sleep 0.01; done; echo >ended", timeout = 2s }
  }
}
pipeline p { stage s = w {} }
"#,
    );
    ends_while_stopped(Started::of(sandbox, "p"));
}

/// Nor does it break the barrier that the step leads to: the other stage has not waited too long.
#[test]
fn what_ended_in_time_while_the_process_was_stopped_breaks_no_barrier() {
    let sandbox = Sandbox::of_source(
        r#"
workflow early { phase a { barrier b { timeout = 2s } } }
workflow late {
  phase a {
    step c = shell { script = "echo >begun; until [ -e open ]; do sleep 0.01; done; echo >ended" }
    barrier b { timeout = 2s }
  }
}
pipeline p {
  parallel {
    stage one = early {}
    stage two = late {}
  }
}
"#,
    );
    ends_while_stopped(Started::of(sandbox, "p"));
}

/// Stops the process, has the script that it started end, and lets the process go on once two seconds are over.
fn ends_while_stopped(run: Started) {
    let there = |name: &str| run.sandbox.module().join(name).exists();
    while !there("begun") {
        std::thread::yield_now();
    }
    let begun = std::time::Instant::now();
    run.signal(Signal::STOP);
    run.open();
    while !there("ended") || begun.elapsed() < std::time::Duration::from_millis(2500) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run.signal(Signal::CONT);
    run.ends(0);
}

/// The name of the account that the tests run under.
fn account() -> String {
    let output = Command::new("id").arg("-un").output().expect("the command `id`");
    String::from_utf8(output.stdout).expect("a name").trim().into()
}

/// A run in a process of its own.
pub struct Started {
    pub sandbox: Sandbox,
    pub child: Child,
    pub lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Started {
    pub fn new(pipeline: &str) -> Started {
        let sandbox = Sandbox::of_source(&GATED.replace("ACCOUNT", &account()));
        std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
        std::fs::write(sandbox.module().join("files/a"), "a").expect("a file");
        Started::of(sandbox, pipeline)
    }

    pub fn of(sandbox: Sandbox, pipeline: &str) -> Started {
        let command = sandbox.run(&[pipeline]);
        Started::by(sandbox, command)
    }

    pub fn by(sandbox: Sandbox, mut command: Command) -> Started {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        Started { sandbox, child, lines }
    }

    /// Reads what the program says until a line holds `mark`.
    pub fn until(&mut self, mark: &str) {
        let mut seen = String::new();
        for line in &mut self.lines {
            let line = line.expect("a line");
            if line.contains(mark) {
                return;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("`{mark}` was never said:\n{seen}");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program lives");
    }

    pub fn open(&self) {
        std::fs::write(self.sandbox.module().join("open"), "").expect("a file");
    }

    pub fn ends(self, code: i32) -> Sandbox {
        self.ends_saying(code).0
    }

    /// With everything that it says until then.
    pub fn ends_saying(mut self, code: i32) -> (Sandbox, String) {
        // What is not read must not keep the program from ending.
        let said: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        let said = said.join("\n");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(code), "{said}");
        (self.sandbox, said)
    }
}

#[test]
fn sigterm_detaches_and_the_script_goes_on() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    run.signal(Signal::TERM);
    let sandbox = run.ends(5);
    assert_eq!(sandbox.status()["state"], "running");
    assert_eq!(sandbox.status()["alive"], false);
    std::fs::write(sandbox.module().join("open"), "").expect("a file");
    said(sandbox.dsl("resume").arg("last")).exits(0);
}

#[test]
fn a_second_interrupt_detaches() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    run.signal(Signal::INT);
    run.until("Ctrl-C again");
    run.signal(Signal::INT);
    let sandbox = run.ends(5);
    // What nobody carries out is taken up by whoever wants it rolled back.
    std::fs::write(sandbox.module().join("open"), "").expect("a file");
    let told = said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("was rolled back"), "{}", told.out);
    said(sandbox.dsl("resume").arg("last")).exits(1);
    assert!(!sandbox.module().join("here/current").exists(), "the deploy was not undone");
}

#[test]
fn rollback_from_another_terminal() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    let told = said(run.sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("has taken it up"), "{}", told.out);
    let told = said(run.sandbox.dsl("rollback").arg("last")).exits(2);
    assert!(told.err.contains("is being rolled back already"), "{}", told.err);
    let status = run.sandbox.status();
    assert_eq!(status["refused"][0]["request"], "rollback");
    assert_eq!(status["refused"][0]["why"], "the run is being rolled back already");
    let text = said(&mut run.sandbox.dsl("status")).exits(0).out;
    assert!(text.contains(": rollback; too late: the run is being rolled back already"), "{text}");
    run.until("rolls the run back");
    run.until("stops because");
    run.open();
    let (sandbox, told) = run.ends_saying(1);
    assert!(told.contains("run was rolled back") && !told.contains("run failed"), "{told}");
    assert!(!sandbox.module().join("here/current").exists(), "the deploy was not undone");
    assert_eq!(sandbox.status()["stages"]["s"]["outcome"], "rolled_back");
}

#[test]
fn abort_from_another_terminal() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    said(run.sandbox.dsl("abort").arg("last")).exits(0);
    let sandbox = run.ends(4);
    assert!(sandbox.module().join("here/current").exists(), "an abort undoes nothing");
    let told = said(sandbox.dsl("abort").arg("last")).exits(2);
    assert!(told.err.contains("has ended already: it was aborted"), "{}", told.err);
}

/// Rollbacks stop after their running step; what that did is done.
#[test]
fn what_was_undone_when_a_run_was_aborted_is_not_undone_again() {
    let sandbox = Sandbox::of_source(
        r#"
workflow w {
  phase a {
    step b = shell { script = "true", changes = true, undone_by = first }
    step c = shell { script = "true", changes = true, undone_by = last }
    step d = shell { script = "exit 1" }
    rollback {
      parallel {
        step last = shell { script = "echo last >>log; until [ -e open ]; do sleep 0.01; done" }
        step beside = shell { script = "echo beside >>log; until [ -e open ]; do sleep 0.01; done; test -e again" }
      }
      step first = shell { script = "echo first >>log" }
    }
  }
}
pipeline p { stage s = w {} }
"#,
    );
    let mut run = Started::of(sandbox, "p");
    run.until("s.a.rollback.beside started");
    said(run.sandbox.dsl("abort").arg("last")).exits(0);
    run.open();
    let sandbox = run.ends(4);
    let log = || {
        let text = std::fs::read_to_string(sandbox.module().join("log")).expect("a log");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(log(), ["beside", "last"]);
    std::fs::write(sandbox.module().join("again"), "").expect("a file");
    said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert_eq!(log(), ["beside", "beside", "first", "last"]);
}

#[test]
fn a_question_is_answered_from_another_terminal() {
    let mut run = Started::new("two");
    run.until("s.deploy.try waits for an answer of ops");
    let told = said(run.sandbox.dsl("answer").args(["last", "s.deploy.try", "approve"])).exits(2);
    assert!(told.err.contains("answers are retry"), "{}", told.err);
    let told = said(run.sandbox.dsl("answer").args(["last", "s.deploy.put", "retry"])).exits(2);
    assert!(told.err.contains("s.deploy.try"), "{}", told.err);
    assert_eq!(run.sandbox.status()["state"], "waiting");
    run.open();
    said(run.sandbox.dsl("answer").args(["last", "s.deploy.try", "retry", "--comment", "it is there now"]))
        .exits(0);
    let sandbox = run.ends(0);
    let text = said(&mut sandbox.dsl("status")).exits(0).out;
    assert!(text.contains(&format!("{} answered retry: it is there now", account())), "{text}");
}

#[test]
fn one_run_is_carried_out_by_one_process() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    let told = said(run.sandbox.dsl("resume").arg("last")).exits(2);
    assert!(told.err.contains("is being carried out by another process"), "{}", told.err);
    run.open();
    run.ends(0);
}

#[test]
fn a_request_that_nobody_has_taken_up_is_shown() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    run.signal(Signal::STOP);
    // Who asks is told at once that nobody takes it up.
    let told = said(run.sandbox.dsl("abort").arg("last")).exits(0).out;
    assert!(told.contains("is stopped; `kill -CONT"), "{told}");
    let requests = || run.sandbox.status()["requests"].as_array().cloned().unwrap_or_default();
    assert_eq!(requests()[0]["request"], "abort");
    assert_eq!(requests()[0]["by"], account());
    let text = said(&mut run.sandbox.dsl("status")).exits(0).out;
    assert!(text.contains(": abort; nobody has taken it up yet"), "{text}");
    run.signal(Signal::CONT);
    let sandbox = run.ends(4);
    assert_eq!(sandbox.status()["requests"], serde_json::json!([]));
}

#[test]
fn a_stranger_does_not_answer() {
    let sandbox = Sandbox::of_source(&GATED.replace("ACCOUNT", "somebody-else"));
    std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
    let mut run = Started::of(sandbox, "two");
    run.until("s.deploy.try waits for an answer of ops");
    let told = said(run.sandbox.dsl("answer").args(["last", "s.deploy.try", "retry"])).exits(2);
    assert!(told.err.contains("is not in the group `ops`"), "{}", told.err);
    said(run.sandbox.dsl("abort").arg("last")).exits(0);
    run.ends(4);
}

#[test]
fn an_environment_says_who_may_act() {
    let source = GATED.replace("kind = non_production", "kind = non_production\n  may_run = [ops]");
    let allowed = Sandbox::of_source(&source.replace("ACCOUNT", &account()));
    let refused = Sandbox::of_source(&source.replace("ACCOUNT", "somebody-else"));
    for sandbox in [&allowed, &refused] {
        std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
        std::fs::write(sandbox.module().join("open"), "").expect("a file");
    }
    said(&mut allowed.run(&["one"])).exits(0);
    let told = said(&mut refused.run(&["one"])).exits(2);
    assert!(
        told.err.contains("may not do that in environment `lab`: its `may_run` names ops"),
        "{}",
        told.err
    );
    assert!(!refused.module().join("here").exists(), "nothing was touched");
}

#[test]
fn production_is_not_touched_unless_somebody_says_so() {
    let source = GATED.replace("kind = non_production", "kind = production").replace("ACCOUNT", &account());
    let sandbox = Sandbox::of_source(&source);
    std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
    std::fs::write(sandbox.module().join("open"), "").expect("a file");
    let told = said(&mut sandbox.run(&["one"])).exits(2);
    assert!(told.err.contains("one changes lab.here, which is production"), "{}", told.err);
    assert!(told.err.contains("--yes"), "{}", told.err);
    assert!(!sandbox.module().join("here").exists(), "nothing was touched");
    said(&mut sandbox.run(&["one", "--yes"])).exits(0);
}

#[test]
fn events_that_cannot_be_written_from_the_beginning_begin_nothing() {
    let sandbox = Sandbox::of_source(
        r#"workflow w { phase a { step b = shell { script = "true" } } } pipeline p { stage s = w {} }"#,
    );
    let mut command = sandbox.dsl("run");
    command.arg(sandbox.module()).arg("p").arg("--events").arg(sandbox.module().join("no/such/folder"));
    let told = said(&mut command).exits(2);
    assert!(told.err.contains("no/such/folder"), "{}", told.err);
    let told = said(&mut sandbox.dsl("runs")).exits(0);
    assert_eq!(told.out, "nothing has run yet\n");
}

#[cfg(target_os = "linux")]
#[test]
fn events_that_cannot_be_written_later_are_missed_once() {
    let sandbox = Sandbox::of_source(
        r#"workflow w { phase a { step b = shell { script = "echo hello" } } } pipeline p { stage s = w {} }"#,
    );
    let mut command = sandbox.dsl("run");
    command.arg(sandbox.module()).args(["p", "--events", "/dev/full"]);
    let told = said(&mut command).exits(0);
    assert_eq!(told.err.matches("warning: events are missing from `/dev/full`").count(), 1, "{}", told.err);
}

#[test]
fn before_the_first_run_there_are_none() {
    let sandbox = Sandbox::of_source("");
    assert_eq!(said(&mut sandbox.dsl("runs")).exits(0).out, "nothing has run yet\n");
    let told = said(sandbox.dsl("runs").args(["--format", "json"])).exits(0);
    let told: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(told["runs"], serde_json::json!([]));
    assert!(!sandbox.state().exists(), "looking made something");
}

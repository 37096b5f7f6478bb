//! Acting on a run that is under way: signals, and commands from another process.

use crate::support::{Sandbox, said};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// A pipeline whose steps wait for files that the test makes.
const GATED: &str = r#"
environment lab {
  kind = non_production
  infrastructure here = local { root = "here" }
}

group ops { members = ["tester"] }

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

struct Started {
    sandbox: Sandbox,
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Started {
    fn new(pipeline: &str) -> Started {
        let sandbox = Sandbox::of_source(GATED);
        std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
        std::fs::write(sandbox.module().join("files/a"), "a").expect("a file");
        let mut child = sandbox
            .run(&[pipeline])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        Started { sandbox, child, lines }
    }

    /// Reads what the program says until a line holds `mark`.
    fn until(&mut self, mark: &str) {
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

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program lives");
    }

    fn open(&self) {
        std::fs::write(self.sandbox.module().join("open"), "").expect("a file");
    }

    fn ends(mut self, code: i32) -> Sandbox {
        // What is not read must not keep the program from ending.
        self.lines.by_ref().for_each(drop);
        assert_eq!(self.child.wait().expect("it ends").code(), Some(code));
        self.sandbox
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
    // What nobody carries out can still be told to roll back, once somebody does.
    let told = said(sandbox.dsl("rollback").arg("last")).exits(0);
    assert!(told.out.contains("dsl resume"), "{}", told.out);
    std::fs::write(sandbox.module().join("open"), "").expect("a file");
    said(sandbox.dsl("resume").arg("last")).exits(1);
    assert!(!sandbox.module().join("here/current").exists(), "the deploy was not undone");
}

#[test]
fn rollback_from_another_terminal() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    said(run.sandbox.dsl("rollback").arg("last")).exits(0);
    run.until("tester rolls the run back");
    run.open();
    let sandbox = run.ends(1);
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
    assert!(told.err.contains("has ended already: aborted"), "{}", told.err);
}

#[test]
fn a_question_is_answered_from_another_terminal() {
    let mut run = Started::new("two");
    run.until("s.deploy.try waits for an answer of ops");
    let told = said(run.sandbox.dsl("answer").args(["last", "s.deploy.try", "approve"])).exits(2);
    assert!(told.err.contains("answers are retry"), "{}", told.err);
    let told = said(run.sandbox.dsl("answer").args(["last", "s.deploy.put", "retry"])).exits(2);
    assert!(told.err.contains("s.deploy.try"), "{}", told.err);
    let mut stranger = run.sandbox.dsl("answer");
    stranger.env("USER", "stranger").args(["last", "s.deploy.try", "retry"]);
    assert!(said(&mut stranger).exits(2).err.contains("not in the group"));
    assert_eq!(run.sandbox.status()["state"], "waiting");
    run.open();
    said(run.sandbox.dsl("answer").args(["last", "s.deploy.try", "retry", "--comment", "it is there now"]))
        .exits(0);
    run.ends(0);
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
fn an_environment_says_who_may_act() {
    let source = GATED
        .replace("kind = non_production", "kind = non_production\n  may_run = [ops]\n  may_abort = [bosses]");
    let sandbox = Sandbox::of_source(&(source + "group bosses { members = [\"boss\"] }\n"));
    std::fs::create_dir(sandbox.module().join("files")).expect("a folder");
    std::fs::write(sandbox.module().join("open"), "").expect("a file");
    let told = said(sandbox.run(&["one"]).env("USER", "stranger")).exits(2);
    assert!(
        told.err.contains("`stranger` may not do that in environment `lab`: its `may_run` names ops"),
        "{}",
        told.err
    );
    said(sandbox.dsl("status").arg("last")).exits(2);
    said(&mut sandbox.run(&["one"])).exits(0);
}

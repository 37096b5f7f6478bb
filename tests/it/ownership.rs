//! One run, one process: a process that was stopped (SIGSTOP) keeps its run, and one that lost it writes nothing.

use crate::control::Started;
use crate::support::{Sandbox, said};
use rustix::process::Signal;
use std::fs;
use std::process::Stdio;

/// Ten steps, each of which leaves a line; any of them may be the one in which the process is stopped.
const COUNTED: &str = r#"
workflow counting() {
  phase all {
STEPS  }
}
pipeline count { stage s = counting {} }
"#;

const STEPS: usize = 10;

fn counted() -> Sandbox {
    let step = |n| {
        format!(
            "    step s{n} = shell {{ script = \"echo s{n} >>lines; until [ -e open ]; do sleep 0.01; done\" }}\n"
        )
    };
    let steps: String = (0..STEPS).map(step).collect();
    Sandbox::of_source(&COUNTED.replace("STEPS", &steps))
}

fn all_lines() -> String {
    (0..STEPS).map(|n| format!("s{n}\n")).collect()
}

#[test]
fn a_stopped_process_keeps_its_run() {
    let mut run = Started::new("one");
    run.until("s.deploy.gate started");
    run.signal(Signal::STOP);
    let told = said(run.sandbox.dsl("resume").arg("last")).exits(2);
    let process = run.child.id();
    assert!(
        told.err.contains(&format!("another process (process {process}, which is stopped)")),
        "{}",
        told.err
    );
    assert!(told.err.contains(&format!("`kill -CONT {process}` lets it go on")), "{}", told.err);
    assert_eq!(run.sandbox.status()["alive"], true);
    run.open();
    run.signal(Signal::CONT);
    run.ends(0);
}

/// Somebody removes the lock file of a process.
fn unlock(run: &Started) {
    for entry in fs::read_dir(run.sandbox.state().join("runs")).expect("the locks") {
        fs::remove_file(entry.expect("an entry").path()).expect("a lock file");
    }
}

/// The run of a process that is stopped is taken over.
fn taken_over(run: &Started) {
    unlock(run);
    loop {
        let told = said(run.sandbox.dsl("resume").arg("last"));
        // It may have been stopped while it wrote, which nobody else can do then.
        if told.code == Some(2) && told.err.contains("database is locked") {
            run.signal(Signal::CONT);
            std::thread::sleep(std::time::Duration::from_millis(20));
            run.signal(Signal::STOP);
            continue;
        }
        told.exits(0);
        return;
    }
}

#[test]
fn a_process_that_was_replaced_writes_nothing() {
    let mut run = Started::of(counted(), "count");
    run.until("s.all.s0 started");
    // Stopped before it has started the script, it could still do so: whoever takes the run over waits for that.
    let lines = run.sandbox.module().join("lines");
    while !fs::metadata(&lines).is_ok_and(|lines| lines.len() > 0) {
        std::thread::yield_now();
    }
    run.signal(Signal::STOP);
    run.open();
    taken_over(&run);
    let before = run.sandbox.status();
    assert_eq!(before["state"], "succeeded");
    run.signal(Signal::CONT);
    let (sandbox, said) = run.ends_saying(5);
    assert!(said.contains("was taken over by another process"), "{said}");
    assert_eq!(sandbox.status(), before);
    assert_eq!(fs::read_to_string(sandbox.module().join("lines")).expect("lines"), all_lines());
}

/// Stopped at any moment, with steps ending and beginning all the time: nothing is done twice, whoever does it.
#[test]
fn whoever_carries_it_out_nothing_is_done_twice() {
    for round in 0..STEPS {
        let sandbox = counted();
        fs::write(sandbox.module().join("open"), "").expect("a file");
        let mut run = Started::of(sandbox, "count");
        run.until(&format!("s.all.s{round} started"));
        run.signal(Signal::STOP);
        unlock(&run);
        // Both at once, from the moment when the other has taken the run over.
        let told = run.sandbox.state().with_file_name("told");
        let mut resume = run.sandbox.dsl("resume");
        resume.arg("last").arg("--events").arg(&told).stdout(Stdio::null()).stderr(Stdio::null());
        let mut resume = resume.spawn().expect("the program starts");
        let begun = || fs::metadata(&told).is_ok_and(|told| told.len() > 0);
        while !begun() && resume.try_wait().expect("it can be asked").is_none() {
            std::thread::yield_now();
        }
        run.signal(Signal::CONT);
        let taken_over = resume.wait().expect("it ends").code();
        run.lines.by_ref().for_each(drop);
        let stopped = run.child.wait().expect("it ends").code();
        match (stopped, taken_over) {
            (Some(5), Some(0)) => {}
            // It had ended just before it was stopped, or was stopped while it wrote, which nobody else can do then.
            (Some(0), Some(0 | 2)) => {}
            codes => panic!("round {round}: {codes:?}"),
        }
        assert_eq!(run.sandbox.status()["state"], "succeeded");
        let lines = fs::read_to_string(run.sandbox.module().join("lines")).expect("lines");
        assert_eq!(lines, all_lines(), "round {round}");
    }
}

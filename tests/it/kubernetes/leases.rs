//! Who holds a target: a run that was away for too long writes nothing any more.

use super::proxy::{Fault, Rule};
use super::support::{IMAGE, World, world};
use crate::support::{Said, said};
use hyper::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PHASES: &str = "
  phase deploy { step rollout = kubernetes.rolling { timeout = 2m } }
  phase end    { barrier all { timeout = 5m } }";

const LEASE: (&str, &str, &str) = ("coordination.k8s.io/v1", "Lease", "lockstep.shop");

fn holder(world: &World, region: usize) -> Option<String> {
    let lease = world.get(region, LEASE.0, LEASE.1, LEASE.2)?;
    lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_string)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until a run's events hold that text.
fn until(world: &World, text: &str) {
    while !std::fs::read_to_string(world.sandbox.events()).unwrap_or_default().contains(text) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_that_was_overtaken_while_it_stood_still_changes_nothing_any_more() {
    let Some(world) = world("overtaken", "rolling", PHASES) else { return };
    world.run(&["version=3.8"]).exits(0);
    assert_eq!(holder(&world, 1), None, "let go of at the end");
    std::fs::remove_file(world.sandbox.events()).unwrap();
    let mut stopped = world.command(&["version=3.9"]);
    let mut stopped = stopped.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(&world, "applied ConfigMap");
    signal(&stopped, Signal::STOP);
    assert!(holder(&world, 1).is_some() && holder(&world, 2).is_some(), "held for as long as the run lasts");
    let epoch =
        |region| world.get(region, LEASE.0, LEASE.1, LEASE.2).unwrap()["spec"]["leaseTransitions"].as_i64();
    let before = [1, 2].map(|region| epoch(region).unwrap());

    // A run of another machine waits until it may think that one dead, then does its own work.
    let began = Instant::now();
    run_elsewhere(&world).exits(0);
    assert!(began.elapsed() >= Duration::from_secs(20), "nobody is thought dead before");
    assert!([1, 2].iter().all(|region| epoch(*region) > Some(before[region - 1])));
    let settings = world.names(1, "v1", "ConfigMap");

    signal(&stopped, Signal::CONT);
    assert_eq!(stopped.wait().unwrap().code(), Some(3), "its targets are not its own any more");
    let events = std::fs::read_to_string(world.sandbox.events()).unwrap();
    // Its Lease says so, or the first object that it meets, whichever is looked at first.
    let told = ["this one changes nothing any more", "this run has lost its target"];
    assert!(told.iter().any(|words| events.contains(words)), "{events}");
    assert!(events.contains("it is left as it is"), "{events}");
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
        // What was on its way to the API server when the process was stopped arrives all the same, and nothing fences what is not
        // there yet: a ConfigMap of that release, with the mark of the holder that was overtaken, to which no pod refers.
        for name in world.names(region, "v1", "ConfigMap").iter().filter(|name| !settings.contains(name)) {
            let late = world.get(region, "v1", "ConfigMap", name).unwrap();
            assert_eq!(late["data"]["greeting"], "hello from 3.9", "{late}");
            assert_eq!(late["metadata"]["annotations"]["lockstep/epoch"], before[region - 1].to_string());
            let pods = world.deployment(region, "shop")["spec"]["template"]["spec"].to_string();
            assert!(!pods.contains(name.as_str()), "{pods}");
        }
        assert_eq!(holder(&world, region), None);
    }
}

#[test]
fn a_run_that_was_overtaken_restarts_nothing_any_more() {
    nothing_is_done_by_who_was_overtaken("restarted", "restart { timeout = 1m }");
}

#[test]
fn a_run_that_was_overtaken_runs_no_job_any_more() {
    nothing_is_done_by_who_was_overtaken("no_job", "job { manifest = \"job.yaml\", timeout = 1m }");
}

#[test]
fn a_run_that_was_overtaken_and_is_resumed_restarts_nothing_any_more() {
    nothing_is_done_by_who_is_resumed("resumed_restart", "restart { timeout = 1m }");
}

#[test]
fn a_run_that_was_overtaken_and_is_resumed_runs_no_job_any_more() {
    nothing_is_done_by_who_is_resumed("resumed_job", "job { manifest = \"job.yaml\", timeout = 1m }");
}

/// A run that waits, between its release and that step, until a file is there.
fn held_up(test: &str, step: &str) -> Option<World> {
    let phases = format!(
        "phase deploy {{ step rollout = kubernetes.rolling {{ timeout = 2m }} }}
         phase hold   {{ step hold = shell {{ script = \"until test -e go; do sleep 0.05; done\" }} }}
         phase end    {{ step again = kubernetes.{step} }}"
    );
    let world = world(test, "rolling", &phases)?;
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: migrate }\nspec:\n  template:\n    metadata: { annotations: { \
               fakenode/behaviour: succeed } }\n    spec: { restartPolicy: Never, containers: [{ name: m, image: \"busybox:1.37\" }] }\n";
    std::fs::write(world.sandbox.module().join("job.yaml"), job).unwrap();
    Some(world)
}

/// Lets a run of another machine come to its end, and gives what there is then.
fn another_run(world: &World) -> Json {
    std::fs::write(world.sandbox.module().join("go"), "").unwrap();
    run_elsewhere(world).exits(0);
    there(world)
}

/// A run of another machine, with a state directory of its own.
fn run_elsewhere(world: &World) -> Said {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = world.sandbox.dsl("run");
    other.arg(world.sandbox.module()).args(["release", "version=3.10"]);
    said(other.env("LOCKSTEP_STATE", elsewhere.path()).env("KUBECONFIG", world.kubeconfig()))
}

/// Kills a run while both regions wait.
fn killed_in_between(world: &World) {
    let mut killed = world.command(&["version=3.9"]);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(world, "region1.hold.hold");
    until(world, "region2.hold.hold");
    signal(&killed, Signal::KILL);
    killed.wait().unwrap();
}

/// The templates and Jobs of both regions.
fn there(world: &World) -> Json {
    let of = |region| {
        json!([world.deployment(region, "shop")["spec"]["template"], world.names(region, "batch/v1", "Job")])
    };
    json!([of(1), of(2)])
}

fn nothing_is_done_by_who_is_resumed(test: &str, step: &str) {
    let Some(world) = held_up(test, step) else { return };
    killed_in_between(&world);
    let theirs = another_run(&world);
    let resumed = world.resume().exits(3);
    assert!(resumed.err.contains("because nothing was heard of this one"), "{}", resumed.err);
    assert_eq!(there(&world), theirs);
}

#[test]
fn what_an_unfinished_run_had_put_in_place_is_said_when_it_is_returned_to() {
    let Some(world) = held_up("left_over", "shell { script = \"true\" }") else { return };
    world.edit("main.lockstep", "kubernetes.shell", "shell");
    std::fs::write(world.sandbox.module().join("go"), "").unwrap();
    world.run(&["version=3.8"]).exits(0);
    let told = "a run that has not come to its end had put it in place";
    world.edit("main.lockstep", "script = \"true\"", "script = \"exit 1\"");
    let failed = world.run(&["version=3.9"]).exits(1);
    assert!(!failed.err.contains(told), "{}", failed.err);
    std::fs::remove_file(world.sandbox.module().join("go")).unwrap();
    std::fs::remove_file(world.sandbox.events()).unwrap();
    killed_in_between(&world);
    std::fs::write(world.sandbox.module().join("go"), "").unwrap();
    let failed = run_elsewhere(&world).exits(1);
    let mut lines = failed.err.lines();
    assert!(lines.any(|line| line.contains("region1") && line.contains(told)), "{}", failed.err);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

fn nothing_is_done_by_who_was_overtaken(test: &str, step: &str) {
    let Some(world) = held_up(test, step) else { return };
    let mut stopped = world.command(&["version=3.9"]);
    let mut stopped = stopped.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(&world, "region1.hold.hold");
    until(&world, "region2.hold.hold");
    signal(&stopped, Signal::STOP);
    let theirs = another_run(&world);

    signal(&stopped, Signal::CONT);
    assert_eq!(stopped.wait().unwrap().code(), Some(3), "its targets are not its own any more");
    assert_eq!(there(&world), theirs);
    let events = std::fs::read_to_string(world.sandbox.events()).unwrap();
    let told = ["because nothing was heard of this one", "has been taken over by another process or run"];
    assert!(told.iter().any(|words| events.contains(words)), "{events}");
}

#[test]
fn a_run_that_works_for_longer_than_a_lease_lasts_keeps_it() {
    let hold = "
      phase hold { step hold = shell { script = \"while [ -e hold ]; do sleep 0.05; done\", timeout = 5m } }";
    let Some(world) = world("long", "rolling", &format!("{PHASES}{hold}")) else { return };
    let path = world.sandbox.module().join("hold");
    std::fs::write(&path, "").unwrap();
    let mut first = world.command(&["version=3.9"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(&world, ".hold.hold\"");
    let held = holder(&world, 1).expect("it is held");
    let renewed = || world.get(1, LEASE.0, LEASE.1, LEASE.2).unwrap()["spec"]["renewTime"].clone();
    let (began, mut times) = (Instant::now(), vec![renewed()]);

    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = world.sandbox.dsl("run");
    other.arg(world.sandbox.module()).args(["release", "version=3.10"]);
    other.env("LOCKSTEP_STATE", elsewhere.path()).env("KUBECONFIG", world.kubeconfig());
    let mut other = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It is written at least twice while nothing else is, and nobody takes it over.
    while times.len() < 4 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(holder(&world, 1).as_deref(), Some(held.as_str()));
        let now = renewed();
        if times.last() != Some(&now) {
            times.push(now);
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(20), "longer than a silent one would be waited for");
    assert!(other.try_wait().unwrap().is_none(), "it waits");
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    std::fs::remove_file(path).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(other.wait().unwrap().code(), Some(0));
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
}

/// Two pipelines that hold both regions until their end, each taking the other's last one first.
const CROSSING: &str = "
pipeline forth(version: string, image: string = \"IMAGE\") {
  stage region1 = ship { service = shop { image, version }, infra = test.region1 }
  stage region2 = ship { service = shop { image, version }, infra = test.region2 }
  on failure { rollback pipeline }
}
pipeline back(version: string, image: string = \"IMAGE\") {
  stage region2 = ship { service = shop { image, version }, infra = test.region2 }
  stage region1 = ship { service = shop { image, version }, infra = test.region1 }
  on failure { rollback pipeline }
}
";

#[test]
fn runs_of_two_state_directories_never_wait_in_a_circle() {
    let phases = "
      phase deploy { step rollout = kubernetes.rolling { timeout = 2m } }
      phase hold   { step hold = shell { script = \"while [ -e hold ]; do sleep 0.05; done\", timeout = 5m } }";
    let Some(world) = world("crossing", "rolling", phases) else { return };
    let path = world.sandbox.module().join("main.lockstep");
    let source = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, source + &CROSSING.replace("IMAGE", IMAGE)).unwrap();
    let hold = world.sandbox.module().join("hold");
    std::fs::write(&hold, "").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let dsl = |verb: &str, state: &std::path::Path, arguments: &[&str]| {
        let mut command = world.sandbox.dsl(verb);
        command.args(arguments).env("LOCKSTEP_STATE", state).env("KUBECONFIG", world.kubeconfig());
        command
    };
    let module = world.sandbox.module();
    let module = module.to_str().unwrap();
    let start = |state: &std::path::Path, pipeline: &str, version: &str| {
        let mut command = dsl("run", state, &[module, pipeline, version]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let runs = |state: &std::path::Path| {
        let said = crate::support::said(&mut dsl("runs", state, &["--format", "json"])).exits(0);
        let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        told["runs"][0].clone()
    };
    let here = world.sandbox.state();
    let mut first = start(&here, "forth", "version=3.9");
    // A joint claim is held as a whole before its first stage begins.
    let both =
        |run: &str| [1, 2].iter().all(|region| holder(&world, *region).is_some_and(|it| it.starts_with(run)));
    let first_run = loop {
        let run = std::fs::read_dir(&here)
            .is_ok()
            .then(|| runs(&here)["run"].as_str().map(str::to_string))
            .flatten();
        if let Some(run) = run.filter(|run| both(run)) {
            break run;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut second = start(elsewhere.path(), "back", "version=3.10");
    // It says that it waits, and for whom, and holds nothing meanwhile.
    let waiting = loop {
        let run = runs(elsewhere.path());
        let after = run["claims"][0]["after"][0].clone();
        if after["run"] == first_run.as_str() {
            assert_eq!(
                (&run["claims"][0]["holds"], &after["elsewhere"]),
                (&false.into(), &true.into()),
                "{run}"
            );
            break run["run"].as_str().unwrap().to_string();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let status = crate::support::said(&mut dsl("status", elsewhere.path(), &[&waiting])).exits(0);
    let line = format!("run {first_run} of another state directory holds shop on test.region");
    assert!(status.out.contains("waiting") && status.out.contains(&line), "{}", status.out);
    assert!(both(&first_run), "whoever waits holds nothing");
    std::fs::remove_file(hold).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(second.wait().unwrap().code(), Some(0));
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
        assert_eq!(holder(&world, region), None);
    }
}

#[test]
fn the_same_run_goes_on_at_once() {
    let Some(world) = world("goes_on", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    std::fs::remove_file(world.sandbox.events()).unwrap();
    assert!(world.sandbox.kill_at(&mut world.command(&["version=3.10"]), "applied Deployment"));
    let before = holder(&world, 1).expect("a dead run keeps what it holds");
    assert!(before.ends_with("/1"), "{before}");
    let resumed = world.resume().exits(0);
    assert!(!resumed.err.contains("waiting for `shop`"), "{}", resumed.err);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    assert_eq!(holder(&world, 1), None);
}

#[test]
fn a_region_that_is_away_for_longer_than_a_lease_lasts_comes_back_to_the_old_release() {
    let Some(mut world) = world("away", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    let old = [1, 2].map(|region| world.deployment(region, "shop")["spec"].to_string());
    let since: Mutex<Option<Instant>> = Mutex::new(None);
    let rule: Rule = Arc::new(move |method, path, _| {
        let mut since = since.lock().unwrap();
        if *method == Method::PATCH && path.contains("/deployments/") {
            since.get_or_insert_with(Instant::now);
        }
        match since.is_some_and(|since| since.elapsed() < Duration::from_secs(25)) {
            true => Fault::Cut,
            false => Fault::None,
        }
    });
    world.proxy([Arc::new(|_, _, _| Fault::None), rule]);
    let failed = world.run(&["version=3.10"]).exits(1);
    assert!(failed.out.contains("region2.deploy.rollout failed (connectivity)"), "{}", failed.out);
    for region in [1, 2] {
        assert_eq!(world.deployment(region, "shop")["spec"].to_string(), old[region - 1]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        assert_eq!(holder(&world, region), None);
    }
}

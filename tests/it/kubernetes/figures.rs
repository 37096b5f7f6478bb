//! Figures: many targets at once, and how many calls they take. See docs/kubernetes.md.

use super::proxy::{Fault, Rule};
use super::support::{MANIFEST, World, world};
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// What breaks does so before its rollout or after it, as soon as it is told to; files say which, and when.
const STORY: &str = "
  phase deploy {
    step break_early = shell {
      only if broken
      script  = \"while [ -e early ]; do sleep 0.05; done; test ! -e broken\"
      timeout = 20m
    }
    step rollout = kubernetes.rolling { timeout = 20m }
    step break_it = shell {
      only if broken
      script  = \"while [ -e wait ]; do sleep 0.05; done; exit 1\"
      timeout = 20m
    }
  }
  phase wrap_up { barrier all { timeout = 20m } }";

/// Makes the world's pipeline deploy to so many namespaces of both clusters; the last one breaks when it is told to.
pub fn many(world: &World, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("{}-{number}", world.namespace)).collect();
    let mut targets = String::new();
    for (number, name) in names.iter().enumerate() {
        let region = 1 + number % 2;
        let context = world.context(region);
        writeln!(
            targets,
            "  infrastructure t{number} = kubernetes {{ context = \"{context}\", namespace = \"{name}\" }}"
        )
        .unwrap();
        world.make_namespace(region, name);
    }
    let path = world.sandbox.module().join("main.lockstep");
    let source = std::fs::read_to_string(&path).unwrap();
    let rest = &source[..source.find("pipeline release").unwrap()];
    let last = names.last().unwrap();
    let image = super::support::IMAGE;
    let text = format!(
        r#"{rest}
environment many {{
  kind = non_production
{targets}}}

pipeline release(version: string, broken: bool = false) {{
  parallel {{
    for target in many.* {{
      stage deploy[target] = ship {{
        service = shop {{ image = "{image}", version }}
        infra   = target
        broken  = broken && target.namespace == "{last}"
      }}
    }}
  }}
}}
"#
    );
    std::fs::write(path, text).unwrap();
    names
}

/// Runs to the end, looking up again and again; the most memory that it had, in MB, as the kernel counts it, and how long it
/// took.
fn measured(world: &World, mut command: Command, code: i32, mut meanwhile: impl FnMut()) -> (u64, f64) {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) / 1024);
        meanwhile();
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    if status.code() != Some(code) {
        let events = std::fs::read_to_string(world.sandbox.events()).unwrap_or_default();
        let failed: Vec<&str> =
            events.lines().filter(|line| line.contains("\"step_failed\"")).take(5).collect();
        panic!("it ended with {status} after {:?}: {failed:#?}", began.elapsed());
    }
    (most, began.elapsed().as_secs_f64())
}

/// From the failure of a stage, as the journal has it, in seconds: until the step that undoes has been started in all of them,
/// and until the last of these has taken its target and begins to write.
fn reactions(events: &str) -> (f64, f64) {
    let lines: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |line: &serde_json::Value| {
        line["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    let undo = |line: &&serde_json::Value| line["step"].as_str().unwrap_or_default().ends_with(".undo");
    let failed = lines.iter().find(|line| line["event"] == "step_failed").map(time).unwrap();
    let undone = || lines.iter().filter(undo);
    let started = undone().filter(|line| line["event"] == "step_started").map(time).max().unwrap();
    let returning =
        |line: &&serde_json::Value| line["message"].as_str().unwrap_or_default().starts_with("returning to");
    let writing = undone().filter(returning).map(time).max().unwrap();
    let after = |time: i64| (time - failed) as f64 / 1000.0;
    (after(started), after(writing))
}

#[test]
#[ignore = "measures: cargo test -p dsl --test it --release kubernetes::figures -- --ignored --nocapture; LOCKSTEP_TARGETS=200"]
fn many_targets_at_once() {
    let Some(world) = world("figures", "rolling", STORY) else { return };
    let count = std::env::var("LOCKSTEP_TARGETS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    world.manifest(&MANIFEST.replace("replicas: 3", "replicas: 1"));
    many(&world, count);
    let (memory, first) = measured(&world, world.command(&["version=3.9"]), 0, || {});
    eprintln!("{count} targets, first release: {first:.1}s, {memory} MB");
    let (memory, second) = measured(&world, world.command(&["version=3.10"]), 0, || {});
    eprintln!("{count} targets, next release: {second:.1}s, {memory} MB");
    let events = || std::fs::read_to_string(world.sandbox.events()).unwrap_or_default();
    let arguments = ["version=3.9", "broken=true"];

    // One fails when all others wait for it.
    std::fs::remove_file(world.sandbox.events()).unwrap();
    let wait = world.sandbox.module().join("wait");
    std::fs::write(&wait, "").unwrap();
    let (memory, failed) = measured(&world, world.command(&arguments), 1, || {
        if wait.exists() && events().matches("\"barrier_arrived\"").count() == count - 1 {
            std::fs::remove_file(&wait).unwrap();
        }
    });
    let (started, writing) = reactions(&events());
    eprintln!(
        "{count} targets, one fails while the others wait: {failed:.1}s, {memory} MB, rollback started in all after \
         {started:.3}s, the last one writes after {writing:.3}s"
    );

    // One fails while all others roll out: what is under way ends first.
    std::fs::remove_file(world.sandbox.events()).unwrap();
    let early = world.sandbox.module().join("early");
    std::fs::write(&early, "").unwrap();
    std::fs::write(world.sandbox.module().join("broken"), "").unwrap();
    let (memory, failed) = measured(&world, world.command(&arguments), 1, || {
        if early.exists() && events().matches(".deploy.rollout started\"").count() == count - 1 {
            std::fs::remove_file(&early).unwrap();
        }
    });
    let (started, writing) = reactions(&events());
    eprintln!(
        "{count} targets, one fails while others roll out: {failed:.1}s, {memory} MB, rollback started in all after \
         {started:.3}s, the last one writes after {writing:.3}s"
    );
}

/// What a call is about: `GET deployments`, `WATCH pods`.
fn subject(method: &hyper::Method, path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // `api/v1/…` and `apis/GROUP/VERSION/…`
    let rest = parts.get(if parts[0] == "api" { 2 } else { 3 }..).unwrap_or_default();
    let (resource, named) = match rest {
        ["namespaces", _, resource, rest @ ..] => (*resource, !rest.is_empty()),
        [resource, rest @ ..] => (*resource, !rest.is_empty()),
        [] => return "GET lists of kinds".into(),
    };
    let verb = match method.as_str() {
        "GET" if query.contains("watch=") => "WATCH",
        "GET" if !named => "LIST",
        other => other,
    };
    format!("{verb} {resource}")
}

/// Whether it is part of what `kubectl apply` and `kubectl rollout status` do, too: the rest is the Lease, the stored release,
/// permissions, who scales, and tidying up.
fn kubectls(subject: &str) -> bool {
    let objects = ["configmaps", "services", "deployments", "pods", "kinds"];
    !subject.starts_with("DELETE") && objects.iter().any(|resource| subject.ends_with(resource))
}

#[test]
#[ignore = "needs kubectl: cargo test -p dsl --test it kubernetes::figures -- --ignored --nocapture"]
fn calls_for_one_target() {
    let phases = "phase deploy { step rollout = kubernetes.rolling { timeout = 2m } }";
    let Some(mut world) = world("counted", "rolling", phases) else { return };
    let fine: Rule = Arc::new(|_, _, _| Fault::None);
    world.proxy([fine.clone(), fine]);
    let calls = |world: &World, from: usize, until: usize| {
        let mut by_subject = std::collections::BTreeMap::new();
        for (method, path, _) in &world.seen_in(1)[from..until] {
            *by_subject.entry(subject(method, path)).or_insert(0) += 1;
        }
        by_subject
    };
    let list = |calls: &std::collections::BTreeMap<String, usize>, which: fn(&str) -> bool| {
        let chosen = calls.iter().filter(|(subject, _)| which(subject));
        let count: usize = chosen.clone().map(|(_, count)| count).sum();
        let words: Vec<String> = chosen.map(|(subject, count)| format!("{count} {subject}")).collect();
        format!("{count} ({})", words.join(", "))
    };
    world.run(&["version=3.8"]).exits(0);
    let from = world.seen_in(1).len();
    world.run(&["version=3.9"]).exits(0);
    let until = world.seen_in(1).len();
    let ours = calls(&world, from, until);
    eprintln!("dsl run: as kubectl {}; beyond {}", list(&ours, kubectls), list(&ours, |it| !kubectls(it)));

    let home = tempfile::tempdir().unwrap();
    let manifest = |version: &str| {
        let text = MANIFEST
            .replace("${service.artifact.tag}", version)
            .replace("${service.artifact.image}", super::support::IMAGE)
            .replace("${infra.namespace}", &world.namespace)
            .replace("name: shop", "name: kube-shop")
            .replace("app: shop", "app: kube-shop");
        std::fs::write(home.path().join("shop.yaml"), text).unwrap();
    };
    let kubectl = |words: &[&str]| {
        let mut command = Command::new("kubectl");
        command.args(["--context", world.context(1), "--namespace", &world.namespace]).args(words);
        command.env("KUBECONFIG", world.kubeconfig()).env("HOME", home.path()).current_dir(home.path());
        let said = crate::support::said(&mut command);
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    };
    for (what, version) in [("with an empty cache", "3.9"), ("again", "3.10")] {
        manifest(version);
        let from = world.seen_in(1).len();
        kubectl(&["apply", "--server-side", "-f", "shop.yaml"]);
        kubectl(&["rollout", "status", "deployment/kube-shop"]);
        let theirs = calls(&world, from, world.seen_in(1).len());
        eprintln!("kubectl apply and rollout status, {what}: {}", list(&theirs, |_| true));
    }
}

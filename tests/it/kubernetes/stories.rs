//! Larger stories: many targets at once, and pods that do not do as they are told.

use super::figures::many;
use super::support::{IMAGE, MANIFEST, world};
use std::process::Stdio;

const STORY: &str = "
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 2m }
    step break_it = shell { only if broken, script = \"exit 1\" }
  }
  phase wrap_up { barrier all { timeout = 5m } }";

#[test]
fn fifty_namespaces_move_together() {
    const COUNT: usize = 50;
    let Some(world) = world("fifty", "rolling", STORY) else { return };
    world.manifest(&MANIFEST.replace("replicas: 3", "replicas: 1"));
    let names = many(&world, COUNT);
    world.run(&["version=3.9"]).exits(0);
    let serving = |number: usize| world.serving_in(1 + number % 2, &names[number], "shop");
    for number in 0..COUNT {
        assert_eq!(serving(number), [(format!("{IMAGE}:3.9"), 1)], "{number}");
    }
    // One of them fails before the barrier: all go back.
    world.run(&["version=3.10", "broken=true"]).exits(1);
    for number in 0..COUNT {
        assert_eq!(serving(number), [(format!("{IMAGE}:3.9"), 1)], "{number}");
    }
}

/// The manifest with annotations for the pods of that version.
fn steered(annotations: &str) -> String {
    MANIFEST.replace(
        "metadata: { labels: { app: shop,",
        &format!("metadata: {{ annotations: {{ {annotations} }}, labels: {{ app: shop,"),
    )
}

#[test]
fn pods_that_are_ready_too_late_are_too_late() {
    let Some(world) = world("late", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("rolling", "rolling", "rolling { timeout = 2m }", "rolling { timeout = 15s }");
    world.manifest(&steered("fakenode/ready-after: \"40\""));
    let failed = world.run(&["version=3.10"]).exits(1);
    assert!(failed.out.contains("failed (timeout)"), "{}", failed.out);
    assert!(failed.err.contains("not rolled out in time"), "{}", failed.err);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    // The deadline of the Deployment itself counts, too.
    let own = steered("fakenode/ready-after: \"40\"")
        .replace("  replicas: 3", "  replicas: 3\n  progressDeadlineSeconds: 3");
    world.manifest(&own);
    world.rewrite("rolling", "rolling", "timeout = 15s", "timeout = 1m");
    let failed = world.run(&["version=3.10"]).exits(1);
    assert!(failed.err.contains("it exceeded its progress deadline of 3s"), "{}", failed.err);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn pods_that_crash_fail_early_with_their_last_words() {
    let Some(world) = world("crash", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.manifest(&steered("fakenode/behaviour: crash, fakenode/logs: \"out of luck\""));
    let failed = world.run(&["version=3.10"]).exits(1);
    for part in ["CrashLoopBackOff", "it cannot get better", "log: out of luck"] {
        assert!(failed.err.contains(part), "{part} is not in\n{}", failed.err);
    }
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
}

#[test]
fn pods_that_are_evicted_meanwhile_are_made_up_for() {
    let Some(world) = world("evicted", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    std::fs::remove_file(world.sandbox.events()).unwrap();
    world.manifest(&steered("fakenode/ready-after: \"3\""));
    let mut run = world.command(&["version=3.10"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !std::fs::read_to_string(world.sandbox.events()).unwrap_or_default().contains("new replicas") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for region in [1, 2] {
        assert!(world.evict_all(region) > 0);
    }
    assert_eq!(run.wait().unwrap().code(), Some(0));
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
}

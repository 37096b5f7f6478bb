//! Failures that rules pass over: what stands at the end of the run, and what the next one returns to.

use super::support::{IMAGE, World, world};
use serde_json::{Value as Json, json};

const GONE: &str = "image=registry.k8s.io/does-not-exist";

const END: &str = "
  phase end {
    step break_it = shell { only if broken, script = \"exit 1\" }
    barrier all { timeout = 5m }
  }";

fn rolling(rule: &str) -> String {
    format!(
        "phase deploy {{ step rollout = kubernetes.rolling {{ timeout = 1m, on failure {{ {rule} }} }} }}{END}"
    )
}

fn image(world: &World, region: usize) -> String {
    let container = world.deployment(region, "shop")["spec"]["template"]["spec"]["containers"][0].clone();
    container["image"].as_str().unwrap().to_string()
}

fn selector(world: &World, region: usize) -> Json {
    world.get(region, "v1", "Service", "shop").unwrap()["spec"]["selector"].clone()
}

#[test]
fn a_colour_that_was_passed_over_leaves_what_serves_as_it_was() {
    let first = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = "
      phase up   { step stage = kubernetes.stage { timeout = 1m, on failure { ignore } } }
      phase over { step swap = kubernetes.swap { timeout = 1m, on failure { succeed } } }";
    let Some(world) = world("passed_stage", "rolling", first) else { return };
    world.run(&["version=3.9"]).exits(0);
    let plain = [1, 2].map(|region| selector(&world, region));
    assert_eq!(plain[0], json!({ "app": "shop" }));
    world.rewrite("rolling", "blue_green", first, phases);

    let passed = world.run(&["version=1", GONE]).exits(0);
    assert!(passed.err.contains("deleted what is left over: Deployment `shop-blue`"), "{}", passed.err);
    for region in [1, 2] {
        assert_eq!(selector(&world, region), plain[region - 1]);
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1);
    }

    // The same where what serves has a colour.
    world.run(&["version=3.10"]).exits(0);
    let blue = json!({ "app": "shop", "lockstep/colour": "blue" });
    assert_eq!(selector(&world, 2), blue);
    world.run(&["version=1", GONE]).exits(0);
    for region in [1, 2] {
        assert_eq!(selector(&world, region), blue);
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop-blue"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
}

#[test]
fn a_stage_that_no_swap_follows_is_shown_and_taken_away() {
    let first = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = "
      phase up   { step stage = kubernetes.stage { timeout = 1m } }
      phase over { step swap = kubernetes.swap { only if broken, timeout = 1m } }";
    let Some(world) = world("unswapped", "rolling", first) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("rolling", "blue_green", first, phases);
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    let narrowed = diff.matches("+    pod-template-hash: ").count();
    let widened = diff.matches("-    pod-template-hash: ").count();
    assert_eq!((narrowed, widened), (2, 2), "{diff}");
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(selector(&world, region), json!({ "app": "shop" }));
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
    }
}

#[test]
fn a_rollout_that_was_ignored_is_not_what_the_next_run_returns_to() {
    let Some(world) = world("ignored", "rolling", &rolling("ignore")) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.run(&["version=1", GONE]).exits(0);
    assert_eq!(image(&world, 1), "registry.k8s.io/does-not-exist:1");
    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    for region in [1, 2] {
        assert_eq!(image(&world, region), format!("{IMAGE}:3.9"));
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    // A person can take the run itself back, too.
    world.run(&["version=1", GONE]).exits(0);
    world.roll_back().exits(0);
    assert_eq!(image(&world, 2), format!("{IMAGE}:3.9"));
    assert_eq!(world.names(2, "v1", "ConfigMap").len(), 1);
}

#[test]
fn a_rollout_that_was_ignored_and_came_right_is_what_the_next_run_returns_to() {
    let Some(world) = world("came_right", "rolling", &rolling("ignore")) else { return };
    world.run(&["version=3.8"]).exits(0);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "full" }, "spec": { "hard": { "pods": "3" } },
    });
    world.apply_as(1, "somebody", &quota);
    while world.get(1, "v1", "ResourceQuota", "full").unwrap()["status"]["used"]["pods"] != "3" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let passed = world.run(&["version=3.9"]).exits(0);
    assert!(passed.err.contains("exceeded quota"), "{}", passed.err);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.8"), 3)]);
    world.delete(1, "v1", "ResourceQuota", "full");
    while world.serving(1, "shop") != [(format!("{IMAGE}:3.9"), 3)] {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    world.run(&["version=3.10", "broken=true"]).exits(1);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    world.run(&["version=3.10"]).exits(0);
    world.roll_back().exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn a_first_release_that_was_ignored_is_never_deleted() {
    let Some(world) = world("first_ignored", "rolling", &rolling("ignore")) else { return };
    world.run(&["version=1", GONE]).exits(0);
    for region in [1, 2] {
        assert_eq!(image(&world, region), "registry.k8s.io/does-not-exist:1");
    }
    // There is nothing better to return to, and it cannot be rolled out: that needs a person.
    let failed = world.run(&["version=3.9", "broken=true"]).exits(3);
    assert!(failed.out.contains("does-not-exist"), "{}{}", failed.out, failed.err);
    for region in [1, 2] {
        assert_eq!(image(&world, region), "registry.k8s.io/does-not-exist:1");
        assert_eq!(world.names(region, "v1", "Service"), ["shop"]);
    }
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.names(1, "v1", "ConfigMap").len(), 1);
}

#[test]
fn a_rollout_that_counts_as_success_is_the_release_in_place() {
    let Some(world) = world("asserted", "rolling", &rolling("succeed")) else { return };
    world.run(&["version=3.9"]).exits(0);
    let old = world.names(1, "v1", "ConfigMap");
    world.run(&["version=1", GONE]).exits(0);
    let new = world.names(1, "v1", "ConfigMap");
    assert!(new.len() == 1 && new != old, "only the new release's is left: {new:?}");
    world.roll_back().exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    assert_eq!(world.names(1, "v1", "ConfigMap"), old);
    // What nobody can roll out is returned to all the same, which needs a person.
    world.run(&["version=1", GONE]).exits(0);
    world.run(&["version=3.10", "broken=true"]).exits(3);
    assert_eq!(image(&world, 1), "registry.k8s.io/does-not-exist:1");
}

#[test]
fn what_an_ignored_step_added_stays_until_the_next_run() {
    let phases = format!(
        "phase deploy {{
           step rollout = kubernetes.rolling {{ timeout = 1m }}
           step more    = kubernetes.apply {{ manifests = [\"more.yaml\"], timeout = 1m, on failure {{ ignore }} }}
         }}{END}"
    );
    let Some(world) = world("ignored_apply", "rolling", &phases) else { return };
    let more = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: more }\nspec:\n  selector: { matchLabels: { app: more } }\n  \
                template:\n    metadata: { labels: { app: more } }\n    spec: { containers: [{ name: m, image: \"registry.k8s.io/does-not-exist:1\" }] }\n";
    let path = world.sandbox.module().join("more.yaml");
    std::fs::write(&path, more).unwrap();
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(world.names(1, "apps/v1", "Deployment"), ["more", "shop"]);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    std::fs::write(&path, "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n").unwrap();
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.names(2, "apps/v1", "Deployment"), ["shop"]);
}

/// Leaves no room in a region for a fifth pod.
fn four_pods_at_most(world: &World, region: usize) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "full" }, "spec": { "hard": { "pods": "4" } },
    });
    world.apply_as(region, "somebody", &quota);
    while world.get(region, "v1", "ResourceQuota", "full").unwrap()["status"]["used"]["pods"] != "3" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_canary_goes_whatever_came_of_what_was_to_take_its_place() {
    let first = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = |rule: &str| {
        format!(
            "
      phase few {{ step few = kubernetes.canary {{ replicas = 1, timeout = 1m }} }}
      phase all {{ step all = kubernetes.promote {{ timeout = 1m, on failure {{ {rule} }} }} }}"
        )
    };
    for rule in ["ignore", "succeed"] {
        let Some(world) = world(&format!("promote_{rule}"), "rolling", first) else { return };
        world.run(&["version=3.9"]).exits(0);
        world.rewrite("rolling", "canary", first, &phases(rule));
        four_pods_at_most(&world, 1);
        let passed = world.run(&["version=3.10"]).exits(0);
        let told = format!("{}{}", passed.out, passed.err);
        assert!(told.contains("exceeded quota"), "{told}");
        assert!(passed.err.contains("deleted what is left over: Deployment `shop-canary`"), "{told}");
        for region in [1, 2] {
            assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
        }
        // What the new pods need stays. Without the canary there is room for them.
        while world.serving(1, "shop") != [(format!("{IMAGE}:3.10"), 3)] {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(world.names(1, "v1", "ConfigMap").len(), if rule == "ignore" { 2 } else { 1 });
        world.roll_back().exits(0);
        for region in [1, 2] {
            assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
            assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        }
    }
}

#[test]
fn a_canary_that_an_earlier_run_left_goes_when_another_release_is_rolled_out() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let few = "phase one { step few = kubernetes.canary { replicas = 1, timeout = 1m } }";
    let Some(world) = world("left_canary", "basic", rolling) else { return };
    world.run(&["version=3.8"]).exits(0);
    world.rewrite("basic", "basic", rolling, few);
    world.run(&["version=3.9"]).exits(0);
    let both = [(format!("{IMAGE}:3.8"), 3), (format!("{IMAGE}:3.9"), 1)];
    assert_eq!(world.serving(2, "shop"), both, "a canary stays for as long as nothing else is said");
    let gone = "phase one { step gone = kubernetes.delete { timeout = 1m } }";
    world.rewrite("basic", "basic", few, gone);
    let diff = world.diff(&["version=3.9"]).exits(0).out;
    assert!(diff.contains("--- Deployment `shop-canary`\n+++ nothing\n"), "{diff}");
    world.run(&["version=3.9"]).exits(0);
    assert!(world.names(1, "apps/v1", "Deployment").is_empty(), "nothing is left of it where all is deleted");
    assert!(world.names(2, "v1", "ConfigMap").is_empty());
    for (before, phases, version) in [(gone, rolling, "version=3.8"), (rolling, few, "version=3.9")] {
        world.rewrite("basic", "basic", before, phases);
        world.run(&[version]).exits(0);
    }
    assert_eq!(world.serving(2, "shop"), both);
    world.rewrite("basic", "basic", few, rolling);
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    assert!(diff.contains("--- Deployment `shop-canary`\n+++ nothing, once"), "{diff}");
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1);
    }
}

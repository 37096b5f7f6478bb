//! How many pods a workload starts with that takes the place of another: as many as that has, where an autoscaler or a person
//! has the say.

use super::support::{MANIFEST, World, world};
use serde_json::{Value as Json, json};

const ROLLING: &str = "phase one { step a = kubernetes.rolling { timeout = 1m } }";

const COLOURS: &str = "
  phase up   { step stage = kubernetes.stage { timeout = 1m } }
  phase over { step swap = kubernetes.swap { timeout = 1m } }
  phase end {
    step break_it = shell { only if broken, script = \"exit 1\" }
    barrier all { timeout = 5m }
  }";

const DELETING: &str = "
  phase one { step gone = kubernetes.delete {} }
  phase end {
    step break_it = shell { only if broken, script = \"exit 1\" }
    barrier all { timeout = 5m }
  }";

fn scaler(name: &str, of: &str) -> Json {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": name },
        "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": of }, "minReplicas": 2,
                  "maxReplicas": 9 },
    })
}

fn replicas(world: &World, name: &str) -> [Json; 2] {
    [1, 2].map(|region| world.deployment(region, name)["spec"]["replicas"].clone())
}

/// Blue/green, its rollback, a failed `delete` and `rolling` after blue/green: none loses pods that `manifest` does not name.
fn nothing_is_lost(test: &str, manifest: &str) {
    let Some(world) = world(test, "rolling", ROLLING) else { return };
    world.manifest(manifest);
    world.run(&["version=3.9"]).exits(0);
    let all = |count: i64| [json!(count), json!(count)];
    let scale = |name: &str, count: i64| [1, 2].iter().for_each(|region| world.scale(*region, name, count));
    scale("shop", 6);
    let change = |from: &str, to: &str| world.rewrite("rolling", "rolling", from, to);

    change(ROLLING, COLOURS);
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(replicas(&world, "shop-blue"), all(6));
    for region in [1, 2] {
        // Beside an autoscaler, which takes what it wants, the number is written as it is.
        if !manifest.contains("HorizontalPodAutoscaler") {
            assert_eq!(world.unowned_replicas(region, "shop-blue"), Some(true), "nobody owns the number");
        }
        let scalers = world.names(region, "autoscaling/v1", "HorizontalPodAutoscaler");
        assert!(scalers.iter().all(|name| name == "shop-blue"), "{scalers:?}");
    }
    scale("shop-blue", 5);
    world.roll_back().exits(0);
    assert_eq!(replicas(&world, "shop"), all(5));
    scale("shop", 4);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(replicas(&world, "shop"), all(4));

    change(COLOURS, DELETING);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(replicas(&world, "shop"), all(4));
    world.run(&["version=3.10"]).exits(0);
    assert!(world.names(1, "apps/v1", "Deployment").is_empty());
    world.roll_back().exits(0);
    assert_eq!(replicas(&world, "shop"), all(4));

    change(DELETING, COLOURS);
    world.run(&["version=3.10"]).exits(0);
    scale("shop-blue", 7);
    change(COLOURS, ROLLING);
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(replicas(&world, "shop"), all(7));
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(replicas(&world, "shop"), all(7), "what was let go of is not taken away");
}

#[test]
fn pods_that_an_autoscaler_made_are_not_lost() {
    nothing_is_lost("autoscaled", &format!("{MANIFEST}---\n{}\n", scaler("shop", "shop")));
}

#[test]
fn pods_that_somebody_asked_for_are_not_lost() {
    nothing_is_lost("by_hand", &MANIFEST.replace("  replicas: 3\n", ""));
}

#[test]
fn somebody_elses_autoscaler_is_named_before_what_it_scales_would_go() {
    let Some(world) = world("dangling", "rolling", ROLLING) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.apply_as(2, "somebody", &scaler("more", "shop"));
    world.rewrite("rolling", "rolling", ROLLING, COLOURS);
    let refused = world.run(&["version=3.10"]).exits(2);
    for part in [
        "shop on test.region2",
        "HorizontalPodAutoscaler `more`",
        "scales Deployment `shop`",
        "nothing was begun",
    ] {
        assert!(refused.err.contains(part), "{part} is not in\n{}", refused.err);
    }
    for region in [1, 2] {
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
    }
    world.delete(2, "autoscaling/v1", "HorizontalPodAutoscaler", "more");
    world.run(&["version=3.10"]).exits(0);
}

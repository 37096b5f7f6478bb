//! Steps that were cut short by `kill -9` are carried out again, and find what is done.

use super::support::{IMAGE, World, world};

/// Has a run killed when it says that, then gone on with to its end.
fn cut_short(world: &World, version: &str, mark: &str) {
    let _ = std::fs::remove_file(world.sandbox.events());
    let mut command = world.command(&[&format!("version={version}")]);
    assert!(world.sandbox.kill_at(&mut command, mark), "it never said `{mark}`");
    world.resume().exits(0);
}

fn ready(world: &World, region: usize, name: &str) -> Option<i64> {
    world.get(region, "apps/v1", "Deployment", name)?["status"]["readyReplicas"].as_i64()
}

#[test]
fn steps_that_were_cut_short_end_as_they_would_have() {
    let mut phases = "phase one { step a = kubernetes.rolling { timeout = 1m } }".to_string();
    let Some(world) = world("repeated", "multi_service", &phases) else { return };
    let mut next = |new: &str| {
        world.rewrite("multi_service", "multi_service", &phases, new);
        phases = new.to_string();
    };
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n";
    std::fs::write(world.sandbox.module().join("more.yaml"), more).unwrap();
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: migrate }\nspec:\n  template:\n    metadata: { annotations: { \
               fakenode/behaviour: succeed } }\n    spec: { restartPolicy: Never, containers: [{ name: m, image: \"busybox:1.37\" }] }\n";
    std::fs::write(world.sandbox.module().join("job.yaml"), job).unwrap();
    let both = |check: &dyn Fn(usize)| [1, 2].into_iter().for_each(check);

    cut_short(&world, "3.9", "applied Service `shop`");
    both(&|region| assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]));

    next("phase one { step a = kubernetes.canary { replicas = 2, timeout = 1m } }");
    cut_short(&world, "3.10", "applied Deployment `shop-canary`");
    both(&|region| assert_eq!(ready(&world, region, "shop-canary"), Some(2)));

    next(
        "phase one { step a = kubernetes.canary { replicas = 2, timeout = 1m } }
          phase two { step b = kubernetes.promote { timeout = 1m } }",
    );
    cut_short(&world, "3.10", "deleting Deployment `shop-canary`");
    both(&|region| {
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    });

    next("phase one { step a = kubernetes.scale { replicas = 4, timeout = 1m } }");
    cut_short(&world, "3.10", "applied Deployment `shop`");
    both(&|region| assert_eq!(ready(&world, region, "shop"), Some(4)));

    next("phase one { step a = kubernetes.apply { manifests = [\"more.yaml\"] } }");
    cut_short(&world, "3.10", "applied ConfigMap `more`");
    both(&|region| assert!(world.get(region, "v1", "ConfigMap", "more").is_some()));

    next("phase one { step a = kubernetes.restart { timeout = 1m } }");
    let sets = [1, 2].map(|region| world.names(region, "apps/v1", "ReplicaSet").len());
    cut_short(&world, "3.10", "restarting Deployment `shop`");
    both(&|region| {
        let now = world.names(region, "apps/v1", "ReplicaSet").len();
        assert_eq!(now, sets[region - 1] + 1, "it is restarted once");
    });

    next("phase one { step a = kubernetes.job { manifest = \"job.yaml\", timeout = 1m } }");
    cut_short(&world, "3.10", "started Job");
    both(&|region| assert_eq!(world.names(region, "batch/v1", "Job").len(), 1, "it finds its own"));

    next("phase one { step a = kubernetes.delete {} }");
    cut_short(&world, "3.10", "deleting Service `shop`");
    both(&|region| {
        for (version, kind) in [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap")] {
            assert!(world.names(region, version, kind).is_empty(), "{kind}");
        }
    });
}

#[test]
fn colours_that_were_cut_short_end_as_they_would_have() {
    let phases = "
        phase up   { step stage = kubernetes.stage { timeout = 1m } }
        phase over { step swap = kubernetes.swap { timeout = 1m }, barrier swapped { timeout = 5m } }";
    let Some(world) = world("repeated_colours", "blue_green", phases) else { return };
    for (version, mark, colour) in [
        ("3.8", "applied Deployment `shop-blue`", "blue"),
        ("3.9", "switching to green", "green"),
        ("3.10", "applied Service `shop`", "blue"),
    ] {
        cut_short(&world, version, mark);
        for region in [1, 2] {
            let service = world.get(region, "v1", "Service", "shop").unwrap();
            assert_eq!(service["spec"]["selector"]["lockstep/colour"], colour, "{version}");
            assert_eq!(world.names(region, "apps/v1", "Deployment"), [format!("shop-{colour}")]);
            assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:{version}"), 3)]);
        }
    }
}

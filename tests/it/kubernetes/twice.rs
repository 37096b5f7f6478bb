//! One run that deploys to one target more than once: what it found is what a rollback returns to.

use super::support::{IMAGE, World, world};

const PHASES: &str = "
  phase deploy { step rollout = kubernetes.rolling { timeout = 1m } }
  phase end    { step break_it = shell { only if broken, script = \"exit 1\" } }";

fn serves(world: &World, version: &str) {
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:{version}"), 3)], "region{region}");
        assert_eq!(
            world.names(region, "v1", "ConfigMap").len(),
            1,
            "region{region}: {version} and nothing else"
        );
    }
}

/// Has the pipeline deploy `3.9` everywhere before the version that it is given.
fn by_way_of_another(world: &World) {
    let first = "
  parallel {
    stage first1 = ship { service = shop { image, version = \"3.9\" }, infra = test.region1 }
    stage first2 = ship { service = shop { image, version = \"3.9\" }, infra = test.region2 }
  }";
    world.edit(
        "main.lockstep",
        "broken: bool = false) {\n  parallel",
        &format!("broken: bool = false) {{{first}\n  parallel"),
    );
}

#[test]
fn stages_one_after_the_other_are_taken_back_together() {
    let Some(world) = world("stages_twice", "rolling", PHASES) else { return };
    world.run(&["version=3.8"]).exits(0);
    by_way_of_another(&world);
    world.run(&["version=3.10"]).exits(0);
    serves(&world, "3.10");
    let back = world.roll_back();
    assert_eq!(back.code, Some(0), "{}{}", back.out, back.err);
    serves(&world, "3.8");

    // Again, and then the run before: nothing is forgotten on the way.
    world.run(&["version=3.10"]).exits(0);
    world.roll_back().exits(0);
    serves(&world, "3.8");
}

#[test]
fn nothing_is_left_where_nothing_was_before_both_stages() {
    let Some(world) = world("first_twice", "rolling", PHASES) else { return };
    by_way_of_another(&world);
    world.run(&["version=3.10"]).exits(0);
    serves(&world, "3.10");
    world.roll_back().exits(0);
    for region in [1, 2] {
        assert!(world.names(region, "apps/v1", "Deployment").is_empty());
        assert!(world.names(region, "v1", "ConfigMap").is_empty());
    }
}

#[test]
fn a_later_stage_that_fails_returns_to_what_the_earlier_one_left_and_a_person_to_what_was_before() {
    let Some(world) = world("second_fails", "rolling", PHASES) else { return };
    let namespace = format!("namespace = \"{}\"", world.namespace);
    world.edit("main.lockstep", &namespace, &format!("{namespace}, keep_releases = 2"));
    world.run(&["version=3.8"]).exits(0);
    by_way_of_another(&world);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    // The second region alone is broken.
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    // A run on top of that is taken back, and then this one.
    let lease = world.get(2, "coordination.k8s.io/v1", "Lease", "lockstep.shop").unwrap();
    let broken = lease["metadata"]["annotations"]["lockstep/run"].as_str().unwrap().to_string();
    world.run(&["version=3.10"]).exits(0);
    world.roll_back().exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    let back = world.roll_back_run(&broken);
    assert_eq!(back.code, Some(0), "{}{}", back.out, back.err);
    serves(&world, "3.8");
}

#[test]
fn steps_of_one_stage_are_taken_back_to_what_was_before_the_first() {
    let phases = "
  phase one { service = shop { image = \"registry.k8s.io/pause\", version = \"3.9\" }
              step rollout = kubernetes.rolling { timeout = 1m } }
  phase two { step rollout = kubernetes.rolling { timeout = 1m }
              step again   = kubernetes.rolling { timeout = 1m } }
  phase end { step break_it = shell { only if broken, script = \"exit 1\" }, barrier all { timeout = 5m } }";
    let Some(world) = world("steps_twice", "multi_service", phases) else { return };
    world.run(&["version=3.8"]).exits(0);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    serves(&world, "3.8");
    world.run(&["version=3.10"]).exits(0);
    serves(&world, "3.10");
    world.roll_back().exits(0);
    serves(&world, "3.8");
}

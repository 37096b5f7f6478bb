//! Two writers at the same object: whoever writes on what is no longer so loses, and knows it.

use super::proxy::{Fault, Rule};
use super::support::{IMAGE, World, world};
use hyper::Method;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PHASES: &str = "
  phase up   { step stage = kubernetes.stage { timeout = 1m }, barrier staged { timeout = 5m } }
  phase over { step swap = kubernetes.swap { timeout = 1m } }
  phase end  { barrier all { timeout = 5m } }";

fn service(world: &World, region: usize) -> Json {
    world.get(region, "v1", "Service", "shop").unwrap()
}

fn colour(world: &World, region: usize) -> String {
    service(world, region)["spec"]["selector"]["lockstep/colour"].as_str().unwrap().to_string()
}

/// How often the first region's Service was written.
fn writes(world: &World) -> usize {
    let of = |(method, path, _): &&(Method, String, Fault)| {
        *method == Method::PATCH && path.contains("/services/shop?")
    };
    world.seen_in(1).iter().filter(of).count()
}

/// Has somebody write the first region's Service after the swap has read it, and before it writes.
fn meddle(world: &mut World, object: Json) {
    let (write, times) = (world.meddler(1, "somebody"), AtomicUsize::new(0));
    let rule: Rule = Arc::new(move |method, path, _| {
        let swaps = *method == Method::PATCH && path.contains("/services/shop?");
        if swaps && times.fetch_add(1, Ordering::Relaxed) == 0 {
            write(&object);
        }
        Fault::None
    });
    world.proxy([rule, Arc::new(|_, _, _| Fault::None)]);
}

fn with(metadata: Json, spec: Json) -> Json {
    let mut object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec });
    object["metadata"]["name"] = "shop".into();
    object
}

#[test]
fn a_swap_that_somebody_writes_in_between_is_made_on_what_is_there_then() {
    let Some(mut world) = world("swap_race", "blue_green", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    meddle(&mut world, with(json!({ "annotations": { "team": "shop" } }), json!({})));
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(writes(&world), 2, "the first one lost");
    assert_eq!((colour(&world, 1), colour(&world, 2)), ("green".into(), "green".into()));
    assert_eq!(service(&world, 1)["metadata"]["annotations"]["team"], "shop", "nothing of theirs is lost");
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
}

#[test]
fn a_selector_that_somebody_takes_during_the_swap_is_theirs() {
    let Some(mut world) = world("swap_taken", "blue_green", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    meddle(&mut world, with(json!({}), json!({ "selector": { "lockstep/colour": "blue" } })));
    let failed = world.run(&["version=3.10"]).exits(1);
    assert!(failed.out.contains("region1.over.swap failed (policy)"), "{}{}", failed.out, failed.err);
    for part in ["Service `shop`", ".spec.selector", "somebody"] {
        assert!(failed.out.contains(part), "{part} is not in\n{}", failed.out);
    }
    assert!(failed.out.contains("failed and was rolled back"), "{}", failed.out);
    for region in [1, 2] {
        assert_eq!(colour(&world, region), "blue");
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop-blue"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
}

#[test]
fn a_swap_that_a_newer_holder_has_written_in_between_changes_nothing_any_more() {
    let Some(mut world) = world("swap_stale", "blue_green", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    meddle(&mut world, with(json!({ "annotations": { "lockstep/epoch": "1000" } }), json!({})));
    let failed = world.run(&["version=3.10"]).exits(3);
    let text = format!("{}{}", failed.out, failed.err);
    for part in
        ["region1.over.swap failed (policy)", "was written by a newer holder", "this run has lost its target"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(colour(&world, 1), "blue", "what the other one has written stands");
    assert_eq!(service(&world, 1)["metadata"]["annotations"]["lockstep/epoch"], "1000");
    // Nobody is in the way of the other region.
    assert_eq!(colour(&world, 2), "blue");
    assert_eq!(world.names(2, "apps/v1", "Deployment"), ["shop-blue"]);
    let status = crate::support::said(&mut world.sandbox.dsl("status"));
    assert!(status.out.contains("region1"), "who is needed is told: {}", status.out);
}

//! Shares of the requests, by the weights of an HTTPRoute.

use super::support::{IMAGE, MANIFEST, World, world};
use serde_json::{Value as Json, json};

const ROUTE: &str = r#"
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  rules:
    - matches: [{ path: { type: PathPrefix, value: / } }]
      backendRefs: [{ name: shop, port: 80 }]
"#;

/// Names and weights of the route's backends.
fn weights(world: &World, region: usize) -> Vec<(String, Option<i64>)> {
    let route = world.get(region, "gateway.networking.k8s.io/v1", "HTTPRoute", "shop").unwrap();
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap().clone();
    let one = |backend: &Json| (backend["name"].as_str().unwrap().to_string(), backend["weight"].as_i64());
    backends.iter().map(one).collect()
}

fn shares(of: &[(&str, i64)]) -> Vec<(String, Option<i64>)> {
    of.iter().map(|(name, weight)| ((*name).to_string(), Some(*weight))).collect()
}

/// Addresses behind a Service.
fn behind(world: &World, region: usize, service: &str) -> usize {
    let endpoints = world.get(region, "v1", "Endpoints", service).unwrap();
    endpoints["subsets"][0]["addresses"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_canary_gets_its_share_of_the_requests() {
    let first = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let Some(world) = world("traffic", "rolling", first) else { return };
    for region in [1, 2] {
        world.know_routes(region);
    }
    world.manifest(&format!("{MANIFEST}{ROUTE}"));
    world.run(&["version=3.9"]).exits(0);
    let whole = vec![("shop".to_string(), None)];
    assert_eq!(weights(&world, 1), whole);
    let phases = "
      phase first { step canary = kubernetes.canary { replicas = 1, timeout = 1m }
                    step some   = kubernetes.traffic { share = 20%, timeout = 1m } }
      phase more  { step canary = kubernetes.canary { replicas = 2, timeout = 1m }
                    step half   = kubernetes.traffic { share = 50%, timeout = 1m } }
      phase look  { step look = shell { script = \"test ! -e hold || exit 1\" }, barrier all { timeout = 5m } }
      phase rest  { step promote = kubernetes.promote { timeout = 1m } }";
    world.rewrite("rolling", "canary", first, phases);

    // Left as it is in the middle, to be looked at: the requests are shared out, each half among its own pods.
    std::fs::remove_file(world.sandbox.events()).unwrap();
    std::fs::write(world.sandbox.module().join("hold"), "").unwrap();
    assert!(
        world
            .sandbox
            .kill_at(&mut world.command(&["version=3.10"]), "50% of the requests go to the new release")
    );
    world.resume().exits(1);
    for region in [1, 2] {
        assert_eq!(weights(&world, region), whole, "the rollback sends everything back");
        assert_eq!(world.names(region, "v1", "Service"), ["shop"]);
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    std::fs::remove_file(world.sandbox.module().join("hold")).unwrap();

    let ask = "barrier all { timeout = 5m }";
    let stop = "step stop = shell { script = \"exit 1\", on failure { fail } }";
    world.edit("main.lockstep", ask, stop);
    world.run(&["version=3.10"]).exits(3);
    for region in [1, 2] {
        assert_eq!(weights(&world, region), shares(&[("shop-stable", 50), ("shop-canary", 50)]));
        assert_eq!((behind(&world, region, "shop-stable"), behind(&world, region, "shop-canary")), (3, 2));
    }
    world.roll_back().exits(0);
    assert_eq!(weights(&world, 2), whole);
    world.edit("main.lockstep", stop, ask);
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(weights(&world, region), whole);
        assert_eq!(world.names(region, "v1", "Service"), ["shop"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }

    // What fails over the Service never comes to the route.
    let typed = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop" }, "spec": { "type": "NodePort" },
    });
    world.apply_as(1, "somebody", &typed);
    world.manifest(&format!("{MANIFEST}{ROUTE}").replace(
        "spec:\n  selector: { app: shop }\n",
        "spec:\n  type: ClusterIP\n  selector: { app: shop }\n",
    ));
    let promote = "step promote = kubernetes.promote { timeout = 1m }";
    world.edit("main.lockstep", promote, &promote.replace(" }", ", on failure { ignore } }"));
    let passed = world.run(&["version=3.11"]).exits(0);
    assert!(passed.err.contains("`.spec.type` belongs to \"somebody\""), "{}", passed.err);
    assert_eq!(weights(&world, 1), whole);
    assert_eq!(world.names(1, "v1", "Service"), ["shop"]);
    assert_eq!(world.names(1, "apps/v1", "Deployment"), ["shop"]);
}

#[test]
fn a_staged_colour_gets_its_share_before_the_swap() {
    let phases = "
      phase up   { step stage = kubernetes.stage { timeout = 1m }
                   step some  = kubernetes.traffic { share = 10%, timeout = 1m }
                   step hold  = shell { only if broken, script = \"exit 1\", on failure { fail } } }
      phase over { step swap = kubernetes.swap { timeout = 1m } }";
    let plain = phases.replace("step some  = kubernetes.traffic { share = 10%, timeout = 1m }", "");
    let Some(world) = world("colour_traffic", "blue_green", &plain) else { return };
    for region in [1, 2] {
        world.know_routes(region);
    }
    world.manifest(&format!("{MANIFEST}{ROUTE}"));
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("blue_green", "blue_green", &plain, phases);
    world.run(&["version=3.10", "broken=true"]).exits(3);
    assert_eq!(weights(&world, 2), shares(&[("shop", 90), ("shop-green", 10)]));
    assert_eq!((behind(&world, 2, "shop"), behind(&world, 2, "shop-green")), (3, 3));
    world.roll_back().exits(0);
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(weights(&world, region), [("shop".to_string(), None)]);
        assert_eq!(world.names(region, "v1", "Service"), ["shop"]);
        assert_eq!(behind(&world, region, "shop"), 3);
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop-green"]);
    }
}

#[test]
fn requests_that_no_route_sends_cannot_be_shared_out() {
    let first = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let Some(world) = world("no_route", "rolling", first) else { return };
    world.run(&["version=3.9"]).exits(0);
    let phases = "
      phase first { step canary = kubernetes.canary { replicas = 1, timeout = 1m }
                    step some   = kubernetes.traffic { share = 20% } }
      phase rest  { step promote = kubernetes.promote { timeout = 1m } }";
    world.rewrite("rolling", "canary", first, phases);
    let refused = world.run(&["version=3.10"]).exits(1);
    assert!(refused.out.contains("put one into the manifests"), "{}", refused.out);
    assert_eq!(world.names(1, "apps/v1", "Deployment"), ["shop"]);
}

impl World {
    /// Sees to it that the cluster knows the HTTPRoutes of the Gateway API.
    fn know_routes(&self, region: usize) {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": "httproutes.gateway.networking.k8s.io",
                "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api" },
            },
            "spec": {
                "group": "gateway.networking.k8s.io", "scope": "Namespaced",
                "names": { "kind": "HTTPRoute", "listKind": "HTTPRouteList", "plural": "httproutes", "singular": "httproute" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true } } } } }],
            },
        });
        self.define(region, &definition);
    }
}

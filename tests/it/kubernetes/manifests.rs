//! What manifests may hold: every kind of workload, the namespace itself, more than one Secret can keep.

use super::support::{IMAGE, MANIFEST, world};
use serde_json::{Value as Json, json};

const STORY: &str = "
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 2m }
    step break_it = shell { only if broken, script = \"exit 1\" }
  }
  phase wrap_up { barrier all { timeout = 5m } }";

/// A workload of that kind with pods of that name.
fn workload(kind: &str, name: &str, more: &str) -> String {
    format!(
        "\n---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n  {more}\n  selector: {{ matchLabels: {{ \
         app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      containers: [{{ name: c, image: \"{IMAGE}:${{service.artifact.tag}}\", envFrom: [{{ \
         configMapRef: {{ name: plain }} }}] }}]\n"
    )
}

#[test]
fn every_kind_of_workload_is_waited_for_and_returned_to() {
    let Some(world) = world("workloads", "rolling", STORY) else { return };
    let plain = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n  annotations: { lockstep/skip_versioning: \
                 \"true\" }\ndata: { release: \"${service.artifact.tag}\" }\n";
    let stateful = workload("StatefulSet", "queue", "serviceName: queue\n  replicas: 2");
    let daemon = workload("DaemonSet", "agent", "updateStrategy: { type: RollingUpdate }");
    world.manifest(&format!("{MANIFEST}{plain}{stateful}{daemon}"));
    let kinds = [("StatefulSet", "queue"), ("DaemonSet", "agent")];
    let status = |kind: &str, object: &Json| match kind {
        "StatefulSet" => (object["status"]["readyReplicas"].clone(), object["spec"]["replicas"].clone()),
        _ => {
            (object["status"]["numberAvailable"].clone(), object["status"]["desiredNumberScheduled"].clone())
        }
    };
    let is = |version: &str| {
        for region in [1, 2] {
            for (kind, name) in kinds {
                let object = world.get(region, "apps/v1", kind, name).unwrap();
                let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
                assert_eq!(*image, format!("{IMAGE}:{version}"), "{kind}");
                let (ready, wanted) = status(kind, &object);
                assert!(wanted.as_i64() > Some(0) && ready == wanted, "{kind}: {ready} of {wanted}");
            }
            let plain = world.get(region, "v1", "ConfigMap", "plain").unwrap();
            assert_eq!(plain["data"]["release"], version, "under its own name");
        }
    };
    world.run(&["version=3.9"]).exits(0);
    is("3.9");
    let specs = || kinds.map(|(kind, name)| world.get(1, "apps/v1", kind, name).unwrap()["spec"].to_string());
    let before = specs();
    world.run(&["version=3.10", "broken=true"]).exits(1);
    is("3.9");
    assert_eq!(specs(), before);
    world.run(&["version=3.10"]).exits(0);
    is("3.10");
}

#[test]
fn a_namespace_is_made_only_where_the_manifests_hold_it() {
    let Some(world) = world("asked_for", "rolling", STORY) else { return };
    let name = format!("{}-new", world.namespace);
    let old = format!("namespace = \"{}\"", world.namespace);
    world.edit("main.lockstep", &old, &format!("namespace = \"{name}\""));
    let refused = world.run(&["version=3.9"]).exits(2);
    assert!(
        refused.err.contains("create the namespace first, or put it into the manifests"),
        "{}",
        refused.err
    );
    assert!(world.get_shared(1, "v1", "Namespace", &name).is_none());
    let namespace = "\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: \"${infra.namespace}\" }\n";
    world.manifest(&format!("{MANIFEST}{namespace}"));
    for region in [1, 2] {
        world.goes_with_it(region, &name);
    }
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving_in(region, &name, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    world.roll_back().exits(0);
    assert!(world.get_shared(2, "v1", "Namespace", &name).is_some(), "it may be somebody else's, too");
    assert!(world.serving_in(2, &name, "shop").is_empty());
}

#[test]
fn a_release_that_no_single_secret_can_hold_is_returned_to() {
    let Some(world) = world("large", "rolling", STORY) else { return };
    // Digits that cannot be compressed to less than half of their size.
    let mut state = 0x5eed_u64;
    let mut noise = || -> String {
        let hex = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{state:016x}")
        };
        (0..55_000).map(hex).collect()
    };
    let large = |name: &str, content: &str| {
        format!(
            "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ noise: \"{content}\" }}\n"
        )
    };
    let (one, two) = (noise(), noise());
    world.manifest(&format!("{MANIFEST}{}{}", large("one", &one), large("two", &two)));
    world.run(&["version=3.9"]).exits(0);
    let parts = world.names(1, "v1", "Secret").into_iter().filter(|name| name.starts_with("lockstep.shop."));
    let parts: Vec<String> = parts.collect();
    assert!(parts.len() == 2 && parts[0].ends_with(".0") && parts[1].ends_with(".1"), "{parts:?}");
    let part = world.get(1, "v1", "Secret", &parts[1]).unwrap();
    assert_eq!(part["immutable"], true);
    assert_eq!(part["metadata"]["labels"]["lockstep/instance"], "shop");
    world.manifest(&format!("{MANIFEST}{}{}", large("one", "less"), large("two", "less")));
    world.run(&["version=3.10", "broken=true"]).exits(1);
    for region in [1, 2] {
        for (name, content) in [("one", &one), ("two", &two)] {
            assert_eq!(world.get(region, "v1", "ConfigMap", name).unwrap()["data"]["noise"], **content);
        }
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
}

#[test]
fn a_quota_that_leaves_no_room_fails_early_and_in_its_own_words() {
    let Some(world) = world("quota", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
                        "spec": { "hard": { "pods": "3" } } });
    world.apply_as(2, "somebody", &quota);
    // Until it counts what is there it lets nothing in, or everything.
    while world.get(2, "v1", "ResourceQuota", "few").unwrap()["status"]["used"]["pods"] != "3" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let failed = world.run(&["version=3.10"]).exits(1);
    for part in ["region2.deploy.rollout failed (policy)", "its pods are refused", "exceeded quota: few"] {
        assert!(failed.err.contains(part) || failed.out.contains(part), "{part} is not in\n{}", failed.err);
    }
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
}

#[test]
fn fields_of_somebody_else_are_taken_over_where_the_step_says_so() {
    let phases = STORY.replace("timeout = 2m }", "timeout = 2m, force = true }");
    let Some(world) = world("forced", "rolling", &phases) else { return };
    let by_hand = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": "shop" } },
            "template": { "metadata": { "labels": { "app": "shop" } },
                          "spec": { "containers": [{ "name": "shop", "image": format!("{IMAGE}:3.9") }] } },
        },
    });
    world.apply_as(1, "somebody", &by_hand);
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
}

/// As `kubectl apply` makes it: Kubernetes 1.20 names its manager for what the run has taken, too.
#[test]
fn what_was_not_applied_by_a_server_is_given_back_to_its_owner() {
    let phases = STORY.replace("timeout = 2m }", "timeout = 2m, force = true }");
    let Some(world) = world("client_side", "rolling", &phases) else { return };
    let alone = |port: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "alone" }, "data": { "port": port } });
    let mut by_hand = alone("1");
    by_hand["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": alone("1").to_string() });
    world.create_as(1, "kubectl-client-side-apply", &by_hand);
    world.manifest(&format!("{MANIFEST}\n---\n{}\n", alone("2")));
    let told = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(
        told.err.contains("gave `.data.port` of ConfigMap `alone` back to kubectl-client-side-apply"),
        "{}",
        told.err
    );
    let there = world.get(1, "v1", "ConfigMap", "alone").unwrap();
    assert_eq!(there["data"], json!({ "port": "1" }));
    let managers = there["metadata"]["managedFields"].as_array().unwrap();
    let names: Vec<&str> = managers.iter().filter_map(|entry| entry["manager"].as_str()).collect();
    assert_eq!(names, ["kubectl-client-side-apply"]);
    assert!(managers[0]["fieldsV1"]["f:data"]["f:port"].is_object(), "{managers:?}");
    assert!(world.get(2, "v1", "ConfigMap", "alone").is_none());
}

#[test]
fn everything_that_a_release_consists_of_is_returned_to() {
    let Some(world) = world("everything", "rolling", STORY) else { return };
    let more = |port: u32, verb: &str| {
        world.manifest(&format!(
            "{}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: shop, labels: {{ verb: {verb} }} }}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{ name: shop }}\nrules: [{{ apiGroups: [\"\"], resources: \
             [pods], verbs: [{verb}] }}]\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: shop }}\nspec: {{ \
             podSelector: {{ matchLabels: {{ app: shop }} }}, ingress: [{{ ports: [{{ port: {port} }}] }}] }}\n---\napiVersion: v1\nkind: \
             ConfigMap\nmetadata: {{ name: alone }}\ndata: {{ port: \"{port}\" }}\nbinaryData: {{ bytes: /w== }}\n",
            MANIFEST.replace("port: 80 }]", &format!("port: {port}, name: web }}]"))
        ));
    };
    let look = || {
        [1, 2].map(|region| {
            let kinds = [
                ("v1", "Service", "shop"),
                ("v1", "ServiceAccount", "shop"),
                ("v1", "ConfigMap", "alone"),
                ("rbac.authorization.k8s.io/v1", "Role", "shop"),
                ("networking.k8s.io/v1", "NetworkPolicy", "shop"),
                ("apps/v1", "Deployment", "shop"),
            ];
            kinds.map(|(version, kind, name)| {
                let object = world.get(region, version, kind, name).unwrap();
                let parts =
                    ["spec", "data", "binaryData", "rules", "secrets"].map(|part| object[part].to_string());
                (object["metadata"]["labels"].clone(), parts)
            })
        })
    };
    more(80, "get");
    world.run(&["version=3.9"]).exits(0);
    let before = look();
    more(8080, "list");
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(look(), before);
    world.run(&["version=3.10"]).exits(0);
    for (old, new) in before.iter().zip(look()) {
        assert!(old.iter().zip(new).all(|(old, new)| *old != new));
    }
    world.roll_back().exits(0);
    assert_eq!(look(), before);
}

#[test]
fn what_belongs_to_another_instance_is_never_touched() {
    let Some(world) = world("instances", "rolling", STORY) else { return };
    let (one, two) = (world.context(1), world.context(2));
    world.edit(
        "main.lockstep",
        &format!("context = \"{two}\","),
        &format!("context = \"{one}\", release = \"b\","),
    );
    let refused = world.run(&["version=3.9"]).exits(2);
    let words = "would belong to two service instances, `b-shop` and `shop`";
    assert!(refused.err.contains(words), "{}", refused.err);
    assert!(world.names(1, "coordination.k8s.io/v1", "Lease").is_empty(), "nothing was begun");
    // With names of their own they live beside one another.
    let own = "shop${if infra.release == \"b\" then \"-b\" else \"\"}";
    let named = MANIFEST
        .replace("name: shop-settings", "name: 'OWN-settings'")
        .replace("name: shop,", "name: 'OWN',")
        .replace("name: shop }", "name: 'OWN' }")
        .replace("app: shop", "app: 'OWN'")
        .replace("OWN", own);
    world.manifest(&named);
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(world.names(1, "apps/v1", "Deployment"), ["shop", "shop-b"]);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    world.run(&["version=3.10"]).exits(0);
    world.roll_back().exits(0);
    for name in ["shop", "shop-b"] {
        assert_eq!(world.serving(1, name), [(format!("{IMAGE}:3.9"), 3)]);
    }
    let leases = world.names(1, "coordination.k8s.io/v1", "Lease");
    assert_eq!(leases, ["lockstep.b-shop", "lockstep.shop"]);
    // Somebody who deploys one alone, under the other's names, is told by what is there.
    world.edit("main.lockstep", "release = \"b\"", "release = \"c\"");
    let first = "    stage region1 = ship { service = shop { image, version }, infra = test.region1 }\n";
    world.edit("main.lockstep", first, "");
    let own = world.run(&["version=3.9"]).exits(1);
    assert!(own.out.contains("belongs to the service instance `shop`"), "{}{}", own.out, own.err);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

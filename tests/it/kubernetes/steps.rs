//! The other steps: canaries, colours, more objects, scaling, restarts, jobs, deleting; each undone where it can be.

use super::support::{IMAGE, MANIFEST, World, world};
use crate::support::said;
use std::process::Stdio;

/// Fails in the second region when the pipeline says so, and takes everything back in both.
const END: &str = "
  phase wrap_up {
    step break_it = shell { only if broken, script = \"exit 1\" }
    barrier all { timeout = 5m }
  }";

fn with_end(phases: &str) -> String {
    format!("{phases}{END}")
}

fn ready(world: &World, region: usize, name: &str) -> Option<i64> {
    world.get(region, "apps/v1", "Deployment", name)?["status"]["readyReplicas"].as_i64()
}

#[test]
fn a_canary_grows_and_is_promoted() {
    let phases = with_end(
        "phase first  { step canary = kubernetes.canary { share = 34%, timeout = 1m } }
         phase more   { step canary = kubernetes.canary { replicas = 3, timeout = 1m } }
         phase look   { step look = shell { script = \"test ! -e hold || exit 1\" } }
         phase finish { step promote = kubernetes.promote { timeout = 1m } }",
    );
    let first = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let Some(world) = world("canary", "canary", &phases) else { return };
    // Nothing runs yet that a canary could stand beside.
    let refused = world.run(&["version=3.9"]).exits(1);
    assert!(refused.out.contains("deploy one with `kubernetes.rolling` first"), "{}", refused.out);
    world.rewrite("canary", "rolling", &phases, first);
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("rolling", "canary", first, &phases);

    // Given up while the canary runs.
    std::fs::write(world.sandbox.module().join("hold"), "").unwrap();
    let settings = world.names(1, "v1", "ConfigMap");
    world.run(&["version=3.10"]).exits(1);
    for region in [1, 2] {
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
        assert_eq!(world.names(region, "v1", "ConfigMap"), settings);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    std::fs::remove_file(world.sandbox.module().join("hold")).unwrap();

    // Promoted, but taken back by the other region's failure after it.
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    assert_eq!(world.names(1, "apps/v1", "Deployment"), ["shop"]);

    let promoted = world.run(&["version=3.10"]).exits(0);
    assert!(promoted.err.contains("applied Deployment `shop-canary`"), "{}", promoted.err);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"], "the canary has done its duty");
    }
}

#[test]
fn a_canary_has_its_share_of_pods() {
    let phases = "
        phase one   { step a = kubernetes.rolling { timeout = 1m } }
        phase two   { step b = kubernetes.canary { share = 34%, timeout = 1m } }
        phase three { step look = shell { script = \"exit 0\" } }";
    let Some(world) = world("share", "multi_service", phases) else { return };
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(ready(&world, 1, "shop-canary"), Some(2), "34% of three, rounded up");
    let template = &world.deployment(1, "shop-canary")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(template["app"], "shop", "the Service's selector fits it");
    let delete = "phase two { step gone = kubernetes.canary_delete {} }";
    world.rewrite("multi_service", "multi_service", phases, delete);
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(world.names(1, "apps/v1", "Deployment"), ["shop"]);
}

#[test]
fn colours_take_turns() {
    let phases = with_end(
        "phase up   { step stage = kubernetes.stage { timeout = 1m } }
         phase over { step swap = kubernetes.swap { timeout = 1m } }",
    );
    let Some(world) = world("colours", "blue_green", &phases) else { return };
    let colour = |region: usize| {
        let service = world.get(region, "v1", "Service", "shop").unwrap();
        service["spec"]["selector"]["lockstep/colour"].as_str().unwrap().to_string()
    };
    world.run(&["version=3.9"]).exits(0);
    assert_eq!((colour(1), colour(2)), ("blue".into(), "blue".into()));
    let blue = world.deployment(1, "shop-blue")["spec"].to_string();
    let pods = [1, 2].map(|region| world.names(region, "v1", "Pod"));

    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.err.contains("switching to green"), "it had been swapped");
    for region in [1, 2] {
        assert_eq!(colour(region), "blue");
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop-blue"]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
    assert_eq!(world.deployment(1, "shop-blue")["spec"].to_string(), blue);
    for region in [1, 2] {
        let now = world.names(region, "v1", "Pod");
        assert!(pods[region - 1].iter().all(|pod| now.contains(pod)), "blue was kept: {now:?}");
    }

    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(colour(region), "green");
        assert_eq!(ready(&world, region, "shop-green"), Some(3));
        assert_eq!(
            world.names(region, "apps/v1", "Deployment"),
            ["shop-green"],
            "blue is not needed any more"
        );
    }
    // Taken back after all: blue is there before requests are sent to it.
    let back = world.roll_back().exits(0);
    let at = |text: &str| back.err.find(text).unwrap_or_else(|| panic!("{text} is not in\n{}", back.err));
    assert!(at("applied Deployment `shop-blue`") < at("applied Service `shop`"));
    for region in [1, 2] {
        assert_eq!(colour(region), "blue");
        assert_eq!(world.deployment(region, "shop-blue")["spec"].to_string(), blue);
        assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop-blue"]);
    }
    world.run(&["version=3.10"]).exits(0);
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(colour(1), "blue");
}

#[test]
fn the_first_colour_is_sent_nothing_before_the_swap() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = with_end(
        "phase up   { step stage = kubernetes.stage { timeout = 1m } }
         phase look { step look = shell { script = \"while [ -e hold ]; do sleep 0.05; done\" } }
         phase over { step swap = kubernetes.swap { only if swapped, timeout = 1m } }",
    );
    let Some(world) = world("first_colour", "rolling", rolling) else { return };
    world.edit("main.lockstep", "broken: bool = false", "swapped: bool = true, broken: bool = false");
    for region in ["test.region1", "test.region2, broken"] {
        world.edit(
            "main.lockstep",
            &format!("infra = {region} }}"),
            &format!("infra = {region}, swapped }}"),
        );
    }
    world.run(&["version=3.9"]).exits(0);
    let selector = |region| world.get(region, "v1", "Service", "shop").unwrap()["spec"]["selector"].clone();
    let plain = selector(1);
    let endpoints = |region| -> Vec<String> {
        let found = world.get(region, "v1", "Endpoints", "shop").unwrap();
        let addresses = found["subsets"][0]["addresses"].as_array().cloned().unwrap_or_default();
        addresses.iter().map(|it| it["targetRef"]["name"].as_str().unwrap().to_string()).collect()
    };
    world.rewrite("rolling", "blue_green", rolling, &phases);

    // The staged pods run, and nobody asks them anything.
    let hold = world.sandbox.module().join("hold");
    std::fs::write(&hold, "").unwrap();
    std::fs::remove_file(world.sandbox.events()).unwrap();
    let mut run = world.command(&["version=3.10", "broken=true", "swapped=false"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let events = || std::fs::read_to_string(world.sandbox.events()).unwrap_or_default();
    let looks = |region: usize| {
        let step = format!("\"region{region}.look.look\"");
        events().lines().any(|line| line.contains("\"step_started\"") && line.contains(&step))
    };
    while !(looks(1) && looks(2)) {
        assert!(run.try_wait().unwrap().is_none(), "{}", events());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for region in [1, 2] {
        assert_eq!(ready(&world, region, "shop-blue"), Some(3));
        let serving = endpoints(region);
        assert!(
            serving.len() == 3 && serving.iter().all(|pod| !pod.starts_with("shop-blue-")),
            "{serving:?} with {}",
            selector(region)
        );
    }
    std::fs::remove_file(&hold).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let is_old = || {
        for region in [1, 2] {
            assert_eq!(selector(region), plain);
            assert_eq!(world.names(region, "apps/v1", "Deployment"), ["shop"]);
            assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        }
    };
    is_old();

    // Swapped, and taken back before and after the end of the run.
    world.run(&["version=3.10", "broken=true"]).exits(1);
    is_old();
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.names(2, "apps/v1", "Deployment"), ["shop-blue"]);
    world.roll_back().exits(0);
    is_old();
}

#[test]
fn services_of_somebody_else_are_sent_no_staged_pods() {
    let phases = "
        phase up   { step stage = kubernetes.stage { timeout = 1m } }
        phase over { step swap = kubernetes.swap { timeout = 1m } }";
    let Some(world) = world("foreign_service", "blue_green", phases) else { return };
    let service = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop" },
        "spec": { "selector": { "app": "shop" }, "ports": [{ "port": 80 }] },
    });
    world.apply_as(1, "somebody", &service);
    let refused = world.run(&["version=3.9"]).exits(1);
    assert!(
        refused.err.contains("is somebody else's and would send requests to staged pods"),
        "{}",
        refused.err
    );
    assert!(world.names(1, "apps/v1", "Deployment").is_empty());
}

#[test]
fn scaling_and_more_objects_are_undone() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = with_end(
        "phase one {
           step more  = kubernetes.apply { manifests = [\"more.yaml\"] }
           step scale = kubernetes.scale { replicas = 5, timeout = 1m }
           step again = kubernetes.restart { timeout = 1m }
         }",
    );
    let Some(world) = world("scaled", "rolling", rolling) else { return };
    let more =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\ndata: { for: \"${infra.name}\" }\n";
    std::fs::write(world.sandbox.module().join("more.yaml"), more).unwrap();
    world.run(&["version=3.9"]).exits(0);
    let before = world.deployment(2, "shop")["spec"].clone();
    world.rewrite("rolling", "basic", rolling, &phases);
    world.run(&["version=3.9", "broken=true"]).exits(1);
    for region in [1, 2] {
        assert_eq!(ready(&world, region, "shop"), Some(3));
        assert!(world.get(region, "v1", "ConfigMap", "more").is_none());
    }
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        assert_eq!(ready(&world, region, "shop"), Some(5));
        let more = world.get(region, "v1", "ConfigMap", "more").unwrap();
        assert_eq!(more["data"]["for"], format!("region{region}"));
        let template = &world.deployment(region, "shop")["spec"]["template"];
        let mark = template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].as_str();
        assert!(mark.is_some_and(|mark| mark.ends_with('Z')), "{mark:?}");
        assert_eq!(template["spec"], before["template"]["spec"]);
    }
}

#[test]
fn what_was_deleted_comes_back() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = with_end("phase one { step gone = kubernetes.delete {} }");
    let Some(world) = world("deleted", "rolling", rolling) else { return };
    world.run(&["version=3.9"]).exits(0);
    let address = || world.get(1, "v1", "Service", "shop").unwrap()["spec"]["clusterIP"].clone();
    let before = address();
    world.rewrite("rolling", "basic", rolling, &phases);
    world.run(&["version=3.9", "broken=true"]).exits(1);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    assert_eq!(world.names(1, "v1", "Service"), ["shop"]);
    assert_eq!(address(), before, "those who have looked it up find it there");
    world.run(&["version=3.9"]).exits(0);
    world.roll_back().exits(0);
    assert_eq!(address(), before);

    // Unless somebody else has it by then, which is said.
    world.run(&["version=3.9"]).exits(0);
    let other = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "other" },
        "spec": { "clusterIP": before, "ports": [{ "port": 80 }] },
    });
    world.apply_as(1, "somebody", &other);
    let back = world.roll_back().exits(0);
    assert!(back.err.contains("Service `shop` gets another cluster IP than it had: "), "{}", back.err);
    assert_ne!(address(), before);
    world.delete(1, "v1", "Service", "other");
    world.rewrite("basic", "rolling", &phases, rolling);
    world.run(&["version=3.10"]).exits(0);
    assert_ne!(address(), before, "it stays what it is");
    world.rewrite("rolling", "basic", rolling, &phases);
    world.run(&["version=3.9"]).exits(0);
    for kind in [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap")] {
        assert!(world.names(1, kind.0, kind.1).is_empty(), "{kind:?}");
    }
}

#[test]
fn what_others_have_put_on_what_is_deleted_is_named() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = with_end("phase one { step gone = kubernetes.delete {} }");
    let Some(world) = world("others", "rolling", rolling) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("rolling", "basic", rolling, &phases);
    let plain = world.run(&["version=3.9", "broken=true"]).exits(1);
    assert!(!plain.err.contains("goes with what others"), "{}", plain.err);
    let service = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop", "annotations": { "cloud/lb": "abc" } },
        "spec": { "sessionAffinity": "ClientIP" },
    });
    world.apply_as(1, "alice", &service);
    let failed = world.run(&["version=3.9", "broken=true"]).exits(1);
    let told = "Service `shop` goes with what others have put on it, and comes back without: ";
    let told: Vec<&str> =
        failed.err.lines().filter_map(|line| line.split_once(told)).map(|(_, what)| what).collect();
    assert_eq!(told, ["`.metadata.annotations.cloud/lb` (alice), `.spec.sessionAffinity` (alice)"]);
}

#[test]
fn a_service_comes_back_with_its_node_ports() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = with_end("phase one { step gone = kubernetes.delete {} }");
    let Some(world) = world("node-ports", "rolling", rolling) else { return };
    world.manifest(&MANIFEST.replace(
        "  ports: [{ port: 80 }]",
        "  type: NodePort\n  ports: [{ name: web, port: 80 }, { name: dns, port: 53, protocol: UDP }]",
    ));
    world.run(&["version=3.9"]).exits(0);
    let ports = || {
        let service = world.get(1, "v1", "Service", "shop").unwrap();
        [0, 1].map(|index| service["spec"]["ports"][index]["nodePort"].clone())
    };
    let before = ports();
    assert!(before.iter().all(serde_json::Value::is_i64));
    world.rewrite("rolling", "basic", rolling, &phases);
    let failed = world.run(&["version=3.9", "broken=true"]).exits(1);
    assert!(
        failed
            .err
            .contains(&format!("and the node port {}, and the node port {} again", before[0], before[1])),
        "{}",
        failed.err
    );
    assert_eq!(ports(), before);
    // They are nobody's, so that a manifest that says less of them does not take them away.
    let service = world.get(1, "v1", "Service", "shop").unwrap();
    let managers = service["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("f:nodePort") && managers.contains("f:ports"), "{managers}");

    // Where somebody else has one of them by then, the other one is had still.
    world.run(&["version=3.9"]).exits(0);
    let other = serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "other" },
        "spec": { "type": "NodePort", "ports": [{ "port": 80, "nodePort": before[0] }] },
    });
    world.apply_as(1, "somebody", &other);
    let back = world.roll_back().exits(0);
    assert!(back.err.contains("Service `shop` gets another node port than it had: "), "{}", back.err);
    let after = ports();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
}

/// On a cluster of one family of addresses, there is one.
#[test]
fn a_service_comes_back_with_the_addresses_of_all_its_families() {
    let rolling = "phase one { step a = kubernetes.rolling { timeout = 1m } }";
    let phases = with_end("phase one { step gone = kubernetes.delete {} }");
    let Some(world) = world("families", "rolling", rolling) else { return };
    world.manifest(
        &MANIFEST
            .replace("  ports: [{ port: 80 }]", "  ipFamilyPolicy: PreferDualStack\n  ports: [{ port: 80 }]"),
    );
    world.run(&["version=3.9"]).exits(0);
    let spec = |region| world.get(region, "v1", "Service", "shop").unwrap()["spec"].clone();
    let all = |spec: serde_json::Value| spec["clusterIPs"].as_array().unwrap().clone();
    let before = [all(spec(1)), all(spec(2))];
    if before[0].len() == 1 {
        eprintln!("SKIPPED: the second family; the clusters have one");
    }
    world.rewrite("rolling", "basic", rolling, &phases);
    let failed = world.run(&["version=3.9", "broken=true"]).exits(1);
    assert!(failed.err.contains("Service `shop` has the cluster IP "), "{}", failed.err);
    assert_eq!([all(spec(1)), all(spec(2))], before);
    // They are nobody's, so that whoever says less of them does not take them away.
    let service = world.get(1, "v1", "Service", "shop").unwrap();
    for entry in service["metadata"]["managedFields"].as_array().unwrap() {
        let fields = entry["fieldsV1"]["f:spec"].to_string();
        assert!(!fields.contains("f:clusterIP"), "{entry}");
    }
    world.rewrite("basic", "rolling", &phases, rolling);
    world.run(&["version=3.10"]).exits(0);
    assert_eq!([all(spec(1)), all(spec(2))], before);
    world.rewrite("rolling", "basic", rolling, &phases);

    // Where the second one is somebody else's by then, the first one is had still.
    world.run(&["version=3.9"]).exits(0);
    if let [first, second] = before[0].as_slice() {
        let other = serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "other" },
            "spec": { "clusterIP": second, "clusterIPs": [second], "ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack",
                      "ports": [{ "port": 80 }] },
        });
        world.apply_as(1, "somebody", &other);
        let back = world.roll_back().exits(0);
        assert!(back.err.contains("gets another cluster IP than it had: "), "{}", back.err);
        assert_eq!(spec(1)["clusterIP"], *first);
        assert_ne!(all(spec(1)), before[0]);
    }
}

#[test]
fn jobs_run_to_their_end() {
    let phases = "phase one { step migrate = kubernetes.job { manifest = \"job.yaml\", timeout = 1m } }";
    let Some(world) = world("jobs", "basic", phases) else { return };
    let job = |behaviour: &str, command: &str| {
        let text = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: migrate }}\nspec:\n  backoffLimit: 0\n  template:\n    \
             metadata: {{ annotations: {{ fakenode/behaviour: {behaviour}, fakenode/logs: \"{behaviour} for \
             ${{service.artifact.tag}}\" }} }}\n    spec:\n      restartPolicy: Never\n      containers:\n        - {{ name: \
             m, image: \"busybox:1.37\", command: [sh, -c, \"{command}\"] }}\n"
        );
        std::fs::write(world.sandbox.module().join("job.yaml"), text).unwrap();
    };
    job("succeed", "echo succeed for 3.9");
    world.run(&["version=3.9"]).exits(0);
    let logs = said(world.sandbox.dsl("logs").arg("last")).exits(0);
    assert!(logs.out.contains("region1.one.migrate (attempt 1)\nsucceed for 3.9\n"), "{}", logs.out);
    job("fail", "echo fail for 3.9; exit 1");
    let failed = world.run(&["version=3.9"]).exits(1);
    for part in ["Job `migrate-", "has ended with exit status 1", "fail for 3.9"] {
        assert!(failed.err.contains(part), "{part} is not in\n{}", failed.err);
    }
    // That one stays to be looked at; what was made by the run before is gone.
    for region in [1, 2] {
        let jobs = world.names(region, "batch/v1", "Job");
        let [left] = jobs.as_slice() else { panic!("{jobs:?}") };
        let left = world.get(region, "batch/v1", "Job", left).unwrap();
        assert_eq!(left["status"]["failed"], 1, "{left}");
        assert_eq!(left["metadata"]["labels"]["lockstep/job"], "migrate");
    }
    // Each attempt of one run has a Job of its own, and all of them stay.
    let retry = "timeout = 1m, on failure { retry 1 every 1s then rollback }";
    world.edit("main.lockstep", "timeout = 1m", retry);
    world.run(&["version=3.9"]).exits(1);
    assert_eq!(world.names(1, "batch/v1", "Job").len(), 2, "one for each attempt");
    // One that does not end in time is no burden for the next.
    job("never-ready", "sleep 3600");
    world.edit("main.lockstep", retry, "timeout = 6s");
    let stopped = world.run(&["version=3.9"]).exits(1);
    assert!(stopped.out.contains("failed (timeout)"), "{}", stopped.out);
    for region in [1, 2] {
        let jobs = world.names(region, "batch/v1", "Job");
        assert!(jobs.is_empty(), "the earlier ones are ended, and this one is stopped: {jobs:?}");
    }
    std::fs::write(world.sandbox.module().join("job.yaml"), MANIFEST).unwrap();
    let wrong = world.run(&["version=3.9"]).exits(2);
    assert!(wrong.err.contains("`job.yaml` describes 3 objects: it has to be one Job"), "{}", wrong.err);
}

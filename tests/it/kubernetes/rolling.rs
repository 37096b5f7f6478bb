//! Rolling updates of two regions: both new, or both as they were.

use super::support::{IMAGE, MANIFEST, by_hand, world};
use crate::support::said;
use serde_json::json;

/// The story of the language's first page: a rolling update, then a barrier that the regions share.
const STORY: &str = r#"
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 2m }
    step break_it = shell { only if broken, script = "exit 1" }
  }
  phase wrap_up {
    barrier all_regions { timeout = 5m }
  }
"#;

#[test]
fn both_regions_are_new_or_both_are_as_they_were() {
    let Some(world) = world("two_regions", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    let old: Vec<_> = [1, 2].map(|region| world.deployment(region, "shop")).into();
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        let deployment = &old[region - 1];
        assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"], "lockstep");
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1, "versioned by content");
    }
    let settings = world.names(1, "v1", "ConfigMap");
    let sets = [1, 2].map(|region| world.sets_with_pods(region));

    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("rolled back"), "{}", failed.out);
    assert_eq!([1, 2].map(|region| world.sets_with_pods(region)), sets, "the old ReplicaSet has the pods");
    for region in [1, 2] {
        let now = world.deployment(region, "shop");
        assert_eq!(now["spec"].to_string(), old[region - 1]["spec"].to_string(), "the same, byte for byte");
        assert!(now["metadata"]["generation"].as_i64() > old[region - 1]["metadata"]["generation"].as_i64());
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        assert_eq!(world.names(region, "v1", "ConfigMap"), settings, "the new one's settings are gone");
    }

    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
}

#[test]
fn a_first_deployment_that_fails_leaves_nothing() {
    let Some(world) = world("first_fails", "rolling", STORY) else { return };
    world.run(&["version=3.9", "broken=true"]).exits(1);
    for region in [1, 2] {
        assert!(world.names(region, "apps/v1", "Deployment").is_empty());
        assert!(world.names(region, "v1", "Service").is_empty());
        assert!(world.names(region, "v1", "ConfigMap").is_empty());
    }
}

#[test]
fn what_somebody_else_deployed_before_is_returned_to() {
    let Some(world) = world("adopted", "rolling", STORY) else { return };
    let by_hand = by_hand();
    for region in [1, 2] {
        world.apply_as(region, "somebody", &by_hand);
    }
    let before = world.deployment(1, "shop");
    // Fields of somebody else's are not taken over unasked.
    let refused = world.run(&["version=3.10"]).exits(1);
    let text = format!("{}{}", refused.out, refused.err);
    for part in [
        "Deployment `shop`",
        ".spec.replicas",
        "somebody",
        world.context(1),
        &world.namespace,
        "force = true",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let after = world.deployment(1, "shop");
    assert_eq!(after["spec"].to_string(), before["spec"].to_string());
    assert!(world.names(1, "v1", "Service").is_empty(), "what was new is gone again");
}

#[test]
fn an_autoscaler_keeps_its_say() {
    let Some(world) = world("autoscaled", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        let scaler = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "shop" },
            "spec": { "minReplicas": 5, "maxReplicas": 9,
                      "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" } },
        });
        world.apply_as(region, "somebody", &scaler);
        world.apply_as(region, "scaler", &json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" }, "spec": { "replicas": 5 },
        }));
    }
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.deployment(region, "shop")["spec"]["replicas"], 5);
    }
    world.run(&["version=3.9", "broken=true"]).exits(1);
    assert_eq!(world.deployment(2, "shop")["spec"]["replicas"], 5);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 5)]);
    let scale = "phase one { step a = kubernetes.scale { replicas = 2 } }";
    world.rewrite("rolling", "basic", STORY, scale);
    let refused = world.run(&["version=3.10"]).exits(1);
    let words = "an autoscaler says how many replicas Deployment `shop` in namespace";
    assert!(refused.out.contains(words), "{}", refused.out);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 5)]);
}

#[test]
fn what_left_the_manifests_is_removed_once_it_cannot_be_needed() {
    let Some(world) = world("pruned", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    let second = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: extra }\nspec: { selector: { app: shop }, ports: [{ port: 81 }] }\n";
    world.manifest(&format!("{MANIFEST}{second}"));
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(world.names(1, "v1", "Service"), ["shop"], "the rollback took what was new");
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.names(1, "v1", "Service"), ["extra", "shop"]);
    let both = world.names(1, "v1", "ConfigMap");
    world.manifest(MANIFEST);
    world.run(&["version=3.9", "broken=true"]).exits(1);
    assert_eq!(
        world.names(1, "v1", "Service"),
        ["extra", "shop"],
        "nothing goes before the run has ended well"
    );
    let told = world.run(&["version=3.9"]).exits(0).err;
    let line = told.lines().find(|line| line.contains("test.region1: deleted what is left over: "));
    assert!(line.is_some_and(|line| line.contains("Service `extra`")), "{told}");
    for region in [1, 2] {
        assert_eq!(world.names(region, "v1", "Service"), ["shop"]);
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1);
        assert_eq!(world.releases(region), 2, "the one in place, and the one to return to");
    }
    // A person takes it back after all.
    world.roll_back().exits(0);
    for region in [1, 2] {
        assert_eq!(world.names(region, "v1", "Service"), ["extra", "shop"]);
        assert_eq!(world.names(region, "v1", "ConfigMap"), both);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
    let nothing = world.roll_back().exits(0);
    assert!(nothing.out.contains("everything is rolled back already"), "{}", nothing.out);
}

#[test]
fn what_a_failed_rollout_that_was_passed_over_put_in_place_is_kept() {
    let phases = "phase deploy { step rollout = kubernetes.rolling { timeout = 1m, on failure { ignore } } }";
    let Some(world) = world("passed_over", "rolling", phases) else { return };
    world.run(&["version=3.9"]).exits(0);
    let before = world.names(1, "v1", "ConfigMap");
    world.run(&["version=1", "image=registry.k8s.io/does-not-exist"]).exits(0);
    let after = world.names(1, "v1", "ConfigMap");
    assert_eq!(after.len(), 2, "what serves needs one, what was begun the other: {after:?}");
    let live = world.deployment(1, "shop").to_string();
    let own: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
    assert!(own.iter().all(|name| live.contains(name.as_str())), "{own:?} is not in {live}");
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.names(1, "v1", "ConfigMap").len(), 1, "nothing else is left in the end");
}

#[test]
fn a_paused_deployment_is_no_matter_of_time() {
    let phases = "phase deploy { step rollout = kubernetes.rolling { timeout = 30m } }";
    let Some(world) = world("paused", "rolling", phases) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.manifest(&MANIFEST.replace("  replicas: 3\n", "  replicas: 3\n  paused: true\n"));
    let failed = world.run(&["version=3.10"]).exits(1);
    for part in ["it is paused (`spec.paused`)", "kubectl rollout resume deployment/shop"] {
        assert!(failed.err.contains(part), "{part} is not in\n{}", failed.err);
    }
    let now = world.deployment(1, "shop")["spec"].clone();
    assert!(now["paused"].is_null(), "{now}");
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn several_releases_are_kept_where_the_infrastructure_says_so() {
    let Some(world) = world("kept", "rolling", "phase one { step a = kubernetes.rolling { timeout = 1m } }")
    else {
        return;
    };
    world.edit("main.lockstep", "namespace = \"", "keep_releases = 2, namespace = \"");
    let image = |version: &str| [(format!("{IMAGE}:{version}"), 3)];
    for version in ["3.6", "3.8", "3.9", "3.10"] {
        world.run(&[&format!("version={version}")]).exits(0);
    }
    assert_eq!(world.releases(1), 3);
    let runs = said(world.sandbox.dsl("runs").args(["--format", "json"])).exits(0);
    let runs: serde_json::Value = serde_json::from_str(&runs.out).unwrap();
    let ids: Vec<&str> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    let early = world.roll_back_run(ids[2]);
    assert!(early.err.contains("has changed it since"), "{}", early.err);
    world.roll_back_run(ids[3]).exits(0);
    assert_eq!(world.serving(1, "shop"), image("3.9"));
    world.roll_back_run(ids[2]).exits(0);
    assert_eq!(world.serving(2, "shop"), image("3.8"));
    let gone = world.roll_back_run(ids[1]);
    assert!(gone.err.contains("is not kept in namespace"), "{}{}", gone.out, gone.err);
    assert_eq!(world.serving(2, "shop"), image("3.8"));
}

#[test]
fn what_would_change_is_shown_and_nothing_is_changed() {
    let Some(world) = world("diff", "rolling", STORY) else { return };
    let first = world.diff(&["version=3.9"]).exits(0);
    for part in [
        "shop on test.region1, `region1.deploy.rollout`:\n--- nothing\n+++ ConfigMap `shop-settings-",
        "+++ Deployment `shop`",
        "shop on test.region2, `region2.deploy.rollout`:",
    ] {
        assert!(first.out.contains(part), "{part} is not in\n{}", first.out);
    }
    assert!(world.names(1, "apps/v1", "Deployment").is_empty());
    world.run(&["version=3.9"]).exits(0);
    let same = world.diff(&["version=3.9"]).exits(0);
    assert_eq!(
        same.out,
        "shop on test.region1: nothing would change\nshop on test.region2: nothing would change\n"
    );
    let before = world.deployment(1, "shop");
    let changed = world.diff(&["version=3.10"]).exits(0);
    for (sign, tag) in [("-", "3.9"), ("+", "3.10")] {
        let image = format!("{IMAGE}:{tag}");
        let found = changed.out.lines().any(|line| line.starts_with(sign) && line.contains(&image));
        assert!(found, "{sign} {image} is not in\n{}", changed.out);
    }
    assert!(changed.out.contains("+++ nothing, once it is not needed"), "{}", changed.out);
    assert_eq!(
        world.deployment(1, "shop")["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
}

#[test]
fn whatever_the_checker_lets_stand_in_a_manifest_is_filled_in() {
    let phases = r#"
      phase one {
        step say     = shell { script = "printf hello" }
        step more    = kubernetes.apply { manifests = ["more.yaml"] }
        step rollout = kubernetes.rolling { timeout = 2m }
      }"#;
    let Some(world) = world("placeholders", "rolling", phases) else { return };
    let settings = "greeting: \"hello from ${service.artifact.tag}\"";
    let own =
        "greeting: \"${if version == \\\"3.9\\\" then \\\"old\\\" else upper(image)} of ${stage.name}\"";
    let own = own.replace("\\\"", "\"").replacen("greeting: \"", "greeting: '", 1);
    let own = format!("{}'", own.strip_suffix('"').unwrap());
    world.manifest(&MANIFEST.replace(settings, &own));
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\ndata: { said: \"${say.stdout} ${broken}\" }\n";
    std::fs::write(world.sandbox.module().join("more.yaml"), more).unwrap();
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        let names = world.names(region, "v1", "ConfigMap");
        let settings = names.iter().find(|name| name.starts_with("shop-settings")).unwrap();
        let settings = world.get(region, "v1", "ConfigMap", settings).unwrap();
        assert_eq!(settings["data"]["greeting"], format!("old of region{region}"));
        assert_eq!(world.get(region, "v1", "ConfigMap", "more").unwrap()["data"]["said"], "hello false");
    }
    // What the run does is settled when it begins: files that are gone or changed meanwhile do not matter.
    let folder = world.sandbox.module().join("k8s");
    std::fs::remove_file(world.sandbox.events()).unwrap();
    assert!(world.sandbox.kill_at(&mut world.command(&["version=3.10"]), "applied ConfigMap `more`"));
    std::fs::remove_dir_all(folder).unwrap();
    world.resume().exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
}

#[test]
fn manifests_that_a_parameter_names_are_those_of_the_runs_beginning() {
    let phases = "
      phase one {
        step more    = kubernetes.apply { manifests = more }
        step rollout = kubernetes.rolling { timeout = 2m }
      }";
    let Some(world) = world("pinned", "rolling", phases) else { return };
    let parameter = "version: string, files: list<path> = [\"k8s\"]) = kubernetes {";
    world.edit("main.lockstep", "version: string) = kubernetes {", parameter);
    world.edit("main.lockstep", "manifests = [\"k8s/*.yaml\"]", "manifests = files");
    let parameter = "broken: bool = false, more: list<path> = [\"more.yaml\"])";
    world.edit(
        "main.lockstep",
        "infra: infrastructure<kubernetes>, broken: bool = false)",
        &format!("infra: infrastructure<kubernetes>, {parameter}"),
    );
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\ndata: { for: \"${infra.name} ${run.id}\" }\n";
    let path = world.sandbox.module().join("more.yaml");
    std::fs::write(&path, more).unwrap();
    assert!(world.sandbox.kill_at(&mut world.command(&["version=3.9"]), "applied ConfigMap `more`"));
    world.manifest(&MANIFEST.replace("replicas: 3", "replicas: 1"));
    std::fs::remove_file(path).unwrap();
    world.resume().exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        let more = world.get(region, "v1", "ConfigMap", "more").unwrap();
        assert!(more["data"]["for"].as_str().unwrap().starts_with(&format!("region{region} ")), "{more}");
    }
}

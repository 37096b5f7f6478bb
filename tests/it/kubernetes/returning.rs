//! What a rollback gives back, and to whom: others write to the same objects.

use super::support::{IMAGE, MANIFEST, World, by_hand, world};
use crate::support::said;
use serde_json::{Value as Json, json};

const PHASES: &str = r#"
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 1m }
    step break_it = shell { only if broken, script = "exit 1" }
  }
  phase end { barrier all { timeout = 5m } }
"#;

fn forced() -> String {
    PHASES.replace("timeout = 1m", "timeout = 1m, force = true")
}

/// Somebody else says how many replicas there are.
fn scaled_by_somebody(world: &World, replicas: i64) {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" }, "spec": { "replicas": replicas },
    });
    [1, 2].iter().for_each(|region| world.apply_as(*region, "somebody", &object));
}

/// Who manages an object, with what, without the time.
fn managers(object: &Json) -> Vec<Json> {
    let mut entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
    // Controllers say how it goes.
    entries.retain(|entry| entry["subresource"].is_null() && entry["manager"] != "kube-controller-manager");
    for entry in &mut entries {
        entry.as_object_mut().unwrap().remove("time");
    }
    entries.sort_by_key(|entry| entry["manager"].to_string());
    entries
}

/// An object without what every write changes.
fn stripped(mut object: Json) -> Json {
    object["managers"] = managers(&object).into();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in ["managedFields", "resourceVersion", "generation"] {
        metadata.remove(key);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
        // When the controller comes to write it is its own affair.
        annotations.remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object.as_object_mut().unwrap().remove("status");
    object
}

#[test]
fn fields_that_somebody_has_come_to_own_are_left_to_them() {
    let Some(world) = world("left", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    scaled_by_somebody(&world, 4);
    let settings = world.names(1, "v1", "ConfigMap");
    for manifest in [MANIFEST.replace("  replicas: 3\n", ""), MANIFEST.to_string()] {
        // The second one is refused before its Deployment is applied.
        world.manifest(&manifest);
        let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
        assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
        let left = "`.spec.replicas` of Deployment `shop` is left as it is: it belongs to \"somebody\"";
        assert!(failed.err.contains(left), "{}", failed.err);
        for region in [1, 2] {
            assert_eq!(world.deployment(region, "shop")["spec"]["replicas"], 4);
            assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 4)]);
            assert_eq!(world.names(region, "v1", "ConfigMap"), settings);
        }
    }
}

#[test]
fn a_run_is_not_taken_back_where_somebody_has_changed_what_it_put_there() {
    let Some(world) = world("hotfix", "rolling", PHASES) else { return };
    world.run(&["version=3.8"]).exits(0);
    world.run(&["version=3.9"]).exits(0);
    let hotfix = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": { "template": { "spec": { "containers": [{ "name": "shop", "image": format!("{IMAGE}:3.10") }] } } },
    });
    world.apply_as(2, "somebody", &hotfix);
    let refused = world.roll_back().exits(2);
    let why = "shop on test.region2: Deployment `shop` in namespace";
    assert!(refused.err.contains(why) && refused.err.contains("belongs to \"somebody\""), "{}", refused.err);
    assert!(refused.err.contains("is left as it is"), "{}", refused.err);
    assert_eq!(
        world.deployment(1, "shop")["spec"]["template"]["spec"]["containers"][0]["image"],
        format!("{IMAGE}:3.9")
    );
}

#[test]
fn a_run_is_taken_back_although_somebody_has_scaled() {
    let Some(world) = world("scaled", "rolling", PHASES) else { return };
    world.run(&["version=3.8"]).exits(0);
    world.run(&["version=3.9"]).exits(0);
    scaled_by_somebody(&world, 4);
    world.roll_back().exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.8"), 4)]);
}

#[test]
fn what_a_forced_step_took_over_is_given_back() {
    let Some(world) = world("given_back", "rolling", &forced()) else { return };
    world.run(&["version=3.9"]).exits(0);
    scaled_by_somebody(&world, 4);
    let before = world.deployment(1, "shop");
    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    for words in [
        "taking `.spec.replicas` of Deployment `shop` over",
        "gave `.spec.replicas` of Deployment `shop` back to somebody",
    ] {
        assert!(failed.err.contains(words), "{words} is not in\n{}", failed.err);
    }
    for region in [1, 2] {
        let now = world.deployment(region, "shop");
        assert_eq!(now["spec"].to_string(), before["spec"].to_string());
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 4)]);
    }
    let replicas = |object: &Json| {
        let owns = |entry: &&Json| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object();
        managers(object).iter().filter(owns).map(|entry| entry["manager"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(replicas(&world.deployment(1, "shop")), ["\"somebody\""], "it is theirs again");

    // A run that went well, and is taken back by a person.
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    world.roll_back().exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 4)]);
    assert_eq!(replicas(&world.deployment(2, "shop")), ["\"somebody\""]);
}

#[test]
fn what_others_had_put_there_keeps_none_of_our_marks() {
    let Some(world) = world("unmarked", "rolling", &forced()) else { return };
    let mut by_hand = by_hand();
    by_hand["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "hand" });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop" },
        "spec": { "selector": { "app": "shop" }, "ports": [{ "port": 80 }] },
    });
    for region in [1, 2] {
        world.apply_as(region, "somebody", &by_hand);
        world.apply_as(region, "somebody", &service);
    }
    let look = |region: usize| {
        [world.deployment(region, "shop"), world.get(region, "v1", "Service", "shop").unwrap()].map(stripped)
    };
    let before = [1, 2].map(look);
    for _ in 0..2 {
        let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
        assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
        assert_eq!([1, 2].map(look), before);
        assert!(world.names(1, "v1", "ConfigMap").is_empty());
    }
}

/// Killed between two objects that it takes over: what it took is in the objects themselves, whichever process gives it back.
#[test]
fn what_was_taken_over_before_a_kill_is_given_back_after_it() {
    let Some(world) = world("killed_forced", "rolling", &forced()) else { return };
    let loose = |value: &str| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": value },
                "metadata": { "name": "loose", "annotations": { "lockstep/skip_versioning": "true" } } })
    };
    world.manifest(&format!("{}\n---\n{MANIFEST}", loose("${service.artifact.tag}")));
    for region in [1, 2] {
        for object in [loose("theirs"), by_hand()] {
            world.create_as(region, "kubectl-client-side-apply", &object);
        }
    }
    // What was only a default of the server, and nobody's word, has its value again, whoever is named for it then.
    let look = |region: usize| {
        let all = [world.deployment(region, "shop"), world.get(region, "v1", "ConfigMap", "loose").unwrap()];
        all.map(stripped).map(|mut object| {
            for entry in object["managers"].as_array_mut().unwrap() {
                if let Some(pods) = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"].as_object_mut() {
                    pods.remove("f:terminationGracePeriodSeconds");
                }
            }
            object
        })
    };
    let before = [1, 2].map(look);
    let mut command = world.command(&["version=3.10", "broken=true"]);
    assert!(world.sandbox.kill_at(&mut command, "applied ConfigMap `loose`"), "it was never applied");
    let failed = world.resume().exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    assert_eq!([1, 2].map(look), before);
}

#[test]
fn somebodys_object_that_a_later_release_took_over_is_not_deleted_with_it() {
    let Some(world) = world("let_go", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    let extra = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "extra" },
        "spec": { "selector": { "app": "shop" }, "ports": [{ "port": 81 }] },
    });
    [1, 2].iter().for_each(|region| world.apply_as(*region, "somebody", &extra));
    let look = |region: usize| stripped(world.get(region, "v1", "Service", "extra").expect("it is theirs"));
    let before = [1, 2].map(look);
    let more = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: extra, labels: { a: b } }\nspec: { selector: { app: shop }, ports: [{ port: 81 }] }\n";
    world.manifest(&format!("{MANIFEST}{more}"));
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!([1, 2].map(look), before);
}

#[test]
fn a_refused_object_is_no_burden_for_later_runs() {
    let Some(world) = world("refused", "rolling", PHASES) else { return };
    world.run(&["version=3.8"]).exits(0);
    let role = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: \"${infra.namespace}-r\" }\nrules: []\n";
    world.manifest(&format!("{MANIFEST}{role}"));
    let refused = world.run(&["version=3.9"]).exits(2);
    assert!(refused.err.contains("cluster_kinds = [\"ClusterRole\"]"), "{}", refused.err);
    assert_eq!(world.releases(1), 1, "nothing was stored of it");

    // One that was the service's own leaves the manifests and `cluster_kinds` at once.
    for region in [1, 2] {
        let context = format!("context = \"{}\"", world.context(region));
        world.edit("main.lockstep", &context, &format!("{context}, cluster_kinds = [\"ClusterRole\"]"));
    }
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        let context = format!("context = \"{}\"", world.context(region));
        world.edit("main.lockstep", &format!("{context}, cluster_kinds = [\"ClusterRole\"]"), &context);
    }
    world.manifest(MANIFEST);
    let done = world.run(&["version=3.10"]).exits(0);
    assert!(!done.err.contains("could not"), "{}", done.err);
    let failed = world.run(&["version=3.8", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}", failed.out);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    for region in [1, 2] {
        let name = format!("{}-r", world.namespace);
        assert!(world.get_shared(region, "rbac.authorization.k8s.io/v1", "ClusterRole", &name).is_some());
        world.delete_shared(region, "rbac.authorization.k8s.io/v1", "ClusterRole", &name);
    }
}

#[test]
fn a_kind_that_is_gone_from_the_cluster_is_no_burden_for_later_runs() {
    let Some(world) = world("kind_gone", "rolling", PHASES) else { return };
    let group = format!("{}.example", world.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("widgets.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced", "names": { "plural": "widgets", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                           "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    });
    [1, 2].iter().for_each(|region| world.define(*region, &definition));
    let widget = format!(
        "\n---\napiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: w }}\nspec: {{ size: 1 }}\n"
    );
    world.manifest(&format!("{MANIFEST}{widget}"));
    world.run(&["version=3.8"]).exits(0);
    world.manifest(MANIFEST);
    for region in [1, 2] {
        let name = format!("widgets.{group}");
        world.delete_shared(region, "apiextensions.k8s.io/v1", "CustomResourceDefinition", &name);
    }
    let done = world.run(&["version=3.9"]).exits(0);
    assert!(!done.err.contains("could not"), "{}", done.err);
    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}", failed.out);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn settings_that_pods_use_stay_until_the_next_run_has_replaced_these() {
    let Some(world) = world("leftovers", "rolling", PHASES) else { return };
    world.run(&["version=3.8"]).exits(0);
    std::fs::remove_file(world.sandbox.events()).unwrap();
    assert!(world.sandbox.kill_at(&mut world.command(&["version=3.9"]), "applied Deployment"));
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = world.sandbox.dsl("run");
    other.arg(world.sandbox.module()).args(["release", "version=3.10"]);
    other.env("LOCKSTEP_STATE", elsewhere.path()).env("KUBECONFIG", world.kubeconfig());
    let done = crate::support::said(&mut other).exits(0);
    let first = |words: &str| done.err.find(words).unwrap_or(usize::MAX);
    assert!(first("applied Deployment") < first("deleting ConfigMap"), "{}", done.err);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1, "it is tidied up at the end");
    }
}

#[test]
fn a_stateful_set_gets_away_from_pods_that_never_become_ready() {
    let Some(world) = world("stateful_back", "rolling", PHASES) else { return };
    let set = |behaviour: &str| {
        world.manifest(&format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{ name: db }}\nspec:\n  serviceName: db\n  replicas: 2\n  \
             selector: {{ matchLabels: {{ app: db }} }}\n  template:\n    metadata: {{ labels: {{ app: db }}, annotations: \
             {{ fakenode/behaviour: {behaviour} }} }}\n    spec: {{ terminationGracePeriodSeconds: 1, containers: [{{ name: db, \
             image: \"${{service.artifact.image}}:${{service.artifact.tag}}\" }}] }}\n"
        ));
    };
    set("ready");
    world.run(&["version=3.9"]).exits(0);
    let before = world.get(1, "apps/v1", "StatefulSet", "db").unwrap();
    set("pull-error");
    let failed = world.run(&["version=3.10"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    assert!(failed.err.contains("deleted pod `db-1`"), "{}", failed.err);
    assert!(!failed.err.contains("deleted pod `db-0`"), "{}", failed.err);
    for region in [1, 2] {
        let now = world.get(region, "apps/v1", "StatefulSet", "db").unwrap();
        assert_eq!(now["spec"].to_string(), before["spec"].to_string());
        assert_eq!(now["status"]["readyReplicas"], 2);
        assert_eq!(now["status"]["currentRevision"], before["status"]["currentRevision"]);
    }
}

#[test]
fn a_restart_is_taken_back_to_the_last_byte() {
    let phases = r#"
      phase deploy {
        step rollout  = kubernetes.rolling { timeout = 1m }
        step restart  = kubernetes.restart { timeout = 1m }
        step break_it = shell { only if broken, script = "exit 1" }
      }
      phase end { barrier all { timeout = 5m } }"#;
    let Some(world) = world("restarted_back", "rolling", phases) else { return };
    for version in ["3.8", "3.9"] {
        world.run(&[&format!("version={version}")]).exits(0);
        let before = [1, 2].map(|region| world.deployment(region, "shop")["spec"].to_string());
        assert!(before[0].contains("restartedAt"), "{}", before[0]);
        let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
        assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
        assert_eq!([1, 2].map(|region| world.deployment(region, "shop")["spec"].to_string()), before);
    }
}

/// The ReplicaSet that has pods, and the Deployment's spec.
fn in_place(world: &World, region: usize) -> (Vec<String>, String) {
    (world.sets_with_pods(region), world.deployment(region, "shop")["spec"].to_string())
}

/// Ids of all runs, the first one first.
fn runs(world: &World) -> Vec<String> {
    let runs = said(world.sandbox.dsl("runs").args(["--format", "json"])).exits(0);
    let runs: Json = serde_json::from_str(&runs.out).unwrap();
    let id = |run: &Json| run["run"].as_str().unwrap().to_string();
    runs["runs"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn a_stage_that_only_restarts_goes_back_to_the_pods_before() {
    let restart = r#"
      phase again {
        step restart  = kubernetes.restart { timeout = 1m, changes = true, undone_by = back }
        step break_it = shell { only if broken, script = "exit 1" }
        rollback { step back = kubernetes.rollback {} }
      }"#;
    let Some(world) = world("only_restarted", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("rolling", "basic", PHASES, restart);
    world.edit("main.lockstep", "  parallel {", "  parallel all_or_nothing {");
    let look = || [1, 2].map(|region| in_place(&world, region));
    let first = look();
    let failed = world.run(&["version=3.9", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    assert!(failed.err.contains("taking the restart of Deployment `shop` back"), "{}", failed.err);
    assert_eq!(look(), first, "the same template, and the ReplicaSet that had the pods before");

    // New pods find no room in one region: none is restarted in either.
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
                        "spec": { "hard": { "pods": "3" } } });
    world.apply_as(2, "somebody", &quota);
    while world.get(2, "v1", "ResourceQuota", "few").unwrap()["status"]["used"]["pods"] != "3" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let failed = world.run(&["version=3.9"]).exits(1);
    assert!(failed.out.contains("region2.again.restart failed (policy)"), "{}{}", failed.out, failed.err);
    assert_eq!(look(), first);
    world.delete(2, "v1", "ResourceQuota", "few");

    // Two that went well are taken back by a person, one after the other; each says what it replaced.
    world.run(&["version=3.9"]).exits(0);
    let second = look();
    world.run(&["version=3.9"]).exits(0);
    let runs = runs(&world);
    let [.., before, last] = runs.as_slice() else { panic!("{runs:?}") };
    for (of, then) in [(&second, &first), (&look(), &second)] {
        assert!(of.iter().zip(then).all(|(now, before)| now.0 != before.0 && now.1.contains("restartedAt")));
    }
    world.roll_back_run(last).exits(0);
    assert_eq!(look(), second);
    world.roll_back_run(before).exits(0);
    assert_eq!(look(), first);
    for region in [1, 2] {
        let annotations = world.deployment(region, "shop")["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("lockstep/restarted"), "nothing is left of it: {annotations}");
    }
}

#[test]
fn forced_runs_are_taken_back_one_after_the_other() {
    let Some(world) = world("forced_twice", "rolling", &forced()) else { return };
    world.edit("main.lockstep", "namespace = \"", "keep_releases = 2, namespace = \"");
    let grace = |seconds: i64| {
        let container = json!({ "name": "shop" });
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
            "spec": { "template": { "spec": { "terminationGracePeriodSeconds": seconds, "containers": [container] } } },
        });
        [1, 2].iter().for_each(|region| world.apply_as(*region, "other", &object));
    };
    let owner = |region: usize, path: &[&str]| -> Vec<String> {
        let object = world.deployment(region, "shop");
        let owns = |entry: &&Json| path.iter().fold(&entry["fieldsV1"], |at, key| &at[*key]).is_object();
        managers(&object).iter().filter(owns).map(|entry| entry["manager"].to_string()).collect()
    };
    let replicas = ["f:spec", "f:replicas"];
    let seconds = ["f:spec", "f:template", "f:spec", "f:terminationGracePeriodSeconds"];
    let is = |version: &str, wanted: (i64, i64)| {
        for region in [1, 2] {
            let spec = world.deployment(region, "shop")["spec"].clone();
            assert_eq!(spec["replicas"], wanted.0);
            assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], wanted.1);
            assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:{version}"), wanted.0)]);
        }
    };
    world.run(&["version=3.8"]).exits(0);
    scaled_by_somebody(&world, 4);
    world.run(&["version=3.9"]).exits(0);
    is("3.9", (3, 1));
    grace(7);
    world.run(&["version=3.10"]).exits(0);
    is("3.10", (3, 1));
    // A later run that fails takes nothing from what the others remember.
    world.run(&["version=3.6", "broken=true"]).exits(1);
    is("3.10", (3, 1));

    let runs = runs(&world);
    world.roll_back_run(&runs[2]).exits(0);
    is("3.9", (3, 7));
    assert_eq!(
        (owner(1, &replicas), owner(1, &seconds)),
        (vec!["\"lockstep\"".into()], vec!["\"other\"".into()])
    );
    let back = world.roll_back_run(&runs[1]).exits(0);
    assert!(back.err.contains("gave `.spec.replicas` of Deployment `shop` back to somebody"), "{}", back.err);
    is("3.8", (4, 7));
    assert_eq!(
        (owner(2, &replicas), owner(2, &seconds)),
        (vec!["\"somebody\"".into()], vec!["\"other\"".into()])
    );
    let annotations = world.deployment(1, "shop")["metadata"]["annotations"].to_string();
    assert!(!annotations.contains("lockstep/taken"), "nothing is left of it: {annotations}");
}

#[test]
fn a_record_that_is_gone_is_noticed_before_the_first_change() {
    let Some(world) = world("record_gone", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    let settings = world.names(1, "v1", "ConfigMap");
    for region in [1, 2] {
        let mut records = world.names(region, "v1", "Secret");
        records.retain(|name| name.starts_with("lockstep.shop."));
        records.iter().for_each(|name| world.delete(region, "v1", "Secret", name));
    }
    let before = world.deployment(1, "shop")["metadata"]["resourceVersion"].clone();
    let refused = world.run(&["version=3.10"]).exits(2);
    let shown = world.diff(&["version=3.10"]).exits(1);
    for text in [refused.err, shown.out] {
        for words in ["the record of the release", "is gone", "delete the Lease `lockstep.shop`"] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
    }
    assert_eq!(world.deployment(1, "shop")["metadata"]["resourceVersion"], before, "nothing was changed");

    // What it says to do helps; and what is in place is what a rollback returns to.
    [1, 2]
        .iter()
        .for_each(|region| world.delete(*region, "coordination.k8s.io/v1", "Lease", "lockstep.shop"));
    let spec = world.deployment(2, "shop")["spec"].to_string();
    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    assert_eq!(world.deployment(2, "shop")["spec"].to_string(), spec);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    assert!(!world.names(1, "v1", "ConfigMap").is_empty() && !settings.is_empty());
}

#[test]
fn without_its_lease_a_service_goes_on_above_what_was_written() {
    let Some(world) = world("lease_gone", "rolling", PHASES) else { return };
    for version in ["3.8", "3.9"] {
        world.run(&[&format!("version={version}")]).exits(0);
    }
    let settings = world.names(1, "v1", "ConfigMap");
    [1, 2]
        .iter()
        .for_each(|region| world.delete(*region, "coordination.k8s.io/v1", "Lease", "lockstep.shop"));
    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}{}", failed.out, failed.err);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        for name in &settings {
            assert!(world.names(region, "v1", "ConfigMap").contains(name), "{name} is still there");
        }
    }
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    assert_eq!(world.names(1, "v1", "ConfigMap").len(), 1);
}

#[test]
fn replicas_stay_as_they_are_when_their_autoscaler_leaves_the_manifests() {
    let Some(world) = world("scaler_left", "rolling", PHASES) else { return };
    let scaler = "\n---\napiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: { name: shop }\nspec:\n  minReplicas: 5\n  \
                  maxReplicas: 9\n  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: shop }\n";
    world.run(&["version=3.8"]).exits(0);
    world.manifest(&format!("{MANIFEST}{scaler}"));
    world.run(&["version=3.9"]).exits(0);
    let by_scaler = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" }, "spec": { "replicas": 5 },
    });
    [1, 2].iter().for_each(|region| world.apply_as(*region, "scaler", &by_scaler));
    world.manifest(MANIFEST);
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(world.deployment(1, "shop")["spec"]["replicas"], 5, "it is there still, and has its say");
    let kept = "Deployment `shop` keeps the 5 replicas that its autoscaler left; the 3 of the manifests come with the next deployment";
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    assert_eq!(diff.matches(kept).count(), 2, "{diff}");
    let done = world.run(&["version=3.10"]).exits(0);
    assert_eq!(done.err.matches(kept).count(), 2, "{}", done.err);
    for region in [1, 2] {
        assert!(world.names(region, "autoscaling/v1", "HorizontalPodAutoscaler").is_empty());
        assert_eq!(world.deployment(region, "shop")["spec"]["replicas"], 5);
    }
    world.run(&["version=3.9", "broken=true"]).exits(1);
    assert_eq!(
        world.deployment(2, "shop")["spec"]["replicas"],
        5,
        "going back to it takes nothing away, either"
    );
    // From here on it is in sight, and nobody else's.
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    assert_eq!(diff.matches("-  replicas: 5\n+  replicas: 3\n").count(), 2, "{diff}");
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.deployment(1, "shop")["spec"]["replicas"], 3);
}

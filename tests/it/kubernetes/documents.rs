//! What is read from manifests before anything is applied: texts that stay texts, kinds that they define, Jobs that change.

use super::support::{IMAGE, MANIFEST, World, world};
use serde_json::json;

const STORY: &str = "
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 2m }
    step break_it = shell { only if broken, script = \"exit 1\" }
  }
  phase wrap_up { barrier all { timeout = 5m } }";

/// Refused, with these words, and nothing there is another than before.
fn refused(world: &World, manifest: &str, parts: &[&str]) {
    let there = || ["ConfigMap", "Secret", "Service"].map(|kind| world.names(1, "v1", kind));
    let before = there();
    world.manifest(manifest);
    let said = world.run(&["version=3.10"]);
    assert_ne!(said.code, Some(0), "{manifest}");
    for part in parts {
        assert!(
            said.err.contains(part) || said.out.contains(part),
            "{part} is not in\n{}\n{}",
            said.out,
            said.err
        );
    }
    assert_eq!(there(), before, "{manifest}");
}

#[test]
fn what_the_api_server_would_drop_or_delete_is_refused_before_anything_is_touched() {
    let Some(world) = world("refused", "rolling", STORY) else { return };
    world.run(&["version=3.9"]).exits(0);
    let more = |text: &str| format!("{MANIFEST}---\napiVersion: v1\n{text}\n");
    refused(
        &world,
        &more("kind: Secret\nmetadata: { name: s }\nstringData: { ok: x, pw: 12345678 }"),
        &["k8s/shop.yaml", "`stringData.pw` of Secret `s` is a number", "quote it"],
    );
    refused(
        &world,
        &more("kind: ConfigMap\nmetadata: { name: c }\ndata: { on: true }"),
        &["k8s/shop.yaml", "`data.on` of ConfigMap `c` is a boolean", "quote it"],
    );
    refused(&world, "# nothing\n---\n", &["`k8s/*.yaml` holds no object"]);
    refused(
        &world,
        &more("kind: Service\nmetadata: { name: 5 }"),
        &["`metadata.name` of a Service is a number, and has to be a text: quote it"],
    );
    let set = "kind: StatefulSet\nmetadata: { name: q }\nspec: { updateStrategy: { type: OnDelete } }";
    refused(&world, &more(set).replace("v1\nkind: Sta", "apps/v1\nkind: Sta"), &["use RollingUpdate"]);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn manifests_are_looked_at_before_anything_is_changed_anywhere() {
    let phases = "
      phase before { step begin = shell { script = \"touch begun\" } }
      phase deploy {
        step more    = kubernetes.apply { manifests = [\"more.yaml\"] }
        step rollout = kubernetes.rolling { timeout = 2m }
      }
      phase after { step migrate = kubernetes.job { manifest = \"job.yaml\" } }";
    let Some(world) = world("looked_at", "rolling", phases) else { return };
    let write = |file: &str, text: &str| std::fs::write(world.sandbox.module().join(file), text).unwrap();
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n";
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: m }\nspec: { template: { metadata: { annotations: { \
               fakenode/behaviour: succeed } }, spec: { restartPolicy: Never, containers: [{ name: m, image: \"busybox:1.37\" }] } } }\n";
    write("more.yaml", more);
    write("job.yaml", job);
    let refused = |parts: &[&str]| {
        let said = world.run(&["version=3.9"]).exits(2);
        for part in [&["nothing was begun"][..], parts].concat() {
            assert!(said.err.contains(part), "{part} is not in\n{}", said.err);
        }
        assert!(!world.sandbox.module().join("begun").exists(), "no step was started");
        for region in [1, 2] {
            assert!(world.names(region, "v1", "ConfigMap").is_empty());
            assert!(world.names(region, "coordination.k8s.io/v1", "Lease").is_empty());
        }
        assert!(!said.err.contains("hunter2"), "{}", said.err);
    };
    let and = |text: &str| world.manifest(&format!("{MANIFEST}---\n{text}"));
    let lines = MANIFEST.lines().count();

    // Sound for one target, but not for the other.
    and(
        "apiVersion: v1\nkind: Secret\nmetadata: { name: s }\ndata:\n  pw: '${if infra.name == \"region2\" then \"hunter2\" else \
         \"aGk=\"}'\n",
    );
    refused(&[
        "shop on test.region2: the manifest `k8s/shop.yaml`: ",
        &format!("line {} column 7: `data.pw` of Secret `s` is not base64", lines + 6),
        "or write it as it is under `stringData`",
    ]);
    let one = "apiVersion: v1\nkind: Service\nmetadata: { name: shop }\n";
    for (text, parts) in [
        (
            one,
            &[
                "and 1 more: Service `shop` stands in `k8s/shop.yaml` (line 6) and again in `k8s/shop.yaml` (line ",
            ][..],
        ),
        (&one.replace("shop", "Shop"), &["column 19: `Shop` cannot be the name of a Service"]),
        (&one.replace("v1", "v1/v1/v1"), &["column 13: `apiVersion` of Service `shop` is `v1/v1/v1`"]),
        ("kind: Service\n", &["a Service has no `apiVersion`"]),
        ("apiVersion: v1\nmetadata: { name: a }\n", &["an object has no `kind`"]),
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: a, namespace: other }\n",
            &["names the namespace `other`"],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n",
            &["cluster_kinds = [\"Namespace\"]"],
        ),
    ] {
        and(text);
        refused(parts);
    }
    world.manifest(MANIFEST);
    let job_named = job.replace("metadata: { name: m }", "metadata: { generateName: m- }");
    write("job.yaml", &job_named);
    refused(&["a Job has `metadata.generateName` and no `metadata.name`", "Give it a name"]);
    write("job.yaml", job);
    write("more.yaml", &format!("{more}data: {{ k: 5 }}"));
    refused(&["the manifest `more.yaml`: line 4 column "]);
    write("more.yaml", &format!("{more}binaryData: {{ k: hunter2 }}"));
    refused(&[
        "the manifest `more.yaml`: line 4 column 18: `binaryData.k` of ConfigMap `more` is not base64",
    ]);
    write("more.yaml", more);
    write("job.yaml", more);
    refused(&["`job.yaml` describes ConfigMap `more`: it has to be a Job"]);
    write("job.yaml", job);
    world.run(&["version=3.9"]).exits(0);
    assert!(world.sandbox.module().join("begun").exists());
}

#[test]
fn what_no_canary_and_no_colour_can_be_of_is_told_before_anything_is_touched() {
    for (strategy, step, then) in
        [("canary", "canary { share = 10% }", "promote"), ("blue_green", "stage {}", "swap")]
    {
        let phases = format!(
            "phase before {{ step begin = shell {{ script = \"touch begun\" }} }}
             phase deploy {{ step new = kubernetes.{step} }}
             phase all {{ step over = kubernetes.{then} {{}} }}"
        );
        let Some(world) = world("no_copy", strategy, &phases) else { return };
        let told = |parts: &[&str]| {
            let said = world.run(&["version=3.9"]).exits(2);
            for part in [&["nothing was begun"][..], parts].concat() {
                assert!(said.err.contains(part), "{part} is not in\n{}", said.err);
            }
            assert!(!world.sandbox.module().join("begun").exists(), "no step was started");
        };
        let long = "a".repeat(250);
        world.manifest(&MANIFEST.replace(
            "kind: Deployment\nmetadata: { name: shop }",
            &format!("kind: Deployment\nmetadata: {{ name: {long} }}"),
        ));
        told(&["is too long: it gets `-", "characters before that"]);
        world.manifest(&MANIFEST.replace("kind: Deployment", "kind: StatefulSet"));
        told(&["the service's manifests hold no Deployment"]);
        world.edit(
            "main.lockstep",
            &format!("namespace = \"{}\"", world.namespace),
            "namespace = \"Bad_NS\"",
        );
        told(&["`Bad_NS` cannot be the name of a namespace"]);
    }
}

#[test]
fn a_text_that_is_filled_in_stays_that_text() {
    let Some(world) = world("filled", "rolling", STORY) else { return };
    world.manifest(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\ndata:\n  a: ${service.artifact.tag}\n  b: \
         \"<${service.artifact.tag}>\"\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData: { pw: \
         ${service.artifact.tag} }\n---\napiVersion: v1\nkind: Service\nmetadata: { name: shop }\nspec: { selector: { app: \
         shop }, ports: [{ port: ${if service.name == \"shop\" then 80 else 81} }] }\n",
    );
    let evil = "x\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: { name: evil }";
    for value in ["12345678", "3.10", "true", "a: b", "\"", evil] {
        world.run(&[&format!("version={value}")]).exits(0);
        let data = world.get(1, "v1", "ConfigMap", "c").unwrap()["data"].clone();
        assert_eq!(data, json!({ "a": value, "b": format!("<{value}>") }));
        let secret = world.get(1, "v1", "Secret", "s").unwrap();
        let held: k8s_openapi::ByteString = serde_json::from_value(secret["data"]["pw"].clone()).unwrap();
        assert_eq!(held.0, value.as_bytes());
    }
    assert!(world.get(1, "v1", "ServiceAccount", "evil").is_none());
    assert_eq!(world.get(1, "v1", "Service", "shop").unwrap()["spec"]["ports"][0]["port"], 80);
}

#[test]
fn modes_may_be_octal_and_references_of_accounts_follow() {
    let Some(world) = world("modes", "rolling", STORY) else { return };
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: key }\nstringData: { k: v }\n---\napiVersion: \
                  v1\nkind: ServiceAccount\nmetadata: { name: shop }\nsecrets: [{ name: key }]\nimagePullSecrets: [{ name: key }]\n";
    let volumes =
        "      volumes: [{ name: k, secret: { secretName: key, defaultMode: 0400 } }]\n      containers:\n";
    world.manifest(&format!("{}{secret}", MANIFEST.replace("      containers:\n", volumes)));
    world.run(&["version=3.9"]).exits(0);
    let volume = &world.deployment(1, "shop")["spec"]["template"]["spec"]["volumes"][0]["secret"];
    assert_eq!(volume["defaultMode"], 0o400);
    let account = world.get(1, "v1", "ServiceAccount", "shop").unwrap();
    let secrets = account["secrets"].as_array().unwrap();
    assert!(secrets.iter().any(|it| it["name"] == volume["secretName"]), "{account}");
    assert_eq!(account["imagePullSecrets"][0]["name"], volume["secretName"]);
}

#[test]
fn another_content_is_another_job() {
    let Some(world) = world("versioned_job", "rolling", STORY) else { return };
    let job = "---\napiVersion: batch/v1\nkind: Job\nmetadata: { name: migrate }\nspec:\n  backoffLimit: 0\n  template:\n    \
               metadata: { annotations: { fakenode/behaviour: succeed } }\n    spec: { restartPolicy: Never, containers: [{ \
               name: m, image: \"busybox:1.37\", command: [sh, -c, \"echo ${service.artifact.tag}\"] }] }\n";
    world.manifest(&format!("{MANIFEST}{job}"));
    let jobs = || world.names(1, "batch/v1", "Job");
    world.run(&["version=3.9"]).exits(0);
    let first = jobs();
    assert!(first.len() == 1 && first[0].starts_with("migrate-"), "{first:?}");
    let uid = || world.get(1, "batch/v1", "Job", &first[0]).unwrap()["metadata"]["uid"].clone();
    let ran = uid();
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(jobs(), first);
    assert_eq!(uid(), ran, "going back does not run it again");
    world.run(&["version=3.10"]).exits(0);
    let second = jobs();
    assert!(second.len() == 1 && second != first, "{second:?}");
    // Taken back when it was deleted already: then it runs again.
    world.roll_back().exits(0);
    assert_eq!(jobs(), first);
    assert_ne!(uid(), ran);
    let status = world.get(1, "batch/v1", "Job", &first[0]).unwrap()["status"].clone();
    assert_eq!(status["succeeded"], 1, "and is waited for: {status}");
}

#[test]
fn a_kind_and_an_object_of_it_come_in_one_release() {
    let Some(world) = world("defined", "rolling", STORY) else { return };
    // The whole cluster shares it: no other run may have one of this name.
    let group = format!("{}.lockstep.example", world.namespace);
    let definition = format!(
        "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: widgets.{group} }}\nspec:\n  \
         group: {group}\n  scope: Namespaced\n  names: {{ plural: widgets, singular: widget, kind: Widget }}\n  versions:\n    - \
         name: v1\n      served: true\n      storage: true\n      schema: {{ openAPIV3Schema: {{ type: object, properties: {{ spec: \
         {{ type: object, properties: {{ size: {{ type: integer }} }} }} }} }} }}\n"
    );
    let widget =
        format!("---\napiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: w }}\nspec: {{ size: 3 }}\n");
    let namespace = format!("namespace = \"{}\"", world.namespace);
    let kinds = format!("{namespace}, cluster_kinds = [\"CustomResourceDefinition\"]");
    world.edit("main.lockstep", &namespace, &kinds);
    world.manifest(&format!("{widget}{definition}---\n{MANIFEST}"));
    let diff = world.diff(&["version=3.9"]).exits(0);
    assert!(diff.out.contains("Widget `w`"), "{}", diff.out);
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        let widget = world.get(region, &format!("{group}/v1"), "Widget", "w").unwrap();
        assert_eq!(widget["spec"]["size"], 3);
    }
    world.roll_back().exits(0);
    // It goes together with all that was made of it.
    let shared = || {
        world.get_shared(
            1,
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &format!("widgets.{group}"),
        )
    };
    while let Some(definition) = shared() {
        assert!(definition["metadata"]["deletionTimestamp"].is_string(), "{definition}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

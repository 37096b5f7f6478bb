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

//! Secrets: named by what they hold, returned to byte for byte, and never shown.

use super::support::{IMAGE, MANIFEST, World, world};
use serde_json::Value as Json;

const PHASES: &str = "
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 2m }
    step break_it = shell { only if broken, script = \"exit 1\" }
  }
  phase wrap_up { barrier all { timeout = 5m } }";

/// The service with a Secret of some text and some bytes, which its pods have in their environment and in a volume.
fn manifest(password: &str, bytes: &str) -> String {
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: key, annotations: {{ for: shop }} }}\ntype: example.com/key\nstringData: \
         {{ password: \"{password}\" }}\ndata:\n  bytes: |\n    {bytes}\n"
    );
    let volumes = "      volumes: [{ name: key, secret: { secretName: key } }]\n      containers:\n";
    let from = "envFrom: [{ secretRef: { name: key } }, { configMapRef: { name: shop-settings } }]";
    let workload = MANIFEST
        .replace("      containers:\n", volumes)
        .replace("envFrom: [{ configMapRef: { name: shop-settings } }]", from);
    format!("{workload}{secret}")
}

/// The service's Secrets, without what every write changes.
fn secrets(world: &World, region: usize) -> Vec<Json> {
    let mut names = world.names(region, "v1", "Secret");
    names.retain(|name| name.starts_with("key"));
    let secret = |name: &String| {
        let mut secret = world.get(region, "v1", "Secret", name).unwrap();
        let metadata = secret["metadata"].as_object_mut().unwrap();
        for key in ["managedFields", "resourceVersion", "uid", "creationTimestamp"] {
            metadata.remove(key);
        }
        metadata["annotations"].as_object_mut().unwrap().remove("lockstep/epoch");
        secret
    };
    names.iter().map(secret).collect()
}

/// The names by which the pods refer to Secrets.
fn references(world: &World, region: usize) -> [Json; 2] {
    let pod = world.deployment(region, "shop")["spec"]["template"]["spec"].clone();
    [
        pod["volumes"][0]["secret"]["secretName"].clone(),
        pod["containers"][0]["envFrom"][0]["secretRef"]["name"].clone(),
    ]
}

#[test]
fn a_secret_comes_back_byte_for_byte_and_so_do_references_to_it() {
    let Some(world) = world("secret", "rolling", PHASES) else { return };
    // 0x00 to 0xff in part; in two lines, as tools that encode like to do it.
    let (old, new) = ("AAECA/3+\n    /w==", "/v38+w==");
    world.manifest(&manifest("hunter2", old));
    world.run(&["version=3.9"]).exits(0);
    let look = || {
        [1, 2].map(|region| (secrets(&world, region), world.deployment(region, "shop")["spec"].to_string()))
    };
    let before = look();
    for region in [1, 2] {
        let [secret] = before[region - 1].0.as_slice() else { panic!("{before:?}") };
        assert_eq!(
            secret["data"],
            serde_json::json!({ "password": "aHVudGVyMg==", "bytes": "AAECA/3+/w==" })
        );
        assert_eq!(secret["type"], "example.com/key");
        assert!(secret["metadata"]["name"].as_str().unwrap().starts_with("key-"), "{secret}");
        let name = &secret["metadata"]["name"];
        assert_eq!(references(&world, region), [name.clone(), name.clone()]);
    }

    // Taken back within the run.
    world.manifest(&manifest("correct horse", new));
    let failed = world.run(&["version=3.10", "broken=true"]).exits(1);
    assert!(failed.out.contains("failed and was rolled back"), "{}", failed.out);
    assert_eq!(look(), before);

    // And after its end, when the old one is long deleted.
    let done = world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        let now = secrets(&world, region);
        let [secret] = now.as_slice() else { panic!("{now:?}") };
        assert_ne!(secret["metadata"]["name"], before[region - 1].0[0]["metadata"]["name"]);
        assert_eq!(secret["data"]["bytes"], "/v38+w==");
        assert_eq!(references(&world, region)[0], secret["metadata"]["name"]);
    }
    let back = world.roll_back().exits(0);
    assert_eq!(look(), before);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }

    // Only the password: that alone makes it another one.
    world.manifest(&manifest("correct horse", old));
    let diff = world.diff(&["version=3.9"]).exits(0);
    assert!(diff.out.contains("Secret `key-"), "{}", diff.out);
    world.run(&["version=3.9"]).exits(0);
    assert_ne!(secrets(&world, 1)[0]["metadata"]["name"], before[0].0[0]["metadata"]["name"]);
    let journal = std::fs::read_to_string(world.sandbox.events()).unwrap();
    for said in [&failed, &done, &back, &diff] {
        for secret in ["hunter2", "correct horse", "aHVudGVyMg", "Y29ycmVjdCBob3JzZQ", "AAECA/3+"] {
            let shown = [&said.out, &said.err, &journal].iter().any(|text| text.contains(secret));
            assert!(!shown, "{secret} is shown:\n{}\n{}", said.out, said.err);
        }
    }
}

/// A ConfigMap and two Secrets that pods refer to, and others, too: an Ingress, a ServiceAccount, a Role's rule.
fn referred_to_by_others() -> String {
    let pods = "envFrom: [{ configMapRef: { name: shop-settings } }]";
    let more = "envFrom: [{ configMapRef: { name: shop-settings } }, { secretRef: { name: cert } }, { secretRef: { name: key } }]";
    format!(
        "{}---
apiVersion: v1
kind: Secret
metadata: {{ name: cert }}
stringData: {{ pem: \"of ${{service.artifact.tag}}\" }}
---
apiVersion: v1
kind: Secret
metadata: {{ name: key }}
stringData: {{ key: \"of ${{service.artifact.tag}}\" }}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{ name: shop }}
imagePullSecrets: [{{ name: cert }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: shop }}
rules: [{{ apiGroups: [\"\"], resources: [secrets], resourceNames: [key], verbs: [get] }}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: shop }}
spec:
  tls: [{{ secretName: cert }}]
  defaultBackend: {{ service: {{ name: shop, port: {{ number: 80 }} }} }}
",
        MANIFEST.replace(pods, more)
    )
}

/// Every name by which an object of the service refers to a ConfigMap or Secret, and whether that is there.
fn all_there(world: &World, region: usize) -> Vec<String> {
    let there = [world.names(region, "v1", "ConfigMap"), world.names(region, "v1", "Secret")].concat();
    let get = |version: &str, kind: &str, name: &str| world.get(region, version, kind, name).unwrap();
    let mut named = vec![
        get("networking.k8s.io/v1", "Ingress", "shop")["spec"]["tls"][0]["secretName"].clone(),
        get("v1", "ServiceAccount", "shop")["imagePullSecrets"][0]["name"].clone(),
        get("rbac.authorization.k8s.io/v1", "Role", "shop")["rules"][0]["resourceNames"][0].clone(),
    ];
    for deployment in ["shop", "more"] {
        let spec = world.deployment(region, deployment)["spec"]["template"]["spec"].clone();
        for from in spec["containers"][0]["envFrom"].as_array().unwrap() {
            named.extend([&from["configMapRef"]["name"], &from["secretRef"]["name"]].map(Json::clone));
        }
    }
    let named: Vec<String> = named.iter().filter_map(Json::as_str).map(str::to_string).collect();
    for name in &named {
        assert!(there.contains(name), "`{name}` is referred to and not there: {there:?}");
    }
    named
}

#[test]
fn whoever_refers_to_a_secret_finds_it() {
    let phases = "
      phase deploy {
        step more    = kubernetes.apply { manifests = [\"more.yaml\"], timeout = 1m }
        step rollout = kubernetes.rolling { timeout = 1m }
        step migrate = kubernetes.job { manifest = \"job.yaml\", timeout = 1m }
      }
      phase end {
        step break_it = shell { only if broken, script = \"exit 1\" }
        barrier all { timeout = 5m }
      }";
    let Some(world) = world("referred", "rolling", phases) else { return };
    world.manifest(&referred_to_by_others());
    let containers = "containers: [{ name: m, image: \"registry.k8s.io/pause:3.9\", envFrom: [{ configMapRef: { name: shop-settings } }] }]";
    let template = format!(
        "    metadata: {{ labels: {{ app: more }}, annotations: {{ fakenode/behaviour: WHAT }} }}\n    spec: {{ {containers}, restartPolicy: HOW }}\n"
    );
    let more = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: more }}\nspec:\n  selector: {{ matchLabels: {{ app: more }} }}\n  template:\n{}",
        template.replace("WHAT", "ready").replace("HOW", "Always")
    );
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: migrate }}\nspec:\n  template:\n{}",
        template.replace("WHAT", "succeed").replace("HOW", "Never")
    );
    std::fs::write(world.sandbox.module().join("more.yaml"), more).unwrap();
    std::fs::write(world.sandbox.module().join("job.yaml"), job).unwrap();

    let first = world.run(&["version=3.9"]).exits(0);
    let told = "Secret `key` keeps its name, whatever it holds: Role `shop` may name it";
    assert!(first.err.contains(told), "{}", first.err);
    let old = all_there(&world, 1);
    assert!(old[0].starts_with("cert-") && old[1] == old[0] && old[2] == "key", "{old:?}");
    assert!(old[3].starts_with("shop-settings-") && old[6] == old[3], "{old:?}");

    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!([all_there(&world, 1), all_there(&world, 2)], [old.clone(), old.clone()]);
    world.run(&["version=3.10"]).exits(0);
    let new = all_there(&world, 2);
    assert!(new[0] != old[0] && new[6] == new[3] && new[6] != old[6], "{new:?}");
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    assert!(!diff.contains("+++"), "nothing is left to change: {diff}");
    world.roll_back().exits(0);
    assert_eq!([all_there(&world, 1), all_there(&world, 2)], [old.clone(), old]);

    // Before the rollout there is nothing yet for a Job to read.
    let migrate = "step migrate = kubernetes.job { manifest = \"job.yaml\", timeout = 1m }";
    world.edit("main.lockstep", migrate, "");
    world.edit(
        "main.lockstep",
        "step more    = kubernetes.apply { manifests = [\"more.yaml\"], timeout = 1m }",
        migrate,
    );
    let refused = world.run(&["version=3.11"]).exits(1);
    let told = "Job `migrate` refers to ConfigMap `shop-settings-";
    assert!(
        refused.out.contains(told) && refused.out.contains("run it after the step that deploys"),
        "{}",
        refused.out
    );
}

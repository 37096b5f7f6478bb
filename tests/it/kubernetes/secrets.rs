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

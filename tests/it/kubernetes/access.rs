//! Ways to an API server other than a kubeconfig with a token: a pod's own service account, a proxy on the way.

use super::support::{IMAGE, documented_role, world};
use std::sync::atomic::Ordering;

const ROLLOUT: &str = "phase deploy { step rollout = kubernetes.rolling { timeout = 1m } }";

#[test]
fn in_a_pod_it_is_the_pods_own_service_account() {
    let Some(world) = world("in_cluster", "rolling", ROLLOUT) else { return };
    world.edit("main.lockstep", &format!("context = \"{}\", ", world.context(1)), "");
    let second =
        "    stage region2 = ship { service = shop { image, version }, infra = test.region2, broken }\n";
    world.edit("main.lockstep", second, "");
    let run = || world.in_cluster(1, world.command(&["version=3.9"]));
    let Some(mut refused) = run() else { return };
    // The account may do nothing yet, but the API server knows it.
    let refused = crate::support::said(&mut refused).exits(2);
    assert!(refused.err.contains("permissions are missing in namespace"), "{}", refused.err);
    assert!(refused.err.contains("of context `in-cluster`"), "{}", refused.err);
    let account = serde_json::json!({ "kind": "ServiceAccount", "name": "default" });
    world.grant_to(1, &documented_role(), &account);
    crate::support::said(&mut run().unwrap()).exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn proxies_that_the_kubeconfig_names_are_used() {
    let Some(mut world) = world("tunnel", "rolling", ROLLOUT) else { return };
    let Some(tunnels) = world.through_a_tunnel() else { return };
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    assert!(tunnels.load(Ordering::Relaxed) >= 2, "one for each region at least");
}

#[test]
fn several_kubeconfigs_are_one_and_its_current_context_is_meant() {
    let Some(world) = world("current", "rolling", ROLLOUT) else { return };
    world.edit("main.lockstep", &format!("context = \"{}\", ", world.context(1)), "");
    let mut run = world.command(&["version=3.9"]);
    crate::support::said(run.env("KUBECONFIG", world.split_kubeconfig(1))).exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
}

#[test]
fn a_token_that_cannot_be_sent_is_refused_and_not_shown() {
    let Some(world) = world("bad_token", "rolling", ROLLOUT) else { return };
    let text = std::fs::read_to_string(world.kubeconfig()).unwrap();
    let mut file: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    for user in file["users"].as_array_mut().unwrap() {
        user["user"] = serde_json::json!({ "token": "s3cr3t\u{7}" });
    }
    let path = world.sandbox.module().join("kubeconfig.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let run = || crate::support::said(world.command(&["version=3.9"]).env("KUBECONFIG", &path));
    let refused = run().exits(2);
    for part in
        ["nothing was begun", "holds cannot be sent: character 7 of 7 is", "another control character"]
    {
        assert!(refused.err.contains(part), "{part} is not in\n{}", refused.err);
    }
    assert!(!refused.err.contains("s3cr3t") && !refused.err.contains("panicked"), "{}", refused.err);
    // One that can be sent, but that the API server does not know.
    std::fs::write(&path, file.to_string().replace("\\u0007", "")).unwrap();
    let refused = run().exits(2);
    assert!(
        refused.err.contains("nothing was begun") && refused.err.contains("Unauthorized"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains("s3cr3t"), "{}", refused.err);
}

#[test]
fn a_token_may_stand_in_a_file_with_a_line_break_at_its_end() {
    let Some(world) = world("token_file", "rolling", ROLLOUT) else { return };
    let text = std::fs::read_to_string(world.kubeconfig()).unwrap();
    let mut file: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    for user in file["users"].as_array_mut().unwrap() {
        let Some(token) = user["user"]["token"].as_str() else {
            eprintln!("SKIPPED: the kubeconfig's users have no tokens");
            return;
        };
        let path = world.sandbox.module().join(user["name"].as_str().unwrap());
        std::fs::write(&path, format!("{token}\n")).unwrap();
        user["user"] = serde_json::json!({ "tokenFile": path });
    }
    let path = world.sandbox.module().join("kubeconfig.json");
    std::fs::write(&path, file.to_string()).unwrap();
    crate::support::said(world.command(&["version=3.9"]).env("KUBECONFIG", path)).exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

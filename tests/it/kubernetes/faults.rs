//! Rollouts that cannot succeed are given up early, with what the pods say; runs that are killed are gone on with.

use super::support::{IMAGE, MANIFEST, documented_role, world};
use crate::support::said;

const ROLLOUT: &str = "phase deploy { step rollout = kubernetes.rolling { timeout = 1m } }";

#[test]
fn an_image_that_cannot_be_pulled_fails_early() {
    let Some(world) = world("pull_error", "rolling", ROLLOUT) else { return };
    world.run(&["version=3.9"]).exits(0);
    let failed = world.run(&["version=1", "image=registry.k8s.io/does-not-exist"]).exits(1);
    let text = format!("{}{}", failed.out, failed.err);
    for part in [
        "Deployment `shop`",
        "ImagePullBackOff",
        "registry.k8s.io/does-not-exist:1",
        "container `shop`",
        "it cannot get better",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn pods_that_never_become_ready_use_up_the_time() {
    let Some(world) = world("never_ready", "rolling", &ROLLOUT.replace("1m", "8s")) else { return };
    let probe = MANIFEST
        .replace(
            "labels: { app: shop,",
            "annotations: { fakenode/behaviour: never-ready }, labels: { app: shop,",
        )
        .replace(
            "          envFrom",
            "          readinessProbe: { tcpSocket: { port: 1 } }\n          envFrom",
        );
    world.manifest(&probe);
    let failed = world.run(&["version=3.9"]).exits(1);
    let text = format!("{}{}", failed.out, failed.err);
    for part in
        ["not rolled out in time", "0 of 3 updated replicas are available", "it runs, but is not ready"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(world.names(1, "apps/v1", "Deployment").is_empty());
}

#[test]
fn what_new_pods_say_is_told_not_what_old_ones_do() {
    let rollout = "phase deploy { step rollout = kubernetes.rolling { timeout = 8s, on failure { RULE } } }";
    let Some(world) = world("old_pods", "rolling", &rollout.replace("RULE", "succeed")) else { return };
    let behaving = |how: &str| {
        let labels = "labels: { app: shop,";
        world.manifest(
            &MANIFEST.replace(labels, &format!("annotations: {{ fakenode/behaviour: {how} }}, {labels}")),
        );
    };
    behaving("crash");
    let first = world.run(&["version=3.9"]).exits(0);
    assert!(first.err.contains("container `shop`: "), "{}", first.err);
    behaving("never-ready");
    world.edit("main.lockstep", "succeed", "fail");
    let failed = world.run(&["version=3.10"]).exits(3);
    assert!(failed.out.contains("container `shop`: it runs, but is not ready"), "{}", failed.out);
}

#[test]
fn pods_that_no_node_takes_say_so_with_their_events() {
    let Some(world) = world("no_node", "rolling", &ROLLOUT.replace("1m", "8s")) else { return };
    let nowhere = "      nodeSelector: { disk: none-such }\n      containers:\n";
    world.manifest(&MANIFEST.replace("      containers:\n", nowhere));
    let failed = world.run(&["version=3.9"]).exits(1);
    let text = format!("{}{}", failed.out, failed.err);
    for part in ["not rolled out in time", "it cannot be scheduled", "  event: FailedScheduling: 0/"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn what_the_api_server_refuses_is_said_in_its_words() {
    let Some(world) = world("invalid", "rolling", ROLLOUT) else { return };
    world.manifest(&MANIFEST.replace("matchLabels: { app: shop }", "matchLabels: { app: other }"));
    let failed = world.run(&["version=3.9"]).exits(1);
    let text = format!("{}{}", failed.out, failed.err);
    assert!(text.contains("cannot apply Deployment `shop` in namespace"), "{text}");
    assert!(text.contains("`selector` does not match template `labels`"), "{text}");
    assert!(world.names(1, "v1", "Service").is_empty(), "what had been applied before is gone");
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let Some(world) = world("killed", "rolling", ROLLOUT) else { return };
    world.run(&["version=3.9"]).exits(0);
    std::fs::remove_file(world.sandbox.events()).unwrap();
    assert!(world.sandbox.kill_at(&mut world.command(&["version=3.10"]), "applied Deployment"));
    world.resume().exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
}

#[test]
fn missing_permissions_are_printed_as_a_role_before_anything_changes() {
    let phases = format!("{ROLLOUT} phase end {{ barrier all {{ timeout = 2m }} }}");
    let Some(world) = world("permissions", "rolling", &phases) else { return };
    let Some(deployer) = world.deployer(2) else { return };
    world.edit(
        "main.lockstep",
        &format!("context = \"{}\"", world.context(2)),
        &format!("context = \"{deployer}\""),
    );
    let refused = world.run(&["version=3.9"]).exits(2);
    for part in [
        "nothing was begun",
        "shop on test.region2",
        "permissions are missing in namespace",
        "{ apiGroups: [apps], resources: [deployments], verbs: [create, delete, get, list, patch, watch] }",
        "{ apiGroups: [\"\"], resources: [pods/log], verbs: [get] }",
    ] {
        assert!(refused.err.contains(part), "{part} is not in\n{}", refused.err);
    }
    for kind in [("apps/v1", "Deployment"), ("v1", "Secret"), ("coordination.k8s.io/v1", "Lease")] {
        let left = world.names(1, kind.0, kind.1);
        assert!(
            left.iter().all(|name| name.starts_with("default-token-")),
            "the other region is untouched: {left:?}"
        );
    }
    let runs = said(&mut world.sandbox.dsl("runs"));
    assert!(!runs.out.contains("release"), "there is no run: {}", runs.out);

    // The Role of the documentation suffices, for deploying and for going back.
    world.grant(2, &documented_role());
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    world.run(&["version=1", "image=registry.k8s.io/does-not-exist"]).exits(1);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

/// The one Role that a run was refused with.
fn printed_role(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("apiVersion: rbac."));
    let part = |line: &&str| {
        ["apiVersion: ", "kind: ", "metadata: ", "rules:", "  - { apiGroups"]
            .iter()
            .any(|it| line.starts_with(it))
    };
    let role: Vec<&str> = lines.take_while(part).collect();
    assert_eq!(text.matches("kind: Role\n").count(), 1, "{text}");
    role.join("\n")
}

#[test]
fn a_role_is_printed_for_all_that_the_run_needs_in_the_namespace() {
    let Some(world) = world("whole_role", "rolling", ROLLOUT) else { return };
    let Some(deployer) = world.deployer(2) else { return };
    let context = format!("context = \"{}\"", world.context(2));
    world.edit("main.lockstep", &context, &format!("context = \"{deployer}\""));
    let tool = "service tool = kubernetes {\n  artifact = docker_image { image = \"tool\" }\n  manifests = [\"tool.yaml\"]\n}\n\nservice shop(";
    world.edit("main.lockstep", "service shop(", tool);
    let stage = "  parallel {\n    stage tool = ship { service = tool, infra = test.region2 }\n";
    world.edit("main.lockstep", "  parallel {\n", stage);
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: tool }\n";
    std::fs::write(world.sandbox.module().join("tool.yaml"), account).unwrap();
    world.grant(2, &documented_role());
    let refused = world.run(&["version=3.9"]).exits(2);
    assert!(refused.err.contains("(create serviceaccounts, delete serviceaccounts, "), "{}", refused.err);
    world.grant(2, &printed_role(&refused.err));
    world.run(&["version=3.9"]).exits(0);
    assert!(world.get(2, "v1", "ServiceAccount", "tool").is_some());
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);

    // What is in place has to be deleted in the end, or returned to, also when no manifest has such a kind any more.
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: tool }\n";
    std::fs::write(world.sandbox.module().join("tool.yaml"), settings).unwrap();
    world.grant(2, &documented_role());
    let refused = world.run(&["version=3.10"]).exits(2);
    assert!(refused.err.contains("(create serviceaccounts, delete serviceaccounts, "), "{}", refused.err);
    world.grant(2, &printed_role(&refused.err));
    world.run(&["version=3.10"]).exits(0);
    assert!(world.get(2, "v1", "ServiceAccount", "tool").is_none());
}

/// Also where what is taken back comes after a release of colours.
#[test]
fn staging_needs_no_more_than_the_documentation_says() {
    let phases = "
      phase up   { step stage = kubernetes.stage { timeout = 1m } }
      phase over { step swap = kubernetes.swap { timeout = 1m } }";
    let Some(world) = world("stage_role", "blue_green", phases) else { return };
    let Some(deployer) = world.deployer(2) else { return };
    let context = format!("context = \"{}\"", world.context(2));
    world.edit("main.lockstep", &context, &format!("context = \"{deployer}\""));
    world.grant(2, &documented_role());
    for version in ["3.9", "3.10"] {
        world.run(&[&format!("version={version}")]).exits(0);
        assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:{version}"), 3)]);
    }
    world.edit("main.lockstep", "strategy = blue_green", "strategy = rolling");
    let fails = "phase up { step roll = kubernetes.rolling { timeout = 1m } step no = shell { only if broken, script = \"exit 1\" } }";
    world.edit("main.lockstep", phases, fails);
    world.run(&["version=3.11"]).exits(0);
    world.run(&["version=3.12", "broken=true"]).exits(1);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.11"), 3)]);
}

#[test]
fn credentials_come_from_a_program_where_the_kubeconfig_says_so() {
    let Some(mut world) = world("exec", "rolling", ROLLOUT) else { return };
    let program = world.sandbox.module().join("login.sh");
    let Some(credentials) = world.log_in_by(&program) else { return };
    let script = |text: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    script("echo 'log in again' >&2; exit 1");
    let refused = world.run(&["version=3.9"]).exits(2);
    assert!(refused.err.contains("the credentials cannot be had"), "{}", refused.err);
    let cases: Vec<String> =
        credentials.iter().map(|(user, credential)| format!("'{user}') echo '{credential}' ;;")).collect();
    script(&format!("case \"$1\" in\n{}\nesac", cases.join("\n")));
    world.run(&["version=3.9"]).exits(0);
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn what_a_cluster_shares_is_written_only_where_it_is_named() {
    let phases = format!(
        "{ROLLOUT} phase end {{ step break_it = shell {{ only if broken, script = \"exit 1\" }}, barrier all {{ timeout = 2m }} }}"
    );
    let Some(world) = world("shared", "rolling", &phases) else { return };
    let role = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: \"${infra.namespace}-reader\" }\n\
                rules: [{ apiGroups: [\"\"], resources: [pods], verbs: [VERB] }]\n";
    let with = |verb: &str| world.manifest(&format!("{MANIFEST}{}", role.replace("VERB", verb)));
    with("get");
    let refused = world.run(&["version=3.9"]).exits(2);
    assert!(refused.err.contains("cluster_kinds = [\"ClusterRole\"]"), "{}", refused.err);
    for region in [1, 2] {
        let context = format!("context = \"{}\"", world.context(region));
        world.edit("main.lockstep", &context, &format!("{context}, cluster_kinds = [\"ClusterRole\"]"));
    }
    world.run(&["version=3.9"]).exits(0);
    let name = format!("{}-reader", world.namespace);
    let verb = |region| {
        let role = world.get_shared(region, "rbac.authorization.k8s.io/v1", "ClusterRole", &name)?;
        Some(role["rules"][0]["verbs"][0].as_str().unwrap().to_string())
    };
    assert_eq!(verb(1).as_deref(), Some("get"));
    with("list");
    world.run(&["version=3.10", "broken=true"]).exits(1);
    assert_eq!(verb(2).as_deref(), Some("get"), "returned to");
    world.manifest(MANIFEST);
    world.run(&["version=3.10"]).exits(0);
    assert_eq!((verb(1), verb(2)), (None, None), "it left the manifests");
}

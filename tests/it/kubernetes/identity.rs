//! Targets are what they are, not what they are called: two contexts, or two addresses, may be one.

use super::support::{World, world};
use crate::support::{Said, said};
use kube::config::Kubeconfig;
use std::path::PathBuf;
use std::process::Command;

const PHASES: &str = "
  phase deploy { step rollout = kubernetes.rolling { timeout = 2m } }
  phase end    { barrier all { timeout = 5m } }";

/// A kubeconfig in which both contexts lead to the first cluster, which is the current one: the second by another name of
/// the same address.
fn one_cluster(world: &World, address: Option<&str>) -> PathBuf {
    let mut file = serde_json::to_value(Kubeconfig::read_from(world.kubeconfig()).unwrap()).unwrap();
    let contexts = file["contexts"].as_array_mut().unwrap();
    let first = contexts.iter().find(|it| it["name"] == world.context(1)).unwrap()["context"].clone();
    let second = contexts.iter_mut().find(|it| it["name"] == world.context(2)).unwrap();
    second["context"] = first.clone();
    if let Some(address) = address {
        second["context"]["cluster"] = "elsewhere".into();
        let clusters = file["clusters"].as_array_mut().unwrap();
        let mut cluster = clusters.iter().find(|it| it["name"] == first["cluster"]).unwrap().clone();
        cluster["name"] = "elsewhere".into();
        cluster["cluster"]["server"] = address.into();
        clusters.push(cluster);
    }
    file["current-context"] = world.context(1).into();
    let path = world.sandbox.module().join("one.json");
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

/// The first cluster's address, spelled in another way that its certificate allows, too; none where there is none.
fn other_address(world: &World) -> Option<String> {
    let file = Kubeconfig::read_from(world.kubeconfig()).unwrap();
    let context = file.contexts.iter().find(|it| it.name == world.context(1))?.context.as_ref()?;
    let cluster = file.clusters.iter().find(|it| it.name == context.cluster)?.cluster.as_ref()?;
    let server = cluster.server.clone()?;
    server.contains("127.0.0.1").then(|| server.replace("127.0.0.1", "localhost"))
}

fn refused(world: &World, command: &mut Command) -> Said {
    let refused = said(command).exits(2);
    let both = "shop on test.region1 and shop on test.region2 are one: `shop` in namespace";
    assert!(refused.err.contains("nothing was begun") && refused.err.contains(both), "{}", refused.err);
    assert!(refused.err.contains("use one infrastructure in both places"), "{}", refused.err);
    let own = |name: &String| name.starts_with("lockstep") || name.starts_with("shop");
    for kind in [("v1", "Secret"), ("v1", "ConfigMap"), ("coordination.k8s.io/v1", "Lease")] {
        assert!(!world.names(1, kind.0, kind.1).iter().any(own), "nothing was touched");
    }
    refused
}

#[test]
fn a_run_whose_two_targets_are_one_does_not_begin() {
    let Some(world) = world("twins", "rolling", PHASES) else { return };
    let path = one_cluster(&world, None);
    refused(&world, world.command(&["version=3.9"]).env("KUBECONFIG", &path));
    // Without a context it is the current one.
    let context = format!("context = \"{}\", ", world.context(2));
    world.edit("main.lockstep", &context, "");
    refused(&world, world.command(&["version=3.9"]).env("KUBECONFIG", &path));
    // Where they are two, they are.
    let two = world.split_kubeconfig(2);
    said(world.command(&["version=3.9"]).env("KUBECONFIG", two)).exits(0);
}

#[test]
fn two_addresses_of_one_cluster_are_one() {
    let Some(world) = world("addresses", "rolling", PHASES) else { return };
    let Some(address) = other_address(&world) else {
        eprintln!("SKIPPED: the cluster has one address only");
        return;
    };
    // Kubernetes needs a moment to put into a namespace what tells it from others.
    while world.get(1, "v1", "ConfigMap", "kube-root-ca.crt").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let path = one_cluster(&world, Some(&address));
    refused(&world, world.command(&["version=3.9"]).env("KUBECONFIG", path));
}

//! `dsl plan --diff`: what each step would do, in the cluster's own words, before anything is done.

use super::support::{IMAGE, MANIFEST, World, world};
use serde_json::json;

const ROLLOUT: &str = "phase deploy { step rollout = kubernetes.rolling { timeout = 2m } }";

/// A world in which 3.9 runs, and whose pipeline has these phases from then on.
fn deployed(test: &str, strategy: &str, phases: &str) -> Option<World> {
    let world = world(test, "rolling", ROLLOUT)?;
    world.run(&["version=3.9"]).exits(0);
    world.rewrite("rolling", strategy, ROLLOUT, phases);
    Some(world)
}

/// What is said of one step in the first region.
fn of_step<'a>(text: &'a str, step: &str) -> &'a str {
    let head = format!("shop on test.region1, {step}:\n");
    let from = text.find(&head).unwrap_or_else(|| panic!("{head} is not in\n{text}")) + head.len();
    let rest = &text[from..];
    &rest[..rest.find("shop on test.").unwrap_or(rest.len())]
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_deletion_is_shown_as_one() {
    let phases = "phase deploy { step gone = kubernetes.delete {} }";
    let Some(world) = deployed("diff_delete", "rolling", phases) else { return };
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    let gone = of_step(&diff, "`region1.deploy.gone`");
    holds(gone, &["--- Deployment `shop`\n+++ nothing\n", "--- Service `shop`\n+++ nothing\n"]);
    assert!(!gone.lines().any(|line| line.starts_with('+') && line != "+++ nothing"), "{gone}");
    assert_eq!(world.serving(1, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn blue_and_green_are_shown_under_their_names() {
    let phases = "phase deploy { step up = kubernetes.stage {}\n step over = kubernetes.swap {} }";
    let Some(world) = deployed("diff_colours", "blue_green", phases) else { return };
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    let up = of_step(&diff, "`region1.deploy.up`");
    holds(up, &["--- nothing\n+++ Deployment `shop-blue`\n", "pod-template-hash", "3.10"]);
    holds(of_step(&diff, "`region1.deploy.over`"), &["--- Service `shop`\n", "lockstep/colour: blue"]);
    holds(of_step(&diff, "once the run has ended for good"), &["--- Deployment `shop`\n+++ nothing, once"]);
}

#[test]
fn a_canary_comes_and_goes_and_what_is_added_and_scaled_is_shown() {
    let phases = "phase deploy {
      step more    = kubernetes.apply { manifests = [\"more.yaml\"] }
      step size    = kubernetes.scale { replicas = 5 }
      step few     = kubernetes.canary { share = 10% }
      step again   = kubernetes.restart {}
    }
    phase all { step over = kubernetes.promote {} }";
    let Some(world) = deployed("diff_canary", "canary", phases) else { return };
    let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\ndata: { a: b }\n";
    std::fs::write(world.sandbox.module().join("more.yaml"), more).unwrap();
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    holds(of_step(&diff, "`region1.deploy.more`"), &["--- nothing\n+++ ConfigMap `more`\n"]);
    holds(of_step(&diff, "`region1.deploy.size`"), &["-  replicas: 3\n+  replicas: 5\n"]);
    holds(of_step(&diff, "`region1.deploy.few`"), &["+++ Deployment `shop-canary`\n", "+  replicas: 1\n"]);
    holds(of_step(&diff, "`region1.deploy.again`"), &["restarts the pods"]);
    let all = of_step(&diff, "`region1.all.over`");
    holds(all, &["-  replicas: 5\n+  replicas: 3\n", "--- Deployment `shop-canary`\n+++ nothing\n"]);
    let end = of_step(&diff, "once the run has ended for good");
    assert!(end.contains("ConfigMap `shop-settings-") && !end.contains("`more`"), "{end}");
}

#[test]
fn what_belongs_to_somebody_else_is_told_as_the_run_would_tell_it() {
    let Some(world) = deployed("diff_conflict", "rolling", ROLLOUT) else { return };
    let image = format!("{IMAGE}:hotfix");
    let hotfix = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": { "selector": { "matchLabels": { "app": "shop" } },
                  "template": { "metadata": { "labels": { "app": "shop" } },
                                "spec": { "containers": [{ "name": "shop", "image": image }] } } },
    });
    world.apply_as(1, "alice", &hotfix);
    let diff = world.diff(&["version=3.10"]).exits(1).out;
    let first = of_step(&diff, "`region1.deploy.rollout`");
    holds(
        first,
        &[
            "! it would fail: cannot apply Deployment `shop` in namespace",
            "image` belongs to \"alice\"",
            "hotfix",
        ],
    );
    assert_eq!(diff.matches("would fail").count(), 1, "{diff}");
    let failed = world.run(&["version=3.10"]).exits(1);
    holds(&failed.out, &["belongs to \"alice\""]);
    // By force it would not fail, and it says from whom it takes what.
    world.edit("main.lockstep", "timeout = 2m }", "timeout = 2m, force = true }");
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    let first = of_step(&diff, "`region1.deploy.rollout`");
    holds(
        first,
        &["takes `.spec.template.spec.containers", "image` of Deployment `shop` over from \"alice\""],
    );
    assert_eq!(diff.matches("over from").count(), 1, "{diff}");
    world.edit("main.lockstep", "timeout = 2m, force = true }", "timeout = 2m }");
    // On a target on which nothing runs there is nothing to run a canary beside.
    world.rewrite(
        "rolling",
        "canary",
        ROLLOUT,
        "phase deploy { step few = kubernetes.canary { share = 10% } }
         phase all { step over = kubernetes.promote {} }",
    );
    world.edit("main.lockstep", "namespace = \"", "release = \"other\", namespace = \"");
    let diff = world.diff(&["version=3.10"]).exits(1).out;
    holds(of_step(&diff, "`region1.deploy.few`"), &["! it would fail: ", "nothing to run a canary beside"]);
}

#[test]
fn what_an_earlier_step_does_counts() {
    let Some(world) = world("diff_after", "rolling", ROLLOUT) else { return };
    world.run(&["version=3.9"]).exits(0);
    // The Service that would send requests to staged pods at once is gone by then.
    let deleting = "phase gone { step gone = kubernetes.delete {} }
         phase over { step staged = kubernetes.stage { timeout = 1m }, step over = kubernetes.swap {} }";
    world.rewrite("rolling", "blue_green", ROLLOUT, deleting);
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    assert!(!diff.contains("would fail"), "{diff}");
    holds(of_step(&diff, "`region1.over.staged`"), &["+++ Deployment `shop-blue`"]);
    world.run(&["version=3.10"]).exits(0);

    // The autoscaler that has the say comes with the colour.
    let scaler = "\n---\napiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: { name: shop }\nspec: { maxReplicas: 5, \
                  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: shop } }\n";
    world.manifest(&format!("{MANIFEST}{scaler}"));
    let scaling =
        "phase over { step staged = kubernetes.stage { timeout = 1m }, step over = kubernetes.swap {} }
         phase more { step more = kubernetes.scale { replicas = 4, timeout = 1m } }";
    world.rewrite("blue_green", "blue_green", deleting, scaling);
    let diff = world.diff(&["version=3.9"]).exits(1).out;
    let why = "an autoscaler says how many replicas Deployment `shop-green`";
    holds(of_step(&diff, "`region1.more.more`"), &["! it would fail: ", why]);
    let failed = world.run(&["version=3.9"]).exits(1);
    holds(&failed.out, &[why]);
}

#[test]
fn everything_in_a_namespace_that_is_not_there_yet_is_new() {
    let Some(world) = world("diff_namespace", "rolling", ROLLOUT) else { return };
    let name = format!("{}-new", world.namespace);
    let old = format!("namespace = \"{}\"", world.namespace);
    world.edit("main.lockstep", &old, &format!("namespace = \"{name}\""));
    let refused = world.diff(&["version=3.9"]).exits(1).out;
    let why = refused.lines().find_map(|line| line.strip_prefix("! it would fail: ")).unwrap();
    holds(why, &[&name, "create the namespace first, or put it into the manifests"]);
    let run = world.run(&["version=3.9"]).exits(2);
    holds(&run.err, &[why, "nothing was begun"]);
    let namespace = "\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: \"${infra.namespace}\" }\n";
    world.manifest(&format!("{MANIFEST}{namespace}"));
    let diff = world.diff(&["version=3.9"]).exits(0).out;
    let rollout = of_step(&diff, "`region1.deploy.rollout`");
    let made = format!("+++ Namespace `{name}`\n");
    holds(rollout, &[&made, "--- nothing\n+++ Deployment `shop`\n", "--- nothing\n+++ Service `shop`\n"]);
    assert!(world.get_shared(1, "v1", "Namespace", &name).is_none(), "nothing was made");
}

#[test]
fn of_secrets_only_what_changes_is_shown() {
    let Some(world) = world("diff_secret", "rolling", ROLLOUT) else { return };
    let secret = "\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: key }\nstringData: { pw: \"pw-${service.artifact.tag}\", \
                  same: x }\n";
    world.manifest(&format!("{MANIFEST}{secret}"));
    let new = world.diff(&["version=3.9"]).exits(0).out;
    holds(&new, &["+++ Secret `key`", "+  pw: (hidden)\n"]);
    world.run(&["version=3.9"]).exits(0);
    let diff = world.diff(&["version=3.10"]).exits(0).out;
    holds(&diff, &["-  pw: (hidden, as it was)\n", "+  pw: (hidden, changed)\n", "   same: (hidden)\n"]);
    // The hashes of its text, and of that in base64.
    for digits in ["sha256", "pw-3"] {
        assert!(!diff.contains(digits) && !new.contains(digits), "{diff}");
    }
}

#[test]
fn a_folder_that_a_parameter_names_is_filled_in() {
    let Some(world) = world("folders", "rolling", ROLLOUT) else { return };
    world.edit("main.lockstep", "k8s/*.yaml", "${folder}/${version}/");
    world.edit("main.lockstep", "shop(image: string,", "shop(folder: string = \"k8s\", image: string,");
    for version in ["3.9", "3.10"] {
        let folder = world.sandbox.module().join("k8s").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = MANIFEST.replace("${service.artifact.tag}", "${version}");
        std::fs::write(folder.join("shop.yaml"), manifest).unwrap();
    }
    let diff = world.diff(&["version=3.9"]).exits(0).out;
    holds(&diff, &["greeting: hello from 3.9"]);
    world.run(&["version=3.10"]).exits(0);
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
}

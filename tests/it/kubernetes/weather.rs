//! Deployments through a proxy that loses, delays and refuses: they end as they would on a good day.

use super::proxy::{Fault, Rule};
use super::support::{IMAGE, World, world};
use hyper::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const PHASES: &str = "
  phase deploy {
    step rollout = kubernetes.rolling { timeout = 2m }
    step break_it = shell { only if broken, script = \"exit 1\" }
  }
  phase end { barrier all { timeout = 5m } }";

/// Both regions are deployed to, then fail, then are deployed to, with that rule in front of both; everything ends right.
fn lives_through(test: &str, rule: Rule) -> Option<World> {
    let mut world = world(test, "rolling", PHASES)?;
    world.proxy([rule.clone(), rule]);
    world.run(&["version=3.9"]).exits(0);
    let old = [1, 2].map(|region| world.deployment(region, "shop")["spec"].to_string());
    world.run(&["version=3.10", "broken=true"]).exits(1);
    for region in [1, 2] {
        assert_eq!(world.deployment(region, "shop")["spec"].to_string(), old[region - 1]);
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1);
    }
    world.run(&["version=3.10"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.10"), 3)]);
    }
    Some(world)
}

#[test]
fn answers_that_are_lost_after_the_write() {
    // Every fifth write is carried out, but the answer says that the gateway gave up, or never comes.
    let writes = AtomicUsize::new(0);
    let rule: Rule = Arc::new(move |method, _, _| {
        if *method == Method::GET {
            return Fault::None;
        }
        match writes.fetch_add(1, Ordering::Relaxed) % 10 {
            4 => Fault::Lost(504),
            9 => Fault::CutAfter,
            _ => Fault::None,
        }
    });
    let Some(world) = lives_through("lost", rule) else { return };
    assert!(world.seen().iter().any(|(_, _, fault)| *fault == Fault::CutAfter));
}

#[test]
fn servers_that_are_busy_and_watches_that_break_off() {
    let rule: Rule = Arc::new(|method, path, number| match number % 7 {
        _ if path.contains("watch=1") => Fault::Short(150),
        2 => Fault::Answer(429, Some(1)),
        4 => Fault::Answer(if *method == Method::GET { 500 } else { 503 }, None),
        5 => Fault::Cut,
        6 => Fault::Slow(200),
        _ => Fault::None,
    });
    let Some(world) = lives_through("busy", rule) else { return };
    assert!(world.seen().iter().any(|(_, _, fault)| *fault == Fault::Answer(429, Some(1))));
}

#[test]
fn objects_that_change_meanwhile_and_watches_that_are_too_old() {
    let writes = AtomicUsize::new(0);
    let watches = AtomicUsize::new(0);
    let rule: Rule = Arc::new(move |method, path, _| {
        if path.contains("watch=1") {
            return match watches.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => Fault::Answer(410, None),
                _ => Fault::None,
            };
        }
        let again = *method == Method::PATCH || *method == Method::PUT;
        match again && writes.fetch_add(1, Ordering::Relaxed) % 3 == 1 {
            true => Fault::Answer(409, None),
            false => Fault::None,
        }
    });
    let Some(world) = lives_through("conflicts", rule) else { return };
    for code in [409, 410] {
        assert!(world.seen().iter().any(|(_, _, fault)| *fault == Fault::Answer(code, None)), "{code}");
    }
}

#[test]
fn a_job_whose_making_was_not_answered_runs_once() {
    let phases = "phase one { step migrate = kubernetes.job { manifest = \"job.yaml\", timeout = 1m } }";
    let Some(mut world) = world("job_lost", "basic", phases) else { return };
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: migrate }\nspec:\n  template:\n    metadata: { annotations: { \
               fakenode/behaviour: succeed } }\n    spec: { restartPolicy: Never, containers: [{ name: m, image: \"busybox:1.37\" }] }\n";
    std::fs::write(world.sandbox.module().join("job.yaml"), job).unwrap();
    let makes = |fault: Fault| -> Rule {
        Arc::new(move |method, path, _| match *method == Method::POST && path.ends_with("/jobs") {
            true => fault,
            false => Fault::None,
        })
    };
    world.proxy([makes(Fault::Lost(504)), makes(Fault::CutAfter)]);
    world.run(&["version=3.9"]).exits(0);
    for region in [1, 2] {
        assert_eq!(world.names(region, "batch/v1", "Job").len(), 1);
        let seen = world.seen_in(region);
        let made = seen.iter().filter(|(method, path, _)| *method == Method::POST && path.ends_with("/jobs"));
        assert_eq!(made.count(), 1, "it is not made again, but looked for");
    }
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_for_ever() {
    let Some(mut world) = world("silence", "rolling", PHASES) else { return };
    let writes = AtomicUsize::new(0);
    let rule: Rule = Arc::new(move |method, path, _| {
        let first = *method == Method::PATCH
            && path.contains("/deployments/")
            && writes.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Fault::Slow(3_600_000) } else { Fault::None }
    });
    world.proxy([Arc::new(|_, _, _| Fault::None), rule]);
    world.run(&["version=3.9"]).exits(0);
    assert!(world.seen().iter().any(|(_, _, fault)| *fault == Fault::Slow(3_600_000)));
    assert_eq!(world.serving(2, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
}

#[test]
fn a_region_that_cannot_be_reached_for_a_while() {
    let Some(mut world) = world("partition", "rolling", PHASES) else { return };
    world.run(&["version=3.9"]).exits(0);
    // From the moment at which the second region's Deployment is written, it is gone for 12 calls.
    let (gone, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rule: Rule = Arc::new(move |method, path, _| {
        if *method == Method::PATCH && path.contains("/deployments/") {
            gone.store(true, Ordering::Relaxed);
        }
        match gone.load(Ordering::Relaxed) && calls.fetch_add(1, Ordering::Relaxed) < 12 {
            true => Fault::Cut,
            false => Fault::None,
        }
    });
    world.proxy([Arc::new(|_, _, _| Fault::None), rule]);
    let failed = world.run(&["version=3.10"]).exits(1);
    assert!(failed.out.contains("region2.deploy.rollout failed (connectivity)"), "{}", failed.out);
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:3.9"), 3)]);
    }
}

#[test]
fn few_calls_are_made() {
    let Some(mut world) = world("calls", "rolling", PHASES) else { return };
    world.proxy([Arc::new(|_, _, _| Fault::None), Arc::new(|_, _, _| Fault::None)]);
    world.run(&["version=3.9"]).exits(0);
    let before = world.seen().len();
    world.run(&["version=3.10"]).exits(0);
    let seen = world.seen();
    let of_one = (seen.len() - before) / 2;
    eprintln!("{of_one} calls for one target");
    // Three objects, read and written: six; two lists of kinds; a watch of the workload and one of its pods: two. The rest looks
    // at permissions, at what is in place and for autoscalers, keeps the release and the Lease, and removes what came before.
    assert!(of_one <= 28, "{of_one} calls: {seen:#?}");
}

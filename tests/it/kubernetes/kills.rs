//! `kill -9` at random moments of a deployment to two regions, its resumes and its rollbacks, again and again.

use super::support::{IMAGE, MANIFEST, World, world};
use crate::killing::{Chance, killed};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How the first release comes.
const FIRST: &str = "phase deploy { step rollout = kubernetes.rolling { timeout = 2m } }";

const END: &str = "
  phase end {
    step break_it = shell { only if broken, script = \"exit 1\" }
    barrier all { timeout = 5m }
  }";

/// At most so many kills in one run, so that each comes to its end.
const MOST_IN_ONE: u32 = 4;

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn resume(world: &World) -> Command {
    let mut command = world.sandbox.dsl("resume");
    command.arg("last").env("KUBECONFIG", world.kubeconfig());
    command
}

/// What has to be so after the end of a run, in both regions: one release serves, and nothing of another one is left.
fn settled(world: &World, version: &str) {
    for region in [1, 2] {
        assert_eq!(world.serving(region, "shop"), [(format!("{IMAGE}:{version}"), 1)], "region{region}");
        assert_eq!(world.names(region, "v1", "ConfigMap").len(), 1);
        assert_eq!(world.names(region, "apps/v1", "Deployment").len(), 1);
        let lease = world.get(region, "coordination.k8s.io/v1", "Lease", "lockstep.shop").unwrap();
        assert!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(), "let go of");
    }
}

#[test]
#[ignore = "takes long: cargo test -p dsl --test it kubernetes::kills -- --ignored --nocapture; LOCKSTEP_KILLS=200 says how many"]
fn every_rolling_run_ends_all_new_or_all_old_or_says_who_is_needed() {
    every_run_ends_all_new_or_all_old("kills_rolling", "rolling", &format!("{FIRST}{END}"));
}

#[test]
#[ignore = "takes long: as above, for canaries"]
fn every_canary_run_ends_all_new_or_all_old_or_says_who_is_needed() {
    let canary = "
      phase few { step few = kubernetes.canary { replicas = 1, timeout = 2m } }
      phase all { step all = kubernetes.promote { timeout = 2m } }";
    every_run_ends_all_new_or_all_old("kills_canary", "canary", &format!("{canary}{END}"));
}

#[test]
#[ignore = "takes long: as above, for colours"]
fn every_run_of_colours_ends_all_new_or_all_old_or_says_who_is_needed() {
    let colours = "
      phase up   { step stage = kubernetes.stage { timeout = 2m } }
      phase over { step swap = kubernetes.swap { timeout = 2m } }";
    every_run_ends_all_new_or_all_old("kills_colours", "blue_green", &format!("{colours}{END}"));
}

fn every_run_ends_all_new_or_all_old(test: &str, strategy: &str, phases: &str) {
    let Some(world) = world(test, "rolling", FIRST) else { return };
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let wanted = number("LOCKSTEP_KILLS", 200);
    let seed = number("LOCKSTEP_SEED", 0x5eed_1e55);
    let mut chance = Chance::new(seed);
    world.manifest(&MANIFEST.replace("replicas: 3", "replicas: 1"));
    let mut versions = ["3.9", "3.10"].into_iter().cycle();
    let mut now = versions.next().unwrap();
    let began = Instant::now();
    world.run(&[&format!("version={now}")]).exits(0);
    settled(&world, now);
    world.rewrite("rolling", strategy, FIRST, phases);
    let mut length = began.elapsed();
    let (mut kills, mut runs, mut new, mut old, mut persons) = (0, 0, 0, 0, 0);
    while kills < wanted {
        let next = versions.next().unwrap();
        let broken = chance.below(2) == 0;
        let begun_before = begun(&world);
        let version = format!("version={next}");
        let arguments = [version.as_str(), if broken { "broken=true" } else { "broken=false" }];
        let began = Instant::now();
        let mut command = quiet(world.command(&arguments));
        let mut here = 0;
        let code = loop {
            let moment =
                if here < MOST_IN_ONE { chance.below(length.as_micros() as u64) } else { 3_600_000_000 };
            match killed(&mut command, Duration::from_micros(moment)) {
                Some(code) => break code,
                None => {
                    kills += 1;
                    here += 1;
                    // Killed before there was a run: it is begun anew.
                    let again = begun(&world) > begun_before;
                    command = quiet(if again { resume(&world) } else { world.command(&arguments) });
                }
            }
        };
        runs += 1;
        if here == 0 && !broken {
            length = began.elapsed();
        }
        let told = crate::support::said(&mut world.sandbox.dsl("status"));
        match code {
            0 => {
                assert!(!broken, "seed {seed}, after {kills} kills: {}", told.out);
                new += 1;
                now = next;
            }
            1 => {
                assert!(broken, "seed {seed}, after {kills} kills: it failed by itself:\n{}", told.out);
                old += 1;
                // The next run takes the other version again.
                versions.next();
            }
            3 => {
                persons += 1;
                assert!(told.out.contains("region"), "the target is named: {}", told.out);
                eprintln!("a person is needed:\n{}", told.out);
                // Who does the natural thing: deploys again.
                world.run(&[&format!("version={now}")]).exits(0);
            }
            other => {
                panic!("seed {seed}, after {kills} kills in {runs} runs it ended with {other}:\n{}", told.out)
            }
        }
        settled(&world, now);
        eprintln!(
            "{strategy}: {kills} kills in {runs} runs: {new} all new, {old} all old, {persons} for a person (seed {seed})"
        );
    }
}

/// How many runs the state directory knows.
fn begun(world: &World) -> usize {
    let said = crate::support::said(&mut world.sandbox.dsl("runs"));
    said.out.lines().filter(|line| !line.starts_with(' ')).count()
}

//! The provider `local` with real services: deploys, rollbacks, failures, repetitions.

use crate::shell::alive;
use crate::support::*;
use lockstep_executor::{End, Nobody};
use lockstep_plan::*;
use std::fs;
use std::sync::Arc;

/// Serves its version in `ROOT/serving` as long as it lives.
const SERVE: &str = "trap 'rm -f \"$LOCKSTEP_ROOT/serving\"; exit 0' TERM\n\
    cp version \"$LOCKSTEP_ROOT/.serving\" && mv \"$LOCKSTEP_ROOT/.serving\" \"$LOCKSTEP_ROOT/serving\"\n\
    echo \"serving $(cat version) as $LOCKSTEP_SERVICE on $LOCKSTEP_TARGET\"\n\
    while :; do sleep 600 & wait $!; done";

/// A stage `a` that works on the root `a` with that version of a service that serves it.
fn serving(world: &World, version: &str, works: Vec<W>) -> S {
    let app = format!("app-{version}");
    fs::create_dir_all(world.path(&app).join("bin")).unwrap();
    fs::write(world.path(&app).join("version"), version).unwrap();
    fs::write(world.path(&app).join("bin/serve"), SERVE).unwrap();
    S {
        service: vec![
            ("start", "exec sh bin/serve".into()),
            ("check", "cmp version \"$LOCKSTEP_ROOT/serving\"".into()),
        ],
        artifact: ("other", app),
        ..stage("a", works)
    }
}

fn service_pid(world: &World) -> String {
    world.read("a/service.pid").lines().nth(1).unwrap().to_string()
}

const SUCCEEDED: End = End::Finished(RunOutcome::Succeeded);
const ROLLED_BACK: End = End::Finished(RunOutcome::RolledBack);

#[tokio::test]
async fn a_second_deploy_replaces_the_first_and_rollback_returns_to_it() {
    let world = World::new();
    let first = world.run(plan(vec![serving(&world, "1", vec![local("deploy", "deploy")])])).await;
    assert_eq!(first.end, SUCCEEDED);
    assert_eq!(world.read("a/serving"), "1");
    let (release, pid) = (fs::read_link(world.path("a/current")).unwrap(), service_pid(&world));
    assert!(world.read("a/log/service.log").contains("serving 1 as demo on here.a"));

    let works = vec![local("deploy", "deploy"), shell("look", "cat a/serving")];
    let second = world.run(plan(vec![serving(&world, "2", works.clone())])).await;
    assert_eq!(second.end, SUCCEEDED);
    assert_eq!(world.read("a/serving"), "2");
    assert!(!alive(&pid), "the first service was stopped");
    let second_release = fs::read_link(world.path("a/current")).unwrap();
    assert_ne!(second_release, release);

    let works = [works, vec![shell("fail", "exit 1")]].concat();
    let third = world.run(plan(vec![serving(&world, "3", works)])).await;
    assert_eq!(third.end, ROLLED_BACK);
    assert_eq!(world.read("a/serving"), "2");
    assert_eq!(fs::read_link(world.path("a/current")).unwrap(), second_release);
    let looked = third.memory.lines.lock().unwrap().contains(&"3".to_string());
    assert!(looked, "version 3 was there in between");
}

#[tokio::test]
async fn rollback_of_a_first_deploy_leaves_nothing() {
    let world = World::new();
    let works = vec![local("deploy", "deploy"), shell("fail", "cp a/service.pid seen; exit 1")];
    let ended = world.run(plan(vec![serving(&world, "1", works)])).await;
    assert_eq!(ended.end, ROLLED_BACK);
    assert!(!world.path("a/current").exists() && !world.path("a/serving").exists());
    assert!(!alive(world.read("seen").lines().nth(1).unwrap()));
}

#[tokio::test]
async fn a_service_that_was_stopped_stays_so_after_rollback() {
    let world = World::new();
    let works = vec![local("deploy", "deploy"), local("stop", "stop")];
    assert_eq!(world.run(plan(vec![serving(&world, "1", works)])).await.end, SUCCEEDED);
    assert!(!world.path("a/serving").exists());
    let works = vec![local("deploy", "deploy"), shell("fail", "exit 1")];
    assert_eq!(world.run(plan(vec![serving(&world, "2", works)])).await.end, ROLLED_BACK);
    assert!(!world.path("a/serving").exists());
    assert_eq!(fs::read_to_string(world.path("a/current/version")).unwrap(), "1");
    assert_eq!(
        world.run(plan(vec![serving(&world, "1", vec![local("start", "start")])])).await.end,
        SUCCEEDED
    );
    assert_eq!(world.read("a/serving"), "1");
}

#[tokio::test]
async fn a_check_that_never_passes_is_a_failed_verification() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy").timeout(1500)]);
    stage.service[1].1 = "echo not yet; exit 9".into();
    let ended = world.run(plan(vec![stage])).await;
    assert_eq!(ended.end, ROLLED_BACK);
    let failure = ended.failure();
    assert_eq!(failure.kind, Kind::Verification, "{failure:?}");
    for part in ["`echo not yet; exit 9`: exit status 9: not yet", "serving 1 as demo"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_service_that_dies_fails_at_once() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy").timeout(600_000)]);
    stage.service[0].1 = "echo the port is taken; exit 5".into();
    let ended = world.run(plan(vec![stage.clone()])).await;
    let failure = ended.failure();
    assert_eq!(failure.kind, Kind::Application);
    assert!(failure.message.contains("has ended: exit status 5"), "{}", failure.message);
    assert!(failure.message.contains("the port is taken"), "{}", failure.message);
    // Without a check it is noticed too.
    stage.service[1].1.clear();
    assert_eq!(world.run(plan(vec![stage])).await.failure().kind, Kind::Application);
}

#[tokio::test]
async fn a_missing_artifact_is_named() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy")]);
    stage.artifact.1 = "no/such/app".into();
    let ended = world.run(plan(vec![stage])).await;
    let wanted = world.module().canonicalize().unwrap().join("no/such/app");
    let message = ended.failure().message;
    assert!(message.contains(&format!("cannot read the artifact `{}`", wanted.display())), "{message}");
    let left: Vec<_> = fs::read_dir(world.path("a/releases")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_artifact_around_the_root_is_refused() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy")]);
    stage.artifact.1 = ".".into();
    let message = world.run(plan(vec![stage])).await.failure().message;
    assert!(message.contains("would be copied into itself"), "{message}");
}

#[tokio::test]
async fn a_deploy_that_was_done_already_is_recognised() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy")]);
    stage.service[1].1 = "test -e ../../go && cmp version \"$LOCKSTEP_ROOT/serving\"".into();
    let runner = world.runner(plan(vec![stage]));
    let (run, handle) = (runner.info().id.clone(), runner.handle());
    let running = tokio::spawn(runner.run(Arc::new(Nobody)));
    while !world.path("a/serving").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    handle.detach();
    assert_eq!(running.await.unwrap().unwrap(), End::Detached);
    fs::write(world.path("a/go"), "").unwrap();
    let pid = service_pid(&world);
    assert_eq!(world.resume(&run).run(Arc::new(Nobody)).await.unwrap(), SUCCEEDED);
    assert_eq!(service_pid(&world), pid, "it was not started again");
    assert_eq!(fs::read_dir(world.path("a/releases")).unwrap().count(), 1);
}

#[tokio::test]
async fn archives_are_unpacked_compressed_or_not() {
    for compress in [false, true] {
        let world = World::new();
        let mut stage = serving(&world, "1", vec![local("deploy", "deploy")]);
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all(".", world.path("app-1")).unwrap();
        let mut bytes = archive.into_inner().unwrap();
        if compress {
            use std::io::Write;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        fs::write(world.path("app.tar"), bytes).unwrap();
        stage.artifact = ("tar", "app.tar".into());
        assert_eq!(world.run(plan(vec![stage])).await.end, SUCCEEDED);
        assert_eq!(world.read("a/serving"), "1");
    }
}

#[tokio::test]
async fn a_stop_command_is_used_and_its_own_release_says_which() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy")]);
    stage.service.push((
        "stop",
        "echo stopped $(cat version) >>\"$LOCKSTEP_ROOT/stops\"; rm \"$LOCKSTEP_ROOT/serving\"".into(),
    ));
    assert_eq!(world.run(plan(vec![stage])).await.end, SUCCEEDED);
    let pid = service_pid(&world);
    assert_eq!(
        world.run(plan(vec![serving(&world, "2", vec![local("deploy", "deploy")])])).await.end,
        SUCCEEDED
    );
    assert_eq!(world.read("a/stops"), "stopped 1\n");
    assert!(!alive(&pid), "what the command left was ended by signal");
}

#[tokio::test]
async fn a_start_command_may_hand_the_service_over() {
    let world = World::new();
    let mut stage = serving(&world, "1", vec![local("deploy", "deploy")]);
    // As a service manager would: the command ends, and nothing of its group is left.
    stage.service =
        vec![("start", "cp version ../../managed".into()), ("check", "cmp version ../../managed".into())];
    assert_eq!(world.run(plan(vec![stage.clone()])).await.end, SUCCEEDED);
    fs::write(world.path("app-1/version"), "2").unwrap();
    stage.works.push(shell("fail", "exit 1"));
    assert_eq!(world.run(plan(vec![stage])).await.end, ROLLED_BACK);
    assert_eq!(world.read("a/managed"), "1", "the first was started again");
}

#[tokio::test]
async fn another_service_in_the_same_root_is_refused() {
    let world = World::new();
    assert_eq!(
        world.run(plan(vec![serving(&world, "1", vec![local("deploy", "deploy")])])).await.end,
        SUCCEEDED
    );
    let mut other = plan(vec![serving(&world, "2", vec![local("deploy", "deploy")])]);
    other.services[0].name = "other".into();
    let ended = world.run(other).await;
    assert_eq!((ended.end, ended.failure().kind), (ROLLED_BACK, Kind::Policy));
    assert_eq!(world.read("a/serving"), "1", "what ran still runs");
}

#[tokio::test]
async fn effects_on_one_root_wait_for_each_other() {
    let world = World::new();
    fs::create_dir_all(world.path("a")).unwrap();
    let lock = fs::File::create(world.path("a/.lock")).unwrap();
    lock.lock().unwrap();
    fs::write(world.path("a/.lock"), "run other epoch 1 process 1\n").unwrap();
    let command = local("one", "command").with("script", text("echo ran in $(basename \"$PWD\")"));
    let runner = world.runner(plan(vec![stage("a", vec![command])]));
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(runner.run(memory.clone()));
    let waiting = format!(
        "waiting for `{}`, held by run other epoch 1 process 1",
        world.path("a").canonicalize().unwrap().display()
    );
    memory.line(&waiting).await;
    drop(lock);
    memory.line("ran in a").await;
    assert_eq!(running.await.unwrap().unwrap(), SUCCEEDED);
}

#[tokio::test]
async fn what_another_run_has_deployed_since_is_left_alone() {
    let world = World::new();
    let works = vec![
        local("deploy", "deploy"),
        shell("gate", "echo at the gate; until [ -e open ]; do sleep 0.02; done; exit 1"),
    ];
    let runner = world.runner(plan(vec![serving(&world, "1", works)]));
    let (run, store, memory) = (runner.info().id.clone(), world.store(), Arc::new(Memory::default()));
    let first = tokio::spawn(runner.run(memory.clone()));
    memory.line("at the gate").await;
    let second = world.run(plan(vec![serving(&world, "2", vec![local("deploy", "deploy")])])).await;
    assert_eq!(second.end, SUCCEEDED);
    fs::write(world.path("open"), "").unwrap();
    assert_eq!(first.await.unwrap().unwrap(), End::Finished(RunOutcome::NeedsPerson));
    assert_eq!(world.read("a/serving"), "2", "the newer release still serves");
    let told = lockstep_executor::replay(&store, &run).unwrap();
    let refused = told.happenings.iter().any(|(_, happening)| {
        matches!(happening, Happening::RollbackFailed(_, _, failure) if failure.kind == Kind::Policy)
    });
    assert!(refused, "{:?}", told.happenings);
}

#[tokio::test]
async fn an_artifact_with_a_pipe_in_it_is_refused() {
    let world = World::new();
    let stage = serving(&world, "1", vec![local("deploy", "deploy")]);
    let made = std::process::Command::new("mkfifo").arg(world.path("app-1/pipe")).status().unwrap();
    assert!(made.success());
    let ended = world.run(plan(vec![stage])).await;
    assert!(ended.failure().message.contains("app-1/pipe` is neither a file"), "{}", ended.failure().message);
}

#[tokio::test]
async fn an_archive_that_points_outside_is_refused() {
    let world = World::new();
    let mut archive = tar::Builder::new(fs::File::create(world.path("evil.tar")).unwrap());
    let mut header = tar::Header::new_gnu();
    // `Builder` refuses such a name itself, so it is written into the header by hand.
    header.as_old_mut().name[..13].copy_from_slice(b"../../evil.sh");
    header.set_size(1);
    header.set_cksum();
    archive.append(&header, &b"x"[..]).unwrap();
    archive.finish().unwrap();
    let works = vec![local("deploy", "deploy")];
    let stage = S { artifact: ("tar", "evil.tar".into()), service: vec![], ..serving(&world, "1", works) };
    let ended = world.run(plan(vec![stage])).await;
    assert!(ended.failure().message.contains("points outside of the release"), "{}", ended.failure().message);
}

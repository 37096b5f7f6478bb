//! Scripts: their environment, their output, their end, whoever is there to see it.

use crate::support::*;
use lockstep_executor::{Drivers, End, Error, Nobody, Runner};
use lockstep_plan::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[tokio::test]
async fn a_script_runs_in_the_module_with_its_environment() {
    let world = World::new();
    std::fs::write(world.path("here"), "found").unwrap();
    let env = Value::Map(BTreeMap::from([("GREETING".to_string(), text("it's \"$HOME\""))]));
    let step = shell("one", "cat here; echo; echo \"$GREETING\"; echo aside >&2").with("env", env);
    let ended = world.run(plan(vec![stage("a", vec![step])])).await;
    assert_eq!(ended.stdout(), "found\nit's \"$HOME\"");
    let lines = ended.memory.lines.lock().unwrap();
    assert!(lines.contains(&"found".to_string()) && lines.contains(&"aside".to_string()), "{lines:?}");
}

#[tokio::test]
async fn a_failing_script_says_why() {
    let world = World::new();
    let ended = world.run(plan(vec![stage("a", vec![shell("one", "echo no such luck >&2; exit 3")])])).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::RolledBack));
    let failure = ended.failure();
    assert_eq!(failure.kind, Kind::Application);
    assert_eq!(failure.message, "exit status 3: no such luck");
}

#[tokio::test]
async fn a_missing_command_and_a_signal_are_named() {
    let world = World::new();
    let ended = world.run(plan(vec![stage("a", vec![shell("one", "no-such-command-anywhere")])])).await;
    assert!(ended.failure().message.starts_with("exit status 127 (a command was not found): "));
    let ended = world.run(plan(vec![stage("a", vec![shell("one", "kill -9 $$")])])).await;
    assert!(ended.failure().message.starts_with("exit status 137 (ended by signal 9)"));
}

#[tokio::test]
async fn a_failed_verification_has_its_own_kind() {
    let world = World::new();
    let step = W::Step {
        name: "one",
        provider: "verify",
        step: "command",
        arguments: vec![("script", text("echo 7 errors >&2; exit 1"))],
        timeout: 20_000,
    };
    let ended = world.run(plan(vec![stage("a", vec![step])])).await;
    assert_eq!(ended.failure(), Failure::new(Kind::Verification, "exit status 1: 7 errors"));
}

#[tokio::test]
async fn a_timeout_stops_the_whole_process_group() {
    let world = World::new();
    let script = "sleep 600 & echo $! >child; wait";
    let ended = world.run(plan(vec![stage("a", vec![shell("one", script).timeout(300)])])).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::RolledBack));
    assert!(matches!(ended.outcome(), Outcome::Failed(_)));
    let failed = ended.memory.happenings.lock().unwrap().iter().any(|(happening, _)| {
        matches!(happening, Happening::StepFailed { failure: Failure { kind: Kind::Timeout, .. }, .. })
    });
    assert!(failed);
    assert!(!alive(world.read("child").trim()), "the script's child outlived it");
}

#[tokio::test]
async fn a_script_that_ignores_sigterm_is_killed() {
    let world = World::new();
    let script = "trap '' TERM; echo $$ >self; while :; do sleep 1; done";
    let ended = world.run(plan(vec![stage("a", vec![shell("one", script).timeout(200)])])).await;
    assert!(matches!(ended.outcome(), Outcome::Failed(_)), "{:?}", ended.outcome());
    assert!(!alive(world.read("self").trim()));
}

#[tokio::test]
async fn secrets_reach_the_script_and_nothing_else() {
    let world = World::new();
    std::fs::write(world.path("token"), "tok-5e3cr3t\n").unwrap();
    let secrets = Value::Map(BTreeMap::from([("TOKEN".to_string(), Value::Secret("token".into()))]));
    let script = "echo \"it is $TOKEN\"; echo \"$TOKEN\" | tr a-z A-Z; echo \"bad $TOKEN\" >&2; exit 4";
    let mut made = plan(vec![stage("a", vec![shell("one", script).with("secrets", secrets)])]);
    let settings = Fields::from_iter([("path".to_string(), Expr::Value(Value::Path("token".into())))]);
    made.secrets.insert("token".into(), Source { kind: "file".into(), settings });
    let ended = world.run(made.clone()).await;
    assert_eq!(ended.failure().message, "exit status 4: bad ***");
    let lines = ended.memory.lines.lock().unwrap().clone();
    assert!(lines.contains(&"it is ***".to_string()), "{lines:?}");
    assert!(lines.contains(&"TOK-5E3CR3T".to_string()), "the script had it: {lines:?}");
    let kept = walk(&world.directory.path().join("state"));
    assert!(kept.iter().any(|file| file.ends_with("stdout")));
    for file in kept {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("tok-5e3cr3t"), "{}", file.display());
    }
    std::fs::remove_file(world.path("token")).unwrap();
    let Err(error) = Runner::start(world.store(), Drivers::built_in(), made, &world.module(), "tester")
    else {
        panic!("started without its secret");
    };
    assert!(matches!(error, Error::Secrets(_)) && error.to_string().contains("secret `token`"), "{error}");
}

#[tokio::test]
async fn a_script_with_secrets_may_leave_something_running() {
    let world = World::new();
    std::fs::write(world.path("token"), "tok-5e3cr3t\n").unwrap();
    let secrets = Value::Map(BTreeMap::from([("TOKEN".to_string(), Value::Secret("token".into()))]));
    // What goes on holds the pipes open; the step has ended all the same, and with all that it had printed.
    let script = "while [ ! -e go ]; do sleep 0.05; done & printf 'left with %s' \"$TOKEN\"";
    let mut made = plan(vec![stage("a", vec![shell("one", script).with("secrets", secrets)])]);
    let settings = Fields::from_iter([("path".to_string(), Expr::Value(Value::Path("token".into())))]);
    made.secrets.insert("token".into(), Source { kind: "file".into(), settings });
    let ended = world.run(made).await;
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(ended.stdout(), "left with ***");
}

#[tokio::test]
async fn a_script_that_runs_on_is_found_again() {
    let world = World::new();
    let script = "echo begun; echo x >>count; while [ ! -e go ]; do sleep 0.05; done; echo ended";
    let run = world.left_running(plan(vec![stage("a", vec![shell("one", script)])])).await;
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(world.resume(&run).run(memory.clone()));
    memory.line("begun").await;
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), End::Finished(RunOutcome::Succeeded));
    assert_eq!(world.read("count"), "x\n", "it was started once");
    memory.line("ended").await;
}

#[tokio::test]
async fn a_script_that_ended_meanwhile_keeps_its_outcome() {
    let world = World::new();
    let script = "echo begun; echo x >>count; while [ ! -e go ]; do sleep 0.05; done; echo result; : >done";
    let run = world.left_running(plan(vec![stage("a", vec![shell("one", script)])])).await;
    std::fs::write(world.path("go"), "").unwrap();
    // Its supervisor has nothing more to do once it has ended.
    for log in world.logs() {
        std::fs::File::open(log).unwrap().lock_shared().unwrap();
    }
    let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
    assert_eq!(end, End::Finished(RunOutcome::Succeeded));
    assert_eq!(world.read("count"), "x\n");
}

#[tokio::test]
async fn a_detached_script_can_be_cancelled_later() {
    let world = World::new();
    let runner =
        world.runner(plan(vec![stage("a", vec![shell("one", "echo $$ >self; echo begun; exec sleep 600")])]));
    let run = runner.info().id.clone();
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.line("begun").await;
    running.abort();
    let _ = running.await;
    let runner = world.resume(&run);
    runner.handle().abort("tester");
    assert_eq!(runner.run(Arc::new(Nobody)).await.unwrap(), End::Finished(RunOutcome::Aborted));
    assert!(!alive(world.read("self").trim()));
}

/// Says whether the process whose number is in `self` goes on.
const LOOK: &str =
    "if grep -v ') Z ' /proc/$(cat self)/stat; then echo beside >>seen; else echo alone >>seen; fi\n";

/// A script that goes on for ever; one that comes later says whether it still does.
fn endless() -> String {
    format!("[ ! -e self ] || {{ {LOOK} exit; }}; echo $$ >self; echo begun; exec sleep 600")
}

/// Only its supervisor is killed: what is left of the script is ended, and it is begun again, whoever carries the run out and
/// whichever process had begun it.
#[tokio::test]
async fn a_script_whose_supervisor_is_killed_is_begun_again() {
    for resumed in [false, true] {
        for step in [shell("one", &endless()), local("one", "command").with("script", text(&endless()))] {
            let world = World::new();
            std::fs::create_dir_all(world.path("a")).unwrap();
            let at = if matches!(step, W::Step { provider: "local", .. }) { "a/" } else { "" };
            let made = plan(vec![stage("a", vec![step])]);
            let runner = match resumed {
                false => world.runner(made),
                true => world.resume(&world.left_running(made).await),
            };
            let (run, memory) = (runner.info().id.clone(), Arc::new(Memory::default()));
            let running = tokio::spawn(runner.run(memory.clone()));
            memory.line("begun").await;
            world.kill_supervisors();
            assert_eq!(running.await.unwrap().unwrap(), End::Finished(RunOutcome::Succeeded));
            assert!(!alive(world.read(&format!("{at}self")).trim()), "it goes on");
            assert_eq!(world.read(&format!("{at}seen")), "alone\n");
            let history = world.store().history(&run).unwrap();
            let ends = history.iter().filter(|entry| matches!(entry.event, Event::StepEnded { .. })).count();
            assert_eq!(ends, 1, "it is the same attempt");
        }
    }
}

#[tokio::test]
async fn an_undo_whose_supervisor_is_killed_is_begun_again() {
    let world = World::new();
    std::fs::write(world.path("app"), "").unwrap();
    let works = vec![local("deploy", "deploy"), shell("fail", "exit 1")];
    let mut made = plan(vec![S { artifact: ("other", "app".into()), ..stage("a", works) }]);
    let W::Step { arguments, .. } = shell("undo", &endless()) else { unreachable!() };
    let script = arguments.into_iter().map(|(name, value)| (name.to_string(), Expr::Value(value))).collect();
    made.steps[1].action = Action {
        provider: "shell".into(),
        step: "shell".into(),
        arguments: script,
        ..made.steps[1].action.clone()
    };
    made.steps[1].changes = false;
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(world.runner(made).run(memory.clone()));
    memory.line("begun").await;
    world.kill_supervisors();
    assert_eq!(running.await.unwrap().unwrap(), End::Finished(RunOutcome::RolledBack));
    assert_eq!(world.read("seen"), "alone\n");
}

#[tokio::test]
async fn what_may_have_changed_something_is_not_begun_again_for_its_supervisor() {
    let world = World::new();
    let mut made = plan(vec![stage("a", vec![shell("one", &endless())])]);
    made.steps[0].changes = true;
    made.steps[0].undo = Undo::Irreversible;
    let runner = world.runner(made);
    let (run, memory) = (runner.info().id.clone(), Arc::new(Memory::default()));
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.line("begun").await;
    world.kill_supervisors();
    let end = running.await.unwrap().unwrap();
    let ended = Ended { end, run, memory, store: world.store() };
    assert!(ended.failure().message.contains("nobody knows how it ended"), "{:?}", ended.failure());
    assert!(!alive(world.read("self").trim()));
    assert!(!world.path("seen").exists(), "it was repeated blindly");
}

/// What is begun again is stopped like what was begun first.
#[tokio::test]
async fn what_is_begun_again_for_its_supervisor_can_be_stopped() {
    let world = World::new();
    let script = "[ ! -e self ] || { echo $$ >second; echo again; exec sleep 600; }; echo $$ >self; echo begun; exec sleep 600";
    let runner = world.runner(plan(vec![stage("a", vec![shell("one", script)])]));
    let (handle, memory) = (runner.handle(), Arc::new(Memory::default()));
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.line("begun").await;
    world.kill_supervisors();
    memory.line("again").await;
    handle.abort("tester");
    assert_eq!(running.await.unwrap().unwrap(), End::Finished(RunOutcome::Aborted));
    assert!(!alive(world.read("self").trim()) && !alive(world.read("second").trim()));
}

/// A script that kills whoever looks after it does so again when it is begun again.
#[tokio::test]
async fn a_script_that_kills_its_supervisor_ends_some_time() {
    let world = World::new();
    let ended = world
        .run(plan(vec![stage("a", vec![shell("one", "echo x >>count; kill -9 $PPID; exec sleep 600")])]))
        .await;
    assert!(
        ended.failure().message.contains("killed from outside, again and again"),
        "{:?}",
        ended.failure()
    );
    assert_eq!(world.read("count").lines().count(), 5);
}

/// With the runner gone, too: what is left of an attempt is ended before anything is undone or repeated.
#[tokio::test]
async fn a_script_that_lost_its_supervisor_and_its_runner_is_ended_first() {
    for repeatable in [false, true] {
        let world = World::new();
        let mut made = plan(vec![stage("a", vec![shell("one", &endless())])]);
        made.steps[0].changes = true;
        made.steps[0].undo = Undo::Irreversible;
        made.steps[0].idempotent = repeatable;
        let run = world.left_running(made).await;
        world.kill_supervisors();
        assert!(alive(world.read("self").trim()), "only its supervisor was killed");
        let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
        assert!(!alive(world.read("self").trim()), "it goes on");
        if repeatable {
            assert_eq!(end, End::Finished(RunOutcome::Succeeded));
            assert_eq!(world.read("seen"), "alone\n");
        } else {
            assert!(
                matches!(end, End::Finished(RunOutcome::RolledBack | RunOutcome::NeedsPerson)),
                "{end:?}"
            );
            assert!(!world.path("seen").exists(), "it was repeated blindly");
        }
    }
}

/// Detaches a run whose script is under way, and kills the script with its supervisor.
async fn left_without_a_trace(world: &World, plan: Plan) -> String {
    let run = world.left_running(plan).await;
    world.kill_supervisors();
    for pid in world.noted("started") {
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
    }
    run
}

#[tokio::test]
async fn nobody_knows_how_it_ended() {
    let script = "echo x >>count; echo begun; [ -e again ] || exec sleep 600";
    let mut changing = plan(vec![stage("a", vec![shell("one", script)])]);
    changing.steps[0].changes = true;
    changing.steps[0].undo = Undo::Irreversible;
    let world = World::new();
    let run = left_without_a_trace(&world, changing.clone()).await;
    let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
    assert!(matches!(end, End::Finished(RunOutcome::RolledBack | RunOutcome::NeedsPerson)), "{end:?}");
    assert_eq!(world.read("count"), "x\n", "what may have changed something is not repeated blindly");
    let told = world.store().history(&run).unwrap().into_iter().any(|entry| {
        matches!(entry.event, Event::StepEnded { outcome: Outcome::Failed(failure), .. }
            if failure.message.contains("nobody knows how it ended"))
    });
    assert!(told);
    for repeatable in
        [|plan: &mut Plan| plan.steps[0].changes = false, |plan: &mut Plan| plan.steps[0].idempotent = true]
    {
        let world = World::new();
        let mut plan = changing.clone();
        repeatable(&mut plan);
        let run = left_without_a_trace(&world, plan).await;
        std::fs::write(world.path("again"), "").unwrap();
        let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
        assert_eq!(end, End::Finished(RunOutcome::Succeeded));
        assert_eq!(world.read("count"), "x\nx\n");
    }
}

#[tokio::test]
async fn a_timeout_counts_on_while_nobody_looks() {
    let world = World::new();
    let script = "echo $$ >self; echo begun; exec sleep 600";
    let run = world.left_running(plan(vec![stage("a", vec![shell("one", script).timeout(1500)])])).await;
    assert!(alive(world.read("self").trim()), "it goes on");
    let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
    assert_eq!(end, End::Finished(RunOutcome::RolledBack));
    assert!(!alive(world.read("self").trim()));
    let history = world.store().history(&run).unwrap();
    let fired = history.iter().find(|entry| matches!(entry.event, Event::TimerFired(_))).unwrap();
    assert!(fired.at - history[0].at >= 1499);
}

#[tokio::test]
async fn waiting_lets_time_pass() {
    let world = World::new();
    let wait = W::Step {
        name: "one",
        provider: "wait",
        step: "wait",
        arguments: vec![("duration", Value::Duration(150))],
        timeout: 20_000,
    };
    let ended = world.run(plan(vec![stage("a", vec![wait])])).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let history = ended.store.history(&ended.run).unwrap();
    assert!(history[1].at - history[0].at >= 149);
}

/// How long it takes is known only when it begins, so its timeout cannot be shorter.
#[tokio::test]
async fn a_wait_whose_duration_the_run_decides_has_the_time_for_it() {
    let world = World::new();
    let wait = W::Step { name: "one", provider: "wait", step: "wait", arguments: vec![], timeout: 1 };
    let mut made = plan(vec![stage("a", vec![wait])]);
    let duration = |milliseconds| Box::new(Expr::Value(Value::Duration(milliseconds)));
    let open = Expr::If(Box::new(Expr::Value(Value::Bool(true))), duration(150), duration(1));
    made.steps[0].action.arguments.insert("duration".into(), open);
    assert_eq!(world.run(made).await.end, End::Finished(RunOutcome::Succeeded));
}

/// Whether a process is there and not merely uncollected.
pub fn alive(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'),
        Err(_) => false,
    }
}

#[tokio::test]
async fn printing_a_lot_is_followed_as_far_as_a_person_could() {
    let world = World::new();
    let script = "head -c 8000000 /dev/zero | tr '\\0' x; echo; yes hello | head -c 8000000; echo the end";
    let ended = world.run(plan(vec![stage("a", vec![shell("one", script).timeout(60_000)])])).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let lines = ended.memory.lines.lock().unwrap();
    assert!(lines.iter().any(|line| line.starts_with("it prints more than is followed here")));
    assert!(lines.iter().map(String::len).sum::<usize>() < 3_000_000);
}

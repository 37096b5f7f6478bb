//! Programs behind providers: what they are told, and what becomes of ones that misbehave.

use crate::support::*;
use lockstep_executor::{Nobody, Runner};
use lockstep_plan::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// A world with a program, and a plan of one step that it carries out.
fn world(program: &str, changes: bool) -> (World, Plan) {
    let world = World::new();
    let path = world.path("driver");
    std::fs::write(&path, format!("#!/bin/sh\n{program}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = vec![("text", text("hello")), ("share", Value::Percent(20))];
    let work = W::Step { name: "go", provider: "edge", step: "push", arguments, timeout: 20_000 };
    let mut made = plan(vec![stage("a", vec![work])]);
    made.steps[0].outputs = Fields::from_iter([("revision".into(), ValueType::Int)]);
    made.steps[0].changes = changes;
    made.programs.insert("edge".into(), "./driver".into());
    (world, made)
}

async fn failure(program: &str) -> Failure {
    let (world, plan) = world(program, false);
    world.run(plan).await.failure()
}

#[tokio::test]
async fn it_is_told_what_to_do_and_tells_how_it_went() {
    let program = r#"read -r line; echo "$line" >seen; echo '{"progress":"half way"}'; echo '{"result":{"outputs":{"revision":7}}}'"#;
    let (world, mut plan) = world(program, false);
    let pieces = vec!["host: ".into(), ";".into()];
    plan.templates.push(Template { path: "edge/site.conf".into(), pieces });
    let filled = |text: &str| {
        vec![Filled { template: TemplateId(0), holes: vec![Expr::Value(Value::Text(text.into()))] }]
    };
    plan.steps[0].action.files = filled("one");
    plan.steps[0].action.service_files = filled("two");
    let ended = world.run(plan).await;
    let outputs = BTreeMap::from([("revision".into(), Value::Int(7))]);
    assert_eq!(ended.outcome(), Outcome::Succeeded { outputs });
    assert_eq!(*ended.memory.lines.lock().unwrap(), ["half way"]);
    let seen: serde_json::Value = serde_json::from_str(&world.read("seen")).unwrap();
    assert_eq!(seen["version"], 1);
    assert_eq!(seen["request"], "run");
    assert_eq!(seen["step"], "push");
    assert_eq!(seen["key"], format!("{}/a.main.go/1", ended.run));
    assert_eq!(seen["arguments"], serde_json::json!({ "text": "hello", "share": 20 }));
    assert_eq!(seen["target"]["settings"]["root"], "a");
    let file = |text: &str| serde_json::json!([{ "path": "edge/site.conf", "text": text }]);
    assert_eq!((&seen["files"], &seen["service"]["files"]), (&file("host: one;"), &file("host: two;")));
}

/// A plan whose program is given a secret.
fn secretive(program: &str, changes: bool) -> (World, Plan) {
    let (world, mut made) = world(program, changes);
    std::fs::write(world.path("token"), "PlainSecret12345\n").unwrap();
    let settings = Fields::from_iter([("path".to_string(), Expr::Value(Value::Path("token".into())))]);
    made.secrets.insert("token".into(), Source { kind: "file".into(), settings });
    made.steps[0].action.arguments.insert("text".into(), Expr::Value(Value::Secret("token".into())));
    made.steps[0].outputs = Fields::from_iter([("said".into(), ValueType::Text)]);
    (world, made)
}

/// Neither in what it printed on standard error, nor in its outputs, nor in what the journal keeps.
#[tokio::test]
async fn a_secret_that_it_tells_reaches_no_file() {
    let program = r#"read -r line; token=$(echo "$line" | sed 's/.*"text":"\([^"]*\)".*/\1/')
echo "it is $token" >&2; printf 'and %s' "$token" >&2
echo "{\"result\":{\"outputs\":{\"said\":\"tok $token\"}}}""#;
    let (world, plan) = secretive(program, false);
    let ended = world.run(plan).await;
    let outputs = BTreeMap::from([("said".into(), text("tok ***"))]);
    assert_eq!(ended.outcome(), Outcome::Succeeded { outputs });
    let store = world.store();
    let plan = store.plan(&ended.run).unwrap();
    let printed = store.outputs(&ended.run, &plan).unwrap().of("a.main.go", 1).unwrap();
    assert_eq!(printed, "it is ***\nand ***");
    let kept = std::process::Command::new("grep")
        .args(["-r", "-l", "PlainSecret12345"])
        .arg(world.store().directory())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(kept.stdout).unwrap(), "");
}

/// It would be journalled, or be given back without it.
#[tokio::test]
async fn a_record_that_holds_a_secret_is_refused() {
    let program = r#"read -r line; case $line in *inspect*) echo '{"record":{"live":"with PlainSecret12345"}}';; *) echo x >ran;; esac"#;
    let (world, mut plan) = secretive(program, true);
    plan.targets[0].provider = "edge".into();
    let ended = world.run(plan).await;
    let told = format!("{:?}", ended.memory.happenings.lock().unwrap());
    assert!(told.contains("holds a secret, which must not be journalled"), "{told}");
    assert!(!world.path("ran").exists());
}

#[tokio::test]
async fn its_failures_have_their_kinds() {
    let failed = failure(
        r#"read -r line; echo '{"failure":{"kind":"connectivity","message":"no route","hosts":[1,5]}}'"#,
    )
    .await;
    assert_eq!(failed, Failure { kind: Kind::Connectivity, message: "no route".into(), hosts: Some((1, 5)) });
}

#[tokio::test]
async fn one_that_misbehaves_is_named() {
    for (program, why) in [
        ("exit 3", "it ended without a result, with exit status 3"),
        ("read -r line; echo no disk >&2; exit 1", "it ended without a result, with exit status 1: no disk"),
        ("read -r line", "it ended without a result"),
        ("read -r line; echo done; exec sleep 60", "it wrote a line that is no message of the protocol"),
        (
            r#"echo '{"result":{"outputs":{"revision":"x"}}}'"#,
            "its output `revision` is \"x\", and not a whole number",
        ),
        (r#"echo '{"result":{}}'"#, "its result has no output `revision`"),
        (
            r#"echo '{"result":{"outputs":{"revision":1,"more":2}}}'"#,
            "an output `more`, which its step does not declare",
        ),
        (
            r#"echo '{"result":{"outputs":{"revision":1}}}'; echo '{"failure":{"kind":"policy","message":"no"}}'"#,
            "it gave two results",
        ),
        (r#"echo '{"failure":{"kind":"strange","message":"no"}}'"#, "unknown variant `strange`"),
        ("head -c 3000000 /dev/zero | tr '\\0' x", "it wrote a line of more than 1048576 bytes"),
        (r#"yes '{"progress":"on and on"}'"#, "it wrote more than 100000 lines"),
    ] {
        let failed = failure(program).await;
        assert_eq!(failed.kind, Kind::Application, "{program}");
        assert!(failed.message.starts_with("program `./driver`: "), "{}", failed.message);
        assert!(failed.message.contains(why), "{program}: {}", failed.message);
    }
}

/// Told to stop, it says that it has; nothing of it is left.
#[tokio::test]
async fn it_is_told_to_stop() {
    let program = r#"read -r line; echo '{"progress":"begun"}'; read -r line; echo "$line" >seen
        echo '{"failure":{"kind":"timeout","message":"stopped"}}'"#;
    let (world, mut plan) = world(program, false);
    plan.steps[0].timeout = 500;
    let failed = world.run(plan).await.failure();
    assert_eq!(failed.kind, Kind::Timeout, "{}", failed.message);
    assert!(world.read("seen").contains(r#""request":"cancel""#));
}

/// The runner goes while the program works; a later one asks what became of the key.
async fn resumed(probe: &str) -> (Outcome, String) {
    let program = format!(
        r#"read -r line; echo "$line" >>seen
        case $line in
        *'"request":"probe"'*) {probe} ;;
        *'"request":"inspect"'*) echo '{{"record":{{"was":"1"}}}}' ;;
        *) echo '{{"progress":"begun"}}'; [ -e again ] || {{ touch again; exec sleep 60; }}
           echo '{{"result":{{"outputs":{{"revision":2}}}}}}' ;;
        esac"#
    );
    let (world, plan) = world(&program, true);
    let mut drivers_plan = plan.clone();
    // Targets of the program's own provider: it is asked what they run.
    drivers_plan.targets[0].provider = "edge".into();
    let run = world.left_running(drivers_plan).await;
    let resumed: Runner = world.resume(&run);
    resumed.run(Arc::new(Nobody)).await.unwrap();
    let events = world.store().history(&run).unwrap().into_iter().map(|entry| entry.event);
    let outcome = events.into_iter().find_map(|event| match event {
        Event::StepEnded { step: StepId(0), outcome, .. } => Some(outcome),
        _ => None,
    });
    (outcome.unwrap(), world.read("seen"))
}

#[tokio::test]
async fn a_later_process_asks_what_became_of_it() {
    let revision = |revision| Outcome::Succeeded {
        outputs: BTreeMap::from([("revision".to_string(), Value::Int(revision))]),
    };
    let (outcome, seen) =
        resumed(r#"echo '{"probe":"ended"}'; echo '{"result":{"outputs":{"revision":1}}}'"#).await;
    assert_eq!(outcome, revision(1));
    assert_eq!(seen.matches(r#""request":"run""#).count(), 1, "{seen}");
    let (outcome, _) =
        resumed(r#"echo '{"probe":"running"}'; echo '{"result":{"outputs":{"revision":3}}}'"#).await;
    assert_eq!(outcome, revision(3));
    let (outcome, seen) = resumed(r#"echo '{"probe":"never_started"}'"#).await;
    assert_eq!(outcome, revision(2));
    assert_eq!(seen.matches(r#""request":"run""#).count(), 2, "{seen}");
    let (outcome, _) = resumed("exit 1").await;
    assert!(matches!(outcome, Outcome::Failed(_)), "nobody knows what it did: {outcome:?}");
}

//! Each request of another process is answered: taken up, or too late, and why.

use crate::support::*;
use lockstep_executor::{End, Error, Nobody, Reply};
use lockstep_plan::*;
use std::sync::Arc;

fn why(reply: Option<Reply>) -> String {
    match reply {
        Some(Reply::Late { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_two_aborts_the_second_is_told_so() {
    let world = World::new();
    let runner = world.runner(plan(vec![stage("a", vec![shell("one", "exec sleep 60")])]));
    let (run, store) = (runner.info().id.clone(), world.store());
    let abort = |by: &str| store.request(&run, &Event::AbortRequested { by: by.into() }).unwrap();
    let (first, second) = (abort("anna"), abort("bert"));
    assert_eq!(store.requests(&run).unwrap().len(), 2);
    assert_eq!(store.reply(first).unwrap(), None);
    assert_eq!(runner.run(Arc::new(Nobody)).await.unwrap(), End::Finished(RunOutcome::Aborted));
    assert_eq!(store.reply(first).unwrap(), Some(Reply::Taken));
    assert!(why(store.reply(second).unwrap()).contains("being aborted already"));
    assert!(store.requests(&run).unwrap().is_empty());
    let said: Vec<Event> = store.history(&run).unwrap().into_iter().map(|entry| entry.event).collect();
    assert!(said.contains(&Event::AbortRequested { by: "anna".into() }), "{said:?}");
}

#[tokio::test]
async fn of_a_rollback_and_an_abort_both_are_taken() {
    let world = World::new();
    let runner = world.runner(plan(vec![stage("a", vec![shell("one", "exec sleep 60")])]));
    let (run, store) = (runner.info().id.clone(), world.store());
    let back = store.request(&run, &Event::RollbackRequested { by: "anna".into() }).unwrap();
    let again = store.request(&run, &Event::RollbackRequested { by: "bert".into() }).unwrap();
    let abort = store.request(&run, &Event::AbortRequested { by: "bert".into() }).unwrap();
    assert_eq!(runner.run(Arc::new(Nobody)).await.unwrap(), End::Finished(RunOutcome::Aborted));
    assert_eq!(store.reply(back).unwrap(), Some(Reply::Taken));
    assert!(why(store.reply(again).unwrap()).contains("rolled back already"));
    assert_eq!(store.reply(abort).unwrap(), Some(Reply::Taken));
}

#[tokio::test]
async fn what_comes_after_the_end_is_refused() {
    let world = World::new();
    let ended = world.run(plan(vec![stage("a", vec![shell("one", "true")])])).await;
    let request = Event::AbortRequested { by: "anna".into() };
    let Err(error) = ended.store.request(&ended.run, &request) else { panic!("taken") };
    assert!(matches!(error, Error::Ended { outcome: RunOutcome::Succeeded, .. }), "{error}");
    assert!(matches!(ended.store.request("nonesuch", &request), Err(Error::NoRun(_))));
}

/// A run whose step fails and asks what to do.
fn asking() -> Plan {
    let mut asking = plan(vec![stage("a", vec![shell("one", "echo x >>count; test -e open")])]);
    let then = Box::new(Reaction::Rollback);
    let reaction = Reaction::Ask { group: "ops".into(), within: 60_000, then };
    asking.scopes.push(Scope {
        owner: "workflow w".into(),
        rules: vec![Rule { kinds: vec![], under: None, reaction }],
    });
    asking.steps[0].scopes = vec![ScopeId(0)];
    asking
}

/// Begins such a run, and leaves it as soon as it has asked.
async fn left_asking(world: &World, asking: Plan) -> String {
    let runner = world.runner(asking);
    let (run, handle) = (runner.info().id.clone(), runner.handle());
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.happening(|happening| matches!(happening, Happening::Asked(..))).await;
    handle.detach();
    running.await.unwrap().unwrap();
    run
}

/// Nobody carries the run out: what was answered first begins nothing any more when somebody wants the run aborted.
#[tokio::test]
async fn an_abort_comes_before_answers_that_nobody_has_taken_up() {
    let world = World::new();
    let (run, store) = (left_asking(&world, asking()).await, world.store());
    let (question, by) = (Question::Step(StepId(0)), String::from("anna"));
    let retry = Event::Answered { question, answer: Answer::Retry, by: by.clone(), comment: None };
    let retry = store.request(&run, &retry).unwrap();
    let abort = store.request(&run, &Event::AbortRequested { by }).unwrap();
    let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
    assert_eq!(end, End::Finished(RunOutcome::Aborted));
    assert_eq!(store.reply(abort).unwrap(), Some(Reply::Taken));
    let why = why(store.reply(retry).unwrap());
    assert_eq!(store.late_requests(&run).unwrap().pop().unwrap().1, why);
    assert_eq!(world.read("count"), "x\n");
}

/// The time for an answer goes on while nobody carries the run out: one that is given after it is no answer any more.
#[tokio::test]
async fn an_answer_that_comes_after_its_time_is_none() {
    let within = 100;
    for late in [true, false] {
        let world = World::new();
        let mut asking = asking();
        let Reaction::Ask { within: time, .. } = &mut asking.scopes[0].rules[0].reaction else { panic!() };
        *time = if late { within } else { 60_000 };
        let (run, store) = (left_asking(&world, asking).await, world.store());
        std::thread::sleep(std::time::Duration::from_millis(within + 20));
        let question = Question::Step(StepId(0));
        let succeed = Event::Answered { question, answer: Answer::Succeed, by: "anna".into(), comment: None };
        let succeed = store.request(&run, &succeed).unwrap();
        let end = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
        let reply = store.reply(succeed).unwrap();
        if late {
            assert_eq!(end, End::Finished(RunOutcome::RolledBack));
            let why = why(reply);
            assert!(why.contains("just ended"), "{why}");
        } else {
            assert_eq!((end, reply), (End::Finished(RunOutcome::Succeeded), Some(Reply::Taken)));
        }
    }
}

/// A question that an answer of the wrong form, and then two right ones, come to.
#[tokio::test]
async fn the_first_answer_counts() {
    let world = World::new();
    let runner = world.runner(asking());
    let (run, store) = (runner.info().id.clone(), world.store());
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.happening(|happening| matches!(happening, Happening::Asked(..))).await;
    std::fs::write(world.path("open"), "").unwrap();
    let question = Question::Step(StepId(0));
    let answer = |answer, by: &str| {
        let event = Event::Answered { question, answer, by: by.into(), comment: None };
        store.request(&run, &event).unwrap()
    };
    let [wrong, first, second] =
        [answer(Answer::Approve, "anna"), answer(Answer::Retry, "anna"), answer(Answer::Rollback, "bert")];
    assert_eq!(running.await.unwrap().unwrap(), End::Finished(RunOutcome::Succeeded));
    assert!(why(store.reply(wrong).unwrap()).contains("answers are retry"));
    assert_eq!(store.reply(first).unwrap(), Some(Reply::Taken));
    let second = why(store.reply(second).unwrap());
    assert!(second.contains("somebody else has answered") || second.contains("just ended"), "{second}");
}

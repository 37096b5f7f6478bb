//! The matrix of every failure: what is in it, and what its words say.

use crate::build::{Builder, Shape, rule};
use crate::generate::any_spec;
use lockstep_plan::export::{rehearsal_text, simulation_text};
use lockstep_plan::machine::BarrierState;
use lockstep_plan::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const PLAIN: Shape = Shape { max: None, promise: false };
const PROMISE: Shape = Shape { max: None, promise: true };
const MINUTE: u64 = 60_000;

/// Two stages that meet; steps may take so long, and waits ten minutes.
fn meeting(timeout: u64) -> Plan {
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x! |p", &[])], &[("b", "y z! |p v", &[])]];
    let mut plan = Builder::default().group(PLAIN, &branches).done();
    plan.steps.iter_mut().for_each(|step| step.timeout = timeout);
    plan
}

fn row<'r>(plan: &Plan, rows: &'r [Rehearsal], text: &str) -> Option<&'r Rehearsal> {
    rows.iter().find(|row| row.fail.is_some_and(|chosen| chosen.text(plan) == text))
}

fn failing(plan: &Plan, step: &str) -> Scenario {
    let step = plan.step_named(step).expect("a step of that name");
    Scenario { fail: [(step, Kind::Application)].into(), ..Scenario::default() }
}

#[test]
fn waits_that_slow_steps_make_run_out_are_rows() {
    // Two steps of seven minutes before the barrier are longer than a wait, one is not.
    let plan = meeting(7 * MINUTE);
    let rows = every_failure(&plan, &Scenario::default());
    let late = row(&plan, &rows, "a.p=barrier").expect("a waits for b");
    assert_eq!(late.barriers, [BarrierState::Broken]);
    assert_eq!(late.stages, [Some(StageOutcome::RolledBack); 2]);
    assert_eq!(late.outcome, Some(RunOutcome::RolledBack));
    assert!(row(&plan, &rows, "b.p=barrier").is_none(), "a is there in time");
    assert!(rehearsal_text(&plan, &rows, &[], &[]).contains("a.p (waits too long)"));
    let rows = every_failure(&plan_of_short_steps(), &Scenario::default());
    assert!(rows.iter().all(|row| row.fail.is_none_or(|chosen| chosen.kind != Kind::Barrier)));
}

fn plan_of_short_steps() -> Plan {
    meeting(MINUTE)
}

/// What a stage does before an earlier barrier delays everybody, not only those who wait for it at the later one.
#[test]
fn only_what_is_between_two_barriers_makes_the_others_late() {
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x |p |q", &[])], &[("b", "y |p z w |q", &[])]];
    let mut plan = Builder::default().group(PLAIN, &branches).done();
    plan.steps.iter_mut().for_each(|step| step.timeout = 9 * MINUTE);
    let rows = every_failure(&plan, &Scenario::default());
    let late = row(&plan, &rows, "a.q=barrier").expect("a waits for b");
    assert_eq!(late.barriers, [BarrierState::Open, BarrierState::Broken]);
    assert!(row(&plan, &rows, "a.p=barrier").is_none());
}

#[test]
fn shares_of_hosts_that_rules_tell_apart_are_rows() {
    let rules = [Rule { under: Some(20), ..rule(&[Kind::Connectivity], Reaction::Ignore) }];
    let mut plan = Builder::default().group(PLAIN, &[&[("a", "x!", &rules)]]).done();
    assert!(row(&plan, &every_failure(&plan, &Scenario::default()), "a.p1.x=connectivity@19%").is_none());
    let hosts = Expr::Value(Value::List(vec![Value::Text("h1".into())]));
    plan.targets[0].settings.insert("hosts".into(), hosts);
    let rows = every_failure(&plan, &Scenario::default());
    let few = row(&plan, &rows, "a.p1.x=connectivity@19%").expect("few hosts");
    assert_eq!(few.outcome, Some(RunOutcome::Succeeded));
    let all = row(&plan, &rows, "a.p1.x=application").expect("all hosts");
    assert_eq!(all.outcome, Some(RunOutcome::RolledBack));
    assert_eq!(rows.len(), 3);
    let text = rehearsal_text(&plan, &rows, &[], &[]);
    assert!(text.contains("a.p1.x (connectivity on 19% of its hosts)"), "{text}");
}

/// `fail` in a later stage of a lane, before that stage has changed anything: the branch goes back as a whole, the promise
/// is kept, and nobody is needed.
#[test]
fn what_stopped_before_it_changed_anything_needs_nobody_where_a_promise_is_kept() {
    let rules = [rule(&[], Reaction::Fail)];
    let lane: &[(&str, &str, &[Rule])] = &[("a", "x!", &[]), ("b", "y z!", &rules)];
    let plan = |shape| Builder::default().group(shape, &[lane, &[("c", "w!", &[])]]).done();
    let end = |plan: &Plan, step| simulate(plan, &failing(plan, step)).state;
    let kept = plan(PROMISE);
    let state = end(&kept, "b.p1.y");
    let outcomes: Vec<_> = (0..3).map(|stage| state.stage_outcome(StageId(stage))).collect();
    let expected = [StageOutcome::RolledBack, StageOutcome::Failed, StageOutcome::RolledBack];
    assert_eq!(outcomes, expected.map(Some));
    assert_eq!(state.outcome(), Some(RunOutcome::RolledBack));
    // Where something stays, and where nothing was promised, a person has to look at it.
    assert_eq!(end(&kept, "b.p1.z").outcome(), Some(RunOutcome::NeedsPerson));
    let free = plan(PLAIN);
    assert_eq!(end(&free, "b.p1.y").outcome(), Some(RunOutcome::NeedsPerson));
}

#[test]
fn a_run_of_which_nothing_was_rolled_back_does_not_say_so() {
    let plan =
        Builder::default().group(PLAIN, &[&[("a", "x!", &[]), ("@go", "", &[]), ("b", "y!", &[])]]).done();
    let refused =
        Scenario { refuse: [(ApprovalId(0), Kind::ApprovalRejected)].into(), ..Scenario::default() };
    let end = simulate(&plan, &refused);
    assert_eq!(end.outcome, Some(RunOutcome::RolledBack));
    let text = simulation_text(&plan, &end);
    assert!(text.contains("The run failed, and what had succeeded stays, after 0s."), "{text}");
    let text = simulation_text(&plan, &simulate(&plan, &failing(&plan, "a.p1.x")));
    assert!(text.contains("The run failed and was rolled back"), "{text}");
}

#[test]
fn a_rollback_barrier_that_was_given_up_does_not_say_that_everybody_came() {
    let plan = Builder::default()
        .group(PLAIN, &[&[("a", "x! |p", &[])], &[("b", "y! |p", &[])]])
        .rollback("a", 0, "|back u")
        .rollback("b", 0, "v |back")
        .done();
    let (v, y) = (plan.step_named("b.p1.rollback.v"), plan.step_named("b.p1.y"));
    let (v, y) = (v.expect("the block's step"), y.expect("the step"));
    let slow = Scenario {
        fail: [(y, Kind::Application)].into(),
        takes: [(v, 11 * MINUTE)].into(),
        ..Scenario::default()
    };
    let mut plan = plan;
    plan.steps[v.index()].timeout = 20 * MINUTE;
    let text = simulation_text(&plan, &simulate(&plan, &slow));
    assert!(text.contains("waited too long at a.back; rollback goes on"), "{text}");
    assert!(text.contains("barrier back opened: nobody else is waited for"), "{text}");
}

#[test]
fn kinds_that_rules_of_the_pipeline_tell_apart_are_rows() {
    let mut plan = Builder::default()
        .group(PROMISE, &[&[("a", "x! |all", &[])], &[("b", "w |all y!!", &[rule(&[], Reaction::Succeed)])]])
        .group(PLAIN, &[&[("look", "l", &[])]])
        .done();
    let fails = |plan: &Plan| -> Vec<String> {
        let rows = every_failure(plan, &Scenario::default());
        let broken = rows.iter().filter(|row| !row.broken.is_empty());
        broken.filter_map(|row| row.fail.map(|chosen| chosen.text(plan))).collect()
    };
    assert!(fails(&plan).is_empty());
    plan.rules = vec![
        rule(&[Kind::Connectivity], Reaction::Ignore),
        rule(&[Kind::Timeout], Reaction::RollbackPipeline),
    ];
    assert_eq!(fails(&plan), ["look.p1.l=timeout"]);
    let rows = every_failure(&plan, &Scenario::default());
    let kinds = rows.iter().filter_map(|row| row.fail).filter(|it| it.what.name(&plan) == "look.p1.l");
    let kinds: Vec<Kind> = kinds.map(|chosen| chosen.kind).collect();
    assert_eq!(kinds, [Kind::Application, Kind::Connectivity, Kind::Timeout]);
    assert!(rehearsal_text(&plan, &rows, &[], &[]).contains(" failures, 1 breaks a promise."));
}

/// A condition that reads how the stage failed.
fn unless_failed_as(plan: &mut Plan, step: &str, kind: Kind) {
    let kind = Expr::Value(Value::Text(kind.name().into()));
    let failed = Box::new(Expr::Failure(FailureFact::Kind));
    plan.conditions.push(Expr::Binary(Operator::NotEqual, failed, Box::new(kind)));
    let condition = ConditionId(plan.conditions.len() as u32 - 1);
    let step = plan.step_named(step).expect("the step");
    plan.steps[step.index()].when.push(condition);
}

#[test]
fn kinds_that_undoing_tells_apart_are_rows() {
    let mut plan = Builder::default().group(PROMISE, &[&[("a", "x!", &[])], &[("b", "y!", &[])]]).done();
    unless_failed_as(&mut plan, "b.p1.y.undo", Kind::Timeout);
    let rows = every_failure(&plan, &Scenario::default());
    let told: Vec<(String, bool)> =
        rows.iter().filter_map(|row| Some((row.fail?.text(&plan), row.broken.is_empty()))).collect();
    let expected = [("a.p1.x=application", true), ("b.p1.y=application", true), ("b.p1.y=timeout", false)];
    assert_eq!(told, expected.map(|(text, kept)| (text.to_owned(), kept)));
}

/// `b` looks, and what it sees says whether it tells somebody, which cannot be taken back.
fn telling() -> Plan {
    let mut plan = Builder::default()
        .group(PROMISE, &[&[("a", "x! |all", &[])], &[("b", "look |all tell!! check", &[])]])
        .done();
    let look = plan.step_named("b.p1.look").expect("the step");
    plan.steps[look.index()].outputs = Fields::from_iter([("stdout".into(), ValueType::Text)]);
    for (step, word) in [("b.p1.tell", "a"), ("b.p1.check", "b")] {
        let output = Expr::Output { step: look, name: "stdout".into() };
        let word = Expr::Value(Value::Text(word.into()));
        plan.conditions.push(Expr::Binary(Operator::Equal, Box::new(output), Box::new(word)));
        let condition = ConditionId(plan.conditions.len() as u32 - 1);
        let step = plan.step_named(step).expect("the step");
        plan.steps[step.index()].when.push(condition);
    }
    plan
}

#[test]
fn conditions_on_outputs_are_tried_both_ways() {
    let plan = telling();
    let rows = every_failure(&plan, &Scenario::default());
    let tell = row(&plan, &rows, "b.p1.tell=application").expect("it can fail");
    assert!(tell.happens);
    assert!(!tell.broken.is_empty(), "what was told stays");
    let look = plan.step_named("b.p1.look").expect("the step");
    assert_eq!(tell.given, [(Readable::Output(look, "stdout".to_owned()), Value::Text("a".into()))]);
    let text = rehearsal_text(&plan, &rows, &[], &[]);
    assert!(text.contains("b.p1.tell (application), with b.p1.look.stdout = \"a\""), "{text}");
    // All end well whatever was seen, and then two steps of ten minutes come one after the other.
    let well = rows.iter().filter(|row| row.fail.is_none()).collect::<Vec<_>>();
    assert_eq!(well.len(), 1);
    assert_eq!((well[0].outcome, well[0].at_most), (Some(RunOutcome::Succeeded), 20 * MINUTE));
    assert!(well[0].given.is_empty());
    // What is chosen stays: then the one that it skips cannot fail.
    let outputs = [((look, "stdout".to_owned()), Value::Text("b".into()))].into();
    let rows = every_failure(&plan, &Scenario { outputs, ..Scenario::default() });
    let tell = row(&plan, &rows, "b.p1.tell=application").expect("a row says so");
    assert!(!tell.happens);
    assert!(rehearsal_text(&plan, &rows, &[], &[]).contains("b.p1.tell (application): does not happen"));
}

fn output(step: StepId) -> Box<Expr> {
    Box::new(Expr::Output { step, name: "stdout".into() })
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::Text(text.into()))
}

/// `b` looks, and then does things, each of which has a condition.
fn looking(conditions: &dyn Fn(StepId) -> Vec<Expr>) -> Plan {
    let mut plan = Builder::default().group(PLAIN, &[&[("b", "look c0 c1 c2 c3 c4", &[])]]).done();
    let look = plan.step_named("b.p1.look").expect("the step");
    plan.steps[look.index()].outputs = Fields::from_iter([("stdout".into(), ValueType::Text)]);
    for (number, condition) in conditions(look).into_iter().enumerate() {
        plan.conditions.push(condition);
        let condition = ConditionId(plan.conditions.len() as u32 - 1);
        let step = plan.step_named(&format!("b.p1.c{number}")).expect("the step");
        plan.steps[step.index()].when.push(condition);
    }
    plan
}

fn given(rows: &[Rehearsal], plan: &Plan, step: &str) -> Vec<String> {
    let row = row(plan, rows, &format!("{step}=application")).expect("a row");
    assert!(row.happens, "{step}");
    row.given.iter().map(|(source, value)| format!("{source:?} {value}")).collect()
}

#[test]
fn who_runs_it_is_tried_both_ways() {
    let by = |name| Expr::Binary(Operator::Equal, Box::new(Expr::Run(RunFact::By)), Box::new(text(name)));
    let plan = looking(&|_| vec![by("ada"), Expr::Not(Box::new(by("ada"))), by("bob")]);
    let rows = every_failure(&plan, &Scenario::default());
    assert_eq!(given(&rows, &plan, "b.p1.c0"), ["Run(By) ada"]);
    assert_eq!(given(&rows, &plan, "b.p1.c2"), ["Run(By) bob"]);
    assert_ne!(given(&rows, &plan, "b.p1.c1"), ["Run(By) ada"]);
    assert!(rehearsal_text(&plan, &rows, &[], &[]).contains("b.p1.c0 (application), with run.by = \"ada\""));
    // Whoever is chosen runs it.
    let ada = Scenario { facts: [(RunFact::By, "ada".into())].into(), ..Scenario::default() };
    let rows = every_failure(&plan, &ada);
    let happens = |step| row(&plan, &rows, step).expect("a row").happens;
    assert!(happens("b.p1.c0=application") && !happens("b.p1.c1=application"));
}

#[test]
fn texts_that_match_a_pattern_are_found() {
    let plan = looking(&|look| {
        let call = |function, word| Expr::Call(function, vec![*output(look), text(word)]);
        let and = |one, other| Expr::Binary(Operator::And, Box::new(one), Box::new(other));
        vec![
            call(Function::Matches, "^v[0-9]+\\.[0-9]{2}$"),
            Expr::Not(Box::new(call(Function::Matches, "^v[0-9]+\\.[0-9]{2}$"))),
            and(call(Function::StartsWith, "ab"), call(Function::EndsWith, "yz")),
        ]
    });
    let rows = every_failure(&plan, &Scenario::default());
    for step in ["b.p1.c0", "b.p1.c1", "b.p1.c2"] {
        given(&rows, &plan, step);
    }
    assert!(untried(&plan, &Scenario::default()).is_empty());
}

/// However many conditions there are, each step is tried with values with which it runs; and where none are found, that is said.
#[test]
fn every_step_with_a_condition_is_tried() {
    let mut plan = looking(&|look| {
        let equal = |word| Expr::Binary(Operator::Equal, output(look), Box::new(text(word)));
        let lower = Expr::Call(Function::Lower, vec![*output(look)]);
        let never = Expr::Binary(Operator::Equal, Box::new(lower), Box::new(text("NEVER")));
        vec![equal("a"), equal("b"), equal("c"), equal("d"), never]
    });
    // Twelve outputs that each decide about a step of their own.
    let look = plan.step_named("b.p1.look").expect("the step");
    let names: Vec<String> = (0..12).map(|number| format!("o{number}")).collect();
    let outputs = names.iter().map(|name| (name.clone(), ValueType::Bool));
    plan.steps[look.index()].outputs.extend(outputs);
    for name in &names {
        plan.conditions.push(Expr::Output { step: look, name: name.clone() });
        let condition = ConditionId(plan.conditions.len() as u32 - 1);
        let id = StepId(plan.steps.len() as u32);
        let first = plan.steps[look.index()].clone();
        plan.steps.push(Step {
            name: format!("b.p1.{name}"),
            when: vec![condition],
            outputs: Fields::new(),
            ..first
        });
        let position = Position { work: Work::Steps(vec![id]), ..plan.stages[0].positions[0].clone() };
        plan.stages[0].positions.push(position);
    }
    let rows = every_failure(&plan, &Scenario::default());
    for name in ["c0", "c1", "c2", "c3", "o0", "o5", "o11"] {
        given(&rows, &plan, &format!("b.p1.{name}"));
    }
    let never = plan.step_named("b.p1.c4").expect("the step");
    let untried = untried(&plan, &Scenario::default());
    assert_eq!(untried, [never]);
    let text = rehearsal_text(&plan, &rows, &[], &untried);
    assert!(text.contains("values with which b.p1.c4 runs, for none were found"), "{text}");
}

/// An attempt that is to time out takes its time, and what a peer waits for less long comes first.
#[test]
fn a_timeout_takes_its_time() {
    let mut plan = meeting(4_000);
    let x = plan.step_named("a.p1.x").expect("the step");
    let timeout = Scenario { fail: [(x, Kind::Timeout)].into(), ..Scenario::default() };
    let end = simulate(&plan, &timeout);
    let failed = end.events.iter().find_map(|(at, it)| match it {
        Happening::StepFailed { failure, .. } => Some((*at, failure.kind)),
        _ => None,
    });
    assert_eq!(failed, Some((4_000, Kind::Timeout)));
    plan.places[1].timeout = Some(2_000);
    let end = simulate(&plan, &timeout);
    let cause = end.state.stages[0].cause.clone();
    assert!(matches!(cause, Some(Cause::Barrier(_))), "{cause:?}");
    let text = simulation_text(&plan, &end);
    assert!(text.contains("after 4s"), "{text}");
    let chosen = Chosen { what: Fallible::Step(x), kind: Kind::Timeout, share: None };
    assert!(unfailed(&plan, &end, chosen).is_some());
    // In the matrix the others come later then, so that it happens.
    plan.rules = vec![rule(&[Kind::Timeout], Reaction::Ignore)];
    let rows = every_failure(&plan, &Scenario::default());
    assert!(row(&plan, &rows, "a.p1.x=timeout").expect("it can time out").happens);
}

#[test]
fn a_rollback_step_that_fails_is_outside_the_promise() {
    let plan = Builder::default().group(PROMISE, &[&[("a", "x!", &[])], &[("b", "y!", &[])]]).done();
    let fail = |names: &[&str]| -> Scenario {
        let step = |name: &&str| (plan.step_named(name).expect("the step"), Kind::Application);
        Scenario { fail: names.iter().map(step).collect(), ..Scenario::default() }
    };
    let end = simulate(&plan, &fail(&["a.p1.x", "b.p1.y.undo"]));
    assert_eq!((end.broken.clone(), end.outside.clone()), (vec![], vec![1]));
    let text = simulation_text(&plan, &end);
    assert!(text.contains("its promise assumes that these work"), "{text}");
    let rows = every_failure(&plan, &fail(&["b.p1.y.undo"]));
    let text = rehearsal_text(&plan, &rows, &[], &[]);
    assert!(text.contains("outside its promise") && text.contains("no promise is broken"), "{text}");
    // One that is broken anyway is.
    let told = telling();
    let step = |name| told.step_named(name).expect("the step");
    let look = (step("b.p1.look"), "stdout".to_owned());
    let scenario = Scenario {
        fail: [(step("b.p1.tell"), Kind::Application), (step("a.p1.x.undo"), Kind::Application)].into(),
        outputs: [(look, Value::Text("a".into()))].into(),
        ..Scenario::default()
    };
    let end = simulate(&told, &scenario);
    assert_eq!((end.broken, end.outside), (vec![1], vec![]));
}

/// A refusal is one thing, silence another, whether an approval is a step or stands between stages.
#[test]
fn that_nobody_answers_is_a_row_of_every_approval() {
    let plan = Builder::default().group(PLAIN, &[&[("a", "x! @ok y!", &[]), ("@go", "", &[])]]).done();
    let rows = every_failure(&plan, &Scenario::default());
    for text in ["a.p1.ok=approval_rejected", "a.p1.ok=timeout", "go=approval_rejected", "go=timeout"] {
        let row = row(&plan, &rows, text).expect(text);
        assert!(row.happens && row.outcome != Some(RunOutcome::Succeeded), "{text}");
    }
}

#[test]
fn what_fails_without_a_further_failure_is_not_counted_as_one() {
    let plan = telling();
    let step = |name| plan.step_named(name).expect("the step");
    let look = (step("b.p1.look"), "stdout".to_owned());
    let scenario = Scenario {
        fail: [(step("b.p1.tell"), Kind::Application)].into(),
        outputs: [(look, Value::Text("a".into()))].into(),
        ..Scenario::default()
    };
    let rows = every_failure(&plan, &scenario);
    assert!(!rows[0].broken.is_empty());
    let text = rehearsal_text(&plan, &rows, &[], &[]);
    assert!(text.contains("3 failures, no promise is broken.\n"), "{text}");
    assert!(text.contains("A promise is broken without a further failure, too."), "{text}");
}

/// Of stages that are alike one is played: what is said of the others is what playing them says.
#[test]
fn rows_of_twins_are_what_they_would_be() {
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&any_spec(), |spec| {
        let plan = spec.plan();
        for row in every_failure(&plan, &Scenario::default()) {
            let Some(chosen) = row.fail.filter(|it| row.happens && it.kind != Kind::Timeout) else {
                continue;
            };
            let mut scenario = Scenario::default();
            row.given.iter().cloned().for_each(|(source, value)| scenario.give(source, value));
            for (question, answers) in questions(&plan) {
                if answers.contains(&Answer::Approve) {
                    scenario.answers.insert(question, Answer::Approve);
                }
            }
            match chosen.what {
                Fallible::Wait(place) => scenario = late(&plan, &scenario, place).expect("it runs out"),
                _ => scenario.fail(chosen),
            }
            let end = simulate(&plan, &scenario);
            if unfailed(&plan, &end, chosen).is_some() {
                // It takes others being slow.
                continue;
            }
            if end.broken.is_empty() && !row.broken.is_empty() {
                // It is as bad as that only where others have come far.
                continue;
            }
            let stages: Vec<_> =
                (0..plan.stages.len()).map(|it| end.state.stage_outcome(StageId(it as u32))).collect();
            let text = chosen.text(&plan);
            assert_eq!((&row.stages, row.outcome), (&stages, end.outcome), "{text}: {spec:?}");
            assert_eq!((&row.barriers, &row.broken), (&end.state.barriers, &end.broken), "{text}: {spec:?}");
        }
        Ok(())
    });
    result.unwrap();
}

/// Five hundred stages of one workflow are as many rows, of which one stage's are played.
#[test]
fn many_stages_of_one_workflow_each_have_their_rows() {
    let names: Vec<String> = (0..500).map(|number| format!("s{number}")).collect();
    let stages: Vec<[(&str, &str, &[Rule]); 1]> =
        names.iter().map(|name| [(name.as_str(), "x! y! |all z!", [].as_slice())]).collect();
    let branches: Vec<&[(&str, &str, &[Rule])]> = stages.iter().map(|stage| stage.as_slice()).collect();
    let plan = Builder::default().group(PLAIN, &branches).done();
    let rows = every_failure(&plan, &Scenario::default());
    // Each step, each wait, and nothing.
    assert_eq!(rows.len(), 500 * 4 + 1);
    let last = row(&plan, &rows, "s499.p1.z=application").expect("a row of its own");
    let ends = last.stages.iter().zip(&names);
    let others = ends.filter(|(end, _)| **end == Some(StageOutcome::Succeeded)).count();
    assert_eq!((others, last.stages[499]), (499, Some(StageOutcome::RolledBack)));
}

/// Somebody's approval comes late, while those of an earlier group, where it would keep others waiting, do not.
#[test]
fn a_late_approval_of_one_lane_makes_a_wait_run_out() {
    let first: [&[(&str, &str, &[Rule])]; 2] =
        [&[("a", "x! |p", &[])], &[("@okb", "", &[]), ("b", "y |p", &[])]];
    let second: [&[(&str, &str, &[Rule])]; 2] =
        [&[("@okc", "", &[]), ("c", "|r", &[])], &[("d", "|r u", &[])]];
    let mut plan = Builder::default().group(PLAIN, &first).group(PLAIN, &second).done();
    plan.steps.iter_mut().for_each(|step| step.timeout = MINUTE);
    let rows = every_failure(&plan, &Scenario::default());
    let late = row(&plan, &rows, "d.r=barrier").expect("d waits for c, which waits for a person");
    assert_eq!(late.barriers, [BarrierState::Open, BarrierState::Broken]);
}

/// A lane that passes a broken barrier may have been there early, and be slow only behind it.
#[test]
fn who_passes_a_broken_barrier_takes_its_time() {
    let rules = [rule(&[Kind::Barrier], Reaction::Ignore)];
    let branches: [&[(&str, &str, &[Rule])]; 2] =
        [&[("a", "x! |p", &[])], &[("@ok", "", &[]), ("b", "|p y! w!", &rules)]];
    let mut plan = Builder::default().group(PLAIN, &branches).done();
    plan.steps.iter_mut().for_each(|step| step.timeout = 9 * MINUTE);
    let rows = every_failure(&plan, &Scenario::default());
    let mut slow = failing(&plan, "a.p1.x");
    slow.answers.insert(Question::Approval(ApprovalId(0)), Answer::Approve);
    slow.takes = (0..plan.steps.len() as u32).map(|step| (StepId(step), 9 * MINUTE)).collect();
    let lasts = simulate(&plan, &slow).events.last().map_or(0, |(at, _)| *at);
    assert_eq!(lasts, 27 * MINUTE);
    let at_most = row(&plan, &rows, "a.p1.x=application").expect("a row").at_most;
    assert!(lasts <= at_most, "{} and not {}", format_duration(lasts), format_duration(at_most));
}

/// An item that is over is taken back, too, where a wait of the one behind it runs out.
#[test]
fn the_longest_time_of_a_wait_counts_what_came_before() {
    let first: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x! y! |p", &[])], &[("b", "z! |p", &[])]];
    let second: [&[(&str, &str, &[Rule])]; 2] = [&[("c", "u |r", &[])], &[("d", "|r", &[])]];
    let mut plan = Builder::default().group(PLAIN, &first).group(PLAIN, &second).done();
    plan.rules = vec![rule(&[], Reaction::RollbackPipeline)];
    plan.steps.iter_mut().for_each(|step| step.timeout = 20 * MINUTE);
    plan.places.iter_mut().for_each(|place| place.timeout = Some(5 * MINUTE));
    let rows = every_failure(&plan, &Scenario::default());
    let at_most = row(&plan, &rows, "d.r=barrier").expect("a row").at_most;
    // Both changes of `a`, one after the other, the wait, the step that is under way then, and both undone again.
    assert!(at_most >= 105 * MINUTE, "{}", format_duration(at_most));
}

/// What fails already comes last, and everything else as early as it can, approvals too.
#[test]
fn what_can_come_before_another_failure_happens() {
    let branches: [&[(&str, &str, &[Rule])]; 3] = [
        &[("a", "x!", &[])],
        &[("b", "y! |p", &[]), ("c", "z!", &[])],
        &[("@ok", "", &[]), ("d", "v |p", &[])],
    ];
    let mut plan = Builder::default().group(PROMISE, &branches).done();
    plan.steps.iter_mut().for_each(|step| step.timeout = 5 * MINUTE);
    let rows = every_failure(&plan, &failing(&plan, "a.p1.x"));
    let both = row(&plan, &rows, "c.p1.z=application").expect("a row");
    assert!(both.happens, "c comes before a has failed");
    // But not what stands behind the failure itself.
    let branches: [&[(&str, &str, &[Rule])]; 1] = [&[("a", "x! y!", &[])]];
    let plan = Builder::default().group(PLAIN, &branches).done();
    let rows = every_failure(&plan, &failing(&plan, "a.p1.x"));
    assert!(row(&plan, &rows, "a.p1.y=application").is_some_and(|row| !row.happens));
}

/// Before a change and after it the promise is kept; in the middle of it the run is aborted, and the change stays cut short.
#[test]
fn a_failure_in_the_middle_of_a_change_breaks_a_promise() {
    let rules = [rule(&[], Reaction::Abort)];
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x", &rules)], &[("b", "y z!", &[])]];
    let plan = Builder::default().group(PROMISE, &branches).done();
    let rows = every_failure(&plan, &Scenario::default());
    let broken = row(&plan, &rows, "a.p1.x=application").expect("a row");
    assert_eq!((broken.happens, broken.broken.as_slice()), (true, [1].as_slice()));
}

fn pipeline_goes_back(mut plan: Plan) -> Plan {
    plan.rules = vec![rule(&[], Reaction::RollbackPipeline)];
    plan
}

fn at_most(plan: &Plan, text: &str) -> u64 {
    let rows = every_failure(plan, &Scenario::default());
    row(plan, &rows, text).expect("a row").at_most
}

/// What goes back at once does not go back again with the pipeline.
#[test]
fn the_longest_time_counts_what_goes_back_once() {
    let mut alone = Builder::default().group(PLAIN, &[&[("a", "x!", &[])]]).done();
    alone.steps.iter_mut().for_each(|step| step.timeout = MINUTE);
    assert_eq!(at_most(&alone, "a.p1.x=application"), 2 * MINUTE);
    assert_eq!(at_most(&pipeline_goes_back(alone), "a.p1.x=application"), 2 * MINUTE);

    // Both go back before the barrier: what follows from the pipeline's rule has nothing left.
    let plan = meeting(MINUTE);
    let back = pipeline_goes_back(plan.clone());
    assert_eq!(at_most(&plan, "a.p1.x=application"), at_most(&back, "a.p1.x=application"));
    // Behind it the other one may succeed, and goes back after the one that failed.
    let fails = "b.p1.v=application";
    assert_eq!(at_most(&plan, fails) + MINUTE, at_most(&back, fails));

    // A stage that is left as it is goes back with the pipeline, after the others.
    let rules = [rule(&[Kind::Application], Reaction::Fail)];
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x! |p", &rules)], &[("b", "y! |p", &[])]];
    let mut left = Builder::default().group(PLAIN, &branches).done();
    left.steps.iter_mut().for_each(|step| step.timeout = MINUTE);
    let (fails, back) = ("a.p1.x=application", pipeline_goes_back(left.clone()));
    assert_eq!(at_most(&left, fails) + MINUTE, at_most(&back, fails));
}

#[test]
fn a_group_with_a_promise_asks_nobody_about_a_broken_barrier() {
    let ask = Reaction::Ask { group: "sre".into(), within: 5 * MINUTE, then: Box::new(Reaction::Fail) };
    let rules = [rule(&[Kind::Barrier], ask)];
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x! |p", &rules)], &[("b", "y! |p", &[])]];
    let text = |shape| {
        let plan = Builder::default().group(shape, &branches).done();
        simulation_text(&plan, &simulate(&plan, &failing(&plan, "b.p1.y")))
    };
    assert!(text(PLAIN).contains("asking a person"), "{}", text(PLAIN));
    let promised = text(PROMISE);
    assert!(promised.contains("fails because barrier `p` is broken; rolling back"), "{promised}");
    assert!(!promised.contains("asking a person"), "{promised}");
}

/// A question that is open for longer than the others wait: only while nobody carries the run out do they not lose patience.
#[test]
fn what_takes_a_process_that_is_away_says_so() {
    let ask = Reaction::Ask { group: "sre".into(), within: 60 * MINUTE, then: Box::new(Reaction::Fail) };
    let rules = [rule(&[Kind::Application], ask)];
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x! |p", &rules)], &[("b", "y! |p", &[])]];
    let mut plan = Builder::default().group(PROMISE, &branches).done();
    plan.steps.iter_mut().for_each(|step| step.timeout = MINUTE);
    let rows = every_failure(&plan, &Scenario::default());
    let (asked, other) = (row(&plan, &rows, "a.p1.x=application"), row(&plan, &rows, "b.p1.y=application"));
    let told = |row: Option<&Rehearsal>| row.map(|row| (row.broken.len(), row.away));
    assert_eq!((told(asked), told(other)), (Some((1, true)), Some((0, false))));
    let text = rehearsal_text(&plan, &rows, &[], &[]);
    assert!(text.contains("a.p1.x (application), process away"), "{text}");
    assert!(text.contains("nobody carries the run out for a while"), "{text}");
    // Where steps may be slow enough, it takes no such thing.
    plan.steps.iter_mut().for_each(|step| step.timeout = 60 * MINUTE);
    let rows = every_failure(&plan, &Scenario::default());
    assert_eq!(told(row(&plan, &rows, "a.p1.x=application")), Some((1, false)));
}

/// A wait before another attempt is counted by who carries the run out: being away does not make it shorter than a wait at a
/// barrier.
#[test]
fn nobody_is_away_while_a_wait_before_another_attempt_is_counted() {
    let again = |minutes: u64| {
        let (every, then) = (vec![minutes * MINUTE], Box::new(Reaction::Fail));
        let rules = [rule(&[Kind::Application], Reaction::Retry { times: 1, every, then })];
        let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x! |p", &rules)], &[("b", "y! |p", &[])]];
        let mut plan = Builder::default().group(PROMISE, &branches).done();
        plan.steps.iter_mut().for_each(|step| step.timeout = MINUTE);
        let place = plan.places.iter_mut().find(|place| place.name.starts_with("b.")).expect("a place");
        place.timeout = Some(10 * MINUTE);
        let rows = every_failure(&plan, &Scenario::default());
        row(&plan, &rows, "a.p1.x=application").map(|row| (row.broken.len(), row.away, row.outcome))
    };
    assert_eq!(again(5), Some((1, false, Some(RunOutcome::NeedsPerson))));
    assert_eq!(again(30), Some((0, false, Some(RunOutcome::RolledBack))));
}

/// What breaks a promise without a failure as well is no row of that failure.
#[test]
fn a_failure_that_is_passed_over_breaks_nothing_that_others_break() {
    let ignore = [rule(&[Kind::Application], Reaction::Ignore)];
    let branches: [&[(&str, &str, &[Rule])]; 2] = [&[("a", "x |p", &ignore)], &[("b", "y! |p", &[])]];
    let mut plan = Builder::default().group(PROMISE, &branches).done();
    let change = plan.steps.iter_mut().find(|step| step.changes).expect("a change");
    change.undo = Undo::Irreversible;
    plan.steps.iter_mut().for_each(|step| step.timeout = 10 * MINUTE);
    plan.places.iter_mut().for_each(|place| place.timeout = Some(MINUTE));
    let rows = every_failure(&plan, &Scenario::default());
    let told = |what: &str| row(&plan, &rows, what).map(|row| (row.broken.len(), row.outcome));
    assert_eq!(told("a.p1.x=application"), Some((0, Some(RunOutcome::Succeeded))));
    assert_eq!(told("b.p=barrier").map(|it| it.0), Some(1));
}

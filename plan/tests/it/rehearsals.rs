//! The matrix of every failure: what is in it, and what its words say.

use crate::build::{Builder, Shape, rule};
use lockstep_plan::export::{rehearsal_text, simulation_text};
use lockstep_plan::machine::BarrierState;
use lockstep_plan::*;

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
    assert!(rehearsal_text(&plan, &rows).contains("a.p (waits too long)"));
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
    let text = rehearsal_text(&plan, &rows);
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
    assert!(text.contains("The run failed, with nothing to roll back, after 0s."), "{text}");
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

//! Single executions, told line by line.

use crate::build::{Builder, Shape, retry, rule};
use lockstep_plan::export::{plan_json, plan_text, simulation_json, simulation_text};
use lockstep_plan::*;

fn two_regions() -> Plan {
    Builder::default()
        .group(
            Shape::default(),
            &[
                &[("region1", "rollout! / |all_regions", &[])],
                &[("region2", "rollout! break_it / |all_regions", &[])],
            ],
        )
        .done()
}

fn failing(plan: &Plan, step: &str, kind: Kind) -> Scenario {
    let step = plan.step_named(step).expect("a step of that name");
    Scenario { fail: [(step, kind)].into(), ..Scenario::default() }
}

#[test]
fn success() {
    let plan = two_regions();
    insta::assert_snapshot!(simulation_text(&plan, &simulate(&plan, &Scenario::default())));
}

#[test]
fn a_failure_before_the_barrier_is_told_at_that_moment() {
    let plan = two_regions();
    let scenario = failing(&plan, "region2.p1.break_it", Kind::Application);
    insta::assert_snapshot!(simulation_text(&plan, &simulate(&plan, &scenario)));
}

#[test]
fn retries_wait_and_then_give_up() {
    let rules = [rule(&[Kind::Connectivity], retry(2, Reaction::Rollback))];
    let plan = Builder::default().group(Shape::default(), &[&[("a", "x!", &rules)]]).done();
    let scenario = failing(&plan, "a.p1.x", Kind::Connectivity);
    insta::assert_snapshot!(simulation_text(&plan, &simulate(&plan, &scenario)));
}

#[test]
fn a_slow_peer_breaks_the_barrier_by_its_timeout() {
    let plan = two_regions();
    let slow = plan.step_named("region2.p1.break_it").expect("the step");
    // The step's own timeout is as long as the barrier's, but it starts earlier; so the barrier must be made the shorter.
    let mut plan = plan;
    plan.places[0].timeout = Some(60_000);
    let scenario = Scenario { takes: [(slow, 120_000)].into(), ..Scenario::default() };
    insta::assert_snapshot!(simulation_text(&plan, &simulate(&plan, &scenario)));
}

#[test]
fn forms_for_programs() {
    let plan = two_regions();
    insta::assert_snapshot!(plan_text(&plan));
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan_json(&plan)).expect("a plan is JSON"));
    let simulation = simulate(&plan, &failing(&plan, "region2.p1.break_it", Kind::Application));
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&simulation_json(&plan, &simulation)).expect("so is this")
    );
}

#[test]
fn long_chains_of_consequences_do_not_nest() {
    // Each stage is skipped, or undone without anything to undo: nothing ever waits.
    let never = |plan: &mut Plan| {
        plan.conditions.push(Expr::Value(Value::Bool(false)));
        let skip = ConditionId(plan.conditions.len() as u32 - 1);
        plan.stages.iter_mut().for_each(|stage| stage.when.push(skip));
    };
    let names: Vec<String> = (0..20_000).map(|number| format!("s{number}")).collect();
    let mut builder = Builder::default();
    for name in &names {
        builder = builder.group(Shape::default(), &[&[(name.as_str(), "x", &[])]]);
    }
    let mut one_after_another = builder.done();
    never(&mut one_after_another);
    let mut side_by_side = Builder::default().done();
    let branches: Vec<[(&str, &str, &[Rule]); 1]> =
        names.iter().map(|name| [(name.as_str(), "x", [].as_slice())]).collect();
    let branches: Vec<&[(&str, &str, &[Rule])]> = branches.iter().map(<[_; 1]>::as_slice).collect();
    let mut builder = Builder { plan: side_by_side };
    builder = builder.group(Shape { max: Some(2), promise: true }, &branches);
    side_by_side = builder.done();
    never(&mut side_by_side);
    for plan in [one_after_another, side_by_side] {
        assert_eq!(simulate(&plan, &Scenario::default()).outcome, Some(RunOutcome::Succeeded));
    }
}

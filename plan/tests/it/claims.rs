//! Claims: who takes what together, every order in which they are granted, and rolling back what has ended.

use crate::build::{Builder, Shape, ask, rule};
use crate::explore::{Adversary, Explored, explore};
use lockstep_plan::*;

fn adversary(failures: u32) -> Adversary {
    Adversary { kinds: vec![Kind::Application], failures, ..Adversary::default() }
}

/// The stages that claim together, by name.
fn together(plan: &Plan) -> Vec<String> {
    let names = |claim: &Claim| {
        let names: Vec<&str> =
            claim.stages.iter().map(|stage| plan.stages[stage.index()].name.as_str()).collect();
        names.join(" ")
    };
    plan.claims.iter().filter(|claim| claim.scope == ClaimScope::Stages).map(names).collect()
}

/// Puts two stages on one target.
fn same_target(plan: &mut Plan, stage: usize, other: usize) {
    for step in &mut plan.steps {
        if step.stage.index() == stage {
            step.action.target = Some(TargetId(other as u32));
        }
    }
}

#[test]
fn barriers_join_claims_through_others() {
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |p", &[])], &[("b", "x! |p y! |q", &[])], &[("c", "|q", &[])], &[("d", "x!", &[])]],
        )
        .claiming()
        .done();
    // `c` has no step, so it names no target of its own, but starts with the others.
    assert_eq!(together(&plan), ["a b c", "d"]);
    assert_eq!(plan.claims[0].targets.len(), 2);
}

#[test]
fn a_promise_joins_all_branches() {
    let branches: &[&[(&str, &str, &[Rule])]] = &[&[("a", "x!", &[])], &[("b", "x!", &[]), ("c", "y!", &[])]];
    let of = |shape: Shape| together(&Builder::default().group(shape, branches).claiming().done());
    assert_eq!(of(Shape { promise: true, max: None }), ["a b c"]);
    // A lane holds what it has until its end, and so does whoever has a slot.
    assert_eq!(of(Shape::default()), ["a", "b c"]);
    assert_eq!(of(Shape { promise: false, max: Some(1) }), ["a", "b c"]);
}

/// Whoever waits for a slot and holds what another run needs, whose branches have the slots there, might wait for ever.
#[test]
fn max_joins_branches_where_a_claim_is_larger_than_a_branch() {
    let group = |max: u32, branches: &[&[(&str, &str, &[Rule])]]| {
        let shape = Shape { promise: false, max: Some(max) };
        Builder::default().group(shape, branches).group(Shape::default(), &[&[("z", "x!", &[])]])
    };
    let met: &[&[(&str, &str, &[Rule])]] =
        &[&[("a", "x! |p", &[])], &[("b", "x!", &[])], &[("c", "x! |p", &[])]];
    assert_eq!(together(&group(2, met).claiming().done()), ["a b c", "z"]);
    // Nobody waits for a slot.
    assert_eq!(together(&group(3, met).claiming().done()), ["a c", "b", "z"]);
    let apart: &[&[(&str, &str, &[Rule])]] = &[&[("a", "x!", &[])], &[("b", "x!", &[])]];
    assert_eq!(together(&group(1, apart).claiming().done()), ["a", "b", "z"]);
    for (stage, target) in [(1, 0), (2, 1)] {
        // With another branch, or with what comes after the group.
        let mut plan = group(1, apart).done();
        same_target(&mut plan, stage, target);
        plan.join_claims();
        let joined: &[&str] = if stage == 1 { &["a b", "z"] } else { &["a b z"] };
        assert_eq!(together(&plan), joined);
    }
}

#[test]
fn branches_that_take_turns_claim_in_any_order() {
    let shape = Shape { promise: false, max: Some(1) };
    let plan = Builder::default()
        .group(shape, &[&[("a", "x! / y!", &[])], &[("b", "x!", &[]), ("c", "z!", &[])]])
        .holding("a", None, "lock")
        .holding("b", None, "lock")
        .holding("c", Some(0), "other")
        .claiming()
        .done();
    let explored = explore(&plan, &Adversary { timeouts: true, person: true, ..adversary(1) });
    assert!(explored.ends.iter().any(|(run, _)| *run == RunOutcome::Succeeded));
}

#[test]
fn stages_on_one_target_keep_it_and_what_runs_between_them() {
    let builder = Builder::default()
        .group(Shape::default(), &[&[("a", "x!", &[])]])
        .group(Shape::default(), &[&[("b", "x!", &[])]])
        .group(Shape::default(), &[&[("c", "x!", &[])]])
        .group(Shape::default(), &[&[("d", "x!", &[])]]);
    let mut plan = builder.done();
    same_target(&mut plan, 2, 0);
    plan.join_claims();
    assert_eq!(together(&plan), ["a b c", "d"]);
}

#[test]
fn a_lane_is_joined_and_so_is_what_a_barrier_joins_with_it() {
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[
                &[("a", "x! |p", &[]), ("b", "x!", &[])],
                &[("c", "x!", &[]), ("d", "x! |p", &[])],
                &[("e", "x!", &[]), ("f", "x!", &[])],
            ],
        )
        .claiming()
        .done();
    assert_eq!(together(&plan), ["a b c d", "e f"]);
}

#[test]
fn a_pipeline_that_rolls_back_as_a_whole_claims_as_a_whole() {
    let mut plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x!", &[])], &[("b", "x!", &[])]])
        .group(Shape::default(), &[&[("c", "y!", &[])]])
        .done();
    plan.rules.push(rule(&[], ask(Reaction::RollbackPipeline)));
    plan.join_claims();
    assert_eq!(together(&plan), ["a b c"]);
}

#[test]
fn permits_of_branches_add_up_and_those_of_a_lane_do_not() {
    let shape = Shape { promise: true, max: None };
    let plan = Builder::default()
        .group(shape, &[&[("a", "x!", &[]), ("b", "x!", &[])], &[("c", "x!", &[])]])
        .holding("a", None, "lock")
        .holding("b", None, "lock")
        .holding("c", None, "lock")
        .claiming()
        .done();
    assert_eq!(plan.claims[0].uses, [Use { resource: "lock".into(), permits: 2 }]);
}

/// `may_claim_in_vain` is asked before claims are made: it never says no where a claim of stages is larger than what there is,
/// or a phase asks for what its own stages hold.
#[test]
fn claims_that_ask_in_vain_are_foreseen() {
    const PLACES: [(&str, Option<usize>); 6] =
        [("a", None), ("a", Some(0)), ("a", Some(1)), ("b", None), ("b", Some(0)), ("c", Some(0))];
    let (mut foreseen, mut vain) = (0, 0);
    for (held, other) in (0..1u32 << PLACES.len()).flat_map(|held| [(held, 0), (held, !held)]) {
        for shape in
            [Shape::default(), Shape { promise: true, max: None }, Shape { promise: false, max: Some(1) }]
        {
            let branches: &[&[(&str, &str, &[Rule])]] =
                &[&[("a", "x! / y! |p", &[])], &[("b", "x! |p", &[])], &[("c", "x!", &[])]];
            let mut builder = Builder::default().group(shape, branches);
            for (at, (stage, phase)) in PLACES.iter().enumerate() {
                for (of, resource) in [(held, "lock"), (other, "other")] {
                    if of & 1 << at != 0 {
                        builder = builder.holding(stage, *phase, resource);
                    }
                }
            }
            for capacity in 1..=3 {
                let mut plan = builder.clone().done();
                plan.resources.entry("lock".into()).and_modify(|permits| *permits = capacity);
                let may = plan.may_claim_in_vain();
                plan.join_claims();
                let in_vain = plan.claims.iter().enumerate().any(|(at, claim)| {
                    let joint = plan.stages[claim.stages[0].index()].claim;
                    claim.uses.iter().any(|it| match joint {
                        Some(joint) if joint != ClaimId(at as u32) => {
                            plan.claims[joint.index()].uses.iter().any(|own| own.resource == it.resource)
                        }
                        Some(_) => it.permits > plan.resources[&it.resource],
                        None => false,
                    })
                });
                assert!(may || !in_vain, "{held:b} {other:b} {capacity}: {:?}", plan.claims);
                foreseen += usize::from(!may);
                vain += usize::from(in_vain);
            }
        }
    }
    assert!(foreseen > 50 && vain > 50, "{foreseen} {vain}");
}

#[test]
fn a_phase_claims_by_itself_unless_it_holds_a_barrier() {
    let builder =
        || Builder::default().group(Shape::default(), &[&[("a", "x! / y! |p", &[])], &[("b", "x! |p", &[])]]);
    let plan = builder().holding("a", Some(0), "lock").claiming().done();
    assert!(plan.stages[0].phases[0].claim.is_some());
    let plan = builder().holding("a", Some(1), "lock").claiming().done();
    assert!(plan.stages[0].phases[1].claim.is_none());
    assert_eq!(plan.claims[0].uses.len(), 1);
}

#[test]
fn claims_are_granted_in_any_order() {
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |all / y!", &[]), ("d", "w!", &[])], &[("b", "x! |all", &[])], &[("c", "z!", &[])]],
        )
        .holding("a", Some(1), "lock")
        .holding("c", Some(0), "lock")
        .claiming()
        .done();
    let explored = explore(&plan, &Adversary { timeouts: true, ..adversary(1) });
    assert!(explored.ends.iter().any(|(run, _)| *run == RunOutcome::Succeeded));
}

#[test]
fn a_person_may_stop_or_roll_back_while_claims_are_waited_for() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! / y!", &[]), ("c", "z!", &[])], &[("b", "x!", &[])]])
        .holding("a", Some(0), "lock")
        .holding("a", Some(1), "other")
        .claiming()
        .done();
    let explored = explore(&plan, &Adversary { person: true, ..adversary(1) });
    let nothing = (RunOutcome::Aborted, vec![StageOutcome::NotStarted; 3]);
    assert!(explored.ends.contains(&nothing), "{:?}", explored.ends);
}

#[test]
fn a_promise_holds_whatever_the_order_of_claims() {
    let plan = Builder::default()
        .group(
            Shape { promise: true, max: Some(2) },
            &[&[("a", "x! / y!", &[])], &[("b", "x! |all", &[])], &[("c", "z! |all", &[])]],
        )
        .holding("a", Some(1), "lock")
        .claiming()
        .done();
    for (_, stages) in explore(&plan, &adversary(2)).ends {
        let new = stages.iter().all(|stage| *stage == StageOutcome::Succeeded);
        let old =
            stages.iter().all(|stage| matches!(stage, StageOutcome::RolledBack | StageOutcome::NotStarted));
        assert!(new || old, "{stages:?}");
    }
}

#[test]
fn a_refused_claim_fails_its_stages_before_they_do_anything() {
    let mut plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! |all", &[])], &[("b", "x! |all", &[])]])
        .done();
    plan.stages[1].concurrency = Concurrency::Reject;
    plan.join_claims();
    let explored = explore(&plan, &adversary(0));
    let refused: Vec<_> = explored
        .finals
        .iter()
        .filter(|(_, told)| told.iter().any(|it| matches!(it, Happening::ClaimsRefused(..))))
        .collect();
    assert!(!refused.is_empty());
    for (state, told) in refused {
        assert_eq!(state.outcome(), Some(RunOutcome::RolledBack));
        assert!(!told.iter().any(|it| matches!(it, Happening::StepStarted(..))), "{told:?}");
    }
}

/// Everything that was changed is undone, or the run says that a person is needed.
fn assert_returned(explored: &Explored, plan: &Plan) {
    let mut returned = 0;
    for (state, told) in &explored.finals {
        let asked = told.iter().filter(|it| matches!(it, Happening::RollbackRequested(_))).count();
        let refused = told.iter().any(|it| matches!(it, Happening::ClaimsRefused(..)));
        if asked == 0 || refused || state.outcome() != Some(RunOutcome::RolledBack) {
            continue;
        }
        returned += 1;
        for (index, step) in plan.steps.iter().enumerate() {
            let stage = &plan.stages[step.stage.index()];
            let derived = step.phase.is_some_and(|phase| stage.phases[phase as usize].rollback.is_none());
            let executed = derived && state.steps[index].attempts > 0;
            if let (Undo::Derived(undo), true) = (&step.undo, executed) {
                assert!(state.steps[undo.index()].status.is_passed(), "{} stands: {told:#?}", step.name);
            }
        }
    }
    assert!(returned > 0);
}

#[test]
fn what_has_ended_can_be_taken_back_as_a_whole() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! y! |all", &[])], &[("b", "x! |all / z!", &[])]])
        .group(Shape::default(), &[&[("c", "y!", &[])]])
        .rollback("a", 0, "x |back")
        .rollback("b", 0, "|back x")
        .claiming()
        .done();
    assert_returned(&explore(&plan, &Adversary { afterwards: true, ..adversary(1) }), &plan);
}

#[test]
fn a_rollback_that_stopped_is_taken_up_where_it_stopped() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! y! z", &[])], &[("b", "x!", &[])]])
        .claiming()
        .done();
    let explored = explore(&plan, &Adversary { afterwards: true, rollbacks: true, ..adversary(2) });
    assert_returned(&explored, &plan);
    let undo = plan.step_named("a.p1.y.undo").expect("the undo of y");
    for (_, told) in &explored.finals {
        let mut done = 0;
        for happening in told {
            match happening {
                Happening::StepSucceeded(step) if *step == undo => done += 1,
                Happening::StepStarted(step, _) if *step == undo => assert_eq!(done, 0, "{told:#?}"),
                _ => {}
            }
        }
    }
}

#[test]
fn an_aborted_run_can_be_taken_back() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! y!", &[])], &[("b", "x! / z!", &[])]])
        .holding("b", Some(1), "lock")
        .claiming()
        .done();
    let explored = explore(&plan, &Adversary { afterwards: true, person: true, ..adversary(0) });
    assert_returned(&explored, &plan);
}

//! Small plans, every execution.

use crate::build::{Builder, Shape, ask, retry, rule};
use crate::explore::{Adversary, Explored, explore};
use lockstep_plan::*;
use proptest::prelude::*;

fn adversary(failures: u32) -> Adversary {
    Adversary { kinds: vec![Kind::Application], failures, timeouts: true, ..Adversary::default() }
}

/// At every end: all stages new, or all old.
fn assert_together(explored: &Explored) {
    for (run, stages) in &explored.ends {
        let new = stages.iter().all(|stage| matches!(stage, StageOutcome::Succeeded | StageOutcome::Skipped));
        let old = stages.iter().all(|stage| {
            matches!(stage, StageOutcome::RolledBack | StageOutcome::NotStarted | StageOutcome::Skipped)
        });
        assert!(new || old, "{run:?}: {stages:?}");
    }
}

#[test]
fn two_regions_decide_together_at_a_closing_barrier() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! / |all", &[])], &[("b", "x! y / |all", &[])]])
        .done();
    let explored = explore(&plan, &adversary(2));
    assert_together(&explored);
    assert!(explored.ends.iter().any(|(run, _)| *run == RunOutcome::Succeeded));
    assert!(explored.ends.iter().any(|(run, _)| *run == RunOutcome::RolledBack));
}

#[test]
fn after_the_crossing_failures_are_independent() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x! |all y!", &[])], &[("b", "x! |all y!", &[])]])
        .done();
    let explored = explore(&plan, &adversary(1));
    let mixed = (RunOutcome::RolledBack, vec![StageOutcome::RolledBack, StageOutcome::Succeeded]);
    assert!(explored.ends.contains(&mixed), "{:?}", explored.ends);
}

#[test]
fn a_promise_holds_in_every_execution() {
    let plan = Builder::default()
        .group(
            Shape { promise: true, max: None },
            &[&[("a", "x! |all y!", &[])], &[("b", "x! |all", &[]), ("c", "z!", &[])]],
        )
        .done();
    let explored = explore(&plan, &adversary(2));
    assert_together(&explored);
}

#[test]
fn a_promise_holds_with_retries_asks_and_max() {
    let rules = [rule(&[], retry(1, ask(Reaction::Rollback)))];
    let plan = Builder::default()
        .group(
            Shape { promise: true, max: Some(2) },
            &[&[("a", "x!", &rules)], &[("b", "y!", &[])], &[("c", "z", &[])]],
        )
        .done();
    assert_together(&explore(&plan, &adversary(2)));
}

#[test]
fn doom_spreads_through_barriers_that_the_failing_stage_does_not_know() {
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |p", &[])], &[("b", "x! |p y! |q", &[])], &[("c", "x! |q", &[])]],
        )
        .done();
    let explored = explore(&plan, &Adversary { timeouts: false, ..adversary(1) });
    for (run, stages) in &explored.ends {
        // A failure before p takes all three along, although `a` and `c` share no barrier.
        if stages[0] == StageOutcome::RolledBack {
            assert_eq!(stages, &vec![StageOutcome::RolledBack; 3], "{run:?}");
        }
    }
}

#[test]
fn only_a_rule_that_names_barrier_passes_over_a_broken_one() {
    let unnamed = [rule(&[], Reaction::Ignore)];
    let named = [rule(&[Kind::Barrier], Reaction::Ignore)];
    let plan = |rules: &[Rule]| {
        Builder::default()
            .group(Shape::default(), &[&[("a", "x! |all y", rules)], &[("b", "x! |all", &[])]])
            .done()
    };
    let quiet = Adversary { timeouts: false, ..adversary(1) };
    let with = |rules: &[Rule]| explore(&plan(rules), &quiet).ends;
    let passed = |(_, stages): &(RunOutcome, Vec<StageOutcome>)| {
        stages[0] == StageOutcome::Succeeded && stages[1] == StageOutcome::RolledBack
    };
    assert!(!with(&unnamed).iter().any(passed));
    assert!(with(&named).iter().any(passed));
}

#[test]
fn abort_and_rollback_by_a_person_end_every_execution() {
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |all y!", &[]), ("d", "w!", &[])], &[("b", "x!&y! |all", &[])]],
        )
        .group(Shape::default(), &[&[("c", "z!", &[])]])
        .done();
    let explored = explore(&plan, &Adversary { person: true, timeouts: false, ..adversary(1) });
    assert!(explored.ends.iter().any(|(run, _)| *run == RunOutcome::Aborted));
}

#[test]
fn a_persons_rollback_covers_the_whole_run() {
    let plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x!", &[])]])
        .group(Shape::default(), &[&[("b", "y!", &[])]])
        .done();
    let explored = explore(&plan, &Adversary { person: true, timeouts: false, ..adversary(0) });
    let both = (RunOutcome::RolledBack, vec![StageOutcome::RolledBack; 2]);
    assert!(explored.ends.contains(&both), "{:?}", explored.ends);
}

#[test]
fn rollback_pipeline_takes_earlier_items_back() {
    let mut plan = Builder::default()
        .group(Shape::default(), &[&[("a", "x!", &[])], &[("b", "x!", &[])]])
        .group(Shape::default(), &[&[("c", "y!", &[])]])
        .done();
    plan.rules.push(rule(&[], Reaction::RollbackPipeline));
    assert_together(&explore(&plan, &adversary(1)));
}

#[test]
fn rollback_barriers_order_rollbacks_and_never_hang() {
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |all", &[])], &[("b", "x! |all", &[])], &[("c", "x! |all", &[])]],
        )
        .rollback("a", 0, "u |back v")
        .rollback("b", 0, "u |back v")
        .done();
    assert_together(&explore(&plan, &adversary(1)));
}

#[test]
fn asks_about_broken_barriers_end_in_every_answer() {
    let named = [rule(&[Kind::Barrier], ask(Reaction::Ignore))];
    let unnamed = [rule(&[], ask(Reaction::Rollback))];
    let plan = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |p y! |q", &named)], &[("b", "x |p", &[])], &[("c", "z! |q", &unnamed)]],
        )
        .done();
    explore(&plan, &Adversary { timeouts: false, ..adversary(2) });
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[xyz]!".prop_map(|word| word),
        2 => "[uvw]".prop_map(|word| word),
        1 => Just("m!&n".to_owned()),
        1 => Just("/".to_owned()),
    ];
    prop::collection::vec(word, 1..4).prop_map(|words| {
        // Names are unique in a stage.
        let numbered = words.iter().enumerate().map(|(at, word)| match word.as_str() {
            "/" => "/".to_owned(),
            "m!&n" => format!("m{at}!&n{at}"),
            word => format!("{}{at}{}", &word[..1], &word[1..]),
        });
        numbered.collect::<Vec<_>>().join(" ")
    })
}

fn reaction() -> impl Strategy<Value = Vec<Rule>> {
    prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(vec![rule(&[], retry(1, Reaction::Rollback))]),
        1 => Just(vec![rule(&[Kind::Application], Reaction::Ignore)]),
        1 => Just(vec![rule(&[Kind::Barrier], Reaction::Ignore)]),
        1 => Just(vec![rule(&[], ask(Reaction::Rollback))]),
        1 => Just(vec![rule(&[], Reaction::RollbackPhase)]),
        1 => Just(vec![rule(&[], Reaction::Fail)]),
        1 => Just(vec![rule(&[], Reaction::Abort)]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the shape: everything ends, nothing passes an undecided barrier, what is rolled back is undone. And where
    /// nothing but rolling back is allowed, a promise holds.
    #[test]
    fn random_small_groups_keep_the_invariants(
        stages in prop::collection::vec((words(), reaction(), 0usize..4), 2..4),
        promise in any::<bool>(),
        max in prop::option::of(1u32..3),
    ) {
        // A barrier that everybody meets once, at a different place; without `max`, which could not finish then.
        let names = ["a", "b", "c"];
        let specs: Vec<(String, Vec<Rule>)> = stages.iter().map(|(words, rules, at)| {
            let mut words: Vec<&str> = words.split(' ').collect();
            if max.is_none() {
                words.insert((*at).min(words.len()), "|all");
            }
            (words.join(" "), rules.clone())
        }).collect();
        let branches: Vec<Vec<(&str, &str, &[Rule])>> = specs.iter().zip(names)
            .map(|((words, rules), name)| vec![(name, words.as_str(), rules.as_slice())]).collect();
        let branches: Vec<&[(&str, &str, &[Rule])]> = branches.iter().map(Vec::as_slice).collect();
        let plan = Builder::default().group(Shape { promise, max }, &branches).done();
        let explored = explore(&plan, &adversary(1));
        let plain = specs.iter().all(|(_, rules)| {
            rules.iter().all(|rule| matches!(rule.reaction, Reaction::Retry { .. } | Reaction::Ask { .. }))
        });
        if promise && plain {
            assert_together(&explored);
        }
    }
}

//! Deadlocks against brute force: small pipelines, every interleaving of which is walked through by a few lines that know
//! nothing of circles.

use crate::support::rules_of;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A group: its branches, their stages, the barriers that these meet; and how many branches may run at once.
#[derive(Debug, Clone)]
struct Group {
    branches: Vec<Vec<Vec<u32>>>,
    max: Option<usize>,
}

impl Group {
    fn source(&self) -> String {
        let (mut workflows, mut lanes) = (String::new(), String::new());
        for (branch, stages) in self.branches.iter().enumerate() {
            let _ = writeln!(lanes, "    lane l{branch} {{");
            for (stage, barriers) in stages.iter().enumerate() {
                let name = format!("{branch}_{stage}");
                let _ = writeln!(
                    workflows,
                    "workflow w{name} {{\n  phase p {{\n    step s = shell {{ script = \"x\" }}"
                );
                for barrier in barriers {
                    let _ = writeln!(workflows, "    barrier b{barrier}");
                }
                let _ = writeln!(workflows, "  }}\n}}");
                let _ = writeln!(lanes, "      stage s{name} = w{name} {{}}");
            }
            let _ = writeln!(lanes, "    }}");
        }
        let max = self.max.map_or(String::new(), |max| format!("max {max} "));
        format!("{workflows}pipeline p {{\n  parallel {max}{{\n{lanes}  }}\n}}\n")
    }

    /// Whether some order of what happens ends with a branch that cannot go on.
    fn gets_stuck(&self) -> bool {
        let ways: Vec<Vec<u32>> = self.branches.iter().map(|stages| stages.concat()).collect();
        // For each branch how far it has come; two steps a barrier: arriving and crossing. None: not started.
        let mut seen = BTreeSet::new();
        let mut todo = vec![vec![None; ways.len()]];
        while let Some(state) = todo.pop() {
            if !seen.insert(state.clone()) {
                continue;
            }
            let ended = |branch: usize| state[branch] == Some(2 * ways[branch].len());
            let running =
                (0..ways.len()).filter(|branch| state[*branch].is_some() && !ended(*branch)).count();
            let before = todo.len();
            for branch in 0..ways.len() {
                let arrived = |barrier: u32| {
                    let there = |other: usize| match ways[other].iter().position(|it| *it == barrier) {
                        Some(index) => state[other].is_some_and(|at: usize| at > 2 * index),
                        None => true,
                    };
                    (0..ways.len()).all(there)
                };
                let next = match state[branch] {
                    // Branches start in their order, as far as there is room.
                    None => {
                        let turn = state[..branch].iter().all(Option::is_some);
                        (turn && self.max.is_none_or(|max| running < max)).then_some(0)
                    }
                    Some(_) if ended(branch) => None,
                    Some(at) if at % 2 == 0 => Some(at + 1),
                    Some(at) => arrived(ways[branch][at / 2]).then_some(at + 1),
                };
                if let Some(next) = next {
                    let mut after = state.clone();
                    after[branch] = Some(next);
                    todo.push(after);
                }
            }
            if todo.len() == before && !(0..ways.len()).all(ended) {
                return true;
            }
        }
        false
    }
}

fn group() -> impl Strategy<Value = Group> {
    let stage = prop::collection::vec(0_u32..4, 0..4);
    let branch = prop::collection::vec(stage, 1..3).prop_map(|mut stages| {
        // Twice in one branch is `barrier/sequential`, or `barrier/duplicate`.
        let mut seen = BTreeSet::new();
        stages.iter_mut().for_each(|stage| stage.retain(|barrier| seen.insert(*barrier)));
        stages
    });
    (prop::collection::vec(branch, 2..4), prop::option::of(1_usize..4))
        .prop_map(|(branches, max)| Group { branches, max })
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::with_cases(2_000)
    })]

    #[test]
    fn a_group_is_reported_exactly_when_some_order_of_events_gets_stuck(group in group()) {
        let found = rules_of(&group.source());
        let reported = found.iter().any(|rule| matches!(*rule, "barrier/deadlock" | "barrier/limited-parallelism"));
        prop_assert_eq!(reported, group.gets_stuck(), "{}\n{:?}", group.source(), found);
        // Without a limit there is one name for it.
        prop_assert!(group.max.is_some() || !found.contains(&"barrier/limited-parallelism"));
    }
}

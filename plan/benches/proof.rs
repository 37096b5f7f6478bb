//! What proving a promise costs: `cargo bench -p lockstep-plan`.
//!
//! Groups that promise all or nothing, of stages with twenty steps, every second of which changes its target, five barriers
//! between them, and behind the last of them a step that is irreversible: that nothing can fail then has to be shown for
//! every pair of places. Stages are instances of one workflow, or differ in which steps change something.

use divan::{AllocProfiler, Bencher};
use lockstep_plan::proof::{Effort, Promise, prove};
use lockstep_plan::{Kind, Plan, Reaction, Rule, Scope, ScopeId};
use std::fmt::Write;

#[path = "../tests/it/build.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod build;

use build::{Builder, Shape, ask, retry, rule};

/// Shows the memory each case takes beside its time.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const STEPS: usize = 20;
const BARRIERS: usize = 5;

fn words(stage: usize, alike: bool) -> String {
    let mut words = String::new();
    for step in 0..STEPS {
        let changes = step % 2 == 0 || (!alike && stage >> (step / 2) & 1 == 1);
        let _ = write!(words, "s{step}{} ", if changes { "!" } else { "" });
        if (step + 1) % (STEPS / BARRIERS) == 0 {
            let _ = write!(words, "|b{} ", step / (STEPS / BARRIERS));
        }
    }
    words + "last!!"
}

/// A group of so many stages.
fn group(stages: usize, alike: bool) -> Plan {
    let rules: [Rule; 2] = [
        rule(&[Kind::Verification], retry(3, Reaction::Rollback)),
        rule(&[Kind::Connectivity, Kind::Timeout], retry(3, ask(Reaction::Rollback))),
    ];
    let specs: Vec<(String, String)> =
        (0..stages).map(|stage| (format!("t{stage}"), words(stage, alike))).collect();
    let branches: Vec<[(&str, &str, &[Rule]); 1]> =
        specs.iter().map(|(name, words)| [(name.as_str(), words.as_str(), rules.as_slice())]).collect();
    let branches: Vec<&[(&str, &str, &[Rule])]> = branches.iter().map(|it| it.as_slice()).collect();
    let mut plan = Builder::default().group(Shape { promise: true, max: None }, &branches).done();
    let scope = ScopeId(plan.scopes.len() as u32);
    plan.scopes.push(Scope { owner: "step last".into(), rules: vec![rule(&[], Reaction::Succeed)] });
    plan.steps
        .iter_mut()
        .filter(|step| step.name.ends_with(".last"))
        .for_each(|step| step.scopes.insert(0, scope));
    plan
}

/// Instances of one workflow.
#[divan::bench(args = [50, 250, 1000, 4000], max_time = 5)]
fn one_workflow(bencher: Bencher<'_, '_>, stages: usize) {
    measure(bencher, &group(stages, true));
}

/// As many shapes as stages.
#[divan::bench(args = [50, 100, 200, 400], max_time = 5)]
fn different_stages(bencher: Bencher<'_, '_>, stages: usize) {
    measure(bencher, &group(stages, false));
}

fn measure(bencher: Bencher<'_, '_>, plan: &Plan) {
    bencher.bench_local(|| {
        let proofs = prove(plan, &|_| None, &mut Effort::new(usize::MAX));
        assert!(proofs.len() == 1 && proofs[0].promise == Promise::Kept, "the promise holds");
    });
}

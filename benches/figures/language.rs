//! Large plans: from source text to a plan, through a simulation, into JSON.

use crate::{Figure, figure, milliseconds, timed};
use lockstep_compiler::{DiskLoader, Program, lower};
use lockstep_plan::export::plan_json;
use lockstep_plan::{Plan, Scenario, simulate};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A module: `stages` parallel stages of one workflow of `steps` steps, each running `script`, then `last`.
pub fn module(folder: &Path, stages: usize, steps: usize, script: &str, last: &str) {
    let mut text = String::from("workflow work() {\n  phase all {\n");
    for step in 0..steps {
        let _ = writeln!(text, "    step s{step} = shell {{ script = \"{script}\" }}");
    }
    let _ = write!(
        text,
        "    step last = shell {{ script = \"{last}\" }}\n  }}\n}}\n\npipeline go {{\n  parallel {{\n"
    );
    for stage in 0..stages {
        let _ = writeln!(text, "    stage t{stage} = work {{}}");
    }
    text.push_str("  }\n}\n");
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("main.lockstep"), text).expect("a file");
}

pub fn plan(folder: &Path) -> Plan {
    let folder = folder.to_path_buf();
    let program = Program::load(&DiskLoader, std::slice::from_ref(&folder)).expect("the module");
    match lower(&program, &folder, "go", &BTreeMap::new()) {
        Ok(lowered) => lowered.plan,
        Err(found) => panic!("{}", found[0].message),
    }
}

pub fn linear() -> Vec<Figure> {
    let measure = |stages: usize| -> [Duration; 3] {
        let folder = tempfile::tempdir().expect("a folder");
        module(folder.path(), stages, 99, "true", "true");
        let (plan, compiled) = timed(|| plan(folder.path()));
        let (_, simulated) = timed(|| simulate(&plan, &Scenario::default()));
        let (_, exported) = timed(|| serde_json::to_string(&plan_json(&plan)).expect("JSON"));
        [compiled, simulated, exported]
    };
    // The least of three: a small plan takes so little time that anything else on the machine shows.
    let least = |stages: usize| {
        let rounds = [measure(stages), measure(stages), measure(stages)];
        [0, 1, 2].map(|what| rounds.iter().map(|round| round[what]).min().unwrap_or_default())
    };
    let (small, large) = (least(100), least(1000));
    ["compile", "simulate", "export as JSON"]
        .iter()
        .zip(small.into_iter().zip(large))
        .map(|(what, (small, large))| {
            let growth = large.as_secs_f64() / small.as_secs_f64();
            let value = format!("{} ×{growth:.1}", milliseconds(large));
            figure(&format!("100,000 steps: {what}, ten times 10,000"), value, "at most ×15", growth <= 15.0)
        })
        .collect()
}

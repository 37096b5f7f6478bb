//! Checking, planning and simulating.

use lockstep_compiler::{Loader, Program, Severity, check, check_output, lower, report};
use lockstep_plan::export::{plan_json, plan_text, simulation_json, simulation_text};
use lockstep_plan::{Kind, Scenario, StepId, simulate};
use std::io;
use std::path::{Path, PathBuf};

/// How many steps of a plan are made to fail, each by itself.
const FAILURES: u32 = 4;

/// How many diagnostics are drawn.
const DRAWN: usize = 20;

/// A module of one file.
struct Single<'a>(&'a str);

impl Loader for Single<'_> {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        if dir != Path::new("") {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such directory"));
        }
        Ok(vec![("main.lockstep".into(), self.0.to_owned())])
    }
}

/// Goes the whole way from a source to what its pipelines do when a step fails.
pub fn whole_way(source: &str) {
    let program = Program::load(&Single(source), &["".into()]).expect("it can be read");
    let found = check(&program);
    assert_eq!(found, check(&program), "twice the same");
    check_output(&program, &found);
    let handler = miette::NarratableReportHandler::new();
    for diagnostic in found.iter().take(DRAWN) {
        let mut text = String::new();
        handler.render_report(&mut text, &report(&program, diagnostic)).expect("it can be drawn");
    }
    let module = program.files().last().map(|(_, file)| file.module).expect("there is a file");
    let names: Vec<String> = program.pipelines(module).into_iter().map(str::to_owned).collect();
    for name in names {
        match lower(&program, "".as_ref(), &name, &Default::default()) {
            Ok(lowered) => play(&lowered.plan),
            Err(found) => {
                assert!(found.iter().any(|it| it.severity == Severity::Error), "a refusal has a reason");
            }
        }
    }
}

/// Plays a plan through: without a failure, and with some.
fn play(plan: &lockstep_plan::Plan) {
    plan_text(plan);
    serde_json::to_string(&plan_json(plan)).expect("a plan can be written");
    let mut scenarios = vec![Scenario::default()];
    let steps = u32::try_from(plan.steps.len()).expect("a plan is small");
    for step in (0..steps).take(FAILURES as usize) {
        let fail = [(StepId(step), Kind::Application)].into();
        scenarios.push(Scenario { fail, ..Scenario::default() });
    }
    for scenario in scenarios {
        let simulation = simulate(plan, &scenario);
        simulation_text(plan, &simulation);
        serde_json::to_string(&simulation_json(plan, &simulation)).expect("a simulation can be written");
    }
}

//! One event that concerns everybody: how long the machine takes to say what follows.

use crate::{Figure, figure, milliseconds, timed};
use lockstep_compiler::{DiskLoader, Program, lower};
use lockstep_plan::machine::{State, step};
use lockstep_plan::{Command, Event, Failure, Happening, Kind, Outcome, Plan, StepId, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// So many stages that each change a target, and meet at a barrier afterwards.
fn meeting(stages: usize) -> Plan {
    let mut text = String::from(
        r#"
service files = local { artifact = other { path = "files" } }
workflow meet(service: service<local>, infra: infrastructure<local>) {
  phase deploy {
    step put = local.deploy {}
    step look = shell { script = "true" }
  }
  phase together { barrier all { timeout = 1h } }
}
environment lab {
"#,
    );
    for stage in 0..stages {
        let _ = writeln!(text, "  infrastructure t{stage} = local {{ root = \"t{stage}\" }}");
    }
    text.push_str("}\npipeline go { parallel { for t in lab.* { stage s[t] = meet { service = files, infra = t } } } }\n");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("main.lockstep"), text).expect("a file");
    let dir = folder.path().to_path_buf();
    let program = Program::load(&DiskLoader, std::slice::from_ref(&dir)).expect("the module");
    match lower(&program, &dir, "go", &BTreeMap::new()) {
        Ok(lowered) => lowered.plan,
        Err(found) => panic!("{}", found[0].message),
    }
}

/// Runs everything up to the point where all but the step `look` of the last stage has been done.
fn all_but_one(plan: &Plan) -> (State, StepId) {
    let last = plan.steps.iter().rposition(|step| step.name.ends_with(".look")).expect("a step");
    let last = StepId(last as u32);
    let mut state = State::new(plan);
    let mut events = vec![Event::Started { run: "run".into(), by: "bench".into() }];
    while let Some(event) = events.pop() {
        for command in step(plan, &mut state, event) {
            match command {
                Command::Record { stage, target, service, .. } => {
                    let record = Ok(Value::Text(String::new()));
                    events.push(Event::Recorded { stage, target, service, record });
                }
                Command::AcquireClaims { claim, turn, .. } => {
                    events.push(Event::ClaimsGranted { claim, turn })
                }
                Command::StartStep { step, attempt, .. } if step != last => {
                    let outcome = Outcome::Succeeded { outputs: BTreeMap::new() };
                    events.push(Event::StepEnded { step, attempt, outcome });
                }
                _ => {}
            }
        }
    }
    (state, last)
}

pub fn failure_among_200() -> Vec<Figure> {
    let plan = meeting(200);
    let (mut state, last) = all_but_one(&plan);
    let outcome = Outcome::Failed(Failure::new(Kind::Application, "it failed"));
    let event = Event::StepEnded { step: last, attempt: 1, outcome };
    let (commands, time) = timed(|| step(&plan, &mut state, event));
    let undone = commands.iter().filter(|command| matches!(command, Command::StartStep { .. })).count();
    assert_eq!(undone, 200, "every stage is told to roll back in that very step");
    let met = time.as_millis() < 100;
    vec![figure(
        "failure in one of 200 stages: rollback commanded in all",
        milliseconds(time),
        "under 100 ms",
        met,
    )]
}

pub fn barrier_of_1000() -> Vec<Figure> {
    let plan = meeting(1000);
    let (mut state, last) = all_but_one(&plan);
    let outcome = Outcome::Succeeded { outputs: BTreeMap::new() };
    let event = Event::StepEnded { step: last, attempt: 1, outcome };
    let (commands, time) = timed(|| step(&plan, &mut state, event));
    let opened =
        commands.iter().any(|command| matches!(command, Command::Announce(Happening::BarrierOpened(_))));
    assert!(opened && state.is_finished(), "the last arrival lets everybody go");
    let met = time.as_millis() < 50;
    vec![figure("barrier with 1,000 participants: released", milliseconds(time), "under 50 ms", met)]
}

//! `dsl logs`: what a run's steps printed.

use crate::args::LogsArgs;
use crate::failure::{Failure, print};
use crate::state;
use crate::text::harmless;
use lockstep_compiler::nearest;
use lockstep_executor::replay;
use std::io::IsTerminal;

/// Writes the output of one step, or of all, attempt by attempt.
pub fn run(args: &LogsArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = store.find_run(&args.run)?;
    let replay = replay(&store, &run)?;
    let steps = &replay.plan.steps;
    if let Some(name) = &args.step
        && !steps.iter().any(|step| step.name == *name)
    {
        let failure = Failure::new(format!("run {run} has no step `{name}`"));
        return Err(match nearest(name, steps.iter().map(|step| step.name.as_str())) {
            Some(near) => failure.help(format!("did you mean `{near}`?")),
            None => failure.help("steps are named `stage.phase.step`; `dsl status` shows them"),
        });
    }
    let wanted = |name: &str| args.step.as_deref().is_none_or(|step| step == name);
    let outputs = store.outputs(&run, &replay.plan)?;
    let mut text = String::new();
    for (step, now) in steps.iter().zip(&replay.state.steps).filter(|(step, _)| wanted(&step.name)) {
        for attempt in 1..=now.attempts {
            let output = outputs.of(&step.name, attempt)?;
            if !output.is_empty() {
                text.push_str(&format!("── {} (attempt {attempt})\n{}\n", step.name, output.trim_end()));
            }
        }
    }
    // A file gets what was printed, a terminal what can be read.
    print(&if std::io::stdout().is_terminal() { harmless(&text) } else { text })?;
    Ok(0)
}

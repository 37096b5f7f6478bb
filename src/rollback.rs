//! `dsl rollback`: stops a running run and rolls it back, or takes back what a run did that has ended.

use crate::args::ResumeArgs;
use crate::failure::{Failure, print};
use crate::run::{carry_out, events, runtime};
use crate::{request, state};
use lockstep_executor::{Drivers, Runner, replay};
use lockstep_plan::{Deed, Event, RunOutcome};
use std::sync::Arc;

/// Asks the process that carries the run out to roll it back; where there is none, does it. Exit code 0 once everything is
/// back, or when nothing is left to take back.
pub fn run(args: &ResumeArgs) -> Result<u8, Failure> {
    let run = state::existing(&args.state)?.find_run(&args.run)?;
    let store = Arc::new(state::open(&args.state, args.watch.durability)?);
    state::permit(&store, &run, Deed::Rollback)?;
    let events = events(&args.watch)?;
    let by = state::person();
    let drivers = Drivers::built_in();
    let runner = match store.run(&run)?.outcome {
        None => match request::make(&store, &run, "rollback", &Event::RollbackRequested { by })? {
            Some(code) => return Ok(code),
            // It is taken up first thing.
            None => Runner::resume(store.clone(), drivers, &run)?,
        },
        Some(_) => {
            let told = replay(&store, &run)?;
            if !told.state.is_left(&told.plan) {
                let how = told.state.phrase().unwrap_or("has ended");
                let why = match how.ends_with("was rolled back") {
                    true => "everything is rolled back already".into(),
                    false => format!("it changed nothing; it {how}"),
                };
                print(&format!("nothing of run {run} is left to roll back: {why}\n"))?;
                return Ok(0);
            }
            Runner::take_back(store.clone(), drivers, &run, &by)?
        }
    };
    state::module_of(&store, &run)?;
    carry_out(runtime()?, &store, runner, events)?;
    Ok(match store.run(&run)?.outcome {
        // That is what was asked for.
        Some(RunOutcome::RolledBack | RunOutcome::Succeeded) => 0,
        Some(RunOutcome::NeedsPerson) => 3,
        Some(RunOutcome::Aborted) => 4,
        None => 5,
    })
}

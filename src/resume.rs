//! `dsl resume`: goes on with a run that was cut short.

use crate::args::ResumeArgs;
use crate::failure::{Failure, say};
use crate::run::{carry_out, events, runtime};
use crate::state;
use lockstep_executor::{Drivers, Runner};
use lockstep_plan::Deed;
use std::sync::Arc;

/// The exit code says how the run ended; of a run that had ended already, how it had.
pub fn run(args: &ResumeArgs) -> Result<u8, Failure> {
    let run = state::existing(&args.state)?.find_run(&args.run)?;
    let store = Arc::new(state::open(&args.state, args.watch.durability)?);
    state::permit(&store, &run, Deed::Run)?;
    if let Some(outcome) = store.run(&run)?.outcome {
        say(&format!("run {run} had ended before: it {}", outcome.phrase()));
    }
    let events = events(&args.watch)?;
    let runner = Runner::resume(store.clone(), Drivers::built_in(), &run)?;
    carry_out(runtime()?, &store, runner, events)
}

//! `dsl resume`: goes on with a run that was cut short.

use crate::args::ResumeArgs;
use crate::failure::{Failure, say};
use crate::run::{carry_out, events, how_it_ended, runtime, was_taken_back};
use crate::state;
use lockstep_executor::{Drivers, Runner, replay};
use lockstep_plan::Deed;
use std::sync::Arc;

/// The exit code says how the run ended; of a run that had ended already, how it had. A rollback that a person has asked
/// for after the run's end, and that is complete, is a success, as it is for `dsl rollback`.
pub fn run(args: &ResumeArgs) -> Result<u8, Failure> {
    let run = state::existing(&args.state)?.find_run(&args.run)?;
    let store = Arc::new(state::open(&args.state, args.watch.durability)?);
    state::permit(&store, &run, Deed::Run)?;
    if let Some(how) = how_it_ended(&store, &run)? {
        say(&format!("run {run} had ended before: it {how}"));
    } else {
        state::module_of(&store, &run)?;
    }
    let events = events(&args.watch)?;
    let runner = Runner::resume(store.clone(), Drivers::built_in(), &run)?;
    let code = carry_out(runtime()?, &store, runner, events)?;
    Ok(if code == 1 && was_taken_back(&replay(&store, &run)?) { 0 } else { code })
}

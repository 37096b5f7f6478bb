//! `dsl rollback`: stops a running run and rolls it back.

use crate::abort::{running, said};
use crate::args::RequestArgs;
use crate::failure::Failure;
use crate::state;
use lockstep_plan::{Deed, Event};

/// Asks the process that carries the run out to roll it back.
pub fn run(args: &RequestArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = running(&store, &args.run)?;
    state::permit(&store, &run, Deed::Rollback)?;
    store.request(&run, &Event::RollbackRequested { by: state::person() })?;
    said(&store, &run, "rollback")
}

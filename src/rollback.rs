//! `dsl rollback`: stops a running run and rolls it back.

use crate::args::RequestArgs;
use crate::failure::Failure;
use crate::{request, state};
use lockstep_plan::{Deed, Event};

/// Asks the process that carries the run out to roll it back.
pub fn run(args: &RequestArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = request::running(&store, &args.run)?;
    state::permit(&store, &run, Deed::Rollback)?;
    request::make(&store, &run, "rollback", &Event::RollbackRequested { by: state::person() })
}

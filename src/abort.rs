//! `dsl abort`: stops a running run, without rollback.

use crate::args::RequestArgs;
use crate::failure::{Failure, say};
use crate::{request, state};
use lockstep_executor::replay;
use lockstep_plan::{Deed, Event};

/// Asks the process that carries the run out to stop it.
pub fn run(args: &RequestArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = request::running(&store, &args.run)?;
    state::permit(&store, &run, Deed::Abort)?;
    if replay(&store, &run)?
        .plan
        .items
        .iter()
        .any(|item| item.group.is_some_and(|group| group.all_or_nothing))
    {
        say(
            "an abort is outside the promise of `all_or_nothing`: its branches may end partly new, partly old",
        );
    }
    request::make(&store, &run, "abort", &Event::AbortRequested { by: state::person() })
}

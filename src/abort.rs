//! `dsl abort`: stops a running run, without rollback.

use crate::args::RequestArgs;
use crate::failure::{Failure, say};
use crate::run::{carry_out, how_it_ended, runtime};
use crate::{request, state};
use lockstep_executor::{Drivers, Error, Runner};
use lockstep_plan::{Deed, Event, RunOutcome};
use std::sync::Arc;

/// Asks the process that carries the run out to stop it.
pub fn run(args: &RequestArgs) -> Result<u8, Failure> {
    let store = Arc::new(state::existing(&args.state)?);
    let run = request::running(&store, &args.run)?;
    state::permit(&store, &run, Deed::Abort)?;
    let plan = store.plan(&run)?;
    if plan.items.iter().any(|item| item.promises()) {
        say(
            "an abort is outside the promise of `all_or_nothing`: its branches may end partly new, partly old",
        );
    }
    let event = Event::AbortRequested { by: state::person() };
    if let Some(code) = request::make(&store, &run, "abort", &event)? {
        return Ok(code);
    }
    // Nobody carries it out: it is taken up here, and the request first thing.
    let runner = Runner::resume(store.clone(), Drivers::built_in(), &run).map_err(|error| match error {
        error @ Error::Secrets(_) => Failure::from(error)
            .help("the abort is noted, and is the first thing that whoever goes on with the run does; once they are set, `dsl resume` is one"),
        error => error.into(),
    })?;
    carry_out(runtime()?, &store, runner, None)?;
    match (store.run(&run)?.outcome, how_it_ended(&store, &run)?) {
        (Some(RunOutcome::Aborted), _) => Ok(0),
        (_, Some(how)) => Err(Failure::new(format!("run {run} could not be aborted: it {how}"))),
        (_, None) => Ok(5),
    }
}

//! `dsl abort`: stops a running run, without rollback.

use crate::args::RequestArgs;
use crate::failure::{Failure, print, say};
use crate::state;
use lockstep_executor::{Store, replay};
use lockstep_plan::{Deed, Event};

/// Asks the process that carries the run out to stop it.
pub fn run(args: &RequestArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = running(&store, &args.run)?;
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
    store.request(&run, &Event::AbortRequested { by: state::person() })?;
    said(&store, &run, "abort")
}

/// The id of a run that has not ended.
pub fn running(store: &Store, given: &str) -> Result<String, Failure> {
    let run = store.find_run(given)?;
    match store.run(&run)?.outcome {
        None => Ok(run),
        Some(outcome) => Err(Failure::new(format!("run {run} has ended already: it {}", outcome.phrase()))
            .help("what has ended cannot be acted on; deploy the version that is wanted with a new run")),
    }
}

/// Says what becomes of a request.
pub fn said(store: &Store, run: &str, what: &str) -> Result<u8, Failure> {
    if store.is_carried_out(run)? {
        print(&format!("{what}: run {run} takes it up\n"))?;
    } else {
        print(&format!(
            "{what}: noted, but nobody carries run {run} out; `dsl resume {run}` goes on with it and takes it up first\n"
        ))?;
    }
    Ok(0)
}

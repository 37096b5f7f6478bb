//! `dsl rollback`: stops a running run and rolls it back, or takes back what a run did that has ended.

use crate::args::ResumeArgs;
use crate::events::Events;
use crate::failure::{Failure, print};
use crate::run::{self, carry_out, runtime};
use crate::{request, state};
use lockstep_executor::{Drivers, Runner, Store, replay};
use lockstep_plan::{Deed, Event, RunOutcome};
use std::sync::Arc;

/// Asks the process that carries the run out to roll it back; where there is none, does it. Exit code 0 once everything is
/// back, or when nothing is left to take back.
pub fn run(args: &ResumeArgs) -> Result<u8, Failure> {
    let run = state::existing(&args.state)?.find_run(&args.run)?;
    let store = Arc::new(state::open(&args.state, args.watch.durability)?);
    state::permit(&store, &run, Deed::Rollback)?;
    let mut events = run::events(&args.watch)?;
    if store.run(&run)?.outcome.is_none() {
        let event = Event::RollbackRequested { by: state::person() };
        if let Some(code) = request::make(&store, &run, "rollback", &event)? {
            return Ok(code);
        }
        state::module_of(&store, &run)?;
        // It is taken up first thing.
        let runner = Runner::resume(store.clone(), Drivers::built_in(), &run)?;
        carry_out(runtime()?, &store, runner, events)?;
        let state = replay(&store, &run)?.state;
        // But not where the run had ended already, and its process was killed before that was noted.
        if state.was_asked_back() || !state.is_finished() {
            return came_to(&store, &run);
        }
        events = run::events(&args.watch)?;
    }
    take_back(&store, &run, events)
}

/// Takes back what a run did that has ended.
fn take_back(store: &Arc<Store>, run: &str, events: Option<Events>) -> Result<u8, Failure> {
    let told = replay(store, run)?;
    if !told.state.is_left(&told.plan) {
        let how = told.state.phrase().unwrap_or("has ended");
        let why = match how.ends_with("was rolled back") {
            true => "everything is rolled back already".into(),
            false => format!("it changed nothing; it {how}"),
        };
        print(&format!("nothing of run {run} is left to roll back: {why}\n"))?;
        return Ok(0);
    }
    state::module_of(store, run)?;
    let runner = Runner::take_back(store.clone(), Drivers::built_in(), run, &state::person())?;
    carry_out(runtime()?, store, runner, events)?;
    came_to(store, run)
}

fn came_to(store: &Store, run: &str) -> Result<u8, Failure> {
    Ok(match store.run(run)?.outcome {
        // That is what was asked for.
        Some(RunOutcome::RolledBack | RunOutcome::Succeeded) => 0,
        Some(RunOutcome::NeedsPerson) => 3,
        Some(RunOutcome::Aborted) => 4,
        None => 5,
    })
}

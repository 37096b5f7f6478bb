//! What `abort`, `rollback` and `answer` share: a request to the process that carries a run out, and its reply.

use crate::failure::{Failure, print};
use lockstep_executor::{Reply, Store, replay};
use lockstep_plan::Event;
use std::time::{Duration, Instant};

/// How often the reply is looked for. The runner looks for requests several times in the time that a person notices.
const LOOK: Duration = Duration::from_millis(5);

/// How long a process that carries the run out may take to reply; it may be writing to a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked whether somebody carries the run out.
const PULSE: Duration = Duration::from_millis(200);

/// The id of a run that has not ended.
pub fn running(store: &Store, given: &str) -> Result<String, Failure> {
    let run = store.find_run(given)?;
    if store.run(&run)?.outcome.is_none() {
        return Ok(run);
    }
    let told = replay(store, &run)?;
    let how = told.state.phrase().unwrap_or("has ended");
    let failure = Failure::new(format!("run {run} has ended already: it {how}"));
    Err(match told.state.is_left(&told.plan) {
        true => failure.help(format!("`dsl rollback {run}` takes back what it did")),
        false => failure,
    })
}

/// Makes a request and says what became of it, with the exit code; none, and nothing said, where nobody carries the run out.
/// `what` names it: `abort`.
pub fn make(store: &Store, run: &str, what: &str, event: &Event) -> Result<Option<u8>, Failure> {
    let request = store.request(run, event)?;
    let begun = Instant::now();
    let mut pulse = begun;
    loop {
        // Asked before the reply is looked for: a process that ends has replied by then.
        let alone = pulse <= Instant::now() && !store.is_carried_out(run)?;
        match store.reply(request)? {
            Some(Reply::Taken) => {
                print(&format!("{what}: run {run} has taken it up\n"))?;
                return Ok(Some(0));
            }
            Some(Reply::Late { why }) => {
                return Err(Failure::new(format!("{what}: too late for run {run}: {why}")));
            }
            None => {}
        }
        if alone {
            store.settle(request)?;
            return Ok(None);
        }
        let looked = pulse <= Instant::now() && begun.elapsed() > PULSE;
        if let Some(process) = if looked { store.stopped_process(run)? } else { None } {
            store.settle(request)?;
            print(&format!(
                "{what}: noted, but process {process}, which carries run {run} out, is stopped; `kill -CONT {process}` lets it go \
                 on, and take it up\n"
            ))?;
            return Ok(Some(0));
        }
        if begun.elapsed() > PATIENCE {
            store.settle(request)?;
            print(&format!(
                "{what}: noted, but the process that carries run {run} out has not taken it up within {}s; `dsl status {run}` \
                 shows it until it has\n",
                PATIENCE.as_secs()
            ))?;
            return Ok(Some(0));
        }
        if pulse <= Instant::now() {
            pulse = Instant::now() + PULSE;
        }
        std::thread::sleep(LOOK);
    }
}

/// A request in a few words: `alice asks for an abort`.
pub fn describe(event: &Event, question: impl Fn(&lockstep_plan::Question) -> String) -> (String, String) {
    match event {
        Event::AbortRequested { by } => (by.clone(), "abort".into()),
        Event::RollbackRequested { by } => (by.clone(), "rollback".into()),
        Event::Answered { question: about, answer, by, .. } => {
            (by.clone(), format!("answer {} to {}", answer.name(), question(about)))
        }
        // Nothing else is ever asked for by another process.
        _ => (String::new(), "unknown".into()),
    }
}

//! `dsl run`: carries a pipeline out.

use crate::args::{RunArgs, WatchArgs};
use crate::clock::span;
use crate::compile::compiled;
use crate::events::Events;
use crate::failure::{Failure, print, say};
use crate::outcome::exit_code;
use crate::progress::Progress;
use crate::table::Telling;
use crate::{state, table};
use lockstep_executor::{Drivers, End, Error, Handle, Replay, Runner, Store, check, resolve, retell};
use lockstep_plan::{Deed, Happening, Plan, RunOutcome};
use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code says how the run ended.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let (mut plan, module) = compiled(&args.pipeline)?;
    if !args.yes {
        confirm(&plan)?;
    }
    let store = Arc::new(state::open(&args.state, args.watch.durability)?);
    let drivers = Drivers::built_in();
    plan.permits(&state::person(), Deed::Run).map_err(Error::from)?;
    // Drivers keep their connections, which live as long as the runtime.
    let runtime = runtime()?;
    runtime.block_on(async {
        check(&plan, &drivers, &module).await?;
        resolve(&mut plan, &drivers).await
    })?;
    let events = events(&args.watch)?;
    let started = Runner::start(store.clone(), drivers, plan, &module, &state::person());
    let runner = match started {
        // The command is right, and the target is taken: as if the run had failed, with nothing left to undo.
        Err(error @ Error::Busy(_)) => {
            say(&Failure::from(error).render());
            return Ok(1);
        }
        started => started?,
    };
    carry_out(runtime, &store, runner, events)
}

/// The file that events are to go to, which has to be there before a run is begun or taken up.
pub fn events(args: &WatchArgs) -> Result<Option<Events>, Failure> {
    args.events.as_deref().map(Events::open).transpose()
}

/// Carries a run out to its end, showing it, and writes the closing table.
pub fn carry_out(
    runtime: Runtime,
    store: &Store,
    runner: Runner,
    events: Option<Events>,
) -> Result<u8, Failure> {
    let run = runner.info().id.clone();
    let started = runner.info().created_at;
    let plan = runner.plan().clone();
    let events = events.map(|events| events.of_run(&run)).transpose()?;
    // Where the cursor cannot be moved, lines are written one after another.
    let live = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let progress = Arc::new(Progress::new(plan.clone(), &run, events, live));
    progress.message(&format!("run {run}"));
    let handle = runner.handle();
    let end = runtime.block_on(async {
        let signals = tokio::spawn(watch_signals(handle, progress.clone(), run.clone()));
        let end = runner.run(progress.clone()).await;
        signals.abort();
        end
    });
    progress.close();
    // A copy that hangs in the file system must not keep a detached process here.
    runtime.shutdown_background();
    let end = match end {
        Ok(end) => end,
        // Nothing was begun, and nothing is unfinished.
        Err(error @ lockstep_executor::Error::NotReturnable { .. }) => return Err(error.into()),
        Err(error) => {
            say(&Failure::from(error).render());
            say(&format!(
                "run {run} was left as it is, with all that its journal knows; `dsl resume {run}` goes on with it"
            ));
            return Ok(exit_code(End::Detached));
        }
    };
    // The table is told from the journal: what is not in there did not happen.
    let mut telling = Telling::new(&plan);
    let mut last = None;
    let state = retell(store, &run, &plan, |at, happening| {
        last = Some(at);
        telling.happened(&plan, &happening);
    })?;
    let took = last.map(|at| span(at.saturating_sub(started))).unwrap_or_default();
    let end_line = match end {
        End::Finished(_) => {
            let phrase = state.phrase().unwrap_or("has ended");
            // How long it took says nothing of one that was taken back later.
            match state.was_asked_back() {
                true => format!("run {run} {phrase}"),
                false => format!("run {run} {phrase} in {took}"),
            }
        }
        End::Detached => format!("run {run} is unfinished; `dsl resume {run}` goes on with it"),
    };
    let table = table::text(&telling.rows(&plan, &state));
    // The exit code says how the run ended, whether or not anybody can read the table.
    if let Err(failure @ Failure::Message { .. }) = print(&format!("\n{table}\n{end_line}\n")) {
        say(&failure.render());
    }
    Ok(exit_code(end))
}

/// How a run came to its end, if it has: what goes on after "run X".
pub fn how_it_ended(store: &Store, run: &str) -> Result<Option<&'static str>, Error> {
    match store.run(run)?.outcome {
        None => Ok(None),
        Some(_) => Ok(retell(store, run, &store.plan(run)?, |_, _| {})?.phrase()),
    }
}

/// Whether a person has asked to take the run back after it had ended, and it was.
pub fn was_taken_back(told: &Replay) -> bool {
    let mut ended = told.happenings.iter().skip_while(|(_, it)| !matches!(it, Happening::RunEnded(..)));
    told.state.outcome() == Some(RunOutcome::RolledBack)
        && ended.any(|(_, it)| matches!(it, Happening::RollbackRequested(_)))
}

/// What runs are carried out on. One thread: what it does is short, and having threads wake each other would cost more than
/// that. What takes long, such as writing to disk, has threads of its own.
pub fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))
}

/// A first Ctrl-C asks what is meant, a second one detaches; so does SIGTERM.
async fn watch_signals(handle: Handle, progress: Arc<Progress>, run: String) {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        say(
            "signals cannot be watched: Ctrl-C ends this process at once, and `dsl resume` goes on with the run",
        );
        return;
    };
    let mut asked = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {
                if asked {
                    return handle.detach();
                }
                asked = true;
                progress.message(&format!(
                    "Ctrl-C again leaves the run as it is (`dsl resume {run}` goes on with it); `dsl rollback {run}` \
                     rolls it back, `dsl abort {run}` stops it without rollback"
                ));
            }
            _ = terminate.recv() => return handle.detach(),
            // The terminal is gone; nobody said that the run should be.
            _ = hangup.recv() => return handle.detach(),
        }
    }
}

/// Production is touched only when a person at a terminal says so, or `--yes` did.
fn confirm(plan: &Plan) -> Result<(), Failure> {
    let targets: BTreeSet<&str> = plan
        .targets
        .iter()
        .filter(|target| target.kind == "production")
        .map(|target| target.name.as_str())
        .collect();
    if targets.is_empty() {
        return Ok(());
    }
    let targets: Vec<&str> = targets.into_iter().collect();
    let changes = format!("{} changes {}", plan.pipeline, targets.join(", "));
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let message =
            format!("nothing was begun: {changes}, which is production, and there is no terminal to ask at");
        return Err(Failure::new(message).help("`dsl run --yes` says that it is meant"));
    }
    say(&format!("{changes}. Go on? [y/N]"));
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(format!("cannot read the answer: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was begun, because it was not confirmed")),
    }
}

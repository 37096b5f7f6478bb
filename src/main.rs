//! The command line of Lockstep: one file for each subcommand, and what they share.

mod abort;
mod answer;
mod args;
mod check;
mod clock;
mod compile;
mod completions;
mod diff;
mod events;
mod explain;
mod failure;
mod fix;
mod fmt;
mod github;
mod holdings;
mod ignored;
mod logs;
mod lsp;
mod man;
mod outcome;
mod plan;
mod progress;
mod request;
mod resume;
mod rollback;
mod run;
mod runs;
mod sarif;
mod simulate;
mod source;
mod state;
mod status;
mod table;
mod text;
mod values;

use args::{Args, Subcommand};
use clap::Parser;
use failure::Failure;
use nix::sys::signal::{SigSet, Signal};
use std::io::Write;
use std::process::ExitCode;

/// Checking makes and drops many small things, on all cores at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The limit on file sizes is an error of the write that meets it, which is told of; the signal would end the process.
    let limit = SigSet::from(Signal::SIGXFSZ);
    // Where that cannot be, the signal does what it does.
    let _ = limit.thread_block();
    match lockstep_executor::supervise() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        // Nobody reads what it might say; whoever has started it finds it gone.
        Err(_) => return ExitCode::FAILURE,
    }
    if let Some(code) = compile::compile() {
        return code;
    }
    // Before anything speaks TLS.
    lockstep_executor::install_tls();
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        console::set_colors_enabled(false);
        console::set_colors_enabled_stderr(false);
    }
    let args = Args::parse();
    let result = match args.command {
        Subcommand::Check(args) => check::run(&args),
        Subcommand::Fmt(args) => fmt::run(&args),
        Subcommand::Explain(args) => explain::run(&args),
        Subcommand::Plan(args) => plan::run(&args),
        Subcommand::Simulate(args) => simulate::run(&args),
        Subcommand::Run(args) => run::run(&args),
        Subcommand::Runs(args) => runs::run(&args),
        Subcommand::Status(args) => status::run(&args),
        Subcommand::Logs(args) => logs::run(&args),
        Subcommand::Resume(args) => resume::run(&args),
        Subcommand::Abort(args) => abort::run(&args),
        Subcommand::Rollback(args) => rollback::run(&args),
        Subcommand::Answer(args) => answer::run(&args),
        Subcommand::Lsp => lsp::run(),
        Subcommand::Completions(args) => completions::run(&args),
        Subcommand::Man(args) => man::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        // Whoever read the results has read enough.
        Err(Failure::Pipe) => ExitCode::SUCCESS,
        Err(Failure::Said) => ExitCode::from(2),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{}", failure.render());
            ExitCode::from(2)
        }
    }
}

//! `dsl completions`: what a shell needs in order to complete.

use crate::args::{Args, CompletionsArgs};
use crate::failure::{Failure, print};
use clap::CommandFactory;

/// Writes the completions of one shell.
pub fn run(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "dsl", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

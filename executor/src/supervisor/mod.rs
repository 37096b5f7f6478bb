//! The process that scripts are children of: one beside each process that carries a run out.
//!
//! It starts scripts as it is asked to, keeps what they print, waits for them, and notes how each ended. It survives the
//! `kill -9` of whoever asked, and ends when that one is gone and so is everything that it started. What it notes is in a
//! log (`log.rs`) from which a later process learns what became of a script without having been its parent.
//!
//! It is this program, called with a word that nobody types, with a socket for its standard error. (Its standard input is what
//! scripts are given for theirs: nothing.)

mod client;
mod log;
mod message;
mod serve;

pub use client::this_program;
pub(crate) use client::{End, Scripts};
pub(crate) use log::{Progress, Trace};
pub(crate) use message::Start;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The first argument of a program that is to supervise scripts. (Also the name of a test, so that the tests of this package,
/// called with it, do so as well.)
const WORD: &str = "supervise_scripts";

/// Supervises scripts when this program was started for it; whether it was. A program that carries runs out has to ask this
/// before it does anything else.
///
/// # Errors
/// Whoever has started it does not say what it needs to, or the log of the scripts cannot be used.
pub fn supervise() -> io::Result<bool> {
    if std::env::args_os().nth(1).is_none_or(|word| word != WORD) {
        return Ok(false);
    }
    let socket = UnixStream::from(io::stderr().as_fd().try_clone_to_owned()?);
    // Somebody may have typed the word: nothing else shall be changed.
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve::serve(socket))?;
    Ok(true)
}

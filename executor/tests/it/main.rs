//! The executor against real files, processes and the real machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crash;
mod damage;
mod journal;
mod kill;
mod local;
mod net;
mod program;
mod requests;
mod shell;
mod supervisor;
mod support;

//! The server, asked over a connection in memory.

mod client;
mod findings;
mod module;
mod protocol;

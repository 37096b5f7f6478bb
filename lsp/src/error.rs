//! Why a server ended before its client said good-bye.

use std::io;

/// The server ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input ended.
    #[error("the client closed the connection before it sent `shutdown` and `exit`")]
    Disconnected,
    /// `exit` came without `shutdown`.
    #[error("the client sent `exit` before `shutdown`")]
    ExitWithoutShutdown,
    /// Standard output is closed or full.
    #[error("cannot write to the client: {0}")]
    Output(#[source] io::Error),
}

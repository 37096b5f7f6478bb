//! The language server: what the compiler finds, shown where it is written, while it is written.
//!
//! [`serve_stdio`] speaks the protocol over standard input and output, [`serve`] over any connection. Open documents
//! stand in for the files on disk; after each change the modules they belong to are checked as one program, and what
//! is found is published for every file of these modules.

mod diagnostics;
mod documents;
mod encoding;
mod error;
mod server;
mod stdio;

pub use error::Error;

use lsp_server::Connection;
use server::Server;

/// Serves over standard input and output until the client says good-bye.
///
/// # Errors
/// When the client leaves without `shutdown` and `exit`, or standard output cannot be written.
pub fn serve_stdio() -> Result<(), Error> {
    let (connection, writer) = stdio::connect();
    let served = serve(&connection);
    // The writer ends when nothing can be sent any more; the reader may wait for input for ever and ends with the process.
    drop(connection);
    writer.join().unwrap_or(Ok(())).map_err(Error::Output)?;
    served
}

/// Serves until the client says good-bye.
///
/// # Errors
/// When the client leaves without `shutdown` and `exit`.
pub fn serve(connection: &Connection) -> Result<(), Error> {
    Server::new(connection).run()
}

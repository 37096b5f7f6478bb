//! `dsl lsp`: speaks the language server protocol over standard input and output.

use crate::failure::Failure;

/// Serves until the client says good-bye.
pub fn run() -> Result<u8, Failure> {
    lockstep_lsp::serve_stdio()
        .map_err(|error| Failure::new(format!("the language server ended: {error}")))?;
    Ok(0)
}

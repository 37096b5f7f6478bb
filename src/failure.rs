//! Why a command could not do its work: wrong use, unreadable input, faulty source. Exit code 2.

use std::path::Path;

/// What went wrong around a command.
#[derive(Debug)]
pub enum Failure {
    /// A message, with what to do.
    Message {
        /// What, where, why.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Diagnostics were written already.
    Source,
    /// Everything was written already.
    Said,
    /// Standard output was closed by its reader.
    Pipe,
}

impl Failure {
    /// A message.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure::Message { message: message.into(), help: None }
    }

    /// Says what to do.
    pub fn help(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Message { message, .. } => Failure::Message { message, help: Some(text.into()) },
            other => other,
        }
    }

    /// A file that could not be read or written.
    pub fn io(what: &str, path: &Path, error: &std::io::Error) -> Failure {
        Failure::new(format!("cannot {what} `{}`: {error}", path.display()))
    }

    /// As a person reads it.
    pub fn render(&self) -> String {
        match self {
            Failure::Message { message, help: Some(help) } => format!("error: {message}\n  help: {help}"),
            Failure::Message { message, help: None } => format!("error: {message}"),
            Failure::Source => "error: nothing was begun, because the source has errors".into(),
            Failure::Said | Failure::Pipe => String::new(),
        }
    }
}

impl From<lockstep_executor::Error> for Failure {
    fn from(error: lockstep_executor::Error) -> Failure {
        let help = error.help();
        let failure = Failure::new(error.to_string());
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

/// Writes results to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::Pipe),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes a value as pretty JSON with a final newline to standard output, piece by piece: it may be very long.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from);
    match written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::Pipe),
        Err(error) => Err(Failure::new(format!("cannot write the result as JSON: {error}"))),
    }
}

/// Writes a message to standard error. That it cannot be written must not end what is under way.
pub fn say(text: &str) {
    use std::io::Write;
    // At once: standard error keeps nothing back.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// A value as pretty JSON with a final newline.
pub fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(format!("cannot write the result as JSON: {error}")))?;
    Ok(text + "\n")
}

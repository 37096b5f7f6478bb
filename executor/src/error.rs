//! What can go wrong around a run, as opposed to in it.

use crate::preflight::Unsupported;
use crate::store::Holder;
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// The state directory, a run's record in it, or a run itself cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the state cannot be read or written.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `create`, `open`, …
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The journal cannot be read or written.
    #[error("the journal `{}` cannot be used: {source}", path.display())]
    Journal {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The journal was written by a newer program.
    #[error(
        "the journal `{}` has schema version {found}, this program knows versions up to {known}: use the newer `dsl` that \
         wrote it, or another state directory (`--state`)",
        path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The version it says.
        found: i64,
        /// The newest version that is understood.
        known: i64,
    },
    /// What is stored does not read back.
    #[error("the journal's record of {what} is damaged: {message}")]
    Damaged {
        /// Of what.
        what: String,
        /// How.
        message: String,
    },
    /// What the run would need is not there, such as a permission.
    #[error("nothing was begun:\n{}", .0.join("\n"))]
    Denied(Vec<String>),
    /// There is no such run.
    #[error("there is no run `{0}` in this state directory; `dsl runs` lists them")]
    NoRun(String),
    /// A run is asked for by an empty name, of which every id is a continuation.
    #[error("the name of the run is empty: give an id, the characters that only one begins with, or `last`")]
    Nameless,
    /// The run has ended, and takes no requests any more.
    #[error("run {run} has ended already; `dsl status {run}` says how")]
    Ended {
        /// The run.
        run: String,
        /// How.
        outcome: lockstep_plan::RunOutcome,
    },
    /// More than one run fits.
    #[error("`{given}` could be any of {}: give more characters", candidates.join(", "))]
    Ambiguous {
        /// The prefix.
        given: String,
        /// The runs that begin so.
        candidates: Vec<String>,
    },
    /// Another process carries the run out.
    #[error("run {run} is being carried out by another process ({holder})")]
    Locked {
        /// The run.
        run: String,
        /// Which.
        holder: Holder,
    },
    /// Another process has taken the run over from this one, which writes nothing any more.
    #[error(
        "run {run} was taken over by another process; this one has stopped, and has written nothing since"
    )]
    Replaced {
        /// The run.
        run: String,
    },
    /// The plan needs what this program cannot do.
    #[error("the plan needs what cannot be carried out yet:{}", list(.0))]
    Unsupported(Vec<Unsupported>),
    /// Whoever wants to start the run may not.
    #[error("nothing was begun: {0}")]
    Refused(#[from] lockstep_plan::Refusal),
    /// More permits are asked for at once than a resource has.
    #[error("nothing was begun, because the plan would wait for ever; it needs:{}", list(.0))]
    Capacity(Vec<String>),
    /// A stage says `concurrency = reject`, and another run holds what it needs.
    #[error("nothing was begun: {0}, and a stage says `concurrency = reject`")]
    Busy(String),
    /// A run that has ended cannot be taken back.
    #[error("run {run} is left as it is:{}", list(.reasons))]
    NotReturnable {
        /// The run.
        run: String,
        /// Why not, a reason for each target that speaks against it.
        reasons: Vec<String>,
    },
    /// Secrets are missing.
    #[error("secrets are missing:{}", list(.0))]
    Secrets(Vec<String>),
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::Io { path, source, .. } => self::help(source.kind(), path),
            Error::Journal { path, source } => match source.sqlite_error_code()? {
                ErrorCode::DiskFull => self::help(io::ErrorKind::StorageFull, path),
                ErrorCode::ReadOnly => self::help(io::ErrorKind::ReadOnlyFilesystem, path),
                ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                    self::help(io::ErrorKind::PermissionDenied, path)
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(damage(path)),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    Some("another process has been writing to it for long; try again".into())
                }
                ErrorCode::SystemIoFailure => {
                    Some("the disk, or the limit on the size of files (`ulimit -f`), does not take it".into())
                }
                _ => None,
            },
            Error::Damaged { .. } => Some(
                "nothing was done, and nothing has been changed; put a copy of the state directory back, or see to the \
                 targets by hand: other runs can be read"
                    .into(),
            ),
            Error::Locked { run, holder } => Some(match holder.process {
                Some(process) if holder.is_stopped() => format!(
                    "`kill -CONT {process}` lets it go on; `kill -9 {process}` ends it, so that another can take the run over"
                ),
                _ => format!("`dsl status {run}` shows what it does"),
            }),
            Error::Replaced { run } => Some(format!("`dsl status {run}` shows what the other does")),
            _ => None,
        }
    }
}

fn help(kind: io::ErrorKind, path: &Path) -> Option<String> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Some(format!("make space where `{}` is, and try again", path.display()))
        }
        io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory => Some(
            "the state directory has to be writable for whoever runs `dsl`; `--state` names another".into(),
        ),
        _ => None,
    }
}

fn damage(path: &Path) -> String {
    format!(
        "nothing was done, and nothing has been changed; keep `{0}` and what lies beside it (`-wal`), and put a copy back, or \
         go on with another state directory (`--state`). `sqlite3 {0} .recover` reads what is still whole",
        path.display()
    )
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  - {item}")).collect()
}

/// Names the path in an I/O error.
pub(crate) trait At<T> {
    /// `what` was tried with `path`.
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what, path: path.into(), source })
    }
}

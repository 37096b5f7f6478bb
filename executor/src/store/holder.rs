//! Who carries a run out: what a lock file says of its holder.

use crate::process;
use std::fmt;

/// The process that a lock file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its number; none while it has not said it.
    pub process: Option<u32>,
}

impl Holder {
    /// This process, as it is written to a lock file.
    pub(super) fn this() -> Holder {
        Holder { process: Some(std::process::id()) }
    }

    pub(super) fn parse(text: &str) -> Holder {
        Holder { process: text.trim().strip_prefix("process ").and_then(|id| id.parse().ok()) }
    }

    /// Whether it is alive, as far as can be known.
    pub(super) fn is_alive(self) -> bool {
        let pid = self.process.and_then(|pid| i32::try_from(pid).ok());
        pid.and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }

    /// Whether it was stopped by a signal, and goes on by another.
    pub fn is_stopped(self) -> bool {
        self.process.is_some_and(process::is_stopped)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(process) if self.is_stopped() => write!(f, "process {process}, which is stopped"),
            Some(process) => write!(f, "process {process}"),
            None => f.write_str("a process that has just begun"),
        }
    }
}

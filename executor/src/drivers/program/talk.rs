//! One conversation with a program: its process, lines to it and lines from it, within bounds.

use super::message::Said;
use crate::private;
use crate::process::{self, Identity};
use crate::script::{describe_exit, exit_code, last_lines};
use crate::secrets::Secrets;
use crate::strike::Striker;
use lockstep_plan::{Failure, Kind};
use serde_json::Value as Json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No line of a program is longer than this, in bytes.
const LINE_LIMIT: u64 = 1024 * 1024;

/// A program says no more lines than this in one conversation.
const MOST_LINES: u64 = 100_000;

/// How long a program may take to end once it has said its result.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long its last words on standard error may take to come once it has ended: others may hold that open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program that is being talked to. Dropping it closes the pipes, and leaves the process.
pub(super) struct Talk {
    pid: u32,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
    input: Option<Sender>,
    output: BufReader<Receiver>,
    errors: std::path::PathBuf,
    /// Ends when nobody can write to standard error any more.
    keeping: JoinHandle<()>,
    lines: u64,
}

/// What comes next from a program.
pub(super) enum Next {
    Said(Said),
    /// It says nothing more.
    End,
}

impl Talk {
    /// Starts the program in `module`; what it writes to standard error goes to a file in `directory`, without the secrets,
    /// and by whom it is known to a later process to another.
    pub fn begin(program: &str, module: &Path, directory: &Path, secrets: &Secrets) -> io::Result<Talk> {
        private::directory(directory)?;
        let errors = directory.join("stderr");
        let file = private::file().append(true).open(&errors)?;
        let (theirs_in, ours_in) = io::pipe()?;
        let (ours_out, theirs_out) = io::pipe()?;
        let (ours_errors, theirs_errors) = io::pipe()?;
        let mut command = Command::new(process::SHELL);
        let script = format!("{{ {}\n}} >\"$1/program\"; exec \"$2\"", process::PRINT_IDENTITY);
        command.args(["-c", &script, "lockstep"]).arg(directory).arg(program).current_dir(module);
        for name in secrets.variables() {
            command.env_remove(name);
        }
        command.stdin(theirs_in).stdout(theirs_out).stderr(theirs_errors);
        let process::Spawned { pid, ended } = process::spawn(command)?;
        let pieces: Vec<String> = secrets.redactor(secrets.names()).pieces().map(str::to_owned).collect();
        let pipe = Receiver::from_owned_fd(OwnedFd::from(ours_errors))?;
        let keeping = tokio::spawn(keep(pipe, file, Striker::new(&pieces)));
        Ok(Talk {
            pid,
            ended,
            input: Some(Sender::from_owned_fd(OwnedFd::from(ours_in))?),
            output: BufReader::new(Receiver::from_owned_fd(OwnedFd::from(ours_out))?),
            errors,
            keeping,
            lines: 0,
        })
    }

    /// Says a line. A program that does not listen any more shows in what it says, or does not.
    pub async fn say(&mut self, line: &Json) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(format!("{line}\n").as_bytes()).await;
        }
    }

    /// The next line. May be cut short without losing any of it only when the conversation ends there.
    pub async fn next(&mut self) -> Result<Next, Failure> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.output).take(LINE_LIMIT).read_until(b'\n', &mut line).await;
            let read = read.map_err(|error| wrong(format!("it cannot be read from: {error}")))?;
            if read == 0 {
                return Ok(Next::End);
            }
            if read as u64 == LINE_LIMIT {
                return Err(wrong(format!("it wrote a line of more than {LINE_LIMIT} bytes")));
            }
            self.lines += 1;
            if self.lines > MOST_LINES {
                return Err(wrong(format!("it wrote more than {MOST_LINES} lines")));
            }
            let text = String::from_utf8_lossy(&line);
            if text.trim().is_empty() {
                continue;
            }
            return match serde_json::from_str(&text) {
                Ok(said) => Ok(Next::Said(said)),
                Err(error) => {
                    let shown: String = text.trim().chars().take(200).collect();
                    Err(wrong(format!(
                        "it wrote a line that is no message of the protocol ({error}): {shown}"
                    )))
                }
            };
        }
    }

    /// How the process ended, once it has said all it says: a sentence about an end without a result.
    pub async fn end(mut self) -> Failure {
        self.input = None;
        let status = tokio::time::timeout(FAREWELL, &mut self.ended).await;
        let mut message = match status {
            Ok(Ok(Ok(status))) => match exit_code(status) {
                0 => "it ended without a result".to_owned(),
                code => format!("it ended without a result, with {}", describe_exit(code)),
            },
            _ => {
                process::stop_group(self.pid).await;
                "it closed its standard output without a result, and did not end".to_owned()
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.keeping).await;
        let errors = last_lines(&String::from_utf8_lossy(&fs::read(&self.errors).unwrap_or_default()));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&errors);
        }
        wrong(message)
    }

    /// After its result a program has nothing to say, and ends. Nothing of it is left when this returns.
    pub async fn part(mut self) -> Result<(), Failure> {
        self.input = None;
        let more = tokio::time::timeout(FAREWELL, self.next()).await;
        process::stop_group(self.pid).await;
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.keeping).await;
        match more {
            Ok(Ok(Next::Said(Said::Progress(_)))) | Ok(Ok(Next::End)) | Err(_) => Ok(()),
            Ok(Ok(Next::Said(_))) => Err(wrong("it gave two results")),
            Ok(Err(failure)) => Err(failure),
        }
    }

    /// Ends the program at once. Whether nothing of it is left.
    pub async fn stop(mut self) -> bool {
        self.input = None;
        let gone = process::stop_group(self.pid).await;
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.keeping).await;
        gone
    }
}

/// Writes what comes to the file, without secrets, until nothing can come any more. What a full disk does not take is lost; the
/// program is not kept from going on.
async fn keep(mut pipe: Receiver, mut file: File, mut striker: Striker) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        let _ = file.write_all(&striker.strike(&chunk[..count]));
    }
    let _ = file.write_all(&striker.rest());
}

/// Ends a program that an earlier process talked to: nobody hears what it says. Whether nothing of it is left.
pub(super) async fn stop_earlier(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join("program")).unwrap_or_default();
    match Identity::parse(text.lines()) {
        Some(earlier) if earlier.is_alive() => process::stop_group(earlier.pid).await,
        _ => true,
    }
}

/// A fault of the program itself, whatever it was to do.
pub(super) fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Application, message)
}

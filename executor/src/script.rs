//! Scripts whose end is known whatever becomes of this process.
//!
//! They are children of a supervising process (`supervisor/`), which keeps what they print in files and notes how they
//! ended: so a later process can tell running from ended from lost, and wait for the end, without having been the parent.

use crate::driver::{Cancel, Context, Output, Probe, Work, stopped, unknown};
use crate::observer::Stream;
use crate::supervisor::{End, Progress, Start, Trace};
use crate::{private, process};
use lockstep_plan::{Failure, Kind, Outcome, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How much of what a script prints becomes its output, in bytes.
const OUTPUT_LIMIT: u64 = 1024 * 1024;

/// How often files are looked at for new lines. Only what is shown live depends on it, never what is decided.
const FOLLOW: Duration = Duration::from_millis(100);

/// How often the log of an earlier process's supervisor is looked at: it tells nobody else.
const WATCH: Duration = Duration::from_millis(10);

/// How often a script is given to a supervisor, when each is killed before the script has ended.
const TRIES: u32 = 5;

/// What people are told of a script that is repeated.
const BEGUN_AGAIN: &str = "the process that ran it was killed; it is begun again";

/// How many of the last lines a failure quotes.
const QUOTED_LINES: usize = 8;

/// What to run.
pub(crate) struct Script {
    pub text: String,
    pub directory: PathBuf,
    pub environment: Vec<(String, OsString)>,
    /// A locked file that stays locked until the script has ended.
    pub hold: Option<File>,
}

/// One supervised script.
#[derive(Clone)]
pub(crate) struct Supervised {
    /// Of its attempt.
    pub directory: PathBuf,
    /// Whether it may be begun again when nobody knows how it ended.
    pub repeatable: bool,
    pub output: Output,
    pub cancel: Cancel,
    pub context: Arc<Context>,
}

/// The supervisor of a script was killed from outside. Nothing of the script goes on.
enum Killed {
    /// Before it had begun the script.
    NotBegun,
    /// Nobody knows how far the script came.
    Unknown,
}

impl Supervised {
    /// Starts the script and waits for its end. Where its supervisor is killed meanwhile, another takes the supervisor's place, and
    /// the script is begun again where that is right.
    pub async fn run(self, script: Script) -> Outcome {
        let Script { text, directory, environment, hold } = script;
        let name = self.name();
        let mut trace = self.context.scripts.trace(&name);
        for _ in 0..TRIES {
            if self.cancel.is_cancelled() {
                return stopped();
            }
            let start = Start {
                name: name.clone(),
                text: text.clone(),
                directory: directory.clone(),
                environment: environment.clone(),
                strike: self.output.redactor.pieces().map(str::to_owned).collect(),
            };
            let held = match hold.as_ref().map(File::try_clone).transpose() {
                Ok(held) => held,
                Err(error) => return not_started(&directory, &error.to_string()),
            };
            let context = self.context.clone();
            let ended = Box::pin(async move { context.scripts.start(start, held).await });
            match self.follow(ended, &mut trace, &directory).await {
                Ok(outcome) => return outcome,
                Err(Killed::NotBegun) => {}
                Err(Killed::Unknown) if self.repeatable => {
                    self.output.say(BEGUN_AGAIN);
                    // Nobody shall take this for what the next try prints, which begins with removing it, too.
                    let _ = ["stdout", "stderr"].map(|name| fs::remove_file(self.path(name)));
                }
                Err(Killed::Unknown) => return unknown(),
            }
        }
        not_started(&directory, "its supervisor is killed from outside, again and again")
    }

    /// Names the attempt for the supervisor.
    fn name(&self) -> String {
        self.context.scripts.name(&self.directory)
    }

    /// What became of the script that an earlier process was to start. From now on that one starts it no more. `again` repeats it.
    pub async fn probe(self, again: Work<Outcome>) -> io::Result<Probe> {
        let trace = match self.context.scripts.earlier(&self.name()).await? {
            Ok(Some(trace)) => trace,
            Ok(None) => return Ok(Probe::NeverStarted),
            Err(_) => return Ok(Probe::Unknown),
        };
        let mut now = trace.clone();
        let supervised = now.is_supervised()?;
        now.update()?;
        Ok(match now.progress {
            Some(Progress::Ended(status)) => {
                self.lines().iter_mut().for_each(|lines| lines.close(&self.output));
                Probe::Ended(self.outcome(status))
            }
            _ if supervised => Probe::Running(Box::pin(async move {
                let mut trace = trace;
                let ended = Box::pin(watched(trace.clone()));
                match self.follow(ended, &mut trace, Path::new("")).await {
                    Ok(outcome) => outcome,
                    Err(_) if self.repeatable => {
                        self.output.say(BEGUN_AGAIN);
                        again.await
                    }
                    Err(_) => unknown(),
                }
            })),
            Some(Progress::Started { pid, at }) if !now.rebooted => self.end_left_behind(pid, at).await,
            _ => Probe::Unknown,
        })
    }

    /// The supervisor was killed, and so was the process that would have noticed. What it ran must not go on beside what
    /// undoes or repeats it.
    async fn end_left_behind(&self, pid: u32, at: u64) -> Probe {
        if !process::is_left_behind(pid, at) {
            return Probe::Unknown;
        }
        self.output.say("its supervisor was killed; what it ran goes on, and is ended");
        match process::stop_group(pid).await {
            true => Probe::Unknown,
            false => Probe::Ended(does_not_end()),
        }
    }

    /// Passes on what the script prints until it has ended or is to end.
    async fn follow(
        &self,
        mut ended: Work<End>,
        trace: &mut Trace,
        program: &Path,
    ) -> Result<Outcome, Killed> {
        let mut lines = self.lines();
        let mut followed = false;
        let end = loop {
            tokio::select! {
                biased;
                end = &mut ended => break Some(end),
                () = self.cancel.cancelled() => break None,
                () = tokio::time::sleep(FOLLOW) => {
                    followed = true;
                    lines.iter_mut().for_each(|lines| lines.pass_on(&self.output));
                }
            }
        };
        let cancelled = end.is_none();
        let end = match end {
            Some(end) => Some(end),
            None => self.stop(&mut ended, trace).await,
        };
        if followed || !matches!(end, Some(End::Ended { printed: false, .. })) {
            lines.iter_mut().for_each(|lines| lines.close(&self.output));
        }
        let outcome = match end {
            None => Outcome::Lost { message: "the script does not end, not even by SIGKILL".into() },
            Some(End::Ended { status: 0, printed: false }) => succeeded(""),
            Some(End::Ended { status: 0, .. }) => self.outcome(0),
            Some(End::Gone) => match self.supervisor_died(trace).await {
                Ok(Outcome::Failed(_)) | Err(_) if cancelled => stopped(),
                other => return other,
            },
            Some(_) if cancelled => stopped(),
            Some(End::Ended { status, .. }) => self.outcome(status),
            Some(End::NotStarted(why)) => not_started(program, &why),
            Some(End::Refused(message)) => Outcome::Lost { message },
            Some(End::Unknown(message)) => Outcome::Failed(Failure::new(Kind::Application, message)),
        };
        Ok(outcome)
    }

    /// What it prints, from the beginning.
    fn lines(&self) -> [Lines; 2] {
        [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)]
            .map(|(name, stream)| Lines::new(self.path(name), stream))
    }

    /// Ends the script, and everything of its process group; none when it does not end.
    async fn stop(&self, ended: &mut Work<End>, trace: &mut Trace) -> Option<End> {
        let begun = tokio::time::Instant::now();
        let pid = loop {
            let _ = trace.update();
            if let Some(Progress::Started { pid, .. }) = trace.progress {
                break pid;
            }
            // It is a moment from its start, or from the news of its end.
            tokio::select! {
                end = &mut *ended => return Some(end),
                () = tokio::time::sleep(WATCH) => {}
            }
            if begun.elapsed() > process::GRACE {
                return None;
            }
        };
        if !process::stop_group(pid).await {
            return None;
        }
        let end = tokio::time::timeout(process::GRACE, ended).await;
        Some(end.unwrap_or_else(|_| End::Unknown("its supervisor does not say how it ended".into())))
    }

    /// The supervisor was killed from outside. What it ran must not go on unseen.
    async fn supervisor_died(&self, trace: &mut Trace) -> Result<Outcome, Killed> {
        if let Err(error) = trace.update() {
            let message = format!("what became of it cannot be read: {error}");
            return Ok(Outcome::Failed(Failure::new(Kind::Application, message)));
        }
        // What comes in the log from now on is of another try.
        match trace.progress.take() {
            None => Err(Killed::NotBegun),
            Some(Progress::Ended(status)) => Ok(self.outcome(status)),
            Some(Progress::Started { pid, at })
                if process::is_left_behind(pid, at) && !process::stop_group(pid).await =>
            {
                Ok(does_not_end())
            }
            Some(_) => Err(Killed::Unknown),
        }
    }

    fn outcome(&self, code: i32) -> Outcome {
        if let Err(error) = self.redact_files() {
            let message = format!("what the script printed cannot be read back: {error}");
            return Outcome::Failed(Failure::new(Kind::Application, message));
        }
        let stdout = self.read("stdout");
        if code == 0 {
            return succeeded(&stdout);
        }
        let stderr = self.read("stderr");
        let said = if stderr.trim().is_empty() { &stdout } else { &stderr };
        let mut message = describe_exit(code);
        let lines = last_lines(said);
        if !lines.is_empty() {
            message.push_str(": ");
            message.push_str(&lines);
        }
        Outcome::Failed(Failure::new(Kind::Application, self.output.redactor.redact(&message)))
    }

    /// Secrets of several lines, as far as they were printed as they are, are struck out of what is kept; others are long.
    fn redact_files(&self) -> io::Result<()> {
        if !self.output.redactor.pieces().any(|piece| piece.contains('\n')) {
            return Ok(());
        }
        for name in ["stdout", "stderr"] {
            let bytes = match fs::read(self.path(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let redacted = self.output.redactor.redact(&text);
            if redacted != text {
                let mut file = private::file().truncate(true).open(self.path("redacted"))?;
                file.write_all(redacted.as_bytes())?;
                fs::rename(self.path("redacted"), self.path(name))?;
            }
        }
        Ok(())
    }

    /// At most [`OUTPUT_LIMIT`] of what was printed, with a note when there was more.
    fn read(&self, name: &str) -> String {
        let path = self.path(name);
        let mut bytes = Vec::new();
        let size = File::open(&path)
            .and_then(|file| {
                let size = file.metadata()?.len();
                file.take(OUTPUT_LIMIT).read_to_end(&mut bytes)?;
                Ok(size)
            })
            .unwrap_or(0);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if size > OUTPUT_LIMIT {
            text.push_str(&format!(
                "\n[cut: the first {OUTPUT_LIMIT} of {size} bytes; all of it is in `{}`]",
                path.display()
            ));
        }
        text
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn succeeded(stdout: &str) -> Outcome {
    let text =
        stdout.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(stdout);
    Outcome::Succeeded { outputs: BTreeMap::from([("stdout".to_string(), Value::Text(text.to_string()))]) }
}

fn not_started(program: &Path, why: &str) -> Outcome {
    let message = format!("the script could not be started in `{}`: {why}", program.display());
    Outcome::Failed(Failure::new(Kind::Application, message))
}

fn does_not_end() -> Outcome {
    Outcome::Lost { message: "the script's supervisor was killed, and what it ran does not end".into() }
}

/// The end of a script that another process's supervisor looks after.
async fn watched(mut trace: Trace) -> End {
    loop {
        // In this order: it may note the end just before its own.
        let supervised = trace.is_supervised();
        if let Err(error) = trace.update() {
            return End::Unknown(format!("what becomes of it cannot be read: {error}"));
        }
        match (trace.progress, supervised) {
            (Some(Progress::Ended(status)), _) => return End::Ended { status, printed: true },
            (_, Ok(false)) => return End::Gone,
            (_, Err(error)) => return End::Unknown(format!("what becomes of it cannot be read: {error}")),
            (_, Ok(true)) => tokio::time::sleep(WATCH).await,
        }
    }
}

/// The exit status as a shell would give it: 128 and the signal's number for a process that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// What an exit status of a shell means.
pub(crate) fn describe_exit(code: i32) -> String {
    match code {
        126 => "exit status 126 (a command could not be executed)".into(),
        127 => "exit status 127 (a command was not found)".into(),
        129..=192 => format!("exit status {code} (ended by signal {})", code - 128),
        _ => format!("exit status {code}"),
    }
}

/// The last few lines of a text, on one line each.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let quoted: Vec<String> = lines[lines.len().saturating_sub(QUOTED_LINES)..]
        .iter()
        .map(|line| line.chars().take(300).collect())
        .collect();
    quoted.join("\n")
}

/// Reads a growing file line by line, as far as a person could want to follow it.
struct Lines {
    path: PathBuf,
    stream: Stream,
    at: u64,
    /// The beginning of a line whose end has not been written.
    rest: Vec<u8>,
    closed: bool,
}

impl Lines {
    fn new(path: PathBuf, stream: Stream) -> Lines {
        Lines { path, stream, at: 0, rest: Vec::new(), closed: false }
    }

    /// Passes on what was written since. A file that cannot be read is noticed where its content counts.
    fn pass_on(&mut self, output: &Output) {
        if !self.closed {
            let _ = self.read(output);
            if self.at >= OUTPUT_LIMIT {
                self.end(output);
            }
        }
    }

    /// As [`Lines::pass_on`], for the last time.
    fn close(&mut self, output: &Output) {
        self.pass_on(output);
        self.end(output);
    }

    fn end(&mut self, output: &Output) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if !self.rest.is_empty() {
            output.line(self.stream, &String::from_utf8_lossy(&self.rest));
        }
        if self.at >= OUTPUT_LIMIT {
            output.say(&format!(
                "it prints more than is followed here; all of it is in `{}`",
                self.path.display()
            ));
        }
    }

    fn read(&mut self, output: &Output) -> io::Result<()> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() <= self.at {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut new = Vec::new();
        file.take(OUTPUT_LIMIT - self.at).read_to_end(&mut new)?;
        self.at += new.len() as u64;
        for line in new.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(line);
            if line.ends_with(b"\n") {
                output.line(self.stream, String::from_utf8_lossy(&self.rest).trim_end_matches(['\n', '\r']));
                self.rest.clear();
            }
        }
        Ok(())
    }
}

/// Runs a short command to its end in a session of its own: its exit status and the end of what it printed to `log`.
/// It is stopped when `cancel` says so or its time is up; then there is no status.
pub(crate) async fn run_briefly(
    mut command: Command,
    log: &Path,
    limit: Duration,
    cancel: &Cancel,
) -> io::Result<(Option<i32>, String)> {
    let file = File::create(log)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let spawned = process::spawn(command)?;
    let status = tokio::select! {
        status = spawned.ended => Some(status.map_err(io::Error::other)??),
        () = tokio::time::sleep(limit) => None,
        () = cancel.cancelled() => None,
    };
    if status.is_none() {
        process::stop_group(spawned.pid).await;
    }
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    Ok((status.map(exit_code), last_lines(&text)))
}

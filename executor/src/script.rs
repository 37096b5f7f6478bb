//! Scripts whose end is known whatever becomes of this process.
//!
//! A small supervising shell runs the script in a session of its own, its output going to files. It holds a lock (its
//! standard input is the lock file) as long as it lives, and leaves the exit status in a file: so a later process can
//! tell running from ended from lost, and wait for the end, without having been the parent.
//!
//! The lock file names the epoch of whoever asked for the attempt last. A process that a later one has replaced, having been
//! stopped for a while, finds a higher one there and starts nothing.

use crate::driver::{Cancel, Output, Probe, Work, stopped};
use crate::observer::Stream;
use crate::process::{self, Spawned};
use crate::strike;
use lockstep_plan::{Failure, Kind, Outcome, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The trap is a handler, not "ignore", so that the script itself does not inherit it.
const SUPERVISOR: &str = r#"trap : TERM INT HUP
echo $$ >"$1/started" || exit 1
sh "$1/script" </dev/null >"$1/stdout" 2>"$1/stderr"
echo $? >"$1/exit""#;

/// How much of what a script prints becomes its output, in bytes.
const OUTPUT_LIMIT: u64 = 1024 * 1024;

/// How often files are looked at for new lines. Only what is shown live depends on it, never what is decided.
const FOLLOW: Duration = Duration::from_millis(100);

/// How long somebody who holds the lock may take to say that the script was started.
const START_PATIENCE: Duration = Duration::from_millis(500);
/// How long a lock may be held by nobody in particular: a process that is being started holds what was open beside it.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(5);

/// How many of the last lines a failure quotes.
const QUOTED_LINES: usize = 8;

/// What to run.
pub(crate) struct Script {
    pub text: String,
    pub directory: PathBuf,
    pub environment: Vec<(String, OsString)>,
    pub without: Vec<String>,
    /// A locked file that stays locked until the script has ended.
    pub hold: Option<File>,
}

/// The folder of one supervised script.
#[derive(Clone)]
pub(crate) struct Supervised {
    pub directory: PathBuf,
    pub output: Output,
    pub cancel: Cancel,
    /// Of the process that asks for it.
    pub epoch: u64,
}

/// Why a script was not started.
enum NotStarted {
    /// A later process carries the run out, or the script's lock is held.
    NotOurs(String),
    Failed(io::Error),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        NotStarted::Failed(error)
    }
}

impl Supervised {
    /// Starts the script and waits for its end.
    pub async fn run(self, script: Script) -> Outcome {
        let program = script.directory.clone();
        let spawned = match self.lock().await {
            Ok(lock) => self.spawn(script, lock),
            Err(error) => Err(error),
        };
        match spawned {
            Ok(Spawned { pid, ended }) => self.follow(Some(pid), ended).await,
            Err(NotStarted::NotOurs(message)) => Outcome::Lost { message },
            Err(NotStarted::Failed(error)) => {
                let message = format!("the script could not be started in `{}`: {error}", program.display());
                Outcome::Failed(Failure::new(Kind::Application, message))
            }
        }
    }

    /// The lock of the attempt.
    async fn lock(&self) -> Result<File, NotStarted> {
        let lock = self.lock_file()?;
        let begun = tokio::time::Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() > LOCK_PATIENCE => {
                    let message = "another process works on this attempt of the step".into();
                    return Err(NotStarted::NotOurs(message));
                }
                Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(START_PAUSE).await,
            }
        }
    }

    fn spawn(&self, script: Script, mut lock: File) -> Result<Spawned, NotStarted> {
        let before = self.enter(&mut lock)?;
        fs::write(self.path("script"), &script.text)?;
        fs::write(self.path("boot"), process::boot_id())?;
        // What an attempt of the same key left that is being repeated.
        if before {
            for name in ["started", "exit"] {
                remove_if_there(&self.path(name))?;
            }
        }
        let mut command = Command::new("sh");
        let secret = !self.output.redactor.is_empty();
        let supervisor = if secret { strike::SUPERVISOR } else { SUPERVISOR };
        command.args(["-c", supervisor, "lockstep"]).arg(&self.directory).current_dir(&script.directory);
        if secret {
            command.envs(strike::environment(&self.output.redactor)?);
        }
        for name in &script.without {
            command.env_remove(name);
        }
        command.envs(script.environment).stdin(lock).stderr(Stdio::null());
        match script.hold {
            Some(file) => command.stdout(file),
            None => command.stdout(Stdio::null()),
        };
        Ok(process::spawn(command)?)
    }

    fn lock_file(&self) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        File::options().read(true).write(true).create(true).truncate(false).open(self.path("lock"))
    }

    /// Writes who asks for the attempt now, which whoever asked before may do no longer. True when somebody has.
    fn enter(&self, lock: &mut File) -> Result<bool, NotStarted> {
        let mut before = String::new();
        lock.rewind()?;
        lock.read_to_string(&mut before)?;
        let words: Vec<&str> = before.split_whitespace().collect();
        let epoch = if let ["epoch", epoch, ..] = words[..] { epoch.parse().ok() } else { None };
        if epoch.is_some_and(|epoch: u64| epoch > self.epoch) {
            let message =
                format!("a later process carries the run out ({}, this is {})", before.trim(), self.epoch);
            return Err(NotStarted::NotOurs(message));
        }
        lock.rewind()?;
        lock.set_len(0)?;
        writeln!(lock, "epoch {} process {}", self.epoch, std::process::id())?;
        Ok(!before.is_empty())
    }

    /// What became of the script that an earlier process was to start. From now on that one starts it no more. `start`
    /// starts it, for the case that this turns out only later.
    pub async fn probe(self, start: Work<Outcome>) -> io::Result<Probe> {
        let mut lock = self.lock_file()?;
        let begun = tokio::time::Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::Error(error)) => return Err(error),
                Err(fs::TryLockError::WouldBlock) => {}
            }
            // Another process that was being started at the moment of the crash holds the lock for an instant, too.
            let started = self.path("started").exists();
            if started || begun.elapsed() > START_PATIENCE {
                if !started {
                    let mut holder = String::new();
                    lock.read_to_string(&mut holder)?;
                    let holder = holder.trim();
                    self.output.say(&format!(
                        "an earlier process ({holder}) was about to start it: it is waited for"
                    ));
                }
                return Ok(Probe::Running(self.attach(lock, start)?));
            }
            tokio::time::sleep(START_PAUSE).await;
        }
        match self.enter(&mut lock) {
            Ok(_) => {}
            Err(NotStarted::Failed(error)) => return Err(error),
            Err(NotStarted::NotOurs(_)) => return Ok(Probe::Unknown),
        }
        // Not by closing it: a process that is being started has it open for a moment.
        lock.unlock()?;
        // Nobody holds it, so the supervisor is gone, or never was.
        if !self.path("started").exists() {
            return Ok(Probe::NeverStarted);
        }
        Ok(match self.exit_code() {
            Some(code) => Probe::Ended(self.outcome(code)),
            None => self.end_left_behind().await,
        })
    }

    /// The supervisor was killed, and so was the process that would have noticed. What it ran must not go on beside what
    /// undoes or repeats it.
    async fn end_left_behind(&self) -> Probe {
        // Numbers of processes mean something only until the machine is started again.
        let same_boot = fs::read_to_string(self.path("boot")).is_ok_and(|boot| boot == process::boot_id());
        let left = self.supervisor().filter(|pid| same_boot && process::is_left_behind(*pid));
        let Some(pid) = left else { return Probe::Unknown };
        self.output.say("the script's shell was killed; what it ran goes on, and is ended");
        match process::stop_group(pid).await {
            true => Probe::Unknown,
            false => Probe::Ended(does_not_end()),
        }
    }

    /// Waits for the end of a script that runs: a thread blocks on its lock.
    fn attach(self, lock: File, start: Work<Outcome>) -> io::Result<Work<Outcome>> {
        let (sender, ended) = oneshot::channel();
        std::thread::Builder::new().name("attached".into()).stack_size(128 * 1024).spawn(move || {
            let _ = lock.lock_shared();
            let _ = sender.send(());
        })?;
        Ok(Box::pin(async move {
            let cancel = self.cancel.clone();
            let outcome = self.clone().follow(None, ended).await;
            // Whoever held the lock was killed just before it started the script.
            if !self.path("started").exists() && !cancel.is_cancelled() { start.await } else { outcome }
        }))
    }

    /// Passes on what the script prints until its supervisor has ended or is to end.
    async fn follow(self, pid: Option<u32>, ended: impl Future + Send) -> Outcome {
        tokio::pin!(ended);
        let (done, finished) = watch::channel(false);
        let followers = [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)].map(|(name, stream)| {
            let lines = Lines::new(self.path(name));
            tokio::spawn(lines.follow(self.output.clone(), stream, finished.clone()))
        });
        let cancelled = tokio::select! {
            _ = &mut ended => false,
            () = self.cancel.cancelled() => true,
        };
        let gone = match (cancelled, pid.or_else(|| self.supervisor())) {
            (true, Some(pid)) => process::stop_group(pid).await,
            // It has not said its number yet: it is a moment from its start, and nothing can be stopped.
            (true, None) => tokio::time::timeout(process::GRACE, &mut ended).await.is_ok(),
            (false, _) => true,
        };
        done.send_replace(true);
        for follower in followers {
            let _ = follower.await;
        }
        match (gone, self.exit_code()) {
            (false, _) => Outcome::Lost { message: "the script does not end, not even by SIGKILL".into() },
            (true, Some(0)) => self.outcome(0),
            (true, _) if cancelled => stopped(),
            (true, Some(code)) => self.outcome(code),
            (true, None) => self.supervisor_died().await,
        }
    }

    /// The supervisor was killed from outside. What it ran must not go on unseen.
    async fn supervisor_died(&self) -> Outcome {
        match self.supervisor() {
            Some(pid) if !process::stop_group(pid).await => does_not_end(),
            _ => Outcome::Failed(Failure::new(Kind::Application, "the script was killed from outside")),
        }
    }

    fn outcome(&self, code: i32) -> Outcome {
        if let Err(error) = self.redact_files() {
            let message = format!("what the script printed cannot be read back: {error}");
            return Outcome::Failed(Failure::new(Kind::Application, message));
        }
        let stdout = self.read("stdout");
        if code == 0 {
            let text = stdout
                .strip_suffix('\n')
                .map(|text| text.strip_suffix('\r').unwrap_or(text))
                .unwrap_or(&stdout);
            let outputs = BTreeMap::from([("stdout".to_string(), Value::Text(text.to_string()))]);
            return Outcome::Succeeded { outputs };
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
        if self.output.redactor.is_empty() {
            return Ok(());
        }
        for name in ["stdout", "stderr"] {
            let text = String::from_utf8_lossy(&fs::read(self.path(name))?).into_owned();
            let redacted = self.output.redactor.redact(&text);
            if redacted != text {
                fs::write(self.path("redacted"), redacted)?;
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

    /// Looked at only when the lock is free. Whoever was killed before the status was written left an empty file.
    fn exit_code(&self) -> Option<i32> {
        fs::read_to_string(self.path("exit")).ok()?.trim().parse().ok()
    }

    fn supervisor(&self) -> Option<u32> {
        fs::read_to_string(self.path("started")).ok()?.trim().parse().ok()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn does_not_end() -> Outcome {
    Outcome::Lost { message: "the script's shell was killed, and what it ran does not end".into() }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
    at: u64,
    /// The beginning of a line whose end has not been written.
    rest: Vec<u8>,
}

impl Lines {
    fn new(path: PathBuf) -> Lines {
        Lines { path, at: 0, rest: Vec::new() }
    }

    async fn follow(mut self, output: Output, stream: Stream, mut finished: watch::Receiver<bool>) {
        loop {
            // Read after the end is known, so that nothing printed before it is missed.
            let last = tokio::time::timeout(FOLLOW, finished.wait_for(|done| *done)).await.is_ok();
            let _ = self.pass_on(&output, stream);
            if last || self.at >= OUTPUT_LIMIT {
                self.close(&output, stream);
                return;
            }
        }
    }

    fn close(&mut self, output: &Output, stream: Stream) {
        if !self.rest.is_empty() {
            output.line(stream, &String::from_utf8_lossy(&self.rest));
        }
        if self.at >= OUTPUT_LIMIT {
            output.say(&format!(
                "it prints more than is followed here; all of it is in `{}`",
                self.path.display()
            ));
        }
    }

    fn pass_on(&mut self, output: &Output, stream: Stream) -> io::Result<()> {
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
                output.line(stream, String::from_utf8_lossy(&self.rest).trim_end_matches(['\n', '\r']));
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

//! The process of a service: starting it so that it outlives us and is found again, checking it, stopping it.

use super::release::Release;
use super::root::{Root, RootLock, remove_if_there, wrong};
use crate::driver::{Attempt, Cancel, Canceller, Context};
use crate::process::{self, Identity};
use crate::script;
use lockstep_plan::{Failure, Kind};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often a check is repeated, at first and at most.
const CHECK_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// A service that was just started has to stand for that long: its check may look at what an earlier one left, and a
/// start command that only hands it over has to be seen to end.
const SETTLING: Duration = Duration::from_millis(200);

/// How long the check of a service may take that is only looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The longest that a `stop` command may take before signals are sent.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// The rest of a step's time that is kept for telling that a check never passed.
const RESERVE: Duration = Duration::from_secs(1);

/// Writes down who it is, lets go of the lock (its standard output) by becoming the service. Whoever gets the lock
/// later finds either no process at all or its number: there is no time in between.
fn launcher() -> String {
    format!(
        "{{ printf '%s\\n' \"$LOCKSTEP_RELEASE\"\n{}\n}} >\"$1/service.pid.new\" || exit 1\n\
         mv \"$1/service.pid.new\" \"$1/service.pid\" || exit 1\n\
         exec sh -c \"$2\" </dev/null >>\"$1/log/service.log\" 2>&1",
        process::PRINT_IDENTITY
    )
}

/// What was started last on a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    /// Which release.
    pub release: String,
    identity: Identity,
    /// Its `start` command has ended well and left nothing behind: something else keeps the service running.
    elsewhere: bool,
}

impl Started {
    pub fn read(root: &Root) -> Result<Option<Started>, Failure> {
        let path = root.join("service.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(format!("`{}` cannot be read: {error}", path.display()))),
        };
        let mut lines = text.lines();
        let started = (|| {
            let release = lines.next()?.to_string();
            let identity = Identity::parse(&mut lines)?;
            Some(Started { release, identity, elsewhere: lines.next() == Some("elsewhere") })
        })();
        started
            .map(Some)
            .ok_or_else(|| wrong(format!("`{}` is damaged; remove it when nothing runs", path.display())))
    }

    fn note_elsewhere(&self, root: &Root) -> Result<(), Failure> {
        let path = root.join("service.pid");
        let write = || -> io::Result<()> {
            let text = fs::read_to_string(&path)?;
            let new = root.join("service.pid.new");
            fs::write(&new, format!("{text}elsewhere\n"))?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| wrong(format!("`{}` cannot be written: {error}", path.display())))
    }

    pub fn is_running(&self) -> bool {
        self.elsewhere || self.identity.is_alive()
    }
}

/// The release that runs, if one does.
pub(super) fn running(root: &Root) -> Result<Option<String>, Failure> {
    Ok(Started::read(root)?.filter(Started::is_running).map(|started| started.release))
}

/// Whether the service runs as far as anybody can tell: its process is alive, or, should another keep it running, its
/// check passes.
pub(super) async fn works(root: &Root, context: &Context, cancel: &Cancel) -> Result<bool, Failure> {
    let Some(started) = Started::read(root)? else { return Ok(false) };
    if started.is_running() {
        return Ok(true);
    }
    let Ok(release) = Release::read(root, &started.release) else { return Ok(false) };
    if release.check.is_empty() {
        return Ok(false);
    }
    let command = command(root, &release, context, ["-c", &release.check]);
    let result = script::run_briefly(command, &root.join("log/check.log"), LOOK, cancel).await;
    Ok(matches!(result, Ok((Some(0), _))))
}

/// Stops whatever runs: by its own `stop` command, and by signals what that leaves.
pub(super) async fn stop(root: &Root, attempt: &Attempt) -> Result<(), Failure> {
    let Some(started) = Started::read(root)? else { return Ok(()) };
    let pid = started.identity.pid;
    if started.is_running() {
        attempt.output.say(&format!("stopping release {}", started.release));
        match Release::read(root, &started.release) {
            Ok(release) if !release.stop.is_empty() => {
                stop_by_command(root, &release, attempt).await?;
                if started.identity.is_alive() {
                    process::wait_gone(pid, process::GRACE).await;
                }
            }
            Ok(_) => {}
            Err(failure) => attempt.output.say(&failure.message),
        }
        if started.identity.is_alive() && !process::stop_group(pid).await {
            return Err(wrong(format!("release {} (process {pid}) does not end", started.release)));
        }
    }
    let path = root.join("service.pid");
    remove_if_there(&path).map_err(|error| wrong(format!("`{}` cannot be removed: {error}", path.display())))
}

async fn stop_by_command(root: &Root, release: &Release, attempt: &Attempt) -> Result<(), Failure> {
    let log = root.join("log/stop.log");
    let command = command(root, release, &attempt.context, ["-c", &release.stop]);
    let result = script::run_briefly(command, &log, STOP_PATIENCE, &attempt.cancel).await;
    match result {
        Ok((Some(0), _)) => {}
        // It is stopped by signals next, which is what counts.
        Ok((Some(code), text)) => {
            attempt.output.say(&format!("its stop command: {}: {text}", script::describe_exit(code)));
        }
        Ok((None, _)) => attempt.output.say("its stop command took too long"),
        Err(error) => return Err(wrong(format!("the stop command cannot be run: {error}"))),
    }
    Ok(())
}

/// Starts a release, unless it runs, and waits until its check passes.
pub(super) async fn start(
    root: &Root,
    lock: &RootLock,
    release: &Release,
    attempt: &Attempt,
) -> Result<(), Failure> {
    if release.start.is_empty() {
        return Ok(());
    }
    let mut ended = None;
    let mut log = Log { root, from: 0 };
    let settled = Instant::now() + SETTLING;
    if running(root)?.as_deref() != Some(release.name.as_str()) {
        attempt.output.say(&format!("starting release {}", release.name));
        log.from = log.length();
        let launched = launch(root, lock, release, attempt).await;
        ended = Some(
            launched
                .map_err(|error| wrong(format!("release {} cannot be started: {error}", release.name)))?,
        );
    }
    let (canceller, cancel) = Canceller::new();
    let checked = check(&log, release, attempt, &cancel, ended.is_some().then_some(settled));
    tokio::pin!(checked);
    tokio::select! {
        result = &mut checked => result,
        failure = death(&log, release, ended) => {
            canceller.cancel();
            let _ = checked.await;
            Err(failure)
        }
        () = attempt.cancel.cancelled() => {
            canceller.cancel();
            checked.await
        }
    }
}

type Ended = oneshot::Receiver<io::Result<ExitStatus>>;

/// Returns once the process has become the service, or ended.
async fn launch(root: &Root, lock: &RootLock, release: &Release, attempt: &Attempt) -> io::Result<Ended> {
    fs::create_dir_all(root.join("log"))?;
    let launcher = launcher();
    let start = [
        OsStr::new("-c"),
        launcher.as_ref(),
        "lockstep".as_ref(),
        root.path().as_ref(),
        release.start.as_ref(),
    ];
    // The other end is closed when the launcher becomes the service; until then it gets what goes wrong.
    let (mut trouble, writer) = io::pipe()?;
    let mut command = command(root, release, &attempt.context, start);
    command.stdin(Stdio::null()).stdout(lock.file.try_clone()?).stderr(writer);
    let ended = process::spawn(command)?.ended;
    let said = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        trouble.read_to_string(&mut said).map(|_| said)
    });
    let said = said.await.map_err(io::Error::other)??;
    if said.is_empty() { Ok(ended) } else { Err(io::Error::other(script::last_lines(&said))) }
}

/// Returns when the service's process has ended with an error; else never.
async fn death(log: &Log<'_>, release: &Release, ended: Option<Ended>) -> Failure {
    let root = log.root;
    if let Some(ended) = ended
        && let Ok(Ok(status)) = ended.await
    {
        let code = script::exit_code(status);
        if code != 0 {
            let exit = script::describe_exit(code);
            return wrong(format!("release {} has ended: {exit}{}", release.name, log.end()));
        }
        let noted = Started::read(root).and_then(|started| match started {
            Some(started) if !started.identity.is_alive() => started.note_elsewhere(root),
            _ => Ok(()),
        });
        if let Err(failure) = noted {
            return failure;
        }
    }
    std::future::pending().await
}

/// `sh` in the release's directory, told what it works on.
fn command<S: AsRef<OsStr>>(
    root: &Root,
    release: &Release,
    context: &Context,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(process::SHELL);
    command.args(arguments).current_dir(root.release(&release.name));
    for name in context.secrets.variables() {
        command.env_remove(name);
    }
    command
        .env("LOCKSTEP_ROOT", root.path())
        .env("LOCKSTEP_RELEASE", &release.name)
        .env("LOCKSTEP_SERVICE", &release.service)
        .env("LOCKSTEP_TARGET", &release.target);
    command
}

/// Repeats the check until it passes or time is up; not before `settled`, for a service that was just started.
async fn check(
    service_log: &Log<'_>,
    release: &Release,
    attempt: &Attempt,
    cancel: &Cancel,
    settled: Option<Instant>,
) -> Result<(), Failure> {
    let root = service_log.root;
    if let Some(settled) = settled
        && release.check.is_empty()
    {
        tokio::time::sleep_until(settled).await;
    }
    if release.check.is_empty() {
        return Ok(());
    }
    let passed = Duration::from_millis(crate::id::now().saturating_sub(attempt.commanded_at));
    let rest = attempt.timeout.saturating_sub(passed);
    let deadline = Instant::now() + rest.saturating_sub(RESERVE.min(rest / 10));
    let log = root.join("log/check.log");
    let mut pause = CHECK_PAUSE.0;
    loop {
        let command = command(root, release, &attempt.context, ["-c", &release.check]);
        let limit = deadline.saturating_duration_since(Instant::now());
        let result = script::run_briefly(command, &log, limit, cancel).await;
        let (code, text) = result.map_err(|error| wrong(format!("the check cannot be run: {error}")))?;
        if code == Some(0) {
            if let Some(settled) = settled {
                tokio::time::sleep_until(settled).await;
            }
            // It may have looked at what an earlier release left: the process has to be there too.
            if running(root)?.is_some() {
                return Ok(());
            }
        }
        if settled.is_none() && running(root)?.is_none() {
            return Err(wrong(format!("release {} has ended{}", release.name, service_log.end())));
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline.min(Instant::now() + pause)) => {}
            () = cancel.cancelled() => {}
        }
        if cancel.is_cancelled() || Instant::now() >= deadline {
            let exit = code.map_or("it did not end".into(), script::describe_exit);
            let said = if text.is_empty() { String::new() } else { format!(": {text}") };
            let message = format!(
                "the check of release {} never passed: `{}`: {exit}{said}{}",
                release.name,
                release.check,
                service_log.end()
            );
            return Err(Failure::new(Kind::Verification, message));
        }
        pause = (pause * 3 / 2).min(CHECK_PAUSE.1);
    }
}

/// What services print, from where the one that was just started began.
struct Log<'a> {
    root: &'a Root,
    from: u64,
}

impl Log<'_> {
    fn length(&self) -> u64 {
        fs::metadata(self.root.join("log/service.log")).map_or(0, |metadata| metadata.len())
    }

    /// Its last lines, as the end of a message.
    fn end(&self) -> String {
        let start = self.from.max(self.length().saturating_sub(4096));
        let mut bytes = Vec::new();
        // Without a log the message goes without.
        let _ = fs::File::open(self.root.join("log/service.log")).and_then(|mut file| {
            file.seek(io::SeekFrom::Start(start))?;
            file.read_to_end(&mut bytes)
        });
        let lines = script::last_lines(&String::from_utf8_lossy(&bytes));
        if lines.is_empty() { String::new() } else { format!("; the service's log ends:\n{lines}") }
    }
}

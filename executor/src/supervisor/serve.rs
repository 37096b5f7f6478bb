//! The supervising process itself.

use super::End;
use super::log::{Fence, Log};
use super::message::{Connection, Hello, Reply, Request, Start, frame, send};
use crate::script::exit_code;
use crate::strike::Striker;
use crate::{private, process};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_setfl};
use std::fs::{self, File};
use std::io::{self, PipeReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// What `sh` is told. The script comes in a variable rather than an argument, which everybody could see, and rather than a file,
/// which costs as much as all the rest.
const RUN_VARIABLE: &str = r#"eval "unset LOCKSTEP_SCRIPT; $LOCKSTEP_SCRIPT""#;

/// The longest script that is handed over in a variable, in bytes; Linux takes 128 KB.
const LONGEST_VARIABLE: usize = 100_000;

/// How much of what is in a pipe is taken once its writer has ended: what others write to it meanwhile is not waited for.
const LAST: usize = 1024 * 1024;

/// How long a script may take until what it prints is waited for. Most print little, or nothing, and have ended by then: what
/// they printed is in the pipe, and having the kernel tell of it would cost more than taking it.
const UNWATCHED: Duration = Duration::from_millis(20);

struct Supervisor {
    run: PathBuf,
    /// Whether nothing of the run's attempts was there when this process began: no attempt has printed before.
    first: bool,
    log: Log,
    fence: Fence,
    replies: UnboundedSender<Reply>,
}

pub(super) async fn serve(socket: UnixStream) -> io::Result<()> {
    let mut connection = Connection::new(socket)?;
    let Hello { run, epoch } = loop {
        if let Some(hello) = connection.next()? {
            break hello;
        }
        if !connection.more().await? {
            return Ok(());
        }
    };
    let (replies, said) = unbounded_channel();
    let log = Log::open(&run, epoch)?;
    let first = epoch == 1 && fs::read_dir(&run)?.count() == 1;
    let supervisor = Arc::new(Supervisor { fence: Fence::open(&run, epoch)?, run, first, log, replies });
    let (mut connection, writer) = connection.split()?;
    tokio::spawn(answer(writer, said));
    let mut scripts = JoinSet::new();
    loop {
        while let Some(Request { id, start, holds }) = connection.next()? {
            let hold = if holds { connection.file() } else { None };
            match supervisor.start(&start) {
                Ok(script) => drop(scripts.spawn(script.supervise(supervisor.clone(), id, start.name, hold))),
                Err(end) => drop(supervisor.replies.send(Reply { id, end })),
            }
        }
        tokio::select! {
            // Whoever asked was killed while it did: so be it.
            more = connection.more() => if !more.unwrap_or(false) { break },
            Some(_) = scripts.join_next() => {}
        }
    }
    while scripts.join_next().await.is_some() {}
    Ok(())
}

/// Sends replies, as many at once as there are.
async fn answer(stream: tokio::net::UnixStream, mut replies: UnboundedReceiver<Reply>) {
    let mut bytes = Vec::new();
    while let Some(reply) = replies.recv().await {
        let _ = frame(&reply, &mut bytes);
        while let Ok(reply) = replies.try_recv() {
            let _ = frame(&reply, &mut bytes);
        }
        // When nobody is there to hear it, the log tells it.
        let _ = send(&stream, &bytes, None).await;
        bytes.clear();
    }
}

/// A script that runs.
struct Script {
    child: Child,
    stdout: Printed,
    stderr: Printed,
}

impl Supervisor {
    fn start(&self, start: &Start) -> Result<Script, End> {
        let failed = |error: io::Error| End::NotStarted(error.to_string());
        let _entered = match self.fence.enter().map_err(failed)? {
            Ok(entered) => entered,
            Err(why) => return Err(End::Refused(why)),
        };
        let folder = self.run.join(&start.name);
        let file = folder.join("script");
        let mut command = Command::new(process::SHELL);
        if start.text.len() <= LONGEST_VARIABLE {
            command.args(["-c", RUN_VARIABLE]).env("LOCKSTEP_SCRIPT", &start.text);
        } else {
            let written = create(&file).and_then(|mut to| {
                to.set_len(0)?;
                to.write_all(start.text.as_bytes())
            });
            written.map_err(failed)?;
        }
        command.arg(&file);
        if !self.first {
            // An attempt that is repeated prints anew.
            remove(&folder.join("stdout")).and_then(|()| remove(&folder.join("stderr"))).map_err(failed)?;
        }
        let (stdout, out) = Printed::new(&folder, "stdout", start).map_err(failed)?;
        let (stderr, err) = Printed::new(&folder, "stderr", start).map_err(failed)?;
        command.envs(start.environment.iter().map(|(name, value)| (name, value)));
        // There is nothing in this process's own standard input.
        command.current_dir(&start.directory).stdin(Stdio::inherit()).stdout(out).stderr(err);
        // This process leads a session without a terminal; a group within it is as good as a session.
        command.process_group(0);
        self.log.starting(&start.name).map_err(failed)?;
        let child = command.spawn().map_err(failed)?;
        if let Some(pid) = child.id() {
            // Where that cannot be written, whoever comes later knows that it was being started.
            let _ = self.log.started(&start.name, pid);
        }
        Ok(Script { child, stdout, stderr })
    }
}

impl Script {
    async fn supervise(mut self, supervisor: Arc<Supervisor>, id: u64, name: String, hold: Option<OwnedFd>) {
        let status = match tokio::time::timeout(UNWATCHED, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => loop {
                tokio::select! {
                    status = self.child.wait() => break status,
                    () = self.stdout.more() => {}
                    () = self.stderr.more() => {}
                }
            },
        };
        self.stdout.last();
        self.stderr.last();
        let problem = self.stdout.problem.take().or(self.stderr.problem.take());
        let end = match (status, problem) {
            (Ok(status), None) => {
                let status = exit_code(status);
                let _ = supervisor.log.ended(&name, status);
                let printed = self.stdout.printed || self.stderr.printed;
                End::Ended { status, printed }
            }
            (Err(error), _) => End::Unknown(error.to_string()),
            (_, Some(problem)) => End::Unknown(format!("what it printed cannot be kept: {problem}")),
        };
        drop(hold);
        let _ = supervisor.replies.send(Reply { id, end });
        // What it left running in the background may print still.
        tokio::join!(self.stdout.rest(), self.stderr.rest());
    }
}

/// What comes out of one pipe, and the file it goes to: made when there is something, for making a file takes long.
struct Printed {
    pipe: Pipe,
    path: PathBuf,
    file: Option<File>,
    striker: Striker,
    printed: bool,
    /// Why not all of it was kept.
    problem: Option<io::Error>,
}

/// The end of a pipe that is read from; reading from it never waits.
enum Pipe {
    /// The kernel tells nobody when there is something in it.
    Unwatched(PipeReader),
    /// It does.
    Watched(Receiver),
    /// Nobody can write to it any more.
    Closed,
}

impl Printed {
    fn new(folder: &Path, name: &str, start: &Start) -> io::Result<(Printed, Stdio)> {
        let (reader, writer) = io::pipe()?;
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let (pipe, striker) = (Pipe::Unwatched(reader), Striker::new(&start.strike));
        let path = folder.join(name);
        Ok((Printed { pipe, path, file: None, striker, printed: false, problem: None }, writer.into()))
    }

    /// The pipe, from now on watched; none where that cannot be.
    fn watched(&mut self) -> Option<&Receiver> {
        if let Pipe::Unwatched(_) = self.pipe
            && let Pipe::Unwatched(pipe) = std::mem::replace(&mut self.pipe, Pipe::Closed)
        {
            match Receiver::from_owned_fd_unchecked(pipe.into()) {
                Ok(pipe) => self.pipe = Pipe::Watched(pipe),
                Err(error) => self.problem = Some(error),
            }
        }
        match &self.pipe {
            Pipe::Watched(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// Takes what there is, once there is something.
    async fn more(&mut self) {
        if matches!(self.pipe, Pipe::Closed) {
            return std::future::pending().await;
        }
        let Some(pipe) = self.watched() else { return };
        let _ = pipe.readable().await;
        let mut chunk = [0; 16 * 1024];
        match pipe.try_read(&mut chunk) {
            Ok(0) => self.close(),
            Ok(count) => self.keep(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.close(),
        }
    }

    /// Takes what is in the pipe now.
    fn last(&mut self) {
        let mut chunk = [0; 16 * 1024];
        let mut taken = 0;
        while taken < LAST {
            // Not by way of the runtime, which may not have heard yet that there is something.
            let read = match &self.pipe {
                Pipe::Unwatched(pipe) => rustix::io::read(pipe, &mut chunk),
                Pipe::Watched(pipe) => rustix::io::read(pipe, &mut chunk),
                Pipe::Closed => break,
            };
            match read {
                Ok(0) => self.close(),
                Ok(count) => {
                    taken += count;
                    self.keep(&chunk[..count]);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let rest = self.striker.rest();
        self.write(&rest);
    }

    /// Takes everything until nobody can write any more.
    async fn rest(&mut self) {
        while !matches!(self.pipe, Pipe::Closed) {
            self.more().await;
        }
        let rest = self.striker.rest();
        self.write(&rest);
    }

    fn close(&mut self) {
        self.pipe = Pipe::Closed;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let struck = self.striker.strike(bytes);
        self.write(&struck);
    }

    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.problem.is_some() {
            return;
        }
        self.printed = true;
        let result = match &mut self.file {
            Some(file) => file.write_all(bytes),
            none => create(&self.path).and_then(|mut file| {
                file.write_all(bytes)?;
                *none = Some(file);
                Ok(())
            }),
        };
        self.problem = result.err();
    }
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), private::directory)?;
    private::file().append(true).open(path)
}

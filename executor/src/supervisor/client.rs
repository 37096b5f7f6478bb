//! The runner's side: starts its supervisor, asks it to start scripts, and hears how they ended.

use super::WORD;
use super::log::{Fence, Noted, Trace, folder, noted};
use super::message::{Connection, Hello, Reply, Request, Start, frame};
use crate::{private, process};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};

/// What became of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// It ended with that status, as a shell has it.
    Ended {
        status: i32,
        /// Whether it printed anything.
        printed: bool,
    },
    /// It could not be started.
    NotStarted(String),
    /// It was not started: a later process carries the run out.
    Refused(String),
    /// It ended, and something is not known that has to be.
    Unknown(String),
    /// The supervisor is gone.
    Gone,
}

/// The scripts of one run, for one process that carries it out.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// The folder of the run's attempts.
    run: PathBuf,
    epoch: u64,
    /// Environment variables that scripts must not inherit.
    without: Vec<String>,
    /// Scripts that may be asked about which earlier processes were to start.
    sought: OnceLock<BTreeSet<String>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    supervisor: Option<UnboundedSender<Asked>>,
    /// Nobody of a lower epoch starts scripts any more.
    raised: bool,
    /// What earlier supervisors noted until then of what is sought.
    earlier: Option<BTreeMap<String, Noted>>,
}

struct Asked {
    start: Start,
    hold: Option<OwnedFd>,
    end: oneshot::Sender<End>,
}

impl Scripts {
    pub fn new(run: PathBuf, epoch: u64, without: Vec<String>) -> Scripts {
        Scripts { run, epoch, without, sought: OnceLock::new(), state: Mutex::default() }
    }

    /// Names the attempt of that folder.
    pub fn name(&self, attempt: &Path) -> String {
        attempt.strip_prefix(&self.run).unwrap_or(attempt).to_string_lossy().into_owned()
    }

    /// Starts the supervisor, so that the first script does not wait for it.
    pub async fn prepare(&self) {
        // Whoever starts a script is told what is wrong.
        let _ = self.supervisor().await;
    }

    /// Has a script started; its end. `hold` stays open until then, whatever becomes of this process.
    pub async fn start(&self, start: Start, hold: Option<File>) -> End {
        let supervisor = match self.supervisor().await {
            Ok(Ok(supervisor)) => supervisor,
            Ok(Err(why)) => return End::Refused(why),
            Err(error) => return End::NotStarted(format!("its supervisor could not be started: {error}")),
        };
        let (end, ended) = oneshot::channel();
        // Who cannot hear it any more drops it.
        let _ = supervisor.send(Asked { start, hold: hold.map(OwnedFd::from), end });
        ended.await.unwrap_or(End::Gone)
    }

    /// What this process's own supervisor notes of a script.
    pub fn trace(&self, name: &str) -> Trace {
        Trace::new(&self.run, self.epoch, name)
    }

    /// Says which scripts [`Scripts::earlier`] will be asked about, by the folders of their attempts. Only the first time counts.
    pub fn seek<'a>(&self, attempts: impl Iterator<Item = &'a Path>) {
        self.sought.get_or_init(|| attempts.map(|attempt| self.name(attempt)).collect());
    }

    /// What an earlier supervisor noted of a script that was sought. From now on none starts it. The reason where a later process has taken the
    /// run over.
    pub async fn earlier(&self, name: &str) -> io::Result<Result<Option<Trace>, String>> {
        let mut state = self.state.lock().await;
        if let Err(why) = self.raise(&mut state).await? {
            return Ok(Err(why));
        }
        if state.earlier.is_none() {
            let none = BTreeSet::new();
            state.earlier = Some(noted(&self.run, self.epoch, self.sought.get().unwrap_or(&none))?);
        }
        Ok(Ok(state.earlier.as_ref().and_then(|earlier| earlier.get(name)).map(|noted| noted.trace(name))))
    }

    async fn raise(&self, state: &mut State) -> io::Result<Result<(), String>> {
        if !state.raised {
            private::directory(&folder(&self.run))?;
            if let Err(why) = Fence::open(&self.run, self.epoch)?.raise(&self.run).await? {
                return Ok(Err(why));
            }
            state.raised = true;
        }
        Ok(Ok(()))
    }

    async fn supervisor(&self) -> io::Result<Result<UnboundedSender<Asked>, String>> {
        let mut state = self.state.lock().await;
        if let Err(why) = self.raise(&mut state).await? {
            return Ok(Err(why));
        }
        if let Some(supervisor) = state.supervisor.as_ref().filter(|supervisor| !supervisor.is_closed()) {
            return Ok(Ok(supervisor.clone()));
        }
        let (supervisor, asked) = unbounded_channel();
        tokio::spawn(talk(self.launch()?, Hello { run: self.run.clone(), epoch: self.epoch }, asked));
        state.supervisor = Some(supervisor.clone());
        Ok(Ok(supervisor))
    }

    fn launch(&self) -> io::Result<Connection> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(this_program()?);
        command.arg(WORD).stdin(Stdio::null()).stdout(Stdio::null()).stderr(OwnedFd::from(theirs));
        command.current_dir("/");
        for name in &self.without {
            command.env_remove(name);
        }
        process::spawn(command)?;
        Connection::new(ours)
    }
}

/// This very program, even where another has replaced its file.
///
/// # Errors
/// The system does not tell where it is.
pub fn this_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// Passes on what is asked and said, until one side is gone.
async fn talk(mut connection: Connection, hello: Hello, mut asked: UnboundedReceiver<Asked>) {
    let mut waiting: BTreeMap<u64, oneshot::Sender<End>> = BTreeMap::new();
    let mut bytes = Vec::new();
    if frame(&hello, &mut bytes).is_err() || connection.send(&bytes, None).await.is_err() {
        return;
    }
    let mut id = 0;
    loop {
        tokio::select! {
            next = asked.recv() => {
                let Some(Asked { start, hold, end }) = next else { return };
                id += 1;
                bytes.clear();
                let request = Request { id, start, holds: hold.is_some() };
                if let Err(error) = frame(&request, &mut bytes) {
                    let _ = end.send(End::NotStarted(error.to_string()));
                    continue;
                }
                waiting.insert(id, end);
                if connection.send(&bytes, hold).await.is_err() {
                    return;
                }
            }
            more = connection.more() => {
                loop {
                    match connection.next() {
                        Ok(Some(Reply { id, end })) => if let Some(told) = waiting.remove(&id) {
                            let _ = told.send(end);
                        },
                        Ok(None) => break,
                        Err(_) => return,
                    }
                }
                if !more.unwrap_or(false) {
                    return;
                }
            }
        }
    }
}

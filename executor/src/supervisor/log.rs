//! What supervisors of a run note, for whoever carries the run out later.
//!
//! ```text
//! attempts/RUN/.scripts/epoch     the epoch of whoever may start scripts
//! attempts/RUN/.scripts/1.log     what the supervisor of epoch 1 did; locked as long as it lives
//!
//! supervisor PID VERSION BOOT
//! starting NAME
//! started PID TIME NAME
//! ended STATUS NAME
//! ```
//!
//! A supervisor starts a script only while it holds the file `epoch` shared and nobody's higher number is in it. Whoever
//! takes a run over writes its own number there first: what was not started by then will not be.

use crate::{private, process};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const VERSION: &str = "1";

/// How long the file `epoch` may be held by a supervisor before that is taken for dead; it starts one script meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Of the attempts of that run.
pub(super) fn folder(run: &Path) -> PathBuf {
    run.join(".scripts")
}

fn log_path(run: &Path, epoch: u64) -> PathBuf {
    folder(run).join(format!("{epoch}.log"))
}

/// Who may start scripts.
pub(super) struct Fence {
    file: File,
    epoch: u64,
}

/// While it lives, nobody takes the run over.
pub(super) struct Entered<'a>(&'a File);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // What was started a moment ago may still have it open: closing it would not do.
        let _ = self.0.unlock();
    }
}

impl Fence {
    pub fn open(run: &Path, epoch: u64) -> io::Result<Fence> {
        let path = folder(run).join("epoch");
        let file = private::file().read(true).open(path)?;
        Ok(Fence { file, epoch })
    }

    fn number(&self) -> io::Result<u64> {
        let mut bytes = [0; 20];
        let count = self.file.read_at(&mut bytes, 0)?;
        Ok(std::str::from_utf8(&bytes[..count]).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    fn refused(&self, newer: u64) -> String {
        format!("a later process carries the run out (epoch {newer}, this is {})", self.epoch)
    }

    /// The right to start something; the reason when there is none.
    pub fn enter(&self) -> io::Result<Result<Entered<'_>, String>> {
        self.file.lock_shared()?;
        let entered = Entered(&self.file);
        let newer = self.number()?;
        Ok(if newer > self.epoch { Err(self.refused(newer)) } else { Ok(entered) })
    }

    /// From now on nobody of a lower epoch starts anything.
    pub async fn raise(&self, run: &Path) -> io::Result<Result<(), String>> {
        let begun = tokio::time::Instant::now();
        let mut ended = false;
        loop {
            match self.file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {}
            }
            if begun.elapsed() > PATIENCE && !ended {
                // It was stopped just when it started something, and would hold up the run for ever.
                end_supervisors(run, self.epoch)?;
                ended = true;
            }
            if begun.elapsed() > PATIENCE * 2 {
                return Ok(Err("another process is starting a script of this run, and does not end".into()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let _entered = Entered(&self.file);
        let newer = self.number()?;
        if newer > self.epoch {
            return Ok(Err(self.refused(newer)));
        }
        self.file.write_all_at(format!("{:<19}\n", self.epoch).as_bytes(), 0)?;
        Ok(Ok(()))
    }
}

/// Ends the supervisors of lower epochs.
fn end_supervisors(run: &Path, epoch: u64) -> io::Result<()> {
    for path in earlier(run, epoch)? {
        if !is_supervised(&path)? {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let pid = text.lines().rev().find_map(|line| line.strip_prefix("supervisor ")?.split(' ').next());
        if let Some(pid) = pid.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw) {
            // Its lock says that it lives, so the number is its own.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}

/// The logs of lower epochs, the latest first.
fn earlier(run: &Path, epoch: u64) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder(run)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
        found.extend(number.filter(|number: &u64| *number < epoch).map(|number| (number, path)));
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Whether the supervisor that writes that log lives.
fn is_supervised(log: &Path) -> io::Result<bool> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The log of this supervisor.
pub(super) struct Log {
    file: File,
    /// The last line may have been cut short, by a full disk.
    torn: AtomicBool,
}

impl Log {
    /// Takes the log of that epoch; one that died may have left it.
    pub fn open(run: &Path, epoch: u64) -> io::Result<Log> {
        private::directory(&folder(run))?;
        let file = private::file().append(true).open(log_path(run, epoch))?;
        file.lock()?;
        let log = Log { file, torn: AtomicBool::new(true) };
        log.note(&format!("supervisor {} {VERSION} {}", std::process::id(), process::boot_id()))?;
        Ok(log)
    }

    fn note(&self, text: &str) -> io::Result<()> {
        let begin = if self.torn.swap(true, Ordering::Relaxed) { "\n" } else { "" };
        (&self.file).write_all(format!("{begin}{text}\n").as_bytes())?;
        self.torn.store(false, Ordering::Relaxed);
        Ok(())
    }

    pub fn starting(&self, name: &str) -> io::Result<()> {
        self.note(&format!("starting {name}"))
    }

    pub fn started(&self, name: &str, pid: u32) -> io::Result<()> {
        self.note(&format!("started {pid} {} {name}", process::uptime()))
    }

    pub fn ended(&self, name: &str, status: i32) -> io::Result<()> {
        self.note(&format!("ended {status} {name}"))
    }
}

/// How far a script has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its process is being made, or was when the supervisor died.
    Starting,
    /// It runs, or did when the supervisor died.
    Started {
        /// The process that leads its group.
        pid: u32,
        /// A time at which that was so, see [`process::uptime`].
        at: u64,
    },
    /// With that status.
    Ended(i32),
}

/// What the log says of one script, and where to read on.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    log: PathBuf,
    name: String,
    at: u64,
    pub progress: Option<Progress>,
    /// The machine was started anew since: numbers of processes mean nothing any more.
    pub rebooted: bool,
    /// Its supervisor is gone, even where another writes the log.
    left: bool,
}

impl Trace {
    /// From the beginning of the log of that epoch.
    pub fn new(run: &Path, epoch: u64, name: &str) -> Trace {
        let log = log_path(run, epoch);
        Trace { log, name: name.into(), at: 0, progress: None, rebooted: false, left: false }
    }

    /// Reads on. Only whole lines count.
    pub fn update(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.log) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() <= self.at {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            if let Some((name, progress)) = parse(line)
                && name == self.name
            {
                self.progress = Some(progress);
            }
        }
        self.at += whole as u64;
        Ok(())
    }

    /// Whether its supervisor lives. Read on afterwards: it may have said something last.
    pub fn is_supervised(&self) -> io::Result<bool> {
        Ok(!self.left && is_supervised(&self.log)?)
    }
}

fn parse(line: &str) -> Option<(&str, Progress)> {
    let (word, rest) = line.split_once(' ')?;
    if word == "starting" {
        return Some((rest, Progress::Starting));
    }
    let (number, name) = rest.split_once(' ')?;
    match word {
        "started" => {
            let (at, name) = name.split_once(' ')?;
            Some((name, Progress::Started { pid: number.parse().ok()?, at: at.parse().ok()? }))
        }
        "ended" => Some((name, Progress::Ended(number.parse().ok()?))),
        _ => None,
    }
}

/// What an earlier supervisor noted last of a script.
#[derive(Debug)]
pub(super) struct Noted {
    log: Arc<Path>,
    /// Where its log ended then.
    at: u64,
    progress: Progress,
    rebooted: bool,
    left: bool,
}

impl Noted {
    /// For the script of that name.
    pub fn trace(&self, name: &str) -> Trace {
        let Noted { log, at, progress, rebooted, left } = self;
        let (log, progress) = (log.to_path_buf(), Some(*progress));
        Trace { log, name: name.into(), at: *at, progress, rebooted: *rebooted, left: *left }
    }
}

/// What the logs of lower epochs say of these scripts; of an attempt that was repeated, the latest. The logs of a long run are
/// long: no more of them is held than a line.
pub(super) fn noted(
    run: &Path,
    epoch: u64,
    sought: &BTreeSet<String>,
) -> io::Result<BTreeMap<String, Noted>> {
    let mut found = BTreeMap::new();
    let boot = process::boot_id();
    for log in earlier(run, epoch)?.into_iter().rev() {
        let mut reader = BufReader::new(File::open(&log)?);
        let log: Arc<Path> = log.into();
        let (mut rebooted, mut end, mut bytes) = (false, 0, Vec::new());
        loop {
            bytes.clear();
            reader.read_until(b'\n', &mut bytes)?;
            let Some((b'\n', line)) = bytes.split_last() else { break };
            end += bytes.len() as u64;
            let line = String::from_utf8_lossy(line);
            if let Some(supervisor) = line.strip_prefix("supervisor ") {
                let mut words = supervisor.split(' ').skip(1);
                let version = words.next().unwrap_or_default();
                if version != VERSION {
                    let message = format!("`{}` was written by another version of `dsl`", log.display());
                    return Err(io::Error::other(message));
                }
                rebooted = words.next().unwrap_or_default() != boot;
                // It took the place of one that was killed.
                for earlier in found.values_mut().filter(|noted: &&mut Noted| noted.log == log) {
                    earlier.left = true;
                }
            } else if let Some((name, progress)) = parse(&line)
                && sought.contains(name)
            {
                let noted = Noted { log: log.clone(), at: 0, progress, rebooted, left: false };
                found.insert(name.to_owned(), noted);
            }
        }
        for noted in found.values_mut().filter(|noted| noted.log == log) {
            noted.at = end;
        }
    }
    Ok(found)
}

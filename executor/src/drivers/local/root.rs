//! The directory of a local target, and the lock that keeps two effects on it apart.
//!
//! ```text
//! ROOT/releases/RELEASE/…   what was deployed, with `.release.json` saying how it is run
//! ROOT/current              a link to the release that counts
//! ROOT/history          the successful releases that are kept, oldest first
//! ROOT/service.pid          the process that was started last, and of which release
//! ROOT/log/service.log      what services print
//! ROOT/.lock                held by whoever changes anything here
//! ```

use crate::driver::{Attempt, Cancel, Context};
use lockstep_plan::{Call, Failure, Kind};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock that somebody else holds is asked for again.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A local target.
#[derive(Clone)]
pub(super) struct Root {
    path: PathBuf,
}

/// The right to change a root. Freed when the last copy of the file is closed, by the kernel if need be.
pub(super) struct RootLock {
    pub file: File,
}

impl Root {
    /// The root of the call's target; made when it is not there.
    pub fn of(call: &Call, context: &Context) -> Result<Root, Failure> {
        let target = call.target.as_ref().ok_or_else(|| wrong("the step has no target".into()))?;
        let root =
            target.settings.get("root").and_then(|root| root.as_text()).filter(|root| !root.is_empty());
        let root = root.ok_or_else(|| wrong(format!("target `{}` has no `root`", target.name)))?;
        let path = context.module.join(root);
        fs::create_dir_all(&path)
            .and_then(|()| fs::canonicalize(&path))
            .map(|path| Root { path })
            .map_err(|error| wrong(format!("the root `{}` cannot be made: {error}", path.display())))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn release(&self, name: &str) -> PathBuf {
        self.path.join("releases").join(name)
    }

    /// The release that counts.
    pub fn current(&self) -> io::Result<Option<String>> {
        match fs::read_link(self.join("current")) {
            Ok(link) => Ok(link.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes that release count, or none, in one step of the file system.
    pub fn switch(&self, release: Option<&str>) -> io::Result<()> {
        let current = self.join("current");
        match release {
            Some(release) => {
                let next = self.join(".current.new");
                remove_if_there(&next)?;
                std::os::unix::fs::symlink(Path::new("releases").join(release), &next)?;
                fs::rename(&next, &current)?;
            }
            None => remove_if_there(&current)?,
        }
        File::open(&self.path)?.sync_all()
    }

    /// Waits for the right to change the root, and says so while it waits.
    pub async fn lock(
        &self,
        context: &Context,
        cancel: &Cancel,
        say: impl Fn(&str),
    ) -> Result<RootLock, Failure> {
        let path = self.join(".lock");
        let failed =
            |error: io::Error| wrong(format!("the lock `{}` cannot be taken: {error}", path.display()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !told {
                told = true;
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                say(&format!("waiting for `{}`, held by {}", self.path.display(), holder.trim()));
            }
            tokio::select! {
                () = tokio::time::sleep(LOCK_PAUSE) => {}
                () = cancel.cancelled() => {
                    return Err(Failure::new(Kind::Timeout, format!("`{}` was held by another", self.path.display())));
                }
            }
        }
        self.enter(&mut file, context).map_err(failed)??;
        Ok(RootLock { file })
    }

    /// Writes who holds the lock; refuses a process of this run that a later one has replaced.
    fn enter(&self, file: &mut File, context: &Context) -> io::Result<Result<(), Failure>> {
        let mut before = String::new();
        file.rewind()?;
        file.read_to_string(&mut before)?;
        let words: Vec<&str> = before.split_whitespace().collect();
        if let ["run", run, "epoch", epoch, ..] = words[..]
            && run == context.run
            && epoch.parse().is_ok_and(|epoch: u64| epoch > context.epoch)
        {
            let message =
                format!("a later process carries run {run} out (epoch {epoch}, this is {})", context.epoch);
            return Ok(Err(Failure::new(Kind::Policy, message)));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "run {} epoch {} process {}", context.run, context.epoch, std::process::id())?;
        Ok(Ok(()))
    }

    /// The lock for an attempt.
    pub async fn lock_for(&self, attempt: &Attempt) -> Result<RootLock, Failure> {
        self.lock(&attempt.context, &attempt.cancel, |text| attempt.output.say(text)).await
    }
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn wrong(message: String) -> Failure {
    Failure::new(Kind::Application, message)
}

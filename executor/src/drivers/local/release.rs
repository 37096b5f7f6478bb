//! Releases: the files of one deploy, complete or not there at all.

use super::root::{Root, wrong};
use crate::driver::{Attempt, Key};
use crate::id;
use lockstep_plan::{CallService, Failure, Value};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Holds a release's [`Release`], inside of it.
const METADATA: &str = ".release.json";

/// How a release is run: what its service said when it was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    /// The directory's name.
    pub name: String,
    /// The service's name.
    pub service: String,
    /// The target's name.
    pub target: String,
    /// Starts it; empty for a service that is only files.
    pub start: String,
    /// Stops it; empty: by signal.
    pub stop: String,
    /// Succeeds when it works; empty: as soon as it is started.
    pub check: String,
    /// `other`, `tar`, …
    pub artifact_type: String,
    /// Where the artifact was taken from.
    pub artifact: PathBuf,
}

impl Release {
    /// Reads what a release says of itself.
    pub fn read(root: &Root, name: &str) -> Result<Release, Failure> {
        let path = root.release(name).join(METADATA);
        let read = || -> io::Result<Release> { Ok(serde_json::from_slice(&fs::read(&path)?)?) };
        read().map_err(|error| {
            wrong(format!("the release `{name}` is damaged or gone: `{}`: {error}", path.display()))
        })
    }

    /// The name of the release that the attempt of that key makes.
    pub fn name_for(key: &Key) -> String {
        id::file_name(&format!("{}-{}-{}", key.run, key.step, key.attempt))
    }

    /// Whether a run made the release of that name.
    pub fn is_of(name: &str, run: &str) -> bool {
        // A name that stands for a longer or stranger one begins with `_`.
        name.strip_prefix('_').unwrap_or(name).strip_prefix(run).is_some_and(|rest| rest.starts_with('-'))
    }

    /// What the attempt is to deploy.
    pub fn wanted(attempt: &Attempt) -> Result<Release, Failure> {
        let service = attempt.call.service.as_ref().ok_or_else(|| wrong("the step has no service".into()))?;
        let path = text(&service.artifact, "path");
        if path.is_empty() {
            return Err(wrong(format!("the artifact of service `{}` has no `path`", service.name)));
        }
        Ok(Release {
            name: Release::name_for(&attempt.key),
            service: service.name.clone(),
            target: attempt.call.target.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
            start: setting(service, "start"),
            stop: setting(service, "stop"),
            check: setting(service, "check"),
            artifact_type: service.artifact_type.clone(),
            artifact: attempt.context.module.join(path),
        })
    }

    /// Puts the artifact into its release directory, unless an earlier try has. Built beside it and renamed, so that a
    /// release that is there is whole.
    pub fn install(&self, root: &Root) -> Result<(), Failure> {
        let release = root.release(&self.name);
        if release.join(METADATA).exists() {
            return Ok(());
        }
        let new = root.join("releases").join(format!(".new-{}", self.name));
        let build = || -> Result<(), Failure> {
            match fs::remove_dir_all(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &new, &error));
                }
                _ => {}
            }
            fs::create_dir_all(&new).map_err(|error| cannot("create", &new, &error))?;
            self.unpack(&new, root)?;
            let metadata = serde_json::to_vec_pretty(self).map_err(|error| wrong(error.to_string()))?;
            fs::write(new.join(METADATA), metadata)
                .and_then(|()| sync(&new))
                .and_then(|()| fs::rename(&new, &release))
                .and_then(|()| File::open(root.join("releases"))?.sync_all())
                .map_err(|error| cannot("write", &release, &error))
        };
        build().inspect_err(|_| drop(fs::remove_dir_all(&new)))
    }

    fn unpack(&self, into: &Path, root: &Root) -> Result<(), Failure> {
        let path = &self.artifact;
        let metadata = fs::metadata(path).map_err(|error| cannot("read the artifact", path, &error))?;
        if metadata.is_dir() && fs::canonicalize(path).is_ok_and(|path| root.path().starts_with(path)) {
            let (path, root) = (path.display(), root.path().display());
            return Err(wrong(format!(
                "the artifact `{path}` holds the target's root `{root}` and would be copied into itself: keep them apart"
            )));
        }
        match self.artifact_type.as_str() {
            "tar" => unpack_tar(path, into).map_err(|error| cannot("unpack the artifact", path, &error)),
            "other" | "jar" | "war" => {
                let copied = if metadata.is_dir() {
                    copy_directory(path, into)
                } else if !metadata.is_file() {
                    Err(special(path))
                } else {
                    fs::copy(path, into.join(path.file_name().unwrap_or_default())).map(drop)
                };
                copied.map_err(|error| cannot("copy the artifact", path, &error))
            }
            other => Err(wrong(format!("artifacts of type `{other}` cannot be deployed to this machine"))),
        }
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    wrong(format!("cannot {what} `{}`: {error}", path.display()))
}

fn setting(service: &CallService, name: &str) -> String {
    text(&service.settings, name)
}

fn text(settings: &std::collections::BTreeMap<String, Value>, name: &str) -> String {
    settings.get(name).and_then(Value::as_text).unwrap_or_default().to_string()
}

/// A pipe, a socket or a device: reading it could wait for ever.
fn special(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` is neither a file nor a directory nor a link", path.display()))
}

/// Plain or compressed by gzip, whatever it is called.
fn unpack_tar(path: &Path, into: &Path) -> io::Result<()> {
    use std::io::{BufRead, BufReader, Read};
    let mut reader = BufReader::new(File::open(path)?);
    let compressed = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> =
        if compressed { Box::new(flate2::bufread::GzDecoder::new(reader)) } else { Box::new(reader) };
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_permissions(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.unpack_in(into)? {
            let path = entry.path()?.display().to_string();
            return Err(io::Error::other(format!("its entry `{path}` points outside of the release")));
        }
    }
    Ok(())
}

/// Copies what is in a directory, permissions and links as they are.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_directory(&source, &target)?;
            fs::set_permissions(&target, fs::metadata(&source)?.permissions())?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        } else {
            return Err(special(&source));
        }
    }
    Ok(())
}

/// Makes a directory and all in it outlast a power cut.
fn sync(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

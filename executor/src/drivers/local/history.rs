//! The successful releases of a root, and the removal of those that nobody returns to any more.

use super::release::Release;
use super::root::{Root, wrong};
use lockstep_plan::Failure;
use std::fs;
use std::io::{self, Write};

/// The successful releases, oldest first.
fn read(root: &Root) -> io::Result<Vec<String>> {
    match fs::read_to_string(root.join("history")) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn write(root: &Root, releases: &[String]) -> io::Result<()> {
    let new = root.join("history.new");
    let mut file = fs::File::create(&new)?;
    releases.iter().try_for_each(|release| writeln!(file, "{release}"))?;
    file.sync_all()?;
    fs::rename(&new, root.join("history"))
}

/// What the run put here is successful. It, the `keep` successful releases before it and what it replaced stay; other
/// releases of this run and of earlier ones go. What it replaced may be left of a run that failed, and then it takes no
/// successful one's place.
pub(super) fn seal(root: &Root, run: &str, replaced: &str, keep: usize) -> Result<(), Failure> {
    let failed = |error: io::Error| wrong(format!("`{}`: {error}", root.join("history").display()));
    let Some(current) = root.current().map_err(failed)? else { return Ok(()) };
    let mut releases = read(root).map_err(failed)?;
    if !Release::is_of(&current, run) {
        return Ok(());
    }
    releases.retain(|release| *release != current);
    releases.push(current);
    let gone = releases.len().saturating_sub(keep + 1);
    releases.drain(..gone);
    write(root, &releases).map_err(failed)?;
    releases.push(replaced.to_owned());
    prune(root, run, &releases)
}

/// What comes after a release that was returned to is successful no more, and what the run that returns has put here.
pub(super) fn return_to(root: &Root, release: &str, run: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| wrong(format!("`{}`: {error}", root.join("history").display()));
    let mut releases = read(root).map_err(failed)?;
    let known = releases.len();
    match releases.iter().position(|known| known == release) {
        Some(at) => releases.truncate(at + 1),
        None if release.is_empty() => releases.clear(),
        // It was never successful; what was before it still is.
        None => releases.retain(|known| !Release::is_of(known, run)),
    }
    if releases.len() == known { Ok(()) } else { write(root, &releases).map_err(failed) }
}

/// Run ids sort by the time of their making: what later runs build is left alone.
fn prune(root: &Root, run: &str, kept: &[String]) -> Result<(), Failure> {
    let folder = root.join("releases");
    let failed = |error: io::Error| wrong(format!("`{}`: {error}", folder.display()));
    let mut stuck = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let made_by = name.strip_prefix(".new-").unwrap_or(&name);
        let made_by = made_by.strip_prefix('_').unwrap_or(made_by);
        if kept.contains(&name) || made_by.get(..run.len()).is_none_or(|made_by| made_by > run) {
            continue;
        }
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            stuck.push(format!("`{}`: {error}", entry.path().display()));
        }
    }
    match stuck.is_empty() {
        true => Ok(()),
        false => Err(wrong(format!("old releases cannot be removed: {}", stuck.join(", ")))),
    }
}

//! The successful releases of a root, and the removal of those that nobody returns to any more.

use super::release::Release;
use super::root::{Root, wrong};
use lockstep_plan::Failure;
use std::fs;
use std::io::{self, Write};

/// What a run has left: its release, then those that its stages replaced, which it can be taken back to one after another.
/// Names hold no spaces, so it is a line of the file.
type Entry = Vec<String>;

/// What successful runs have left, oldest first.
fn read(root: &Root) -> io::Result<Vec<Entry>> {
    let entry = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    match fs::read_to_string(root.join("history")) {
        Ok(text) => Ok(text.lines().map(entry).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn write(root: &Root, entries: &[Entry]) -> io::Result<()> {
    let new = root.join("history.new");
    let mut file = fs::File::create(&new)?;
    entries.iter().try_for_each(|entry| writeln!(file, "{}", entry.join(" ")))?;
    file.sync_all()?;
    fs::rename(&new, root.join("history"))
}

/// What the run put here is successful. It, the `keep` successful releases before it and what the runs replaced that can be
/// taken back stay; other releases of this run and of earlier ones go. What was replaced may be left of a run that failed,
/// and then it takes no successful one's place.
pub(super) fn seal(root: &Root, run: &str, replaced: &[String], keep: usize) -> Result<(), Failure> {
    let failed = |error: io::Error| wrong(format!("`{}`: {error}", root.join("history").display()));
    let Some(current) = root.current().map_err(failed)? else { return Ok(()) };
    let mut entries = read(root).map_err(failed)?;
    if !Release::is_of(&current, run) {
        return Ok(());
    }
    entries.retain(|entry| entry.first() != Some(&current));
    let replaced = replaced.iter().filter(|name| !name.is_empty() && **name != current).cloned();
    let entry = std::iter::once(current.clone()).chain(replaced).collect();
    entries.push(entry);
    let gone = entries.len().saturating_sub(keep + 1);
    entries.drain(..gone);
    // It is returned to, and no further: that run is too old to be taken back.
    if let [oldest, _, ..] = entries.as_mut_slice()
        && gone > 0
    {
        oldest.truncate(1);
    }
    write(root, &entries).map_err(failed)?;
    prune(root, run, &entries.concat())
}

/// What comes after a release that was returned to is successful no more, and what the run that returns has put here.
pub(super) fn return_to(root: &Root, release: &str, run: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| wrong(format!("`{}`: {error}", root.join("history").display()));
    let mut entries = read(root).map_err(failed)?;
    let known = entries.len();
    match entries.iter().position(|entry| entry.first().is_some_and(|known| known == release)) {
        Some(at) => entries.truncate(at + 1),
        None if release.is_empty() => entries.clear(),
        // It was never successful; what was before it still is.
        None => entries.retain(|entry| entry.first().is_some_and(|known| !Release::is_of(known, run))),
    }
    if entries.len() == known { Ok(()) } else { write(root, &entries).map_err(failed) }
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

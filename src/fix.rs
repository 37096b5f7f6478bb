//! `dsl check --fix`: applies the mechanical ways out.

use crate::failure::Failure;
use crate::source::Selection;
use lockstep_compiler::{Diagnostic, DiskLoader, FileId, Loader, Program, Severity};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A fix may make room for another; more rounds than this mean that two of them undo each other.
const ROUNDS: usize = 10;

/// Applies fixes until none is left, and writes the files that changed. Gives what is still found, and how many were applied.
pub fn apply(selection: &Selection) -> Result<(Program, Vec<Diagnostic>, usize), Failure> {
    let mut overlay = Overlay { files: BTreeMap::new() };
    let load = |overlay: &Overlay| {
        Program::load(overlay, &selection.modules).map_err(|error| Failure::new(error.to_string()))
    };
    let mut program = load(&overlay)?;
    let mut found = lockstep_compiler::check(&program);
    let mut applied = 0;
    for _ in 0..ROUNDS {
        let (changed, count) = edit(&program, &found, selection);
        if count == 0 {
            break;
        }
        let next = Overlay { files: overlay.files.clone().into_iter().chain(changed).collect() };
        let after = load(&next)?;
        let now = lockstep_compiler::check(&after);
        // A fix that leaves a file worse than it was is no fix; nothing of the round is kept then.
        if errors(&now) > errors(&found) {
            break;
        }
        (overlay, program, found) = (next, after, now);
        applied += count;
    }
    for (path, text) in &overlay.files {
        write(path, text)?;
    }
    Ok((program, found, applied))
}

fn errors(found: &[Diagnostic]) -> usize {
    found.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
}

/// The files as the fixes of this round make them. Of fixes that overlap, the first is taken.
fn edit(
    program: &Program,
    found: &[Diagnostic],
    selection: &Selection,
) -> (BTreeMap<PathBuf, String>, usize) {
    let mut edits: BTreeMap<FileId, Vec<(usize, usize, &str)>> = BTreeMap::new();
    let mut count = 0;
    for fix in found.iter().filter_map(|diagnostic| diagnostic.fix.as_ref()) {
        let free = fix.edits.iter().all(|(at, _)| {
            let (start, end) = (at.span.start as usize, at.span.end as usize);
            let taken = edits.get(&at.file).into_iter().flatten();
            let apart = taken.clone().all(|(s, e, _)| end < *s || *e < start);
            apart && selection.wants(&program.file(at.file).path)
        });
        if free {
            count += 1;
            for (at, text) in &fix.edits {
                let (start, end) = (at.span.start as usize, at.span.end as usize);
                edits.entry(at.file).or_default().push((start, end, text.as_str()));
            }
        }
    }
    let mut changed = BTreeMap::new();
    for (file, mut edits) in edits {
        let file = program.file(file);
        let mut text = file.text.to_string();
        edits.sort_unstable();
        for (start, end, replacement) in edits.into_iter().rev() {
            text.replace_range(start..end, replacement);
        }
        changed.insert(file.path.clone(), text);
    }
    (changed, count)
}

/// In one step, so that a file is never half written.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let new = path.with_extension("lockstep.new");
    let result = std::fs::write(&new, text)
        .and_then(|()| std::fs::set_permissions(&new, std::fs::metadata(path)?.permissions()))
        .and_then(|()| std::fs::rename(&new, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    result.map_err(|error| Failure::io("write", path, &error))
}

/// The disk with some files replaced.
struct Overlay {
    files: BTreeMap<PathBuf, String>,
}

impl Loader for Overlay {
    fn read_module(&self, dir: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
        let mut files = DiskLoader.read_module(dir)?;
        for (path, text) in &mut files {
            if let Some(replaced) = self.files.get(path) {
                text.clone_from(replaced);
            }
        }
        Ok(files)
    }

    fn read_files(&self, dir: &Path, pattern: &str) -> Option<Vec<(PathBuf, std::io::Result<String>)>> {
        let mut files = DiskLoader.read_files(dir, pattern)?;
        for (path, text) in &mut files {
            if let Some(replaced) = self.files.get(path) {
                *text = Ok(replaced.clone());
            }
        }
        Some(files)
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        DiskLoader.identity(dir)
    }
}

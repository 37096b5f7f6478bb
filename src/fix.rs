//! `dsl check --fix`: applies the mechanical ways out.

use crate::failure::Failure;
use crate::source::{Input, Selection};
use lockstep_compiler::{Diagnostic, FileId, FoundFile, Loader, Program, Severity, normalise};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A fix may make room for another; more rounds than this mean that two of them undo each other.
const ROUNDS: usize = 10;

/// Of a round that does harm, this many fixes are tried one by one; each costs a check of everything.
const SINGLES: usize = 64;

/// What came of fixing.
pub struct Fixed {
    /// The program after it.
    pub program: Program,
    /// What is still found.
    pub found: Vec<Diagnostic>,
    /// How many fixes were applied.
    pub applied: usize,
    /// The texts that changed.
    pub texts: BTreeMap<PathBuf, String>,
}

/// Applies fixes until none is left. Nothing is written: see [`write`].
pub fn apply(selection: &Selection, input: &Input) -> Result<Fixed, Failure> {
    let roots = selection.roots();
    let mut overlay = Overlay { files: BTreeMap::new(), below: input };
    let load = |overlay: &Overlay<'_>| {
        Program::load(overlay, &roots).map_err(|error| Failure::new(error.to_string()))
    };
    let mut program = load(&overlay)?;
    let mut found = lockstep_compiler::check(&program);
    let mut applied = 0;
    for _ in 0..ROUNDS {
        let fixes: Vec<&Diagnostic> = found.iter().filter(|diagnostic| diagnostic.fix.is_some()).collect();
        let mut groups = vec![fixes.clone()];
        // If all of them together do harm, the ones that do none are looked for.
        groups.extend(fixes.iter().take(SINGLES).map(|fix| vec![*fix]));
        let mut next = None;
        for group in groups {
            let (changed, taken) = edit(&program, &group, selection);
            if taken.is_empty() {
                continue;
            }
            let files = overlay.files.clone().into_iter().chain(changed).collect();
            let after = Overlay { files, below: input };
            let fixed = load(&after)?;
            let now = lockstep_compiler::check(&fixed);
            if is_better(&found, &now, &taken) {
                next = Some((after, fixed, now, taken.len()));
                break;
            }
        }
        let Some((after, fixed, now, count)) = next else { break };
        (overlay, program, found) = (after, fixed, now);
        applied += count;
    }
    Ok(Fixed { program, found, applied, texts: overlay.files })
}

/// Whether fixes did what they say: each of them leaves one finding less of its rule, and no rule has more errors.
fn is_better(before: &[Diagnostic], after: &[Diagnostic], taken: &[&'static str]) -> bool {
    let count = |found: &[Diagnostic], rule: &str| found.iter().filter(|it| it.rule == rule).count();
    let errors = |found: &[Diagnostic]| found.iter().filter(|it| it.severity == Severity::Error).count();
    let syntax = |found: &[Diagnostic]| found.iter().filter(|it| it.rule.starts_with("syntax/")).count();
    let fixed = |rule: &&&'static str| rule.starts_with("syntax/");
    let repaired = taken.iter().filter(fixed).count();
    // What could not be read before may hold mistakes of its own, which only show up now.
    let read_more = repaired > 0 && syntax(after) + repaired <= syntax(before);
    let rules: BTreeSet<&str> = taken.iter().copied().collect();
    let gone = rules.iter().all(|rule| {
        let due = taken.iter().filter(|taken| *taken == rule).count();
        count(after, rule) + due <= count(before, rule)
    });
    if repaired > 0 { read_more } else { gone && errors(after) <= errors(before) }
}

/// The files as fixes make them, and the rules of those that were taken. Of fixes that overlap, the first is.
fn edit(
    program: &Program,
    found: &[&Diagnostic],
    selection: &Selection,
) -> (BTreeMap<PathBuf, String>, Vec<&'static str>) {
    let mut edits: BTreeMap<FileId, Vec<(usize, usize, &str)>> = BTreeMap::new();
    let mut taken_rules = Vec::new();
    for diagnostic in found {
        let Some(fix) = &diagnostic.fix else { continue };
        let free = fix.edits.iter().all(|(at, _)| {
            let (start, end) = (at.span.start as usize, at.span.end as usize);
            let taken = edits.get(&at.file).into_iter().flatten();
            let apart = taken.clone().all(|(s, e, _)| end < *s || *e < start);
            apart && selection.wants(&program.file(at.file).path)
        });
        if free {
            taken_rules.push(diagnostic.rule);
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
    (changed, taken_rules)
}

/// Writes a file in one step, so that it is never half written. What it may be read and written by stays; of a link, the
/// file it leads to is written.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let replace = || {
        let target = std::fs::canonicalize(path)?;
        let folder = target.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new().prefix(".dsl-").suffix(".new").tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        new.as_file().set_permissions(std::fs::metadata(&target)?.permissions())?;
        new.as_file().sync_all()?;
        new.persist(&target).map_err(|error| error.error)?;
        Ok(())
    };
    replace().map_err(|error: std::io::Error| Failure::io("write", path, &error))
}

/// Modules from the disk and standard input, with some files replaced.
struct Overlay<'i> {
    files: BTreeMap<PathBuf, String>,
    below: &'i Input,
}

impl Loader for Overlay<'_> {
    fn read_module(&self, dir: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
        let mut files = self.below.read_module(dir)?;
        for (path, text) in &mut files {
            if let Some(replaced) = self.files.get(path) {
                text.clone_from(replaced);
            }
        }
        Ok(files)
    }

    fn find_files(&self, dir: &Path, patterns: &[String]) -> Option<Vec<Vec<FoundFile>>> {
        self.below.find_files(dir, patterns)
    }

    fn read_file(&self, path: &Path) -> std::io::Result<String> {
        match self.files.get(&normalise(path)) {
            Some(replaced) => Ok(replaced.clone()),
            None => self.below.read_file(path),
        }
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        self.below.identity(dir)
    }
}

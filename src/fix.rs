//! `dsl check --fix`: applies the mechanical ways out.

use crate::failure::Failure;
use crate::source::{Input, Selection};
use lockstep_compiler::{Diagnostic, FileId, FoundFile, Loader, Program, Severity, normalise};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A fix may make room for another; more rounds than this mean that two of them undo each other.
const ROUNDS: usize = 10;

/// Where fixes do harm together, so often at most the ones that do none are looked for in a round: each time costs a check
/// of everything.
const TRIALS: usize = 64;

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
    let mut state = State::of(Overlay { files: BTreeMap::new(), below: input }, selection)?;
    let mut applied = 0;
    for _ in 0..ROUNDS {
        let fixes: Vec<&Diagnostic> = state.found.iter().filter(|it| it.fix.is_some()).collect();
        let mut better = state.with(&fixes)?;
        if better.is_none() {
            let mut trials = TRIALS;
            let parts = state.harmless(&fixes, &mut trials)?;
            better = state.with(&parts.concat())?;
            // What does no harm in parts may do some together.
            if better.is_none()
                && let Some(first) = parts.first()
            {
                better = state.with(first)?;
            }
        }
        let Some((next, count)) = better else { break };
        applied += count;
        state = next;
    }
    let State { overlay, program, found, .. } = state;
    Ok(Fixed { program, found, applied, texts: overlay.files })
}

/// Where fixing has got to.
struct State<'s> {
    selection: &'s Selection,
    overlay: Overlay<'s>,
    program: Program,
    found: Vec<Diagnostic>,
}

impl<'s> State<'s> {
    fn of(overlay: Overlay<'s>, selection: &'s Selection) -> Result<Self, Failure> {
        let program =
            Program::load(&overlay, &selection.roots()).map_err(|error| Failure::new(error.to_string()))?;
        let found = lockstep_compiler::check(&program);
        Ok(State { selection, overlay, program, found })
    }

    /// What these fixes lead to and how many of them were taken, if that is better.
    fn with(&self, fixes: &[&Diagnostic]) -> Result<Option<(Self, usize)>, Failure> {
        let (changed, taken) = edit(&self.program, fixes, self.selection);
        if taken.is_empty() {
            return Ok(None);
        }
        let files = self.overlay.files.clone().into_iter().chain(changed).collect();
        let state = State::of(Overlay { files, below: self.overlay.below }, self.selection)?;
        let rules: Vec<&str> = taken.iter().map(|it| it.rule).collect();
        let better = is_better(&self.found, &state.found, &rules) && state.is_sound(&self.found, &taken);
        Ok(better.then_some((state, taken.len())))
    }

    /// Whether all can be read where it had to be guessed what is missing, and no other mistake has come up there: else the guess
    /// may be one, and in the way of whoever mends it.
    fn is_sound(&self, before: &[Diagnostic], taken: &[Taken]) -> bool {
        let guessed = taken.iter().filter(|it| GUESSES.contains(&it.rule)).flat_map(|it| &it.places);
        let known: BTreeSet<&str> = before.iter().map(|it| it.message.as_str()).collect();
        let is_new =
            |it: &&Diagnostic| it.rule.starts_with("syntax/") || !known.contains(it.message.as_str());
        let errors = self.found.iter().filter(|it| it.severity == Severity::Error);
        let errors: Vec<_> = errors.filter(is_new).collect();
        guessed.into_iter().all(|place| {
            errors.iter().all(|error| {
                let file = self.program.file(error.primary.file);
                let span = error.primary.span;
                file.path != place.path || !place.lines(&file.text).contains(&(span.start as usize))
            })
        })
    }

    /// The largest parts of fixes that do harm together which do none.
    fn harmless<'f>(
        &self,
        fixes: &[&'f Diagnostic],
        trials: &mut usize,
    ) -> Result<Vec<Vec<&'f Diagnostic>>, Failure> {
        let mut parts = Vec::new();
        let (first, second) = fixes.split_at(fixes.len() / 2);
        for half in [first, second].into_iter().filter(|half| !half.is_empty() && half.len() < fixes.len()) {
            if *trials == 0 {
                break;
            }
            *trials -= 1;
            match self.with(half)? {
                Some(_) => parts.push(half.to_vec()),
                None => parts.extend(self.harmless(half, trials)?),
            }
        }
        Ok(parts)
    }
}

/// Rules whose fixes guess where something was to stand.
const GUESSES: [&str; 3] = ["syntax/text", "syntax/unclosed", "syntax/unexpected"];

/// A fix that was applied.
struct Taken {
    rule: &'static str,
    places: Vec<Edited>,
}

/// Where a text was put, in bytes of the file as it is then.
struct Edited {
    path: PathBuf,
    at: Range<usize>,
}

impl Edited {
    /// Its lines and the next one.
    fn lines(&self, text: &str) -> Range<usize> {
        let start = text[..self.at.start].rfind('\n').map_or(0, |at| at + 1);
        let mut ends = text[self.at.end..].match_indices('\n').map(|(at, _)| self.at.end + at);
        start..ends.nth(1).unwrap_or(text.len() + 1)
    }
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

/// The files as fixes make them, and those that were taken. Of fixes that overlap, the first is.
fn edit(
    program: &Program,
    found: &[&Diagnostic],
    selection: &Selection,
) -> (BTreeMap<PathBuf, String>, Vec<Taken>) {
    let mut edits: BTreeMap<FileId, Vec<(usize, usize, &str, usize)>> = BTreeMap::new();
    let mut all: Vec<Taken> = Vec::new();
    for diagnostic in found {
        let Some(fix) = &diagnostic.fix else { continue };
        let free = fix.edits.iter().all(|(at, _)| {
            let (start, end) = (at.span.start as usize, at.span.end as usize);
            let taken = edits.get(&at.file).into_iter().flatten();
            let apart = taken.clone().all(|(s, e, ..)| end < *s || *e < start);
            apart && selection.wants(&program.file(at.file).path)
        });
        if free {
            for (at, text) in &fix.edits {
                let (start, end) = (at.span.start as usize, at.span.end as usize);
                edits.entry(at.file).or_default().push((start, end, text.as_str(), all.len()));
            }
            all.push(Taken { rule: diagnostic.rule, places: Vec::new() });
        }
    }
    let mut changed = BTreeMap::new();
    for (file, mut edits) in edits {
        let file = program.file(file);
        let mut text = String::with_capacity(file.text.len());
        edits.sort_unstable();
        let mut kept = 0;
        for (start, end, replacement, whose) in edits {
            text.push_str(&file.text[kept..start]);
            let from = text.len();
            text.push_str(replacement);
            all[whose].places.push(Edited { path: file.path.clone(), at: from..text.len() });
            kept = end;
        }
        text.push_str(&file.text[kept..]);
        changed.insert(file.path.clone(), text);
    }
    (changed, all)
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

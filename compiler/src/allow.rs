//! `// allow(NAME): reason`: silences reports of that name on the next line. Lines of them, one above the other, all speak of the line
//! below the last one.

use crate::checks::allow_unused;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::program::{FileId, ModuleId, Program};
use lockstep_grammar::Comment;
use std::collections::{BTreeMap, BTreeSet};

/// Removes what is allowed, and reports what allows nothing. With `keeps_errors` errors stay all the same: to be silent about one
/// does not give the source a meaning that could be planned.
pub fn apply(program: &Program, keeps_errors: bool, found: &mut Vec<Diagnostic>) {
    for (file, source) in program.files().filter(|(_, source)| source.module != ModuleId::PRELUDE) {
        let is_allow = |comment: &Comment| {
            let text = program.text(file, comment.span).trim_start_matches('/').trim_start();
            text.starts_with("allow(")
        };
        if !source.parse.comments.iter().any(is_allow) {
            continue;
        }
        let mut lines: Option<BTreeMap<u32, Vec<usize>>> = None;
        let mut silenced: BTreeSet<usize> = BTreeSet::new();
        let mut reports = Vec::new();
        let stacked = stacked(program, file);
        for comment in &source.parse.comments {
            let at = Location { file, span: comment.span };
            let text = program.text(file, comment.span).trim_start_matches('/').trim_start();
            let Some((name, rest)) = text.strip_prefix("allow(").and_then(|text| text.split_once(')')) else {
                continue;
            };
            let reason = rest.trim_start().strip_prefix(':').map(str::trim);
            if reason.is_none_or(str::is_empty) {
                reports.push(allow_unused::without_reason(at, name));
                continue;
            }
            let lines = lines.get_or_insert_with(|| {
                let mut lines: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
                for (index, diagnostic) in found.iter().enumerate().filter(|(_, it)| it.primary.file == file)
                {
                    let line = source.lines.position(diagnostic.primary.span.start).line;
                    lines.entry(line).or_default().push(index);
                }
                lines
            });
            let mut next = source.lines.position(comment.span.start).line + 1;
            if let Some((_, last)) = stacked.range(..=next).next_back().filter(|(_, last)| **last >= next) {
                next = last + 1;
            }
            let matching: Vec<usize> = lines
                .get(&next)
                .into_iter()
                .flatten()
                .copied()
                .filter(|index| found[*index].rule == name)
                .collect();
            if matching.is_empty() {
                reports.push(allow_unused::report(program, at, name));
            }
            let silent = |index: &usize| !(keeps_errors && found[*index].severity == Severity::Error);
            silenced.extend(matching.into_iter().filter(silent));
        }
        let mut index = 0;
        found.retain(|_| {
            index += 1;
            !silenced.contains(&(index - 1))
        });
        found.extend(reports);
    }
}

/// Runs of lines that hold nothing but an `allow`, each from its first line to its last: all speak of the line below.
fn stacked(program: &Program, file: FileId) -> BTreeMap<u32, u32> {
    let source = program.file(file);
    let mut runs: BTreeMap<u32, u32> = BTreeMap::new();
    let mut current: Option<(u32, u32)> = None;
    for comment in &source.parse.comments {
        let line = source.lines.position(comment.span.start).line;
        let before = &source.text[source.lines.line(line).start as usize..comment.span.start as usize];
        let text = program.text(file, comment.span).trim_start_matches('/').trim_start();
        if !before.trim().is_empty() || !text.starts_with("allow(") {
            continue;
        }
        let first = match current {
            Some((first, last)) if last + 1 == line => first,
            _ => line,
        };
        current = Some((first, line));
        runs.insert(first, line);
    }
    runs
}

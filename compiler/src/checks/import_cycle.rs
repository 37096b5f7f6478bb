//! `import/cycle`: modules that import each other.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::program::ModuleId;
use crate::rules::Rule;
use std::collections::{BTreeMap, VecDeque};

pub const RULE: Rule = Rule {
    name: "import/cycle",
    severity: Severity::Error,
    summary: "modules that import each other in a circle",
    page: include_str!("import_cycle.md"),
};

/// For each circle of modules one report, at its first import.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    let mut edges: BTreeMap<ModuleId, Vec<(ModuleId, Location)>> = BTreeMap::new();
    for (file, source) in model.program.files() {
        for (import, found) in source.parse.file.imports.iter().zip(&source.imports) {
            // A path that was not understood leads nowhere.
            let understood =
                || source.parse.errors.iter().all(|it| !import.path_span.contains(it.span.start));
            if let Ok(module) = found
                && understood()
            {
                let at = Location { file, span: import.path_span };
                edges.entry(source.module).or_default().push((*module, at));
            }
        }
    }
    let mut reported: Vec<ModuleId> = Vec::new();
    for module in edges.keys() {
        if reported.contains(module) {
            continue;
        }
        let Some(way) = shortest(&edges, *module) else { continue };
        reported.extend(way.iter().map(|(module, _)| *module));
        if let [(_, at)] = way[..] {
            sink.push(
                Diagnostic::new(&RULE, at, "this module imports itself")
                    .label("the directory of this file")
                    .help("remove it: all files of a directory are one module and know each other's names"),
            );
            continue;
        }
        let mut diagnostic = Diagnostic::new(&RULE, way[0].1, "these modules import each other")
            .label("the circle begins here")
            .help("move what both need into a third module");
        for (index, (_, at)) in way.iter().enumerate().skip(1) {
            let text = if index + 1 == way.len() { "and this leads back" } else { "goes on here" };
            diagnostic = diagnostic.also(*at, text);
        }
        sink.push(diagnostic);
    }
}

/// The shortest way from a module back to itself, as the imports to take.
fn shortest(
    edges: &BTreeMap<ModuleId, Vec<(ModuleId, Location)>>,
    start: ModuleId,
) -> Option<Vec<(ModuleId, Location)>> {
    let mut from: BTreeMap<ModuleId, (ModuleId, Location)> = BTreeMap::new();
    let mut todo = VecDeque::from([start]);
    while let Some(module) = todo.pop_front() {
        for (next, at) in edges.get(&module).into_iter().flatten() {
            if from.contains_key(next) {
                continue;
            }
            from.insert(*next, (module, *at));
            if *next == start {
                let mut way = Vec::new();
                let mut here = start;
                loop {
                    let (before, at) = from[&here];
                    way.push((before, at));
                    here = before;
                    if here == start {
                        way.reverse();
                        return Some(way);
                    }
                }
            }
            todo.push_back(*next);
        }
    }
    None
}

//! Files with placeholders that a program names: manifests. They are read with the program, so that all later passes are
//! pure; which of them are judged, and how, is `checks::manifest_*`'s matter.

use crate::lines::Lines;
use crate::program::{
    FileId, FoundFile, Loader, ModuleId, Moved, Program, SourceFile, normalise, prelude_files,
};
use foldhash::{HashMap, HashSet};
use lockstep_grammar::ast::{Declaration, DeclarationKind, Entry, Expr, ExprKind, Path, TextPart};
use lockstep_grammar::{Template, parse_template};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The setting of a provider that lists which of its settings and parameters name such files.
pub const SETTING: &str = "templates";

/// What a pattern found: files, and why one could not be read.
pub type Found = Vec<Result<FileId, (PathBuf, String)>>;

/// All files with placeholders of a program.
#[derive(Debug, Default)]
pub struct Templates {
    files: BTreeMap<FileId, Template>,
    patterns: HashMap<(ModuleId, String), Found>,
}

impl Templates {
    /// What the pattern that a file of the module names has found; none where the loader reads no such files.
    pub fn found(
        &self,
        module: ModuleId,
        pattern: &Pattern<'_>,
    ) -> Option<Vec<&Result<FileId, (PathBuf, String)>>> {
        let found = pattern.globs().into_iter().map(|glob| self.patterns.get(&(module, glob)));
        found.collect::<Option<Vec<_>>>().map(|found| found.into_iter().flatten().collect())
    }

    /// Takes in those of another program, whose modules and files are somewhere else now.
    pub(crate) fn absorb(&mut self, other: Templates, module: impl Fn(ModuleId) -> ModuleId, moved: Moved) {
        self.files.extend(other.files.into_iter().map(|(id, template)| (moved.file(id), template)));
        let found = |found: Found| found.into_iter().map(|it| it.map(|id| moved.file(id))).collect();
        // Each goes into a map again.
        #[allow(clippy::iter_over_hash_type)]
        for ((id, pattern), files) in other.patterns {
            self.patterns.insert((module(id), pattern), found(files));
        }
    }

    /// The file's parts, if it is one with placeholders.
    pub fn get(&self, file: FileId) -> Option<&Template> {
        self.files.get(&file)
    }
}

/// A text that names files: what to look for, and whether a part of it is only known later.
#[derive(Debug)]
pub struct Pattern<'p> {
    pub expr: &'p Expr,
    /// Placeholders of the text itself stand for anything.
    pub glob: String,
    pub open: bool,
}

impl Pattern<'_> {
    /// All that there is to look for. What is only known later may turn out to name a folder, which stands for its YAML and
    /// JSON files; and whatever else lies beside such a folder is none of them.
    fn globs(&self) -> Vec<String> {
        const EXTENSIONS: [&str; 3] = [".yaml", ".yml", ".json"];
        if !self.open || EXTENSIONS.iter().any(|it| self.glob.ends_with(it)) {
            return vec![self.glob.clone()];
        }
        let glob = self.glob.trim_end_matches('/');
        let anything = glob == "*" || glob.ends_with("/*");
        let itself = if anything { &EXTENSIONS[..] } else { &[""] };
        let inside = EXTENSIONS.iter().map(|it| format!("{glob}/*{it}"));
        itself.iter().map(|it| format!("{glob}{it}")).chain(inside).collect()
    }
}

/// The texts in an expression that name files; says whether there is nothing else in it.
pub fn patterns<'p>(expr: &'p Expr, all: &mut Vec<Pattern<'p>>) -> bool {
    match &expr.kind {
        ExprKind::Text(text) => {
            let open = text.parts.iter().any(|part| matches!(part, TextPart::Expr(_)));
            let mut glob = String::new();
            for part in &text.parts {
                match part {
                    TextPart::Literal(text) => glob.push_str(text),
                    // Two stars would stand for folders at any depth.
                    TextPart::Expr(_) if glob.ends_with('*') => {}
                    TextPart::Expr(_) => glob.push('*'),
                }
            }
            all.push(Pattern { expr, glob, open });
            true
        }
        ExprKind::List(items) => items.iter().filter(|item| !patterns(item, all)).count() == 0,
        ExprKind::Paren(inner) => patterns(inner, all),
        ExprKind::If { then, otherwise, .. } => {
            let known = patterns(then, all);
            patterns(otherwise, all) && known
        }
        _ => false,
    }
}

/// Reads every file that something which looks like a setting for such files names.
pub fn load(program: &mut Program, loader: &dyn Loader) {
    let mut known: HashMap<PathBuf, Result<FileId, (PathBuf, String)>> = HashMap::default();
    for (module, patterns) in wanted(program) {
        let dir = program.module_dir(module).to_path_buf();
        let patterns: Vec<String> = patterns.into_iter().collect();
        let Some(found) = loader.find_files(&dir, &patterns) else { continue };
        for (pattern, found) in patterns.into_iter().zip(found) {
            let mut read = |file: FoundFile| {
                let path = file.map_err(|(path, error)| (normalise(&path), error.to_string()))?;
                let read = |name: &PathBuf| match loader.read_file(&path) {
                    Ok(text) => Ok(add(program, module, name, text)),
                    Err(error) => Err((name.clone(), error.to_string())),
                };
                known.entry(normalise(&path)).or_insert_with_key(read).clone()
            };
            let found = found.into_iter().map(&mut read).collect();
            program.templates.patterns.insert((module, pattern), found);
        }
    }
}

fn add(program: &mut Program, module: ModuleId, path: &std::path::Path, text: String) -> FileId {
    let id = FileId(program.files.len() as u32);
    program.templates.files.insert(id, parse_template(&text));
    let (path, text) = (path.to_path_buf(), Arc::<str>::from(text));
    let lines = Arc::new(Lines::of(&text));
    program.files.push(SourceFile { path, text, module, parse: Arc::default(), lines, imports: Vec::new() });
    id
}

/// Which patterns to look for. Names are not resolved yet: whatever ends like a provider with such settings counts, and
/// what turns out to be something else is never asked for.
fn wanted(program: &Program) -> BTreeMap<ModuleId, BTreeSet<String>> {
    static BUILT_IN: OnceLock<Settings<'static>> = OnceLock::new();
    let built_in = BUILT_IN.get_or_init(|| settings(prelude_files().map(|(_, file)| file)));
    let own = || program.files.iter().filter(|file| file.module != ModuleId::PRELUDE);
    let declared = settings(own());
    let mut wanted: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for file in own() {
        for declaration in &file.parse.file.declarations {
            entries(declaration, &mut |provider, entry| {
                let Some(provider) = provider else { return };
                let names = |of: &Settings<'_>| {
                    of.get(provider).is_some_and(|names| names.contains(entry.name.text.as_str()))
                };
                if names(built_in) || names(&declared) {
                    let mut found = Vec::new();
                    patterns(&entry.value, &mut found);
                    wanted.entry(file.module).or_default().extend(found.iter().flat_map(Pattern::globs));
                }
            });
        }
    }
    wanted
}

/// By the name of a provider the names of its settings and parameters that name such files.
type Settings<'p> = HashMap<&'p str, HashSet<&'p str>>;

fn settings<'p>(files: impl Iterator<Item = &'p SourceFile>) -> Settings<'p> {
    let mut settings: Settings<'p> = HashMap::default();
    for declaration in files.flat_map(|file| &file.parse.file.declarations) {
        if let DeclarationKind::Provider(provider) = &declaration.kind {
            let names = crate::model::words(&provider.settings, SETTING);
            settings.entry(&declaration.name.text).or_default().extend(names);
        }
    }
    settings
}

/// The entries of services and steps, each with the name that may be its provider's.
fn entries<'p>(declaration: &'p Declaration, see: &mut dyn FnMut(Option<&'p str>, &'p Entry)) {
    let name = |path: &'p Path, from_end: usize| {
        let index = path.names.len().checked_sub(from_end)?;
        Some(path.names[index].text.as_str())
    };
    match &declaration.kind {
        DeclarationKind::Service { value, .. } => {
            value.record.entries.iter().for_each(|entry| see(name(&value.path, 1), entry));
        }
        DeclarationKind::Workflow(workflow) => {
            let blocks = workflow.phases.iter().flat_map(|phase| &phase.rollbacks).chain(&workflow.rollbacks);
            let items =
                workflow.phases.iter().map(|phase| &phase.items).chain(blocks.map(|block| &block.items));
            for step in items.flat_map(|items| crate::types::steps_of(items)) {
                // `P.step`, or `P` alone for the step that is called like its provider.
                let from_end = step.path.names.len().min(2);
                step.arguments.entries.iter().for_each(|entry| see(name(&step.path, from_end), entry));
            }
        }
        _ => {}
    }
}

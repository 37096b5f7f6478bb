//! Who is called what: an index from names to declarations, over all modules of a program.

use crate::checks::walk::Walked;
use crate::diagnostic::{Diagnostic, Location};
use crate::program::{FileId, ModuleId, Program, SourceFile, prelude_files};
use crate::suggest;
use crate::types::{ParamInfo, params};
use compact_str::CompactString;
use foldhash::{HashMap, HashSet};
use lockstep_grammar::ast::{
    ArtifactType, Declaration, DeclarationKind, Environment, ExprKind, Name, Path, Provider, Setting,
    Signature, Span, Workflow,
};
use lockstep_grammar::ast::{Param, TextPart};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// A declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeclId {
    pub file: FileId,
    pub index: u32,
}

/// An import: the module, if it could be read.
#[derive(Debug, Clone, Copy)]
pub struct Imported {
    pub module: Option<ModuleId>,
}

/// The names of one module.
#[derive(Debug, Default)]
pub struct Names<'p> {
    /// Where a name is declared several times, the first counts.
    declarations: HashMap<&'p str, DeclId>,
    providers: Vec<DeclId>,
    /// Types of artifacts, whose names are known everywhere.
    artifacts: Vec<&'p ArtifactType>,
    pub imports: BTreeMap<CompactString, Imported>,
    /// Whether there is an import that can neither be read nor named: who knows what it would have brought.
    pub nameless: bool,
}

/// All names of a program: what its models share.
#[derive(Debug)]
pub struct Index<'p> {
    prelude: &'static Names<'static>,
    /// Those of the other modules.
    modules: Vec<Names<'p>>,
    /// By module: see [`Model::declared`] and [`Model::may_be_lost`].
    asked: Vec<Asked<'p>>,
    /// Where several modules declare one, the first counts.
    artifacts: HashMap<&'p str, &'p ArtifactType>,
}

/// What is only found out of a module where something is to be said.
#[derive(Debug, Default)]
struct Asked<'p> {
    sorted: OnceLock<BTreeMap<&'p str, DeclId>>,
    lost: OnceLock<HashSet<&'p str>>,
    heads: OnceLock<Heads<'p>>,
}

/// Heads of declarations that do not tell the name.
#[derive(Debug, Default)]
struct Heads<'p> {
    /// What stands for it where a `(` is missing: the name, and the first parameter behind it.
    joined: Vec<&'p str>,
    /// Whether one has no name at all.
    nameless: bool,
}

/// The prelude never changes: it is looked through once in a process.
static PRELUDE_NAMES: OnceLock<Names<'static>> = OnceLock::new();

/// All names of a program, and what one thread has found out about them.
pub struct Model<'p> {
    pub program: &'p Program,
    index: Arc<Index<'p>>,
    /// Lists of parameters that were read, by where they begin.
    params: RefCell<ReadParams<'p>>,
    /// Steps that were looked for.
    steps: RefCell<FoundSteps<'p>>,
    /// How many more names may be looked at for *did you mean*.
    looks: Cell<usize>,
    /// Imports through which providers were found.
    through: RefCell<HashSet<(ModuleId, String)>>,
    /// What several checks go through.
    pub(crate) walked: Walked<'p>,
}

/// The steps that paths name, by where these begin.
type FoundSteps<'p> = HashMap<(FileId, u32), Option<(DeclId, &'p Signature)>>;

type ReadParams<'p> = HashMap<(FileId, u32), Rc<[ParamInfo<'p>]>>;

/// How many names are looked at for suggestions in one check: a person reads few of a thousand suggestions.
const MOST_LOOKS: usize = 400_000;

impl<'p> Names<'p> {
    /// The declaration of that name.
    pub fn get(&self, name: &str) -> Option<DeclId> {
        self.declarations.get(name).copied()
    }
}

/// What a path begins with, and how many of its names that takes.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub decl: DeclId,
    pub taken: usize,
}

/// Why a path leads nowhere: which of its names, and whether that is some other report's matter.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    pub at: usize,
    pub module: ModuleId,
    pub known_cause: bool,
}

impl<'p> Index<'p> {
    pub fn new(program: &'p Program) -> Self {
        let prelude = PRELUDE_NAMES.get_or_init(|| names_of(prelude_files()));
        let ids = (1..program.modules.len() as u32).map(ModuleId);
        let modules: Vec<Names<'p>> = ids.map(|id| names_of(program.module_files(id))).collect();
        let mut artifacts = HashMap::default();
        for artifact in modules.iter().flat_map(|names| &names.artifacts) {
            artifacts.entry(artifact.name.text.as_str()).or_insert(*artifact);
        }
        for artifact in &prelude.artifacts {
            artifacts.insert(artifact.name.text.as_str(), *artifact);
        }
        let asked = program.modules.iter().map(|_| Asked::default()).collect();
        Index { prelude, modules, asked, artifacts }
    }
}

/// What may be set in a provider.
pub const PROVIDER_SETTINGS: [&str; 5] = ["artifacts", "strategies", "identity", "templates", "program"];

/// Among more errors than these none is looked for that stands in an import.
const MOST_ERRORS: usize = 32;

/// The names of a module's files.
fn names_of<'p>(files: impl Iterator<Item = (FileId, &'p SourceFile)>) -> Names<'p> {
    let mut names = Names::default();
    for (file, source) in files {
        for (index, import) in source.parse.file.imports.iter().enumerate() {
            let module = source.imports.get(index).and_then(|found| found.as_ref().ok()).copied();
            if let Some((name, _)) = import_name(import) {
                names.imports.entry(name).or_insert(Imported { module });
            } else {
                names.nameless |= module.is_none();
            }
        }
        let begins = |at: u32| {
            let line = &source.text[..at as usize];
            let line = &source.text[line.rfind('\n').map_or(0, |newline| newline + 1)..];
            let word = line.trim_start_matches(['#', '@', '-']).trim_start_matches(' ');
            !line.starts_with(' ')
                && ["import", "include", "require", "use ", "from ", "module "]
                    .iter()
                    .any(|known| word.starts_with(known))
        };
        // A line that was to be an import, and was not understood.
        let errors = source.parse.errors.iter().take(MOST_ERRORS);
        names.nameless |= errors.into_iter().any(|error| begins(error.span.start));
        names.declarations.reserve(source.parse.file.declarations.len());
        for (index, declaration) in source.parse.file.declarations.iter().enumerate() {
            let id = DeclId { file, index: index as u32 };
            let first = match names.declarations.entry(declaration.name.text.as_str()) {
                Entry::Vacant(entry) => *entry.insert(id),
                Entry::Occupied(entry) => *entry.get(),
            };
            if let DeclarationKind::Provider(provider) = &declaration.kind {
                names.providers.extend((first == id).then_some(id));
                names.artifacts.extend(&provider.artifacts);
            }
        }
    }
    names
}

impl<'p> Model<'p> {
    pub fn new(program: &'p Program) -> Self {
        Model::sharing(program, &Arc::new(Index::new(program)))
    }

    /// A model with an index that others use, too.
    pub fn sharing(program: &'p Program, index: &Arc<Index<'p>>) -> Self {
        let (params, steps, through, walked) = Default::default();
        let (index, looks) = (Arc::clone(index), Cell::new(MOST_LOOKS));
        Model { program, index, params, steps, looks, through, walked }
    }

    pub fn names(&self, module: ModuleId) -> &Names<'p> {
        match module.0.checked_sub(1) {
            None => self.index.prelude,
            Some(other) => &self.index.modules[other as usize],
        }
    }

    /// The declarations of a module, sorted by name.
    pub fn declared(&self, module: ModuleId) -> &BTreeMap<&'p str, DeclId> {
        let sorted = &self.index.asked[module.0 as usize].sorted;
        // A map whatever the order.
        #[allow(clippy::iter_over_hash_type)]
        sorted.get_or_init(|| self.names(module).declarations.iter().map(|(name, id)| (*name, *id)).collect())
    }

    pub fn module(&self, file: FileId) -> ModuleId {
        self.program.file(file).module
    }

    pub fn decl(&self, id: DeclId) -> &'p Declaration {
        &self.program.declarations(id.file)[id.index as usize]
    }

    pub fn name(&self, id: DeclId) -> &'p str {
        self.decl(id).name.text.as_str()
    }

    /// Where its name is written.
    pub fn location(&self, id: DeclId) -> Location {
        Location { file: id.file, span: self.decl(id).name.span }
    }

    /// Every declaration outside the prelude, in order.
    pub fn declarations(&self) -> impl Iterator<Item = DeclId> + use<'p> {
        let program = self.program;
        let modules = 1..program.modules.len() as u32;
        modules.flat_map(move |module| declarations_of(program, ModuleId(module)))
    }

    /// The declarations of a module, in order.
    pub fn declarations_of(&self, module: ModuleId) -> impl Iterator<Item = DeclId> + use<'p> {
        declarations_of(self.program, module)
    }

    /// The declaration that a path names, seen from a module.
    pub fn find(&self, module: ModuleId, path: &Path) -> Result<Found, Lost> {
        let head = path.names[0].text.as_str();
        if let Some(decl) = self.names(module).get(head) {
            return Ok(Found { decl, taken: 1 });
        }
        let Some(import) = self.names(module).imports.get(head) else {
            return Err(Lost { at: 0, module, known_cause: false });
        };
        let Some(module) = import.module else {
            return Err(Lost { at: 0, module, known_cause: true });
        };
        let found = path.names.get(1).and_then(|name| self.names(module).get(name.text.as_str()));
        match found {
            Some(decl) => Ok(Found { decl, taken: 2 }),
            None => Err(Lost { at: 1, module, known_cause: false }),
        }
    }

    /// The provider that a name means: the module's own, one of an imported module (`common.edge`, or by its own name), or a
    /// built-in one.
    pub fn provider_named(&self, module: ModuleId, name: &str) -> Option<DeclId> {
        let of = |module: ModuleId, name: &str| self.provider_of(module, name);
        let imports = &self.names(module).imports;
        let through = |alias: &str, name: &str| {
            let found = of(imports.get(alias)?.module?, name)?;
            self.through.borrow_mut().insert((module, alias.to_string()));
            Some(found)
        };
        if let Some((alias, name)) = name.split_once('.') {
            return through(alias, name);
        }
        of(module, name)
            .or_else(|| imports.keys().find_map(|alias| through(alias, name)))
            .or_else(|| of(ModuleId::PRELUDE, name))
    }

    /// Whether a name that nothing is known by may be that of a provider, or of a step of one, in a module that is imported and
    /// cannot be read.
    pub fn is_of_unreadable(&self, module: ModuleId, name: &str) -> bool {
        let names = self.names(module);
        let head = name.split('.').next().unwrap_or_default();
        if let Some(import) = names.imports.get(head) {
            return import.module.is_none();
        }
        let unreadable = names.nameless || names.imports.values().any(|import| import.module.is_none());
        // Providers of imported modules are in sight by their own names.
        unreadable && suggest::nearest(head, self.provider_names(module)).is_none()
    }

    /// Whether more than a detail of a declaration may not have been understood.
    pub fn is_broken(&self, id: DeclId) -> bool {
        self.program.is_broken(id.file, self.decl(id).span)
    }

    /// The provider that a module declares by that name.
    fn provider_of(&self, module: ModuleId, name: &str) -> Option<DeclId> {
        let names = self.names(module);
        // Few modules declare any.
        if names.providers.is_empty() {
            return None;
        }
        names.get(name).filter(|id| self.as_provider(*id).is_some())
    }

    /// The imports through which providers were found.
    pub fn gone_through(&self) -> HashSet<(ModuleId, String)> {
        self.through.take()
    }

    /// The declaration that a name means, which may be one of an imported module: `common.sre`.
    pub fn find_name(&self, module: ModuleId, name: &Name) -> Option<DeclId> {
        let path = path_of(name);
        self.find(module, &path).ok().filter(|found| found.taken == path.names.len()).map(|found| found.decl)
    }

    /// The provider at the start of a path, and how many names that takes.
    pub fn find_provider(&self, module: ModuleId, path: &Path) -> Option<Found> {
        if self.names(module).imports.is_empty() {
            // Only the module's own and the built-in ones are in sight.
            let named = |module: ModuleId| self.provider_of(module, &path.names[0].text);
            let decl = named(module).or_else(|| named(ModuleId::PRELUDE))?;
            return Some(Found { decl, taken: 1 });
        }
        if let Ok(found) = self.find(module, path)
            && self.as_provider(found.decl).is_some()
        {
            return Some(found);
        }
        self.provider_named(module, &path.names[0].text).map(|decl| Found { decl, taken: 1 })
    }

    /// Names of every provider that a module sees.
    pub fn provider_names(&self, module: ModuleId) -> Vec<&'p str> {
        let imports = self.names(module).imports.values().filter_map(|import| import.module);
        let mut names: Vec<&str> = [module, ModuleId::PRELUDE]
            .into_iter()
            .chain(imports)
            .flat_map(|module| &self.names(module).providers)
            .map(|id| self.name(*id))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names of the deployment types that a module sees, sorted.
    pub fn deployment_types(&self, module: ModuleId) -> Vec<&'p str> {
        let mut names = self.provider_names(module);
        names.retain(|name| self.provider_named(module, name).is_none_or(|id| self.is_deployment_type(id)));
        names
    }

    pub fn as_provider(&self, id: DeclId) -> Option<&'p Provider> {
        match &self.decl(id).kind {
            DeclarationKind::Provider(provider) => Some(provider),
            _ => None,
        }
    }

    /// What a declaration is called in a module: one of an imported module with the import's name before it.
    pub fn name_in(&self, module: ModuleId, id: DeclId) -> String {
        let own = self.module(id.file);
        let mut imports = self.names(module).imports.iter();
        match imports.find(|(_, import)| own != module && import.module == Some(own)) {
            Some((alias, _)) => format!("{alias}.{}", self.name(id)),
            None => self.name(id).to_string(),
        }
    }

    /// Whether all settings of a provider are such as there are: a misspelt one may be any of them.
    pub fn has_clear_settings(&self, id: DeclId) -> bool {
        let settings = self.as_provider(id).map_or(&[][..], |provider| &provider.settings);
        settings.iter().all(|setting| PROVIDER_SETTINGS.contains(&setting.name.text.as_str()))
    }

    pub fn as_workflow(&self, id: DeclId) -> Option<&'p Workflow> {
        match &self.decl(id).kind {
            DeclarationKind::Workflow(workflow) => Some(workflow),
            _ => None,
        }
    }

    pub fn as_environment(&self, id: DeclId) -> Option<&'p Environment> {
        match &self.decl(id).kind {
            DeclarationKind::Environment(environment) => Some(environment),
            _ => None,
        }
    }

    /// What a list of parameters says. Its own problems are reported where it stands.
    pub fn params(&self, file: FileId, items: &'p [Param]) -> Rc<[ParamInfo<'p>]> {
        let Some(first) = items.first() else { return Rc::default() };
        let key = (file, first.span.start);
        if let Some(known) = self.params.borrow().get(&key) {
            return Rc::clone(known);
        }
        self.read_params(file, items, &mut Vec::new())
    }

    /// As [`Model::params`], where it stands: its own problems go to `sink`.
    pub fn read_params(
        &self,
        file: FileId,
        items: &'p [Param],
        sink: &mut Vec<Diagnostic>,
    ) -> Rc<[ParamInfo<'p>]> {
        let Some(first) = items.first() else { return Rc::default() };
        let infos: Rc<[ParamInfo<'p>]> = params(self, file, items, sink).into();
        self.params.borrow_mut().insert((file, first.span.start), Rc::clone(&infos));
        infos
    }

    /// Names among which a suggestion may be looked for: none of them when a great many were looked at before.
    pub fn candidates<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
        if !self.may_look() {
            return Vec::new();
        }
        let names: Vec<&str> = names.into_iter().collect();
        self.look(names.len());
        names
    }

    /// Whether there is time left to look for what would fit.
    pub fn may_look(&self) -> bool {
        self.looks.get() > 0
    }

    /// Starts to count anew.
    pub fn look_again(&self) {
        self.looks.set(MOST_LOOKS);
    }

    /// Counts a search among so many names.
    pub fn look(&self, among: usize) {
        const EACH: usize = 1000;
        self.looks.set(self.looks.get().saturating_sub(among + EACH));
    }

    /// Whether a name seems to be declared in a file of the module where something was not understood.
    pub fn may_be_lost(&self, module: ModuleId, name: &str) -> bool {
        const KINDS: [&str; 9] = [
            "service",
            "environment",
            "secret",
            "channel",
            "group",
            "resource",
            "workflow",
            "pipeline",
            "provider",
        ];
        let lost = self.index.asked[module.0 as usize].lost.get_or_init(|| {
            let files = self.program.module_files(module);
            let damaged = files.filter(|(_, file)| !file.parse.damaged.is_empty());
            // `resource "lock" "gate" {`
            let is_quoted = |line: &&str| {
                let behind = KINDS.iter().filter_map(|kind| line.strip_prefix(kind));
                behind.into_iter().any(|behind| behind.trim_start().starts_with('"'))
            };
            let quoted = move |text: &'p str| text.lines().filter(is_quoted).flat_map(|line| line.split('"'));
            // `oncall { …`, `"../shared"`: what it is does not stand before it.
            let heads = |text: &'p str| {
                let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
                let heads = lines.filter(|line| line.starts_with(|c: char| c.is_alphanumeric()));
                let paths = text.lines().filter(|line| line.starts_with('"'));
                let paths = paths.flat_map(|line| line.split(['"', '/', ' ']));
                let heads = heads.filter_map(|line| line.split(['{', '(', '=', ':', '"']).next());
                heads.flat_map(|head| head.split(' ')).chain(paths)
            };
            let names = |text: &'p str| {
                let after = names_after(text, &KINDS).into_iter().chain(imported_names(text));
                after.chain(quoted(text)).chain(heads(text))
            };
            damaged.flat_map(|(_, file)| names(&file.text)).collect()
        });
        let heads = self.index.asked[module.0 as usize].heads.get_or_init(|| {
            let mut heads = Heads::default();
            let files = self.program.module_files(module);
            let damaged = files.filter(|(_, file)| !file.parse.damaged.is_empty());
            for line in damaged.flat_map(|(_, file)| file.text.lines()) {
                let kind = KINDS.iter().find(|kind| line.starts_with(**kind));
                let Some(rest) = kind.map(|kind| &line[kind.len()..]) else { continue };
                heads.nameless |= rest.trim_start().starts_with(['(', '{', '=']);
                match rest.strip_prefix(' ').and_then(|rest| rest.split_once(':')) {
                    Some((name, _)) if heads.joined.len() < MOST_ERRORS && is_word(name) => {
                        heads.joined.push(name);
                    }
                    _ => {}
                }
            }
            heads
        });
        let is_joined = || heads.joined.iter().any(|joined| joined.starts_with(name));
        lost.contains(name) || heads.nameless || is_joined() || self.program.is_incomplete(module)
    }

    /// A step of a provider; without a name the one that is called like the provider.
    pub fn signature(&self, provider: DeclId, step: &str) -> Option<&'p Signature> {
        self.as_provider(provider)?.steps.iter().find(|signature| signature.name.text == step)
    }

    /// The step that a path of that file names: its provider and signature.
    pub fn find_step(&self, file: FileId, path: &Path) -> Option<(DeclId, &'p Signature)> {
        let key = (file, path.span.start);
        if let Some(known) = self.steps.borrow().get(&key) {
            return *known;
        }
        let found = self.look_for_step(self.module(file), path);
        self.steps.borrow_mut().insert(key, found);
        found
    }

    fn look_for_step(&self, module: ModuleId, path: &Path) -> Option<(DeclId, &'p Signature)> {
        let found = self.find_provider(module, path)?;
        let step = match &path.names[found.taken..] {
            [] => self.name(found.decl),
            [step] => step.text.as_str(),
            _ => return None,
        };
        Some((found.decl, self.signature(found.decl, step)?))
    }

    /// An artifact type, with the provider that declares it.
    pub fn artifact(&self, name: &str) -> Option<&'p ArtifactType> {
        self.index.artifacts.get(name).copied()
    }

    /// The names of all artifact types, sorted.
    pub fn artifact_names(&self) -> Vec<&'p str> {
        let mut names: Vec<&str> = self.index.artifacts.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// The artifact types that a provider takes.
    pub fn artifacts_of(&self, provider: DeclId) -> Vec<&'p str> {
        self.as_provider(provider).map(|provider| words(&provider.settings, "artifacts")).unwrap_or_default()
    }

    /// Whether services and targets of this type exist: it is not one of the general ones.
    pub fn is_deployment_type(&self, provider: DeclId) -> bool {
        self.as_provider(provider)
            .is_some_and(|provider| provider.infrastructure.is_some() || provider.service.is_some())
    }
}

fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

fn declarations_of(program: &Program, module: ModuleId) -> impl Iterator<Item = DeclId> {
    program.module_files(module).flat_map(|(file, source)| {
        (0..source.parse.file.declarations.len()).map(move |index| DeclId { file, index: index as u32 })
    })
}

/// The names that follow one of these words and a space.
pub fn names_after<'t>(text: &'t str, words: &[&str]) -> Vec<&'t str> {
    let after = |word: &&str| {
        let word = word.to_string();
        text.match_indices(word.as_str())
            .filter_map(|(at, word)| text[at + word.len()..].strip_prefix(' '))
            .map(|rest| leading_name(rest.trim_start()))
            .collect::<Vec<_>>()
    };
    words.iter().flat_map(after).collect()
}

/// What lines that begin with `import` may bring in, whether they can be read or not.
fn imported_names(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("import"));
    lines.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')))
}

/// The name that a text begins with; may be empty.
fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
    &text[..end.unwrap_or(text.len())]
}

/// The names that stand before a colon.
pub fn names_before_colon(text: &str) -> Vec<&str> {
    let before = text.match_indices(':').map(|(at, _)| &text[..at]);
    let name = |text: &'_ str| text.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
    before
        .map(|text| match name(text) {
            Some(at) => {
                text[at..].trim_start_matches(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            }
            None => text,
        })
        .collect()
}

/// What an import is called: its alias, else the last name of its path. None where that is no identifier.
pub fn import_name(import: &lockstep_grammar::ast::Import) -> Option<(CompactString, Span)> {
    if let Some(alias) = &import.alias {
        return Some((alias.text.clone(), alias.span));
    }
    let last = import.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut chars = last.chars();
    let good = chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    good.then(|| (last.into(), import.path_span))
}

/// A name as a path: where it may be one of another module, it holds a dot.
pub fn path_of(name: &Name) -> Path {
    let mut start = name.span.start as usize;
    let part = |text: &str| {
        let span = Span::new(start, start + text.len());
        start += text.len() + 1;
        Name { text: text.into(), span }
    };
    Path { names: name.text.split('.').map(part).collect(), span: name.span }
}

/// The setting of that name.
pub fn setting<'p>(settings: &'p [Setting], name: &str) -> Option<&'p Setting> {
    settings.iter().find(|setting| setting.name.text == name)
}

/// The word, or the words of the list, that a setting is given.
pub fn words<'p>(settings: &'p [Setting], name: &str) -> Vec<&'p str> {
    fn word(kind: &ExprKind) -> Option<&str> {
        match kind {
            ExprKind::Path(path) if path.names.len() == 1 => Some(path.names[0].text.as_str()),
            // In quotes, which is reported, it is still the word that is meant.
            ExprKind::Text(text) => match text.parts.as_slice() {
                [TextPart::Literal(word)] => Some(word.as_str()),
                _ => None,
            },
            _ => None,
        }
    }
    match setting(settings, name).map(|setting| &setting.value.kind) {
        Some(ExprKind::List(items)) => items.iter().filter_map(|item| word(&item.kind)).collect(),
        Some(kind) => word(kind).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Whether a setting says `true`.
pub fn flag(settings: &[Setting], name: &str) -> bool {
    matches!(setting(settings, name).map(|setting| &setting.value.kind), Some(ExprKind::Bool(true)))
}

//! A program: the files of every module that is reached, read and parsed, the prelude among them.

use crate::diagnostic::Location;
use crate::lines::Lines;
use crate::parallel;
use crate::templates::{self, Templates};
use foldhash::HashMap;
use lockstep_grammar::ast::{Declaration, File, Span};
use lockstep_grammar::{Parse, parse};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Index into [`Program::files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// Index of a module; the prelude is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub u32);

impl ModuleId {
    /// The module of the built-in providers.
    pub const PRELUDE: ModuleId = ModuleId(0);
}

/// Where the files of modules come from.
pub trait Loader {
    /// The `.lockstep` files of one directory with their text, sorted by name.
    ///
    /// # Errors
    /// When the directory or one of its files cannot be read.
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>>;

    /// As [`Loader::read_module`], for directories where that failed: what can be read counts nevertheless.
    ///
    /// # Errors
    /// When the directory itself cannot be read.
    fn read_each(&self, dir: &Path) -> io::Result<Vec<(PathBuf, io::Result<String>)>> {
        Ok(self.read_module(dir)?.into_iter().map(|(path, text)| (path, Ok(text))).collect())
    }

    /// What tells whether two spellings mean the same directory.
    fn identity(&self, dir: &Path) -> PathBuf {
        normalise(dir)
    }

    /// For each of these patterns (`k8s/*.yaml`, seen from `dir`) the files that it names, sorted, or why it cannot be followed
    /// further; none where it matches nothing. `None`: this loader knows sources only, and nothing is said about such files.
    fn find_files(&self, dir: &Path, patterns: &[String]) -> Option<Vec<Vec<FoundFile>>> {
        let _ = (dir, patterns);
        None
    }

    /// The text of a file that was found in this way.
    ///
    /// # Errors
    /// When it cannot be read, or is not text.
    fn read_file(&self, path: &Path) -> io::Result<String> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A file, or a place at which looking for files failed.
pub type FoundFile = Result<PathBuf, (PathBuf, io::Error)>;

/// A directory that was asked for could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the module `{}`: {source}", dir.display())]
pub struct LoadError {
    /// Which directory.
    pub dir: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// One file.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// As the loader named it; files of the prelude are `<prelude>/NAME.lockstep`.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// Its module.
    pub module: ModuleId,
    /// What it says.
    pub parse: Arc<Parse>,
    /// From offsets to lines and columns.
    pub lines: Arc<Lines>,
    /// For each import of the file the module, or why there is none.
    pub(crate) imports: Vec<Result<ModuleId, String>>,
}

impl From<Unparsed> for SourceFile {
    fn from(Unparsed { path, text, module }: Unparsed) -> Self {
        let parse = Arc::new(parse(&text));
        let lines = Arc::new(Lines::of(&text));
        SourceFile { path, text, module, parse, lines, imports: Vec::new() }
    }
}

/// A file that has been read.
#[derive(Debug, Clone)]
pub(crate) struct Unparsed {
    pub path: PathBuf,
    pub text: Arc<str>,
    pub module: ModuleId,
}

/// One directory.
#[derive(Debug)]
pub(crate) struct Module {
    pub dir: PathBuf,
    pub files: Vec<FileId>,
}

/// Where files of a program are in one that has taken it in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    /// Those before have stayed.
    from: u32,
    by: u32,
}

impl Moved {
    /// The file's new id.
    pub fn file(self, id: FileId) -> FileId {
        if id.0 < self.from { id } else { FileId(id.0 + self.by) }
    }
}

/// All files of the modules that were asked for, of those they import, and of the prelude.
#[derive(Debug)]
pub struct Program {
    pub(crate) modules: Vec<Module>,
    pub(crate) files: Vec<SourceFile>,
    pub(crate) templates: Templates,
    unreadable: Vec<(ModuleId, PathBuf, String)>,
    identities: HashMap<PathBuf, ModuleId>,
}

const PRELUDE: &[(&str, &str)] = &[
    ("general", include_str!("prelude/general.lockstep")),
    ("kubernetes", include_str!("prelude/kubernetes.lockstep")),
    ("local", include_str!("prelude/local.lockstep")),
    ("others", include_str!("prelude/others.lockstep")),
    ("sources", include_str!("prelude/sources.lockstep")),
    ("ssh", include_str!("prelude/ssh.lockstep")),
];

fn prelude_file((name, text): &(&str, &str)) -> SourceFile {
    let path = format!("<prelude>/{name}.lockstep").into();
    Unparsed { path, text: (*text).into(), module: ModuleId::PRELUDE }.into()
}

/// The prelude never changes: it is parsed once in a process.
static PRELUDE_FILES: OnceLock<Vec<SourceFile>> = OnceLock::new();

/// The files of the prelude, which come first in every program.
pub(crate) fn prelude_files() -> impl Iterator<Item = (FileId, &'static SourceFile)> {
    let files = PRELUDE_FILES.get_or_init(|| PRELUDE.iter().map(prelude_file).collect());
    files.iter().enumerate().map(|(index, file)| (FileId(index as u32), file))
}

impl Program {
    /// Reads the modules in these directories and everything they import.
    ///
    /// # Errors
    /// When one of `roots` cannot be read. An import that cannot be read is a diagnostic instead.
    pub fn load(loader: &dyn Loader, roots: &[PathBuf]) -> Result<Program, LoadError> {
        let mut program = Program::with_modules(loader, roots)?;
        program.load_named(loader);
        Ok(program)
    }

    /// The prelude alone.
    pub(crate) fn empty() -> Program {
        let prelude =
            Module { dir: "<prelude>".into(), files: (0..PRELUDE.len() as u32).map(FileId).collect() };
        Program {
            modules: vec![prelude],
            files: prelude_files().map(|(_, file)| file.clone()).collect(),
            templates: Templates::default(),
            unreadable: Vec::new(),
            identities: HashMap::default(),
        }
    }

    /// Reads the modules in these directories, without what they name.
    pub(crate) fn with_modules(loader: &dyn Loader, roots: &[PathBuf]) -> Result<Program, LoadError> {
        let mut program = Program::empty();
        let mut unparsed = Vec::new();
        for root in roots {
            let read = program.module(loader, root, &mut unparsed);
            read.map_err(|source| LoadError { dir: root.clone(), source })?;
        }
        program.parse(unparsed);
        Ok(program)
    }

    /// Reads what the modules name: what they import, and so on, and files with placeholders.
    pub(crate) fn load_named(&mut self, loader: &dyn Loader) {
        // What the files of one round import is read for the next.
        let mut done = PRELUDE.len();
        while done < self.files.len() {
            let round = done..self.files.len();
            done = round.end;
            let mut unparsed = Vec::new();
            for index in round {
                let file = &self.files[index];
                let dir = self.module_dir(file.module).to_path_buf();
                let parse = Arc::clone(&file.parse);
                let mut imported = |path: &str| {
                    let dir = normalise(&dir.join(path));
                    self.module(loader, &dir, &mut unparsed).map_err(|error| error.to_string())
                };
                let imports = parse.file.imports.iter().map(|import| imported(&import.path)).collect();
                self.files[index].imports = imports;
            }
            self.parse(unparsed);
        }
        templates::load(self, loader);
    }

    fn parse(&mut self, unparsed: Vec<Unparsed>) {
        self.files.extend(parallel::map(unparsed, |file| file.text.len(), SourceFile::from));
    }

    /// Takes in the modules of another program that are not here yet; what they name keeps its place beside them. Says where
    /// its files are now.
    pub(crate) fn absorb(&mut self, other: Program) -> Moved {
        let moved = Moved { from: PRELUDE.len() as u32, by: (self.files.len() - PRELUDE.len()) as u32 };
        let by = self.modules.len() as u32 - 1;
        let module = |id: ModuleId| if id == ModuleId::PRELUDE { id } else { ModuleId(id.0 + by) };
        self.modules.extend(other.modules.into_iter().skip(1).map(|it| Module {
            dir: it.dir,
            files: it.files.into_iter().map(|id| moved.file(id)).collect(),
        }));
        self.files.extend(other.files.into_iter().skip(PRELUDE.len()).map(|file| SourceFile {
            module: module(file.module),
            imports: file.imports.into_iter().map(|import| import.map(module)).collect(),
            ..file
        }));
        self.templates.absorb(other.templates, module, moved);
        self.unreadable.extend(other.unreadable.into_iter().map(|(id, path, why)| (module(id), path, why)));
        self.identities.extend(other.identities.into_iter().map(|(identity, id)| (identity, module(id))));
        moved
    }

    /// Whether a file imports something.
    pub(crate) fn has_imports(&self) -> bool {
        self.files.iter().any(|file| !file.parse.file.imports.is_empty())
    }

    /// The length of all source files, in bytes, without the prelude's.
    pub(crate) fn size(&self) -> usize {
        self.files[PRELUDE.len()..].iter().map(|file| file.text.len()).sum()
    }

    /// Whether none of its modules is in the other program.
    pub(crate) fn is_apart_from(&self, other: &Program) -> bool {
        self.identities.keys().all(|identity| !other.identities.contains_key(identity))
    }

    /// The module in that directory; its files are added to `unparsed` unless it is known.
    fn module(
        &mut self,
        loader: &dyn Loader,
        dir: &Path,
        unparsed: &mut Vec<Unparsed>,
    ) -> io::Result<ModuleId> {
        let identity = loader.identity(dir);
        if let Some(module) = self.identities.get(&identity) {
            return Ok(*module);
        }
        let mut unreadable = Vec::new();
        let files = match loader.read_module(dir) {
            Ok(files) => files,
            Err(error) => {
                let mut files = Vec::new();
                // What cannot be read hides nothing that can.
                for (path, text) in loader.read_each(dir).map_err(|_| error)? {
                    match text {
                        Ok(text) => files.push((path, text)),
                        Err(error) => unreadable.push((path, error.to_string())),
                    }
                }
                files
            }
        };
        let module = ModuleId(self.modules.len() as u32);
        let first = self.files.len() + unparsed.len();
        self.unreadable.extend(unreadable.into_iter().map(|(path, reason)| (module, path, reason)));
        unparsed.extend(files.into_iter().map(|(path, text)| Unparsed { path, text: text.into(), module }));
        let files = (first..self.files.len() + unparsed.len()).map(|index| FileId(index as u32)).collect();
        self.modules.push(Module { dir: normalise(dir), files });
        self.identities.insert(identity, module);
        Ok(module)
    }

    /// What to delete so that something is gone: its whole line, if nothing else stands there, else the blanks before it, too.
    pub(crate) fn removal(&self, at: Location) -> Location {
        let SourceFile { text, lines, .. } = self.file(at.file);
        let line = lines.line(lines.position(at.span.start).line);
        let (start, end) = (at.span.start as usize, at.span.end as usize);
        let before = text[line.start as usize..start].trim_end_matches([' ', '\t']);
        let rest = &text[end..];
        let after = rest.trim_start_matches([' ', '\t', '\r']);
        let span = if before.is_empty() && (after.is_empty() || after.starts_with('\n')) {
            let newline = usize::from(!after.is_empty());
            Span::new(line.start as usize, end + rest.len() - after.len() + newline)
        } else {
            Span::new(line.start as usize + before.len(), end)
        };
        Location { file: at.file, span }
    }

    /// A file.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// Source files of the program's modules that could not be read, and why not. What is found without them may not be all.
    pub fn unreadable(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.unreadable.iter().map(|(_, path, reason)| (path.as_path(), reason.as_str()))
    }

    /// Whether a file of the module could not be read, so that what is missing may stand there.
    pub(crate) fn is_incomplete(&self, module: ModuleId) -> bool {
        self.unreadable.iter().any(|(of, ..)| *of == module)
    }

    /// Whether it is a file with placeholders, such as a manifest, and no source.
    pub fn is_template(&self, id: FileId) -> bool {
        self.templates.get(id).is_some()
    }

    /// Every file, those of the prelude first.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(index as u32), file))
    }

    /// The module in that directory, if it was read.
    pub fn module_of(&self, dir: &Path) -> Option<ModuleId> {
        let dir = normalise(dir);
        let found = self.modules.iter().position(|module| module.dir == dir);
        found.map(|index| ModuleId(index as u32)).or_else(|| self.identities.get(&dir).copied())
    }

    /// The files of a module.
    pub fn module_files(&self, module: ModuleId) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.modules[module.0 as usize].files.iter().map(|id| (*id, self.file(*id)))
    }

    /// The directory of a module, normalised.
    pub fn module_dir(&self, module: ModuleId) -> &Path {
        &self.modules[module.0 as usize].dir
    }

    /// Names of the pipelines of a module, in source order.
    pub fn pipelines(&self, module: ModuleId) -> Vec<&str> {
        use lockstep_grammar::ast::DeclarationKind::Pipeline;
        self.module_files(module)
            .flat_map(|(_, file)| &file.parse.file.declarations)
            .filter(|declaration| matches!(declaration.kind, Pipeline(_)))
            .map(|declaration| declaration.name.text.as_str())
            .collect()
    }

    pub(crate) fn tree(&self, id: FileId) -> &File {
        &self.file(id).parse.file
    }

    pub(crate) fn declarations(&self, id: FileId) -> &[Declaration] {
        &self.tree(id).declarations
    }

    /// Whether something in that range was not understood, so that what is missing there may be a consequence.
    pub(crate) fn is_damaged(&self, id: FileId, span: Span) -> bool {
        self.damaged(id, span).next().is_some()
    }

    /// Where in that range something was not understood.
    pub(crate) fn damaged(&self, id: FileId, span: Span) -> impl Iterator<Item = Span> + '_ {
        within(&self.file(id).parse.damaged, span)
    }

    /// Whether a step, or something else that is more than a detail, may have been left out in that range.
    pub(crate) fn is_broken(&self, id: FileId, span: Span) -> bool {
        self.broken(id, span).next().is_some()
    }

    /// Where in that range that is so.
    pub(crate) fn broken(&self, id: FileId, span: Span) -> impl Iterator<Item = Span> + '_ {
        within(&self.file(id).parse.broken, span)
    }

    /// Brackets in that range in which details were left out.
    pub(crate) fn without_details(&self, id: FileId, span: Span) -> impl Iterator<Item = Span> + '_ {
        let parse = &self.file(id).parse;
        within(&parse.damaged, span).filter(|it| parse.broken.binary_search(it).is_err())
    }

    /// The text at that place.
    pub(crate) fn text(&self, id: FileId, span: Span) -> &str {
        self.file(id).text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// Those of these spans, which are in source order, that lie within that one.
fn within(spans: &[Span], span: Span) -> impl Iterator<Item = Span> + '_ {
    let first = spans.partition_point(|it| it.start < span.start);
    spans[first..]
        .iter()
        .copied()
        .take_while(move |it| it.start <= span.end)
        .filter(move |it| it.end <= span.end)
}

/// Whether a file of that name belongs to its directory's module.
pub(crate) fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lockstep")
}

/// Without `.` and, as far as the spelling tells, without `..`. Empty is the current directory.
pub fn normalise(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match result.components().next_back() {
                Some(Component::Normal(_)) => {
                    result.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => result.push(".."),
            },
            other => result.push(other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_by_spelling() {
        for (path, expected) in
            [("./a/../b", "b"), ("../a", "../a"), ("a/..", ""), ("/a/../../b", "/b"), ("a//b/.", "a/b")]
        {
            assert_eq!(normalise(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}

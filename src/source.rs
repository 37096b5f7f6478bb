//! From paths to programs and plans: walking directories, standard input, and diagnostics on the screen.

use crate::failure::{Failure, say};
use ignore::WalkState;
use lockstep_compiler::{Diagnostic, DiskLoader, FoundFile, Loader, Lowered, Program, Purpose, Severity};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::FileType;
use std::io::{IsTerminal, Read};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The directory of the module that a path means: itself, or the one that holds it.
pub fn module_of(path: &Path) -> Result<PathBuf, Failure> {
    let kind = std::fs::metadata(path).map_err(|error| Failure::io("read", path, &error))?;
    if kind.is_dir() {
        return Ok(path.to_path_buf());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() })
}

/// Standard input with its name, where a path says `-`; it stands in for the file of that name.
#[derive(Default)]
pub struct Input(pub Option<(PathBuf, String)>);

impl Input {
    /// Reads it, where one of the paths asks for that.
    pub fn read(paths: &[PathBuf], stdin_filename: Option<&Path>) -> Result<Input, Failure> {
        if !paths.iter().any(|path| is_input(path)) {
            return Ok(Input(None));
        }
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
        Ok(Input(Some((stdin_filename.unwrap_or(Path::new(NAMELESS)).to_path_buf(), text))))
    }
}

/// What input without a name is called.
const NAMELESS: &str = "stdin.lockstep";

/// The module of input without a name: it stands alone, and whatever lies about has nothing to do with it.
const NOWHERE: &str = "<stdin>";

fn is_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What `check` looks at.
#[derive(Default)]
pub struct Selection {
    /// Directories of modules.
    pub modules: BTreeSet<PathBuf>,
    /// Findings in these files are wanted: those that were named, and those that walking found.
    pub files: BTreeSet<PathBuf>,
    /// The files that were named or found by walking.
    pub sources: Vec<PathBuf>,
    /// Directories that were named; then findings in modules that theirs import are wanted too.
    pub directories: Vec<PathBuf>,
}

impl Selection {
    /// Finds the modules that paths mean. Directories are walked as far as `.gitignore` lets. Each module is told once, when
    /// it is found, so that it can be looked at while the walk goes on.
    pub fn find(
        paths: &[PathBuf],
        stdin_filename: Option<&Path>,
        mut tell: impl FnMut(&Path) + Send,
    ) -> Result<Selection, Failure> {
        let here = [PathBuf::from(".")];
        let paths = if paths.is_empty() { &here[..] } else { paths };
        let mut selection = Selection::default();
        for path in paths {
            if is_input(path) {
                let name = stdin_filename.unwrap_or(Path::new(NAMELESS));
                let dir =
                    stdin_filename.map_or(Path::new(NOWHERE), |name| name.parent().unwrap_or(Path::new("")));
                selection.files.insert(name.to_path_buf());
                selection.add(dir, &mut tell);
                continue;
            }
            let kind = std::fs::metadata(path).map_err(|error| Failure::io("read", path, &error))?;
            if kind.is_file() {
                if path.extension().is_none_or(|extension| extension != "lockstep") {
                    return Err(Failure::new(format!("`{}` is not a Lockstep file", path.display()))
                        .help("source files end in `.lockstep`; a directory means all of its source files"));
                }
                selection.add(&normal(&module_of(path)?), &mut tell);
                selection.files.insert(normal(path));
                selection.sources.push(path.clone());
                continue;
            }
            selection.directories.push(path.clone());
            walk(path, |found, kind| {
                let file = normal(&found);
                match file.parent() {
                    Some(parent) if kind.is_file() => selection.add(parent, &mut tell),
                    _ => selection.add(&normal(&module_of(&found)?), &mut tell),
                }
                selection.files.insert(file.clone());
                selection.sources.push(file);
                Ok(())
            })?;
        }
        if selection.modules.is_empty() {
            let paths: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
            return Err(Failure::new(format!("there is no `.lockstep` file in {}", paths.join(", "))));
        }
        Ok(selection)
    }

    fn add(&mut self, module: &Path, tell: &mut impl FnMut(&Path)) {
        if !self.modules.contains(module) {
            tell(module);
            self.modules.insert(module.to_path_buf());
        }
    }

    /// The directories of all modules, in an order that is always the same.
    pub fn roots(&self) -> Vec<PathBuf> {
        self.modules.iter().cloned().collect()
    }
}

/// Shows the source files below a directory, as far as `.gitignore` lets, in any order.
fn walk(
    path: &Path,
    see: impl FnMut(PathBuf, FileType) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let mut walk = ignore::WalkBuilder::new(path);
    walk.require_git(false).git_global(crate::ignored::may_be_global());
    let state = Mutex::new((see, Vec::new(), Vec::new()));
    // The parallel walk knows from a directory's list whether there are rules in it; the other asks for each file of that
    // name. A second thread waits at the end, which takes longer than a small tree.
    walk.threads(1).build_parallel().run(|| {
        Box::new(|entry| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let (see, unread, failed) = &mut *state;
            match entry {
                Err(error) => unread.push(error.to_string()),
                Ok(entry) => {
                    let is_source = entry.path().extension().is_some_and(|extension| extension == "lockstep");
                    if let Some(kind) = entry.file_type().filter(|kind| is_source && !kind.is_dir()) {
                        failed.extend(see(entry.into_path(), kind).err());
                    }
                }
            }
            WalkState::Continue
        })
    });
    let (_, unread, failed) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = unread.iter().min() {
        return Err(Failure::new(format!("cannot walk `{}`: {error}", path.display())));
    }
    failed.into_iter().next().map_or(Ok(()), Err)
}

fn normal(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

impl Selection {
    /// Whether findings in that file are wanted.
    pub fn wants(&self, file: &Path) -> bool {
        let file = normal(file);
        let module = file.parent().unwrap_or(Path::new(""));
        let imported = || !self.modules.contains(module);
        self.files.contains(&file) || (!self.directories.is_empty() && imported())
    }

    /// Whether findings in what that module names are wanted.
    pub fn wants_module(&self, dir: &Path) -> bool {
        let dir = normal(dir);
        !self.directories.is_empty() || self.modules.iter().any(|known| normal(known) == dir)
    }
}

/// Modules from the disk, with standard input in place of the file whose name it has.
impl Loader for Input {
    fn read_module(&self, dir: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
        let Some((name, text)) = &self.0 else { return DiskLoader.read_module(dir) };
        if dir == Path::new(NOWHERE) {
            return Ok(vec![(name.clone(), text.clone())]);
        }
        let own = normal(dir) == normal(name.parent().unwrap_or(Path::new("")));
        let mut files = match DiskLoader.read_module(dir) {
            // The name says what to call the input, not that such a place exists.
            Err(error) if own && error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        if own {
            files.retain(|(path, _)| path.file_name() != name.file_name());
            files.push((name.clone(), text.clone()));
            files.sort();
        }
        Ok(files)
    }

    fn read_each(&self, dir: &Path) -> std::io::Result<Vec<(PathBuf, std::io::Result<String>)>> {
        match &self.0 {
            None => DiskLoader.read_each(dir),
            Some(_) => Ok(self.read_module(dir)?.into_iter().map(|(path, text)| (path, Ok(text))).collect()),
        }
    }

    fn find_files(&self, dir: &Path, patterns: &[String]) -> Option<Vec<Vec<FoundFile>>> {
        // Input without a name lies nowhere, and so do the files that it names.
        (dir != Path::new(NOWHERE)).then(|| DiskLoader.find_files(dir, patterns)).flatten()
    }

    fn read_file(&self, path: &Path) -> std::io::Result<String> {
        DiskLoader.read_file(path)
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        if dir == Path::new(NOWHERE) { dir.to_path_buf() } else { DiskLoader.identity(dir) }
    }
}

/// Whether every source file could be read.
pub fn readable(program: &Program) -> Result<(), Failure> {
    let files: Vec<String> =
        program.unreadable().map(|(path, reason)| format!("`{}`: {reason}", path.display())).collect();
    match files.as_slice() {
        [] => Ok(()),
        files => Err(Failure::new(format!("cannot read {}", files.join(", ")))
            .help("source files are text in UTF-8; what was found in the others is not all there is")),
    }
}

/// So many diagnostics are worth a thread for each core.
const MANY: usize = 256;

/// Draws diagnostics as people read them.
pub fn render(program: &Program, diagnostics: &[Diagnostic], terminal: bool) -> String {
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = if terminal { terminal_width() } else { 100 };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let draw = |diagnostics: &[Diagnostic]| {
        let mut text = String::new();
        for diagnostic in diagnostics {
            // Writing to a string cannot fail.
            let _ = handler.render_report(&mut text, &lockstep_compiler::report(program, diagnostic));
            text.push('\n');
        }
        text
    };
    if diagnostics.len() < MANY {
        return draw(diagnostics);
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let parts = diagnostics.chunks(diagnostics.len().div_ceil(cores));
    thread::scope(|scope| {
        let drawn: Vec<_> = parts.map(|part| scope.spawn(|| draw(part))).collect();
        drawn.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn terminal_width() -> usize {
    let (_, width) = indicatif_width();
    usize::from(width).clamp(60, 120)
}

fn indicatif_width() -> (u16, u16) {
    console::Term::stderr().size()
}

/// "2 errors, 1 warning"
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let part = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        count => Some(format!("{count} {word}s")),
    };
    let parts = [
        part(count(Severity::Error), "error"),
        part(count(Severity::Warning), "warning"),
        part(count(Severity::Note), "note"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A pipeline's plan, and the directory of its module. Where something is wrong with the source, everything that is goes
/// to standard error.
pub fn lower(
    path: &Path,
    pipeline: &str,
    arguments: &BTreeMap<String, String>,
    purpose: Purpose,
) -> Result<(Lowered, PathBuf), Failure> {
    let dir = module_of(path)?;
    let program = Program::load(&DiskLoader, std::slice::from_ref(&dir))
        .map_err(|error| Failure::new(error.to_string()))?;
    readable(&program)?;
    let terminal = std::io::stderr().is_terminal();
    let found = lockstep_compiler::check_for_plan(&program);
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        say(render(&program, &found, terminal).trim_end());
    }
    if found.iter().any(|diagnostic| purpose.forbids(diagnostic)) {
        return Err(Failure::Source);
    }
    match lockstep_compiler::lower_for(purpose, &program, found, &dir, pipeline, arguments) {
        Ok(lowered) => Ok((lowered, dir)),
        Err(found) => {
            // What is wrong with the command line has no place in the source.
            if let [only] = found.as_slice()
                && only.primary.span.is_empty()
            {
                let failure = Failure::new(only.message.clone());
                return Err(only.help.iter().fold(failure, |failure, help| failure.help(help)));
            }
            say(render(&program, &found, terminal).trim_end());
            Err(Failure::Source)
        }
    }
}

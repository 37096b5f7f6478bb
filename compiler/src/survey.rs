//! Checking many modules: those that import nothing are judged one by one, on all cores, and forgotten where nothing is wrong.

use crate::checks;
use crate::diagnostic::Diagnostic;
use crate::parallel;
use crate::program::{LoadError, Loader, Moved, Program};
use std::path::{Path, PathBuf};

/// A larger module is not left to one core.
const LARGE: usize = 1024 * 1024;

/// What became of one module.
enum Judged {
    /// Nothing is wrong with it.
    Fine,
    /// It stands for itself, and this is what was found.
    Found(Program, Vec<Diagnostic>),
    /// It has been read, and has to be judged with others.
    Open(Program),
}

/// Loads and checks the modules in these directories, as [`Program::load`] and [`crate::check`] do; each is to be named once.
/// The first are looked at while others are still being found. Of modules that import nothing only those are in the program
/// that something is to be said about, so that memory does not grow with the others.
///
/// # Errors
/// When one of `roots` cannot be read.
pub fn check_modules<R>(
    loader: &(dyn Loader + Sync),
    roots: R,
) -> Result<(Program, Vec<Diagnostic>), LoadError>
where
    R: IntoIterator<Item = PathBuf, IntoIter: Send>,
{
    let mut roots = roots.into_iter();
    let first: Vec<PathBuf> = roots.by_ref().take(2).collect();
    if first.len() < 2 {
        let program = Program::load(loader, &first)?;
        let found = checks::run(&program);
        return Ok((program, found));
    }
    let mut judged = parallel::each(first.into_iter().chain(roots), |root| {
        let judged = judge(loader, &root);
        (root, judged)
    });
    // What is said does not depend on who was found first.
    judged.sort_by(|(one, _), (two, _)| one.cmp(two));
    let (mut program, mut apart) = (Program::empty(), Vec::new());
    for (_, judged) in judged {
        match judged? {
            Judged::Fine => {}
            Judged::Found(own, found) => apart.push((own, found)),
            Judged::Open(own) => {
                if own.is_apart_from(&program) {
                    program.absorb(own);
                }
            }
        }
    }
    program.load_named(loader);
    let mut found = checks::run(&program);
    for (own, own_found) in apart {
        // What others import was judged with them.
        if own.is_apart_from(&program) {
            let moved = program.absorb(own);
            found.extend(own_found.into_iter().map(|it| placed(it, moved)));
        }
    }
    checks::sort(&program, &mut found);
    Ok((program, found))
}

fn judge(loader: &dyn Loader, root: &Path) -> Result<Judged, LoadError> {
    let mut program = Program::with_modules(loader, &[root.to_path_buf()])?;
    if program.has_imports() || program.size() > LARGE {
        return Ok(Judged::Open(program));
    }
    program.load_named(loader);
    let found = checks::run(&program);
    let fine = found.is_empty() && program.unreadable().next().is_none();
    Ok(if fine { Judged::Fine } else { Judged::Found(program, found) })
}

/// What was found, in a program that has taken in its own.
fn placed(mut found: Diagnostic, moved: Moved) -> Diagnostic {
    let edits = found.fix.iter_mut().flat_map(|fix| fix.edits.iter_mut().map(|(at, _)| at));
    let labels = found.labels.iter_mut().map(|(at, _)| at);
    for at in labels.chain(edits).chain([&mut found.primary]) {
        at.file = moved.file(at.file);
    }
    found
}

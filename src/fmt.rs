//! `dsl fmt`: writes source files the way everybody writes them.

use crate::args::FmtArgs;
use crate::failure::{Failure, print, say};
use crate::fix;
use crate::source::{Input, Selection};
use lockstep_grammar::{Formatted, LineIndex, format};
use similar::TextDiff;
use std::path::{Path, PathBuf};

/// Exit code 1 when something would change that was not to be written.
pub fn run(args: &FmtArgs) -> Result<u8, Failure> {
    let input = Input::read(&args.paths, args.stdin_filename.as_deref())?;
    let selection = Selection::find(&args.paths, args.stdin_filename.as_deref(), |_| {})?;
    // Everything is read before anything is written: what cannot be read stops all of it.
    let mut sources = Vec::with_capacity(selection.sources.len());
    for path in selection.sources {
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        sources.push((path, text));
    }
    sources.sort();
    sources.dedup();
    let mut changed = 0;
    for (path, text) in &sources {
        let result = formatted(path, text);
        if result.text != *text {
            changed += 1;
            if args.check || args.diff {
                show(path, text, &result, args)?;
            } else {
                fix::write(path, &result.text)?;
            }
        }
    }
    if let Some((name, text)) = &input.0 {
        let result = formatted(name, text);
        if args.check || args.diff {
            changed += usize::from(result.text != *text);
            show(name, text, &result, args)?;
        } else {
            print(&result.text)?;
        }
    }
    let would = args.check || args.diff;
    if !sources.is_empty() || would {
        say(&match (changed, would) {
            (0, _) => "nothing to format".into(),
            (1, true) => "1 file is not formatted".into(),
            (count, true) => format!("{count} files are not formatted"),
            (1, false) => "1 file formatted".into(),
            (count, false) => format!("{count} files formatted"),
        });
    }
    Ok(u8::from(would && changed > 0))
}

/// The file as it should be. Says which places have to stay as they are.
fn formatted(path: &Path, text: &str) -> Formatted {
    let result = format(text);
    if let Some(first) = result.left.first() {
        let line = LineIndex::new(text).position(first.start).line;
        let more = match result.left.len() - 1 {
            0 => String::new(),
            1 => " and at 1 more place".into(),
            count => format!(" and at {count} more places"),
        };
        say(&format!(
            "{}:{line}: syntax errors here{more}, left as it is; `dsl check` says what is wrong",
            plain(path)
        ));
    }
    result
}

/// What `--check` and `--diff` tell of a file that would change.
fn show(path: &Path, text: &str, result: &Formatted, args: &FmtArgs) -> Result<(), Failure> {
    if result.text == text {
        return Ok(());
    }
    let path = plain(path);
    if !args.diff {
        return print(&format!("{path}\n"));
    }
    let diff = TextDiff::from_lines(text, &result.text);
    print(&diff.unified_diff().header(&format!("a/{path}"), &format!("b/{path}")).to_string())
}

/// A path as people write it, without `./`.
fn plain(path: &Path) -> String {
    let path: PathBuf = path.components().filter(|part| *part != std::path::Component::CurDir).collect();
    path.display().to_string()
}

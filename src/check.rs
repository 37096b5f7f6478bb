//! `dsl check`: finds everything that is wrong with source files.

use crate::args::{CheckArgs, CheckFormat};
use crate::failure::{Failure, print, say, to_json};
use crate::source::{readable, render, select, summary};
use crate::{fix, github, sarif};
use lockstep_compiler::{Program, Severity};
use std::io::IsTerminal;

/// Exit code 1 when there are errors, or warnings that were denied.
pub fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let selection = select(&args.paths, args.stdin_filename.as_deref())?;
    let (program, mut found) = if args.fix {
        if selection.input.is_some() {
            return Err(Failure::new("standard input cannot be fixed in place").help("name a file"));
        }
        let (program, found, applied) = fix::apply(&selection)?;
        if applied > 0 {
            say(&format!("{applied} fixed"));
        }
        (program, found)
    } else {
        let program =
            Program::load(&selection, &selection.modules).map_err(|error| Failure::new(error.to_string()))?;
        let found = lockstep_compiler::check(&program);
        (program, found)
    };
    found.retain(|diagnostic| {
        let file = diagnostic.primary.file;
        // A manifest belongs to the module that names it.
        match program.is_template(file) {
            true => selection.wants_module(program.module_dir(program.file(file).module)),
            false => selection.wants(&program.file(file).path),
        }
    });
    match args.format {
        CheckFormat::Human => {
            print(&render(&program, &found, std::io::stdout().is_terminal()))?;
            say(&if found.is_empty() { "nothing found".into() } else { summary(&found) });
        }
        CheckFormat::Sarif => {
            print(&to_json(&sarif::log(&lockstep_compiler::check_output(&program, &found)))?)?
        }
        CheckFormat::Github => {
            print(&github::annotations(&lockstep_compiler::check_output(&program, &found)))?
        }
        CheckFormat::Json => print(&to_json(&lockstep_compiler::check_output(&program, &found))?)?,
    }
    readable(&program)?;
    let fails = |severity| match severity {
        Severity::Error => true,
        Severity::Warning => args.deny_warnings,
        Severity::Note => false,
    };
    let code = u8::from(found.iter().any(|diagnostic| fails(diagnostic.severity)));
    // The program ends here: taking its trees apart would only take time.
    std::mem::forget((program, found));
    Ok(code)
}

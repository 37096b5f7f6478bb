//! `import/unreadable`: an import that leads nowhere.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::program::ModuleId;
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "import/unreadable",
    severity: Severity::Error,
    summary: "an import of a directory that cannot be read or holds no `.lockstep` file",
    page: include_str!("import_unreadable.md"),
};

/// Looks at every import.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, source) in model.program.files().filter(|(_, source)| source.module != ModuleId::PRELUDE) {
        for (import, found) in source.parse.file.imports.iter().zip(&source.imports) {
            let reason = match found {
                Ok(module) if model.program.module_files(*module).next().is_some() => continue,
                Ok(_) => "it holds no `.lockstep` file".to_string(),
                Err(error) => error.clone(),
            };
            let at = Location { file, span: import.path_span };
            let message = format!("cannot import `{}`: {reason}", import.path);
            let report = Diagnostic::new(&RULE, at, message).label("not a module");
            // The name of a file in it.
            let directory = import.path.strip_suffix(".lockstep").map(|path| path.rsplit_once('/'));
            sink.push(match directory {
                Some(parts) => {
                    let directory = parts.map_or(".", |(directory, _)| directory);
                    report.help(format!(
                        "an import names the directory of such files: `import \"{directory}\"`"
                    ))
                }
                None => report.help(
                    "an import names a directory with `.lockstep` files, seen from this file's directory",
                ),
            });
        }
    }
}

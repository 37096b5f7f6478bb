//! `import/name`: an import that gives no name to its module.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{Model, import_name};
use crate::program::ModuleId;
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "import/name",
    severity: Severity::Error,
    summary: "an import whose directory's name is no identifier",
    page: include_str!("import_name.md"),
};

/// Looks at every import.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, source) in model.program.files().filter(|(_, source)| source.module != ModuleId::PRELUDE) {
        for (import, found) in source.parse.file.imports.iter().zip(&source.imports) {
            // A module that imports itself needs no name for that, and one that cannot be read is reported.
            if import_name(import).is_some() || found.is_err() || found.as_ref() == Ok(&source.module) {
                continue;
            }
            let at = Location { file, span: import.path_span };
            sink.push(
                Diagnostic::new(&RULE, at, format!("`{}` does not end in a name", import.path))
                    .label("what should it be called?")
                    .help(format!("give it a name: `import \"{}\" as NAME`", import.path)),
            );
        }
    }
}

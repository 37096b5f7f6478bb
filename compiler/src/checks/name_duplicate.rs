//! `name/duplicate`: one name for two things.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model, import_name};
use crate::program::ModuleId;
use crate::rules::Rule;
use foldhash::HashMap;
use std::borrow::Cow;
use std::collections::hash_map::Entry;

pub const RULE: Rule = Rule {
    name: "name/duplicate",
    severity: Severity::Error,
    summary: "one name is given twice in the same place",
    page: include_str!("name_duplicate.md"),
};

/// `name` at `at` was already given at `first`.
pub fn report(at: Location, first: Location, what: &str, name: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("{what} `{name}` is given twice"))
        .label("again here")
        .also(first, "first here")
        .help("give one of them another name, or remove it")
}

/// Declarations and imports of a module share one space of names.
pub fn modules(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    let modules = model.program.modules.len() as u32;
    for module in (1..modules).map(ModuleId) {
        let mut seen: HashMap<Cow<'_, str>, (Location, Option<ModuleId>)> = HashMap::default();
        for (file, source) in model.program.module_files(module) {
            for (index, import) in source.parse.file.imports.iter().enumerate() {
                let Some((name, span)) = import_name(import) else { continue };
                let target = source.imports.get(index).and_then(|it| it.as_ref().ok()).copied();
                let at = Location { file, span };
                match seen.get(name.as_str()) {
                    // Every file may repeat the import that it uses.
                    Some((first, other)) if *other != target || first.file == file => {
                        sink.push(report(at, *first, "import", &name));
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(Cow::Owned(name.to_string()), (at, target));
                    }
                }
            }
        }
        for (file, source) in model.program.module_files(module) {
            seen.reserve(source.parse.file.declarations.len());
            for index in 0..source.parse.file.declarations.len() as u32 {
                let id = DeclId { file, index };
                let at = model.location(id);
                let name = model.name(id);
                let built_in = model.provider_named(ModuleId::PRELUDE, name);
                if let Some(built_in) = built_in.filter(|_| model.as_provider(id).is_some()) {
                    sink.push(
                        Diagnostic::new(&RULE, at, format!("provider `{name}` comes with the language"))
                            .label("its steps would be read as these")
                            .also(model.location(built_in), "this one")
                            .help("give yours another name"),
                    );
                }
                match seen.entry(Cow::Borrowed(name)) {
                    Entry::Occupied(first) => sink.push(report(at, first.get().0, "name", name)),
                    Entry::Vacant(entry) => {
                        entry.insert((at, None));
                    }
                }
            }
        }
    }
}

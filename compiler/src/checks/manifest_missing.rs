//! `manifest/missing`: a manifest that is not there, or not yet.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;

pub const RULE: Rule = Rule {
    name: "manifest/missing",
    severity: Severity::Note,
    summary: "no file is where manifests are named: their placeholders could not be checked",
    page: include_str!("manifest_missing.md"),
};

/// The pattern matches nothing.
pub fn report(at: Location, pattern: &str) -> Diagnostic {
    let (what, label) = match pattern.contains(['*', '?', '[']) {
        true => ("no file matches", "matches nothing"),
        false => ("there is no file", "not there"),
    };
    Diagnostic::new(&RULE, at, format!("{what} `{pattern}`, so its placeholders could not be checked"))
        .label(label)
        .help("paths are seen from this file's directory; nothing to do if the file is made before it is needed")
}

//! `manifest/unreadable`: a manifest that is there and cannot be read as text.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;
use std::path::Path;

pub const RULE: Rule = Rule {
    name: "manifest/unreadable",
    severity: Severity::Error,
    summary: "a manifest cannot be read, or is not text in UTF-8",
    page: include_str!("manifest_unreadable.md"),
};

/// The file at `path` is named at `at`.
pub fn report(at: Location, path: &Path, reason: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("cannot read the manifest `{}`: {reason}", path.display()))
        .label("named here")
        .help("manifests are text files in UTF-8; a pattern such as `k8s/*.yaml` leaves other files out")
}

//! Diagnostics as `dsl check --format json` writes them.

use crate::diagnostic::{Diagnostic, Location};
use crate::program::Program;
use serde::Serialize;

/// All diagnostics of a run. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Serialize)]
pub struct CheckOutput {
    /// Version of this form.
    pub version: u32,
    /// In order of file, position and rule.
    pub diagnostics: Vec<DiagnosticOutput>,
}

/// One diagnostic.
#[derive(Debug, Clone, Serialize)]
pub struct DiagnosticOutput {
    /// `barrier/deadlock`
    pub rule: &'static str,
    /// `error`, `warning` or `note`
    pub severity: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The place to look at first.
    #[serde(flatten)]
    pub place: PlaceOutput,
    /// What is said at the places, the first one's first.
    pub labels: Vec<LabelOutput>,
    /// A mechanical way out.
    pub fix: Option<FixOutput>,
}

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceOutput {
    /// Its path.
    pub file: String,
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Line of the end.
    pub end_line: u32,
    /// Column one past the end.
    pub end_column: u32,
}

/// A place and what is said about it.
#[derive(Debug, Clone, Serialize)]
pub struct LabelOutput {
    /// What is said.
    pub message: String,
    /// Where.
    #[serde(flatten)]
    pub place: PlaceOutput,
}

/// A mechanical way out.
#[derive(Debug, Clone, Serialize)]
pub struct FixOutput {
    /// What it does.
    pub title: String,
    /// Replacements that do not overlap.
    pub edits: Vec<EditOutput>,
}

/// One replacement.
#[derive(Debug, Clone, Serialize)]
pub struct EditOutput {
    /// What is replaced.
    #[serde(flatten)]
    pub place: PlaceOutput,
    /// By what.
    pub text: String,
}

/// The serialisable form of diagnostics.
pub fn check_output(program: &Program, diagnostics: &[Diagnostic]) -> CheckOutput {
    CheckOutput { version: 1, diagnostics: diagnostics.iter().map(|it| one(program, it)).collect() }
}

fn one(program: &Program, diagnostic: &Diagnostic) -> DiagnosticOutput {
    let label =
        |(at, text): &(Location, String)| LabelOutput { message: text.clone(), place: place(program, *at) };
    let primary = (diagnostic.primary, diagnostic.label.clone());
    let labels = (!primary.1.is_empty()).then_some(&primary).into_iter().chain(&diagnostic.labels).map(label);
    DiagnosticOutput {
        rule: diagnostic.rule,
        severity: diagnostic.severity.name(),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        place: place(program, diagnostic.primary),
        labels: labels.collect(),
        fix: diagnostic.fix.as_ref().map(|fix| FixOutput {
            title: fix.title.clone(),
            edits: fix
                .edits
                .iter()
                .map(|(at, text)| EditOutput { place: place(program, *at), text: text.clone() })
                .collect(),
        }),
    }
}

fn place(program: &Program, at: Location) -> PlaceOutput {
    let file = program.file(at.file);
    let (start, end) = (file.lines.position(at.span.start), file.lines.position(at.span.end));
    PlaceOutput {
        file: file.path.display().to_string(),
        line: start.line,
        column: start.column,
        end_line: end.line,
        end_column: end.column,
    }
}

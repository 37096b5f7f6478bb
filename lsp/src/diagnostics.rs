//! What is wrong with the modules of the open documents, in the protocol's terms.

use crate::documents::Documents;
use crate::encoding::Encoding;
use gen_lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, PublishDiagnosticsParams, Range,
    TextEdit, Uri, WorkspaceEdit,
};
use lockstep_compiler::{self as compiler, FileId, LoadError, ModuleId, Program, Severity};
use lockstep_grammar::LineIndex;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// For each file what there is to say about it.
pub type Findings = BTreeMap<Uri, PublishDiagnosticsParams>;

/// Checks the modules of all open documents as one program.
///
/// Every file of these modules is among the findings, with an empty list where nothing is wrong. What they import is
/// read and checked too, but only shown once a document of it is open.
pub fn find(documents: &Documents, encoding: Encoding) -> Findings {
    let mut findings = Findings::new();
    let (program, unreadable) = load(documents);
    for error in &unreadable {
        for document in documents.in_module(&error.dir) {
            let diagnostics = vec![Diagnostic {
                severity: Some(DiagnosticSeverity::Error),
                source: Some(SOURCE.into()),
                message: format!("{error}\nNothing of this module is checked until it can be read.").into(),
                ..Diagnostic::default()
            }];
            let (uri, version) = (document.uri.clone(), Some(document.version));
            findings.insert(uri.clone(), PublishDiagnosticsParams { uri, version, diagnostics });
        }
    }
    let Some(program) = program else { return findings };

    let shown: BTreeSet<ModuleId> =
        documents.modules().iter().filter_map(|dir| program.module_of(dir)).collect();
    let mut files = BTreeMap::new();
    for (id, file) in program.files() {
        let document = documents.at(&file.path);
        // A file of the prelude is nowhere on disk: no client could open it.
        let Some(uri) = document.map(|it| it.uri.clone()).or_else(|| Uri::from_file_path(&file.path).ok())
        else {
            continue;
        };
        files.insert(id, Named { uri: uri.clone(), lines: LineIndex::new(&file.text) });
        if shown.contains(&file.module) {
            let version = document.map(|document| document.version);
            findings.insert(uri.clone(), PublishDiagnosticsParams { uri, version, diagnostics: Vec::new() });
        }
    }
    let converter = Converter { files, encoding };
    for found in compiler::check(&program) {
        let Some(at) = converter.location(&found.primary) else { continue };
        if let Some(file) = findings.get_mut(&at.uri) {
            file.diagnostics.push(converter.diagnostic(&found, at.range));
        }
    }
    findings
}

const SOURCE: &str = "lockstep";

/// Reads what can be read, and says what cannot.
fn load(documents: &Documents) -> (Option<Program>, Vec<LoadError>) {
    let mut roots = documents.modules();
    let mut unreadable = Vec::new();
    loop {
        match Program::load(documents, &roots) {
            Ok(program) => return (Some(program), unreadable),
            Err(error) => {
                let count = roots.len();
                roots.retain(|root| *root != error.dir);
                let stuck = roots.len() == count;
                unreadable.push(error);
                if stuck {
                    return (None, unreadable);
                }
            }
        }
    }
}

/// A file that the client can open.
struct Named {
    uri: Uri,
    lines: LineIndex,
}

struct Converter {
    files: BTreeMap<FileId, Named>,
    encoding: Encoding,
}

impl Converter {
    fn diagnostic(&self, found: &compiler::Diagnostic, range: Range) -> Diagnostic {
        let message = match &found.help {
            Some(help) => format!("{}\n{help}", found.message),
            None => found.message.clone(),
        };
        let related: Vec<_> = found
            .labels
            .iter()
            .filter_map(|(at, message)| {
                Some(DiagnosticRelatedInformation { location: self.location(at)?, message: message.clone() })
            })
            .collect();
        Diagnostic {
            range,
            severity: Some(severity(found.severity)),
            code: Some(found.rule.into()),
            source: Some(SOURCE.into()),
            message: message.into(),
            related_information: (!related.is_empty()).then_some(related),
            data: found.fix.as_ref().and_then(|fix| self.fix(fix)),
            ..Diagnostic::default()
        }
    }

    /// A fix as the edit that a code action would apply: `{"title": …, "edit": WorkspaceEdit}`.
    fn fix(&self, fix: &compiler::Fix) -> Option<serde_json::Value> {
        let mut changes: HashMap<Uri, Vec<TextEdit>> = HashMap::new();
        for (at, text) in &fix.edits {
            // Half a fix is none.
            let Location { uri, range } = self.location(at)?;
            changes.entry(uri).or_default().push(TextEdit { range, new_text: text.clone() });
        }
        let edit = WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() };
        Some(json!({ "title": fix.title, "edit": edit }))
    }

    /// Nothing for a place in the prelude.
    fn location(&self, at: &compiler::Location) -> Option<Location> {
        let file = self.files.get(&at.file)?;
        Some(Location { uri: file.uri.clone(), range: self.encoding.range(&file.lines, at.span) })
    }
}

fn severity(severity: Severity) -> DiagnosticSeverity {
    match severity {
        Severity::Error => DiagnosticSeverity::Error,
        Severity::Warning => DiagnosticSeverity::Warning,
        Severity::Note => DiagnosticSeverity::Information,
    }
}

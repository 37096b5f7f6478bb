//! `syntax/*`: what the parser did not understand, passed on.

use crate::diagnostic::{Diagnostic, Fix, Location, Severity};
use crate::program::{FileId, ModuleId, Program};
use lockstep_grammar::SyntaxError;

/// Passes the parser's errors on.
pub fn check(program: &Program, sink: &mut Vec<Diagnostic>) {
    for (file, source) in program.files().filter(|(_, source)| source.module != ModuleId::PRELUDE) {
        sink.extend(source.parse.errors.iter().map(|error| diagnostic(file, error)));
    }
}

/// An error of the parser in that file.
pub fn diagnostic(file: FileId, error: &SyntaxError) -> Diagnostic {
    let at = |span| Location { file, span };
    let fix = error.fix.as_ref().map(|(title, edits)| Fix {
        title: title.clone(),
        edits: edits.iter().map(|(span, text)| (at(*span), text.clone())).collect(),
    });
    Diagnostic {
        rule: error.rule,
        severity: Severity::Error,
        message: error.message.clone(),
        help: error.help.clone(),
        primary: at(error.span),
        label: error.label.clone(),
        labels: error.related.iter().map(|(span, text)| (at(*span), text.clone())).collect(),
        fix,
    }
}

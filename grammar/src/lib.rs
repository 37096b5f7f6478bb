//! The syntax of Lockstep: grammar, syntax tree with spans, error recovery.
//!
//! [`parse`] never fails: it gives the tree of what was understood and an error for each thing that was not.

pub mod ast;
mod build;
mod consequence;
mod foreign;
mod format;
mod line_index;
mod matcher;
mod message;
mod place;
mod recover;
mod repair;
mod rules;
mod scan;
mod syntax;

pub use build::number::number_type;
pub use build::template::{Template, parse_template};
pub use foreign::foreign_value_help;
pub use format::{Formatted, format};
pub use line_index::{LineColumn, LineIndex};
pub use recover::foreign_help;
pub use rules::RULES;

use ast::{File, Span};
use consequence::Consequences;

/// What a text came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parse {
    /// Everything that was understood.
    pub file: File,
    /// Everything that was not, in source order.
    pub errors: Vec<SyntaxError>,
    /// Comments, in source order; documentation is not among them.
    pub comments: Vec<Comment>,
    /// Brackets (or, where whole declarations are concerned, the file) in which something was left out of the tree, in
    /// source order: what is missing there may only have been misunderstood. A declaration without its braces has
    /// an empty span where they should be.
    pub damaged: Vec<Span>,
    /// Those of them in which more may be missing than a detail: a value, an argument, a parameter, a condition, a failure rule. Without
    /// a detail, the steps, barriers, phases, rollbacks and stages around it are as they were written.
    pub broken: Vec<Span>,
}

impl Parse {
    /// Whether something was left out of the tree within a span.
    pub fn is_damaged(&self, span: Span) -> bool {
        self.damaged.iter().any(|damaged| span.start <= damaged.start && damaged.end <= span.end)
    }
}

/// A comment: `// …`, without its end of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comment {
    /// Where.
    pub span: Span,
}

/// A place that is not Lockstep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Its rule: `syntax/unexpected`, `syntax/unclosed`, …
    pub rule: &'static str,
    /// Where.
    pub span: Span,
    /// What was found and what could stand there.
    pub message: String,
    /// What the label under the source says.
    pub label: String,
    /// What to do, where there is good advice.
    pub help: Option<String>,
    /// Another place that matters: the brace that was never closed.
    pub related: Option<(Span, String)>,
    /// Replacements that make it right, where that is mechanical: spans do not overlap.
    pub fix: Option<(String, Vec<(Span, String)>)>,
}

/// Reads one file.
pub fn parse(source: &str) -> Parse {
    unscanned(source).unwrap_or_else(|| scanned(source))
}

/// Nearly every source is as it should be, and matches without having been scanned before: a third of the work. Nothing where
/// it is not.
fn unscanned(source: &str) -> Option<Parse> {
    let declarations = scan::declarations(source)?;
    let whole = repair::Repaired::new(source, &[]);
    let mut build = build::Build::new(&whole);
    let mut start = 0;
    for end in declarations.chain([source.len()]) {
        if !build.unscanned(start..end) {
            return None;
        }
        start = end;
    }
    Some(build.finish())
}

fn scanned(source: &str) -> Parse {
    let found = scan::scan(source);
    let repaired = repair::Repaired::new(source, &found.edits);
    let mut build = build::Build::new(&repaired);
    let scanned = found.errors.len();
    build.errors = found.errors;
    let guessed = found.incomplete.iter().chain(&found.damaged).map(|span| span.start);
    build.lost_texts =
        guessed.filter(|start| source.as_bytes().get(*start as usize) == Some(&b'"')).collect();
    build.lost_texts.sort_unstable();
    build.broken = found.damaged;
    build.incomplete = found.incomplete;
    let mut unreliable = found.unreliable.clone();
    unreliable.sort();
    build.unreliable = &unreliable;
    build.file.declarations.reserve_exact(found.declarations.len());
    let mut start = 0;
    for end in found.declarations.iter().map(|at| repaired.offset(*at)).chain([repaired.text.len()]) {
        build.piece(start..end);
        start = end;
    }
    let missing_bodies = std::mem::take(&mut build.missing_bodies);
    let mut parse = build.finish();
    let consequences = Consequences {
        scanned,
        source,
        unreliable: &found.unreliable,
        strays: &found.strays,
        missing_bodies: &missing_bodies,
    };
    parse.errors = consequences.drop_from(parse.errors);
    parse
}

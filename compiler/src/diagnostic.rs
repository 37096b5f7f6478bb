//! What is wrong, where, why, and what to do about it: plain values.

use crate::program::FileId;
use crate::rules::Rule;
use lockstep_grammar::ast::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The source has no meaning as it stands.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// As output spells it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A range of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Which file.
    pub file: FileId,
    /// Where in it.
    pub span: Span,
}

/// A mechanical way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What it does.
    pub title: String,
    /// Replacements that do not overlap.
    pub edits: Vec<(Location, String)>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The rule's name, `barrier/deadlock`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The place to look at first.
    pub primary: Location,
    /// What the label at the primary place says; may be empty.
    pub label: String,
    /// Other places that matter, in reading order.
    pub labels: Vec<(Location, String)>,
    /// A mechanical way out.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// A problem of that rule.
    pub(crate) fn new(rule: &Rule, primary: Location, message: impl Into<String>) -> Self {
        Diagnostic {
            rule: rule.name,
            severity: rule.severity,
            message: message.into(),
            help: None,
            primary,
            label: String::new(),
            labels: Vec::new(),
            fix: None,
        }
    }

    /// Says something at the primary place.
    pub(crate) fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    /// Points at another place.
    pub(crate) fn also(mut self, at: Location, text: impl Into<String>) -> Self {
        self.labels.push((at, text.into()));
        self
    }

    /// Says what to do.
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Says what to do, where there is something to say.
    pub(crate) fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help = text.or(self.help);
        self
    }

    /// Offers a mechanical way out.
    pub(crate) fn fix(mut self, title: impl Into<String>, edits: Vec<(Location, String)>) -> Self {
        self.fix = Some(Fix { title: title.into(), edits });
        self
    }
}

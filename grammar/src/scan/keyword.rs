//! Slips in the words that declarations and blocks begin with: read as what was meant, so that nothing in them is lost.

use super::{DECLARATIONS, Kind, Scan};
use crate::ast::Span;

/// The words that begin a named block inside of a declaration.
const NAMED: [&str; 8] =
    ["phase", "step", "stage", "barrier", "section", "lane", "approval", "infrastructure"];

/// What begins a line with a name behind it and is no slip of another word.
const OTHERS: [&str; 11] =
    ["use", "notify", "on", "only", "skip", "changes", "undone", "for", "parallel", "rollback", "import"];

impl Scan<'_> {
    /// `pipline release {`, `stpe a = …`: mends the word that begins the line at an offset, where a name follows it and then
    /// what opens a block. Whether a declaration begins there so.
    pub(super) fn mend_keyword(&mut self, at: usize) -> bool {
        let top = self.open.is_empty();
        if !top && self.open.last().is_none_or(|open| open.kind != Kind::Brace) || self.in_hole() {
            return false;
        }
        let rest = &self.source[at..];
        let word =
            &rest[..rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())];
        let behind = rest[word.len()..].trim_start_matches([' ', '\t']);
        if word.len() < 3 || behind.len() == rest.len() - word.len() {
            return false;
        }
        let known = || DECLARATIONS.iter().chain(&NAMED).chain(&OTHERS).copied();
        let import = top && behind.starts_with('"');
        let name = behind.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
        let after = name.trim_start_matches([' ', '\t']);
        let named =
            name.len() < behind.len() && after.starts_with(['=', '(', '{', '[']) && !after.starts_with("==");
        if !(import || named) || known().any(|known| known == word) {
            return false;
        }
        let meant = match () {
            () if import => crate::recover::similar(word, ["import"]),
            () if top => crate::recover::similar(word, DECLARATIONS),
            () => crate::recover::similar(word, NAMED),
        };
        let Some(meant) = meant else { return false };
        let span = Span::new(at, at + word.len());
        self.report(crate::recover::no_keyword(span, word, meant));
        let (same, more) = meant.split_at(meant.len().min(word.len()));
        self.edit(at, at + word.len(), format!("{same:<0$}", word.len()));
        if !more.is_empty() {
            self.edit(at + word.len(), at + word.len(), more);
        }
        top && !import
    }
}

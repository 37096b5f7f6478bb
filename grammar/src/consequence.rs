//! One cause, one report: which errors only follow from others.

use crate::SyntaxError;
use crate::ast::Span;

/// What the two passes know about each other's errors.
pub(crate) struct Consequences<'a> {
    /// How many of the errors come from the scan; they stand first.
    pub scanned: usize,
    /// Where the grammar's errors do not count.
    pub unreliable: &'a [Span],
    pub source: &'a str,
    /// Closing brackets without a partner: where, and how far their line is indented if they begin it.
    pub strays: &'a [(u32, Option<usize>)],
    /// Bodies without their opening brace: where, and how far their line is indented.
    pub missing_bodies: &'a [(u32, usize)],
}

impl Consequences<'_> {
    /// Drops them, and puts the others in order: one for each place.
    pub(crate) fn drop_from(&self, mut errors: Vec<SyntaxError>) -> Vec<SyntaxError> {
        let grammar = errors.split_off(self.scanned.min(errors.len()));
        errors.retain(|error| !self.is_partner(error.span.start));
        errors.extend(grammar.into_iter().filter(|error| {
            let start = error.span.start;
            !self.unreliable.iter().any(|span| span.contains(start))
        }));
        errors.sort_by_key(|error| error.span.start);
        errors.dedup_by_key(|error| error.span.start);
        errors
    }

    /// Whether a bracket that closes nothing is the partner of a forgotten one: on the line of a body without its brace,
    /// or the first behind it with its indentation.
    fn is_partner(&self, stray: u32) -> bool {
        let Some((_, indent)) = self.strays.iter().find(|(start, _)| *start == stray) else { return false };
        let Some((body, _)) = self.missing_bodies.iter().rfind(|(start, other)| {
            *start < stray && indent.is_none_or(|indent| indent == *other)
        }) else {
            return false;
        };
        match indent {
            None => !self.source[*body as usize..stray as usize].contains('\n'),
            Some(_) => !self.strays.iter().any(|(start, other)| *body < *start && *start < stray && other == indent),
        }
    }
}

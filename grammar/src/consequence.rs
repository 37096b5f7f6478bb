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

/// How far back a partner is looked for.
const MAX_DISTANCE: usize = 64;

impl Consequences<'_> {
    /// Drops them, and puts the others in order: one for each place.
    pub(crate) fn drop_from(&self, mut errors: Vec<SyntaxError>) -> Vec<SyntaxError> {
        let grammar = errors.split_off(self.scanned.min(errors.len()));
        errors.retain(|error| !self.is_partner(error.span.start));
        let unreliable = reaches(self.unreliable);
        errors.extend(grammar.into_iter().filter(|error| {
            let start = error.span.start;
            let before = unreliable.partition_point(|(from, _)| *from <= start);
            before.checked_sub(1).is_none_or(|index| start > unreliable[index].1)
        }));
        errors.sort_by_key(|error| error.span.start);
        errors.dedup_by_key(|error| error.span.start);
        errors.dedup_by(|error, before| self.follows(error, before));
        errors
    }

    /// Whether something unexpected stands in the same member as what was not expected before it.
    fn follows(&self, error: &SyntaxError, before: &SyntaxError) -> bool {
        if error.rule != before.rule
            || error.rule != "syntax/unexpected"
            || error.span.start < before.span.end
        {
            return false;
        }
        let between = &self.source.as_bytes()[before.span.end as usize..error.span.start as usize];
        let apart = |byte: &u8| matches!(byte, b'\n' | b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'"');
        if between.len() > MAX_DISTANCE || between.iter().any(apart) {
            return false;
        }
        !between.contains(&b',') || {
            // A list of names that stands in no brackets: `notify room on failure, success`.
            let (start, end) = (before.span.start as usize, error.span.start as usize);
            let near = &self.source.as_bytes()[start.saturating_sub(MAX_DISTANCE)..end];
            let line = near.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            line.trim_ascii_start().starts_with(b"notify ") || line.windows(4).any(|word| word == b" on ")
        }
    }

    /// Whether a bracket that closes nothing is the partner of a forgotten one: on the line of a body without its brace,
    /// or the first behind it with its indentation.
    fn is_partner(&self, stray: u32) -> bool {
        let Ok(index) = self.strays.binary_search_by_key(&stray, |(start, _)| *start) else { return false };
        let indent = self.strays[index].1;
        let bodies = self.missing_bodies.partition_point(|(start, _)| *start < stray);
        let near = self.missing_bodies[..bodies].iter().rev().take(MAX_DISTANCE);
        let mut near = near.filter(|(_, other)| indent.is_none_or(|indent| indent == *other));
        let Some((body, _)) = near.next() else { return false };
        if indent.is_none() {
            return !self.source[*body as usize..stray as usize].contains('\n');
        }
        let between = self.strays[..index].iter().rev().take_while(|(start, _)| *start > *body);
        let between = between.take(MAX_DISTANCE).filter(|(_, other)| *other == indent);
        between.count() == 0
    }
}

/// For each range, in order, its start and the end of whatever starts no later.
fn reaches(spans: &[Span]) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = spans.iter().map(|span| (span.start, span.end)).collect();
    spans.sort_unstable();
    let mut end = 0;
    for span in &mut spans {
        end = end.max(span.1);
        span.1 = end;
    }
    spans
}

//! The text as the grammar sees it: the source with its brackets and quotes made to balance.

use crate::ast::Span;
use std::borrow::Cow;

/// A change of the source: its bytes from `start` up to `end` become `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// First byte.
    pub start: usize,
    /// One past the last byte; `start` for an insertion.
    pub end: usize,
    /// As long as what it replaces, unless that is nothing.
    pub text: String,
}

/// A source and its changes.
pub(crate) struct Repaired<'s> {
    /// As written.
    pub source: &'s str,
    /// As parsed.
    pub text: Cow<'s, str>,
    /// For each insertion where it ends in `text`, and how many bytes have been inserted up to there.
    inserted: Vec<(usize, usize)>,
}

impl<'s> Repaired<'s> {
    /// Applies edits, which must be in order; of two that overlap, the first counts.
    pub(crate) fn new(source: &'s str, edits: &[Edit]) -> Self {
        if edits.is_empty() {
            return Repaired { source, text: Cow::Borrowed(source), inserted: Vec::new() };
        }
        let mut text = String::with_capacity(source.len() + edits.len());
        let mut inserted = Vec::new();
        let mut at = 0;
        let mut total = 0;
        for edit in edits {
            if edit.start < at {
                // An edit inside of what has been replaced as a whole.
                continue;
            }
            text.push_str(&source[at..edit.start]);
            text.push_str(&edit.text);
            at = edit.end;
            if edit.start == edit.end {
                total += edit.text.len();
                inserted.push((text.len(), total));
            }
        }
        text.push_str(&source[at..]);
        Repaired { source, text: Cow::Owned(text), inserted }
    }

    /// Where a range of the parsed text stands in the source.
    #[inline]
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        match self.text {
            Cow::Borrowed(_) => Span::new(start, end),
            Cow::Owned(_) => self.source_span(start, end),
        }
    }

    fn source_span(&self, start: usize, end: usize) -> Span {
        // A quote of several bytes was replaced by one of one byte and spaces: whole characters are meant.
        let (mut start, mut end) = (self.source_offset(start), self.source_offset(end));
        while !self.source.is_char_boundary(start) {
            start -= 1;
        }
        while !self.source.is_char_boundary(end) {
            end += 1;
        }
        Span::new(start, end)
    }

    /// Where an offset of the source stands in the parsed text, after what was inserted before it.
    pub(crate) fn offset(&self, source: usize) -> usize {
        let before = self.inserted.partition_point(|(end, total)| end - total <= source);
        source + before.checked_sub(1).map_or(0, |index| self.inserted[index].1)
    }

    fn source_offset(&self, at: usize) -> usize {
        let before = self.inserted.partition_point(|(end, _)| *end <= at);
        let (end, total) = before.checked_sub(1).map_or((0, 0), |index| self.inserted[index]);
        // An offset inside of an insertion stands for the place of the insertion.
        let limit =
            self.inserted.get(before).map_or(usize::MAX, |(next_end, next_total)| next_end - next_total);
        debug_assert!(at >= end);
        (at - total).min(limit)
    }
}

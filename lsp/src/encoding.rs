//! How the client counts columns, and places of the source in its terms.

use gen_lsp_types::{ClientCapabilities, Position, PositionEncodingKind, Range};
use lockstep_grammar::LineIndex;
use lockstep_grammar::ast::Span;

/// The unit of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes.
    Utf8,
    /// What every client knows.
    Utf16,
    /// Characters.
    Utf32,
}

impl Encoding {
    /// Bytes where the client knows them, as nothing has to be converted then.
    pub fn negotiate(client: &ClientCapabilities) -> Self {
        let offered = client.general.as_ref().and_then(|general| general.position_encodings.as_ref());
        let offers = |kind| offered.is_some_and(|offered| offered.contains(&kind));
        match () {
            () if offers(PositionEncodingKind::UTF8) => Encoding::Utf8,
            () if offers(PositionEncodingKind::UTF16) => Encoding::Utf16,
            () if offers(PositionEncodingKind::UTF32) => Encoding::Utf32,
            () => Encoding::Utf16,
        }
    }

    /// As the protocol calls it.
    pub fn kind(self) -> PositionEncodingKind {
        match self {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
            Encoding::Utf32 => PositionEncodingKind::UTF32,
        }
    }
    /// The place of an offset in bytes.
    pub fn position(self, lines: &LineIndex, offset: u32) -> Position {
        let place = lines.position(offset);
        let line = place.line - 1;
        let character = match self {
            Encoding::Utf8 => offset.saturating_sub(lines.line(place.line).start),
            Encoding::Utf16 => lines.utf16(offset).1,
            Encoding::Utf32 => place.column - 1,
        };
        Position { line, character }
    }

    /// The places of a range in bytes.
    pub fn range(self, lines: &LineIndex, span: Span) -> Range {
        Range { start: self.position(lines, span.start), end: self.position(lines, span.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_the_units_agreed_on() {
        let text = "one\nä𝄞x";
        let lines = LineIndex::new(text);
        let x = text.find('x').unwrap() as u32;
        for (encoding, character) in [(Encoding::Utf8, 6), (Encoding::Utf16, 3), (Encoding::Utf32, 2)] {
            assert_eq!(encoding.position(&lines, x), Position { line: 1, character }, "{encoding:?}");
        }
    }
}

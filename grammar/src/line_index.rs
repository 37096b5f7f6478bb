//! Lines and columns for byte offsets, and back.

/// A place in a text as people count: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineColumn {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

/// Where the lines of a text begin. Built once for each text; asks are answered in logarithmic time, plus the length
/// of the line where it is not plain ASCII. A line ends after its `\n`; `\r` is the last character of its line. A byte order
/// mark at the beginning belongs to no line: editors do not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineIndex {
    /// The offset of each line's first byte.
    starts: Vec<u32>,
    /// The characters beyond ASCII, in order: offset and length in bytes.
    wide: Vec<(u32, u8)>,
    length: u32,
}

impl LineIndex {
    /// Looks through a text.
    pub fn new(text: &str) -> Self {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes());
        let mut starts = Vec::with_capacity(1 + text.len() / 32);
        let mark = if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() as u32 } else { 0 };
        starts.push(mark);
        starts.extend(newlines.map(|at| at as u32 + 1));
        let mut wide = Vec::new();
        if !text.is_ascii() {
            let characters = text.char_indices().filter(|(_, character)| !character.is_ascii());
            let characters = characters.map(|(at, character)| (at as u32, character.len_utf8() as u8));
            wide.extend(characters.filter(|(at, _)| *at >= mark));
        }
        LineIndex { starts, wide, length: text.len() as u32 }
    }

    /// How many lines there are; at least one.
    pub fn lines(&self) -> u32 {
        self.starts.len() as u32
    }

    /// Line and column of a byte offset. Beyond the end of the text is its end.
    pub fn position(&self, offset: u32) -> LineColumn {
        let (line, bytes, wide) = self.locate(offset);
        let extra: u32 = wide.iter().map(|(_, length)| u32::from(*length) - 1).sum();
        LineColumn { line: line as u32 + 1, column: bytes - extra + 1 }
    }

    /// Line and column of a byte offset as the language server protocol counts: both from 0, columns in UTF-16 units.
    pub fn utf16(&self, offset: u32) -> (u32, u32) {
        let (line, bytes, wide) = self.locate(offset);
        let extra: u32 = wide.iter().map(|(_, length)| u32::from(*length) - utf16_length(*length)).sum();
        (line as u32, bytes - extra)
    }

    /// The byte offset of a place that [`LineIndex::position`] gives. A column beyond the line is the line's end, before its
    /// `\n`; a line beyond the text is the text's end.
    pub fn offset(&self, position: LineColumn) -> u32 {
        self.walk(position.line.saturating_sub(1), position.column.saturating_sub(1), |_| 1)
    }

    /// The byte offset of a place that [`LineIndex::utf16`] gives, with the same limits as [`LineIndex::offset`]. A column
    /// inside of a character is the character's beginning.
    pub fn offset_utf16(&self, line: u32, column: u32) -> u32 {
        self.walk(line, column, utf16_length)
    }

    /// The byte offsets of a line, from 1, without its `\n`. A line beyond the text is empty, at its end.
    pub fn line(&self, line: u32) -> std::ops::Range<u32> {
        let index = line.saturating_sub(1) as usize;
        let Some(start) = self.starts.get(index) else { return self.length..self.length };
        let end = self.starts.get(index + 1).map_or(self.length, |next| next - 1);
        *start..end
    }

    /// The line of an offset, from 0, its distance from the line's start in bytes, and the wide characters between.
    fn locate(&self, offset: u32) -> (usize, u32, &[(u32, u8)]) {
        let offset = offset.clamp(self.starts[0], self.length);
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let start = self.starts[line];
        let first = self.wide.partition_point(|(at, _)| *at < start);
        let last = first + self.wide[first..].partition_point(|(at, _)| *at < offset);
        // An offset inside of a character counts as the character's beginning.
        match self.wide[first..last].last() {
            Some((at, length)) if at + u32::from(*length) > offset => {
                (line, at - start, &self.wide[first..last - 1])
            }
            _ => (line, offset - start, &self.wide[first..last]),
        }
    }

    fn walk(&self, line: u32, column: u32, units: impl Fn(u8) -> u32) -> u32 {
        if line >= self.lines() {
            return self.length;
        }
        let range = self.line(line + 1);
        let first = self.wide.partition_point(|(at, _)| *at < range.start);
        let mut at = range.start;
        let mut rest = column;
        for (wide, length) in &self.wide[first..] {
            let plain = wide - at;
            if *wide >= range.end || plain >= rest {
                break;
            }
            rest -= plain;
            if rest < units(*length) {
                return *wide;
            }
            rest -= units(*length);
            at = wide + u32::from(*length);
        }
        at.saturating_add(rest).min(range.end)
    }
}

fn utf16_length(bytes: u8) -> u32 {
    if bytes == 4 { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "ab\nä𝄞c\r\n";
        let index = LineIndex::new(text);
        let at = text.find('c').unwrap() as u32;
        assert_eq!(index.position(at), LineColumn { line: 2, column: 3 });
        assert_eq!(index.utf16(at), (1, 3));
        assert_eq!(index.position(at - 1), LineColumn { line: 2, column: 2 }, "inside of a character");
        assert_eq!(index.position(1000), LineColumn { line: 3, column: 1 });
        assert_eq!(index.lines(), 3);
        assert_eq!(index.line(2), 3..11);
        assert_eq!(index.offset(LineColumn { line: 9, column: 9 }), text.len() as u32);
        assert_eq!(index.offset(LineColumn { line: 1, column: 9 }), 2);
        assert_eq!(index.offset_utf16(1, 2), 5, "inside of a surrogate pair");
    }

    #[test]
    fn a_byte_order_mark_is_in_no_column() {
        let index = LineIndex::new("\u{FEFF}aä\nb");
        let begin = LineColumn { line: 1, column: 1 };
        for offset in 0..=3 {
            assert_eq!((index.position(offset), index.utf16(offset)), (begin, (0, 0)), "{offset}");
        }
        assert_eq!(index.position(6), LineColumn { line: 1, column: 3 });
        assert_eq!((index.utf16(6), index.line(1)), ((0, 2), 3..6));
        assert_eq!((index.offset(begin), index.offset_utf16(0, 1)), (3, 4));
        assert_eq!(LineIndex::new("\u{FEFF}").position(3), begin);
    }

    proptest::proptest! {
        #[test]
        fn there_and_back(text in "[ab\n\rä€𝄞]{0,40}") {
            let index = LineIndex::new(&text);
            let mut expected = LineColumn { line: 1, column: 1 };
            let mut utf16 = (0, 0);
            for (at, character) in text.char_indices() {
                let at = at as u32;
                proptest::prop_assert_eq!(index.position(at), expected);
                proptest::prop_assert_eq!(index.utf16(at), utf16);
                proptest::prop_assert_eq!(index.offset(expected), at);
                proptest::prop_assert_eq!(index.offset_utf16(utf16.0, utf16.1), at);
                if character == '\n' {
                    expected = LineColumn { line: expected.line + 1, column: 1 };
                    utf16 = (utf16.0 + 1, 0);
                } else {
                    expected.column += 1;
                    utf16.1 += character.len_utf16() as u32;
                }
            }
            proptest::prop_assert_eq!(index.position(text.len() as u32), expected);
        }
    }
}

//! Text of both kinds, with its escapes and `${…}`.

use super::Matcher;
use super::class::{self, QUOTED};
use crate::syntax::Rule;

impl Matcher<'_> {
    /// `"…"`
    pub(super) fn text(&mut self) -> bool {
        if self.byte() != b'"' || self.starts(b"\"\"\"") {
            return false;
        }
        let start = self.at;
        let matched = self.closed(Rule::text, |matcher| {
            matcher.node(Rule::text, |matcher| matcher.pieces(Rule::chunk, b"\""))
        });
        self.plain &= memchr::memchr(b'\n', self.bytes.get(start..self.at).unwrap_or_default()).is_none();
        matched
    }

    /// `"""…"""`
    pub(super) fn long_text(&mut self) -> bool {
        if !self.starts(b"\"\"\"") {
            return false;
        }
        self.closed(Rule::long_text, |matcher| {
            matcher.node(Rule::long_text, |matcher| matcher.pieces(Rule::long_chunk, b"\"\"\""))
        })
    }

    /// What stands between quotes, and these.
    fn pieces(&mut self, rule: Rule, quote: &[u8]) -> bool {
        self.at += quote.len();
        loop {
            self.chunk(rule, quote);
            match self.byte() {
                b'"' => {
                    self.at += quote.len();
                    return true;
                }
                b'\\' if self.escape() => {}
                b'$' if self.hole() => {}
                _ => return false,
            }
        }
    }

    /// Characters that mean themselves.
    fn chunk(&mut self, rule: Rule, quote: &[u8]) {
        let mut end = self.at;
        while let Some(byte) = self.bytes.get(end) {
            if class::is(*byte, QUOTED) {
                let ends = match byte {
                    b'"' => self.bytes[end..].starts_with(quote),
                    b'$' => self.byte_at(end + 1) == b'{',
                    _ => true,
                };
                if ends {
                    break;
                }
            }
            end += 1;
        }
        // Given up, the text has no bytes; the end of what was read stays where it is.
        self.leaf_to(rule, end);
    }

    fn escape(&mut self) -> bool {
        let Some(escaped) = self.text.get(self.at + 1..).and_then(|rest| rest.chars().next()) else {
            return false;
        };
        let hole = escaped == '$' && self.byte_at(self.at + 2) == b'{';
        let length = if hole { 2 } else { escaped.len_utf8() };
        self.leaf_to(Rule::escape, self.at + 1 + length);
        true
    }

    /// `${…}`
    pub(super) fn hole(&mut self) -> bool {
        self.starts(b"${")
            && self.deeper(|matcher| {
                matcher.holes += 1;
                let matched = matcher.node(Rule::hole, |matcher| {
                    matcher.at += 2;
                    matcher.enclosed(b'}')
                });
                matcher.holes -= 1;
                matched
            })
    }

    /// An expression up to its closing bracket.
    pub(super) fn enclosed(&mut self, close: u8) -> bool {
        if !self.expr() {
            self.space();
            self.expr();
        }
        self.up_to(close)
    }
}

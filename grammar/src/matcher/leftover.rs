//! What was not understood. Brackets and quotes in it balance.

use super::Matcher;
use super::class::{self, BRACE, NEWLINE, SPACE, STOP};
use crate::syntax::Rule;

impl Matcher<'_> {
    /// Whether something stands here at which what was not understood ends.
    pub(super) fn at_stop(&self) -> bool {
        class::is(self.byte(), STOP) || self.at_comment()
    }

    /// What may be left over behind a member.
    pub(super) fn rest(&mut self) {
        let ends = match self.byte() {
            b' ' => self.byte_at(self.at + 1) == b'}',
            byte => class::is(byte, STOP),
        };
        if !ends {
            self.attempt(|matcher| {
                matcher.blanks();
                !matcher.at_stop() && matcher.junk()
            });
        }
    }

    /// What may be left over before the brace of a body.
    pub(super) fn head_rest(&mut self) {
        let ends = match self.byte() {
            b' ' => self.byte_at(self.at + 1) == b'{',
            byte => byte == b'\n',
        };
        if !ends {
            self.attempt(|matcher| {
                matcher.blanks();
                matcher.leaf(Rule::head_junk, |matcher| matcher.lumps(STOP | BRACE))
            });
        }
    }

    /// What is left over is junk, unless the next member begins with it.
    fn junk(&mut self) -> bool {
        self.leaf(Rule::junk, |matcher| {
            if matcher.byte() != b'"' {
                return !matcher.at_named_member() && matcher.lumps(STOP);
            }
            if !matcher.text() {
                return matcher.lumps(STOP);
            }
            if matcher.assigns(matcher.at) {
                return false;
            }
            matcher.lumps(STOP);
            true
        })
    }

    pub(super) fn bad(&mut self) -> bool {
        self.leaf(Rule::bad, |matcher| matcher.lumps(STOP))
    }

    pub(super) fn bad_line(&mut self) -> bool {
        self.leaf(Rule::bad_line, |matcher| matcher.lumps(NEWLINE))
    }

    /// Whatever stands before a closing bracket, and that.
    pub(super) fn up_to(&mut self, close: u8) -> bool {
        while self.byte() != close {
            match self.byte() {
                byte if class::is(byte, SPACE) || byte == b',' => self.at += 1,
                b'/' if self.comment() => {}
                _ if self.bad() => {}
                _ => return false,
            }
        }
        self.at += 1;
        true
    }

    /// A keyword's construct where it may not stand.
    pub(super) fn misplaced(&mut self) -> bool {
        if !self.byte().is_ascii_lowercase() {
            return false;
        }
        self.leaf(Rule::misplaced, |matcher| {
            if !matcher.misplaceable() {
                return false;
            }
            matcher.lumps(STOP | BRACE);
            matcher.bracketed();
            true
        })
    }

    /// Whether a construct begins here with its keyword.
    pub(super) fn at_construct(&mut self) -> bool {
        let start = self.at;
        let found = self.byte().is_ascii_lowercase() && self.misplaceable();
        self.at = start;
        found
    }

    fn misplaceable(&mut self) -> bool {
        let Some(word) = self.first_word() else { return false };
        self.at = word.end;
        match word.text {
            b"phase" | b"step" | b"section" | b"barrier" | b"stage" | b"lane" | b"approval" | b"parallel"
            | b"rollback" | b"use" | b"notify" | b"infrastructure" | b"artifact" | b"service"
            | b"environment" | b"secret" | b"channel" | b"group" | b"resource" | b"workflow"
            | b"pipeline" | b"provider" | b"for" | b"import" => self.after(),
            b"skip" | b"only" => self.some_blanks() && self.silent_word(b"if"),
            b"on" => self.some_blanks() && self.silent_word(b"failure"),
            _ => false,
        }
    }

    /// Anything at all, up to a byte of some classes or a comment.
    fn lumps(&mut self, stops: u8) -> bool {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at)
            && !class::is(*byte, stops)
            && !self.at_comment()
        {
            self.lump();
        }
        self.at > start
    }

    /// A text, something in brackets, or one character.
    fn lump(&mut self) {
        let whole = match self.byte() {
            b'"' => self.long_text() || self.text(),
            b'{' | b'(' | b'[' => self.bracketed(),
            _ => false,
        };
        if !whole {
            self.character();
        }
    }

    fn character(&mut self) {
        self.at += 1;
        while self.byte() & 0xC0 == 0x80 {
            self.at += 1;
        }
    }

    fn bracketed(&mut self) -> bool {
        let close = match self.byte() {
            b'{' => b'}',
            b'(' => b')',
            b'[' => b']',
            _ => return false,
        };
        self.closed(Rule::bad, |matcher| {
            matcher.deeper(|matcher| {
                matcher.attempt(|matcher| {
                    matcher.at += 1;
                    matcher.inside();
                    let closes = matcher.byte() == close;
                    matcher.at += usize::from(closes);
                    closes
                })
            })
        })
    }

    fn inside(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'}' | b')' | b']' => return,
                b'/' if self.comment() => {}
                _ => self.lump(),
            }
        }
    }
}

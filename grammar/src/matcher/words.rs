//! Space, comments, words and numbers.

use super::Matcher;
use super::class::{self, BLANK, MORE, SPACE, START};
use crate::syntax::Rule;

/// A word that a member or a declaration begins with.
#[derive(Clone, Copy)]
pub(super) struct Word<'t> {
    pub text: &'t [u8],
    /// Where it ends.
    pub end: usize,
    /// Whether `=` follows, or what is written for it.
    pub assigned: bool,
}

impl<'t> Matcher<'t> {
    /// `blank*`
    pub(super) fn blanks(&mut self) {
        self.at = self.after_blanks(self.at);
    }

    pub(super) fn after_blanks(&self, mut at: usize) -> usize {
        while class::is(self.byte_at(at), BLANK) {
            at += 1;
        }
        at
    }

    /// `blank+`
    pub(super) fn some_blanks(&mut self) -> bool {
        let start = self.at;
        self.blanks();
        self.at > start
    }

    /// `space*`
    pub(super) fn space(&mut self) {
        loop {
            match self.byte() {
                byte if class::is(byte, SPACE) => self.at += 1,
                b'/' if self.comment() => {}
                _ => return,
            }
        }
    }

    /// What separates members, without comments.
    pub(super) fn separators(&mut self) {
        while class::is(self.byte(), SPACE) || self.byte() == b',' {
            self.at += 1;
        }
    }

    pub(super) fn comment(&mut self) -> bool {
        let found = self.at_comment();
        if found {
            self.plain &= self.holes == 0;
            let rest = &self.bytes[self.at..];
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.leaf_to(Rule::comment, self.at + length);
        }
        found
    }

    pub(super) fn at_comment(&self) -> bool {
        self.byte() == b'/' && self.byte_at(self.at + 1) == b'/'
    }

    /// `&("\n" | "//")`
    pub(super) fn at_line_end(&self) -> bool {
        self.byte() == b'\n' || self.at_comment()
    }

    /// The length of the letter of several bytes at an offset, or 0.
    #[cold]
    fn letter(&self, at: usize) -> usize {
        let character = self.text.get(at..).and_then(|rest| rest.chars().next());
        character.filter(|character| class::is_letter(*character)).map_or(0, char::len_utf8)
    }

    /// Where what belongs to a name ends, from an offset on.
    fn more_from(&self, mut at: usize) -> usize {
        while class::is(self.byte_at(at), MORE) {
            at += 1;
        }
        if self.byte_at(at) < 0x80 { at } else { self.more_letters(at) }
    }

    /// The same, where a character of several bytes stands at the offset.
    #[cold]
    fn more_letters(&self, mut at: usize) -> usize {
        loop {
            at += match self.byte_at(at) {
                byte if class::is(byte, MORE) => 1,
                0x80.. if self.letter(at) > 0 => self.letter(at),
                _ => return at,
            };
        }
    }

    /// Whether no letter, digit, `_` or `-` stands at an offset.
    pub(super) fn ends_word(&self, at: usize) -> bool {
        let byte = self.byte_at(at);
        !class::is(byte, MORE) && (byte < 0x80 || self.letter(at) == 0)
    }

    /// The length of the letter or `_` at an offset, or 0.
    fn starts_name(&self, at: usize) -> usize {
        match self.byte_at(at) {
            byte if class::is(byte, START) => 1,
            0x80.. => self.letter(at),
            _ => 0,
        }
    }

    /// Where the name at an offset ends, if there is one.
    pub(super) fn name_end(&self, at: usize) -> Option<usize> {
        match self.starts_name(at) {
            0 => None,
            length => Some(self.more_from(at + length)),
        }
    }

    pub(super) fn name(&mut self) -> bool {
        let Some(end) = self.name_end(self.at) else { return false };
        self.leaf_to(Rule::name, end);
        true
    }

    pub(super) fn path(&mut self) -> bool {
        let Some(mut end) = self.name_end(self.at) else { return false };
        while self.byte_at(end) == b'.' {
            match self.starts_name(end + 1) {
                0 => break,
                length => end = self.more_from(end + 1 + length),
            }
        }
        self.leaf_to(Rule::path, end);
        true
    }

    /// A name or a text.
    pub(super) fn label(&mut self) -> bool {
        self.name() || self.text()
    }

    pub(super) fn at_letter(&self) -> bool {
        self.starts_name(self.at) > 0
    }

    pub(super) fn number(&mut self) -> bool {
        let mut end = self.at + usize::from(self.byte() == b'-');
        if !self.byte_at(end).is_ascii_digit() {
            return false;
        }
        loop {
            end += match self.byte_at(end) {
                b'-' => break,
                byte if class::is(byte, MORE) => 1,
                b'%' => 1,
                b'.' if self.byte_at(end + 1).is_ascii_digit() => 2,
                0x80.. => match self.letter(end) {
                    0 => break,
                    length => length,
                },
                _ => break,
            };
        }
        self.leaf_to(Rule::number, end);
        true
    }

    /// The unit behind a number and a space.
    pub(super) fn unit(&mut self) -> bool {
        if self.byte() == b'%' {
            self.leaf_to(Rule::unit, self.at + 1);
            return true;
        }
        let end = self.more_from(self.at);
        let known = matches!(
            self.slice(self.at, end),
            b"milliseconds"
                | b"minutes"
                | b"seconds"
                | b"minute"
                | b"second"
                | b"hours"
                | b"hour"
                | b"days"
                | b"mins"
                | b"secs"
                | b"day"
                | b"min"
                | b"sec"
                | b"hrs"
                | b"hr"
                | b"ms"
                | b"s"
                | b"m"
                | b"h"
                | b"d"
        );
        if known {
            self.leaf_to(Rule::unit, end);
        }
        known
    }

    fn slice(&self, start: usize, end: usize) -> &'t [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Whether a word stands here, and ends.
    pub(super) fn at_word(&self, word: &[u8]) -> bool {
        self.starts(word) && self.ends_word(self.at + word.len())
    }

    /// A word that leaves no node.
    pub(super) fn silent_word(&mut self, word: &[u8]) -> bool {
        let found = self.at_word(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// A word that is a node.
    pub(super) fn word(&mut self, rule: Rule, word: &[u8]) -> bool {
        let found = self.at_word(word);
        if found {
            self.leaf_to(rule, self.at + word.len());
        }
        found
    }

    /// A mark that is a node.
    pub(super) fn sign(&mut self, rule: Rule, sign: &[u8]) -> bool {
        let found = self.starts(sign);
        if found {
            self.leaf_to(rule, self.at + sign.len());
        }
        found
    }

    /// The word that stands here; not consumed.
    pub(super) fn first_word(&self) -> Option<Word<'t>> {
        let end = self.name_end(self.at)?;
        let assigned = matches!(self.byte_at(self.after_blanks(end)), b'=' | b':');
        Some(Word { text: self.slice(self.at, end), end, assigned })
    }

    /// What has to follow a keyword for it to be one: a name, or the brace of a nameless block. Blanks are consumed.
    pub(super) fn after(&mut self) -> bool {
        let start = self.at;
        self.blanks();
        match self.byte() {
            b'{' => true,
            _ if self.at == start => false,
            b'"' => true,
            byte => byte.is_ascii_digit() || self.at_letter(),
        }
    }

    /// The same for a block that never has a name: its brace may stand on the next line, which is reported.
    fn after_nameless(&mut self) -> bool {
        let start = self.mark();
        if self.after() {
            return true;
        }
        self.back(start);
        self.space();
        let found = self.byte() == b'{';
        self.back(start);
        found
    }

    /// A construct that begins with a keyword, which has been seen: `rest` reads what stands after it.
    pub(super) fn keyword(&mut self, rule: Rule, word: Word<'_>, rest: impl FnOnce(&mut Self)) -> bool {
        self.begun(rule, word, Self::after, rest)
    }

    /// The same for one without a name.
    pub(super) fn nameless(&mut self, rule: Rule, word: Word<'_>, rest: impl FnOnce(&mut Self)) -> bool {
        self.begun(rule, word, Self::after_nameless, rest)
    }

    fn begun(
        &mut self,
        rule: Rule,
        word: Word<'_>,
        after: impl FnOnce(&mut Self) -> bool,
        rest: impl FnOnce(&mut Self),
    ) -> bool {
        let node = self.open(rule);
        self.at = word.end;
        if !after(self) {
            return self.undo(node);
        }
        rest(self);
        self.close(node)
    }
}

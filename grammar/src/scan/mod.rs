//! The pass before the grammar: makes brackets and quotes balance, and reports where they did not.
//!
//! It reads characters, not meaning: comments, text with its `${…}`, and brackets. Whatever is wrong with those is reported
//! here and edited in a copy, so that the grammar only sees balanced text, and one forgotten brace costs one report.
//! Where brackets of a declaration do not balance, the declaration is read a second time, *carefully*: its
//! indentation then tells which bracket is the odd one.

mod brackets;
mod foreign;
mod keyword;
mod long_text;
mod opening;
mod text;

use crate::SyntaxError;
use crate::ast::Span;
use crate::message;
use crate::repair::Edit;

/// The words that begin a declaration.
const DECLARATIONS: [&str; 9] =
    ["service", "environment", "secret", "channel", "group", "resource", "workflow", "pipeline", "provider"];

/// How often a text is read again before the rest of its line is given up.
const MAX_RETRIES: u32 = 16;

/// What the scan found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub errors: Vec<SyntaxError>,
    /// In order, without overlaps.
    pub edits: Vec<Edit>,
    /// Where declarations begin: always at the start of a line, with nothing open.
    pub declarations: Vec<usize>,
    /// Brackets whose end had to be guessed, and what lost something.
    pub damaged: Vec<Span>,
    /// Text that was not understood, while all around it was.
    pub incomplete: Vec<Span>,
    /// Where the grammar's opinion does not count: what stands there is the consequence of an error of this pass.
    pub unreliable: Vec<Span>,
    /// Closing brackets that close nothing, with their indentation if they begin their line.
    pub strays: Vec<(u32, Option<usize>)>,
}

/// How much had been found at some moment, to return to it.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    errors: usize,
    edits: usize,
    damaged: usize,
    incomplete: usize,
    unreliable: usize,
    strays: usize,
    declarations: usize,
}

/// What can be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Brace,
    Parenthesis,
    Bracket,
    /// `${`
    Hole,
    /// `"`
    Text,
    /// `"""`
    LongText,
}

/// Something that is open.
#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    at: usize,
    /// Where its line starts, and how far that is indented.
    line: usize,
    indent: usize,
    /// How far the first line inside is indented, once there is one.
    inner: Option<usize>,
    /// Whether it is a `${`, or stands in one.
    in_hole: bool,
    /// The outermost `"` that is open here, as an index.
    text: Option<usize>,
    mark: Mark,
}

/// A declaration that is read a second time from here if its brackets do not balance.
#[derive(Debug, Clone, Copy, Default)]
struct Chunk {
    start: usize,
    mark: Mark,
}

pub(crate) struct Scan<'s> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    open: Vec<Open>,
    found: Found,
    line: usize,
    indent: usize,
    /// One past the last byte that is neither blank nor comment, as far as complete lines go.
    code_end: usize,
    /// Part of a line, from the first offset to its end.
    known_line: (usize, usize),
    /// A quote of another language, and the line on which nothing closes it.
    unpaired: Option<(char, usize)>,
    /// Whether that is noted for this line, which ends in a comment.
    code_noted: bool,
    chunk: Chunk,
    careful: bool,
    /// Brackets closed because a declaration began; as many closing ones too many are their echo.
    echo: usize,
    retries: u32,
    /// The `${` that is read as plain text, because nothing closes it.
    literal: Option<usize>,
    /// The first `"""` text with a declaration in it, and the state in which it began.
    suspect: Option<long_text::Suspect>,
    /// A `"""` that ends where a declaration begins, because nothing closes it.
    forced: Option<(usize, usize)>,
    /// Where that was: brackets that are still open there are open because of it.
    cut: Option<usize>,
    /// A line with a closing bracket of which nobody knows where it was opened.
    unopened: Option<usize>,
}

/// Reads a source.
pub(crate) fn scan(source: &str) -> Found {
    let mut scan = Scan {
        source,
        bytes: source.as_bytes(),
        at: 0,
        open: Vec::new(),
        found: Found::default(),
        line: 0,
        indent: 0,
        code_end: 0,
        known_line: (1, 0),
        unpaired: None,
        code_noted: false,
        chunk: Chunk::default(),
        careful: false,
        echo: 0,
        unopened: None,
        retries: 0,
        literal: None,
        suspect: None,
        forced: None,
        cut: None,
    };
    scan.line_start(0);
    scan.run();
    let mut found = scan.found;
    found.edits.sort_by_key(|edit| (edit.start, edit.end));
    found
}

/// Where declarations begin in a source in which brackets and quotes balance, and no text holds what looks like one; nothing
/// where it holds characters that may not stand everywhere.
pub(crate) fn declarations(source: &str) -> Option<impl Iterator<Item = usize>> {
    let bytes = source.as_bytes();
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    // Looking at whole chunks is several bytes at a time.
    let odd = |chunk: &[u8]| chunk.iter().fold(false, |odd, byte| odd | control(byte));
    if bytes.chunks(64).any(odd) {
        return None;
    }
    let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', bytes).map(|newline| newline + 1));
    Some(lines.filter(|line| {
        bytes.get(*line).is_some_and(u8::is_ascii_lowercase) && declared_name(&source[*line..]).is_some()
    }))
}

/// If a declaration begins a text, with its keyword and a name: the text from the name on.
pub(crate) fn declared_name(text: &str) -> Option<&str> {
    let rest = DECLARATIONS.iter().find_map(|word| text.strip_prefix(word))?;
    let name = rest.trim_start_matches([' ', '\t']);
    let named = name.len() < rest.len() && name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    named.then_some(name)
}

/// Whether a declaration begins a text, or what is one in another language: `resource "type" "name" {`.
pub(crate) fn declares(text: &str) -> bool {
    if declared_name(text).is_some() {
        return true;
    }
    let line = text.lines().next().unwrap_or_default();
    let rest = DECLARATIONS.iter().find_map(|word| line.strip_prefix(word));
    rest.is_some_and(|rest| rest.trim_start().starts_with('"') && rest.contains('{'))
}

/// The bytes that mean something outside of text.
const CODE: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = at >= 0x80
            || (at < 0x20 && !matches!(at as u8, b'\t' | b'\r'))
            || matches!(
                at as u8,
                b'\n'
                    | b'"'
                    | b'/'
                    | b'#'
                    | b'\''
                    | b'`'
                    | b';'
                    | b'='
                    | b'<'
                    | b'('
                    | b')'
                    | b'['
                    | b']'
                    | b'{'
                    | b'}'
            );
        at += 1;
    }
    table
};

impl Scan<'_> {
    fn run(&mut self) {
        loop {
            match self.open.last().map(|open| open.kind) {
                Some(Kind::Text | Kind::LongText) => self.text(),
                _ => self.code(),
            }
            if self.at >= self.bytes.len() && self.end() {
                return;
            }
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Reads code up to the next thing that means something here, and that.
    fn code(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| CODE[usize::from(*byte)]).unwrap_or(rest.len());
        let at = self.at;
        match self.byte(at) {
            0 if at >= self.bytes.len() => {}
            b'\n' => self.newline(),
            b'"' => self.quote(),
            b'/' => match self.byte(at + 1) {
                b'/' if self.in_hole() => self.comment_in_text(),
                b'/' => {
                    self.note_code_end();
                    self.code_noted = true;
                    self.at = self.line_end(at);
                }
                b'*' if !self.in_hole() => self.block_comment(),
                _ => self.at += 1,
            },
            b'#' if !self.in_hole() => self.hash_comment(),
            b'\'' if self.bytes[at..].starts_with(b"'''") && !self.in_hole() && self.triple_quote() => {}
            quote @ (b'\'' | b'`') => self.foreign_quote(char::from(quote), &[char::from(quote)]),
            b'<' if self.byte(at + 1) == b'<' && !self.in_hole() && self.heredoc() => {}
            b';' => self.semicolon(),
            b'=' if self.byte(at + 1) == b'>' => self.fat_arrow(),
            b'=' => {
                self.end_list();
                self.at += 1;
            }
            b'{' => {
                self.end_parameters();
                self.push(Kind::Brace, 1);
            }
            b'(' => self.push(Kind::Parenthesis, 1),
            b'[' => self.push(Kind::Bracket, 1),
            b'}' if self.open.last().is_some_and(|open| open.kind == Kind::Hole) => self.pop(),
            b'}' => self.close(Kind::Brace),
            b')' => self.close(Kind::Parenthesis),
            b']' => self.close(Kind::Bracket),
            byte if !(0x20..0x80).contains(&byte) => self.foreign_character(),
            _ => self.at += 1,
        }
    }

    fn in_hole(&self) -> bool {
        self.open.last().is_some_and(|open| open.in_hole)
    }

    fn outer_text(&self) -> Option<usize> {
        self.open.last().and_then(|open| open.text)
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let text = self.outer_text().or((kind == Kind::Text).then_some(self.open.len()));
        self.open.push(Open {
            kind,
            at: self.at,
            line: self.line,
            indent: self.indent,
            inner: None,
            in_hole: self.in_hole() || kind == Kind::Hole,
            text,
            mark: self.mark(),
        });
        self.at += length;
    }

    /// Closes what is open; `at` is on the first byte of its end.
    fn pop(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.at += if open.kind == Kind::LongText { 3 } else { 1 };
        let limit = crate::build::MAX_DEPTH as usize;
        if self.open.len() == limit {
            self.too_deep(open, self.at);
        }
    }

    /// What is nested too deep is replaced by a value, for the depth of everything after it depends on it.
    fn too_deep(&mut self, open: Open, end: usize) {
        self.back_to(open.mark);
        let span = Span::new(open.at, open.at + 1);
        self.report(message::too_deep(span));
        self.found.damaged.push(Span::new(open.at, end));
        let text = format!("0{}", " ".repeat(end - open.at - 1));
        self.edit(open.at, end, text);
    }

    fn newline(&mut self) {
        if let Some(first) = self.outer_text() {
            return self.broken_text(first);
        }
        // What a comment ends in means nothing.
        if !self.code_noted && matches!(self.last_mark(), b'|' | b'>' | b'-' | b'+') && self.block_text() {
            return;
        }
        self.note_code_end();
        self.line_start(self.at + 1);
    }

    /// The last byte of this line before its end.
    fn last_mark(&self) -> u8 {
        let line = &self.bytes[self.line..self.at];
        line.iter().rev().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')).unwrap_or(0)
    }

    /// Notes where the code of this line ends: before `at`, which is on a newline or a comment.
    fn note_code_end(&mut self) {
        if self.code_noted {
            return;
        }
        // The usual end of a line needs no closer look.
        if self.at > self.line && self.bytes[self.at - 1].is_ascii_graphic() {
            self.code_end = self.at;
            return;
        }
        let line = self.source[self.line..self.at].trim_end();
        if !line.trim_start().is_empty() {
            self.code_end = self.line + line.len();
        }
    }

    /// Begins a line of code.
    fn line_start(&mut self, at: usize) {
        self.line = at;
        self.code_noted = false;
        let rest = &self.bytes[at.min(self.bytes.len())..];
        self.indent = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at = at + self.indent;
        let first = self.byte(self.at);
        if self.in_hole() || self.careful && self.is_doubled() && self.drop_doubled() {
            return;
        }
        if self.indent == 0 && first.is_ascii_lowercase() && declares(&self.source[at..]) {
            self.declaration();
            return self.mend_head();
        }
        if first.is_ascii_alphabetic() && self.mend_keyword(self.at) && self.indent == 0 {
            return self.declaration();
        }
        if !self.open.is_empty()
            && !matches!(first, b'\n' | b'\r' | 0)
            && !rest[self.indent..].starts_with(b"//")
        {
            self.line_inside(first);
            self.mend_block();
            self.mend_outputs();
            self.mend_fields();
            self.mend_head();
            self.mend_opening();
        }
    }

    /// Behind something that may have taken several lines: the line of an offset is the one that is read.
    fn goes_on_in_line_of(&mut self, at: usize) {
        self.line = self.source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        self.indent = self.bytes[self.line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    }

    /// Where the line of an offset ends. Remembered, for lines may be long.
    fn line_end(&mut self, at: usize) -> usize {
        if !(self.known_line.0..=self.known_line.1).contains(&at) {
            let end = self.source[at..].find('\n').map_or(self.bytes.len(), |length| at + length);
            self.known_line = (at, end);
        }
        self.known_line.1
    }

    fn mark(&self) -> Mark {
        let Found { errors, edits, damaged, incomplete, unreliable, strays, declarations } = &self.found;
        Mark {
            errors: errors.len(),
            edits: edits.len(),
            damaged: damaged.len(),
            incomplete: incomplete.len(),
            unreliable: unreliable.len(),
            strays: strays.len(),
            declarations: declarations.len(),
        }
    }

    fn back_to(&mut self, mark: Mark) {
        self.found.errors.truncate(mark.errors);
        self.found.edits.truncate(mark.edits);
        self.found.damaged.truncate(mark.damaged);
        self.found.incomplete.truncate(mark.incomplete);
        self.found.unreliable.truncate(mark.unreliable);
        self.found.strays.truncate(mark.strays);
        self.found.declarations.truncate(mark.declarations);
    }

    /// The character at an offset, or nothing at the end.
    fn character(&self, at: usize) -> Span {
        Span::new(at, at + self.source[at..].chars().next().map_or(0, char::len_utf8))
    }

    fn report(&mut self, error: SyntaxError) {
        self.found.errors.push(error);
    }

    fn edit(&mut self, start: usize, end: usize, text: impl Into<String>) {
        self.found.edits.push(Edit { start, end, text: text.into() });
    }

    /// Makes a range blank, except for its newlines.
    fn blank(&mut self, start: usize, end: usize) {
        let text = self.bytes[start..end].iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' });
        let text = text.collect::<String>();
        self.edit(start, end, text);
    }
}

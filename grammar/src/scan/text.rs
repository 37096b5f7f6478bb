//! Text without an end, and `${` without a `}`.

use super::{Kind, MAX_RETRIES, Mark, Open, Scan};
use crate::ast::Span;
use crate::message;

/// A `"""` text that holds what looks like a declaration, or like quotes that were to close it: it may have swallowed something.
#[derive(Debug)]
pub(super) struct Suspect {
    /// Where it begins, and where that declaration does, or those quotes.
    start: usize,
    declaration: usize,
    /// Where the quotes end.
    quotes: Option<usize>,
    /// What was open where it begins, and what had been found.
    open: Vec<Open>,
    mark: Mark,
    line: usize,
    indent: usize,
}

/// How many places of a line are tried as the end of a text.
const MAX_CANDIDATES: usize = 32;

/// Within so many lines below a text its block should end.
const NEAR: usize = 64;

/// Whether a piece of code closes exactly what is open.
fn closes(code: &str, mut open: Vec<Kind>) -> bool {
    for c in code.chars() {
        match c {
            '{' => open.push(Kind::Brace),
            '(' => open.push(Kind::Parenthesis),
            '[' => open.push(Kind::Bracket),
            '}' | ')' | ']' if open.pop().is_none_or(|kind| !kind.closing().ends_with(c)) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

/// Whether these are quotes in place of `"""`.
fn is_wrong_quotes(code: &str) -> bool {
    let is_quote = |c| matches!(c, '"' | '\'' | '`');
    (1..=3).contains(&code.len()) && code != "\"\"\"" && code.chars().all(is_quote)
}

impl Scan<'_> {
    /// A quote in code: a text begins.
    pub(super) fn quote(&mut self) {
        let rest = &self.bytes[self.at..];
        if !rest.starts_with(b"\"\"\"") {
            // Of a text without anything special nothing has to be remembered, unless it is nested too deep.
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'$' | b'\n' | 0);
            let length = rest[1..].iter().position(special).filter(|length| rest[1 + length] == b'"');
            return match length {
                Some(length) if self.open.len() != crate::build::MAX_DEPTH as usize => self.at += length + 2,
                _ => self.push(Kind::Text, 1),
            };
        }
        match self.forced {
            Some((start, end, None)) if start == self.at => self.forced_text(end),
            Some((start, end, Some(quotes))) if start == self.at => self.misclosed_text(end, quotes),
            _ => self.push(Kind::LongText, 3),
        }
    }

    /// `query = ""` and nothing else on the line: begins a long text there, where the lines below end in the `"""` of one.
    pub(super) fn mend_opening(&mut self) {
        if self.in_hole() || self.open.last().is_none_or(|open| open.kind != Kind::Brace) {
            return;
        }
        let mut lines = self.source[self.at..].lines();
        let code = lines.next().unwrap_or_default().trim_end();
        let name = code.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let Some(quotes) = name.trim_start().strip_prefix('=').map(str::trim_start) else { return };
        if name.len() == code.len() || !is_wrong_quotes(quotes) {
            return;
        }
        // What stands in the text is indented deeper, so that no other text can be what ends there.
        let mut below = lines.take(NEAR).filter(|line| !line.trim().is_empty());
        let own = self.indent;
        let last = below.find(|line| {
            let indent = line.len() - line.trim_start().len();
            indent <= own || line.contains("\"\"\"")
        });
        if last.is_none_or(|line| line.trim().trim_end_matches(',') != "\"\"\"") {
            return;
        }
        let end = self.at + code.len();
        let span = Span::new(end - quotes.len(), end);
        let mark = self.mark();
        let error = message::text(span, "text over several lines begins with `\"\"\"`", "expected `\"\"\"`");
        self.report(error.replace("write `\"\"\"`", span, "\"\"\""));
        self.blank(end - quotes.len(), end);
        self.edit(end, end, "\"\"\"");
        self.at = end - quotes.len();
        self.push(Kind::LongText, quotes.len());
        if let Some(open) = self.open.last_mut() {
            open.mark = mark;
        }
    }

    /// Reads text up to its end, a `${`, or the end of its line.
    pub(super) fn text(&mut self) {
        let long = self.open.last().is_some_and(|open| open.kind == Kind::LongText);
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' if !long || self.bytes[self.at..].starts_with(b"\"\"\"") => return self.pop(),
                b'\\' => self.at += if self.byte(self.at + 1) == b'\n' { 1 } else { 2 },
                b'$' if self.byte(self.at + 1) == b'{' => {
                    if self.literal == Some(self.at) {
                        self.literal_hole();
                    } else {
                        return self.push(Kind::Hole, 2);
                    }
                }
                0 => {
                    let span = Span::new(self.at, self.at + 1);
                    self.report(
                        message::text(span, "a text cannot hold the character U+0000", "no such character")
                            .help("what a text is handed to could not take it; `\\0` in a script is the script's own")
                            .replace("remove it", span, ""),
                    );
                    self.blank(self.at, self.at + 1);
                    self.at += 1;
                }
                b'\n' => {
                    // A long text may itself stand in a `${…}` of a short one.
                    if let Some(first) = self.outer_text() {
                        return self.broken_text(first);
                    }
                    self.at += 1;
                    self.line = self.at;
                    self.indent =
                        self.bytes[self.at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                    self.suspicious();
                }
                _ => self.at += 1,
            }
        }
        self.at = self.bytes.len();
    }

    /// Remembers the first text that holds a declaration.
    fn suspicious(&mut self) {
        if self.suspect.is_some() {
            return;
        }
        let rest = &self.source[self.at..];
        let quotes = self.wrong_quotes();
        if quotes.is_none() {
            // Prose may begin with a keyword, so what follows the name has to fit, too.
            let Some(name) = super::declared_name(rest).filter(|_| self.indent == 0) else { return };
            let after = name.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
            if !after.trim_start_matches([' ', '\t']).starts_with(['=', '(', '{']) {
                return;
            }
        }
        let Some(index) = self.open.iter().position(|open| open.kind == Kind::LongText) else { return };
        let Open { at, line, indent, mark, .. } = self.open[index];
        self.suspect = Some(Suspect {
            start: at,
            declaration: self.at + if quotes.is_some() { self.indent } else { 0 },
            quotes,
            open: self.open[..index].to_vec(),
            mark,
            line,
            indent,
        });
    }

    /// Where quotes end that were to close a `"""` and do not: if they are all of their line, and a block ends below, before the
    /// next `"""`.
    fn wrong_quotes(&self) -> Option<usize> {
        let mut lines = self.source[self.at..].lines();
        let line = lines.next()?;
        let code = line.trim();
        let mut below = lines.take(NEAR).take_while(|line| !line.contains("\"\"\""));
        let block_ends = |line: &str| {
            let code = line.trim_start();
            line.len() - code.len() < self.indent && code.trim_end() == "}"
        };
        (is_wrong_quotes(code) && below.any(block_ends)).then(|| self.at + self.indent + code.len())
    }

    /// The line ends in a `"…"`, or in a `${…}` of it. `at` is on the newline.
    pub(super) fn broken_text(&mut self, index: usize) {
        let text = self.open[index];
        let end = self.at;
        let hole = self.open.get(index + 1).copied();
        self.open.truncate(index);
        if let Some(hole) = hole {
            self.retries += 1;
            self.open.push(text);
            self.back_to(hole.mark);
            self.at = hole.at;
            if self.retries <= MAX_RETRIES {
                self.literal = Some(hole.at);
                return;
            }
            // Too much is wrong here to look at each by itself.
            self.open.pop();
            self.report_hole(hole.at);
            self.blank(hole.at, end);
            self.edit(end, end, "\"");
            self.found.damaged.push(Span::new(text.at, end));
            self.at = end;
            return;
        }
        self.back_to(text.mark);
        if let Some(quote) = self.later_quote(end) {
            return self.text_over_lines(text, end, quote);
        }
        let (stop, sure) = self.text_end(text.at, end);
        let span = Span::new(text.at, stop);
        let after = Span::new(stop, stop);
        let error = message::text(span, "this text is never closed", "expected `\"` on this line")
            .help("text over several lines is written with `\"\"\"`");
        // Right behind a word it probably closes a text, and another quote is missing before it.
        let closes = self.source[..text.at].ends_with(|c: char| c.is_alphanumeric());
        self.report(if closes { error } else { error.replace("insert `\"`", after, "\"") });
        // Escapes and `${` before the guessed end are read again by the grammar; they have to stay whole.
        self.blank(text.at + 1, stop);
        self.edit(stop, stop, "\"");
        let damaged = if sure { &mut self.found.incomplete } else { &mut self.found.damaged };
        damaged.push(Span::new(text.at, stop));
        // The quotes of this line do not pair, so nobody knows what is text in it.
        self.found.unreliable.push(Span::new(self.line, end));
        self.at = stop;
    }

    /// Where a text ends that was written over several lines: at the first quote below its first line, if nothing but brackets
    /// that close follows it on its line. Behind a quote that begins a text more would.
    fn later_quote(&self, line_end: usize) -> Option<usize> {
        let mut at = line_end;
        while self.bytes.get(at)? != &b'"' {
            at += if self.bytes[at] == b'\\' { 2 } else { 1 };
        }
        let rest = self.source.get(at + 1..)?.lines().next().unwrap_or_default();
        let closes = |c: char| matches!(c, '}' | ')' | ']' | ',' | ' ' | '\t' | '\r');
        let closing = rest.split("//").next().is_some_and(|code| code.chars().all(closes));
        // A text does not go on beyond its block, its list or its declaration, nor over the next entry.
        let own = self.indent;
        let ends = |line: &str| {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            let name = code.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let entry = name.len() < code.len() && name.trim_start().starts_with("= ");
            super::declared_name(line).is_some()
                || indent < own && matches!(code.trim_end().trim_end_matches(','), "}" | "]" | ")")
                || indent == own && entry && name.starts_with(' ')
        };
        (closing && !self.source[line_end..at].lines().any(ends)).then_some(at)
    }

    /// One report for a text that ends with a quote on a later line.
    fn text_over_lines(&mut self, text: Open, line_end: usize, quote: usize) {
        let first = self.source[text.at..line_end].trim_end().len();
        self.report(
            message::text(Span::new(text.at, text.at + first), "a text ends on its line", "this one goes on")
                .related(Span::new(quote, quote + 1), "and ends here")
                .help("text over several lines is written with `\"\"\"`"),
        );
        // For the grammar it stands on one line.
        self.edit(text.at + 1, quote, " ".repeat(quote - text.at - 1));
        self.found.incomplete.push(Span::new(text.at, quote + 1));
        self.at = quote + 1;
        self.code_noted = false;
        self.line = self.source[..quote].rfind('\n').map_or(0, |newline| newline + 1);
        self.indent = self.bytes[self.line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    }

    /// Where a text without an end probably ends: where the rest of its line closes just what the line has opened. And whether
    /// that leaves no doubt about what else stands on its line.
    fn text_end(&self, start: usize, line_end: usize) -> (usize, bool) {
        let line = &self.source[start + 1..line_end];
        let due: Vec<Kind> =
            self.open.iter().filter(|open| open.line == self.line).map(|open| open.kind).collect();
        let candidates = line.char_indices().filter(|(_, c)| matches!(c, '}' | ')' | ']')).map(|(at, _)| at);
        let end = candidates.take(MAX_CANDIDATES).find(|at| closes(&line[*at..], due.clone()));
        let text = match end {
            Some(end) if !due.is_empty() => &line[..end],
            _ => line.trim_end().trim_end_matches(','),
        };
        (start + 1 + text.trim_end().len(), end.is_some() || due.is_empty())
    }

    fn report_hole(&mut self, at: usize) {
        self.report(
            message::text(Span::new(at, at + 2), "`${` is never closed", "expected `}`")
                .help("write `${EXPRESSION}`, or `\\${` for the characters themselves"),
        );
    }

    /// A `${` that nothing closes becomes plain text.
    fn literal_hole(&mut self) {
        self.report_hole(self.at);
        self.found.incomplete.push(Span::new(self.at, self.at + 2));
        self.blank(self.at, self.at + 2);
        self.at += 2;
    }

    /// The source ends in a `"""…"""`.
    pub(super) fn endless_text(&mut self, index: usize) {
        self.retries += 1;
        if self.retries > MAX_RETRIES {
            let text = self.open[index];
            self.open.truncate(index);
            self.restart(text.mark, text.at, text.line, text.indent);
            self.forced_text(self.bytes.len());
        } else if let Some(hole) = self.open.get(index + 1).copied() {
            // The text may well have an end, but its `${…}` has not.
            self.open.truncate(index + 1);
            self.restart(hole.mark, hole.at, hole.line, hole.indent);
            self.literal = Some(hole.at);
        } else if let Some(suspect) = self.suspect.take() {
            self.open = suspect.open;
            self.restart(suspect.mark, suspect.start, suspect.line, suspect.indent);
            self.forced = Some((suspect.start, suspect.declaration, suspect.quotes));
        } else {
            let text = self.open[index];
            self.open.truncate(index);
            self.restart(text.mark, text.at, text.line, text.indent);
            self.forced = Some((text.at, self.bytes.len(), None));
        }
    }

    fn restart(&mut self, mark: Mark, at: usize, line: usize, indent: usize) {
        self.back_to(mark);
        self.at = at;
        self.line = line;
        self.code_noted = false;
        self.indent = indent;
        // A later text is no suspect once an earlier one has been cut short.
        self.suspect = None;
        let chunk = self.chunk.start.min(at);
        if chunk != self.chunk.start {
            self.chunk = super::Chunk { start: line, mark };
        }
    }

    /// A `"""` that other quotes were to close, which end at `stop`.
    fn misclosed_text(&mut self, quotes: usize, stop: usize) {
        let (start, span) = (self.at, Span::new(quotes, stop));
        self.report(
            message::text(span, "this text is closed by `\"\"\"`", "expected `\"\"\"`")
                .related(Span::new(start, start + 3), "begins here")
                .replace("write `\"\"\"`", span, "\"\"\""),
        );
        self.found.incomplete.push(Span::new(start, stop));
        self.blank(start + 3, stop);
        self.edit(stop, stop, "\"\"\"");
        self.at = stop;
        self.line = self.source[..stop].rfind('\n').map_or(0, |newline| newline + 1);
        self.indent = quotes - self.line;
        self.code_end = stop;
        self.code_noted = false;
        self.forced = None;
    }

    /// A `"""` without an end, which stops before `end`.
    fn forced_text(&mut self, end: usize) {
        let start = self.at;
        let stop = (start + self.source[start..end].trim_end().len()).max(start + 3);
        let next = self.character(end);
        let before = if end >= self.bytes.len() { "the end of the file" } else { "this" };
        self.report(
            message::text(Span::new(start, start + 3), "this text is never closed", "never closed")
                .related(next, format!("expected `\"\"\"` before {before}"))
                .replace("insert `\"\"\"`", Span::new(stop, stop), "\n\"\"\""),
        );
        self.found.damaged.push(Span::new(start, stop));
        self.blank(start + 3, stop);
        self.edit(stop, stop, "\"\"\"");
        self.at = stop;
        self.line = self.source[..stop].rfind('\n').map_or(0, |newline| newline + 1);
        self.code_end = stop;
        self.code_noted = false;
        self.forced = None;
        self.cut = Some(stop);
    }
}

//! Text without an end, and `${` without a `}`.

use super::{Kind, MAX_RETRIES, Open, Scan};
use crate::ast::Span;
use crate::message;

/// How many places of a line are tried as the end of a text.
const MAX_CANDIDATES: usize = 32;

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
            Some((start, end)) if start == self.at => self.forced_text(end),
            _ => self.push(Kind::LongText, 3),
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
                    if self.end_at_wrong_quotes() {
                        return;
                    }
                    self.suspicious();
                }
                _ => self.at += 1,
            }
        }
        self.at = self.bytes.len();
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
        let closes = self.source[..text.at].ends_with(|c: char| c.is_alphanumeric())
            // What else may be an element or an entry that the text has swallowed is not put into quotes.
            || self.source[text.at + 1..stop].contains([',', '=']);
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
        self.goes_on_in_line_of(quote);
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
        // Before the next entry of its line at the latest: `{ script = "./a, timeout = 3m }`.
        let begins_entry = |(at, _): &(usize, &str)| {
            let rest = text[at + 1..].trim_start();
            let name = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            name.len() < rest.len() && name.starts_with(" = ")
        };
        let text = text
            .match_indices(',')
            .take(MAX_CANDIDATES)
            .find(begins_entry)
            .map_or(text, |(at, _)| &text[..at]);
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
}

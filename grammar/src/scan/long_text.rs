//! Text between `"""`, and what was written in place of these.

use super::{Kind, MAX_RETRIES, Mark, Open, Scan};
use crate::SyntaxError;
use crate::ast::Span;
use crate::message;

const QUOTES: &str = "\"\"\"";

/// Within so many lines below a text its block should end.
const NEAR: usize = 64;

/// A `"""` text that holds what looks like a declaration: it may have swallowed one.
#[derive(Debug)]
pub(super) struct Suspect {
    /// Where it begins, and where that declaration does.
    start: usize,
    declaration: usize,
    /// What was open where it begins, and what had been found.
    open: Vec<Open>,
    mark: Mark,
    line: usize,
    indent: usize,
}

/// Whether these are quotes in place of `"""`.
fn is_wrong_quotes(code: &str) -> bool {
    let is_quote = |c| matches!(c, '"' | '\'' | '`');
    (1..=3).contains(&code.len()) && code != QUOTES && code.chars().all(is_quote)
}

fn wrong_quotes(span: Span, message: &str) -> SyntaxError {
    message::text(span, message, "expected `\"\"\"`").replace("write `\"\"\"`", span, QUOTES)
}

impl Scan<'_> {
    /// `query = ""` and nothing else on the line: begins a long text there, where it has its end below.
    pub(super) fn mend_opening(&mut self) {
        let Some((opening, closing)) = self.wrong_opening() else { return };
        let mark = self.mark();
        let (at, end) = (opening.start as usize, opening.end as usize);
        let quotes = |span: Span| &self.source[span.start as usize..span.end as usize];
        let (is_closed, is_foreign) = (quotes(closing) == QUOTES, quotes(closing) == quotes(opening));
        let message = "text over several lines begins with `\"\"\"`";
        let mut error = wrong_quotes(opening, message);
        if is_foreign && let Some((_, edits)) = &mut error.fix {
            edits.push((closing, QUOTES.to_owned()));
        }
        self.report(error);
        self.blank(at, end);
        self.edit(end, end, QUOTES);
        self.at = at;
        if is_closed {
            self.push(Kind::LongText, end - at);
            if let Some(open) = self.open.last_mut() {
                open.mark = mark;
            }
        } else if is_foreign {
            self.skip_text(at, end, closing.end as usize);
        } else {
            self.misclosed_text(opening, closing);
        }
    }

    /// Quotes at the end of this line that were to begin a long text, and those that end it, right ones or wrong ones.
    fn wrong_opening(&self) -> Option<(Span, Span)> {
        if self.in_hole() || self.open.last()?.kind != Kind::Brace {
            return None;
        }
        let mut lines = self.source[self.at..].split_inclusive('\n');
        let first = lines.next()?;
        let code = first.trim_end();
        let name = code.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let quotes = name.trim_start().strip_prefix('=')?.trim_start();
        if name.len() == code.len() || !is_wrong_quotes(quotes) {
            return None;
        }
        // What stands in the text is indented deeper, so that no other text can be what ends there.
        let mut next = self.at + first.len();
        for line in lines.take(NEAR) {
            let (code, at) = (line.trim_start(), next + line.len() - line.trim_start().len());
            let closing = code.trim_end().trim_end_matches(',');
            if closing == QUOTES || is_wrong_quotes(closing) {
                let end = self.at + first.trim_end().len();
                return Some((Span::new(end - quotes.len(), end), Span::new(at, at + closing.len())));
            }
            if !code.is_empty() && (line.len() - code.len() <= self.indent || line.contains(QUOTES)) {
                return None;
            }
            next += line.len();
        }
        None
    }

    /// Quotes that were to close a `"""` and do not: if they are all of their line, and its block ends below, before the next
    /// `"""`. Whether that is so.
    pub(super) fn end_at_wrong_quotes(&mut self) -> bool {
        let Some(open) = self.open.last().copied().filter(|open| !open.in_hole) else { return false };
        let mut lines = self.source[self.at..].lines();
        let code = lines.next().unwrap_or_default().trim();
        let mut below = lines.take(NEAR).take_while(|line| !line.contains(QUOTES));
        let block_ends = |line: &str| {
            let code = line.trim_start();
            line.len() - code.len() < open.indent && code.trim_end() == "}"
        };
        if open.kind != Kind::LongText || !is_wrong_quotes(code) || !below.any(block_ends) {
            return false;
        }
        let quotes = self.at + self.indent;
        self.open.pop();
        self.back_to(open.mark);
        self.misclosed_text(Span::new(open.at, open.at + 3), Span::new(quotes, quotes + code.len()));
        true
    }

    /// Remembers the first text that holds a declaration.
    pub(super) fn suspicious(&mut self) {
        if self.suspect.is_some() || self.indent > 0 {
            return;
        }
        // Prose may begin with a keyword, so what follows the name has to fit, too.
        let Some(name) = super::declared_name(&self.source[self.at..]) else { return };
        let after = name.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if !after.trim_start_matches([' ', '\t']).starts_with(['=', '(', '{']) {
            return;
        }
        let Some(index) = self.open.iter().position(|open| open.kind == Kind::LongText) else { return };
        let Open { at, line, indent, mark, .. } = self.open[index];
        self.suspect = Some(Suspect {
            start: at,
            declaration: self.at,
            open: self.open[..index].to_vec(),
            mark,
            line,
            indent,
        });
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
            self.forced = Some((suspect.start, suspect.declaration));
        } else {
            let text = self.open[index];
            self.open.truncate(index);
            self.restart(text.mark, text.at, text.line, text.indent);
            self.forced = Some((text.at, self.bytes.len()));
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

    /// A `"""` that other quotes were to close.
    fn misclosed_text(&mut self, opening: Span, quotes: Span) {
        let error = wrong_quotes(quotes, "this text is closed by `\"\"\"`");
        self.report(error.related(opening, "begins here"));
        self.skip_text(opening.start as usize, opening.end as usize, quotes.end as usize);
    }

    /// Goes on behind a text, of which nobody knows what stands in it.
    fn skip_text(&mut self, start: usize, inside: usize, end: usize) {
        self.found.incomplete.push(Span::new(start, end));
        self.blank(inside, end);
        self.edit(end, end, "\"\"\"");
        self.at = end;
        self.goes_on_in_line_of(end);
        self.code_end = end;
        self.code_noted = false;
    }

    /// A `"""` without an end, which stops before `end`.
    pub(super) fn forced_text(&mut self, end: usize) {
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
        self.goes_on_in_line_of(stop);
        self.code_end = stop;
        self.code_noted = false;
        self.forced = None;
        self.cut = Some(stop);
    }
}

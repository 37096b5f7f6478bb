//! Brackets without a partner.

use super::keyword::leading_word;
use super::{Chunk, Kind, Open, Scan};
use crate::ast::Span;
use crate::message;
use crate::place;

impl Kind {
    fn opening(self) -> &'static str {
        match self {
            Kind::Brace => "{",
            Kind::Parenthesis => "(",
            Kind::Bracket => "[",
            Kind::Hole => "${",
            Kind::Text => "\"",
            Kind::LongText => "\"\"\"",
        }
    }

    pub(super) fn closing(self) -> &'static str {
        match self {
            Kind::Brace | Kind::Hole => "}",
            Kind::Parenthesis => ")",
            Kind::Bracket => "]",
            Kind::Text => "\"",
            Kind::LongText => "\"\"\"",
        }
    }
}

/// How many bytes before a bracket are looked at for what it belongs to.
const HEAD: usize = 256;

/// How many bytes, and lines, of a block are looked at of which the opening line is missing.
const HEADLESS: usize = 4096;
const HEADLESS_LINES: usize = 100;

impl Scan<'_> {
    /// A declaration begins: what is still open never closes.
    pub(super) fn declaration(&mut self) {
        let start = self.line;
        if !self.open.is_empty() {
            if self.read_carefully() {
                return;
            }
            self.echo = self.open.len();
            self.close_unclosed(0, start);
        } else {
            self.echo = 0;
        }
        self.careful = false;
        self.found.declarations.push(start);
        self.chunk = Chunk { start, mark: self.mark() };
    }

    /// Goes back to the beginning of the declaration, to read it by its indentation. Not twice.
    fn read_carefully(&mut self) -> bool {
        if self.careful {
            return false;
        }
        let Chunk { start, mark } = self.chunk;
        self.careful = true;
        self.open.clear();
        self.echo = 0;
        self.back_to(mark);
        self.code_end = start;
        self.code_noted = false;
        self.line = start;
        self.indent = self.bytes[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at = start + self.indent;
        self.mend_head();
        true
    }

    /// A line begins inside of brackets, with something else than a comment.
    pub(super) fn line_inside(&mut self, first: u8) {
        let closes = matches!(first, b'}' | b')' | b']');
        if !closes
            && let Some(open) = self.open.last_mut()
            && open.line != self.line
        {
            open.inner.get_or_insert(self.indent);
        }
        if !self.careful {
            return;
        }
        // What stands in brackets is indented deeper than the line that opens them, if that is how it is written here.
        let indent = self.indent;
        let line = self.line;
        let deeper = |open: &Open| open.inner.is_none_or(|inner| inner > open.indent);
        let style = self.open.first().is_some_and(deeper);
        let keep = self.open.iter().rposition(|open| {
            let indented = style || deeper(open);
            let outside = if closes { indent < open.indent } else { indent <= open.indent };
            !(outside && indented && open.line < line)
        });
        let keep = self.home(keep.map_or(0, |index| index + 1));
        // A closing bracket needs something to close.
        if keep < self.open.len() && !(closes && keep == 0) {
            self.close_unclosed(keep, self.at);
        }
    }

    /// How many of the open brackets the line that begins here leaves open, of which its indentation tells to keep some: what can
    /// stand in none of these, but in the block that it would close, goes on with that.
    fn home(&self, keep: usize) -> usize {
        let word = leading_word(&self.source[self.at..]);
        let holds = |index: usize| {
            // Parameters may stand between a declaration's head and its brace.
            let head = if index == 0 { self.chunk.start } else { self.open[index].line };
            place::may_hold(leading_word(self.source[head..].trim_start()), word)
        };
        if keep == 0 || holds(keep - 1) != Some(false) {
            return keep;
        }
        let mut near = (keep..self.open.len()).take(crate::build::MAX_DEPTH as usize);
        let block = near.find(|index| holds(*index) == Some(true));
        block.map_or(keep, |index| index + 1)
    }

    /// A closing bracket.
    pub(super) fn close(&mut self, kind: Kind) {
        if kind == Kind::Brace
            && let Some(open) = self.open.last().copied().filter(|open| self.opens_block(*open))
        {
            return self.block_in_parentheses(open);
        }
        // Brackets in a `${…}` do not reach beyond it. What is farther away than anything may nest is not looked at.
        let hole = self.in_hole();
        let near = self.open.iter().enumerate().rev().take(crate::build::MAX_DEPTH as usize);
        let partner = near
            .take_while(|(_, open)| open.kind != Kind::Hole)
            .find(|(_, open)| open.kind == kind)
            .map(|(index, _)| index);
        match partner {
            Some(partner) if partner + 1 == self.open.len() => {
                let earlier = self.open[partner].line != self.line;
                if self.careful
                    && !hole
                    && (self.goes_on(self.open[partner]) || earlier && self.opening_is_missing(kind))
                {
                    return self.stray(kind);
                }
                let open = self.open[partner];
                self.pop();
                if open.line != self.line && self.open.is_empty() && self.is_parameters(open) {
                    self.mend_body();
                }
            }
            // In a `${…}` there is nothing to be careful about.
            Some(partner) => {
                if hole || !self.read_carefully() {
                    if !hole && self.is_wrong_kind(self.open[partner]) {
                        return self.wrong_kind(kind);
                    }
                    self.close_unclosed(partner + 1, self.at);
                    self.pop();
                }
            }
            None if hole => self.stray(kind),
            None => {
                if self.echo > 0 {
                    self.echo -= 1;
                    self.blank(self.at, self.at + 1);
                    self.at += 1;
                } else if !self.read_carefully() {
                    match self.open.last().copied() {
                        Some(open)
                            if open.line == self.line
                                && open.kind != Kind::Brace
                                && !self.opening_is_missing(kind) =>
                        {
                            self.wrong_kind(kind)
                        }
                        _ => self.stray(kind),
                    }
                }
            }
        }
    }

    /// Whether a `(` stands where a block begins: behind a name and a space, or behind `=` and before an entry.
    fn opens_block(&self, open: Open) -> bool {
        if open.kind != Kind::Parenthesis || open.in_hole {
            return false;
        }
        let (before, after) = (&self.source[open.line..open.at], &self.source[open.at + 1..]);
        let head = before.trim_end_matches([' ', '\t']);
        let word = head.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        let behind =
            head.len() < before.len() && (head.ends_with(['=', ')', ']', '*', '>']) || !word.is_empty());
        let mut code = after.trim_start();
        while code.starts_with("//") {
            code = code.split_once('\n').map_or("", |(_, below)| below.trim_start());
        }
        let name = code.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        let sign = name.trim_start_matches([' ', '\t']);
        let entry = name.len() < code.len() && sign.starts_with('=') && !sign.starts_with("==");
        // Values of a call have no names, nor stand parameters behind `=`.
        let near = &before.as_bytes()[before.len().saturating_sub(HEAD)..];
        let named = entry && !word.is_empty() && near.windows(3).any(|sign| sign == b" = ");
        !message::is_reserved(word) && (named || behind && (entry || !head.ends_with('=')))
    }

    /// `step s = shell ( … }`
    fn block_in_parentheses(&mut self, open: Open) {
        let span = Span::new(open.at, open.at + 1);
        self.report(
            message::unexpected(span, "expected `{`, found `(`", "expected `{`")
                .related(Span::new(self.at, self.at + 1), "closed here")
                .replace("write `{`", span, "{"),
        );
        self.edit(open.at, open.at + 1, "{");
        self.pop();
    }

    /// Whether a bracket that would close an earlier line's was meant for one of its own line.
    fn is_wrong_kind(&mut self, partner: Open) -> bool {
        let first = self.at == self.line + self.indent;
        let own = self.open.last().is_some_and(|open| open.line == self.line);
        if first || !own || partner.line == self.line {
            return false;
        }
        let line_end = self.line_end(self.at);
        let after = self.source[line_end..].lines().map(|line| (line, line.trim_start()));
        let next = after.skip(1).find(|(_, code)| !code.is_empty() && !code.starts_with("//"));
        next.is_some_and(|(line, code)| {
            let indent = line.len() - code.len();
            indent > partner.indent || indent == partner.indent && code.starts_with(['}', ')', ']'])
        })
    }

    /// `(…]`
    fn wrong_kind(&mut self, kind: Kind) {
        let Some(open) = self.open.last().copied() else { return };
        let span = Span::new(self.at, self.at + 1);
        let (due, found) = (open.kind.closing(), kind.closing());
        self.report(
            message::unexpected(
                span,
                format!("expected `{due}`, found `{found}`"),
                format!("expected `{due}`"),
            )
            .related(Span::new(open.at, open.at + 1), "opened here")
            .replace(format!("write `{due}`"), span, due),
        );
        self.edit(self.at, self.at + 1, due);
        self.pop();
    }

    /// Whether the next line of code is still indented as if it stood in these brackets.
    fn goes_on(&self, open: Open) -> bool {
        if open.line == self.line || open.inner.is_none_or(|inner| inner <= open.indent) {
            return false;
        }
        // Behind parameters a body follows, whose brace may be missing.
        if self.at == self.line + self.indent && self.indent == open.indent && self.is_parameters(open) {
            return false;
        }
        let rest = self.source[self.at + 1..].trim_start_matches([' ', '\t', '\r']);
        if !rest.starts_with('\n') && !rest.starts_with("//") {
            return false;
        }
        let next = rest.lines().skip(1).find(|line| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("//")
        });
        let first = self.at == self.line + self.indent;
        next.is_some_and(|line| {
            let code = line.trim_start_matches([' ', '\t']);
            let indent = line.len() - code.len();
            // The bracket that is indented as its opening one closes it, not this one.
            let closes = first && self.indent > open.indent && code.starts_with(self.bytes[self.at] as char);
            let stranger = || first && self.indent == open.indent && self.is_strange(open, rest);
            indent > open.indent && !stranger() || indent == open.indent && closes
        })
    }

    /// Whether what follows a block, indented like its members, cannot belong to it: the line that opens another one is missing.
    fn is_strange(&self, open: Open, behind: &str) -> bool {
        let line = if self.open.len() == 1 { self.chunk.start } else { open.line };
        let head = leading_word(self.source[line..].trim_start());
        let inside = &self.source[open.at..self.at];
        if inside.len() > HEADLESS {
            return false;
        }
        let mut direct = None;
        for line in behind.lines().skip(1).take(HEADLESS_LINES) {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            if code.is_empty() || code.starts_with("//") {
                continue;
            }
            if indent <= open.indent {
                break;
            }
            if indent > *direct.get_or_insert(indent) {
                continue;
            }
            let word = leading_word(code);
            let assigned = code[word.len()..].trim_start().starts_with('=');
            let again = assigned
                && inside.lines().any(|line| {
                    let own = line.trim_start();
                    leading_word(own) == word
                        && line.len() - own.len() == indent
                        && own[word.len()..].trim_start().starts_with('=')
                });
            if again || !assigned && !word.is_empty() && place::may_hold(head, word) == Some(false) {
                return true;
            }
        }
        false
    }

    /// Whether this line says again what the line before it says, which has opened a block.
    pub(super) fn is_doubled(&self) -> bool {
        let Some(open) = self.open.last() else { return false };
        let first = &self.source[open.line..self.line];
        first.len() <= HEADLESS && {
            let line = self.source[self.line..].lines().next().unwrap_or_default();
            first.trim_end() == line.trim_end() && !line.trim().is_empty()
        }
    }

    /// Leaves it out.
    pub(super) fn drop_doubled(&mut self) -> bool {
        let end = self.line_end(self.at);
        let end = self.line + self.source[self.line..end].trim_end().len();
        let Some(open) = self.open.last().copied() else { return false };
        let whole = Span::new(self.line, (end + 1).min(self.bytes.len()));
        self.report(
            message::unexpected(Span::new(self.at, end), "this line stands here twice", "again here")
                .related(Span::new(open.line + open.indent, open.at + 1), "first here")
                .replace("remove it", whole, ""),
        );
        self.blank(self.at, end);
        self.at = end;
        true
    }

    /// Where the lines begin above the closing brace of this line that are indented as if they stood in a block, where the line
    /// is missing that opens it.
    fn headless(&self) -> Option<usize> {
        // What stands in the brackets that are open has its head.
        let headed = self.open.last().is_some_and(|open| open.indent >= self.indent);
        if self.at != self.line + self.indent || self.in_hole() || headed {
            return None;
        }
        let floor = self.open.last().map_or(0, |open| open.at + 1);
        let mut start = None;
        let mut before = "";
        let mut lines = self.source.get(floor..self.line)?.lines().rev();
        for line in lines.by_ref().take(HEADLESS_LINES) {
            let code = line.trim_start();
            let at = line.as_ptr() as usize - self.source.as_ptr() as usize;
            if self.line - at > HEADLESS {
                return None;
            }
            if code.is_empty() || code.starts_with("//") {
                continue;
            }
            if line.len() - code.len() <= self.indent {
                before = line.split("//").next().unwrap_or_default().trim_end();
                break;
            }
            start = Some(at);
        }
        if before.is_empty() && lines.next().is_some() {
            return None;
        }
        // Not what stands behind the bracket that is open.
        let start = start.filter(|at| *at == 0 || self.bytes[at - 1] == b'\n')?;
        let goes_on = before.ends_with(['{', '(', '[', ',', '=', '&', '|', '<', '>', '!', ':', '.']);
        let mut depth = 0i32;
        let balanced = self.source[start..self.line].bytes().all(|byte| {
            depth +=
                i32::from(matches!(byte, b'{' | b'(' | b'[')) - i32::from(matches!(byte, b'}' | b')' | b']'));
            depth >= 0
        });
        (!goes_on && balanced && depth == 0).then_some(start)
    }

    /// A block whose opening line is missing: nobody knows what stands in it.
    fn drop_headless(&mut self, start: usize, kind: Kind) {
        let text = &self.source[start..self.line];
        let first = start + text.len() - text.trim_start().len();
        let end = first + self.source[first..].lines().next().unwrap_or_default().trim_end().len();
        while self.found.errors.pop_if(|error| error.span.start as usize >= start).is_some() {}
        while self.found.edits.pop_if(|edit| edit.start >= start).is_some() {}
        while self.found.strays.pop_if(|(at, _)| *at as usize >= start).is_some() {}
        let span = Span::new(self.at, self.at + 1);
        self.report(
            message::unexpected(span, format!("unexpected `{}`", kind.closing()), "closes nothing")
                .related(Span::new(first, end), "the line that opens it is missing before this"),
        );
        self.found.strays.push((span.start, Some(self.indent)));
        // Of the declaration, and of the block in which it stands.
        self.found.damaged.push(Span::new(self.chunk.start, self.at + 1));
        self.found.damaged.push(Span::new(first, self.at + 1));
        self.blank(start, self.at + 1);
        self.at += 1;
    }

    /// A closing bracket that closes nothing. Several in a row are one mistake.
    fn stray(&mut self, kind: Kind) {
        if self.opening_is_missing(kind)
            && let Some((at, text)) = self.missing_opening(kind)
        {
            let sign = text.trim();
            let error = crate::recover::expected_in(self.source, at, &format!("`{sign}`"));
            self.report(error.replace(format!("insert `{sign}`"), Span::new(at, at), text));
            self.edit(at, at, text);
            self.at += 1;
            return;
        }
        let span = Span::new(self.at, self.at + 1);
        let first = self.at == self.line + self.indent;
        if kind != Kind::Parenthesis
            && let Some(start) = self.headless()
        {
            return self.drop_headless(start, kind);
        }
        let row = self.found.strays.last().is_some_and(|(last, _)| *last + 1 == span.start);
        let error = self.found.errors.last_mut().filter(|error| row && error.span.end == span.start);
        if let Some(error) = error {
            error.span.end = span.end;
            error.fix = Some(("remove them".into(), vec![(error.span, String::new())]));
        } else {
            let message = format!("unexpected `{}`", kind.closing());
            self.report(message::unexpected(span, message, "closes nothing").replace("remove it", span, ""));
        }
        self.found.strays.push((span.start, first.then_some(self.indent)));
        let damaged = Span::new(self.chunk.start, self.at + 1);
        match self.found.damaged.last_mut().filter(|last| last.start == damaged.start) {
            Some(last) => last.end = last.end.max(damaged.end),
            None => self.found.damaged.push(damaged),
        }
        self.blank(self.at, self.at + 1);
        self.at += 1;
    }

    /// Ends what is open from an index on, where the code before `next` ends. One report, whatever its number.
    pub(super) fn close_unclosed(&mut self, keep: usize, next: usize) {
        let unclosed = self.open.split_off(keep);
        let Some(last) = unclosed.last().copied() else { return };
        let end = if next > self.line + self.indent {
            self.line + self.source[self.line..next].trim_end().len()
        } else {
            self.code_end
        };
        let end = end.max(last.at + last.kind.opening().len());
        if self.open.len() <= crate::build::MAX_DEPTH as usize
            && let Some(deep) = unclosed.get(crate::build::MAX_DEPTH as usize - self.open.len())
        {
            let deep = *deep;
            self.too_deep(deep, end);
        }
        let closing: String = unclosed
            .iter()
            .take((crate::build::MAX_DEPTH as usize).saturating_sub(self.open.len()))
            .rev()
            .map(|open| open.kind.closing())
            .collect();
        let (opening, one) = (last.kind.opening(), last.kind.closing());
        let span = Span::new(last.at, last.at + opening.len());
        let here = self.character(next);
        let expected = if next >= self.bytes.len() {
            format!("expected `{closing}` before the end of the file")
        } else {
            format!("expected `{closing}` before this")
        };
        let message = match unclosed.len() {
            1 => format!("`{opening}` is never closed"),
            2 => format!("`{opening}` is never closed, nor is the bracket around it"),
            many => format!("`{opening}` is never closed, nor are {} brackets around it", many - 1),
        };
        if self.cut == Some(end) {
            // A text without an end has swallowed what would close them, and has been reported.
        } else if closing.len() <= 16 {
            let fix = format!("insert `{closing}`");
            let at = Span::new(end, end);
            let text =
                if one == "}" && last.line != self.line { format!("\n{closing}") } else { closing.clone() };
            let error = message::unclosed(span, message, "never closed").related(here, expected);
            // Parameters may have swallowed the body; then they end before it, and nobody knows where.
            let swallowed = unclosed.iter().any(|open| self.is_parameters(*open))
                && self.source[last.at..end].ends_with('}');
            // Of `{ a = b { c, d = e }` it may be the inner one that lacks its end.
            let line = self.source[last.at + 1..end].lines().next().unwrap_or_default();
            let nested = last.at + 1 + line.len() == end && line.contains(opening);
            let guess = swallowed || nested;
            if swallowed {
                self.found.unreliable.push(Span::new(last.at, end));
            }
            self.report(if guess { error } else { error.replace(fix, at, text) });
        } else {
            self.report(message::unclosed(span, message, "never closed"));
        }
        // A brace below what is closed here would stand on its line if somebody had closed it.
        let brace = if self.byte(next) == b'{' { next + 1 } else { end };
        let line_end = self.line_end(end).max(brace);
        self.found.unreliable.push(Span::new(end, line_end));
        self.found.damaged.extend(unclosed.iter().map(|open| Span::new(open.at, end)));
        if !closing.is_empty() {
            self.edit(end, end, closing);
        }
    }

    /// Before a `{` that ends its line, and so begins a body: parameters that the line opened and nothing has closed.
    pub(super) fn end_parameters(&mut self) {
        let behind = self.source[self.at + 1..].trim_start_matches([' ', '\t', '\r']);
        if !(behind.is_empty() || behind.starts_with(['\n']) || behind.starts_with("//")) || self.in_hole() {
            return;
        }
        let own = self.open.iter().rev().take_while(|open| open.line == self.line).count();
        let first = self.at == self.line + self.indent;
        // Parameters may take several lines; then only the brace is left of the last one.
        let own = if first { self.open.len().saturating_sub(1) } else { self.open.len() - own };
        let is_head = |open: &Open| {
            let head = self.source[open.line..open.at].trim_start();
            // A signature of a provider's step has some, too.
            let signature = head.strip_prefix("step ").is_some_and(|name| !name.contains('='));
            self.is_parameters(*open) || open.kind == Kind::Parenthesis && signature
        };
        let outputs = |open: &Open| {
            open.kind == Kind::Brace && self.source[open.line..open.at].trim_end().ends_with("->")
        };
        // A `{` of a value stands behind what gives, lists or opens it.
        let before = self.source[self.line..self.at].trim_end();
        if self.open.get(own).is_some_and(|open| is_head(open) || outputs(open))
            && !before.ends_with(['=', ',', '[', ':'])
        {
            let damaged = self.found.damaged.len();
            self.close_unclosed(own, self.at);
            // Nothing is missing but the bracket.
            self.found.damaged.truncate(damaged);
        }
    }

    /// Before a `=`, which stands in no list: one that this line opened and does not close.
    pub(super) fn end_list(&mut self) {
        let Some(open) = self.open.last().copied() else { return };
        let before = self.source[..self.at].chars().next_back();
        if open.kind != Kind::Bracket
            || open.line != self.line
            || open.at > self.at
            || open.in_hole
            || self.byte(self.at + 1) == b'='
            || matches!(before, Some('=' | '!' | '<' | '>'))
        {
            return;
        }
        let end = self.line_end(self.at);
        let behind = &self.bytes[self.at..end];
        let count = |sign: u8| behind.iter().filter(|byte| **byte == sign).count();
        if behind.len() <= HEAD && count(b']') <= count(b'[') {
            let damaged = self.found.damaged.len();
            self.close_unclosed(self.open.len() - 1, self.at);
            // Nothing is missing but the bracket.
            self.found.damaged.truncate(damaged);
        }
    }

    /// Whether a `(` belongs to the head of a declaration.
    fn is_parameters(&self, open: Open) -> bool {
        open.kind == Kind::Parenthesis && self.found.declarations.last() == Some(&open.line)
    }

    /// The source ends. Whether that was all: something may have to be read again.
    pub(super) fn end(&mut self) -> bool {
        if self.open.is_empty() {
            return true;
        }
        if let Some(index) = self.outer_text() {
            self.broken_text(index);
            return false;
        }
        if let Some(index) = self.open.iter().position(|open| open.kind == Kind::LongText) {
            self.endless_text(index);
            return false;
        }
        if self.read_carefully() {
            return false;
        }
        self.note_code_end();
        self.close_unclosed(0, self.bytes.len());
        true
    }
}

//! Characters that other languages use: their comments, quotes and separators.

use super::Scan;
use crate::ast::Span;
use crate::message;

/// Where a `'…'` ends: `''` and `\'` in it are quotes of its own.
fn single_quoted(rest: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest[at..].find(['\'', '\\'])?;
        let next = rest[at + 1..].chars().next();
        match (rest.as_bytes()[at], next) {
            (b'\'', Some('\'')) if at > 0 => at += 2,
            (b'\'', _) => return Some(at),
            (_, None) => return None,
            (_, Some(next)) => at += 1 + next.len_utf8(),
        }
    }
}

/// The inside of a text in other quotes as it is written here; nothing where other languages do not agree on what it says.
fn rewritten(quote: char, text: &str) -> Option<String> {
    let single = quote == '\'';
    let mut out = String::with_capacity(text.len() + 2);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' if single && rest.peek() == Some(&'\'') => {
                rest.next();
                out.push('\'');
            }
            '\\' if single && rest.peek() == Some(&'\'') => {
                rest.next();
                out.push('\'');
            }
            '\\' => return None,
            // Some interpolate in such quotes, some do not.
            '$' if single && rest.peek() == Some(&'{') => return None,
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    Some(out)
}

impl Scan<'_> {
    /// `# …`
    pub(super) fn hash_comment(&mut self) {
        self.note_code_end();
        self.code_noted = true;
        let end = self.line_end(self.at);
        let mark = Span::new(self.at, self.at + 1);
        let error = message::spelling(mark, "comments begin with `//`, not with `#`", "write `//`");
        // Right behind something else, or with one quote after it, it may be part of a text whose quote is missing.
        let before = &self.source[self.line..self.at];
        let quotes = self.source[self.at..end].matches('"').count();
        let alone = before.trim().is_empty() || before.ends_with([' ', '\t']) && quotes.is_multiple_of(2);
        self.report(if alone { error.replace("write `//`", mark, "//") } else { error });
        self.blank(self.at, end);
        self.at = end;
    }

    /// `/* … */`
    pub(super) fn block_comment(&mut self) {
        let start = self.at;
        let end = self.source[start + 2..].find("*/").map(|length| start + 2 + length + 2);
        let stop = end.unwrap_or_else(|| self.line_end(start));
        let span = Span::new(start, stop);
        let error =
            message::spelling(span, "comments are not written with `/* … */`", "write `//` on each line");
        let inner = &self.source[start + 2..stop - if end.is_some() { 2 } else { 0 }];
        let lines: Vec<&str> = inner.lines().map(|line| line.trim().trim_start_matches('*').trim()).collect();
        let ends_line = self.source[stop..].trim_start_matches([' ', '\t', '\r']).starts_with('\n')
            || stop == self.bytes.len();
        let rewritten = lines
            .iter()
            .filter(|line| !line.is_empty())
            .map(|line| format!("// {line}"))
            .collect::<Vec<_>>()
            .join(&format!("\n{}", " ".repeat(self.indent)));
        self.report(if ends_line { error.replace("write `//`", span, rewritten) } else { error });
        self.blank(start, stop);
        if self.source[start..stop].contains('\n') {
            self.goes_on_in_line_of(stop);
        }
        self.at = stop;
    }

    /// `//` inside of `${…}`
    pub(super) fn comment_in_text(&mut self) {
        let end = self.line_end(self.at);
        let stop = self.source[self.at..end].find(['}', '"']).map_or(end, |length| self.at + length);
        let span = Span::new(self.at, stop);
        self.report(message::text(span, "there are no comments inside of text", "not a comment"));
        self.blank(self.at, stop);
        self.at = stop;
    }

    /// `'…'` and the like. Of several marks that may close it the first in this order that is there does.
    pub(super) fn foreign_quote(&mut self, opening: char, closing: &[char]) {
        let start = self.at;
        let content = start + opening.len_utf8();
        let line_end = self.line_end(start);
        let known = self.unpaired == Some((opening, line_end));
        let rest = if known { "" } else { &self.source[content..line_end] };
        let end = match opening {
            '\'' => single_quoted(rest).map(|length| (length, 1)),
            _ => closing.iter().find_map(|mark| Some((rest.find(*mark)?, mark.len_utf8()))),
        };
        let quotes = |text: &str| text.bytes().filter(|byte| *byte == b'"').count();
        if end.is_none() && opening == '\'' && quotes(rest) % 2 == 1 {
            // `'a"`
            let span = Span::new(start, content);
            let message = "text is written with `\"`, not with `'`";
            self.report(message::spelling(span, message, "write `\"`").replace("write `\"`", span, "\""));
            self.edit(start, content, "\"");
            return self.push(super::Kind::Text, 1);
        }
        let Some((length, mark)) = end else {
            self.unpaired = Some((opening, line_end));
            let span = Span::new(start, content);
            let error = message::spelling(
                span,
                format!("`{opening}` means nothing here"),
                "text is written with `\"`",
            );
            self.report(error);
            self.blank(start, content);
            self.found.unreliable.push(Span::new(start, line_end));
            self.at = content;
            return;
        };
        let stop = content + length;
        let end = stop + mark;
        let span = Span::new(start, end);
        let text = &self.source[content..stop];
        let error = message::spelling(
            span,
            format!("text is written with `\"`, not with `{opening}`"),
            "write `\"…\"`",
        );
        self.report(match rewritten(opening, text) {
            Some(text) => error.replace("write `\"…\"`", span, format!("\"{text}\"")),
            None => error.help(
                "write `\\\"` for a quote, `\\\\` for a backslash and `\\${` for what is not to be interpolated",
            ),
        });
        // The copy keeps every byte in its place, so what would need an escape is lost there.
        let kept = text.replace(['\\', '"', '$'], "_");
        let before = " ".repeat(opening.len_utf8() - 1);
        let after = " ".repeat(mark - 1);
        self.edit(start, end, format!("{before}\"{kept}\"{after}"));
        self.at = end;
    }

    /// `'''…'''`, over several lines. Whether it has an end.
    pub(super) fn triple_quote(&mut self) -> bool {
        let start = self.at;
        let Some(length) = self.source[start + 3..].find("'''") else { return false };
        let (content, stop) = (start + 3, start + 3 + length);
        self.foreign_text(
            start,
            content,
            content..stop,
            stop + 3,
            "text over several lines is written with `\"\"\"`",
        );
        true
    }

    /// `<<END`, and the lines up to `END`. Whether that is what stands here.
    pub(super) fn heredoc(&mut self) -> bool {
        let start = self.at;
        let line_end = self.line_end(start);
        let word = self.source[start + 2..line_end].trim_start_matches(['-', '~']).trim_end();
        let word = word.trim_matches(['"', '\'']);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) || !word.chars().all(is_word) {
            return false;
        }
        let content = (line_end + 1).min(self.bytes.len());
        let mut at = content;
        for line in self.source[content..].split_inclusive('\n') {
            if line.trim() == word {
                let end = at + line.trim_end().len();
                self.foreign_text(start, content, content..at, end, "there is no `<<`");
                return true;
            }
            at += line.len();
        }
        false
    }

    /// `name: |` or `name = >` at the end of a line, and the deeper lines that follow. `at` is on the newline.
    pub(super) fn block_text(&mut self) -> bool {
        let newline = self.at;
        let line = self.source[self.line..newline].trim_end();
        let Some(before) = line.trim_end_matches(['-', '+']).strip_suffix(['|', '>']) else { return false };
        let before = before.trim_end_matches([' ', '\t']);
        if !before.ends_with([':', '=']) {
            return false;
        }
        let sign = self.line + before.len() - 1;
        let content = newline + 1;
        let mut end = content;
        for line in self.source[content..].split_inclusive('\n') {
            let code = line.trim_start_matches([' ', '\t']);
            if !code.trim_end().is_empty() && line.len() - code.len() <= self.indent {
                break;
            }
            end += line.len();
        }
        let end = content + self.source[content..end].trim_end().len();
        // The copy holds `=""` instead.
        if end <= content || newline - sign < 3 {
            return false;
        }
        // The sign belongs to the same mistake.
        self.foreign_text(
            sign,
            content,
            content..end,
            end,
            "text over several lines is written with `\"\"\"`",
        );
        true
    }

    /// A text over several lines as other languages write it: from `start` to `end`, its characters in `inner`.
    fn foreign_text(
        &mut self,
        start: usize,
        content: usize,
        inner: std::ops::Range<usize>,
        end: usize,
        message: &str,
    ) {
        let assigned = matches!(self.byte(start), b':' | b'=');
        let first = self.source[start..content].lines().next().unwrap_or_default().trim_end().len();
        let span = Span::new(start, start + first);
        let text = &self.source[inner];
        let error = message::spelling(span, message, "write `\"\"\"`")
            .help("write `\"\"\"` before and after it; the indentation of the last line is dropped from all of them");
        // Where nothing in it means something else here, it can stand as it is.
        let plain = !text.contains(['\\', '$']) && !text.contains("\"\"\"") && text.contains('\n');
        let lines = text.trim_matches(['\r', '\n']).lines();
        let indent = lines
            .clone()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len())
            .min()
            .unwrap_or(0);
        let body: Vec<&str> = lines.collect();
        let margin = body.first().map_or("", |line| line.get(..indent).unwrap_or_default());
        let opening = if assigned { "= \"\"\"" } else { "\"\"\"" };
        let fixed = format!("{opening}\n{}\n{margin}\"\"\"", body.join("\n"));
        let whole = Span::new(start, end);
        self.report(if plain { error.replace("write `\"\"\"`", whole, fixed) } else { error });
        self.blank_from(start, end, if assigned { "=\"\"" } else { "\"\"" });
        self.goes_on_in_line_of(end);
        self.code_end = end;
        self.code_noted = true;
        self.at = end;
    }

    /// Makes a range blank, except for its newlines and what it begins with from now on.
    fn blank_from(&mut self, start: usize, end: usize, first: &str) {
        let rest = self.bytes[start + first.len()..end].iter();
        let rest = rest.map(|byte| if *byte == b'\n' { '\n' } else { ' ' });
        let text: String = first.chars().chain(rest).collect();
        self.edit(start, end, text);
    }

    /// `;`
    pub(super) fn semicolon(&mut self) {
        let at = self.at;
        let span = Span::new(at, at + 1);
        let rest = self.source[at + 1..].trim_start_matches([' ', '\t', '\r']);
        let last = rest.is_empty() || rest.starts_with(['\n', '}', ')', ']', ',']) || rest.starts_with("//");
        let error = message::spelling(span, "`;` separates nothing", "use a comma or a new line");
        let (fixed, copy) = match (last, self.open.is_empty()) {
            (true, _) => ("", " "),
            (false, true) => ("\n", "\n"),
            (false, false) => (",", ","),
        };
        self.report(error.replace(if last { "remove it" } else { "separate them" }, span, fixed));
        self.edit(at, at + 1, copy);
        self.at += 1;
    }

    /// `=>`
    pub(super) fn fat_arrow(&mut self) {
        let span = Span::new(self.at, self.at + 2);
        self.report(
            message::spelling(span, "there is no `=>`", "write `=`")
                .help("a value is given with `=`; \"at least\" is `>=`")
                .replace("write `=`", span, "="),
        );
        self.edit(self.at, self.at + 2, "= ");
        self.at += 2;
    }

    /// A character beyond ASCII: typographic quotes, and blanks that look like spaces but are none.
    pub(super) fn foreign_character(&mut self) {
        let Some(character) = self.source[self.at..].chars().next() else { return };
        let closing: &[char] = match character {
            '\u{201C}' | '\u{201D}' => &['\u{201D}', '\u{201C}', '"'],
            '\u{201E}' => &['\u{201C}', '\u{201D}', '"'],
            '\u{2018}' | '\u{2019}' => &['\u{2019}', '\u{2018}', '\''],
            '\u{AB}' => &['\u{BB}'],
            _ => &[],
        };
        if !closing.is_empty() {
            return self.foreign_quote(character, closing);
        }
        let invisible = |c: char| match c {
            '\t' | '\n' | '\r' => false,
            '\0'..'\u{20}' | '\u{200B}'..='\u{200D}' | '\u{FEFF}' => true,
            c => c.is_whitespace() && !c.is_ascii(),
        };
        if !invisible(character) || (self.at == 0 && character == '\u{FEFF}') {
            self.at += character.len_utf8();
            return;
        }
        let start = self.at;
        let rest = &self.source[start..];
        let end = start + rest.find(|c: char| !invisible(c)).unwrap_or(rest.len());
        let span = Span::new(start, end);
        self.report(
            message::unexpected(
                span,
                format!("an invisible character (U+{:04X}) stands here", character as u32),
                "no space",
            )
            .replace("write a space", span, " "),
        );
        self.blank(start, end);
        self.at = end;
    }
}

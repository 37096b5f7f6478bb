//! Characters that other languages use: their comments, quotes and separators.

use super::Scan;
use crate::ast::Span;
use crate::message;

impl Scan<'_> {
    /// `# …`
    pub(super) fn hash_comment(&mut self) {
        self.note_code_end();
        self.code_noted = true;
        let end = self.line_end(self.at);
        let mark = Span::new(self.at, self.at + 1);
        self.report(message::spelling(mark, "comments begin with `//`, not with `#`", "write `//`").replace(
            "write `//`",
            mark,
            "//",
        ));
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
        if let Some(newline) = self.source[start..stop].rfind('\n') {
            self.line = start + newline + 1;
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

    /// `'…'` and the like.
    pub(super) fn foreign_quote(&mut self, opening: char, closing: char) {
        let start = self.at;
        let content = start + opening.len_utf8();
        let line_end = self.line_end(start);
        let known = self.unpaired == Some((closing, line_end));
        let length = if known { None } else { self.source[content..line_end].find(closing) };
        let Some(length) = length else {
            self.unpaired = Some((closing, line_end));
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
        let end = stop + closing.len_utf8();
        let span = Span::new(start, end);
        let text = &self.source[content..stop];
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${");
        self.report(
            message::spelling(
                span,
                format!("text is written with `\"`, not with `{opening}`"),
                "write `\"…\"`",
            )
            .replace("write `\"…\"`", span, format!("\"{escaped}\"")),
        );
        // The copy keeps every byte in its place, so what would need an escape is lost there.
        let kept = text.replace(['\\', '"', '$'], "_");
        let before = " ".repeat(opening.len_utf8() - 1);
        let after = " ".repeat(closing.len_utf8() - 1);
        self.edit(start, end, format!("{before}\"{kept}\"{after}"));
        self.at = end;
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
        let closing = match character {
            '\u{201C}' | '\u{201D}' | '\u{201E}' => Some('\u{201D}'),
            '\u{2018}' | '\u{2019}' => Some('\u{2019}'),
            '\u{AB}' => Some('\u{BB}'),
            _ => None,
        };
        if let Some(closing) = closing {
            return self.foreign_quote(character, closing);
        }
        let invisible =
            |c: char| c.is_whitespace() && !c.is_ascii() || matches!(c, '\u{200B}'..='\u{200D}' | '\u{FEFF}');
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

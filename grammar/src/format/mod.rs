//! The formatter: one way to write a tree, comments and the author's blank lines kept.
//!
//! Declarations are printed one by one, each from its own pairs. One with a syntax error is left as it is, with the space
//! and the comments around it.

mod align;
mod layout;
mod long_text;
mod print;
mod read;

use crate::ast::Span;
use crate::{Parse, matcher, parse};
use print::Printer;
use read::Reader;

/// A file after formatting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Formatted {
    /// The text to write.
    pub text: String,
    /// What was left as it is because of syntax errors, as ranges of the source, in order.
    pub left: Vec<Span>,
}

/// How often the result is formatted again, until that changes nothing.
const ROUNDS: usize = 4;

/// Formats one file. Its tree and its comments stay what they are; formatting the result again changes nothing.
///
/// Line ends become what most lines of the file have; a byte order mark is dropped.
pub fn format(source: &str) -> Formatted {
    let first = pass(source);
    if first.left.is_empty() {
        return first;
    }
    // Indentation tells the parser what a fault belongs to, so that it may see another one when the neighbours have got theirs.
    let mut text = first.text;
    for _ in 0..ROUNDS {
        let again = pass(&text).text;
        if again == text {
            return Formatted { text, left: first.left };
        }
        text = again;
    }
    Formatted { text: source.to_owned(), left: vec![Span::new(0, source.len())] }
}

/// Formats everything that can be read.
fn pass(source: &str) -> Formatted {
    let text = source.strip_prefix('\u{FEFF}').unwrap_or(source);
    let mark = source.len() - text.len();
    let crlf = text.matches("\r\n").count();
    let newlines = text.bytes().filter(|byte| *byte == b'\n').count();
    let eol = if 2 * crlf > newlines { "\r\n" } else { "\n" };
    let mut file = FilePrinter {
        source: text,
        printer: Printer::new(eol, text.len() + text.len() / 8),
        started: false,
        spread: false,
        left: Vec::new(),
    };
    let mut at = 0;
    for span in whole(&parse(text), text) {
        let (start, end) = (span.start as usize, span.end as usize);
        if file.declaration(at, start, end) {
            at = end;
        }
    }
    file.finish(at);
    let moved = |span: Span| Span::new(span.start as usize + mark, span.end as usize + mark);
    Formatted { text: file.printer.out, left: file.left.into_iter().map(moved).collect() }
}

/// The declarations and imports in which no error has been found.
fn whole(parse: &Parse, source: &str) -> Vec<Span> {
    let imports = parse.file.imports.iter().map(|import| import.span);
    let declarations = parse.file.declarations.iter().map(|declaration| declaration.span);
    let mut spans: Vec<Span> = imports.chain(declarations).collect();
    spans.sort();
    if parse.errors.is_empty() {
        return spans;
    }
    let damaged = |span: Span| {
        let errors = parse.errors.iter().map(|error| error.span);
        let inside =
            parse.damaged.iter().filter(|damaged| span.start <= damaged.start && damaged.end <= span.end);
        errors.chain(inside.copied()).any(|other| other.start <= span.end && span.start <= other.end)
    };
    // An error may have been left unsaid as the consequence of another one, so each has to be right by itself.
    spans.retain(|span| {
        !damaged(*span) && crate::parse(&source[span.start as usize..span.end as usize]).errors.is_empty()
    });
    spans
}

/// A comment between two declarations.
struct Comment<'s> {
    text: &'s str,
    /// Whether a blank line stands before it.
    blank: bool,
    /// Whether it stands behind a declaration, on its line.
    behind: bool,
}

/// Comments between two declarations, and whether a blank line stands behind the last.
struct Gap<'s> {
    comments: Vec<Comment<'s>>,
    blank: bool,
}

/// A file on its way out.
struct FilePrinter<'s> {
    source: &'s str,
    printer: Printer,
    /// Whether something stands above.
    started: bool,
    /// Whether what stands above is a declaration over several lines.
    spread: bool,
    left: Vec<Span>,
}

impl<'s> FilePrinter<'s> {
    /// A declaration, and what stands between the last one and this. False when it has to stay as it is.
    fn declaration(&mut self, from: usize, start: usize, end: usize) -> bool {
        let text = &self.source[start..end];
        let mut nodes = Vec::new();
        let Ok(tree) = matcher::file(text, &mut nodes) else { return false };
        let Some(pair) = tree.root().into_inner().next() else { return false };
        let mut member = Reader::new(text).member(pair);
        let spread = member.multiline || member.is_breakable() && member.width > print::WIDTH;
        match gap(&self.source[from..start], from > 0) {
            Some(gap) => self.gap(&gap, Some(spread)),
            None => self.leave(from, start),
        }
        self.printer.member(&mut member, 0, 0, 0);
        (self.started, self.spread) = (true, spread);
        true
    }

    /// What stands behind the last declaration.
    fn finish(&mut self, from: usize) {
        match gap(&self.source[from..], from > 0) {
            Some(gap) => {
                self.gap(&gap, None);
                if self.started {
                    self.printer.line();
                }
            }
            None => self.leave(from, self.source.len()),
        }
    }

    /// Comments and blank lines before a declaration (and whether that is over several lines) or the end of the file.
    fn gap(&mut self, gap: &Gap<'_>, next: Option<bool>) {
        let count = gap.comments.len();
        // The comments right above a declaration belong to it.
        let attached = match next {
            Some(_) if !gap.blank => {
                let detached = |index: &usize| {
                    let comment = &gap.comments[*index];
                    comment.blank || comment.behind
                };
                let first = (0..count).rev().find(detached);
                first.map_or(0, |first| first + usize::from(gap.comments[first].behind))
            }
            _ => count,
        };
        let mut about_file = !self.started;
        for (index, comment) in gap.comments.iter().enumerate() {
            if comment.behind {
                self.printer.note(Some(comment.text));
                continue;
            }
            let about_file_before = about_file && index > 0;
            about_file &= comment.text.starts_with("//!");
            let apart = index == attached && next == Some(true);
            self.above(comment.blank || apart || about_file_before && !about_file);
            self.printer.push(comment.text);
            (self.started, self.spread) = (true, false);
        }
        if let Some(spread) = next {
            let about_file = about_file && count > 0;
            self.above(gap.blank || spread && attached == count || about_file);
        }
    }

    /// Ends the line above, if there is one, and leaves a blank one where that is wanted.
    fn above(&mut self, blank: bool) {
        if self.started {
            self.printer.line();
            if blank || self.spread {
                self.printer.line();
            }
        }
    }

    /// Leaves something as it is.
    fn leave(&mut self, start: usize, end: usize) {
        let text = &self.source[start..end];
        self.printer.out.push_str(text);
        let trimmed = text.trim_start();
        let start = end - trimmed.len();
        self.left.push(Span::new(start, start + trimmed.trim_end().len()));
    }
}

/// Takes what stands between two declarations apart. None when there is more than blank lines and comments.
fn gap(text: &str, follows: bool) -> Option<Gap<'_>> {
    let mut gap = Gap { comments: Vec::new(), blank: false };
    let mut lines = text.split('\n').peekable();
    let mut behind = follows;
    while let Some(line) = lines.next() {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.starts_with("//") {
            gap.comments.push(Comment { text: line.trim_end(), blank: gap.blank, behind });
            gap.blank = false;
        } else if !line.is_empty() {
            return None;
        } else if !behind && lines.peek().is_some() {
            gap.blank = true;
        }
        behind = false;
    }
    Some(gap)
}

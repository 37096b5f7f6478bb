//! From the parser's pairs to the syntax tree, in one pass: a file for each area of the language.
//!
//! A builder function takes a pair apart in the order of the grammar. Where a part is missing or left over it says so once
//! and goes on; what cannot be expressed in the tree is left out and its surroundings are marked as damaged.

mod declaration;
mod expression;
mod failure;
mod number;
mod pipeline;
mod provider;
mod record;
mod text;
mod types;
mod workflow;

use crate::ast::{Docs, Name, Path, Span};
use crate::message;
use crate::place::Place;
use crate::repair::Repaired;
use crate::syntax::{Pair, Rule};
use crate::{Comment, SyntaxError};
use compact_str::CompactString;
use pest::error::InputLocation;
use pest::iterators::Pairs;
use std::iter::Peekable;

/// Expressions and actions nest this deep at most; later passes may recurse over the tree without a thought.
pub(crate) const MAX_DEPTH: u32 = 128;

/// What a text has come to so far.
pub(crate) struct Build<'s> {
    /// The text the pairs are about: the source with its brackets and quotes repaired.
    pub(crate) text: &'s str,
    pub(crate) repaired: &'s Repaired<'s>,
    pub errors: Vec<SyntaxError>,
    pub comments: Vec<Comment>,
    pub damaged: Vec<Span>,
    /// The brackets that are being read: what is left out now is missing there.
    scope: Span,
    depth: u32,
    /// A block without braces that has just been reported.
    pub(crate) mute: Option<Muted>,
    /// Whether the last declaration has no body.
    headless: bool,
    /// Where a body is missing at the end of a line, and how far that line is indented.
    pub missing_bodies: Vec<(u32, usize)>,
}

/// The children of a pair.
pub(crate) struct Nodes<'s> {
    pairs: Peekable<Pairs<'s, Rule>>,
    /// Where the last child ended, as an offset into the repaired text.
    end: usize,
}

/// The children of a pair that are separated by commas or newlines.
pub(crate) struct Members<'s> {
    nodes: Nodes<'s>,
    place: Place,
    outer: Span,
    /// Whether a separator is due before the next one.
    due: bool,
    first: bool,
    /// After a block without braces.
    muted: Option<Muted>,
}

/// A block without braces, reported once: whatever it holds is not looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Muted {
    /// Lines that are indented deeper belong to it.
    indent: usize,
    /// So does the rest of its first line, which ends here.
    line_end: usize,
}

/// One of them, with the documentation above it.
pub(crate) struct Member<'s> {
    pub pair: Pair<'s>,
    pub docs: Vec<Span>,
}

impl<'s> Build<'s> {
    pub fn new(repaired: &'s Repaired<'s>) -> Self {
        let text: &'s str = &repaired.text;
        Build {
            text,
            repaired,
            errors: Vec::new(),
            comments: Vec::new(),
            damaged: Vec::new(),
            scope: repaired.span(0, text.len()),
            depth: 0,
            mute: None,
            headless: false,
            missing_bodies: Vec::new(),
        }
    }

    /// The parser gave up: something nests deeper than its stack reaches.
    pub fn unreadable(&mut self, error: &pest::error::Error<Rule>) {
        let at = match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
        let token = message::token(self.text, at.min(self.text.len()));
        self.report(message::too_deep(self.repaired.span(token.start, token.end())));
        self.damage();
    }

    /// Where a pair stands in the source.
    fn span(&self, pair: &Pair<'s>) -> Span {
        let span = pair.as_span();
        self.repaired.span(span.start(), span.end())
    }

    fn children(&self, pair: Pair<'s>) -> Nodes<'s> {
        Nodes { end: pair.as_span().start(), pairs: pair.into_inner().peekable() }
    }

    /// The next child. Comments on the way are noted.
    fn next(&mut self, nodes: &mut Nodes<'s>) -> Option<Pair<'s>> {
        loop {
            let pair = nodes.pairs.next()?;
            if pair.as_rule() != Rule::comment {
                nodes.end = pair.as_span().end();
                return Some(pair);
            }
            self.comment(&pair);
        }
    }

    /// The next child, if it is of that rule.
    pub(crate) fn take(&mut self, nodes: &mut Nodes<'s>, rule: Rule) -> Option<Pair<'s>> {
        while let Some(comment) = nodes.pairs.next_if(|pair| pair.as_rule() == Rule::comment) {
            self.comment(&comment);
        }
        let pair = nodes.pairs.next_if(|pair| pair.as_rule() == rule)?;
        nodes.end = pair.as_span().end();
        Some(pair)
    }

    fn comment(&mut self, pair: &Pair<'s>) {
        let span = pair.as_span();
        let length = pair.as_str().trim_end().len();
        let span = self.repaired.span(span.start(), span.start() + length);
        self.comments.push(Comment { span });
    }

    /// Starts to read what stands between a pair's brackets.
    fn members(&mut self, pair: Pair<'s>, place: Place) -> Members<'s> {
        let span = self.span(&pair);
        let outer = std::mem::replace(&mut self.scope, span);
        let mut nodes = self.children(pair);
        // The brackets are one byte each, except that a file has none.
        nodes.end += usize::from(place != Place::File);
        Members { nodes, place, outer, due: false, first: true, muted: None }
    }

    /// The next member. Says so where its separator is missing. To be called until there is none.
    fn member(&mut self, members: &mut Members<'s>) -> Option<Member<'s>> {
        let mut docs = Vec::new();
        loop {
            let before = members.nodes.end;
            let Some(pair) = members.nodes.pairs.next() else {
                self.scope = members.outer;
                self.undocumented(docs);
                return None;
            };
            let rule = pair.as_rule();
            if rule == Rule::comment {
                let text = pair.as_str();
                let outer = text.starts_with("//!") && members.place == Place::File && members.first;
                if outer || text.starts_with("///") && !text.starts_with("////") {
                    let span = pair.as_span();
                    docs.push(self.repaired.span(span.start(), span.start() + text.trim_end().len()));
                } else {
                    self.comment(&pair);
                }
                continue;
            }
            let span = pair.as_span();
            members.nodes.end = span.end();
            members.muted = self.mute.take().or(members.muted);
            if let Some(muted) = members.muted {
                if rule != Rule::EOI && self.continues_block(span.start(), muted) {
                    members.due = false;
                    continue;
                }
                members.muted = None;
            }
            if rule != Rule::EOI {
                self.separator(before, span.start(), members, rule);
            }
            members.first = false;
            let wants = |rule| !matches!(rule, Rule::bad | Rule::bad_line | Rule::misplaced);
            members.due = wants(rule) && (!self.text[..span.end()].ends_with('}') || always_separated(rule));
            return Some(Member { pair, docs });
        }
    }

    /// Nothing more is said about the block that has its head, and no braces, on the line of an offset.
    pub(crate) fn mute(&mut self, at: usize) {
        let line_end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        self.mute = Some(Muted { indent: self.indent(at), line_end });
    }

    /// Whether an offset belongs to a block without braces.
    fn continues_block(&self, at: usize, muted: Muted) -> bool {
        let own = self.indent(at);
        at < muted.line_end
            || own > muted.indent
            || own == muted.indent && message::token(self.text, at).text == "-"
    }

    /// How far the line of an offset is indented.
    pub(crate) fn indent(&self, at: usize) -> usize {
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        self.text[line..].bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    }

    /// Documentation above something that takes none is a comment.
    fn undocumented(&mut self, docs: Vec<Span>) {
        self.comments.extend(docs.into_iter().map(|span| Comment { span }));
    }

    /// Joins documentation lines, without their markers.
    fn docs(&mut self, lines: Vec<Span>) -> Docs {
        let mut text = CompactString::default();
        for (index, span) in lines.into_iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            let line = &self.repaired.source[span.start as usize + 3..span.end as usize];
            text.push_str(line.strip_prefix(' ').unwrap_or(line));
        }
        Docs(text)
    }

    /// A name, from a pair of rule `name`.
    fn name(&mut self, pair: &Pair<'s>) -> Name {
        let text = pair.as_str();
        let span = self.span(pair);
        self.check_name(text, span);
        Name { text: text.into(), span }
    }

    /// Reports what the grammar lets pass as a name and is none.
    fn check_name(&mut self, text: &str, span: Span) {
        if message::is_reserved(text) {
            self.reserved(span, text);
        } else if text.ends_with('-') {
            self.report(
                message::unexpected(span, format!("the name `{text}` ends in `-`"), "not a name")
                    .help("`-` may only stand between letters, digits and `_`"),
            );
            self.damage();
        }
    }

    /// The names of a pair of rule `path`.
    fn path(&mut self, pair: &Pair<'s>) -> Path {
        let mut start = pair.as_span().start();
        let mut names = Vec::with_capacity(1);
        for text in pair.as_str().split('.') {
            let span = self.repaired.span(start, start + text.len());
            self.check_name(text, span);
            names.push(Name { text: text.into(), span });
            start += text.len() + 1;
        }
        Path { names, span: self.span(pair) }
    }

    pub(crate) fn report(&mut self, error: SyntaxError) {
        self.errors.push(error);
    }

    /// Something here was left out of the tree.
    pub(crate) fn damage(&mut self) {
        if self.damaged.last() != Some(&self.scope) {
            self.damaged.push(self.scope);
        }
    }

    /// Reads some levels deeper, unless that is too deep.
    fn nested<T>(&mut self, span: Span, levels: u32, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth + levels > MAX_DEPTH {
            let error = message::too_deep(span);
            // Brackets that nest too deep inside of this are the same fault.
            let inside = |other: &SyntaxError| other.message == error.message && span.contains(other.span.start);
            if !self.errors.iter().any(inside) {
                self.report(error);
            }
            self.damage();
            return None;
        }
        self.depth += levels;
        let result = read(self);
        self.depth -= levels;
        result
    }
}

impl<'s> Build<'s> {
    /// Checks what stands between two members.
    fn separator(&mut self, from: usize, to: usize, members: &Members<'s>, rule: Rule) {
        let gap = &self.text.as_bytes()[from..to];
        if gap == b"\n" || gap == b", " {
            if members.first && gap == b", " {
                self.expected(from, members.place.members());
            }
            return;
        }
        let mut commas = usize::from(members.first);
        let mut separated = false;
        let mut at = 0;
        while at < gap.len() {
            match gap[at] {
                b',' if commas > 0 => {
                    let span = self.repaired.span(from + at, from + at + 1);
                    self.report(message::unexpected(span, "unexpected `,`", "a comma too many").replace(
                        "remove it",
                        span,
                        "",
                    ));
                    commas = usize::MAX;
                    separated = true;
                }
                b',' => {
                    commas += 1;
                    separated = true;
                }
                b'\n' => separated = true,
                b'/' => at += gap[at..].iter().position(|byte| *byte == b'\n').unwrap_or(gap.len() - at) - 1,
                _ => {}
            }
            at += 1;
        }
        if members.due && !separated && rule != Rule::bad {
            let found = message::token(self.text, to);
            let span = self.repaired.span(found.start, found.end());
            let end = self.repaired.span(from, from);
            let (what, text) = match members.place {
                Place::File => ("a new line", "\n"),
                _ => ("a comma or a new line", ","),
            };
            self.report(
                message::unexpected(
                    span,
                    format!("expected {what}, found {}", found.describe()),
                    format!("{what} is missing before this"),
                )
                .replace("separate them", end, text),
            );
        }
    }
}

/// Members after which a separator is needed even when they end in `}`.
fn always_separated(rule: Rule) -> bool {
    matches!(rule, Rule::entry | Rule::short | Rule::setting | Rule::expr | Rule::param | Rule::condition)
}

//! What stands between brackets: members, their separators, and the documentation above them.

use super::{Build, Nodes};
use crate::ast::Span;
use crate::message;
use crate::place::Place;
use crate::syntax::{Pair, Rule};

/// The children of a pair that are separated by commas or newlines.
pub(crate) struct Members<'t> {
    nodes: Nodes<'t>,
    place: Place,
    /// The brackets around these, and whether they hold details.
    outer: (Span, bool),
    /// Documentation that stands before the first one.
    docs: Vec<Span>,
    /// Whether a separator is due before the next one.
    pub(super) due: bool,
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
pub(crate) struct Member<'t> {
    pub pair: Pair<'t>,
    pub docs: Vec<Span>,
}

impl<'s> Build<'s> {
    /// Starts to read what stands between a pair's brackets.
    pub(super) fn members<'t>(&mut self, pair: Pair<'t>, place: Place) -> Members<'t> {
        let outer = (self.scope, self.detail);
        let span = self.span(&pair);
        let mut nodes = self.children(pair);
        let mut docs = Vec::new();
        if place == Place::File {
            docs = std::mem::take(&mut self.pending);
        } else {
            self.scope = span;
            self.detail |= place.holds_details();
            // The opening bracket.
            nodes.end += 1;
        }
        Members { nodes, place, outer, docs, due: false, first: true, muted: None }
    }

    /// The next member. Says so where its separator is missing. To be called until there is none.
    pub(super) fn member<'t>(&mut self, members: &mut Members<'t>) -> Option<Member<'t>> {
        let mut docs = std::mem::take(&mut members.docs);
        loop {
            let before = members.nodes.end;
            let Some(pair) = members.nodes.pairs.next() else {
                (self.scope, self.detail) = members.outer;
                self.undocumented(docs);
                return None;
            };
            let rule = pair.as_rule();
            if rule == Rule::comment {
                let text = pair.as_str();
                let outer = text.starts_with("//!")
                    && members.place == Place::File
                    && members.first
                    && self.base == 0;
                if outer || text.starts_with("///") && !text.starts_with("////") {
                    let span = pair;
                    docs.push(self.place(span.start(), span.start() + text.trim_end().len()));
                } else {
                    self.comment(&pair);
                }
                continue;
            }
            let span = pair;
            members.nodes.end = span.end();
            if self.mute.is_some() {
                members.muted = self.mute.take();
            }
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
            let braced = span.end() > 0 && self.text.as_bytes()[span.end() - 1] == b'}';
            members.due = wants(rule) && (!braced || always_separated(rule));
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

    /// Checks what stands between two members.
    fn separator(&mut self, from: usize, to: usize, members: &Members<'_>, rule: Rule) {
        let gap = &self.text.as_bytes()[from..to];
        if gap == b"\n" || gap == b", " {
            if members.first && gap == b", " {
                self.expected(from, members.place.members());
            }
            return;
        }
        // The next line, however far it is indented.
        if let [b'\n', indent @ ..] = gap
            && indent.iter().all(|byte| *byte == b' ')
        {
            return;
        }
        let mut commas = usize::from(members.first);
        let mut separated = false;
        let mut at = 0;
        while at < gap.len() {
            match gap[at] {
                b',' if commas > 0 => {
                    let span = self.place(from + at, from + at + 1);
                    self.report(message::unexpected(span, "unexpected `,`", "a comma too many").replace(
                        "remove it",
                        span,
                        "",
                    ));
                    commas = usize::MAX;
                    // Something may be missing before it.
                    self.detail(Self::damage);
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
            self.unseparated(members.place, from, to);
        }
    }

    /// Two members stand on one line with nothing between them.
    pub(super) fn unseparated(&mut self, place: Place, from: usize, to: usize) {
        if from == to && self.indexing(to) {
            return self.detail(Self::damage);
        }
        let found = message::token(self.text, to);
        let span = self.place(found.start, found.end());
        let end = self.place(from, from);
        let (what, text) = match place {
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

/// Members after which a separator is needed even when they end in `}`.
fn always_separated(rule: Rule) -> bool {
    matches!(rule, Rule::entry | Rule::short | Rule::setting | Rule::expr | Rule::param | Rule::condition)
}

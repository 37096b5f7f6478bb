//! From the parser's pairs to the syntax tree, in one pass: a file for each area of the language.
//!
//! A builder function takes a pair apart in the order of the grammar. Where a part is missing or left over it says so once
//! and goes on; what cannot be expressed in the tree is left out and its surroundings are marked as damaged.

mod declaration;
mod expression;
mod failure;
mod member;
pub(crate) mod number;
mod pipeline;
mod provider;
mod record;
pub(crate) mod template;
mod text;
mod types;
mod workflow;

use crate::ast::{Docs, File, Name, Path, Span};
use crate::matcher::{self, Unreadable};
use crate::message;
use crate::repair::Repaired;
use crate::syntax::{Node, Pair, Pairs, Rule};
use crate::{Comment, Parse, SyntaxError};
use compact_str::CompactString;

use member::Muted;

/// Expressions and actions nest this deep at most; later passes may recurse over the tree without a thought.
pub(crate) const MAX_DEPTH: u32 = 128;

/// What a text has come to so far.
pub(crate) struct Build<'s> {
    /// The text the pairs are about: a piece of the source, its brackets and quotes repaired.
    pub(crate) text: &'s str,
    repaired: &'s Repaired<'s>,
    /// Where that piece begins in the whole repaired text.
    base: usize,
    pub file: File,
    /// Documentation that stands before the next piece.
    pending: Vec<Span>,
    pub errors: Vec<SyntaxError>,
    pub comments: Vec<Comment>,
    /// Brackets in which a part of the structure was left out.
    pub broken: Vec<Span>,
    /// Brackets in which a detail was left out.
    pub incomplete: Vec<Span>,
    /// The brackets that are being read: what is left out now is missing there.
    scope: Span,
    /// Where the scan had to guess: names there are perhaps none.
    pub(crate) unreliable: &'s [Span],
    /// Where a text begins whose end the scan had to guess.
    pub lost_texts: Vec<u32>,
    /// Whether a detail is being read: a value, or all that stands in brackets which hold only such.
    pub(crate) detail: bool,
    depth: u32,
    /// A block without braces that has just been reported.
    pub(crate) mute: Option<Muted>,
    /// Whether the last declaration has no body.
    headless: bool,
    /// Whether a line of YAML has been reported where declarations stand.
    pub(crate) yaml: bool,
    /// Where a body is missing at the end of a line, and how far that line is indented.
    pub missing_bodies: Vec<(u32, usize)>,
    /// Room for the nodes of a piece, kept from one to the next.
    nodes: Vec<Node>,
}

/// The children of a pair.
pub(crate) struct Nodes<'t> {
    pairs: Pairs<'t>,
    /// Where the last child ended, as an offset into the repaired text.
    end: usize,
}

impl<'s> Build<'s> {
    pub fn new(repaired: &'s Repaired<'s>) -> Self {
        Build {
            text: "",
            repaired,
            base: 0,
            file: File::default(),
            pending: Vec::new(),
            errors: Vec::new(),
            comments: Vec::new(),
            broken: Vec::new(),
            incomplete: Vec::new(),
            scope: repaired.span(0, repaired.text.len()),
            unreliable: &[],
            lost_texts: Vec::new(),
            detail: false,
            depth: 0,
            mute: None,
            headless: false,
            yaml: false,
            missing_bodies: Vec::new(),
            nodes: Vec::new(),
        }
    }

    /// Reads the next piece of the repaired text. Declarations are parsed one by one: what the parser holds stays small,
    /// and what it cannot read costs one declaration.
    pub fn piece(&mut self, range: std::ops::Range<usize>) {
        self.text = &self.repaired.text[range.clone()];
        self.base = range.start;
        self.mute = None;
        let mut nodes = std::mem::take(&mut self.nodes);
        match matcher::file(self.text, &mut nodes) {
            Ok(tree) => self.file(tree.root()),
            Err(Unreadable { at }) => self.unreadable(at),
        }
        self.nodes = nodes;
    }

    /// Reads the next piece of a source that has not been scanned. Whether nothing is wrong with it, and nothing for the scan
    /// to find.
    pub fn unscanned(&mut self, range: std::ops::Range<usize>) -> bool {
        self.text = &self.repaired.text[range.clone()];
        self.base = range.start;
        let mut nodes = std::mem::take(&mut self.nodes);
        let tree = matcher::unscanned(self.text, &mut nodes);
        let plain = tree.is_some();
        if let Some(tree) = tree {
            self.file(tree.root());
        }
        self.nodes = nodes;
        plain && self.errors.is_empty() && self.broken.is_empty()
    }

    /// What the pieces came to.
    pub fn finish(mut self) -> Parse {
        let docs = std::mem::take(&mut self.pending);
        self.undocumented(docs);
        let Build { file, errors, mut comments, mut broken, incomplete, .. } = self;
        comments.sort_by_key(|comment| comment.span);
        let mut damaged = [broken.as_slice(), &incomplete].concat();
        for spans in [&mut damaged, &mut broken] {
            spans.sort();
            spans.dedup();
        }
        Parse { file, errors, comments, damaged, broken }
    }

    /// Where a range of the piece stands in the source.
    pub(crate) fn place(&self, start: usize, end: usize) -> Span {
        self.repaired.span(self.base + start, self.base + end)
    }

    /// The grammar matches every balanced text, unless it nests too deep.
    fn unreadable(&mut self, at: usize) {
        let token = message::token(self.text, at);
        self.report(message::too_deep(self.place(token.start, token.end())));
        self.damage();
    }

    /// Where a pair stands in the source.
    fn span(&self, pair: &Pair<'_>) -> Span {
        self.place(pair.start(), pair.end())
    }

    fn children<'t>(&self, pair: Pair<'t>) -> Nodes<'t> {
        Nodes { end: pair.start(), pairs: pair.into_inner() }
    }

    /// The next child. Comments on the way are noted.
    fn next<'t>(&mut self, nodes: &mut Nodes<'t>) -> Option<Pair<'t>> {
        loop {
            let pair = nodes.pairs.next()?;
            if pair.as_rule() != Rule::comment {
                nodes.end = pair.end();
                return Some(pair);
            }
            self.comment(&pair);
        }
    }

    /// The next child, if it is of that rule.
    #[inline]
    pub(crate) fn take<'t>(&mut self, nodes: &mut Nodes<'t>, rule: Rule) -> Option<Pair<'t>> {
        loop {
            let next = nodes.pairs.rule()?;
            if next != rule && next != Rule::comment {
                return None;
            }
            let pair = nodes.pairs.next()?;
            if next == rule {
                nodes.end = pair.end();
                return Some(pair);
            }
            self.comment(&pair);
        }
    }

    fn comment(&mut self, pair: &Pair<'_>) {
        let span = pair;
        let length = pair.as_str().trim_end().len();
        let span = self.place(span.start(), span.start() + length);
        self.comments.push(Comment { span });
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
    fn name(&mut self, pair: &Pair<'_>) -> Name {
        let text = pair.as_str();
        let span = self.span(pair);
        self.check_name(text, span);
        Name { text: text.into(), span }
    }

    /// Reports what the grammar lets pass as a name and is none.
    #[inline]
    fn check_name(&mut self, text: &str, span: Span) {
        if message::is_reserved(text) {
            self.reserved(span, text);
        } else if text.as_bytes().last() == Some(&b'-') {
            self.ends_in_dash(span, text);
        }
    }

    #[cold]
    fn ends_in_dash(&mut self, span: Span, name: &str) {
        self.report(
            message::unexpected(span, format!("the name `{name}` ends in `-`"), "not a name")
                .help("`-` may only stand between letters, digits and `_`"),
        );
        self.damage();
    }

    /// A name where one of another module may stand, `common.sre`: its text holds the dot.
    fn dotted(&mut self, pair: &Pair<'_>) -> Name {
        let mut rest = Some((pair.as_str(), pair.start()));
        while let Some((text, start)) = rest {
            let (first, after) = first_name(text);
            let end = start + first.len();
            self.check_name(first, self.place(start, end));
            rest = after.map(|after| (after, end + 1));
        }
        Name { text: pair.as_str().into(), span: self.span(pair) }
    }

    /// The names of a pair of rule `path`.
    fn path(&mut self, pair: &Pair<'_>) -> Path {
        let (mut text, mut rest) = first_name(pair.as_str());
        // Most paths are a single name.
        let others = rest.map_or(0, |rest| 1 + rest.bytes().filter(|byte| *byte == b'.').count());
        let mut names = Vec::with_capacity(1 + others);
        let mut start = pair.start();
        loop {
            let end = start + text.len();
            let span = self.place(start, end);
            self.check_name(text, span);
            names.push(Name { text: text.into(), span });
            let Some(after) = rest else { break };
            (text, rest) = first_name(after);
            start = end + 1;
        }
        Path { names, span: self.span(pair) }
    }

    pub(crate) fn report(&mut self, error: SyntaxError) {
        self.errors.push(error);
    }

    /// Something here was left out of the tree.
    pub(crate) fn damage(&mut self) {
        let spans = if self.detail { &mut self.incomplete } else { &mut self.broken };
        if spans.last() != Some(&self.scope) {
            spans.push(self.scope);
        }
    }

    /// Reads something that is a detail of what it stands in.
    fn detail<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.detail, true);
        let result = read(self);
        self.detail = outer;
        result
    }

    /// Reads some levels deeper, unless that is too deep.
    fn nested<T>(&mut self, span: Span, levels: u32, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth + levels > MAX_DEPTH {
            let error = message::too_deep(span);
            // Brackets that nest too deep inside of this are the same fault.
            let inside =
                |other: &SyntaxError| other.message == error.message && span.contains(other.span.start);
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

/// What stands before the first dot of a path, and behind it.
fn first_name(path: &str) -> (&str, Option<&str>) {
    match path.bytes().position(|byte| byte == b'.') {
        Some(dot) => (&path[..dot], Some(&path[dot + 1..])),
        None => (path, None),
    }
}

//! Matches text against the grammar, by hand: one function for each rule that holds anything, a file for each area.
//!
//! The definition of the grammar is `tests/lockstep.pest`; this is its fast form, and a test holds the two to the same trees. Every
//! rule commits to its first word, so that a function looks at a byte or a word and knows what it reads. What such a
//! function returns is whether its rule matched; where it did not, nothing has been consumed.

mod class;
mod declaration;
mod expression;
mod failure;
mod leftover;
mod pipeline;
mod provider;
mod record;
mod text;
mod types;
mod words;
mod workflow;

#[cfg(test)]
mod tests;

use crate::syntax::{Node, Rule, Tree};
use std::collections::BTreeSet;

/// How deep expressions, types and brackets may nest before a text is given up. The tree builder reports what is deeper than
/// [`crate::build::MAX_DEPTH`]; this bound only keeps the stack small.
const MAX_DEPTH: u32 = 2 * crate::build::MAX_DEPTH;

/// How deep brackets and quotes may nest before the scan is asked: it counts a `${` between two quotes, too.
const PLAIN_DEPTH: u32 = crate::build::MAX_DEPTH / 2;

/// A text that cannot be matched: from this offset on it nests too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub at: usize,
}

/// Reads a file, or a piece of one that ends before a declaration. `nodes` is where the tree goes; what it held is dropped.
pub(crate) fn file<'t>(text: &'t str, nodes: &'t mut Vec<Node>) -> Result<Tree<'t>, Unreadable> {
    read(text, nodes, Matcher::file)
}

/// Reads a piece of a source that has not been scanned. Nothing where there is something that only the scan judges.
pub(crate) fn unscanned<'t>(text: &'t str, nodes: &'t mut Vec<Node>) -> Option<Tree<'t>> {
    let mut plain = true;
    let tree = read(text, nodes, |matcher| {
        let matched = matcher.file();
        plain = matcher.plain;
        matched
    });
    tree.ok().filter(|_| plain)
}

/// Reads the `${…}` that a text begins with.
pub(crate) fn hole<'t>(text: &'t str, nodes: &'t mut Vec<Node>) -> Result<Tree<'t>, Unreadable> {
    read(text, nodes, Matcher::hole)
}

fn read<'t>(
    text: &'t str,
    nodes: &'t mut Vec<Node>,
    rule: impl FnOnce(&mut Matcher<'t>) -> bool,
) -> Result<Tree<'t>, Unreadable> {
    let mut matcher = Matcher {
        text,
        bytes: text.as_bytes(),
        at: 0,
        nodes: std::mem::take(nodes),
        depth: 0,
        too_deep: None,
        nesting: 0,
        holes: 0,
        plain: true,
        failed: BTreeSet::new(),
    };
    matcher.nodes.clear();
    let matched = rule(&mut matcher);
    let Matcher { nodes: found, too_deep, .. } = matcher;
    *nodes = found;
    if !matched || too_deep.is_some() || nodes.is_empty() {
        return Err(Unreadable { at: too_deep.unwrap_or(0) });
    }
    Ok(Tree { text, nodes })
}

/// How far a text has been matched.
struct Matcher<'t> {
    text: &'t str,
    /// Its bytes; nothing once it has been given up, so that everything comes to an end.
    bytes: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
    depth: u32,
    /// Where it was given up.
    too_deep: Option<usize>,
    /// How many brackets and quotes are open, and how many `${`.
    nesting: u32,
    holes: u32,
    /// Whether nothing was met that matches, but is wrong: brackets and quotes that nest too deep, a text with a newline in it,
    /// a comment in a text.
    plain: bool,
    /// Brackets and quotes that close nowhere, which only text that was not repaired has: as which rule, each is tried once.
    failed: BTreeSet<(usize, u8)>,
}

/// A state to go back to.
#[derive(Clone, Copy)]
struct Mark {
    at: usize,
    nodes: usize,
}

/// A node that is being read, as an index.
#[derive(Clone, Copy)]
struct Opened(usize);

impl Matcher<'_> {
    /// The next byte; 0, which means nothing to any rule, at the end.
    fn byte(&self) -> u8 {
        self.byte_at(self.at)
    }

    fn byte_at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn starts(&self, literal: &[u8]) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(literal))
    }

    fn mark(&self) -> Mark {
        Mark { at: self.at, nodes: self.nodes.len() }
    }

    /// Goes back. False, for whoever has nothing else to say.
    fn back(&mut self, mark: Mark) -> bool {
        self.at = mark.at;
        self.nodes.truncate(mark.nodes);
        false
    }

    /// Matches all of something or nothing.
    fn attempt(&mut self, read: impl FnOnce(&mut Self) -> bool) -> bool {
        let mark = self.mark();
        read(self) || self.back(mark)
    }

    /// Begins a node here.
    fn open(&mut self, rule: Rule) -> Opened {
        self.nodes.push(Node { rule, start: self.at as u32, end: 0, inside: 0 });
        Opened(self.nodes.len() - 1)
    }

    /// Ends it here. True, for whoever has nothing else to say.
    fn close(&mut self, opened: Opened) -> bool {
        let inside = self.nodes.len() - opened.0 - 1;
        let node = &mut self.nodes[opened.0];
        node.end = self.at as u32;
        node.inside = inside as u32;
        true
    }

    /// Drops it, and goes back to where it began. False, for whoever has nothing else to say.
    fn undo(&mut self, opened: Opened) -> bool {
        self.at = self.nodes[opened.0].start as usize;
        self.nodes.truncate(opened.0);
        false
    }

    fn node(&mut self, rule: Rule, read: impl FnOnce(&mut Self) -> bool) -> bool {
        let node = self.open(rule);
        if read(self) { self.close(node) } else { self.undo(node) }
    }

    /// A node in which nobody looks.
    fn leaf(&mut self, rule: Rule, read: impl FnOnce(&mut Self) -> bool) -> bool {
        let node = self.open(rule);
        if !read(self) {
            return self.undo(node);
        }
        self.nodes.truncate(node.0 + 1);
        self.close(node)
    }

    /// A leaf from here to an offset.
    fn leaf_to(&mut self, rule: Rule, end: usize) {
        self.nodes.push(Node { rule, start: self.at as u32, end: end as u32, inside: 0 });
        self.at = end;
    }

    /// Reads one level deeper; gives everything up if that is too deep.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> bool) -> bool {
        if self.depth >= MAX_DEPTH {
            self.too_deep.get_or_insert(self.at);
            self.bytes = &[];
            return false;
        }
        self.depth += 1;
        let matched = read(self);
        self.depth -= 1;
        matched
    }

    /// Reads something that begins with a bracket or quote and may fail for want of its end.
    fn closed(&mut self, rule: Rule, read: impl FnOnce(&mut Self) -> bool) -> bool {
        let key = (self.at, rule as u8);
        if !self.failed.is_empty() && self.failed.contains(&key) {
            return false;
        }
        self.nesting += 1;
        self.plain &= self.nesting <= PLAIN_DEPTH;
        let matched = read(self);
        self.nesting -= 1;
        if !matched {
            self.failed.insert(key);
        }
        matched
    }

    /// What stands in braces: members, with blanks and commas between them.
    fn block(&mut self, rule: Rule, member: impl Fn(&mut Self) -> bool) -> bool {
        self.byte() == b'{' && self.members(rule, b'}', member)
    }

    /// The same in any brackets, from the opening one on.
    fn members(&mut self, rule: Rule, close: u8, member: impl Fn(&mut Self) -> bool) -> bool {
        self.closed(rule, |matcher| {
            let node = matcher.open(rule);
            matcher.at += 1;
            loop {
                matcher.separators();
                if matcher.byte() == close {
                    matcher.at += 1;
                    return matcher.close(node);
                }
                if !member(matcher) {
                    return matcher.undo(node);
                }
            }
        })
    }
}

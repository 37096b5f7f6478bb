//! Records, entries and settings, and what stands between the head of a construct and its body.

use super::Matcher;
use super::words::Word;
use crate::syntax::Rule;

impl Matcher<'_> {
    pub(super) fn record(&mut self) -> bool {
        self.block(Rule::record, Self::record_member)
    }

    fn record_member(&mut self) -> bool {
        match self.first_word() {
            Some(word) if word.assigned => self.assignment(Rule::entry, word),
            Some(word) => self.misplaced() || self.short(word),
            None => self.wordless_entry(),
        }
    }

    /// An entry or a setting, of which the name has been seen, and that something is assigned to it.
    pub(super) fn assignment(&mut self, rule: Rule, word: Word<'_>) -> bool {
        let node = self.open(rule);
        self.leaf_to(Rule::name, word.end);
        self.assigned();
        self.close(node)
    }

    /// What follows a key.
    fn assigned(&mut self) {
        self.blanks();
        self.assign();
        self.value();
        self.rest();
    }

    /// A name alone.
    pub(super) fn short(&mut self, word: Word<'_>) -> bool {
        let node = self.open(Rule::short);
        self.leaf_to(Rule::name, word.end);
        self.rest();
        self.close(node)
    }

    /// A member, where entries may stand, that begins with no word.
    pub(super) fn wordless_entry(&mut self) -> bool {
        let node = self.open(Rule::entry);
        if !self.text() {
            self.undo(node);
            return self.wordless();
        }
        if matches!(self.byte_at(self.after_blanks(self.at)), b'=' | b':') {
            self.assigned();
        } else {
            self.nodes[node.0].rule = Rule::short;
            self.rest();
        }
        self.close(node)
    }

    /// A member that begins with no word.
    pub(super) fn wordless(&mut self) -> bool {
        self.comment() || self.bad()
    }

    /// A member that begins with a word that nothing begins with here.
    pub(super) fn odd(&mut self) -> bool {
        self.misplaced() || self.bad()
    }

    /// `=`, or what is written for it.
    pub(super) fn assign(&mut self) -> bool {
        let length = match (self.byte(), self.byte_at(self.at + 1)) {
            (b'=' | b':', b'=') => 2,
            (b'=', _) => {
                self.at += 1;
                return true;
            }
            (b':', _) => 1,
            _ => return false,
        };
        self.leaf_to(Rule::wrong_assign, self.at + length);
        true
    }

    /// What is assigned; it may stand on the next line.
    pub(super) fn value(&mut self) {
        let here = |matcher: &mut Self| {
            matcher.blanks();
            matcher.expr()
        };
        let below = |matcher: &mut Self| {
            matcher.blanks();
            if !matcher.at_line_end() {
                return false;
            }
            matcher.space();
            matcher.unless_member(Self::expr)
        };
        if !self.attempt(here) && !self.attempt(below) {
            self.leaf_to(Rule::no_value, self.at);
        }
    }

    /// Whether `=` or `:` stands at an offset, after blanks: what stands before it is a key.
    pub(super) fn assigns(&self, at: usize) -> bool {
        let at = self.after_blanks(at);
        match self.byte_at(at) {
            b'=' => self.byte_at(at + 1) != b'=',
            byte => byte == b':',
        }
    }

    /// Whether a member begins here with a name and `=`.
    pub(super) fn at_named_member(&self) -> bool {
        self.name_end(self.at).is_some_and(|end| self.assigns(end))
    }

    /// Reads an operand or an expression, unless the next member begins here.
    pub(super) fn unless_member(&mut self, read: impl FnOnce(&mut Self) -> bool) -> bool {
        if self.byte() != b'"' {
            return !self.at_named_member() && !self.at_construct() && read(self);
        }
        // Whether a text is a key shows behind it, and it is not to be read twice: texts nest.
        let mark = self.mark();
        if !read(self) {
            return false;
        }
        let text = self.nodes[mark.nodes..].iter().find(|node| node.rule != Rule::expr);
        let alone = text.is_some_and(|node| node.rule == Rule::text && node.end as usize == self.at);
        if alone && self.assigns(self.at) { self.back(mark) } else { true }
    }

    /// `= PATH`, and what stands before the brace.
    pub(super) fn construct(&mut self) {
        let usual = |matcher: &mut Self| {
            if !matcher.starts(b" = ") {
                return false;
            }
            matcher.at += 3;
            matcher.path() && matcher.starts(b" {")
        };
        if self.attempt(usual) {
            return;
        }
        self.attempt(|matcher| {
            matcher.blanks();
            let assigned = matcher.assign();
            if assigned {
                matcher.construct_path();
            }
            assigned
        });
        self.head_rest();
    }

    fn construct_path(&mut self) {
        let here = |matcher: &mut Self| {
            matcher.blanks();
            matcher.path()
        };
        let below = |matcher: &mut Self| {
            matcher.blanks();
            if !matcher.at_line_end() {
                return false;
            }
            matcher.space();
            !matcher.at_two_words() && matcher.path()
        };
        if !self.attempt(here) && !self.attempt(below) {
            self.leaf_to(Rule::no_value, self.at);
        }
    }

    /// Whether a name and another word stand here, as at the beginning of a construct.
    fn at_two_words(&mut self) -> bool {
        let mark = self.mark();
        let found = self.name() && self.some_blanks() && self.at_letter();
        self.back(mark);
        found
    }

    /// The body of a construct, if there is one.
    pub(super) fn body(&mut self, read: impl Fn(&mut Self) -> bool) {
        let start = self.mark();
        self.blanks();
        if self.byte() == b'{' {
            if !read(self) {
                self.back(start);
            }
            return;
        }
        self.back(start);
        self.attempt(|matcher| {
            matcher.space();
            if matcher.byte() != b'{' {
                return false;
            }
            matcher.leaf_to(Rule::late, matcher.at);
            read(matcher)
        });
    }

    /// A construct of the shape `KEYWORD NAME { … }`.
    pub(super) fn headed(&mut self, rule: Rule, word: Word<'_>, body: impl Fn(&mut Self) -> bool) -> bool {
        self.keyword(rule, word, |matcher| {
            matcher.label();
            matcher.head_rest();
            matcher.body(body);
        })
    }

    /// A construct of the shape `KEYWORD { … }`.
    pub(super) fn headless(&mut self, rule: Rule, word: Word<'_>, body: impl Fn(&mut Self) -> bool) -> bool {
        self.nameless(rule, word, |matcher| {
            matcher.head_rest();
            matcher.body(body);
        })
    }

    /// A construct of the shape `KEYWORD NAME = PATH { … }`.
    pub(super) fn constructed(
        &mut self,
        rule: Rule,
        word: Word<'_>,
        body: impl Fn(&mut Self) -> bool,
    ) -> bool {
        self.keyword(rule, word, |matcher| {
            matcher.label();
            matcher.construct();
            matcher.body(body);
        })
    }
}

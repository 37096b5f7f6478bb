//! Expressions. Their precedence is the tree builder's matter.

use super::Matcher;
use super::class::{self, BLANK, SPACE};
use crate::syntax::Rule;

impl Matcher<'_> {
    pub(super) fn expr(&mut self) -> bool {
        self.deeper(|matcher| {
            let node = matcher.open(Rule::expr);
            if !matcher.operand() {
                return matcher.undo(node);
            }
            if !matcher.at_end_of_value() {
                matcher.operators();
            }
            matcher.close(node)
        })
    }

    /// Whether the usual end of a value stands here: nothing more has to be tried then.
    fn at_end_of_value(&self) -> bool {
        match self.byte() {
            b',' | b')' | b']' | b'}' => true,
            b' ' => self.byte_at(self.at + 1) == b'}',
            _ => false,
        }
    }

    /// `(space* operator (space* operand)?)*`
    fn operators(&mut self) {
        let operator = |matcher: &mut Self| {
            while class::is(matcher.byte(), SPACE) {
                matcher.at += 1;
            }
            if !matches!(matcher.byte(), b'!' | b'<'..=b'>' | b'&' | b'|' | b'i' | b'/') {
                return false;
            }
            matcher.space();
            matcher.operator()
        };
        while self.attempt(operator) {
            self.attempt(|matcher| {
                matcher.space();
                matcher.unless_member(Self::operand)
            });
        }
    }

    fn operator(&mut self) -> bool {
        let length = match (self.byte(), self.byte_at(self.at + 1)) {
            (b'=' | b'!' | b'<' | b'>', b'=') | (b'&', b'&') | (b'|', b'|') => 2,
            (b'<' | b'>', _) => 1,
            (b'i', b'n') if self.ends_word(self.at + 2) => 2,
            _ => return false,
        };
        self.leaf_to(Rule::operator, self.at + length);
        true
    }

    fn operand(&mut self) -> bool {
        if self.byte() != b'!' {
            return self.primary();
        }
        self.attempt(|matcher| {
            let mut any = false;
            while matcher.byte() == b'!' && matcher.byte_at(matcher.at + 1) != b'=' {
                matcher.leaf_to(Rule::not, matcher.at + 1);
                matcher.space();
                any = true;
            }
            any && matcher.unless_member(Self::primary)
        })
    }

    fn primary(&mut self) -> bool {
        match self.byte() {
            b'"' => self.text() || self.long_text(),
            b'i' if self.at_word(b"if") => self.conditional(),
            b'0'..=b'9' | b'-' => self.measure(),
            b'[' => self.list(),
            b'{' => self.record(),
            b'(' => self.paren(),
            _ => self.named(),
        }
    }

    /// A path and what belongs to it.
    fn named(&mut self) -> bool {
        if !self.path() {
            return false;
        }
        match self.byte() {
            b'\n' | b',' | b')' | b']' | b'}' => {}
            b'.' => {
                self.sign(Rule::star, b".*");
            }
            byte if class::is(byte, BLANK) || byte == b'(' || byte == b'{' => {
                self.attempt(|matcher| {
                    matcher.blanks();
                    match matcher.byte() {
                        b'(' => matcher.arguments(),
                        b'{' => matcher.record(),
                        _ => false,
                    }
                });
            }
            _ => {}
        }
        true
    }

    /// A number, and a unit that was written apart from it.
    fn measure(&mut self) -> bool {
        let matched = self.number();
        if matched && class::is(self.byte(), BLANK) {
            self.attempt(|matcher| matcher.some_blanks() && matcher.unit());
        }
        matched
    }

    pub(super) fn arguments(&mut self) -> bool {
        self.byte() == b'(' && self.members(Rule::arguments, b')', Self::element)
    }

    pub(super) fn list(&mut self) -> bool {
        self.byte() == b'[' && self.members(Rule::list, b']', Self::element)
    }

    fn element(&mut self) -> bool {
        self.expr() || self.comment() || self.bad()
    }

    fn paren(&mut self) -> bool {
        self.closed(Rule::paren, |matcher| {
            matcher.node(Rule::paren, |matcher| {
                matcher.at += 1;
                matcher.enclosed(b')')
            })
        })
    }

    /// `if c then a else b`, from which anything may be missing.
    fn conditional(&mut self) -> bool {
        let node = self.open(Rule::conditional);
        self.at += b"if".len();
        self.attempt(|matcher| {
            matcher.blanks();
            !matcher.at_word(b"then") && matcher.expr()
        });
        self.branch(Rule::then_word, b"then");
        self.branch(Rule::else_word, b"else");
        self.close(node)
    }

    fn branch(&mut self, rule: Rule, word: &[u8]) {
        self.attempt(|matcher| {
            matcher.space();
            if !matcher.word(rule, word) {
                return false;
            }
            matcher.attempt(|matcher| {
                matcher.space();
                let ends = rule == Rule::then_word && matcher.at_word(b"else");
                !ends && matcher.unless_member(Self::expr)
            });
            true
        });
    }
}

//! Parameters, fields and types.

use super::Matcher;
use crate::syntax::Rule;

impl Matcher<'_> {
    /// `(blank* params)?`
    pub(super) fn params(&mut self) {
        self.attempt(|matcher| {
            matcher.blanks();
            let member = |matcher: &mut Self| matcher.param() || matcher.wordless();
            matcher.byte() == b'(' && matcher.members(Rule::params, b')', member)
        });
    }

    pub(super) fn fields(&mut self) -> bool {
        self.block(Rule::fields, |matcher| {
            matcher.param() || matcher.comment() || matcher.misplaced() || matcher.bad()
        })
    }

    fn param(&mut self) -> bool {
        let node = self.open(Rule::param);
        if !self.name() {
            return self.undo(node);
        }
        self.attempt(|matcher| {
            matcher.blanks();
            let found = matcher.sign(Rule::colon, b":");
            if found {
                matcher.attempt(|matcher| {
                    matcher.blanks();
                    matcher.ty()
                });
            }
            found
        });
        if !matches!(self.byte(), b'\n' | b',' | b')') {
            self.attempt(|matcher| {
                matcher.blanks();
                let assigned = matcher.byte() != b':' && matcher.assign();
                if assigned {
                    matcher.value();
                }
                assigned
            });
            self.rest();
        }
        self.close(node)
    }

    /// Whether what usually follows a type stands here.
    fn at_end_of_type(&self) -> bool {
        matches!(self.byte(), b',' | b')' | b'>') || self.starts(b" = ")
    }

    fn ty(&mut self) -> bool {
        self.deeper(|matcher| {
            let node = matcher.open(Rule::ty);
            if !matcher.path() {
                return matcher.undo(node);
            }
            if matcher.at_end_of_type() {
                return matcher.close(node);
            }
            matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.type_arguments()
            });
            if !matcher.at_end_of_type() {
                matcher.attempt(|matcher| {
                    matcher.blanks();
                    matcher.sign(Rule::optional, b"?")
                });
                matcher.attempt(|matcher| {
                    matcher.space();
                    matcher.within()
                });
            }
            matcher.close(node)
        })
    }

    fn type_arguments(&mut self) -> bool {
        if self.byte() != b'<' {
            return false;
        }
        let node = self.open(Rule::type_arguments);
        self.at += 1;
        if !self.byte().is_ascii_lowercase() {
            self.space();
        }
        if self.alternatives() && self.byte() != b'>' {
            while self.attempt(|matcher| {
                matcher.space();
                let comma = matcher.byte() == b',';
                matcher.at += usize::from(comma);
                matcher.space();
                comma && matcher.alternatives()
            }) {}
        }
        self.attempt(|matcher| {
            matcher.space();
            matcher.sign(Rule::angle, b">")
        });
        self.close(node)
    }

    /// `ty (space* "|" space* ty)*`
    fn alternatives(&mut self) -> bool {
        let node = self.open(Rule::alternatives);
        if !self.ty() {
            return self.undo(node);
        }
        if !matches!(self.byte(), b'>' | b',') {
            while self.attempt(|matcher| {
                matcher.space();
                let bar = matcher.byte() == b'|';
                matcher.at += usize::from(bar);
                matcher.space();
                bar && matcher.ty()
            }) {}
        }
        self.close(node)
    }

    fn within(&mut self) -> bool {
        self.node(Rule::within, |matcher| {
            if !matcher.silent_word(b"in") {
                return false;
            }
            matcher.space();
            let _ = matcher.list() || matcher.range() || matcher.name();
            true
        })
    }

    fn range(&mut self) -> bool {
        self.node(Rule::range, |matcher| {
            if !matcher.number() {
                return false;
            }
            matcher.blanks();
            if !matcher.starts(b"..") {
                return false;
            }
            matcher.at += 2;
            matcher.blanks();
            matcher.number();
            true
        })
    }
}

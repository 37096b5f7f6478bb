//! What to do when something fails.

use super::Matcher;
use crate::syntax::Rule;

impl Matcher<'_> {
    /// `on failure of KIND under N% of hosts { ACTION }`
    pub(super) fn failure(&mut self) -> bool {
        self.node(Rule::failure, |matcher| {
            matcher.at += b"on".len();
            if !matcher.some_blanks() || !matcher.silent_word(b"failure") {
                return false;
            }
            matcher.part(Self::kinds);
            matcher.part(Self::under);
            matcher.head_rest();
            matcher.body(Self::action_body);
            true
        })
    }

    /// `(blank* …)?`
    fn part(&mut self, read: impl FnOnce(&mut Self) -> bool) {
        self.attempt(|matcher| {
            matcher.blanks();
            read(matcher)
        });
    }

    fn kinds(&mut self) -> bool {
        self.node(Rule::kinds, |matcher| {
            let found = matcher.silent_word(b"of");
            if found {
                matcher.part(Self::names);
            }
            found
        })
    }

    fn under(&mut self) -> bool {
        self.node(Rule::under, |matcher| {
            let found = matcher.silent_word(b"under");
            if found {
                matcher.part(Self::number);
                matcher.part(Self::of_hosts);
            }
            found
        })
    }

    fn of_hosts(&mut self) -> bool {
        self.leaf(Rule::of_hosts, |matcher| {
            if !matcher.starts(b"of") {
                return false;
            }
            matcher.at += 2;
            matcher.some_blanks() && matcher.silent_word(b"hosts")
        })
    }

    fn action_body(&mut self) -> bool {
        self.closed(Rule::action_body, |matcher| {
            matcher.node(Rule::action_body, |matcher| {
                matcher.at += 1;
                matcher.space();
                matcher.action();
                matcher.up_to(b'}')
            })
        })
    }

    /// `DEED then DEED …`
    fn action(&mut self) -> bool {
        let node = self.open(Rule::action);
        if !self.deed() {
            return self.undo(node);
        }
        while self.attempt(|matcher| {
            matcher.space();
            matcher.word(Rule::then_word, b"then")
        }) {
            self.attempt(|matcher| {
                matcher.space();
                matcher.deed()
            });
        }
        self.close(node)
    }

    fn deed(&mut self) -> bool {
        let Some(word) = self.first_word() else { return false };
        match word.text {
            b"retry" => self.node(Rule::retry, |matcher| {
                matcher.at = word.end;
                matcher.part(Self::number);
                matcher.part(Self::every);
                true
            }),
            b"ask" => self.node(Rule::ask, |matcher| {
                matcher.at = word.end;
                matcher.part(|matcher| !matcher.at_word(b"within") && matcher.path());
                matcher.part(Self::answer_within);
                true
            }),
            _ => self.node(Rule::verb, |matcher| {
                matcher.name();
                matcher
                    .attempt(|matcher| matcher.some_blanks() && !matcher.at_word(b"then") && matcher.name());
                true
            }),
        }
    }

    /// `every 1s, 10s`
    fn every(&mut self) -> bool {
        self.node(Rule::every, |matcher| {
            if !matcher.silent_word(b"every") {
                return false;
            }
            let any = matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.duration()
            });
            while any
                && matcher.attempt(|matcher| {
                    matcher.blanks();
                    if matcher.byte() != b',' {
                        return false;
                    }
                    matcher.at += 1;
                    matcher.space();
                    matcher.duration()
                })
            {}
            true
        })
    }

    fn answer_within(&mut self) -> bool {
        self.node(Rule::answer_within, |matcher| {
            let found = matcher.silent_word(b"within");
            if found {
                matcher.part(Self::duration);
            }
            found
        })
    }

    fn duration(&mut self) -> bool {
        let found = self.number();
        if found {
            self.attempt(|matcher| matcher.some_blanks() && matcher.unit());
        }
        found
    }
}

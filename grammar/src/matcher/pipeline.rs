//! Pipelines: stages, lanes, loops and approvals.

use super::Matcher;
use super::words::Word;
use crate::syntax::Rule;

impl Matcher<'_> {
    pub(super) fn pipeline_body(&mut self) -> bool {
        self.block(Rule::pipeline_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                b"stage" => matcher.stage(word),
                b"parallel" => matcher.parallel(word),
                b"approval" => matcher.approval(word),
                b"for" => matcher.for_each(word),
                b"on" => matcher.failure(),
                b"notify" => matcher.notify(word),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    fn stage(&mut self, word: Word<'_>) -> bool {
        self.keyword(Rule::stage, word, |matcher| {
            matcher.label();
            matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.index()
            });
            matcher.construct();
            matcher.body(Self::stage_body);
        })
    }

    fn stage_body(&mut self) -> bool {
        self.block(Rule::stage_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless_entry() };
            let known = match word.text {
                _ if word.assigned => matcher.assignment(Rule::entry, word),
                b"skip" | b"only" => matcher.condition(word),
                _ => false,
            };
            known || matcher.misplaced() || matcher.short(word)
        })
    }

    /// `[EXPR]`, behind the name of what a loop makes several of.
    fn index(&mut self) -> bool {
        self.byte() == b'['
            && self.closed(Rule::index, |matcher| {
                matcher.node(Rule::index, |matcher| {
                    matcher.at += 1;
                    matcher.space();
                    matcher.expr();
                    matcher.up_to(b']')
                })
            })
    }

    fn approval(&mut self, word: Word<'_>) -> bool {
        self.headed(Rule::approval, word, Self::record)
    }

    fn parallel(&mut self, word: Word<'_>) -> bool {
        self.nameless(Rule::parallel, word, |matcher| {
            while matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.max() || matcher.word(Rule::all_or_nothing, b"all_or_nothing")
            }) {}
            matcher.head_rest();
            matcher.body(Self::parallel_body);
        })
    }

    fn max(&mut self) -> bool {
        self.node(Rule::max, |matcher| {
            let found = matcher.silent_word(b"max");
            if found {
                matcher.attempt(|matcher| {
                    matcher.blanks();
                    matcher.number()
                });
            }
            found
        })
    }

    fn parallel_body(&mut self) -> bool {
        self.block(Rule::parallel_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                b"stage" => matcher.stage(word),
                b"lane" => matcher.lane(word),
                b"for" => matcher.for_each(word),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    fn lane(&mut self, word: Word<'_>) -> bool {
        self.keyword(Rule::lane, word, |matcher| {
            matcher.label();
            matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.index()
            });
            matcher.head_rest();
            matcher.body(|matcher| {
                matcher.block(Rule::lane_body, |matcher| {
                    let Some(word) = matcher.first_word() else { return matcher.wordless() };
                    let known = match word.text {
                        b"stage" => matcher.stage(word),
                        b"approval" => matcher.approval(word),
                        _ => false,
                    };
                    known || matcher.odd()
                })
            });
        })
    }

    /// `for x in LIST { … }`
    fn for_each(&mut self, word: Word<'_>) -> bool {
        self.keyword(Rule::for_each, word, |matcher| {
            matcher.name();
            matcher.attempt(|matcher| {
                matcher.blanks();
                let found = matcher.word(Rule::in_word, b"in");
                if found {
                    matcher.attempt(|matcher| {
                        matcher.space();
                        matcher.list() || matcher.loop_named()
                    });
                }
                found
            });
            matcher.head_rest();
            matcher.body(|matcher| {
                matcher.block(Rule::for_body, |matcher| {
                    let Some(word) = matcher.first_word() else { return matcher.wordless() };
                    let known = match word.text {
                        b"stage" => matcher.stage(word),
                        b"lane" => matcher.lane(word),
                        b"approval" => matcher.approval(word),
                        _ => false,
                    };
                    known || matcher.odd()
                })
            });
        })
    }

    fn loop_named(&mut self) -> bool {
        let found = self.path();
        if found && !self.sign(Rule::star, b".*") {
            self.attempt(|matcher| {
                matcher.blanks();
                matcher.arguments()
            });
        }
        found
    }
}

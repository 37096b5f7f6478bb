//! Workflows, phases, sections, steps and barriers.

use super::Matcher;
use super::words::Word;
use crate::syntax::Rule;

impl Matcher<'_> {
    pub(super) fn workflow_body(&mut self) -> bool {
        self.block(Rule::workflow_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                _ if word.assigned => matcher.assignment(Rule::setting, word),
                b"phase" => matcher.phase(word),
                b"on" => matcher.failure(),
                b"rollback" => matcher.rollback(word),
                b"notify" => matcher.notify(word),
                b"use" => matcher.use_resource(word),
                b"parallel" => matcher.headless(Rule::phases, word, Self::phases_body),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    fn phases_body(&mut self) -> bool {
        self.block(Rule::phases_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            word.text == b"phase" && matcher.phase(word) || matcher.odd()
        })
    }

    fn phase(&mut self, word: Word<'_>) -> bool {
        self.headed(Rule::phase, word, Self::phase_body)
    }

    fn phase_body(&mut self) -> bool {
        self.block(Rule::phase_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                _ if word.assigned => matcher.assignment(Rule::setting, word),
                b"step" => matcher.step(word),
                b"barrier" => matcher.barrier(word),
                b"skip" | b"only" => matcher.condition(word),
                b"parallel" => matcher.steps(word),
                b"section" => matcher.headed(Rule::section, word, Self::section_body),
                b"on" => matcher.failure(),
                b"rollback" => matcher.rollback(word),
                b"use" => matcher.use_resource(word),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    fn section_body(&mut self) -> bool {
        self.block(Rule::section_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                b"step" => matcher.step(word),
                b"barrier" => matcher.barrier(word),
                b"skip" | b"only" => matcher.condition(word),
                b"parallel" => matcher.steps(word),
                b"on" => matcher.failure(),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    fn steps(&mut self, word: Word<'_>) -> bool {
        self.headless(Rule::steps, word, |matcher| {
            matcher.block(Rule::steps_body, |matcher| {
                let Some(word) = matcher.first_word() else { return matcher.wordless() };
                word.text == b"step" && matcher.step(word) || matcher.odd()
            })
        })
    }

    fn step(&mut self, word: Word<'_>) -> bool {
        self.constructed(Rule::step, word, |matcher| {
            matcher.block(Rule::step_body, |matcher| {
                let Some(word) = matcher.first_word() else { return matcher.wordless_entry() };
                let known = match word.text {
                    _ if word.assigned => matcher.assignment(Rule::entry, word),
                    b"skip" | b"only" => matcher.condition(word),
                    b"on" => matcher.failure(),
                    _ => false,
                };
                known || matcher.misplaced() || matcher.short(word)
            })
        })
    }

    fn barrier(&mut self, word: Word<'_>) -> bool {
        self.headed(Rule::barrier, word, |matcher| {
            matcher.block(Rule::barrier_body, |matcher| {
                let Some(word) = matcher.first_word() else { return matcher.wordless() };
                let known = match word.text {
                    _ if word.assigned => matcher.assignment(Rule::setting, word),
                    b"skip" | b"only" => matcher.condition(word),
                    _ => false,
                };
                known || matcher.odd()
            })
        })
    }

    /// `skip if …`, `only if …`
    pub(super) fn condition(&mut self, word: Word<'_>) -> bool {
        self.node(Rule::condition, |matcher| {
            matcher.at = word.end;
            if !matcher.some_blanks() || !matcher.silent_word(b"if") {
                return false;
            }
            matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.expr()
            });
            matcher.rest();
            true
        })
    }

    fn rollback(&mut self, word: Word<'_>) -> bool {
        self.headless(Rule::rollback, word, |matcher| {
            matcher.block(Rule::rollback_body, |matcher| {
                let Some(word) = matcher.first_word() else { return matcher.wordless() };
                let known = match word.text {
                    b"step" => matcher.step(word),
                    b"parallel" => matcher.steps(word),
                    b"barrier" => matcher.barrier(word),
                    _ => false,
                };
                known || matcher.odd()
            })
        })
    }

    fn use_resource(&mut self, word: Word<'_>) -> bool {
        self.keyword(Rule::use_resource, word, |matcher| {
            matcher.path();
            matcher.attempt(|matcher| {
                matcher.blanks();
                matcher.record()
            });
            matcher.rest();
        })
    }

    /// `notify WHOM on WHAT`
    pub(super) fn notify(&mut self, word: Word<'_>) -> bool {
        self.keyword(Rule::notify, word, |matcher| {
            if !matcher.at_event() {
                matcher.names();
            }
            matcher.attempt(|matcher| {
                matcher.blanks();
                let found = matcher.word(Rule::on_word, b"on");
                if found {
                    matcher.attempt(|matcher| {
                        matcher.blanks();
                        matcher.names()
                    });
                }
                found
            });
            matcher.rest();
        })
    }

    /// Whether `on EVENT` stands here: `on` is no name then.
    fn at_event(&mut self) -> bool {
        let mark = self.mark();
        let found = self.silent_word(b"on") && self.some_blanks() && !self.at_word(b"on") && self.at_letter();
        self.back(mark);
        found
    }

    /// `a, b.c`
    pub(super) fn names(&mut self) -> bool {
        let node = self.open(Rule::names);
        if !self.path() {
            return self.undo(node);
        }
        while self.attempt(|matcher| {
            matcher.blanks();
            if matcher.byte() != b',' {
                return false;
            }
            matcher.at += 1;
            matcher.space();
            matcher.path()
        }) {}
        self.close(node)
    }
}

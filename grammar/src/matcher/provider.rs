//! Providers.

use super::Matcher;
use super::words::Word;
use crate::syntax::Rule;

impl Matcher<'_> {
    pub(super) fn provider_body(&mut self) -> bool {
        self.block(Rule::provider_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                _ if word.assigned => matcher.assignment(Rule::setting, word),
                b"step" => matcher.signature(word),
                b"service" => matcher.fields_of(Rule::service_fields, word),
                b"infrastructure" => matcher.fields_of(Rule::infrastructure_fields, word),
                b"artifact" => matcher.headed(Rule::artifact, word, Self::fields),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    /// `service { … }`, `infrastructure { … }`
    fn fields_of(&mut self, rule: Rule, word: Word<'_>) -> bool {
        self.node(rule, |matcher| {
            matcher.at = word.end;
            matcher.blanks();
            matcher.fields()
        })
    }

    /// `step NAME(params) -> { outputs } { … }`
    fn signature(&mut self, word: Word<'_>) -> bool {
        self.keyword(Rule::signature, word, |matcher| {
            matcher.label();
            matcher.params();
            matcher.attempt(|matcher| {
                matcher.space();
                let found = matcher.sign(Rule::arrow, b"->");
                if found {
                    matcher.attempt(|matcher| {
                        matcher.space();
                        matcher.fields()
                    });
                }
                found
            });
            matcher.head_rest();
            matcher.body(Self::signature_body);
        })
    }

    fn signature_body(&mut self) -> bool {
        self.block(Rule::signature_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                _ if word.assigned => matcher.assignment(Rule::setting, word),
                b"changes" => matcher.phrase(Rule::changes, word, b"target", |_| {}),
                b"undone" => matcher.phrase(Rule::undone, word, b"by", |matcher| {
                    matcher.attempt(|matcher| {
                        matcher.blanks();
                        matcher.name()
                    });
                }),
                b"irreversible" => matcher.node(Rule::irreversible, |matcher| {
                    matcher.at = word.end;
                    matcher.rest();
                    true
                }),
                _ => false,
            };
            known || matcher.odd()
        })
    }

    /// Two words, and what `more` reads behind them.
    fn phrase(&mut self, rule: Rule, word: Word<'_>, second: &[u8], more: impl FnOnce(&mut Self)) -> bool {
        self.node(rule, |matcher| {
            matcher.at = word.end;
            if !matcher.some_blanks() || !matcher.silent_word(second) {
                return false;
            }
            more(matcher);
            matcher.rest();
            true
        })
    }
}

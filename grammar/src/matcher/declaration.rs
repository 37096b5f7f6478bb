//! Files and declarations.

use super::Matcher;
use super::words::Word;
use crate::syntax::Rule;

impl Matcher<'_> {
    pub(super) fn file(&mut self) -> bool {
        self.node(Rule::file, |matcher| {
            if matcher.starts("\u{FEFF}".as_bytes()) {
                matcher.at += '\u{FEFF}'.len_utf8();
            }
            matcher.space();
            while matcher.declaration() {
                matcher.space();
            }
            let ends = matcher.at == matcher.bytes.len();
            matcher.leaf_to(Rule::EOI, matcher.at);
            ends
        })
    }

    fn declaration(&mut self) -> bool {
        let Some(word) = self.first_word() else { return self.bad_line() };
        match word.text {
            b"import" => self.import(word),
            b"service" => self.declared(Rule::service, word, |matcher| {
                matcher.params();
                matcher.construct();
                matcher.body(Self::record);
            }),
            b"environment" => self.declared(Rule::environment, word, |matcher| {
                matcher.head_rest();
                matcher.body(Self::environment_body);
            }),
            b"secret" => self.declared(Rule::secret, word, Self::instance),
            b"channel" => self.declared(Rule::channel, word, Self::instance),
            b"group" => self.declared(Rule::group, word, Self::own_record),
            b"resource" => self.declared(Rule::resource, word, Self::own_record),
            b"workflow" => self.declared(Rule::workflow, word, |matcher| {
                matcher.params();
                matcher.head_rest();
                matcher.body(Self::workflow_body);
            }),
            b"pipeline" => self.declared(Rule::pipeline, word, |matcher| {
                matcher.params();
                matcher.head_rest();
                matcher.body(Self::pipeline_body);
            }),
            b"provider" => self.declared(Rule::provider, word, |matcher| {
                matcher.head_rest();
                matcher.body(Self::provider_body);
            }),
            _ => self.misplaced() || self.bad_line(),
        }
    }

    /// The keyword, the name, and what `rest` reads behind them.
    fn declared(&mut self, rule: Rule, word: Word<'_>, rest: impl FnOnce(&mut Self)) -> bool {
        let node = self.open(rule);
        self.at = word.end;
        self.attempt(|matcher| {
            matcher.blanks();
            matcher.label()
        });
        rest(self);
        self.close(node)
    }

    fn instance(&mut self) {
        self.construct();
        self.body(Self::record);
    }

    fn own_record(&mut self) {
        self.head_rest();
        self.body(Self::record);
    }

    /// `import "../common" as shared`
    fn import(&mut self, word: Word<'_>) -> bool {
        let node = self.open(Rule::import);
        self.at = word.end;
        self.attempt(|matcher| {
            matcher.blanks();
            matcher.text()
        });
        self.attempt(|matcher| {
            matcher.blanks();
            let renamed = matcher.word(Rule::as_word, b"as");
            if renamed {
                matcher.attempt(|matcher| {
                    matcher.blanks();
                    matcher.name()
                });
            }
            renamed
        });
        self.rest();
        self.close(node)
    }

    fn environment_body(&mut self) -> bool {
        self.block(Rule::environment_body, |matcher| {
            let Some(word) = matcher.first_word() else { return matcher.wordless() };
            let known = match word.text {
                _ if word.assigned => matcher.assignment(Rule::setting, word),
                b"infrastructure" => matcher.constructed(Rule::infrastructure, word, Self::record),
                _ => false,
            };
            known || matcher.odd()
        })
    }
}

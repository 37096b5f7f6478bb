//! What to say about text that fits nowhere.

use crate::SyntaxError;
use crate::ast::Span;
use crate::build::Build;
use crate::foreign;
use crate::message::{self, Token, human};
use crate::place::{self, Place};
use crate::syntax::{Pair, Rule};

impl<'s> Build<'s> {
    /// One of these should stand at or after an offset of the repaired text.
    pub(crate) fn expected(&mut self, at: usize, rules: &[Rule]) {
        self.expected_words(at, &message::alternatives(rules.iter().map(|rule| human(*rule))));
    }

    pub(crate) fn expected_words(&mut self, at: usize, what: &str) {
        let found = message::token(self.text, at);
        let span = self.place(found.start, found.end());
        let no_value = what == "`:`" || found.text == "|" && foreign::in_type(self.text, found);
        let operator = if no_value { None } else { foreign_operator(found, span) };
        let operator = operator.map(|mut error| {
            // What follows would be found one by one, each once the one before it is mended.
            if let Some((_, edits)) = &mut error.fix {
                edits.extend(
                    operators_behind(self.text, found.end())
                        .map(|(at, meant)| (self.place(at.start, at.end), meant.to_string())),
                );
            }
            error
        });
        let error = operator.unwrap_or_else(|| not_found(self.text, found, span, what));
        self.report(error);
    }

    /// Something is left over where only one of these could stand.
    pub(crate) fn junk(&mut self, pair: &Pair<'_>, rules: &[Rule]) {
        let start = pair.start();
        let before = self.text[..start].trim_end_matches([' ', '\t']);
        if let Some(rest) =
            before.strip_suffix("not").filter(|rest| !rest.ends_with(|c: char| c.is_alphanumeric()))
        {
            let span = self.place(rest.len(), start);
            let error = message::spelling(span, "`not` is written `!`", "write `!`");
            return self.report(error.replace("write `!`", span, "!"));
        }
        let (word, next) = self.two_words(start);
        if matches!(word.text, "not" | "NOT") && matches!(next.text, "in" | "IN") {
            let span = self.place(word.start, next.end());
            let error = message::spelling(span, "there is no `not in`", "write `!(… in …)`");
            return self.report(error.help("write `!(VALUE in LIST)`"));
        }
        if self.indexing(start) {
            return;
        }
        if self.text[start..].starts_with("://") {
            let found = message::token(self.text, start);
            let span = self.place(found.start, found.end());
            let error = message::unexpected(span, "expected a comma or a new line, found `:`", "no text");
            return self.report(error.help("text stands in quotes: `\"https://…\"`"));
        }
        self.expected(start, rules);
        let word = message::token(self.text, start).text;
        if rules.contains(&Rule::separator)
            && is_name(word)
            && let Some(error) = self.errors.last_mut()
            && error.help.is_none()
            && error.fix.is_none()
        {
            error.help = Some("members are separated by commas or new lines; text stands in quotes".into());
        }
    }

    /// Reports `labels["a"]`.
    pub(crate) fn indexing(&mut self, at: usize) -> bool {
        let behind_name = self.text[..at].ends_with(|c: char| is_word(c) || c == ')' || c == ']');
        let name = self.text[..at].trim_end_matches(is_word);
        let in_type = name.trim_end().ends_with([':', '<']);
        if !behind_name || in_type || !self.text[at..].starts_with('[') {
            return false;
        }
        let span = self.place(at, at + 1);
        let error = message::spelling(span, "nothing is looked up with `[…]`", "not Lockstep");
        self.report(error.help("an entry of a map is read by its name: `labels.tier`; of a list there are no single elements, write `for x in LIST { … }`"));
        true
    }

    /// Reports what is left over before a closing bracket.
    pub(crate) fn leftover(&mut self, nodes: &mut super::build::Nodes<'_>, rules: &[Rule]) {
        let mut first = true;
        while let Some(pair) = self.take(nodes, Rule::bad) {
            if first {
                self.junk(&pair, rules);
                self.damage();
            }
            first = false;
        }
    }

    /// The first two words at an offset.
    fn two_words(&self, start: usize) -> (Token<'s>, Token<'s>) {
        let word = message::token(self.text, start);
        (word, message::token(self.text, word.end()))
    }

    /// A member that is none, or not here.
    pub(crate) fn stray(&mut self, pair: &Pair<'_>, place: Place) {
        let misplaced = !matches!(pair.as_rule(), Rule::bad | Rule::bad_line);
        // What can stand in another block was perhaps meant to: this one may have been closed too late.
        let detail = self.detail;
        self.detail &= !misplaced;
        self.damage();
        self.detail = detail;
        if misplaced {
            self.misplaced(pair, place);
        } else {
            self.unknown_member(pair.start(), place);
        }
    }

    fn misplaced(&mut self, pair: &Pair<'_>, place: Place) {
        let start = pair.start();
        let word = message::token(self.text, start);
        let span = self.place(start, word.end());
        let name = match word.text {
            "skip" | "only" => "a condition".to_owned(),
            "on" => "a failure rule".to_owned(),
            word => format!("`{word}`"),
        };
        self.report(
            message::place(span, format!("{name} cannot stand in {}", place.describe()), "not here")
                .help(place::home(word.text)),
        );
    }

    /// Something that starts like no member of its place.
    pub(crate) fn unknown_member(&mut self, start: usize, place: Place) {
        let (word, next) = self.two_words(start);
        let span = self.place(word.start, word.end());
        let line = self.text[start..].lines().next().unwrap_or_default().trim_end();
        if matches!(word.text, "-" | "*") || line.ends_with(':') {
            self.mute(start);
        }
        if let Some(error) = foreign::line(line, span) {
            return self.report(error);
        }
        if place == Place::File && next.text == ":" && std::mem::replace(&mut self.yaml, true) {
            // Said once, of the first such line.
            return;
        }
        if keywords(place).any(|keyword| keyword == word.text) {
            return self.incomplete(word, next);
        }
        let error = foreign(word, next, place, span)
            .or_else(|| foreign_operator(word, span))
            .or_else(|| misspelt(word, next, place, span))
            .or_else(|| self.unassigned_member(word, next, place, span));
        let error = error.unwrap_or_else(|| {
            if place == Place::File
                && let Some(help) = foreign::top_level(word.text, next.text)
            {
                let message = format!("expected a declaration, found {}", word.describe());
                return message::unexpected(span, message, "no declaration").help(help);
            }
            if place == Place::Record && word.text == "{" {
                let message = "expected an entry `name = value`, found `{`";
                return message::unexpected(span, message, "unexpected")
                    .help("a name stands for its value by itself; in text write `${name}`");
            }
            let what = message::alternatives(place.members().iter().map(|rule| human(*rule)));
            let message = format!("expected {what}, found {}", word.describe());
            let label =
                if place.members().len() > 2 { "unexpected".to_owned() } else { format!("expected {what}") };
            reserved_help(message::unexpected(span, message, label), word)
        });
        self.report(error);
    }

    /// A keyword, and not what has to follow it.
    fn incomplete(&mut self, word: Token<'s>, next: Token<'s>) {
        let what = match word.text {
            "on" => "`failure`",
            "skip" | "only" => "`if`",
            "changes" => "`target`",
            "undone" => "`by`",
            "rollback" | "parallel" => "`{`",
            _ => "a name",
        };
        self.expected_words(word.end(), what);
        if what == "`{`" {
            self.missing_body(word.end(), false);
        }
        let help = match (word.text, next.text) {
            ("on", "success") => "people are told with `notify CHANNEL on success`; only failures have rules",
            ("skip" | "only", _) => "write `skip if CONDITION` or `only if CONDITION`",
            _ => return,
        };
        if let Some(error) = self.errors.last_mut() {
            error.help = Some(help.into());
        }
    }

    /// `timeout 10m`, the `=` forgotten.
    fn unassigned_member(
        &self,
        word: Token<'s>,
        next: Token<'s>,
        place: Place,
        span: Span,
    ) -> Option<SyntaxError> {
        let assigns = place.members().iter().any(|rule| matches!(rule, Rule::setting | Rule::entry));
        if !is_name(word.text) {
            return None;
        }
        if !assigns {
            if next.text != "=" {
                return None;
            }
            let message = format!("`{}` cannot be set in {}", word.text, place.describe());
            let what = message::alternatives(place.members().iter().map(|rule| human(*rule)));
            return Some(
                message::unexpected(span, message, "no settings here").help(format!("here may stand {what}")),
            );
        }
        let next_span = self.place(next.start, next.end());
        let error = message::unexpected(
            next_span,
            format!("expected `=` after `{}`, found {}", word.text, next.describe()),
            "expected `=`",
        );
        let value = next.text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '"' | '[' | '_'));
        let at = Span { end: next_span.start, ..next_span };
        let block = matches!(next.text, "{" | "." | "(");
        let error = match place {
            Place::Phase | Place::Section | Place::Steps | Place::Rollback if block => {
                let path = self.text[word.start..].split(|c: char| c != '.' && !is_word(c)).next();
                let path = path.unwrap_or(word.text);
                return Some(error.help(format!("a step has a name: `step NAME = {path} {{ … }}`")));
            }
            Place::Pipeline | Place::Parallel | Place::Lane if block => {
                return Some(error.help(format!("a stage has a name: `stage NAME = {} {{ … }}`", word.text)));
            }
            _ => error,
        };
        let error = match next.text {
            "->" => error.help("a value is given with `=`"),
            "+" => {
                error.help("a value is given with `=`, once; text is joined by interpolation: `\"${a}${b}\"`")
            }
            "." => error.help(format!("write `{} = {{ NAME = VALUE }}`", word.text)),
            "{" if place == Place::Workflow => error.help(format!("write `{} = VALUE`", word.text)),
            _ => error,
        };
        let record = next.text == "{" && matches!(place, Place::Step | Place::Stage | Place::Record);
        // Only what can be set is worth it.
        let known = match place {
            Place::Workflow => matches!(word.text, "strategy" | "concurrency"),
            Place::Phase => matches!(word.text, "service" | "infra"),
            _ => true,
        };
        // `{ version tier }`: of two entries the comma may be missing as well.
        let entries = matches!(place, Place::Step | Place::Stage | Place::Record)
            && is_name(next.text)
            && !matches!(next.text, "true" | "false");
        if entries && error.help.is_none() {
            let (name, value) = (word.text, next.text);
            return Some(
                error.help(format!("write `{name} = {value}`, or `{name}, {value}` for two entries")),
            );
        }
        Some(if (value || record) && known { error.replace("insert `=`", at, "= ") } else { error })
    }
}

fn reserved_help(error: SyntaxError, found: Token<'_>) -> SyntaxError {
    if message::is_reserved(found.text) && error.message.contains("a name") {
        error.help(format!("`{}` is a reserved word and cannot be a name", found.text))
    } else {
        error
    }
}

/// Operators of other languages in the rest of a line, as far as nothing else than a condition can stand there.
fn operators_behind(text: &str, from: usize) -> impl Iterator<Item = (std::ops::Range<usize>, &'static str)> {
    let rest = text[from..].split(['\n', '"', '{', '}', ',']).next().unwrap_or_default();
    let rest = rest.split("//").next().unwrap_or_default();
    rest.split(|c: char| !is_word(c) && c != '.').filter_map(move |word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let meant = match word {
            "and" => "&&",
            "or" => "||",
            "not" => "!",
            _ => return None,
        };
        Some((start..start + word.len(), meant))
    })
}

/// An operator of other languages.
fn foreign_operator(found: Token<'_>, span: Span) -> Option<SyntaxError> {
    let text = found.text;
    let meant = match text {
        "and" | "AND" | "And" | "&" => "&&",
        "or" | "OR" | "Or" => "||",
        "|" => {
            let error = message::unexpected(span, "`|` is not an operator", "no such operator");
            return Some(
                error.help("\"or\" is `||`; a function is called with its value, like `upper(name)`"),
            );
        }
        "not" | "NOT" => "!",
        "+" | "*" | "/" | "-" | "%" => {
            let error = message::unexpected(span, format!("`{text}` is not an operator"), "no such operator");
            return Some(
                error.help("there is no arithmetic; text is joined by interpolation: `\"${a}${b}\"`"),
            );
        }
        "?" => {
            let error = message::unexpected(span, "`?` is not an operator", "no such operator");
            return Some(error.help("write `if CONDITION then A else B`, or `default(VALUE, OTHERWISE)`"));
        }
        _ => return None,
    };
    let help = format!("write `{meant}`");
    let message = format!("`{text}` is written `{meant}`");
    Some(message::spelling(span, message, help.clone()).replace(help, span, meant))
}

/// Advice about a name that other languages use and this one does not, like `depends_on`: for whoever finds it where any
/// name could stand.
pub fn foreign_help(name: &str) -> Option<String> {
    foreign_entry(name, Span::default()).and_then(|error| error.help)
}

/// The entry of another language under such a name.
pub(crate) fn foreign_entry(name: &str, span: Span) -> Option<SyntaxError> {
    let equals = Token { start: 0, text: "=" };
    foreign(Token { start: 0, text: name }, equals, Place::Record, span)
}

/// What other languages write.
fn foreign(word: Token<'_>, next: Token<'_>, place: Place, span: Span) -> Option<SyntaxError> {
    let spelled =
        |message: String, help: &str| Some(message::spelling(span, message, "not Lockstep").help(help));
    match word.text {
        "wait_for" | "waitFor" | "await" | "sync" | "synchronize" | "rendezvous" => spelled(
            format!("there is no `{}`", word.text),
            "stages wait for each other at a barrier of the same name: `barrier NAME { timeout = 10m }`",
        ),
        "try" | "finally" | "ensure" | "always" => spelled(
            format!("there is no `{}`", word.text),
            "write `on failure { … }` in the braces of what may fail; steps that undo stand in `rollback { … }`",
        ),
        "rollback" => spelled(
            "`rollback` is nothing to be set".into(),
            "what undoes the steps stands in `rollback { … }`; without it they are undone by themselves, last first",
        ),
        "-" | "*" => spelled(
            "lists are not written with dashes".into(),
            "a list is `[a, b]`; blocks are written with braces",
        ),
        "depends_on" | "needs" | "dependsOn" | "after" | "requires" => spelled(
            format!("there is no `{}`", word.text),
            "stages and phases run in the order in which they stand; what runs at the same time stands in `parallel`",
        ),
        "when" | "if" | "unless" | "condition" | "elif" | "elsif" | "else" => spelled(
            format!("conditions are not written with `{}`", word.text),
            "write `only if CONDITION` or `skip if CONDITION` in the braces of what depends on it",
        ),
        "on_failure" | "on_error" | "onFailure" | "onfailure" | "rescue" | "catch" => {
            let error = message::spelling(span, format!("there is no `{}`", word.text), "not Lockstep")
                .help("write `on failure { … }`");
            Some(if next.text == "{" {
                error.replace("write `on failure`", span, "on failure")
            } else {
                error
            })
        }
        "steps" | "stages" | "phases" | "jobs" | "services" | "environments"
            if matches!(next.text, ":" | "=" | "{") =>
        {
            let one = &word.text[..word.text.len() - 1];
            spelled(
                format!("there is no list of {}", word.text),
                &format!("write each by itself: `{}`", example(if one == "job" { "stage" } else { one })),
            )
        }
        "retry" | "retries" | "attempts" | "max_attempts" | "max_retries" => spelled(
            format!("retries are not written with `{}`", word.text),
            "write `on failure { retry 3 every 10s then rollback }` in the braces of what is tried again",
        ),
        "foreach" | "for_each" | "loop" => {
            spelled(format!("there is no `{}`", word.text), "write `for x in LIST { … }`")
        }
        "matrix" => spelled("there is no `matrix`".into(), "write `for x in LIST { … }` in a `parallel`"),
        "concurrent" | "concurrently" | "fork" => spelled(
            format!("there is no `{}`", word.text),
            "what runs at the same time stands in `parallel { … }`",
        ),
        "lock" | "mutex" | "semaphore" | "acquire" if is_name(next.text) => spelled(
            format!("there is no `{}`", word.text),
            "what is shared is a `resource NAME { capacity = 1 }`, taken with `use NAME` in a phase or a workflow",
        ),
        "include" | "require" | "using" if place == Place::File => {
            spelled(format!("there is no `{}`", word.text), "write `import \"../directory\"`")
        }
        "let" | "var" | "variable" | "const" | "locals" => spelled(
            format!("there is no `{}`", word.text),
            "values that vary are parameters: `workflow NAME(version: string)`",
        ),
        _ => None,
    }
}

fn example(word: &str) -> &'static str {
    match word {
        "step" => "step NAME = PROVIDER.STEP { … }",
        "stage" => "stage NAME = WORKFLOW { … }",
        "phase" => "phase NAME { … }",
        "service" => "service NAME = PROVIDER { … }",
        _ => "environment NAME { … }",
    }
}

/// A keyword with a slip in it.
fn misspelt(word: Token<'_>, next: Token<'_>, place: Place, span: Span) -> Option<SyntaxError> {
    if matches!(next.text, "=" | ":" | "[" | "") || !is_name(word.text) {
        return None;
    }
    let meant = called(word.text, place).or_else(|| similar(word.text, keywords(place)))?;
    Some(no_keyword(span, word.text, meant))
}

/// What others call it, or shorten it to.
fn called(word: &str, place: Place) -> Option<&'static str> {
    Some(match (word, place) {
        ("env", Place::File) => "environment",
        ("infra" | "target" | "cluster" | "region", Place::Environment) => "infrastructure",
        ("job" | "stage", Place::Workflow) => "phase",
        ("job", Place::Pipeline | Place::Parallel | Place::Lane) => "stage",
        ("task" | "action", Place::Phase | Place::Section | Place::Rollback) => "step",
        _ => return None,
    })
}

/// Something should stand at or after an offset of a source.
pub(crate) fn expected_in(source: &str, at: usize, what: &str) -> SyntaxError {
    let found = message::token(source, at);
    not_found(source, found, Span::new(found.start, found.end()), what)
}

/// A token stands where something else should.
fn not_found(text: &str, found: Token<'_>, span: Span, what: &str) -> SyntaxError {
    let message = format!("expected {what}, found {}", found.describe());
    let error = message::unexpected(span, message, format!("expected {what}"));
    match foreign::advice(what, found, text) {
        Some(help) if !message::is_reserved(found.text) || what != "a name" => error.help(help),
        _ => reserved_help(error, found),
    }
}

/// A slip of a keyword.
pub(crate) fn no_keyword(span: Span, word: &str, meant: &str) -> SyntaxError {
    let message = format!("`{word}` is not a keyword");
    let error = message::unexpected(span, message, "unknown").help(format!("did you mean `{meant}`?"));
    error.replace(format!("write `{meant}`"), span, meant)
}

/// The words that begin what may stand in a place.
fn keywords(place: Place) -> impl Iterator<Item = &'static str> {
    let both = place.members().contains(&Rule::condition).then_some("only");
    let first = |rule: &Rule| human(*rule).strip_prefix('`')?.split(['`', ' ']).next();
    place.members().iter().filter_map(first).chain(both)
}

/// The word that is most like another, if it is like enough.
pub(crate) fn similar<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = word.to_lowercase();
    let limit = if word.chars().count() < 5 { 1 } else { 2 };
    let length = lower.chars().count();
    known
        .into_iter()
        // A difference in length is a distance.
        .filter(|known| known.chars().count().abs_diff(length) <= limit)
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// Whether a word can be a name.
pub(crate) fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(is_word)
        && !word.ends_with('-')
        && !message::is_reserved(word)
}

/// `steps:` and nothing else on its line.
pub(crate) fn no_block(span: Span, word: &str) -> SyntaxError {
    message::spelling(span, format!("`{word}:` begins no block"), "indentation means nothing")
        .help("blocks are written with braces, lists as `[a, b]`, and values are given with `=`")
}

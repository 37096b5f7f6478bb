//! The words of syntax errors: what was found, what could stand there, what to do.

use crate::SyntaxError;
use crate::ast::Span;
use crate::syntax::Rule;

impl SyntaxError {
    fn new(rule: &'static str, span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        let (message, label) = (message.into(), label.into());
        SyntaxError { rule, span, message, label, help: None, related: None, fix: None }
    }

    /// Adds advice.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place.
    pub(crate) fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }

    /// Adds a fix that replaces one span.
    pub(crate) fn replace(self, title: impl Into<String>, span: Span, text: impl Into<String>) -> Self {
        self.edits(title, vec![(span, text.into())])
    }

    /// Adds a fix of several edits.
    pub(crate) fn edits(mut self, title: impl Into<String>, edits: Vec<(Span, String)>) -> Self {
        self.fix = Some((title.into(), edits));
        self
    }
}

/// Something stands where something else should.
pub(crate) fn unexpected(span: Span, message: impl Into<String>, label: impl Into<String>) -> SyntaxError {
    SyntaxError::new("syntax/unexpected", span, message, label)
}

/// A bracket without its partner.
pub(crate) fn unclosed(span: Span, message: impl Into<String>, label: impl Into<String>) -> SyntaxError {
    SyntaxError::new("syntax/unclosed", span, message, label)
}

/// A fault in a text.
pub(crate) fn text(span: Span, message: impl Into<String>, label: impl Into<String>) -> SyntaxError {
    SyntaxError::new("syntax/text", span, message, label)
}

/// A fault in a number.
pub(crate) fn number(span: Span, message: impl Into<String>, label: impl Into<String>) -> SyntaxError {
    SyntaxError::new("syntax/number", span, message, label)
}

/// Another language's way to write something.
pub(crate) fn spelling(span: Span, message: impl Into<String>, label: impl Into<String>) -> SyntaxError {
    SyntaxError::new("syntax/spelling", span, message, label)
}

/// Something the language knows, where it may not stand.
pub(crate) fn place(span: Span, message: impl Into<String>, label: impl Into<String>) -> SyntaxError {
    SyntaxError::new("syntax/place", span, message, label)
}

/// Brackets, conditions or actions nested too deep.
pub(crate) fn too_deep(span: Span) -> SyntaxError {
    let limit = crate::build::MAX_DEPTH;
    unexpected(span, format!("this is nested more than {limit} levels deep"), "too deep")
        .help("split it into smaller parts")
}

/// Whether a word can never be a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    matches!(word, "true" | "false" | "if" | "then" | "else" | "in")
}

/// `a, b or c`
pub(crate) fn alternatives<'t>(words: impl IntoIterator<Item = &'t str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// The next token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    /// Offset of its first byte.
    pub start: usize,
    /// Its text; empty at the end of the text, a newline at the end of a line.
    pub text: &'t str,
}

impl Token<'_> {
    /// What a message says was found.
    pub(crate) fn describe(self) -> String {
        match self.text {
            "" => "the end of the file".into(),
            "\n" => "the end of the line".into(),
            text if text.starts_with('"') => {
                if text.len() <= 30 && !text.contains('\n') {
                    format!("`{text}`")
                } else {
                    "a text".into()
                }
            }
            text => match text.chars().next() {
                Some(c) if c.is_control() || (c.is_whitespace() && !c.is_ascii()) => {
                    format!("the character U+{:04X}", c as u32)
                }
                _ => format!("`{text}`"),
            },
        }
    }

    /// One past its last byte; the end of a line or of the text has no width.
    pub(crate) fn end(self) -> usize {
        if self.text == "\n" { self.start } else { self.start + self.text.len() }
    }
}

/// The token at or after an offset, blanks skipped. A comment counts as the end of its line.
pub(crate) fn token(text: &str, at: usize) -> Token<'_> {
    let rest = &text[at..];
    let trimmed = rest.trim_start_matches([' ', '\t', '\r']);
    let start = at + rest.len() - trimmed.len();
    let length = match trimmed.chars().next() {
        None => return Token { start: at, text: "" },
        Some('\n') => return Token { start: at, text: "\n" },
        Some('/') if trimmed.starts_with("//") => return Token { start: at, text: "\n" },
        Some('"') => quoted(trimmed),
        Some(c) if c.is_alphanumeric() || c == '_' => word(trimmed),
        Some('-') if trimmed[1..].starts_with(|c: char| c.is_ascii_digit()) => 1 + word(&trimmed[1..]),
        Some(c) => {
            let two = trimmed
                .get(..2)
                .filter(|two| ["==", "!=", "<=", ">=", "&&", "||", "->", "${", ".."].contains(two));
            two.map_or(c.len_utf8(), str::len)
        }
    };
    Token { start, text: &trimmed[..length] }
}

fn word(text: &str) -> usize {
    let length =
        text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '%'))).unwrap_or(text.len());
    text[..length].trim_end_matches('-').len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\n' => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// What a rule of the grammar is called in messages. Every rule is here, so that a new one cannot be forgotten.
pub(crate) fn human(rule: Rule) -> &'static str {
    match rule {
        Rule::EOI => "the end of the file",
        Rule::comment => "a comment",
        Rule::space => "a new line",
        Rule::separator => "a comma or a new line",
        Rule::name => "a name",
        Rule::path => "a name or a path",
        Rule::star => "`.*`",
        Rule::number => "a number",
        Rule::unit => "a unit",
        Rule::text | Rule::long_text => "a text",
        Rule::chunk | Rule::long_chunk => "characters",
        Rule::escape => "an escape",
        Rule::hole => "`${…}`",
        Rule::opening_brace | Rule::late => "`{`",
        Rule::closing_brace => "`}`",
        Rule::closing_bracket => "`]`",
        Rule::closing_parenthesis => "`)`",
        Rule::expr | Rule::value | Rule::no_value | Rule::operand => "a value",
        Rule::not => "`!`",
        Rule::operator => "an operator",
        Rule::arguments => "`(`",
        Rule::list => "a list",
        Rule::paren => "`(`",
        Rule::conditional => "`if … then … else …`",
        Rule::then_word => "`then`",
        Rule::else_word => "`else`",
        Rule::record => "`{`",
        Rule::entry | Rule::short => "an entry `name = value`",
        Rule::setting => "a setting `name = value`",
        Rule::equals | Rule::wrong_assign => "`=`",
        Rule::junk | Rule::head_junk | Rule::bad | Rule::bad_line => "something",
        Rule::misplaced => "something else",
        Rule::file => "a file",
        Rule::import => "`import`",
        Rule::as_word => "`as`",
        Rule::service => "`service`",
        Rule::environment => "`environment`",
        Rule::secret => "`secret`",
        Rule::channel => "`channel`",
        Rule::group => "`group`",
        Rule::resource => "`resource`",
        Rule::workflow => "`workflow`",
        Rule::pipeline => "`pipeline`",
        Rule::provider => "`provider`",
        Rule::infrastructure => "`infrastructure`",
        Rule::params => "`(`",
        Rule::param => "a parameter `name: type`",
        Rule::colon => "`:`",
        Rule::ty | Rule::alternatives => "a type",
        Rule::optional => "`?`",
        Rule::type_arguments => "`<`",
        Rule::angle => "`>`",
        Rule::within => "`in`",
        Rule::range => "a range like `1..20`",
        Rule::phase => "`phase`",
        Rule::section => "`section`",
        Rule::step => "`step`",
        Rule::steps | Rule::phases | Rule::parallel => "`parallel`",
        Rule::barrier => "`barrier`",
        Rule::condition => "`skip if`, `only if`",
        Rule::rollback => "`rollback`",
        Rule::use_resource => "`use`",
        Rule::notify => "`notify`",
        Rule::on_word => "`on`",
        Rule::names => "a name",
        Rule::failure => "`on failure`",
        Rule::kinds => "`of`",
        Rule::under => "`under`",
        Rule::of_hosts => "`of hosts`",
        Rule::action | Rule::verb => "`ignore`, `succeed`, `fail`, `abort`, `rollback`, `retry` or `ask`",
        Rule::retry => "`retry`",
        Rule::every => "`every`",
        Rule::ask => "`ask`",
        Rule::answer_within => "`within`",
        Rule::stage => "`stage`",
        Rule::index => "`[`",
        Rule::approval => "`approval`",
        Rule::max => "`max`",
        Rule::all_or_nothing => "`all_or_nothing`",
        Rule::lane => "`lane`",
        Rule::for_each => "`for`",
        Rule::in_word => "`in`",
        Rule::loop_named => "a list",
        Rule::service_fields => "`service { … }`",
        Rule::infrastructure_fields => "`infrastructure { … }`",
        Rule::fields => "`{`",
        Rule::artifact => "`artifact`",
        Rule::signature => "`step`",
        Rule::arrow => "`->`",
        Rule::changes => "`changes target`",
        Rule::undone => "`undone by`",
        Rule::irreversible => "`irreversible`",
        Rule::environment_body
        | Rule::workflow_body
        | Rule::phases_body
        | Rule::phase_body
        | Rule::section_body
        | Rule::steps_body
        | Rule::step_body
        | Rule::barrier_body
        | Rule::rollback_body
        | Rule::action_body
        | Rule::pipeline_body
        | Rule::stage_body
        | Rule::parallel_body
        | Rule::lane_body
        | Rule::for_body
        | Rule::provider_body
        | Rule::signature_body => "`{`",
    }
}

//! Advice for whoever writes as other languages do: what to say beside "expected this, found that".

use crate::SyntaxError;
use crate::ast::Span;
use crate::message::{self, Token, token};

/// How a value is named here.
const NAMES: &str = "a name stands for its value by itself; in text write `${name}`";
pub(crate) const BRANCHES: &str = "write `if CONDITION then A else B`";

/// Advice on a token that stands where `what` should.
pub(crate) fn advice(what: &str, found: Token<'_>, text: &str) -> Option<String> {
    let before = text[..found.start].trim_end();
    let next = token(text, found.end()).text;
    let help = match (what, found.text) {
        ("a value", "$" | "${") => NAMES,
        ("a value", "<") if next == "+" => NAMES,
        ("a value", "=") if before.ends_with(['=', '!']) && touches(text, found, |c| "=!".contains(c)) => {
            "two signs compare: `==`, `!=`"
        }
        ("a value", ">") if before.ends_with('<') => "\"is not\" is written `!=`",
        ("a value", "." | ".." | "@" | "~") => "text stands in quotes",
        ("a value", "=") if conditional(text, found) => "write `skip if CONDITION`, without `=`",
        ("a comma or a new line", "=") if next == "~" => "write `matches(text, \"pattern\")`",
        ("a comma or a new line", "=") => "`==` compares; `=` gives a value to the name before it",
        ("a comma or a new line", "is" | "eq" | "equals") => "`==` compares",
        ("a comma or a new line", "if" | "when" | "unless") => {
            "write `if CONDITION then A else B`; a condition of its own is `only if CONDITION`"
        }
        ("a comma or a new line", mark) if mark.starts_with('"') && touches(text, found, is_word) => {
            "text has no prefix; `\"… ${name} …\"` interpolates"
        }
        ("a comma or a new line", mark) if mark == ".." || mark.starts_with('"') && in_entry(text, found) => {
            "text is joined by interpolation: `\"${a}${b}\"`; a list is `[a, b]`"
        }
        ("a comma or a new line", _) if matches!(last_word(before), "match" | "switch" | "case") => {
            "write `if CONDITION then A else if CONDITION then B else C`"
        }
        ("a comma or a new line", "|") if in_type(text, found) => {
            "a parameter that may be left out is `name: type?`; several types only stand in `service<P, A | B>`"
        }
        ("a comma or a new line", "[") if in_type(text, found) => "a list of such values is `list<TYPE>`",
        ("a comma or a new line", "[") if before.ends_with(is_word) => "there is no indexing",
        ("a comma or a new line", "default") => "a default follows `=`: `name: type = default`",
        ("a comma or a new line", "(") => {
            "what a type is made of stands in `<…>`: `service<PROVIDER>`, `list<TYPE>`"
        }
        ("a text", _) => {
            "write `import \"../directory\"`; it is known by the last name of the path, or by `as NAME`"
        }
        ("`)`", _) if before.ends_with(',') => "a list is written with brackets: `[a, b]`",
        ("`{`", _) if first_word(text, found) == "on" => {
            "write `on failure { rollback }`, or `on failure of timeout { rollback }` for one kind"
        }
        ("`{`", "(") if before.ends_with(is_word) && in_entry(text, found) => {
            "arguments stand in braces: `{ name = value }`"
        }
        ("`{`", "=") if first_word(text, found) != "parallel" => "no `=` stands before a block",
        ("`{`", ":" | "[") => "blocks are written with braces",
        ("`every`", _) => "write `retry 3 every 10s then rollback`",
        ("`else`", "elif" | "elsif" | "elseif") => "write `else if CONDITION then B else C`",
        ("`then`" | "`else`", _) if has_if(text, found) => BRANCHES,
        ("a type", mark) if mark.starts_with('"') => {
            "write the type and the values it may have: `string in [\"a\", \"b\"]`"
        }
        ("`failure`", _) => "write `on failure { … }`, or `on failure of timeout { … }` for one kind",
        ("`:`", "?") => "an optional parameter is `name: type?`",
        ("`:`", _) => "a parameter is `name: type` or `name: type = default`",
        _ => return shape(what, found, text),
    };
    Some(help.into())
}

/// How the construct is written whose line this is.
fn shape(what: &str, found: Token<'_>, text: &str) -> Option<String> {
    if !matches!(what, "`=`" | "`{`" | "a name" | "`in`" | "a number") {
        return None;
    }
    // What stands on the line of the block that it is in is what is being written.
    let inner = token(text, within(text, found)).text;
    let word = if inner == "step" || inner == "stage" { inner } else { first_word(text, found) };
    let form = match word {
        // In a provider, a step is written in another way.
        "step" if what == "a name" && !matches!(found.text, "{" | "=") => return None,
        "step" if what == "`{`" && !in_entry(text, found) => "step NAME(PARAMETERS) -> { OUTPUTS } { … }",
        "step" => "step NAME = PROVIDER.STEP { … }",
        "stage" => "stage NAME = WORKFLOW { … }",
        "phase" => "phase NAME { … }",
        "section" => "section NAME { … }",
        "barrier" => "barrier NAME { timeout = 10m }",
        "lane" => "lane NAME { … }",
        "approval" => "approval NAME { from = GROUP, within = 1d }",
        "for" => "for x in LIST { … }",
        "parallel" => "parallel max N { … }` or `parallel all_or_nothing { … }",
        "service" => "service NAME = PROVIDER { … }",
        "environment" => "environment NAME { … }",
        "infrastructure" => "infrastructure NAME = PROVIDER { … }",
        "secret" => "secret NAME = env { name = \"…\" }",
        "channel" => "channel NAME = slack { … }",
        "group" => "group NAME { members = [\"…\"] }",
        "resource" => "resource NAME { capacity = 1 }",
        "workflow" => "workflow NAME(PARAMETERS) { … }",
        "pipeline" => "pipeline NAME(PARAMETERS) { … }",
        _ => return None,
    };
    Some(format!("write `{form}`"))
}

fn line_start(text: &str, found: Token<'_>) -> usize {
    text[..found.start].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Whether an `if` stands before it on its line.
fn has_if(text: &str, found: Token<'_>) -> bool {
    text[line_start(text, found)..found.start].split(|c| !is_word(c)).any(|word| word == "if")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a token stands directly behind such a character.
fn touches(text: &str, found: Token<'_>, before: impl Fn(char) -> bool) -> bool {
    text[..found.start].ends_with(before)
}

/// Where on a token's line the block that the token stands in begins; without one, where the line does.
fn within(text: &str, found: Token<'_>) -> usize {
    let start = line_start(text, found);
    let mut open = Vec::new();
    for (index, mark) in text[start..found.start].match_indices(['{', '}']) {
        match mark {
            "{" => open.push(start + index + 1),
            _ => drop(open.pop()),
        }
    }
    open.pop().unwrap_or(start)
}

/// The first word of a token's line.
fn first_word<'t>(text: &'t str, found: Token<'_>) -> &'t str {
    token(text, line_start(text, found)).text
}

/// Whether a token stands behind a type: no `=` is on its line before it, but a `:` is.
pub(crate) fn in_type(text: &str, found: Token<'_>) -> bool {
    let before = &text[line_start(text, found)..found.start];
    let last = before.rsplit(['(', ',', '{']).next().unwrap_or_default();
    last.contains(':') && !last.contains('=')
}

/// Whether a `=` stands before a token on its line.
fn in_entry(text: &str, found: Token<'_>) -> bool {
    text[line_start(text, found)..found.start].contains('=')
}

/// Whether a token stands behind `skip if` or `only if`.
fn conditional(text: &str, found: Token<'_>) -> bool {
    let mut words = text[..found.start].split_whitespace().rev();
    words.next() == Some("if") && matches!(words.next(), Some("skip" | "only"))
}

fn last_word(text: &str) -> &str {
    &text[text.trim_end_matches(is_word).len()..]
}

/// Advice about a name that other languages know as a value, like `null`.
pub fn foreign_value_help(name: &str) -> Option<&'static str> {
    Some(match name {
        "null" | "None" | "nil" | "undefined" | "NULL" => {
            "there is no such value: leave the entry out; a parameter that may be left out is `name: type?`"
        }
        "match" | "switch" | "case" => "write `if CONDITION then A else if CONDITION then B else C`",
        "var" | "vars" | "local" | "locals" | "params" | "parameters" | "inputs" | "input" | "each"
        | "env" => "parameters and loop variables are read by their own names, without a prefix",
        _ => return None,
    })
}

/// Whole lines of other languages.
pub(crate) fn line(line: &str, span: Span) -> Option<SyntaxError> {
    let (message, help) = if line == "---" || line.starts_with("--- ") || line.starts_with("%YAML") {
        ("this is not YAML", "a file holds declarations, like `service NAME = PROVIDER { … }`")
    } else if line.starts_with("--") || line.starts_with("<!--") {
        ("comments begin with `//`", "write `//`")
    } else {
        return None;
    };
    Some(message::spelling(span, message, "not Lockstep").help(help))
}

/// Words that begin something in other languages, where a declaration should stand.
pub(crate) fn top_level(word: &str, next: &str) -> Option<&'static str> {
    Some(match word {
        "def" | "func" | "fn" | "function" | "class" | "lambda" => {
            "there are no functions of one's own: what varies is a parameter of a workflow or a service"
        }
        "module" => "a directory is a module; another one is brought in with `import \"../directory\"`",
        "output" | "return" | "print" => {
            "outputs belong to steps: a later step reads `NAME.output`, and `dsl status` shows them"
        }
        "data" | "terraform" | "plugin" | "packer" | "job" | "task" => {
            "what is deployed is a `service`, where is an `environment`, how is a `workflow`, together is a `pipeline`"
        }
        "{" | "[" => "this is not JSON: a file holds declarations, like `service NAME = PROVIDER { … }`",
        "@" => "there are no annotations; retries and conditions stand in the braces of what they are about",
        "template" | "templates" | "playbook" | "stack" | "chart" => {
            "what is done the same way again and again is a `workflow NAME(PARAMETERS) { … }`"
        }
        "lock" | "mutex" | "semaphore" => {
            "what is shared is a `resource NAME { capacity = 1 }`, taken with `use NAME` in a phase or a workflow"
        }
        "from" => "write `import \"../directory\"`",
        _ if next == ":" => {
            "this is not YAML: a file holds declarations, like `service NAME = PROVIDER { … }`"
        }
        _ if next == "=" => "there are no values outside of declarations; what varies is a parameter",
        _ => return None,
    })
}

//! Where on a line an opening bracket is missing, when its closing one stands there.

use super::{DECLARATIONS, Kind, Scan};

/// No farther before a closing bracket its opening one is looked for.
const HEAD: usize = 512;

/// What begins a line that goes on with a name and a block.
const HEADS: [&str; 6] = ["barrier", "use", "approval", "phase", "section", "lane"];

/// What a failure rule does.
const ACTIONS: [&str; 7] = ["ignore", "succeed", "fail", "abort", "rollback", "retry", "ask"];

impl Scan<'_> {
    /// Whether that can be told. Where it could not be on a line, it is not looked for there again.
    pub(super) fn opening_is_missing(&mut self, kind: Kind) -> bool {
        if self.at <= self.line + self.indent || self.unopened == Some(self.line) {
            return false;
        }
        let is_missing = self.missing_opening(kind).is_some();
        if !is_missing {
            self.unopened = Some(self.line);
        }
        is_missing
    }

    /// Where on its line the partner of the closing bracket here belongs, and what to write there: behind what is made with these
    /// braces, or where the value begins that is a list.
    pub(super) fn missing_opening(&self, kind: Kind) -> Option<(usize, &'static str)> {
        let start = self.line + self.indent;
        if self.at <= start || self.at - start > HEAD || self.in_hole() {
            return None;
        }
        let code = &self.source[start..self.at];
        let (near, inner) = places(code)?;
        let found = match kind {
            // An earlier bracket may have closed what this one was to close.
            Kind::Brace => near.into_iter().chain(inner).find(|at| begins_block(code, *at)),
            Kind::Bracket => near.into_iter().rfind(|at| {
                let before = code[..*at].trim_end();
                let begins = before.ends_with('=') && !before.ends_with("==") || before.ends_with(" in");
                begins && !code[*at..].starts_with('[')
            }),
            _ => None,
        }?;
        Some((start + found, if kind == Kind::Brace { "{ " } else { "[" }))
    }
}

/// Where words and texts begin: in the innermost brackets that are open at the end of a piece of code, and in those that are closed.
/// None where a text does not end.
fn places(code: &str) -> Option<(Vec<usize>, Vec<usize>)> {
    let (mut open, mut closed) = (vec![Vec::new()], Vec::new());
    let mut characters = code.char_indices();
    let mut blank = true;
    while let Some((at, c)) = characters.next() {
        let level = open.last_mut()?;
        if blank && !c.is_whitespace() {
            level.push(at);
        }
        blank = matches!(c, ' ' | '\t');
        match c {
            '"' => {
                let mut escaped = false;
                characters.find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                })?;
            }
            '{' | '(' | '[' => open.push(Vec::new()),
            '}' | ')' | ']' => {
                closed.extend(open.pop()?);
                open.last()?;
            }
            _ => {}
        }
    }
    Some((open.pop()?, closed))
}

/// Whether entries begin there, and what stands before them is made with such.
fn begins_block(code: &str, at: usize) -> bool {
    let (before, rest) = (code[..at].trim_end(), &code[at..]);
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let behind = rest.trim_start_matches(is_word);
    let name = &rest[..rest.len() - behind.len()];
    let behind = behind.trim_start();
    let entry = behind.starts_with('=') && !behind.starts_with("==");
    let before = before.rsplit(['{', '(', '[', ',']).next().unwrap_or_default().trim();
    let mut words = before.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next());
    let last = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_path = !last.is_empty()
        && last.chars().all(|c| is_word(c) || c == '.')
        && !last.starts_with(|c: char| c.is_ascii_digit());
    let made = before.contains("= ") && is_path;
    let headed = (DECLARATIONS.contains(&first) || HEADS.contains(&first)) && second.is_some() && is_path;
    match first {
        _ if name.is_empty() => false,
        "on" => second == Some("failure") && ACTIONS.contains(&name),
        _ if entry => made || headed || before.ends_with('='),
        _ => made && (behind.is_empty() || behind.starts_with([',', '}'])),
    }
}

//! Templates: files of another language, with expressions of this one in `${…}`.

use super::Build;
use crate::SyntaxError;
use crate::ast::{Span, Text, TextPart};
use crate::matcher::{self, Unreadable};
use crate::message;
use crate::repair::Repaired;

/// A file with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What it says, `\${` resolved.
    pub text: Text,
    /// Placeholders that were not understood; they are left out of the text.
    pub errors: Vec<SyntaxError>,
}

/// Reads a file with placeholders: `${expression}`, each on one line. `\${` stands for the characters themselves; all else is
/// taken as it is written.
pub fn parse_template(source: &str) -> Template {
    let repaired = Repaired::new(source, &[]);
    let mut build = Build::new(&repaired);
    let mut parts = Vec::new();
    let mut literal = String::new();
    let (mut at, mut written) = (0, 0);
    while let Some(found) = source[at..].find("${").map(|offset| at + offset) {
        if source[..found].ends_with('\\') {
            literal.push_str(&source[written..found - 1]);
            literal.push_str("${");
            at = found + 2;
            written = at;
            continue;
        }
        let Some(end) = end_of(source, found) else {
            let span = Span::new(found, found + 2);
            build.report(
                message::text(span, "this placeholder is never closed", "no `}` on this line belongs to it")
                    .help("a placeholder stands on one line: `${expression}`; `\\${` is a literal one"),
            );
            // What else stands on this line may be the rest of it.
            at = source[found..].find('\n').map_or(source.len(), |length| found + length);
            continue;
        };
        literal.push_str(&source[written..found]);
        if !literal.is_empty() {
            parts.push(TextPart::Literal(std::mem::take(&mut literal).into()));
        }
        parts.extend(build.placeholder(found, end).map(TextPart::Expr));
        (at, written) = (end, end);
    }
    literal.push_str(&source[written..]);
    if !literal.is_empty() {
        parts.push(TextPart::Literal(literal.into()));
    }
    Template { text: Text { multiline: true, parts }, errors: build.errors }
}

impl<'s> Build<'s> {
    /// The expression of the placeholder that stands there; its brackets and quotes balance.
    fn placeholder(&mut self, start: usize, end: usize) -> Option<crate::ast::Expr> {
        let source = self.repaired.source;
        self.text = &source[start..end];
        self.base = start;
        let mut nodes = std::mem::take(&mut self.nodes);
        let value = match matcher::hole(self.text, &mut nodes) {
            Ok(tree) => self.hole(tree.root()),
            Err(Unreadable { at }) => {
                self.unreadable(at);
                None
            }
        };
        self.nodes = nodes;
        value
    }
}

/// Where the placeholder that begins at `start` ends, if its brackets and quotes balance on its line.
fn end_of(source: &str, start: usize) -> Option<usize> {
    let line = source[start..].find('\n').map_or(source.len(), |length| start + length);
    let bytes = &source.as_bytes()[..line];
    // The closing brackets that are awaited, innermost last; a quote where text is open.
    let mut open: Vec<u8> = vec![b'}'];
    let mut at = start + 2;
    while let Some(byte) = bytes.get(at) {
        let in_text = open.last() == Some(&b'"');
        match byte {
            b'\\' if in_text => at += 1,
            b'$' if in_text && bytes.get(at + 1) == Some(&b'{') => {
                open.push(b'}');
                at += 1;
            }
            b'"' if in_text => {
                open.pop();
            }
            _ if in_text => {}
            b'"' => open.push(b'"'),
            b'{' => open.push(b'}'),
            b'(' => open.push(b')'),
            b'[' => open.push(b']'),
            b'}' | b')' | b']' => {
                if open.pop() != Some(*byte) {
                    return None;
                }
                if open.is_empty() {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> (Vec<String>, Vec<String>) {
        let template = parse_template(source);
        let part = |part: &TextPart| match part {
            TextPart::Literal(text) => text.to_string(),
            TextPart::Expr(expr) => {
                format!("<{}>", &source[expr.span.start as usize..expr.span.end as usize])
            }
        };
        let errors = template.errors.iter();
        (template.text.parts.iter().map(part).collect(), errors.map(|it| it.message.clone()).collect())
    }

    #[test]
    fn placeholders_stand_where_they_are_written() {
        let (parts, errors) = shown("image: ${service.artifact.image}:${ default(tag, \"a}b\") } # ü\n");
        assert_eq!(parts, ["image: ", "<service.artifact.image>", ":", "<default(tag, \"a}b\")>", " # ü\n"]);
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn escaped_ones_are_text() {
        let (parts, errors) = shown("run: echo \\${HOME} \\ $HOME $(x) ${a}\\${");
        assert_eq!(parts, ["run: echo ${HOME} \\ $HOME $(x) ", "<a>", "${"]);
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn faults_cost_one_placeholder_each() {
        let (parts, errors) = shown("${a\n${b c}${}${\"x}\n${)}\n${d}");
        assert_eq!(parts.iter().filter(|part| part.starts_with('<')).count(), 2, "{parts:?}");
        assert_eq!(parts.last().map(String::as_str), Some("<d>"));
        assert_eq!(errors.len(), 5, "{errors:?}");
    }

    #[test]
    fn deep_and_long_ones_come_to_an_end() {
        let deep = format!("${{{}a{}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(shown(&deep).1.len(), 1);
        assert_eq!(shown(&"${".repeat(20_000)).1.len(), 1);
        assert_eq!(shown(&"${\n".repeat(2_000)).1.len(), 2_000);
        // Quotes that are taken in another way than by who looked for the end: nothing balances any more.
        for open in ["{a=", "(", "[", "f(", "if {a=", "\\\"${", "{a=(b{c=["] {
            let odd = format!("${{[\"\"\",{}\"]}}", open.repeat(200 / open.len()));
            assert!(!shown(&odd).1.is_empty(), "{odd}");
        }
    }
}

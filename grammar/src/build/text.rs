//! Text: escapes, interpolation, and the indentation of `"""`.

use super::Build;
use crate::ast::{Expr, ExprKind, Name, Path, Span, Text, TextPart};
use crate::message;
use crate::syntax::{Pair, Rule};
use compact_str::CompactString;

/// Whether a piece of literal text was written as an escape: indentation is only removed from what was not.
enum Piece {
    Written(CompactString),
    Escaped(char),
    Expr(Expr),
}

impl<'s> Build<'s> {
    /// A text of either kind.
    pub(super) fn text_expr(&mut self, pair: Pair<'_>) -> Option<Expr> {
        let span = self.span(&pair);
        let text = self.text(pair);
        // Nobody knows what stands in a text whose end had to be guessed.
        if self.lost_texts.binary_search(&span.start).is_ok() {
            self.detail(Self::damage);
            return None;
        }
        Some(Expr { span, kind: ExprKind::Text(text) })
    }

    pub(super) fn text(&mut self, pair: Pair<'_>) -> Text {
        let multiline = pair.as_rule() == Rule::long_text;
        let mut inner = pair.into_inner();
        if !multiline && let (Some(only), None) = (inner.next(), inner.next()) {
            let literal = only.as_str();
            let parts = if literal.is_empty() { Vec::new() } else { vec![TextPart::Literal(literal.into())] };
            return Text { multiline, parts };
        }
        let mut pieces = Vec::with_capacity(pair.into_inner().count());
        for pair in pair.into_inner() {
            match pair.as_rule() {
                Rule::escape => pieces.push(Piece::Escaped(self.escape(&pair))),
                Rule::hole => pieces.extend(self.hole(pair).map(Piece::Expr)),
                _ => pieces.push(Piece::Written(pair.as_str().into())),
            }
        }
        if multiline {
            dedent(&mut pieces);
        }
        Text { multiline, parts: join(pieces) }
    }

    fn escape(&mut self, pair: &Pair<'_>) -> char {
        match &pair.as_str()[1..] {
            "\"" => '"',
            "\\" => '\\',
            "n" => '\n',
            "t" => '\t',
            "${" => '$',
            other => {
                let span = self.span(pair);
                self.report(
                    message::text(
                        span,
                        format!("`\\{}` is not an escape", other.escape_debug()),
                        "unknown escape",
                    )
                    .help("text knows `\\\"`, `\\\\`, `\\n`, `\\t` and `\\${`; a backslash is written `\\\\`")
                    .replace("write a backslash", span, format!("\\\\{other}")),
                );
                other.chars().next().unwrap_or('\\')
            }
        }
    }

    /// `${expr}`
    pub(super) fn hole(&mut self, pair: Pair<'_>) -> Option<Expr> {
        let start = pair.start() + 2;
        if let Some(inner) = pair.as_str().strip_prefix("${{").and_then(|text| text.strip_suffix("}}")) {
            return self.double_hole(self.span(&pair), start + 1, inner);
        }
        let mut nodes = self.children(pair);
        nodes.end = start;
        let value = match self.take(&mut nodes, Rule::expr) {
            Some(pair) => self.expr(pair),
            None => {
                self.expected(start, &[Rule::expr]);
                self.damage();
                None
            }
        };
        self.leftover(&mut nodes, &[Rule::closing_brace]);
        value
    }

    /// `${{ name }}`, as another language writes it: a record cannot stand in text.
    fn double_hole(&mut self, span: Span, start: usize, inner: &str) -> Option<Expr> {
        let error = message::spelling(span, "there is no `${{ … }}`", "not Lockstep");
        let name = inner.trim();
        if !crate::recover::is_name(name) {
            self.report(error.help("an expression stands in text as `${…}`"));
            self.damage();
            return None;
        }
        self.report(error.replace("remove a pair of braces", span, format!("${{{name}}}")));
        let start = start + inner.len() - inner.trim_start().len();
        let span = self.place(start, start + name.len());
        let names = vec![Name { text: name.into(), span }];
        Some(Expr { span, kind: ExprKind::Path(Path { names, span }) })
    }
}

/// Drops the first newline, and from every line the indentation of the last; line ends become `\n`.
fn dedent(pieces: &mut [Piece]) {
    for piece in pieces.iter_mut() {
        if let Piece::Written(text) = piece
            && text.contains('\r')
        {
            *text = text.replace("\r\n", "\n").into();
        }
    }
    let last_line =
        pieces.iter().rposition(|piece| matches!(piece, Piece::Written(text) if text.contains('\n')));
    let Some(last) = last_line else { return };
    let Piece::Written(text) = &pieces[last] else { return };
    let line = &text[text.rfind('\n').map_or(0, |at| at + 1)..];
    let indent = line[..line.len() - line.trim_start_matches([' ', '\t']).len()].to_owned();
    if let Some(Piece::Written(text)) = pieces.first_mut()
        && let Some((before, _)) = text.split_once('\n')
        && before.trim_matches([' ', '\t']).is_empty()
    {
        // The newline goes; the line after it starts with its indentation, which the loop below would not see.
        let rest = &text[before.len() + 1..];
        *text = rest.strip_prefix(indent.as_str()).unwrap_or_else(|| unindented(rest, &indent)).into();
    }
    for piece in pieces {
        if let Piece::Written(text) = piece
            && !indent.is_empty()
            && text.contains('\n')
        {
            let mut lines = text.split('\n');
            let mut result = CompactString::new(lines.next().unwrap_or_default());
            for line in lines {
                result.push('\n');
                result.push_str(
                    line.strip_prefix(indent.as_str()).unwrap_or_else(|| unindented(line, &indent)),
                );
            }
            *text = result;
        }
    }
}

/// A line that is indented less than the last one loses what the two have in common.
fn unindented<'t>(line: &'t str, indent: &str) -> &'t str {
    let common = line.bytes().zip(indent.bytes()).take_while(|(a, b)| a == b).count();
    &line[common..]
}

/// `\${` stands for both characters; neighbouring literals become one.
fn join(pieces: Vec<Piece>) -> Vec<TextPart> {
    let mut parts: Vec<TextPart> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (piece, parts.last_mut()) {
            (Piece::Expr(value), _) => parts.push(TextPart::Expr(value)),
            (Piece::Written(text), _) if text.is_empty() => {}
            (Piece::Written(text), Some(TextPart::Literal(before))) => before.push_str(&text),
            (Piece::Written(text), _) => parts.push(TextPart::Literal(text)),
            (Piece::Escaped(character), Some(TextPart::Literal(before))) => {
                before.push_str(escaped(character, &mut [0; 4]))
            }
            (Piece::Escaped(character), _) => {
                parts.push(TextPart::Literal(escaped(character, &mut [0; 4]).into()));
            }
        }
    }
    parts
}

fn escaped(character: char, buffer: &mut [u8; 4]) -> &str {
    if character == '$' { "${" } else { character.encode_utf8(buffer) }
}

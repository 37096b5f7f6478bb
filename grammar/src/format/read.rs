//! From the parser's pairs to the layout: which words a member has, with blanks where the style wants them.
//!
//! The grammar gives brackets, members and comments; what lies between its pairs is keywords and marks, which are cut into words
//! here. So whatever the grammar knows is printed, and nothing can get lost on the way.

use super::layout::{Group, Item, ItemKind, Member, Piece, Stop, StopKind, Style, Word};
use super::long_text;
use crate::syntax::{Pair, Rule};

/// Reads a piece of source that has no errors.
pub(super) struct Reader<'s> {
    source: &'s str,
}

/// A member while its words come in.
#[derive(Default)]
struct Line<'s> {
    pieces: Vec<Piece<'s>>,
    /// Whether a newline has been passed since the last word.
    newline: bool,
    /// Whether the last word wants no blank behind it.
    tight: bool,
    /// Whether the last word is one that a line may begin with.
    infix: bool,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s str) -> Self {
        Reader { source }
    }

    /// A declaration, or a member of brackets.
    pub fn member(&self, pair: Pair<'s>) -> Member<'s> {
        let kind = stop_kind(pair.as_rule());
        let mut line = Line { tight: true, ..Line::default() };
        self.walk(pair, &mut line);
        let pieces = line.pieces;
        Member {
            stop: kind.and_then(|kind| stop(kind, &pieces)),
            multiline: pieces.iter().any(Piece::is_multiline),
            comma: false,
            note: None,
            width: pieces.iter().map(Piece::width).sum(),
            pieces,
        }
    }

    fn walk(&self, pair: Pair<'s>, line: &mut Line<'s>) {
        let text = pair.as_str();
        let rule = pair.as_rule();
        match rule {
            Rule::comment => {
                line.pieces.push(Piece::Comment { text: text.trim_end(), own_line: line.newline });
                line.newline = false;
                line.infix = false;
            }
            Rule::operator | Rule::then_word | Rule::else_word => line.operator(text),
            Rule::long_text if text.contains('\n') => {
                let space = line.place();
                line.pieces.push(Piece::LongText { space, lines: long_text::lines(pair) });
            }
            Rule::name | Rule::path | Rule::number | Rule::text | Rule::long_text => line.word(text, true),
            Rule::star => line.word(text, false),
            _ => match style(rule) {
                Some(style) => {
                    let space = line.place() && style_is_spaced(rule);
                    line.pieces.push(Piece::Group(self.group(pair, style, space)));
                }
                None => {
                    let span = pair;
                    let mut at = span.start();
                    for child in pair.into_inner() {
                        let inner = child;
                        line.marks(&self.source[at..inner.start()]);
                        at = inner.end();
                        self.walk(child, line);
                    }
                    line.marks(&self.source[at..span.end()]);
                }
            },
        }
    }

    fn group(&self, pair: Pair<'s>, style: Style, space: bool) -> Group<'s> {
        let multiline = pair.as_str().contains('\n');
        let mut items: Vec<Item<'s>> = Vec::new();
        let mut note = None;
        let mut at = pair.start() + 1;
        for child in pair.into_inner() {
            let span = child;
            let gap = &self.source[at..span.start()];
            at = span.end();
            let before = match items.last_mut() {
                Some(Item { kind: ItemKind::Member(member), .. }) => {
                    member.comma |= gap.contains(',');
                    Some(&mut member.note)
                }
                Some(_) => None,
                None => Some(&mut note),
            };
            let newlines = gap.bytes().filter(|byte| *byte == b'\n').count();
            let blank = newlines > 1;
            if child.as_rule() != Rule::comment {
                items.push(Item { blank, kind: ItemKind::Member(self.member(child)) });
                continue;
            }
            let text = child.as_str().trim_end();
            match before {
                Some(note) if newlines == 0 => *note = Some(text),
                _ => items.push(Item { blank, kind: ItemKind::Comment(text) }),
            }
        }
        let multiline = multiline && (!items.is_empty() || note.is_some());
        let width = if multiline { 0 } else { flat_width(style, &items) };
        Group { space, style, multiline, note, items, width }
    }
}

/// What lines up with its neighbours.
fn stop_kind(rule: Rule) -> Option<StopKind> {
    match rule {
        Rule::entry | Rule::setting | Rule::service_fields | Rule::infrastructure_fields => {
            Some(StopKind::Entry)
        }
        Rule::infrastructure => Some(StopKind::Infrastructure),
        Rule::step => Some(StopKind::Step),
        Rule::stage => Some(StopKind::Stage),
        _ => None,
    }
}

/// The `=` of a member, or the brackets in its place.
fn stop(kind: StopKind, pieces: &[Piece<'_>]) -> Option<Stop> {
    let is_stop = |piece: &Piece<'_>| !matches!(piece, Piece::Word(word) if word.text != "=");
    let piece = pieces.iter().position(is_stop)?;
    if matches!(pieces[piece], Piece::Comment { .. }) {
        return None;
    }
    Some(Stop { kind, piece, width: pieces[..piece].iter().map(Piece::width).sum() })
}

/// Columns of brackets on one line.
fn flat_width(style: Style, items: &[Item<'_>]) -> usize {
    let inside: usize = items
        .iter()
        .enumerate()
        .map(|(index, item)| match &item.kind {
            ItemKind::Comment(_) => 0,
            ItemKind::Member(member) => {
                let last = index + 1 == items.len();
                member.width + if last { 0 } else { 1 + usize::from(member.comma) }
            }
        })
        .sum();
    let padding = if items.is_empty() { 0 } else { 2 * style.padding().len() };
    2 + padding + inside
}

/// The rules that are brackets with members.
fn style(rule: Rule) -> Option<Style> {
    match rule {
        Rule::params | Rule::arguments => Some(Style::Parentheses),
        Rule::list => Some(Style::Brackets),
        Rule::record
        | Rule::fields
        | Rule::environment_body
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
        | Rule::signature_body => Some(Style::Braces),
        _ => None,
    }
}

/// Whether a blank stands before brackets: not where they belong to a name.
fn style_is_spaced(rule: Rule) -> bool {
    !matches!(rule, Rule::params | Rule::arguments)
}

impl<'s> Line<'s> {
    /// Notes that something comes now; whether a blank stands before it.
    fn place(&mut self) -> bool {
        // A newline behind an infix word moves before it.
        if self.infix
            && self.newline
            && let Some(Piece::Word(word)) = self.pieces.last_mut()
        {
            word.line = true;
        }
        let space = !self.tight;
        (self.newline, self.tight, self.infix) = (false, false, false);
        space
    }

    fn word(&mut self, text: &'s str, space: bool) {
        let space = self.place() && space;
        let width = if text.is_ascii() { text.len() } else { text.chars().count() };
        self.pieces.push(Piece::Word(Word { text, space, line: false, width }));
    }

    /// A word between two operands: the author may let a line begin with it.
    fn operator(&mut self, text: &'s str) {
        let line = self.newline && !matches!(self.pieces.last(), Some(Piece::Comment { .. }));
        self.word(text, true);
        if let Some(Piece::Word(word)) = self.pieces.last_mut() {
            word.line = line;
        }
        self.infix = true;
    }

    /// Keywords and marks, as they stand between pairs.
    fn marks(&mut self, mut text: &'s str) {
        while let Some(first) = text.bytes().next() {
            let length = match first {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.newline |= first == b'\n';
                    text = &text[1..];
                    continue;
                }
                _ if is_letter(first) => text.bytes().position(|byte| !is_letter(byte)).unwrap_or(text.len()),
                _ if text.starts_with("->") || text.starts_with("..") => 2,
                _ => text.chars().next().map_or(1, char::len_utf8),
            };
            let (mark, rest) = text.split_at(length);
            let hugs = matches!(mark, "," | ":" | "?" | "<" | ">" | ".." | ")" | "[" | "]");
            self.word(mark, !hugs);
            self.tight = matches!(mark, "(" | "[" | "<" | ".." | "!");
            text = rest;
        }
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

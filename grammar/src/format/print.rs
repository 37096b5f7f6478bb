//! From the layout to text: what fits on a line stays there, everything else gets a line for each member.

use super::align;
use super::layout::{Group, ItemKind, Member, Piece, Style};

/// Columns that a line has where that can be had.
pub(super) const WIDTH: usize = 100;

/// Blanks for each level.
const INDENT: usize = 2;

/// Text on its way out.
pub(super) struct Printer {
    pub out: String,
    /// `\n` or `\r\n`.
    eol: &'static str,
    /// Columns of the last line.
    column: usize,
}

impl Printer {
    pub fn new(eol: &'static str, capacity: usize) -> Self {
        Printer { out: String::with_capacity(capacity), eol, column: 0 }
    }

    pub fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() { text.len() } else { text.chars().count() };
    }

    pub fn blanks(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
        self.column += count;
    }

    /// Ends the line.
    pub fn line(&mut self) {
        self.out.push_str(self.eol);
        self.column = 0;
    }

    /// Ends the line and indents the next.
    fn line_at(&mut self, indent: usize) {
        self.line();
        self.blanks(indent);
    }

    /// A member. `padding` blanks are put before its `=`, `after` columns are wanted behind it.
    pub fn member(&mut self, member: &mut Member<'_>, indent: usize, padding: usize, after: usize) {
        if !member.multiline && indent + member.width + padding + after > WIDTH {
            member.break_at_joints();
        }
        // A member that goes on below its first line is indented once more there.
        let (mut indent, further) = (indent, indent + INDENT);
        let mut below_comment = false;
        let stop = member.stop.map(|stop| stop.piece);
        let mut pieces = &mut member.pieces[..];
        let mut index = 0;
        while let Some((piece, rest)) = pieces.split_first_mut() {
            let starts = match piece {
                Piece::Word(word) => word.line,
                Piece::Comment { own_line, .. } => *own_line,
                Piece::LongText { .. } | Piece::Group(_) => false,
            };
            let space = match piece {
                Piece::Word(word) => word.space,
                Piece::LongText { space, .. } => *space,
                Piece::Comment { .. } => true,
                Piece::Group(group) => group.space,
            };
            if index > 0 && (starts || below_comment) {
                indent = further;
                self.line_at(indent);
            } else if space {
                self.blanks(1);
            }
            if stop == Some(index) {
                self.blanks(padding);
            }
            match piece {
                Piece::Word(word) => self.push(word.text),
                Piece::Comment { text, .. } => self.push(text),
                Piece::LongText { lines, .. } => self.long_text(lines, indent + INDENT),
                Piece::Group(group) => {
                    if group.multiline || !group.items.is_empty() && !self.fits(group, rest, after) {
                        self.broken(group, indent);
                    } else {
                        self.flat(group);
                    }
                }
            }
            below_comment = matches!(piece, Piece::Comment { .. });
            (pieces, index) = (rest, index + 1);
        }
    }

    /// Whether brackets fit on this line, with what has to follow there.
    fn fits(&self, group: &Group<'_>, rest: &[Piece<'_>], after: usize) -> bool {
        let mut column = self.column + group.width;
        let mut after = after;
        for piece in rest {
            if column > WIDTH {
                return false;
            }
            if piece.is_multiline() {
                after = match piece {
                    Piece::Group(group) => usize::from(group.space) + 1,
                    Piece::LongText { space, lines } => {
                        usize::from(*space) + lines.first().map_or(0, |line| line.chars().count())
                    }
                    Piece::Word(_) | Piece::Comment { .. } => 0,
                };
                break;
            }
            column += piece.width();
        }
        column + after <= WIDTH
    }

    /// Brackets on one line.
    fn flat(&mut self, group: &Group<'_>) {
        self.push(group.style.open());
        let padding = if group.items.is_empty() { "" } else { group.style.padding() };
        self.push(padding);
        for (index, item) in group.items.iter().enumerate() {
            let ItemKind::Member(member) = &item.kind else { continue };
            for piece in &member.pieces {
                match piece {
                    Piece::Word(word) => {
                        self.blanks(usize::from(word.space));
                        self.push(word.text);
                    }
                    Piece::Group(group) => {
                        self.blanks(usize::from(group.space));
                        self.flat(group);
                    }
                    Piece::LongText { .. } | Piece::Comment { .. } => {}
                }
            }
            if index + 1 < group.items.len() {
                self.push(if member.comma { ", " } else { " " });
            }
        }
        self.push(padding);
        self.push(group.style.close());
    }

    /// Brackets with a line, or more, for each member.
    fn broken(&mut self, group: &mut Group<'_>, indent: usize) {
        self.push(group.style.open());
        self.note(group.note);
        let inner = indent + INDENT;
        let comma = group.style != Style::Braces;
        let paddings = align::paddings(&group.items, inner);
        for (index, (item, padding)) in group.items.iter_mut().zip(paddings).enumerate() {
            if item.blank && index > 0 {
                self.line();
            }
            self.line_at(inner);
            match &mut item.kind {
                ItemKind::Comment(text) => self.push(text),
                ItemKind::Member(member) => {
                    self.member(member, inner, padding, usize::from(comma));
                    if comma {
                        self.push(",");
                    }
                    self.note(member.note);
                }
            }
        }
        self.line_at(indent);
        self.push(group.style.close());
    }

    /// A comment at the end of a line.
    pub fn note(&mut self, note: Option<&str>) {
        if let Some(text) = note {
            self.blanks(1);
            self.push(text);
        }
    }

    /// A `"""` text whose closing line is indented like this.
    fn long_text(&mut self, lines: &[&str], indent: usize) {
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                self.line();
                // An empty line needs no indentation; only the last one says how far all are indented.
                if !line.is_empty() || index + 1 == lines.len() {
                    self.blanks(indent);
                }
            }
            self.push(line);
        }
    }
}

//! A declaration as the formatter sees it: words in order, comments among them, brackets with their members.

/// One stretch of a member.
#[derive(Debug)]
pub(super) enum Piece<'s> {
    /// A name, a value or a mark.
    Word(Word<'s>),
    /// `"""…"""` over several lines.
    LongText {
        /// Whether a blank stands before it.
        space: bool,
        /// Its lines, quotes and all; the indentation of the closing line is taken off all but the first.
        lines: Vec<&'s str>,
    },
    /// `// …` in the middle of a member. The rest of the member goes on below it.
    Comment {
        /// Its text.
        text: &'s str,
        /// Whether it has a line of its own.
        own_line: bool,
    },
    /// Brackets.
    Group(Group<'s>),
}

/// A name, a value or a mark.
#[derive(Debug)]
pub(super) struct Word<'s> {
    /// As written.
    pub text: &'s str,
    /// Whether a blank stands before it.
    pub space: bool,
    /// Whether a new line begins with it.
    pub line: bool,
    /// Columns.
    pub width: usize,
}

/// Brackets and what is between them.
#[derive(Debug)]
pub(super) struct Group<'s> {
    /// Whether a blank stands before it.
    pub space: bool,
    /// Which brackets.
    pub style: Style,
    /// Whether it is written over several lines.
    pub multiline: bool,
    /// A comment behind the opening bracket.
    pub note: Option<&'s str>,
    /// In source order.
    pub items: Vec<Item<'s>>,
    /// Columns, where all is on one line.
    pub width: usize,
}

/// The brackets, and how their members are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `{ a = 1, b = 2 }`; over several lines a newline separates.
    Braces,
    /// `(a, b)`; over several lines every member has its comma.
    Parentheses,
    /// `[a, b]`, likewise.
    Brackets,
}

impl Style {
    pub fn open(self) -> &'static str {
        match self {
            Style::Braces => "{",
            Style::Parentheses => "(",
            Style::Brackets => "[",
        }
    }

    pub fn close(self) -> &'static str {
        match self {
            Style::Braces => "}",
            Style::Parentheses => ")",
            Style::Brackets => "]",
        }
    }

    /// The blank inside the brackets, where all is on one line.
    pub fn padding(self) -> &'static str {
        if self == Style::Braces { " " } else { "" }
    }
}

/// A line, or more, between brackets.
#[derive(Debug)]
pub(super) struct Item<'s> {
    /// Whether a blank line stands before it.
    pub blank: bool,
    /// What it is.
    pub kind: ItemKind<'s>,
}

/// What stands between brackets.
#[derive(Debug)]
pub(super) enum ItemKind<'s> {
    /// A comment, or documentation, on a line of its own.
    Comment(&'s str),
    /// A member.
    Member(Member<'s>),
}

/// A member of brackets, or a declaration.
#[derive(Debug, Default)]
pub(super) struct Member<'s> {
    /// In source order.
    pub pieces: Vec<Piece<'s>>,
    /// Where it lines up with its neighbours.
    pub stop: Option<Stop>,
    /// Whether it has to go over several lines.
    pub multiline: bool,
    /// Whether a comma is written behind it.
    pub comma: bool,
    /// A comment behind it.
    pub note: Option<&'s str>,
    /// Columns, where all is on one line.
    pub width: usize,
}

/// The `=` of a member, which lines up with those of its neighbours of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// Whose neighbours: entries and settings are of one kind, steps of another.
    pub kind: StopKind,
    /// Which piece it is.
    pub piece: usize,
    /// Columns before it.
    pub width: usize,
}

/// Members that line up with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopKind {
    /// `name = value`, and `service { … }` in a provider.
    Entry,
    /// `infrastructure NAME = …`
    Infrastructure,
    /// `step NAME = …`
    Step,
    /// `stage NAME = …`
    Stage,
}

impl Piece<'_> {
    /// Columns with the blank before it, where all is on one line.
    pub fn width(&self) -> usize {
        match self {
            Piece::Word(word) => usize::from(word.space) + word.width,
            Piece::Group(group) => usize::from(group.space) + group.width,
            Piece::LongText { .. } | Piece::Comment { .. } => 0,
        }
    }

    /// Whether it has to go over several lines.
    pub fn is_multiline(&self) -> bool {
        match self {
            Piece::Word(word) => word.line,
            Piece::Group(group) => group.multiline,
            Piece::LongText { .. } | Piece::Comment { .. } => true,
        }
    }
}

impl Member<'_> {
    /// Whether it can be broken: it has brackets that are not empty, or operators.
    pub fn is_breakable(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Group(group) => !group.items.is_empty(),
            Piece::Word(word) => word.is_joint(),
            Piece::LongText { .. } | Piece::Comment { .. } => false,
        })
    }

    /// Lets a line begin with every operator that stands in no parentheses.
    pub fn break_at_joints(&mut self) {
        let mut depth = 0usize;
        for piece in &mut self.pieces {
            let Piece::Word(word) = piece else { continue };
            match word.text {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                _ => word.line |= depth == 0 && word.is_joint(),
            }
        }
    }
}

impl Word<'_> {
    /// Whether a line that is too long is best broken before it.
    fn is_joint(&self) -> bool {
        matches!(self.text, "&&" | "||" | "then" | "else")
    }
}

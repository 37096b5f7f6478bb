//! What a byte can be: one table for all questions that the matcher asks of single bytes.

use unicode_general_category::{GeneralCategory, get_general_category};

/// Begins a name.
pub(super) const START: u8 = 1;
/// Goes on with a name.
pub(super) const MORE: u8 = 2;
/// A space, a tab or a carriage return.
pub(super) const BLANK: u8 = 4;
/// Blanks, newlines and other control characters up to the space.
pub(super) const SPACE: u8 = 8;
/// Ends what was not understood: a newline, a comma or a closing bracket. So does `//`.
pub(super) const STOP: u8 = 16;
/// An opening brace.
pub(super) const BRACE: u8 = 32;
/// A newline.
pub(super) const NEWLINE: u8 = 64;
/// May end the plain characters of a text.
pub(super) const QUOTED: u8 = 128;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let mut class = 0;
        if byte.is_ascii_alphabetic() || byte == b'_' {
            class |= START | MORE;
        }
        if byte.is_ascii_digit() || byte == b'-' {
            class |= MORE;
        }
        if matches!(byte, b' ' | b'\t' | b'\r') {
            class |= BLANK;
        }
        if matches!(byte, b'\t'..=b' ') {
            class |= SPACE;
        }
        if matches!(byte, b'\n' | b',' | b'}' | b')' | b']') {
            class |= STOP;
        }
        if byte == b'{' {
            class |= BRACE;
        }
        if byte == b'\n' {
            class |= NEWLINE;
        }
        if matches!(byte, b'"' | b'\\' | b'$') {
            class |= QUOTED;
        }
        table[at] = class;
        at += 1;
    }
    table
};

/// Whether a byte is one of some classes.
pub(super) fn is(byte: u8, classes: u8) -> bool {
    CLASSES[usize::from(byte)] & classes != 0
}

/// Whether a character of more than one byte is a letter, as Unicode has it.
pub(super) fn is_letter(character: char) -> bool {
    matches!(
        get_general_category(character),
        GeneralCategory::UppercaseLetter
            | GeneralCategory::LowercaseLetter
            | GeneralCategory::TitlecaseLetter
            | GeneralCategory::ModifierLetter
            | GeneralCategory::OtherLetter
    )
}

//! Numbers: integers, percentages and durations, and what people write instead of them.

use super::Build;
use crate::ast::{Expr, ExprKind, Span};
use crate::message;
use crate::syntax::Pair;

/// Units in descending order, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The type of the number that a text would be if it stood without its quotes.
pub fn number_type(text: &str) -> Option<&'static str> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(match read(text).ok()? {
        Number::Int(_) => "int",
        Number::Percent(_) => "percent",
        Number::Duration(_) => "duration",
    })
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Int(i64),
    Percent(u32),
    Duration(u64),
}

/// What is wrong with a number.
enum Wrong {
    Negative,
    Range,
    /// The number that was probably meant, where it can be written.
    Fraction(Option<(Number, String)>),
    /// Understood all the same, in the order in which it should stand.
    Order(Number, String),
    Unit(String),
}

impl<'s> Build<'s> {
    /// A number and the unit that stands apart from it, if one does.
    pub(super) fn number(&mut self, pair: &Pair<'_>, unit: Option<Pair<'_>>) -> Option<Number> {
        let Some(unit) = unit else {
            let text = pair.as_str();
            return match read(text) {
                Ok(number) => Some(number),
                Err(wrong) => self.wrong_number(text, self.span(pair), wrong),
            };
        };
        let span = self.span(pair).to(self.span(&unit));
        let text = format!("{}{}", pair.as_str(), short_unit(unit.as_str()));
        let number = read(&text).ok();
        self.errors.push(
            message::spelling(span, format!("a space stands before the unit of `{text}`"), "one word")
                .help("a number and its unit are written together")
                .replace(format!("write `{text}`"), span, text),
        );
        if number.is_none() {
            self.damage();
        }
        number
    }

    pub(super) fn number_expr(&mut self, pair: &Pair<'_>, unit: Option<Pair<'_>>) -> Option<Expr> {
        let start = self.span(pair);
        let span = unit.as_ref().map_or(start, |unit| start.to(self.span(unit)));
        let kind = match self.number(pair, unit)? {
            Number::Int(value) => ExprKind::Int(value),
            Number::Percent(value) => ExprKind::Percent(value),
            Number::Duration(value) => ExprKind::Duration(value),
        };
        Some(Expr { span, kind })
    }

    /// A number where only an integer can stand.
    pub(super) fn integer(&mut self, pair: &Pair<'_>) -> Option<i64> {
        match self.number(pair, None)? {
            Number::Int(value) => Some(value),
            _ => self.other_number(pair, "a number without a unit"),
        }
    }

    /// A number where only an integer from 0 to 4294967295 can stand.
    pub(super) fn count(&mut self, pair: &Pair<'_>) -> Option<u32> {
        let value = self.integer(pair)?;
        match u32::try_from(value) {
            Ok(value) => Some(value),
            Err(_) => self.wrong_number(pair.as_str(), self.span(pair), Wrong::Range).map(|_| 0),
        }
    }

    /// A number where only a percentage can stand.
    pub(super) fn percent(&mut self, pair: &Pair<'_>) -> Option<u32> {
        match self.number(pair, None)? {
            Number::Percent(value) => Some(value),
            _ => self.other_number(pair, "a percentage, like `20%`"),
        }
    }

    /// A number where only a duration can stand.
    pub(super) fn duration(&mut self, pair: &Pair<'_>, unit: Option<Pair<'_>>) -> Option<u64> {
        match self.number(pair, unit)? {
            Number::Duration(value) => Some(value),
            _ => self.other_number(pair, "a duration, like `10m`"),
        }
    }

    fn other_number<T>(&mut self, pair: &Pair<'_>, what: &str) -> Option<T> {
        let span = self.span(pair);
        self.report(message::number(span, format!("expected {what}, found `{}`", pair.as_str()), what));
        self.damage();
        None
    }

    fn wrong_number(&mut self, text: &str, span: Span, wrong: Wrong) -> Option<Number> {
        let (error, number) = match wrong {
            Wrong::Negative => {
                let error = message::number(span, format!("`{text}` is negative"), "numbers have no sign");
                (error.help("the language has no negative numbers and no subtraction"), None)
            }
            Wrong::Range => {
                (message::number(span, format!("`{text}` is out of range"), "too large a number"), None)
            }
            Wrong::Fraction(meant) => {
                let error =
                    message::number(span, format!("`{text}` is not a whole number"), "whole numbers only");
                match meant {
                    Some((number, meant)) => {
                        let help = format!("write `{meant}`");
                        (error.help(help.clone()).replace(help, span, meant), Some(number))
                    }
                    None => (error.help("numbers are whole; use a smaller unit"), None),
                }
            }
            Wrong::Order(number, meant) => {
                let error = message::number(
                    span,
                    format!("the units of `{text}` do not descend"),
                    "each unit smaller than the one before, each once",
                );
                let help = format!("write `{meant}`");
                (error.help(help.clone()).replace(help, span, meant), Some(number))
            }
            Wrong::Unit(unit) => {
                let message = match unit.as_str() {
                    "" => format!("`{text}` ends without a unit"),
                    _ => format!("`{unit}` in `{text}` is not a unit"),
                };
                let error = message::number(span, message, "not a number the language knows");
                let full = match text.contains('_') {
                    true => Some(text.replace('_', "")),
                    false => text
                        .strip_suffix(unit.as_str())
                        .map(|digits| format!("{digits}{}", short_unit(&unit))),
                };
                match full.and_then(|full| read(&full).ok().map(|number| (full, number))) {
                    Some((full, number)) => {
                        let help = format!("write `{full}`");
                        (error.help(help.clone()).replace(help, span, full), Some(number))
                    }
                    None => (error.help("units are `ms`, `s`, `m`, `h`, `d` for durations, and `%`"), None),
                }
            }
        };
        self.report(error);
        if number.is_none() {
            self.damage();
        }
        number
    }
}

/// Reads a number and its units.
fn read(text: &str) -> Result<Number, Wrong> {
    if text.starts_with('-') {
        return Err(Wrong::Negative);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match &text[digits..] {
        "" => text.parse().map(Number::Int).map_err(|_| Wrong::Range),
        "%" => text[..digits].parse().map(Number::Percent).map_err(|_| Wrong::Range),
        rest if rest.starts_with('.') => Err(Wrong::Fraction(fraction(text))),
        _ => duration(text),
    }
}

fn duration(text: &str) -> Result<Number, Wrong> {
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    let mut ordered = true;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let length = rest[digits..].bytes().take_while(|byte| !byte.is_ascii_digit()).count();
        let unit = &rest[digits..digits + length];
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(Wrong::Unit(unit.into()));
        };
        let value: u64 = rest[..digits].parse().map_err(|_| Wrong::Range)?;
        let value = value.checked_mul(*size).ok_or(Wrong::Range)?;
        total = total.checked_add(value).ok_or(Wrong::Range)?;
        ordered &= *size < last;
        last = *size;
        rest = &rest[digits + length..];
    }
    // Later passes count in signed milliseconds.
    if i64::try_from(total).is_err() {
        return Err(Wrong::Range);
    }
    match ordered {
        true => Ok(Number::Duration(total)),
        false => Err(Wrong::Order(Number::Duration(total), write(total))),
    }
}

/// What `1.5h` means, if it comes to whole milliseconds.
fn fraction(text: &str) -> Option<(Number, String)> {
    let (whole, rest) = text.split_once('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (_, size) = UNITS.iter().find(|(name, _)| *name == &rest[digits..])?;
    let scale = 10u64.checked_pow(u32::try_from(digits).ok()?)?;
    let part = rest[..digits].parse::<u64>().ok()?.checked_mul(*size)?;
    if part % scale != 0 {
        return None;
    }
    let total = whole.parse::<u64>().ok()?.checked_mul(*size)?.checked_add(part / scale)?;
    Some((Number::Duration(total), write(total)))
}

/// Writes a duration with descending units.
fn write(mut milliseconds: u64) -> String {
    let mut text = String::new();
    for (unit, size) in UNITS {
        if milliseconds >= size {
            text.push_str(&format!("{}{unit}", milliseconds / size));
            milliseconds %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// The unit that a longer word means.
fn short_unit(word: &str) -> &str {
    match word {
        "milliseconds" => "ms",
        "second" | "seconds" | "sec" | "secs" => "s",
        "minute" | "minutes" | "min" | "mins" => "m",
        "hour" | "hours" | "hr" | "hrs" => "h",
        "day" | "days" => "d",
        other => other,
    }
}

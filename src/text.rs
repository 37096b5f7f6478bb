//! Text that came from outside, made fit for a terminal.

/// How many characters of a reason stand in a table.
const REASON: usize = 300;

/// Control characters are shown, not obeyed: what a script printed must not move a cursor or rename a window. Line ends
/// and tabs stay.
pub fn harmless(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => result.push(c),
            '\r' => {}
            c if c.is_control() => result.extend(c.escape_default()),
            c => result.push(c),
        }
    }
    result
}

/// Several lines as one, cut where it gets long.
pub fn one_line(text: &str) -> String {
    let line =
        harmless(text).lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ");
    match line.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_shown() {
        assert_eq!(harmless("\x1b]0;x\x07 a\tb\r\nc"), "\\u{1b}]0;x\\u{7} a\tb\nc");
    }

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(one_line("a:\n  b\n\nc"), "a: / b / c");
        assert_eq!(one_line(&"ä".repeat(400)).chars().count(), REASON + 1);
    }
}

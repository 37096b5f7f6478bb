//! Diagnostics as annotations of GitHub Actions: workflow commands, one for each line.

use lockstep_compiler::CheckOutput;
use std::fmt::Write;

/// The annotations.
pub fn annotations(output: &CheckOutput) -> String {
    let mut text = String::new();
    for diagnostic in &output.diagnostics {
        let place = &diagnostic.place;
        let command = if diagnostic.severity == "note" { "notice" } else { diagnostic.severity };
        let mut message = diagnostic.message.clone();
        for line in diagnostic.help.iter() {
            let _ = write!(message, "\nhelp: {line}");
        }
        let _ = writeln!(
            text,
            "::{command} file={},line={},col={},endLine={},endColumn={},title={}::{}",
            property(&place.file),
            place.line,
            place.column,
            place.end_line,
            place.end_column,
            property(diagnostic.rule),
            data(&message),
        );
    }
    text
}

/// Characters that end a message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Characters that end a property besides.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_can_end_a_command() {
        assert_eq!(data("50%\nmore"), "50%25%0Amore");
        assert_eq!(property("a,b:c"), "a%2Cb%3Ac");
    }
}

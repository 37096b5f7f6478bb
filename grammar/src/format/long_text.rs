//! `"""` texts: they move with the member they belong to, and keep their value.

use crate::syntax::{Pair, Rule};

/// The lines of a `"""` text that has several. What the closing line is indented by is no part of the value, so it is
/// taken off every line here, to be put back as the place of the text wants it.
///
/// Newlines in a `${…}` are not the text's own, and separate no lines.
pub(super) fn lines(pair: Pair<'_>) -> Vec<&str> {
    let text = pair.as_str();
    let mut starts = Vec::new();
    for chunk in pair.into_inner().filter(|chunk| chunk.as_rule() == Rule::long_chunk) {
        let start = chunk.start() - pair.start();
        starts.extend(chunk.as_str().match_indices('\n').map(|(at, _)| start + at + 1));
    }
    let Some(last) = starts.last() else { return vec![text] };
    let closing = &text[*last..];
    let indent = &closing[..closing.len() - closing.trim_start_matches([' ', '\t']).len()];
    let mut lines = Vec::with_capacity(starts.len() + 1);
    let first = text[..starts[0]].trim_end_matches(['\n', '\r']);
    // Blanks behind the opening quotes are dropped with the newline.
    let opening = first.trim_end_matches([' ', '\t']);
    lines.push(if opening == "\"\"\"" { opening } else { first });
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(text.len());
        let line = &text[*start..end];
        let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
        let common = line.bytes().zip(indent.bytes()).take_while(|(a, b)| a == b).count();
        lines.push(&line[common..]);
    }
    lines
}

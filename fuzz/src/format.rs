//! Formatting.

use lockstep_grammar::{Comment, format, parse};

/// Everything but space and separators.
fn solid(text: &str) -> String {
    text.trim_start_matches('\u{FEFF}').chars().filter(|c| !c.is_whitespace() && *c != ',').collect()
}

fn texts<'s>(source: &'s str, comments: &[Comment]) -> Vec<&'s str> {
    comments.iter().map(|it| &source[it.span.start as usize..it.span.end as usize]).collect()
}

/// A debug representation without the positions in it.
fn shape(debug: &str) -> String {
    let mut pieces = debug.split("Span { ");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(piece.split_once('}').map_or(piece, |(_, rest)| rest));
    }
    text
}

/// Formatting again changes nothing, and nothing gets lost; of a file without errors the tree and the comments stay.
pub fn is_stable(source: &str) {
    let formatted = format(source);
    assert_eq!(solid(source), solid(&formatted.text), "text got lost");
    assert_eq!(format(&formatted.text).text, formatted.text, "formatted twice");
    let before = parse(source);
    if !before.errors.is_empty() {
        return;
    }
    let after = parse(&formatted.text);
    assert_eq!(after.errors, [], "{}", formatted.text);
    assert_eq!(shape(&format!("{:?}", before.file)), shape(&format!("{:?}", after.file)), "another tree");
    assert_eq!(texts(source, &before.comments), texts(&formatted.text, &after.comments), "other comments");
}

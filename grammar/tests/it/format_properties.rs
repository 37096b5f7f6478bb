//! However a file is spaced and commented: its form is the same a second time, and nothing of it gets lost.

use crate::properties::soup;
use crate::support::shape;
use lockstep_grammar::{Formatted, Parse, format, parse};
use proptest::prelude::*;
use std::path::Path;

/// The declarations of valid sources, each with what stands above it.
fn corpus() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![include_str!("corpus/whole.lockstep").to_owned()];
    for folder in ["../compiler/src/prelude", "../examples/quickstart", "../examples/two-regions"] {
        let mut paths: Vec<_> =
            std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let sources_here =
            paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "lockstep"));
        sources.extend(sources_here.map(|path| std::fs::read_to_string(path).unwrap()));
    }
    assert!(sources.len() > 7);
    // Declaration by declaration, so that a case is small.
    let mut pieces = Vec::new();
    for source in &sources {
        let mut start = 0;
        for declaration in &parse(source).file.declarations {
            let (middle, end) = (declaration.span.start as usize, declaration.span.end as usize);
            pieces.push((source[start..middle].to_owned(), source[middle..end].to_owned() + "\n"));
            start = end;
        }
    }
    pieces
}

/// A source cut into what may be respaced and what may not.
#[derive(Debug, PartialEq)]
enum Bit {
    Blank(String),
    Solid(String),
}

fn bits(source: &str) -> Vec<Bit> {
    let mut bits = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let blank = rest.len() - rest.trim_start_matches([' ', '\n']).len();
        let solid = match rest {
            _ if blank > 0 => blank,
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("\"\"\"") => rest[3..].find("\"\"\"").unwrap() + 6,
            _ if rest.starts_with('"') => short_text(rest),
            _ if rest.starts_with(|c: char| c.is_ascii_punctuation()) => punctuation(rest),
            _ => rest
                .find(|c: char| {
                    c.is_whitespace() || c.is_ascii_punctuation() && !matches!(c, '_' | '-' | '.' | '%')
                })
                .unwrap_or(rest.len()),
        };
        let (bit, after) = rest.split_at(solid);
        bits.push(if blank > 0 { Bit::Blank(bit.to_owned()) } else { Bit::Solid(bit.to_owned()) });
        rest = after;
    }
    bits
}

/// Where a `"…"` without text in its `${…}` ends.
fn short_text(text: &str) -> usize {
    let mut escaped = false;
    let end = text[1..].char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.unwrap().0 + 2
}

fn punctuation(text: &str) -> usize {
    let two = ["&&", "||", "==", "!=", "<=", ">=", "->", "..", ".*"];
    if two.iter().any(|mark| text.starts_with(mark)) { 2 } else { 1 }
}

/// The source with other blanks, newlines and comments, as the numbers decide.
fn respaced(source: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().copied().cycle();
    let mut choice = move || choices.next().unwrap_or_default();
    let mut text = String::new();
    let bits = bits(source);
    for (index, bit) in bits.iter().enumerate() {
        match bit {
            Bit::Solid(solid) => {
                text.push_str(solid);
                let spaced = matches!(bits.get(index + 1), Some(Bit::Blank(_)) | None);
                let open = matches!(solid.as_str(), "{" | "(" | "[" | "," | "=" | "&&" | "||" | "==" | ">=");
                if open && !spaced && choice() < 30 {
                    text.push_str("\n ");
                }
            }
            Bit::Blank(blank) if blank.contains('\n') => {
                match choice() {
                    0..20 => text.push_str(" // behind"),
                    20..30 => text.push_str("/// behind, as documentation"),
                    _ => {}
                }
                for _ in 0..=choice() % 3 {
                    text.push_str(if choice() < 20 { " \t\r\n" } else { "\n" });
                    match choice() {
                        0..20 => text.push_str("    // alone"),
                        20..30 => text.push_str("/// documentation"),
                        30..40 => text.push_str("//alone  "),
                        _ => continue,
                    }
                    text.push('\n');
                }
                text.push_str(&" ".repeat(usize::from(choice() % 9)));
            }
            Bit::Blank(_) => {
                let before = text.ends_with(['{', '(', '[', ',', '=', '&', '|']);
                match choice() {
                    0..30 if before => text.push_str("\n\n   "),
                    30..45 if before => text.push_str(" // inside\n"),
                    45..60 => text.push_str("\t  "),
                    _ => text.push(' '),
                }
            }
        }
    }
    text
}

/// Everything but space and separators.
fn solid(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect()
}

/// The comments, each with whether it has a line of its own.
fn comments<'s>(source: &'s str, parse: &Parse) -> Vec<(&'s str, bool)> {
    parse
        .comments
        .iter()
        .map(|comment| {
            let (start, end) = (comment.span.start as usize, comment.span.end as usize);
            let line = source[..start].rfind('\n').map_or(0, |at| at + 1);
            (&source[start..end], source[line..start].trim().is_empty())
        })
        .collect()
}

/// What holds for every source, right or wrong.
fn check_text(source: &str, result: &Formatted) -> Result<(), TestCaseError> {
    prop_assert_eq!(solid(source), solid(&result.text), "{}\n--->\n{}", source, result.text);
    prop_assert_eq!(&format(&result.text).text, &result.text, "from\n{}", source);
    prop_assert_eq!(result.left.is_empty(), parse(source).errors.is_empty(), "{:?}", result.left);
    Ok(())
}

/// What holds for every source without errors.
fn check(source: &str) -> Result<(), TestCaseError> {
    let result = format(source);
    check_text(source, &result)?;
    let (before, after) = (parse(source), parse(&result.text));
    prop_assert_eq!(shape(&before.file), shape(&after.file), "{}\n--->\n{}", source, result.text);
    prop_assert_eq!(
        comments(source, &before),
        comments(&result.text, &after),
        "{}\n--->\n{}",
        source,
        result.text
    );
    prop_assert_eq!(before.errors, vec![], "{}", source);
    prop_assert_eq!(after.errors, vec![], "{}\n--->\n{}", source, result.text);
    Ok(())
}

/// A declaration with comments above it.
fn piece() -> impl Strategy<Value = (String, String)> {
    (prop::sample::select(corpus()), prop::collection::vec(any::<u8>(), 40..400)).prop_map(
        |((above, declaration), choices)| (respaced(&above, &choices), respaced(&declaration, &choices)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_spacing_comes_to_the_same((above, declaration) in piece()) {
        let source = above + &declaration;
        check(&source)?;
    }

    #[test]
    fn a_fault_costs_no_text(
        pieces in prop::collection::vec(piece(), 2..4),
        at in any::<prop::sample::Index>(),
        put in "[{}()\"=,x]?",
    ) {
        // Declarations start their lines: that is how the parser knows where a faulty one ends.
        let mut source = String::new();
        for (above, declaration) in &pieces {
            source += above.trim_end_matches([' ', '\t']);
            source += declaration.trim_end_matches([' ', '\t']);
        }
        let (at, old) = *at.get(&source.char_indices().collect::<Vec<_>>());
        source.replace_range(at..at + old.len_utf8(), &put);
        check_text(&source, &format(&source))?;
    }

    #[test]
    fn soup_keeps_its_text(source in soup()) {
        check_text(&source, &format(&source))?;
    }
}

//! Whatever the input: no panic, and every position lies in the text.

use crate::support::apply;
use lockstep_grammar::ast::Span;
use lockstep_grammar::{Parse, parse};
use proptest::prelude::*;

/// Tokens that make interesting soup.
const TOKENS: &[&str] = &[
    "workflow",
    "pipeline",
    "service",
    "environment",
    "provider",
    "group",
    "phase",
    "step",
    "section",
    "barrier",
    "stage",
    "lane",
    "parallel",
    "rollback",
    "on",
    "failure",
    "skip",
    "only",
    "if",
    "then",
    "else",
    "in",
    "for",
    "true",
    "retry",
    "every",
    "ask",
    "within",
    "notify",
    "use",
    "import",
    "max",
    "all_or_nothing",
    "of",
    "under",
    "hosts",
    "a",
    "b.c",
    "x-1",
    "größe",
    "1",
    "10m",
    "20%",
    "1.5h",
    "\"",
    "\"t\"",
    "\"\"\"",
    "${",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    "=",
    "==",
    ":",
    ",",
    ";",
    ".",
    ".*",
    "..",
    "->",
    "=>",
    "<",
    ">",
    "|",
    "||",
    "&&",
    "!",
    "?",
    "-",
    "+",
    "#",
    "//",
    "///",
    "//!",
    "/*",
    "*/",
    "'",
    "`",
    "\\",
    "\n",
    "\n",
    "\r\n",
    "\nworkflow w {\n",
    "\nservice s",
    "\u{A0}",
    "\u{201C}",
    "é",
    "𝄞",
    "@",
];

pub fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(TOKENS), prop::bool::weighted(0.7)), 0..60).prop_map(
        |tokens| {
            tokens.into_iter().fold(String::new(), |mut text, (token, space)| {
                text.push_str(token);
                text.push_str(if space { " " } else { "" });
                text
            })
        },
    )
}

/// Checks every position in a result.
fn check(source: &str, parse: &Parse) -> Result<(), TestCaseError> {
    let inside = |span: Span| {
        let (start, end) = (span.start as usize, span.end as usize);
        start <= end && end <= source.len() && source.is_char_boundary(start) && source.is_char_boundary(end)
    };
    for error in &parse.errors {
        prop_assert!(inside(error.span), "{error:?}");
        prop_assert!(!error.message.contains("levels deep"), "the grammar failed");
        if let Some((span, _)) = &error.related {
            prop_assert!(inside(*span), "{error:?}");
        }
        if let Some((_, edits)) = &error.fix {
            prop_assert!(edits.iter().all(|(span, _)| inside(*span)), "{error:?}");
            apply(source, edits);
        }
    }
    prop_assert!(
        parse.errors.windows(2).all(|pair| pair[0].span.start < pair[1].span.start),
        "one report for a place"
    );
    prop_assert!(parse.comments.iter().all(|comment| inside(comment.span)));
    prop_assert!(parse.damaged.iter().all(|span| inside(*span)));
    prop_assert!(parse.errors.is_empty() <= parse.damaged.is_empty(), "damage without an error");
    let mut last = 0;
    for declaration in &parse.file.declarations {
        prop_assert!(
            inside(declaration.span) && inside(declaration.name.span) && inside(declaration.keyword)
        );
        prop_assert!(declaration.span.start >= last, "declarations overlap");
        last = declaration.span.end;
    }
    // Every position in the tree, by its debug representation.
    let tree = format!("{:?}", parse.file);
    for span in tree.split("Span { start: ").skip(1) {
        let mut numbers = span.split([',', ':', ' ', '}']).filter_map(|word| word.parse::<u32>().ok());
        let span =
            Span { start: numbers.next().unwrap_or_default(), end: numbers.next().unwrap_or_default() };
        prop_assert!(inside(span), "{span:?} in {tree}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn soup_is_read(source in soup()) {
        check(&source, &parse(&source))?;
    }

    #[test]
    fn soup_in_a_body_is_read(source in soup(), place in 0..6usize) {
        let before = [
            "workflow w {\n  phase p {\n    step s = shell { a = ",
            "workflow w {\n  phase p { on failure ",
            "pipeline p {\n  parallel {\n    stage s = ",
            "provider p {\n  step s(a: ",
            "group g {\n  a = \"",
            "environment e { a = \"\"\"",
        ][place];
        let source = format!("group first {{ }}\n{before}{source}\n\ngroup last {{ }}\n");
        let parse = parse(&source);
        check(&source, &parse)?;
        prop_assert!(parse.file.declarations[0].name.text == "first");
    }

    #[test]
    fn any_text_is_read(source in "\\PC{0,80}") {
        check(&source, &parse(&source))?;
    }
}

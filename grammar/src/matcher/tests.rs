//! Holds the matcher to the grammar as it is written: `tests/lockstep.pest`, run by pest, gives the same tree for everything.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use crate::repair::Repaired;
use crate::scan::scan;
use crate::syntax::Node;
use pest::Parser;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

mod definition {
    //! The grammar, as pest reads it.

    #![allow(missing_docs, reason = "generated")]

    #[derive(pest_derive::Parser)]
    #[grammar = "../tests/lockstep.pest"]
    pub struct Grammar;
}

use definition::{Grammar, Rule};

/// A tree as text: a node a line, with its range, indented by its depth.
fn shown(rule: &dyn std::fmt::Debug, start: usize, end: usize, depth: usize, out: &mut String) {
    writeln!(out, "{:depth$}{rule:?} {start}..{end}", "").unwrap();
}

/// The tree of the definition. Nobody looks into what was not understood, so that is a leaf.
fn defined(rule: Rule, text: &str) -> Option<String> {
    fn show(pair: pest::iterators::Pair<'_, Rule>, depth: usize, out: &mut String) {
        let (rule, span) = (pair.as_rule(), pair.as_span());
        shown(&rule, span.start(), span.end(), depth, out);
        if !matches!(rule, Rule::bad | Rule::bad_line | Rule::junk | Rule::head_junk | Rule::misplaced) {
            pair.into_inner().for_each(|inner| show(inner, depth + 1, out));
        }
    }
    let pairs = Grammar::parse(rule, text).ok()?;
    let mut out = String::new();
    pairs.for_each(|pair| show(pair, 0, &mut out));
    Some(out)
}

/// The tree of the matcher.
fn matched(rule: Rule, text: &str) -> Option<String> {
    let mut nodes = Vec::new();
    let read = if rule == Rule::hole { super::hole } else { super::file };
    read(text, &mut nodes).ok()?;
    let mut out = String::new();
    let mut ends: Vec<usize> = Vec::new();
    for (index, Node { rule, start, end, inside }) in nodes.into_iter().enumerate() {
        while ends.last().is_some_and(|end| *end <= index) {
            ends.pop();
        }
        shown(&rule, start as usize, end as usize, ends.len(), &mut out);
        ends.push(index + 1 + inside as usize);
    }
    Some(out)
}

/// Compares the trees of one text, as it is.
fn agree(rule: Rule, text: &str) -> Result<(), String> {
    let (defined, matched) = (defined(rule, text), matched(rule, text));
    if defined == matched {
        return Ok(());
    }
    let lines =
        |tree: &Option<String>| tree.as_deref().unwrap_or("nothing").lines().map(str::to_owned).collect();
    let (defined, matched): (Vec<String>, Vec<String>) = (lines(&defined), lines(&matched));
    let same = defined.iter().zip(&matched).take_while(|(a, b)| a == b).count();
    let rest = |tree: &[String]| tree[same.saturating_sub(3)..tree.len().min(same + 6)].join("\n");
    Err(format!("{text:?}\ndefined:\n{}\nmatched:\n{}", rest(&defined), rest(&matched)))
}

/// Compares the trees of a source after its repair, which is what the matcher is for.
fn agree_on(source: &str) -> Result<(), String> {
    agree(Rule::file, &Repaired::new(source, &scan(source).edits).text)
}

/// Compares what a source comes to with a scan and without one.
fn same_without_scan(source: &str) -> Result<(), String> {
    match crate::unscanned(source) {
        Some(parse) if parse != crate::scanned(source) => {
            Err(format!("{source:?} without a scan:\n{parse:?}\nwith one:\n{:?}", crate::scanned(source)))
        }
        _ => Ok(()),
    }
}

/// Every text file below some directories of the project.
fn texts() -> Vec<String> {
    fn read(path: &Path, found: &mut Vec<String>) {
        if path.is_dir() {
            let mut entries: Vec<_> = path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            entries.iter().for_each(|entry| read(entry, found));
        } else if let Ok(text) = std::fs::read_to_string(path) {
            found.push(text);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for part in ["examples", "compiler/src/prelude", "grammar/tests", "compiler/tests", "docs/rules"] {
        read(&root.join(part), &mut found);
    }
    found
}

/// Texts that are sources: whole ones, and pieces of tests and pages that hold some.
fn sources() -> Vec<String> {
    texts().into_iter().filter(|text| text.contains("pipeline") || text.contains("workflow")).collect()
}

/// Whether the matcher's table knows a character: pest's may be of a newer version of Unicode.
fn is_known(character: char) -> bool {
    use unicode_general_category::{GeneralCategory, get_general_category};
    get_general_category(character) != GeneralCategory::Unassigned
}

#[test]
fn letters_are_letters() {
    for character in (0x80..=0x10_FFFF).filter_map(char::from_u32).filter(|it| is_known(*it)) {
        let defined = Grammar::parse(Rule::letter, character.encode_utf8(&mut [0; 4])).is_ok();
        assert_eq!(super::class::is_letter(character), defined, "{character:?} U+{:04X}", character as u32);
    }
}

#[test]
fn whatever_the_project_holds() {
    for text in texts() {
        agree_on(&text).unwrap();
        same_without_scan(&text).unwrap();
    }
}

#[test]
fn what_is_right_needs_no_scan() {
    let right = |source: &String| crate::scanned(source).errors.is_empty();
    let sources: Vec<String> = sources().into_iter().filter(right).collect();
    assert!(sources.len() > 30, "{} sources are right", sources.len());
    for source in sources {
        assert!(crate::unscanned(&source).is_some(), "{source}");
    }
}

#[test]
fn what_a_comment_ends_in_means_nothing() {
    let source = "group g {\n  // in YAML a: |\n    x = 1\n}\n";
    assert_eq!(crate::scanned(source).errors, []);
    assert_eq!(crate::unscanned(source), Some(crate::scanned(source)));
}

/// What matches, but is wrong all the same.
#[test]
fn what_only_the_scan_judges() {
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    let holes = format!("{}1{}", "\"${".repeat(100), "}\"".repeat(100));
    for value in [
        "\"a\nb\"",
        "\"a\\\nb\"",
        "\"${a\n}\"",
        "\"${\"\"\"\n\"\"\"}\"",
        "\"\"\"${a // b\n}\"\"\"",
        "\"\"\"${f(a // b\n)}\"\"\"",
        "\"a\0b\"",
        "\u{B}1",
        "\u{1F} 1",
        "\u{A0}1",
        "'a'",
        "<<A\nb\nA\n",
        "|\n  a\n",
        "1;",
        "1 # one",
        "1 /* one */",
        &deep,
        &holes,
    ] {
        let source = format!("group g {{ members = {value}\n}}\n");
        assert_eq!(crate::unscanned(&source), None, "{source:?}");
        assert!(!crate::scanned(&source).errors.is_empty(), "{source:?}");
    }
}

/// Test sources are short texts in Rust: each line by itself, and each text between quotes.
#[test]
fn every_line_and_quoted_text_of_the_tests() {
    let texts = texts();
    let lines: BTreeSet<&str> = texts.iter().flat_map(|text| text.lines()).map(str::trim_start).collect();
    let places = ["", "group g { a = \n", "workflow w {\n phase p {\n  step s = x {\n", "provider p {\n "];
    for (line, place) in lines.into_iter().zip(places.iter().cycle()) {
        agree_on(&format!("{place}{line}")).unwrap();
    }
    for text in &texts {
        for quoted in text.split("r#\"").skip(1).filter_map(|rest| rest.split("\"#").next()) {
            agree_on(quoted).unwrap();
            same_without_scan(quoted).unwrap();
        }
    }
    let quoted: BTreeSet<&str> = texts.iter().flat_map(|text| text.split('"')).collect();
    for quoted in quoted {
        agree_on(&quoted.replace("\\n", "\n")).unwrap();
    }
}

#[test]
fn sources_cut_off_anywhere() {
    let whole = include_str!("../../tests/it/corpus/whole.lockstep");
    for end in (0..whole.len()).step_by(7).filter(|end| whole.is_char_boundary(*end)) {
        let start = whole[..end].rfind("\n\n").unwrap_or(0);
        agree_on(&whole[start..end]).unwrap();
        agree(Rule::file, &whole[start..end]).unwrap_or_default();
    }
}

/// Characters and words that change what stands around them.
const INSERTED: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "\"\"\"",
    "${",
    "\\",
    "=",
    "==",
    ":",
    ":=",
    ",",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\r\n",
    "//",
    "// x\n",
    "/",
    "|",
    "||",
    "&&",
    "!",
    "!=",
    "<",
    ">",
    ">=",
    "?",
    "->",
    ".",
    "..",
    ".*",
    "-",
    "%",
    "1",
    "10 m",
    "1.5",
    "-3",
    "a",
    "a.b",
    "x-1",
    "é",
    "\u{A0}",
    "𝄞",
    "\u{B}",
    "\0",
    "if",
    "then",
    "else",
    "in",
    "in ",
    "true",
    "step",
    "step x",
    "phase {",
    "phase p {",
    "on",
    "on failure",
    "on failure of x under 3% of hosts {",
    "retry 3 every 1s, 2 m then",
    "ask a within 1h then",
    "skip if",
    "only if",
    "use",
    "use r { n = 1 }",
    "notify a on b",
    "parallel",
    "parallel max 3 all_or_nothing {",
    "stage s = w {",
    "stage s[x] = w {",
    "lane",
    "for x in a.b.* {",
    "for x in f(a) {",
    "approval a {",
    "rollback {",
    "section s {",
    "barrier b {",
    "import \"a\" as b",
    "service",
    "service s(a: list<b|c, d>? in [1, 2] = 3) = k {",
    "a: map<string, x>",
    "in 1..20",
    "infrastructure i = k {",
    "artifact a {",
    "service {",
    "changes target",
    "undone by x",
    "irreversible",
    "step s(a: b) -> { c: d } {",
    "name",
    "if a then b else c",
    "!a",
    "a(b, c)",
    "a { b = 1 }",
    "\"x${ a }y\"",
    "\"\"\"\n  x ${a}\n  \"\"\"",
    "workflow w {",
    "\"a\nb\"",
    "\"${a\n}\"",
    "\"\"\"${a // b\n}\"\"\"",
    "'a'",
    "“a”",
    "\u{200B}",
    "# a",
    "/* a */",
    ";",
    "=>",
    "<<A\na\nA\n",
    "= |\n",
    "((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))",
    "\nworkflow w {\n",
    "\npipeline p {\n",
    "\nprovider p {\n",
    "\nenvironment e {\n",
];

/// A change of a source: which token it begins at (as a share of all), and what happens there.
#[derive(Debug, Clone)]
enum Change {
    Delete(usize),
    Duplicate,
    Swap(usize),
    Insert(&'static str),
    Character(char),
    CutOff,
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let what = prop_oneof![
        4 => (1..4usize).prop_map(Change::Delete),
        1 => Just(Change::Duplicate),
        2 => (1..5usize).prop_map(Change::Swap),
        6 => prop::sample::select(INSERTED).prop_map(Change::Insert),
        1 => any::<char>().prop_filter("is known", |it| is_known(*it)).prop_map(Change::Character),
        1 => Just(Change::CutOff),
    ];
    (any::<prop::sample::Index>(), what)
}

/// A text in tokens: words, blanks, and single characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut start = 0;
    let kind = |c: char| {
        if c.is_alphanumeric() || c == '_' {
            1
        } else if c == ' ' {
            2
        } else {
            0
        }
    };
    let mut last = 0;
    for (at, c) in text.char_indices() {
        if at > start && (kind(c) != last || last == 0) {
            tokens.push(&text[start..at]);
            start = at;
        }
        last = kind(c);
    }
    tokens.push(&text[start..]);
    tokens
}

fn changed(source: &str, changes: &[(prop::sample::Index, Change)]) -> String {
    let mut tokens: Vec<String> = tokens(source).into_iter().map(str::to_owned).collect();
    for (at, change) in changes {
        let at = at.index(tokens.len());
        match change {
            Change::Delete(count) => {
                let end = (at + count).min(tokens.len());
                tokens.drain(at..end);
            }
            Change::Duplicate => tokens.insert(at, tokens[at].clone()),
            Change::Swap(by) => {
                let other = (at + by).min(tokens.len() - 1);
                tokens.swap(at, other);
            }
            Change::Insert(text) => tokens.insert(at, (*text).to_owned()),
            Change::Character(c) => tokens.insert(at, c.to_string()),
            Change::CutOff => tokens.truncate(at),
        }
        if tokens.is_empty() {
            tokens.push(String::new());
        }
    }
    tokens.concat()
}

/// A piece of a source, some lines long, that begins with a declaration.
fn piece() -> impl Strategy<Value = String> {
    let sources = sources();
    let pieces: Vec<String> = sources
        .iter()
        .flat_map(|source| source.split("\n\n").collect::<Vec<_>>())
        .filter(|piece| (20..3000).contains(&piece.len()))
        .map(str::to_owned)
        .collect();
    prop::sample::select(pieces)
}

fn run(cases: u32, seconds: Option<u64>) {
    let start = std::time::Instant::now();
    let over = || seconds.is_some_and(|seconds| start.elapsed().as_secs() >= seconds);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    loop {
        let strategy = (piece(), prop::collection::vec(change(), 0..6));
        let mut runner = TestRunner::new(config.clone());
        let result = runner.run(&strategy, |(piece, changes)| {
            let source = changed(&piece, &changes);
            agree_on(&source).map_err(TestCaseError::fail)?;
            same_without_scan(&source).map_err(TestCaseError::fail)?;
            // A template's `${…}` is not repaired.
            let line = source.lines().next().unwrap_or_default();
            agree(Rule::hole, &format!("${{{line}}}")).map_err(TestCaseError::fail)
        });
        result.unwrap();
        if seconds.is_none() || over() {
            return;
        }
    }
}

#[test]
fn changed_sources() {
    run(2_500, None);
}

/// For as many seconds as `SECONDS` says: `SECONDS=1200 cargo test -p lockstep-grammar -- --ignored changed`.
#[test]
#[ignore = "runs as long as one wants"]
fn changed_sources_for_long() {
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok());
    run(10_000, seconds.or(Some(60)));
}

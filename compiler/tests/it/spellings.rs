//! What people write who come from other languages: each wrong spelling of a whole table gets one report with the right
//! advice, and hides nothing of the rest of its file.

use crate::support::{show_place, single};
use lockstep_compiler::{Diagnostic, Program, check};
use std::fmt::Write;

/// A source, and pieces of it with what people write instead.
const TABLE: &str = include_str!("support/spellings.txt");

/// What the last declaration of the source says, whatever stands before it.
const LAST: &str = "`unknown_thing` is not declared";

/// The names of the cases, each with its whole source.
pub fn spellings() -> Vec<(&'static str, String)> {
    let mut sections =
        TABLE.trim_end_matches('\n').split("\n=== ").skip(1).filter_map(|section| section.split_once('\n'));
    let base = format!("{}\n", sections.next().unwrap().1);
    let case = |(name, case): (&'static str, &str)| {
        let (from, to) = case.split_once("\n~~~\n").unwrap();
        assert!(base.contains(from), "{name}: not in the source: {from}");
        (name, base.replacen(from, to, 1))
    };
    let mut cases: Vec<_> = sections.map(case).collect();
    // What cannot be seen in a table.
    let invisible = [
        ("no-break space", "stage a", "stage\u{A0}a"),
        ("zero-width space", "stage a", "stage a\u{200B}"),
        ("byte order mark in the middle", "stage a", "\u{FEFF}stage a"),
        ("NUL", "stage a", "stage\0 a"),
        ("NUL in text", "echo hi", "echo\0hi"),
        ("form feed", "pipeline", "\u{C}\npipeline"),
    ];
    cases.extend(invisible.map(|(name, from, to)| (name, base.replacen(from, to, 1))));
    cases
}

fn one_line(program: &Program, found: &Diagnostic) -> String {
    let mut text = format!("{}: {}", found.rule, found.message);
    if let Some(help) = &found.help {
        write!(text, "\n      help: {help}").unwrap();
    }
    if let Some(fix) = &found.fix {
        let edits: Vec<String> = fix
            .edits
            .iter()
            .map(|(at, text)| {
                format!(
                    "{:?} -> {text:?}",
                    program.file(at.file).text[at.span.start as usize..at.span.end as usize].to_owned()
                )
            })
            .collect();
        write!(text, "\n      fix: {}", edits.join(", ")).unwrap();
    }
    format!("{} {text}", show_place(program, found.primary))
}

#[test]
fn each_gets_one_report_with_the_right_advice() {
    let (mut all, mut wrong) = (String::new(), String::new());
    let cases = spellings();
    assert!(cases.len() > 250, "{}", cases.len());
    for (name, source) in &cases {
        let program = single(source);
        let mut found = check(&program);
        let before = found.len();
        found.retain(|it| it.message != LAST);
        let hidden = found.len() == before;
        let reports: String = found.iter().map(|it| format!("    {}\n", one_line(&program, it))).collect();
        write!(all, "{name}\n{reports}").unwrap();
        if found.len() != 1 || hidden {
            let lost = if hidden { ", and the last declaration is not checked" } else { "" };
            write!(wrong, "{name}: {} reports{lost}\n{reports}", found.len()).unwrap();
        }
    }
    insta::assert_snapshot!(all);
    assert_eq!(wrong, "");
}

/// What looks foreign and is none.
#[test]
fn what_is_fine_is_fine() {
    let (_, source) = spellings().into_iter().next().unwrap();
    let source =
        source.replace("script: \"echo hi\"", "script = \"echo hi\"").replace("[unknown_thing]", "[\"a\"]");
    for (what, fine) in [
        ("as it is", source.clone()),
        ("CRLF", source.replace('\n', "\r\n")),
        ("a byte order mark", format!("\u{FEFF}{source}")),
        ("tabs", source.replace("  ", "\t")),
        ("no line at the end", source.trim_end().to_owned()),
        (
            "variables of the shell",
            source.replace("echo hi", "echo $HOME {{ x }} $(date) `date` # no; really"),
        ),
        ("words of other languages as names", source.replace("stage a", "stage depends_on")),
    ] {
        let found = check(&single(&fine));
        assert!(found.is_empty(), "{what}: {found:#?}\n{fine}");
    }
}

//! Caret fixtures: in `tests/cases`, `//   ^^^ rule/name` under a line says what is reported there, and nothing else may
//! be; a `|` stands for a place of no length, like the end of a line. `// --- NAME` begins the next case of a file.

use crate::support::{rendered, single};
use lockstep_compiler::check;
use std::collections::BTreeSet;

/// Line, first column, length in characters, rule.
type Mark = (u32, u32, u32, String);

fn expected(source: &str) -> BTreeSet<Mark> {
    let mut marks = BTreeSet::new();
    let mut last_line = 0;
    for (index, line) in source.lines().enumerate() {
        let marker = line.trim_start();
        let carets = line.chars().filter(|c| *c == '^').count();
        let end = marker.strip_prefix("//").is_some_and(|mark| mark.trim_start().starts_with("| "));
        if marker.starts_with("//") && (carets > 0 || end) {
            let start = line.chars().position(|c| matches!(c, '^' | '|')).unwrap() as u32 + 1;
            let rule = line.rsplit(['^', '|']).next().unwrap().trim().to_string();
            marks.insert((last_line, start, carets as u32, rule));
        } else {
            last_line = index as u32 + 1;
        }
    }
    marks
}

fn found(source: &str) -> (BTreeSet<Mark>, String) {
    let program = single(source);
    let found = check(&program);
    let (_, file) = program.files().last().unwrap();
    let marks = found
        .iter()
        .map(|it| {
            let start = file.lines.position(it.primary.span.start);
            let text = &file.text[it.primary.span.start as usize..it.primary.span.end as usize];
            (
                start.line,
                start.column,
                text.lines().next().unwrap_or("").chars().count() as u32,
                it.rule.to_string(),
            )
        })
        .collect();
    (marks, rendered(&program, &found))
}

#[test]
fn every_case_reports_what_it_marks() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut cases, mut wrong) = (0, String::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        for case in text.split("// --- ").skip(1) {
            let (name, source) = case.split_once('\n').unwrap();
            cases += 1;
            let (marks, rendered) = found(source);
            let expected = expected(source);
            if marks != expected {
                let file = path.file_name().unwrap().display();
                wrong.push_str(&format!(
                    "=== {file}: {name}\nmissing: {:?}\nunexpected: {:?}\n{rendered}\n",
                    expected.difference(&marks).collect::<Vec<_>>(),
                    marks.difference(&expected).collect::<Vec<_>>()
                ));
            }
        }
    }
    assert!(cases > 20, "{cases}");
    assert!(wrong.is_empty(), "{wrong}");
}

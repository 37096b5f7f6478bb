//! Fixes never break a file: each is applied alone, and what comes of it is read and checked again.

use crate::support::{EXAMPLE, single};
use lockstep_compiler::{Diagnostic, Severity, check};
use std::fs;
use std::path::Path;

const ALL: &str = include_str!("support/all.lockstep");

/// What people write who come from elsewhere.
const FOREIGN: &str = r#"# a comment
group sre { members: ["ada"] }
environment 'test' {
  kind = "production";
  infrastructure a => local { root = 'a' }
}
workflow w(version str) {
  strategy = "rolling"
  phase p { step s = shell { script = "echo \x" } }
  parallel {
    phase a { step a = shell { script = "a", timeout = 10 min } }
    phase b { step b = shell { script = "b", timeout = 90sec } }
  }
}
"#;

fn sources() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = vec![
        ("example".into(), EXAMPLE.into()),
        ("all".into(), ALL.into()),
        ("foreign".into(), FOREIGN.into()),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root.join("tests/cases")).unwrap() {
        let path = entry.unwrap().path();
        for case in fs::read_to_string(&path).unwrap().split("// --- ").skip(1) {
            let (name, source) = case.split_once('\n').unwrap();
            all.push((name.into(), source.into()));
        }
    }
    for entry in fs::read_dir(root.join("../examples/wrong")).unwrap() {
        let path = entry.unwrap().path().join("main.lockstep");
        if let Ok(source) = fs::read_to_string(&path) {
            all.push((path.display().to_string(), source));
        }
    }
    all.sort();
    all
}

fn errors(found: &[Diagnostic]) -> usize {
    found.iter().filter(|it| it.severity == Severity::Error).count()
}

#[test]
fn a_fix_mends_what_it_is_for_and_breaks_nothing() {
    let (mut applied, mut wrong) = (0, String::new());
    for (name, source) in sources() {
        let found = check(&single(&source));
        for diagnostic in found.iter().filter(|it| it.fix.is_some()) {
            let mut edits = diagnostic.fix.clone().unwrap().edits;
            edits.sort_by_key(|(at, _)| std::cmp::Reverse((at.span.start, at.span.end)));
            assert!(
                edits.windows(2).all(|pair| pair[1].0.span.end <= pair[0].0.span.start),
                "{name}: edits overlap"
            );
            let mut fixed = source.clone();
            for (at, text) in edits {
                fixed.replace_range(at.span.start as usize..at.span.end as usize, &text);
            }
            let after = check(&single(&fixed));
            applied += 1;
            let same = |it: &&Diagnostic| it.rule == diagnostic.rule && it.message == diagnostic.message;
            let gone = after.iter().filter(same).count() < found.iter().filter(same).count();
            if !gone || errors(&after) > errors(&found) {
                let after: Vec<_> = after.iter().map(|it| format!("{}: {}", it.rule, it.message)).collect();
                wrong.push_str(&format!("=== {name}: {}\n{fixed}\n{after:#?}\n", diagnostic.message));
            }
        }
    }
    assert!(applied > 10, "{applied}");
    assert!(wrong.is_empty(), "{wrong}");
}

//! No input makes the compiler panic, and nothing it says depends on luck.

use crate::support::{EXAMPLE, single};
use lockstep_compiler::{check, check_output, lower, report};
use proptest::prelude::*;

const ALL: &str = include_str!("support/all.lockstep");
const WIDE: &str = include_str!("support/wide.lockstep");

/// Words of the language and names that exist, so that soup often means something.
const WORDS: &[&str] = &[
    "service",
    "environment",
    "infrastructure",
    "workflow",
    "pipeline",
    "phase",
    "step",
    "stage",
    "parallel",
    "barrier",
    "rollback",
    "on failure",
    "retry 3 every 10s then",
    "ask sre within 1h then",
    "ignore",
    "lane",
    "for x in",
    "skip if",
    "only if",
    "use",
    "notify",
    "secret",
    "group",
    "resource",
    "provider",
    "kubernetes",
    "local",
    "shell",
    "deploy",
    "production",
    "production.*",
    "web",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "=",
    ",",
    "\n",
    ":",
    "string",
    "list<string>",
    "service<local>",
    "infrastructure<local>",
    "\"text\"",
    "\"${x}\"",
    "1",
    "20%",
    "10m",
    "true",
    "x",
    "y",
    "in",
    "if",
    "then",
    "else",
    "==",
    "&&",
    "!",
    ".",
    "local.deploy {}",
    "kubernetes.rolling {}",
    "service.artifact.path",
    "x.y",
    "import \".\"",
    "changes target",
    "undone by x",
    "all_or_nothing",
    "max 2",
    "strategy = canary",
    "timeout = 5m",
    "undone_by = x",
];

fn survives(source: &str) {
    let program = single(source);
    let found = check(&program);
    assert_eq!(found, check(&program));
    check_output(&program, &found);
    let handler = miette::NarratableReportHandler::new();
    for diagnostic in &found {
        let mut text = String::new();
        handler.render_report(&mut text, &report(&program, diagnostic)).unwrap();
    }
    let module = program.files().last().map(|(_, file)| file.module).unwrap();
    let pipelines: Vec<String> = program.pipelines(module).into_iter().map(str::to_string).collect();
    for pipeline in pipelines {
        let _ = lower(&program, "".as_ref(), &pipeline, &Default::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn word_soup(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        survives(&words.join(" "));
    }

    #[test]
    fn holes_in_real_sources(which in 0..3_usize, cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..40_usize), 1..4)) {
        let mut source = [EXAMPLE, ALL, WIDE][which].to_string();
        for (at, length) in cuts {
            let start = at.index(source.len());
            let start = (0..=start).rev().find(|at| source.is_char_boundary(*at)).unwrap();
            let end = (start + length..).find(|at| *at >= source.len() || source.is_char_boundary(*at)).unwrap();
            source.replace_range(start..end.min(source.len()), "");
        }
        survives(&source);
    }

    #[test]
    fn words_in_real_sources(which in 0..3_usize, puts in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(WORDS)), 1..5)) {
        let mut source = [EXAMPLE, ALL, WIDE][which].to_string();
        for (at, word) in puts {
            let start = at.index(source.len());
            let start = (0..=start).rev().find(|at| source.is_char_boundary(*at)).unwrap();
            source.insert_str(start, word);
        }
        survives(&source);
    }
}

#[test]
fn what_refers_to_itself_comes_to_an_end() {
    survives(
        "service a = local { artifact = other { path = a.name } }\nservice b(x: string = b.name) = local { artifact = other { path = x } }\nenvironment e { infrastructure t = local { root = e.t.root } }\nworkflow w(s: service<local>, i: infrastructure<local>) { phase p { step d = local.deploy {} } }\npipeline p { stage a = w { s = a, i = e.t }\nstage b = w { s = b, i = e.t } }\n",
    );
}

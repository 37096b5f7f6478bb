//! Inputs that ask for as much work as they can come to an end, and to a sane number of reports.

use crate::generate;
use crate::support::{rules_of, single};
use lockstep_compiler::{Diagnostic, Severity, check, lower};
use std::collections::BTreeMap;
use std::path::Path;

/// Enough for a hundred names of each kind; `cargo bench` takes thirty times as much.
const SIZE: usize = 2 * 1024;

#[test]
fn every_hostile_input_ends_with_a_sane_number_of_reports() {
    for (name, source) in generate::hostile(SIZE) {
        assert!(source.len() < 2 * SIZE, "{name} has {} bytes", source.len());
        let found = check(&single(&source));
        // Each report is about something that somebody wrote.
        let most = 3 * source.split_ascii_whitespace().count() + 10;
        assert!(found.len() <= most, "{name}: {} reports", found.len());
        let text: usize = found.iter().map(|it| it.message.len() + it.labels.len()).sum();
        assert!(text <= 400 * source.len(), "{name}: {text} bytes of messages");
    }
}

#[test]
fn what_expands_without_end_is_told_and_not_looked_at() {
    for (name, source) in generate::hostile(16 * 1024) {
        if !matches!(name, "loop_by_stages" | "doubling_text") {
            continue;
        }
        let program = single(&source);
        let told = |found: &[Diagnostic]| -> Vec<Severity> {
            let too_large = found.iter().filter(|it| it.message.starts_with("this pipeline expands to more"));
            too_large.map(|it| it.severity).collect()
        };
        assert_eq!(told(&check(&program)), [Severity::Note], "{name}");
        if name == "doubling_text" {
            let refused = lower(&program, Path::new(""), "p", &BTreeMap::new()).unwrap_err();
            assert!(told(&refused).contains(&Severity::Error), "{name}");
        }
    }
}

/// Services that read each other, each through an expression as deep as one may be.
fn chain(services: usize, depth: usize) -> String {
    let mut source = String::from(
        "environment e {\n  kind = non_production\n  infrastructure t = local { root = \"r\" }\n}\nservice s0 = local { artifact = other { path = \"x\" } }\n",
    );
    for index in 1..services {
        let (open, close) = ("upper(".repeat(depth), ")".repeat(depth));
        let before = index - 1;
        source += &format!(
            "service s{index} = local {{ artifact = other {{ path = {open}s{before}.artifact.path{close} }} }}\n"
        );
    }
    let last = services - 1;
    source += "workflow w(service: service<local>, infra: infrastructure<local>) {\n  phase p {\n    step d = local.deploy {}\n  }\n}\n";
    source + &format!("pipeline p {{\n  stage a = w {{ service = s{last}, infra = e.t }}\n}}\n")
}

/// What is read through others nests as deep as all of them together.
#[test]
fn what_nests_through_declarations_ends_before_the_stack_does() {
    assert_eq!(rules_of(&chain(60, 1)), Vec::<&str>::new());
    assert_eq!(rules_of(&chain(70, 1)), ["name/unknown"]);
    assert_eq!(rules_of(&chain(60, 110)), ["type/not-allowed-value"]);
    for (count, expected) in [(200, &[][..]), (4000, &["type/not-allowed-value"][..])] {
        let params: Vec<String> =
            (1..count).map(|index| format!(", p{index}: string = upper(p{})", index - 1)).collect();
        let (params, last) = (params.concat(), count - 1);
        let source = format!(
            "workflow w(p0: string{params}) {{\n  phase p {{\n    step s = shell {{ script = \"date\", env = {{ A = p{last} }} }}\n  }}\n}}\npipeline p(v: string) {{\n  stage a = w {{ p0 = v }}\n}}\n"
        );
        assert_eq!(rules_of(&source), expected, "{count}");
    }
}

#[test]
fn large_groups_are_judged() {
    assert_eq!(rules_of(&generate::group(50, 20, 2, false)), Vec::<&str>::new());
    assert_eq!(rules_of(&generate::group(50, 20, 2, true)), ["barrier/deadlock"]);
}

#[test]
fn realistic_sources_are_sound() {
    assert_eq!(rules_of(&generate::realistic(20_000)), Vec::<&str>::new());
}

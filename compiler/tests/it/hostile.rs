//! Inputs that ask for as much work as they can come to an end, and to a sane number of reports.

use crate::generate;
use crate::support::{rules_of, single};
use lockstep_compiler::{Diagnostic, Severity, check, lower};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

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

/// As many branches as that, each with a rollback that asks what its own step put out.
fn asking(branches: usize) -> String {
    let targets: String =
        (0..branches).map(|n| format!("  infrastructure i{n} = local {{ root = \"i{n}\" }}\n")).collect();
    format!(
        "environment e {{\n  kind = non_production\n{targets}}}\n{}",
        r#"service s = local { artifact = other { path = "s" } }
workflow w(service: service<local>, infra: infrastructure<local>) {
  phase p {
    step deploy = local.deploy {}
    step look = shell { script = "which schema?" }
    barrier ready { timeout = 9h }
    step old_way = shell { only if look.stdout == "v1", script = "t", changes = true, undone_by = undo_old }
    step new_way = shell { skip if look.stdout == "v1", script = "t", changes = true, undone_by = undo_new }
    rollback {
      step undo_new = shell { skip if default(look.stdout, "") == "v1", script = "t" }
      step undo_old = shell { only if default(look.stdout, "") == "v1", script = "t" }
      step undo = local.rollback {}
    }
  }
}
pipeline q {
  parallel all_or_nothing {
    for i in e.* {
      stage w[i] = w { service = s, infra = i }
    }
  }
}
"#
    )
}

#[test]
fn a_promise_that_hangs_on_very_many_answers_is_not_looked_at_without_end() {
    let covered = |source: &str| -> u64 {
        let proofs = lockstep_compiler::proofs(&single(source), &|| Duration::ZERO);
        proofs.iter().flat_map(|it| &it.promises).map(|it| it.coverage.worlds + it.coverage.replays).sum()
    };
    assert_eq!(rules_of(&asking(50)), Vec::<&str>::new());
    let large = asking(400);
    let found = check(&single(&large));
    let messages: Vec<&str> = found.iter().map(|it| it.message.as_str()).collect();
    assert!(messages.len() == 1 && messages[0].starts_with("it could not be proved"), "{messages:?}");
    // The worlds of fifty branches would be as many for each fifty of them.
    let (few, many) = (covered(&asking(50)), covered(&large));
    assert!(many < 8 * few, "{few} and {many}");
    // All the groups of a source share what may be done.
    let pipeline = &large[large.find("pipeline q").expect("it is there")..];
    let twice = large.clone() + &pipeline.replace("pipeline q", "pipeline r");
    assert!(covered(&twice) < many + few, "{} and {many}", covered(&twice));
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

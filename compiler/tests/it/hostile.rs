//! Inputs that ask for as much work as they can come to an end, and to a sane number of reports.

use crate::generate;
use crate::support::{rules_of, single};
use lockstep_compiler::{Severity, check};

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
fn what_expands_without_end_is_refused() {
    for (name, source) in generate::hostile(16 * 1024) {
        if !matches!(name, "loop_by_stages" | "doubling_text") {
            continue;
        }
        let found = check(&single(&source));
        let too_large = found.iter().filter(|it| it.message.starts_with("this pipeline expands to more"));
        assert_eq!(too_large.filter(|it| it.severity == Severity::Error).count(), 1, "{name}");
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

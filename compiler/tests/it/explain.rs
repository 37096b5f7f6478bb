//! The examples of every rule's page: the wrong one yields exactly that rule, the corrected one nothing at all.

use crate::support::{example, rendered};
use lockstep_compiler::{check, rules};

#[test]
fn every_page_is_true() {
    let mut wrongs = String::new();
    for rule in rules() {
        let parts: Vec<&str> = rule.page.split("```").collect();
        let examples: Vec<&str> = parts.iter().filter_map(|part| part.strip_prefix("lockstep\n")).collect();
        let [wrong, right] = examples.as_slice() else { panic!("{} needs two examples", rule.name) };
        let wrong = example(rule.name, wrong);
        let found = check(&wrong);
        if found.is_empty() || found.iter().any(|it| it.rule != rule.name) {
            wrongs.push_str(&format!("=== {}: wrong example\n{}\n", rule.name, rendered(&wrong, &found)));
        }
        assert!(found.iter().all(|it| it.severity == rule.severity || it.rule != rule.name));
        let right = example(rule.name, right);
        let found = check(&right);
        if !found.is_empty() {
            wrongs.push_str(&format!("=== {}: corrected example\n{}\n", rule.name, rendered(&right, &found)));
        }
    }
    assert!(wrongs.is_empty(), "{wrongs}");
}

#[test]
fn rules_are_sorted_and_unique() {
    let names: Vec<&str> = rules().iter().map(|rule| rule.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
}

//! What a rule is, and the list of all rules.

use crate::checks;
use crate::diagnostic::Severity;
use crate::suggest::nearest;
use std::sync::LazyLock;

/// A kind of diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `barrier/deadlock`
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// When it is reported, in one line.
    pub summary: &'static str,
    /// Its page in Markdown: why, a wrong and a corrected example.
    pub page: &'static str,
}

/// Every rule, sorted by name.
pub fn rules() -> &'static [Rule] {
    static ALL: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let mut all = checks::RULES.to_vec();
        all.extend(lockstep_grammar::RULES.iter().map(|(name, page)| Rule {
            name,
            severity: Severity::Error,
            summary: page.split(". ").next().unwrap_or(page).trim_end_matches('.'),
            page,
        }));
        all.sort_by_key(|rule| rule.name);
        all
    });
    &ALL
}

/// The names of the rules that may be meant by a name that is none: the nearest one, or all whose part behind the slash is
/// that name's, or is near it.
pub fn rules_near(name: &str) -> Vec<&'static str> {
    let names = || rules().iter().map(|rule| rule.name);
    let behind = |part: &str| names().filter(|name| last(name) == part).collect::<Vec<_>>();
    let same = behind(last(name));
    if !same.is_empty() {
        return same;
    }
    if let Some(near) = nearest(name, names()) {
        return vec![near];
    }
    nearest(last(name), names().map(last)).map(behind).unwrap_or_default()
}

/// What stands behind the slash.
fn last(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_name_is_enough_to_find_it() {
        assert_eq!(rules_near("barrier/deadlok"), ["barrier/deadlock"]);
        assert_eq!(rules_near("deadlock"), ["barrier/deadlock"]);
        assert_eq!(rules_near("deadlok"), ["barrier/deadlock"]);
        assert_eq!(rules_near("stage/lock-deadlock"), ["barrier/lock-deadlock"]);
        assert_eq!(rules_near("duplicate"), ["barrier/duplicate", "name/duplicate"]);
        assert!(rules_near("xyzzy").is_empty());
    }
}

//! What a rule is, and the list of all rules.

use crate::checks;
use crate::diagnostic::Severity;
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

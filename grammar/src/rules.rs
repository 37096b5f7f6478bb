//! The names of syntax errors, and the pages that explain them.

/// Every rule a [`crate::SyntaxError`] can have, with its page: what it means, a wrong example and a corrected one.
pub const RULES: &[(&str, &str)] = &[
    ("syntax/unexpected", include_str!("rules/unexpected.md")),
    ("syntax/unclosed", include_str!("rules/unclosed.md")),
    ("syntax/text", include_str!("rules/text.md")),
    ("syntax/number", include_str!("rules/number.md")),
    ("syntax/spelling", include_str!("rules/spelling.md")),
    ("syntax/place", include_str!("rules/place.md")),
];

//! A text that a pattern matches.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The plainest text that is found for a pattern; nothing where that does not match, after all.
pub(crate) fn matching(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let regex = regex::Regex::new(pattern).ok()?;
    let mut found = texts(&hir).into_iter();
    found.find(|text| regex.is_match(text))
}

/// Up to some texts, the plainest first.
fn texts(hir: &Hir) -> Vec<String> {
    const MOST: usize = 8;
    let mut found = match hir.kind() {
        // Where it stands is looked at in the end.
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).into_iter().collect(),
        HirKind::Class(class) => characters(class).into_iter().map(String::from).collect(),
        HirKind::Repetition(repetition) => {
            let times = repetition.min.min(1024) as usize;
            let more = repetition.max.is_none_or(|max| max > repetition.min);
            let once = texts(&repetition.sub);
            let repeated = |times: usize| once.iter().map(move |text| text.repeat(times)).collect::<Vec<_>>();
            let mut all = if times == 0 { vec![String::new()] } else { repeated(times) };
            if more {
                all.extend(repeated(times + 1));
            }
            all
        }
        HirKind::Capture(capture) => texts(&capture.sub),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |found, part| {
            let part = texts(part);
            let joined = found.iter().flat_map(|text| part.iter().map(move |more| format!("{text}{more}")));
            joined.take(MOST).collect()
        }),
        HirKind::Alternation(parts) => parts.iter().flat_map(texts).collect(),
    };
    found.truncate(MOST);
    found
}

/// One of the characters of a class, if any can be read one that can be.
fn characters(class: &Class) -> Option<char> {
    match class {
        Class::Unicode(class) => {
            let ranges = || class.ranges().iter().map(|range| (range.start(), range.end()));
            let plain = ['a', '0', 'A', '-', ' '].into_iter();
            let mut plain = plain.filter(|it| ranges().any(|(first, last)| (first..=last).contains(it)));
            plain.next().or_else(|| ranges().map(|(first, _)| first).find(|it| !it.is_control()))
        }
        Class::Bytes(class) => class.ranges().first().map(|range| char::from(range.start())),
    }
}

#[cfg(test)]
mod tests {
    use super::matching;

    #[test]
    fn what_is_found_matches() {
        for pattern in [
            "^v[0-9]+\\.[0-9]+$",
            "release-(a|b)",
            "^$",
            "\\d{4}-\\d{2}",
            "x*y+",
            "[^a]",
            "(?i)prod",
            "\\bend$",
            "^(main|hotfix/.+)$",
            "é{3}",
            "",
        ] {
            let text = matching(pattern).unwrap_or_else(|| panic!("nothing for {pattern}"));
            assert!(regex::Regex::new(pattern).is_ok_and(|it| it.is_match(&text)), "{pattern}: {text}");
        }
    }

    #[test]
    fn what_matches_nothing_has_no_example() {
        assert_eq!(matching("a^"), None);
        assert_eq!(matching("("), None);
    }
}

//! *Did you mean*: the nearest name, and lists of names for people.

/// Among very many names a suggestion is not worth the search.
const MOST: usize = 128;

/// The candidate nearest to `name`, if it is near enough to be a slip.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let may_be_near = looks_like(name);
    closest(name, candidates.into_iter().filter(|candidate| may_be_near(candidate)))
}

/// Whether one of the given names is a slip of this one, which explains why it seems to be missing.
pub fn slipped<'a>(name: &str, given: impl IntoIterator<Item = &'a str>) -> bool {
    given.into_iter().any(|given| nearest(given, [name]).is_some())
}

/// How many letters a slip changes at most.
fn limit(name: &str) -> usize {
    match name.chars().count() {
        0..=2 => 1,
        3..=6 => 2,
        _ => 3,
    }
}

/// A cheap look before the distance is computed: lengths and letters.
fn looks_like(name: &str) -> impl Fn(&str) -> bool {
    let (limit, own) = (limit(name), letters(name));
    move |candidate| {
        name.len().abs_diff(candidate.len()) <= 4 * limit
            && (own ^ letters(candidate)).count_ones() as usize <= 8 * limit
            && candidate != name
    }
}

fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = limit(name);
    candidates
        .take(MOST)
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

fn letters(text: &str) -> u64 {
    text.bytes().fold(0, |set, byte| set | 1 << (byte & 63))
}

/// "did you mean `x`?" or, without a near name, "`a`, `b` and `c` exist": nothing when there are no candidates.
pub fn help<'a>(what: &str, name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut candidates: Vec<&str> = candidates.into_iter().collect();
    let may_be_near = looks_like(name);
    let mut near: Vec<&str> = candidates.iter().copied().filter(|candidate| may_be_near(candidate)).collect();
    // Of very many only the first ones are looked at: the others need no order.
    if near.len() > 4 * MOST {
        near.select_nth_unstable(4 * MOST);
        near.truncate(4 * MOST);
    }
    near.sort_unstable();
    near.dedup();
    if let Some(near) = closest(name, near.into_iter()) {
        return Some(format!("did you mean `{near}`?"));
    }
    candidates.sort_unstable();
    candidates.dedup();
    match candidates.as_slice() {
        [] => None,
        [only] => Some(format!("the only {what} here is `{only}`")),
        many => Some(format!("{} are: {}", plural(what), list(many))),
    }
}

/// Backquoted, separated by commas; long lists are cut.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 12;
    let mut text =
        names.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

fn plural(what: &str) -> String {
    match what.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        assert_eq!(nearest("all_region", ["all_regions", "done"]), Some("all_regions"));
        assert_eq!(nearest("xyz", ["all_regions", "done"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}

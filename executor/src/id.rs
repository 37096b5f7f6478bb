//! Run ids: short enough to type, sorted by the time of their making.

use std::time::{SystemTime, UNIX_EPOCH};

/// Crockford's base 32: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Nine characters of time (milliseconds, good for 1,100 years) and three of chance.
const TIME_LENGTH: usize = 9;
const CHANCE_LENGTH: usize = 3;

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A new id.
///
/// # Errors
/// The operating system gives no random bytes.
pub(crate) fn new_run_id(at: u64) -> std::io::Result<String> {
    let mut chance = [0u8; 2];
    getrandom::fill(&mut chance).map_err(std::io::Error::other)?;
    let mut id = base32(at, TIME_LENGTH);
    id.push_str(&base32(u64::from(u16::from_le_bytes(chance)), CHANCE_LENGTH));
    Ok(id)
}

/// The lowest `length` digits of `number`.
fn base32(number: u64, length: usize) -> String {
    (0..length).rev().map(|place| ALPHABET[(number >> (5 * place) & 31) as usize] as char).collect()
}

/// Part of a file name that stands for `text`, which may hold anything. Different texts give different names.
pub(crate) fn file_name(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-[]".contains(c) { c } else { '_' })
        .take(150)
        .collect();
    if kept == text && !text.is_empty() && !text.starts_with('.') {
        return kept;
    }
    let hash = crate::store::hash(text.as_bytes());
    format!("_{kept}-{}", &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ids_sort_later() {
        let early = new_run_id(1_700_000_000_000).unwrap();
        let late = new_run_id(1_700_000_000_001).unwrap();
        assert_eq!(early.len(), TIME_LENGTH + CHANCE_LENGTH);
        assert!(early < late, "{early} {late}");
    }

    #[test]
    fn file_names_hold_no_separator_and_stay_apart() {
        assert_eq!(file_name("deploy[us-east].a"), "deploy[us-east].a");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        assert!(!file_name("../x").contains('/'));
        assert!(!file_name("..").starts_with('.'));
    }
}

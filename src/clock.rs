//! Times for people and programs.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Milliseconds since 1970 as a local time of day: `14:03:22`.
pub fn time_of_day(at: u64) -> String {
    match stamp(at) {
        Some(stamp) => stamp.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
        None => String::new(),
    }
}

/// Milliseconds since 1970 as a local date and time: `2026-03-14 14:03:22`.
pub fn date_time(at: u64) -> String {
    match stamp(at) {
        Some(stamp) => stamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => String::new(),
    }
}

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(at: u64) -> String {
    match stamp(at) {
        Some(stamp) => format!("{stamp:.3}"),
        None => String::new(),
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    Timestamp::now().as_millisecond().try_into().unwrap_or(0)
}

/// A span of milliseconds, as short as it is useful: `350ms`, `3.2s`, `1m5s`.
pub fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        1000..60_000 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => lockstep_plan::format_duration(milliseconds / 1000 * 1000),
    }
}

fn stamp(at: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
}

//! The formatter: `cargo fuzz run format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &str| lockstep_fuzz::format::is_stable(source));

//! From a source to its simulation: `cargo fuzz run check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &str| lockstep_fuzz::check::whole_way(source));

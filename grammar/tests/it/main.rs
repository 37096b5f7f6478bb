//! Tests of the parser, from the outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod adversarial;
mod errors;
mod format;
mod format_properties;
mod properties;
mod recovery;
mod support;
mod valid;

//! Tests of the parser, from the outside.

mod adversarial;
mod errors;
mod properties;
mod recovery;
mod support;
mod valid;

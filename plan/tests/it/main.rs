//! Tests of the machine, its simulation and the exports.

// A test fails by panicking; plans written in place are types nobody names.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

mod build;
mod claims;
mod every_pipeline;
mod exhaustive;
mod explore;
mod generate;
mod law;
mod law_rollback;
mod matrix;
mod oracle;
mod rehearsals;
mod stories;
mod symmetry;
mod total;

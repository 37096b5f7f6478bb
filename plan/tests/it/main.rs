//! Tests of the machine, its simulation and the exports.

mod build;
mod exhaustive;
mod explore;
mod law;
mod law_rollback;
mod stories;

//! Tests of the machine, its simulation and the exports.

mod build;
mod exhaustive;
mod explore;
mod stories;

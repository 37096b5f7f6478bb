//! The plan graph, the machine that gives it meaning, its simulation and exports.
//!
//! Pure: nothing here reads a clock, a file or a random number.

mod call;
mod claims;
mod describe;
mod event;
pub mod export;
mod expr;
mod graph;
pub mod machine;
mod plan;
pub mod proof;
mod rehearsal;
mod simulate;
mod value;

pub use describe::{claim_text, question_name};
pub use event::*;
pub use expr::*;
pub use graph::{Edge, Graph, Node, NodeKind};
pub use plan::*;
pub use rehearsal::{
    Chosen, Fallible, Rehearsal, broken_promises, every_failure, failures_told_apart, late, questions,
};
pub use simulate::{Scenario, Simulation, simulate};
pub use value::*;

//! The plan graph, the machine that gives it meaning, its simulation and exports.
//!
//! Pure: nothing here reads a clock, a file or a random number.

mod call;
mod chosen;
mod claims;
mod describe;
mod effect;
mod event;
mod example;
pub mod export;
mod expr;
mod graph;
mod late;
mod longest;
pub mod machine;
mod plan;
pub mod proof;
mod rehearsal;
mod roots;
mod simulate;
mod tickets;
mod twins;
mod value;
mod worlds;

pub use chosen::{Chosen, Fallible, ToldApart, questions};
pub use describe::{claim_text, question_name};
pub use effect::{unanswered, undelayed, unfailed};
pub use event::*;
pub use expr::*;
pub use graph::{Edge, Graph, Node, NodeKind};
pub use late::late;
pub use plan::*;
pub use rehearsal::{Rehearsal, Shown, every_failure, untried};
pub use simulate::{Patience, Scenario, Simulation, simulate};
pub use tickets::{Rival, suffices};
pub use value::*;
pub use worlds::{Readable, type_of_output};

//! Forms in which plans, simulations and events leave the program.

mod events;
mod json;
mod rehearsal;
mod text;
mod timeline;

pub use events::{EventLine, event_line};
pub use json::{PlanJson, SimulationJson, StageJson, plan_json, simulation_json};
pub use rehearsal::{RehearsalJson, rehearsal_json, rehearsal_text};
pub use text::plan_text;
pub use timeline::simulation_text;

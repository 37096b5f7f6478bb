//! The drivers of this crate, a provider each.

mod local;
mod shell;
mod wait;

pub use local::Local;
pub use shell::Shell;
pub use wait::Wait;

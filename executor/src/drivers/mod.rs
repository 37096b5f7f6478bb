//! The drivers of this crate, a provider each.

mod http;
mod kubernetes;
mod local;
mod look;
mod notify;
mod program;
mod shell;
mod verify;
mod wait;

pub use http::Http;
pub use kubernetes::Kubernetes;
pub use local::Local;
pub use notify::Notify;
pub use program::Program;
pub use shell::Shell;
pub use verify::Verify;
pub use wait::Wait;

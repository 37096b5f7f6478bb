//! The compiler's tests, from source text to diagnostics and plans: one binary, linked once.
#![allow(clippy::unwrap_used)]

mod carets;
mod deadlock;
mod diagnostics;
mod explain;
mod fixes;
mod generate;
mod hostile;
mod lowering;
mod manifests;
mod mistakes;
mod played;
mod promises;
mod robust;
mod spellings;
mod support;
mod survey;

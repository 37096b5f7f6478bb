//! Carries plans out: runner, journal and drivers.
//!
//! [`Store`] is the state directory with the journal, [`Runner`] starts or resumes a run, [`Driver`]s do what steps say.
//! What a plan means is decided by [`lockstep_plan::machine`] alone: nothing here knows what a barrier or a rollback is.

mod claims;
mod driver;
mod drivers;
mod error;
mod http;
mod id;
mod identity;
mod judge;
mod notify;
mod observer;
mod outside;
mod preflight;
mod preview;
mod private;
mod process;
mod replay;
mod runner;
mod script;
mod sealing;
mod secrets;
mod store;
mod strike;
mod supervisor;
mod tasks;

pub use driver::{
    Attempt, Cancel, Change, Context, Driver, Drivers, Identity, Key, Other, Output, Probe, Wish, Work,
};
pub use drivers::{Http, Kubernetes, Local, Notify, Program, Shell, Verify, Wait};
pub use error::Error;
pub use http::install_tls;
pub use identity::resolve;
pub use observer::{Line, Nobody, Observer, Stream};
pub use preflight::{Unsupported, unsupported};
pub use preview::{Preview, check, preview};
pub use replay::{Replay, replay, retell};
pub use runner::{End, Handle, Interrupt, Point, Runner};
pub use secrets::Secrets;
pub use store::{
    Blocker, Durability, Entry, Holder, Holding, Outputs, Reply, Request, RunInfo, RunLock, Store,
};
pub use supervisor::{supervise, this_program};

//! `wait { duration }`: lets time pass, counted from when the machine asked for it.

use crate::driver::{Attempt, Driver, Probe, Work, stopped};
use crate::id;
use lockstep_plan::{Failure, Kind, Outcome, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The provider `wait`.
pub struct Wait;

impl Driver for Wait {
    fn steps(&self) -> &[&str] {
        &["wait"]
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        Box::pin(async move {
            let Some(Value::Duration(duration)) = attempt.call.arguments.get("duration") else {
                return Outcome::Failed(Failure::new(Kind::Application, "`duration` is missing"));
            };
            let passed = id::now().saturating_sub(attempt.commanded_at);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(duration.saturating_sub(passed))) => {
                    Outcome::Succeeded { outputs: BTreeMap::new() }
                }
                () = attempt.cancel.cancelled() => stopped(),
            }
        })
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        // Time passed on without us.
        let rest = self.start(attempt);
        Box::pin(async move { Probe::Running(rest) })
    }
}

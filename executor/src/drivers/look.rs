//! What steps share that only look at something: they can be cut short, and repeated, without harm.

use crate::driver::{Attempt, Work, stopped};
use lockstep_plan::{Failure, Outcome, Value};
use std::collections::BTreeMap;

/// Looks until it is done or is to end.
pub(super) fn start(
    attempt: Attempt,
    work: impl FnOnce(Attempt) -> Work<Result<BTreeMap<String, Value>, Failure>>,
) -> Work<Outcome> {
    let cancel = attempt.cancel.clone();
    let redactor = attempt.output.redactor.clone();
    let work = work(attempt);
    Box::pin(async move {
        tokio::select! {
            result = work => match result {
                Ok(outputs) => Outcome::Succeeded { outputs },
                Err(failure) => {
                    Outcome::Failed(Failure { message: redactor.redact(&failure.message), ..failure })
                }
            },
            () = cancel.cancelled() => stopped(),
        }
    })
}

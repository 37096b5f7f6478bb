//! From how a run came to its end to the exit code.

use lockstep_executor::End;
use lockstep_plan::RunOutcome;

/// The exit code of `run` and `resume`.
pub fn exit_code(end: End) -> u8 {
    match end {
        End::Finished(RunOutcome::Succeeded) => 0,
        End::Finished(RunOutcome::RolledBack) => 1,
        End::Finished(RunOutcome::NeedsPerson) => 3,
        End::Finished(RunOutcome::Aborted) => 4,
        End::Detached => 5,
    }
}

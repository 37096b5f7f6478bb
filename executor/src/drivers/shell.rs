//! `shell` and `verify.command`: a script, run by `sh` in the module's directory.

use crate::driver::{Attempt, Driver, Probe, Work};
use crate::script::{Script, Supervised};
use lockstep_plan::{Failure, Kind, Outcome, Value};
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;

/// A provider one of whose steps runs a script.
pub struct Shell {
    step: [&'static str; 1],
    /// The kind of a script's failure.
    kind: Kind,
}

impl Shell {
    /// `shell`
    pub const SHELL: Shell = Shell { step: ["shell"], kind: Kind::Application };
    /// `verify.command`: a failing script is a failed verification.
    pub const VERIFY: Shell = Shell { step: ["command"], kind: Kind::Verification };
}

impl Driver for Shell {
    fn steps(&self) -> &[&str] {
        &self.step
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        let kind = self.kind;
        Box::pin(async move {
            let directory = attempt.context.module.clone();
            judged(run(attempt, directory, None).await, kind)
        })
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        let kind = self.kind;
        let again = self.start(attempt.clone());
        Box::pin(async move {
            match probe(attempt, again).await {
                Probe::Ended(outcome) => Probe::Ended(judged(outcome, kind)),
                Probe::Running(work) => Probe::Running(Box::pin(async move { judged(work.await, kind) })),
                other => other,
            }
        })
    }
}

fn judged(outcome: Outcome, kind: Kind) -> Outcome {
    match outcome {
        Outcome::Failed(failure) if failure.kind == Kind::Application => {
            Outcome::Failed(Failure { kind, ..failure })
        }
        other => other,
    }
}

/// Runs the attempt's script there. `hold`, a lock on a target that is this directory, stays locked until it has ended.
pub(crate) async fn run(attempt: Attempt, directory: PathBuf, hold: Option<File>) -> Outcome {
    let mut environment = match environment(&attempt) {
        Ok(environment) => environment,
        Err(message) => return Outcome::Failed(Failure::new(Kind::Application, message)),
    };
    if let Some(target) = attempt.call.target.as_ref().filter(|_| hold.is_some()) {
        environment.push(("LOCKSTEP_ROOT".into(), directory.clone().into()));
        environment.push(("LOCKSTEP_TARGET".into(), target.name.clone().into()));
    }
    let script = Script { text: attempt.text("script").to_string(), directory, environment, hold };
    supervised(attempt).run(script).await
}

/// What became of the attempt's script. `again` repeats it.
pub(crate) async fn probe(attempt: Attempt, again: Work<Outcome>) -> Probe {
    let output = attempt.output.clone();
    supervised(attempt).probe(again).await.unwrap_or_else(|error| {
        output.say(&format!("what became of an earlier attempt cannot be read: {error}"));
        Probe::Unknown
    })
}

fn supervised(attempt: Attempt) -> Supervised {
    Supervised {
        directory: attempt.directory,
        repeatable: attempt.repeatable,
        output: attempt.output,
        cancel: attempt.cancel,
        context: attempt.context,
    }
}

/// `env` and `secrets` as environment variables.
fn environment(attempt: &Attempt) -> Result<Vec<(String, OsString)>, String> {
    let mut environment = Vec::new();
    for argument in ["env", "secrets"] {
        let Some(Value::Map(entries)) = attempt.call.arguments.get(argument) else { continue };
        for (name, value) in entries {
            let text = match value {
                Value::Secret(secret) => attempt
                    .context
                    .secrets
                    .get(secret)
                    .ok_or_else(|| format!("the secret `{secret}` was not resolved when the run started"))?
                    .to_string(),
                value => value.to_string(),
            };
            if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
                return Err(format!("`{name}` in `{argument}` cannot be an environment variable"));
            }
            environment.push((name.clone(), text.into()));
        }
    }
    Ok(environment)
}

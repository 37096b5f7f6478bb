//! Programs behind providers of one's own: JSON lines over standard input and output, as docs/providers.md describes.

mod message;
mod talk;

use crate::driver::{Attempt, Context, Driver, Probe, Work, stopped};
use lockstep_plan::{Call, Failure, Outcome, Plan, Value};
use message::{Known, Said, outputs, request};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use talk::{Next, Talk, stop_earlier, wrong};

/// How long a program may take to stop what it was told to.
const STOP: Duration = Duration::from_secs(30);

/// How long a program may take to say what became of a key, or what a target runs.
const LOOK: Duration = Duration::from_secs(60);

/// The program of one provider.
#[derive(Debug, Clone)]
pub struct Program {
    program: String,
}

impl Program {
    /// A name that is looked for in `$PATH`, or a path relative to the module.
    pub fn new(program: &str) -> Program {
        Program { program: program.into() }
    }

    /// The programs that a plan names, by provider.
    pub(crate) fn of(plan: &Plan) -> BTreeMap<String, Program> {
        plan.programs.iter().map(|(provider, program)| (provider.clone(), Program::new(program))).collect()
    }

    /// Whether there is such a program.
    pub(crate) fn exists(&self, module: &Path) -> bool {
        if self.program.contains('/') {
            return module.join(&self.program).is_file();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(&self.program).is_file())
    }

    fn begin(&self, context: &Context, directory: &Path) -> Result<Talk, Failure> {
        Talk::begin(&self.program, &context.module, directory, &context.secrets)
            .map_err(|error| wrong(format!("`{}` cannot be started: {error}", self.program)))
    }

    /// Says whose fault it is, without secrets.
    fn blame(&self, attempt: &Attempt, failure: Failure) -> Outcome {
        let message = format!("program `{}`: {}", self.program, failure.message);
        Outcome::Failed(Failure { message: attempt.output.redactor.redact(&message), ..failure })
    }

    /// Says what the program is to do, and hears it to its end.
    async fn carry_out(self, attempt: Attempt) -> Outcome {
        match self.begin(&attempt.context, &attempt.directory) {
            Ok(mut talk) => {
                talk.say(&about("run", &attempt)).await;
                self.hear(talk, attempt).await
            }
            Err(failure) => self.blame(&attempt, failure),
        }
    }

    /// Hears a program until it has said how its step ended.
    async fn hear(self, mut talk: Talk, attempt: Attempt) -> Outcome {
        let result = tokio::select! {
            result = listen(&mut talk, &attempt) => result,
            () = attempt.cancel.cancelled() => return self.stop(talk, &attempt).await,
        };
        match result {
            Ok(Some(outcome)) => match talk.part().await {
                Ok(()) => outcome,
                Err(failure) => self.blame(&attempt, failure),
            },
            Ok(None) => {
                let failure = talk.end().await;
                self.blame(&attempt, failure)
            }
            Err(failure) => {
                talk.stop().await;
                self.blame(&attempt, failure)
            }
        }
    }

    /// Has a program stop, and believes it only when it says how its step ended.
    async fn stop(self, mut talk: Talk, attempt: &Attempt) -> Outcome {
        talk.say(&json!({ "version": message::VERSION, "request": "cancel" })).await;
        let heard = tokio::time::timeout(STOP, listen(&mut talk, attempt)).await;
        let gone = talk.stop().await;
        match heard {
            Ok(Ok(Some(Outcome::Succeeded { outputs }))) => Outcome::Succeeded { outputs },
            Ok(Ok(Some(_))) => stopped(),
            _ if gone && attempt.call.target.is_none() => stopped(),
            _ => Outcome::Lost {
                message: format!(
                    "the program `{}` was ended before it confirmed that its work has stopped",
                    self.program
                ),
            },
        }
    }

    async fn ask(self, attempt: Attempt) -> Probe {
        if !stop_earlier(&attempt.directory).await {
            return Probe::Unknown;
        }
        let mut talk = match self.begin(&attempt.context, &attempt.directory) {
            Ok(talk) => talk,
            Err(failure) => {
                attempt.output.say(&failure.message);
                return Probe::Unknown;
            }
        };
        talk.say(&about("probe", &attempt)).await;
        let known = loop {
            match tokio::time::timeout(LOOK, talk.next()).await {
                Ok(Ok(Next::Said(Said::Probe(known)))) => break known,
                Ok(Ok(Next::Said(Said::Progress(text)))) => attempt.output.say(&text),
                _ => break Known::Unknown,
            }
        };
        match known {
            Known::Running => Probe::Running(Box::pin(self.hear(talk, attempt))),
            Known::Ended => Probe::Ended(self.hear(talk, attempt).await),
            Known::NeverStarted => {
                talk.stop().await;
                Probe::NeverStarted
            }
            Known::Unknown => {
                talk.stop().await;
                Probe::Unknown
            }
        }
    }

    async fn look(self, call: Call, context: Arc<Context>) -> Result<Value, Failure> {
        // Nothing of it is kept but what goes wrong.
        let directory = std::env::temp_dir().join(format!("lockstep-{}-{}", context.run, context.epoch));
        let mut talk = self.begin(&context, &directory)?;
        talk.say(&request("inspect", &call, &context)).await;
        let named = |failure: Failure| Failure {
            message: format!("program `{}`: {}", self.program, failure.message),
            ..failure
        };
        let record = loop {
            match tokio::time::timeout(LOOK, talk.next()).await {
                Ok(Ok(Next::Said(Said::Record(record)))) => break record_of(&record, &context),
                Ok(Ok(Next::Said(Said::Failure(failed)))) => break Err(failed.failure()),
                Ok(Ok(Next::Said(Said::Progress(_)))) => {}
                Ok(Ok(Next::Said(_))) => break Err(wrong("it does not say what the target runs")),
                Ok(Ok(Next::End)) => {
                    let failure = talk.end().await;
                    let _ = std::fs::remove_dir_all(&directory);
                    return Err(named(failure));
                }
                Ok(Err(failure)) => break Err(failure),
                Err(_) => break Err(wrong("it does not say in time what the target runs")),
            }
        };
        talk.stop().await;
        let _ = std::fs::remove_dir_all(&directory);
        record.map_err(named)
    }
}

/// What a target runs, as it is journalled and given back to whoever undoes. Struck out, a secret would be missing there.
fn record_of(record: &Json, context: &Context) -> Result<Value, Failure> {
    let record = Value::of_json(record);
    let mut struck = record.clone();
    context.secrets.redactor(context.secrets.names()).strike(&mut struck);
    if struck == record {
        return Ok(record);
    }
    Err(wrong(
        "its record of what the target runs holds a secret, which must not be journalled: let it say where the secret lies, or a \
         hash of it",
    ))
}

/// A request about an attempt.
fn about(what: &str, attempt: &Attempt) -> Json {
    let mut request = request(what, &attempt.call, &attempt.context);
    request["key"] = attempt.key.to_string().into();
    request["name"] = attempt.key.step.as_str().into();
    request["attempt"] = attempt.key.attempt.into();
    request["timeout"] = (attempt.timeout.as_millis() as u64).into();
    request
}

/// Passes progress on, until the program has said how its step ended; nothing when it never does.
async fn listen(talk: &mut Talk, attempt: &Attempt) -> Result<Option<Outcome>, Failure> {
    loop {
        match talk.next().await? {
            Next::Said(Said::Progress(text)) => attempt.output.say(&text),
            Next::Said(Said::Result(result)) => {
                let mut outputs = outputs(&result.outputs, &attempt.outputs).map_err(wrong)?;
                let secrets = &attempt.context.secrets;
                let redactor = secrets.redactor(secrets.names());
                outputs.values_mut().for_each(|value| redactor.strike(value));
                return Ok(Some(Outcome::Succeeded { outputs }));
            }
            Next::Said(Said::Failure(failed)) => {
                let failure = failed.failure();
                let message = attempt.output.redactor.redact(&failure.message);
                return Ok(Some(Outcome::Failed(Failure { message, ..failure })));
            }
            Next::Said(Said::Probe(_) | Said::Record(_)) => {
                return Err(wrong("it answered a question that was not asked"));
            }
            Next::End => return Ok(None),
        }
    }
}

impl Driver for Program {
    fn steps(&self) -> &[&str] {
        &[]
    }

    fn knows(&self, _: &str) -> bool {
        // Which steps there are says the provider that names the program.
        true
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        Box::pin(self.clone().carry_out(attempt))
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        Box::pin(self.clone().ask(attempt))
    }

    fn inspect(&self, call: Call, context: Arc<Context>) -> Work<Result<Value, Failure>> {
        Box::pin(self.clone().look(call, context))
    }
}

//! The provider `local`: services on this machine, a directory for each target.
//!
//! Every step finds out what is done already and does the rest, so that repeating one after a crash is always right.

mod history;
mod release;
mod root;
mod service;

use super::shell;
use crate::driver::{Attempt, Canceller, Context, Driver, Probe, Work};
use lockstep_plan::{Call, Failure, Kind, Outcome, Value, Verdict};
use release::Release;
use root::{Root, RootLock, wrong};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The provider `local`.
pub struct Local;

impl Driver for Local {
    fn steps(&self) -> &[&str] {
        &["deploy", "stop", "start", "command", "rollback"]
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        Box::pin(async move {
            if attempt.call.step == "command" {
                return command(attempt).await;
            }
            match change(&attempt).await {
                Ok(()) => Outcome::Succeeded { outputs: BTreeMap::new() },
                Err(failure) => Outcome::Failed(failure),
            }
        })
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        let again = self.start(attempt.clone());
        Box::pin(async move {
            match attempt.call.step.as_str() {
                "command" => shell::probe(attempt, again).await,
                // Work of the process that is gone; its traces are read when it is repeated.
                _ => Probe::Unknown,
            }
        })
    }

    fn repeatable(&self, step: &str) -> bool {
        step != "command"
    }

    fn can_return(&self, call: Call, context: Arc<Context>) -> Work<Result<(), Failure>> {
        Box::pin(async move {
            let root = Root::of(&call, &context)?;
            let release = recorded(&call)?;
            refuse_overtaken(&root, &release, &context.run)?;
            if !release.is_empty() && Release::read(&root, &release).is_err() {
                let message = format!(
                    "`{}` no longer holds the release {release}; `keep_releases` on the infrastructure says how many are kept",
                    root.path().display()
                );
                return Err(Failure::new(Kind::Policy, message));
            }
            Ok(())
        })
    }

    fn seal(
        &self,
        calls: Vec<Call>,
        context: Arc<Context>,
        _: Option<Verdict>,
    ) -> Work<Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let Some(call) = calls.last() else { return Ok(Vec::new()) };
            let root = Root::of(call, &context)?;
            let (_canceller, cancel) = Canceller::new();
            let lock = root.lock(&context, &cancel, |_| {}).await?;
            let keep = call.target.as_ref().and_then(|target| target.settings.get("keep_releases"));
            let keep = match keep {
                Some(Value::Int(keep)) => usize::try_from(*keep).unwrap_or(1),
                _ => 1,
            };
            let replaced = calls.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
            let run = context.run.clone();
            let pruned = tokio::task::spawn_blocking(move || {
                let _held = lock;
                history::seal(&root, &run, &replaced, keep)
            });
            let pruned =
                pruned.await.map_err(|error| wrong(format!("removing old releases failed: {error}")))?;
            pruned.map(|()| Vec::new())
        })
    }

    fn inspect(&self, call: Call, context: Arc<Context>) -> Work<Result<Value, Failure>> {
        Box::pin(async move {
            let root = Root::of(&call, &context)?;
            let (_canceller, cancel) = Canceller::new();
            let _lock = root.lock(&context, &cancel, |_| {}).await?;
            let running = service::works(&root, &context, &cancel).await?;
            let release = current(&root)?.unwrap_or_default();
            Ok(Value::Map(BTreeMap::from([
                ("release".to_string(), Value::Text(release)),
                ("running".to_string(), Value::Bool(running)),
            ])))
        })
    }
}

async fn command(attempt: Attempt) -> Outcome {
    let prepared = async {
        let root = Root::of(&attempt.call, &attempt.context)?;
        let lock = root.lock_for(&attempt).await?;
        Ok((root.path().to_path_buf(), lock))
    };
    match prepared.await {
        Ok((directory, lock)) => shell::run(attempt, directory, Some(lock.file)).await,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// Carries out a step that changes the target.
async fn change(attempt: &Attempt) -> Result<(), Failure> {
    let root = Root::of(&attempt.call, &attempt.context)?;
    let lock = Arc::new(root.lock_for(attempt).await?);
    match attempt.call.step.as_str() {
        "deploy" => deploy(&root, lock, attempt).await,
        "stop" => service::stop(&root, attempt).await,
        "start" => {
            let name = current(&root)?;
            let name =
                name.ok_or_else(|| wrong(format!("nothing is deployed in `{}`", root.path().display())))?;
            service::start(&root, &lock, &Release::read(&root, &name)?, attempt).await
        }
        "rollback" => roll_back(&root, &lock, attempt).await,
        other => Err(wrong(format!("the provider `local` has no step `{other}`"))),
    }
}

async fn deploy(root: &Root, lock: Arc<RootLock>, attempt: &Attempt) -> Result<(), Failure> {
    let release = Release::wanted(attempt)?;
    refuse_other_service(root, &release)?;
    let (files, files_root, held) = (release.clone(), root.clone(), lock.clone());
    // The lock goes along: should this be dropped, the copying goes on, and nobody may come between.
    let installed = tokio::task::spawn_blocking(move || {
        let _held = held;
        files.install(&files_root)
    });
    installed.await.map_err(|error| wrong(format!("copying the artifact failed: {error}")))??;
    put_in_place(root, &lock, &release, true, attempt).await
}

/// A root holds one service: another's files and process would be lost.
fn refuse_other_service(root: &Root, release: &Release) -> Result<(), Failure> {
    let Some(name) = current(root)? else { return Ok(()) };
    // A release that somebody removed by hand is nobody's any more.
    let Ok(Release { service: there, .. }) = Release::read(root, &name) else { return Ok(()) };
    if there == release.service {
        return Ok(());
    }
    let message = format!(
        "`{}` holds the service `{there}`; give `{}` an infrastructure with a `root` of its own, or remove `{there}` first",
        root.path().display(),
        release.service
    );
    Err(Failure::new(Kind::Policy, message))
}

/// The release that the call's record names; empty where nothing ran.
fn recorded(call: &Call) -> Result<String, Failure> {
    let Some(Value::Map(record)) = &call.record else {
        return Err(wrong("it was not recorded what ran here before, so nothing can be returned to".into()));
    };
    Ok(record.get("release").and_then(Value::as_text).unwrap_or_default().to_string())
}

/// Goes back to what the record says, which may be nothing at all.
async fn roll_back(root: &Root, lock: &RootLock, attempt: &Attempt) -> Result<(), Failure> {
    let release = recorded(&attempt.call)?;
    refuse_overtaken(root, &release, &attempt.key.run)?;
    let run = match &attempt.call.record {
        Some(Value::Map(record)) => record.get("running").and_then(Value::as_bool).unwrap_or(false),
        _ => false,
    };
    if release.is_empty() {
        service::stop(root, attempt).await?;
        root.switch(None).map_err(|error| wrong(format!("`current` cannot be removed: {error}")))?;
    } else {
        put_in_place(root, lock, &Release::read(root, &release)?, run, attempt).await?;
    }
    history::return_to(root, &release, &attempt.key.run)
}

/// What a later run has put here is not this run's to take away.
fn refuse_overtaken(root: &Root, record: &str, run: &str) -> Result<(), Failure> {
    let Some(there) = current(root)? else { return Ok(()) };
    if there == record || Release::is_of(&there, run) {
        return Ok(());
    }
    let message = format!(
        "`{}` holds the release {there}, which another run has deployed since; it is left as it is",
        root.path().display()
    );
    Err(Failure::new(Kind::Policy, message))
}

/// Makes a release the one that counts, running or not.
async fn put_in_place(
    root: &Root,
    lock: &RootLock,
    release: &Release,
    run: bool,
    attempt: &Attempt,
) -> Result<(), Failure> {
    let wanted = (run && !release.start.is_empty()).then(|| release.name.clone());
    if service::running(root)? != wanted {
        service::stop(root, attempt).await?;
    }
    if attempt.cancel.is_cancelled() {
        return Err(Failure::new(Kind::Timeout, "it was stopped before its end"));
    }
    if current(root)?.as_deref() != Some(release.name.as_str()) {
        attempt.output.say(&format!("switching to release {}", release.name));
        root.switch(Some(&release.name))
            .map_err(|error| wrong(format!("`current` cannot be switched to {}: {error}", release.name)))?;
    }
    if run { service::start(root, lock, release, attempt).await } else { Ok(()) }
}

fn current(root: &Root) -> Result<Option<String>, Failure> {
    root.current()
        .map_err(|error| wrong(format!("`{}` cannot be read: {error}", root.join("current").display())))
}

//! Jobs that are run to their end: one for each attempt, so that a retry is a new one and a resumed attempt finds its own.

use super::cluster::{Call, MANAGER};
use super::manifest;
use super::object::{INSTANCE, Id, MANAGED_BY, at, label, text};
use super::pods::log;
use super::preflight::the_job;
use super::release::encode;
use super::steps::settled;
use super::target::Target;
use super::template::Scope;
use super::wait::rolled_out;
use crate::driver::{Attempt, Cancel};
use crate::observer::Stream;
use http::Method;
use lockstep_plan::{Failure, Kind};
use serde_json::{Value as Json, json};

/// How long a Job that has ended is kept where its manifest does not say: a day.
const KEPT: i64 = 86_400;

/// A Job says itself how often it tries.
const RESTARTS: i64 = i64::MAX;

/// How many of the last lines of each container are passed on.
const SHOWN: usize = 200;

/// Runs the job of a manifest.
pub(super) async fn run(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let path = attempt.text("manifest");
    let scope = Scope::of(&attempt.call, &attempt.context.run);
    let objects =
        settled(target, manifest::load(&attempt.context.module, &[path], &attempt.call.files, &scope)?)
            .await?;
    let mut job = the_job(objects, path)?;
    let id = Id::of(&job);
    let kept: String = id.name.chars().take(50).collect();
    let name = format!("{kept}-{}", &crate::store::hash(attempt.key.to_string().as_bytes())[..10]);
    job["metadata"]["name"] = name.as_str().into();
    label(&mut job, MANAGED_BY, MANAGER);
    label(&mut job, INSTANCE, &target.instance);
    if at(&job, &["spec", "ttlSecondsAfterFinished"]).is_none() {
        job["spec"]["ttlSecondsAfterFinished"] = KEPT.into();
    }
    let id = Id::of(&job);
    let made = make(target, &id, &job).await?;
    target.say(&format!("started {id}"));
    let result = rolled_out(target, &made, RESTARTS).await;
    if target.cancel.is_cancelled() || result.as_ref().is_err_and(|failure| failure.kind == Kind::Timeout) {
        stop(target, &id).await?;
    }
    show(target, attempt, &name).await;
    result
}

/// Makes the job, or finds the one that an earlier try of this attempt made.
async fn make(target: &Target, id: &Id, job: &Json) -> Result<Json, Failure> {
    let (collection, _) = target.collection(id).await?;
    match target.call(&Call::json(Method::POST, collection, job)).await {
        Ok(made) => Ok(made),
        Err(problem) if problem.is(409) || problem.passing() => match target.get(id).await? {
            Some(made) => Ok(made),
            None => Err(target.failure(&format!("start {id}"), &problem)),
        },
        Err(problem) => Err(target.failure(&format!("start {id}"), &problem)),
    }
}

/// Has the job and its pods removed.
async fn stop(target: &Target, id: &Id) -> Result<(), Failure> {
    let (collection, _) = target.collection(id).await?;
    let call = Call::json(
        Method::DELETE,
        format!("{collection}/{}", id.name),
        &json!({ "propagationPolicy": "Background" }),
    );
    match target.cluster.call(&call, &Cancel::never()).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.is(404) => Ok(()),
        Err(problem) => Err(target.failure(&format!("stop {id}"), &problem)),
    }
}

/// Passes on what the job's pods wrote at last, and keeps it where `dsl logs` looks. What cannot be had is left out.
async fn show(target: &Target, attempt: &Attempt, job: &str) {
    let selector = format!("labelSelector={}", encode(&format!("job-name={job}")));
    let mut kept = String::new();
    for pod in target.list("v1", "pods", &selector).await.unwrap_or_default() {
        let Some(name) = text(&pod, &["metadata", "name"]) else { continue };
        let containers = at(&pod, &["spec", "containers"]).and_then(Json::as_array);
        for container in containers.into_iter().flatten().filter_map(|container| text(container, &["name"])) {
            for line in log(target, name, container, false, SHOWN).await {
                attempt.output.line(Stream::Stdout, &line);
                kept.push_str(&line);
                kept.push('\n');
            }
        }
    }
    let written = std::fs::create_dir_all(&attempt.directory)
        .and_then(|()| std::fs::write(attempt.directory.join("stdout"), kept));
    if let Err(error) = written {
        target.say(&format!("what the job printed cannot be kept: {error}"));
    }
}

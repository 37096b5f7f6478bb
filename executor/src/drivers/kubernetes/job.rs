//! Jobs that are run to their end: one for each attempt, so that a retry is a new one and a resumed attempt finds its own.
//! They are kept, to be looked at, until a later run runs the same one.

use super::cluster::{Call, MANAGER};
use super::head::Head;
use super::manifest;
use super::object::{INSTANCE, Id, MANAGED_BY, SKIP_VERSIONING, annotate, at, dns_name, label, text};
use super::pods::log;
use super::preflight::the_job;
use super::problem::policy;
use super::release::encode;
use super::steps::beside;
use super::target::Target;
use super::template::Scope;
use super::wait::rolled_out;
use crate::driver::{Attempt, Cancel};
use crate::observer::Stream;
use http::Method;
use lockstep_plan::{Failure, Kind};
use serde_json::{Value as Json, json};

/// How long a Job that has ended is kept at most where its manifest does not say: a week.
const KEPT: i64 = 7 * 86_400;

/// Label: the Job of which manifest it is.
const JOB: &str = "lockstep/job";
/// Annotation: the run that runs it.
const RUN: &str = "lockstep/run";

/// A Job says itself how often it tries.
const RESTARTS: i64 = i64::MAX;

/// How many of the last lines of each container are passed on.
const SHOWN: usize = 200;

/// Runs the job of a manifest.
pub(super) async fn run(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let path = attempt.text("manifest");
    let scope = Scope::of(&attempt.call, &attempt.context.run);
    let module = attempt.context.module.as_path();
    let objects = manifest::load(module, &[path], &attempt.call.files, &scope)?;
    let (objects, referred) = beside(target, (&attempt.call, module), objects).await?;
    let mut job = the_job(objects, path)?;
    let id = Id::of(&job);
    are_there(target, &id, &referred).await?;
    let epoch = held(target).await?;
    let kept: String = id.name.chars().take(50).collect();
    let name = format!("{kept}-{}", &crate::store::hash(attempt.key.to_string().as_bytes())[..10]);
    job["metadata"]["name"] = name.as_str().into();
    label(&mut job, MANAGED_BY, MANAGER);
    label(&mut job, INSTANCE, &target.instance);
    label(&mut job, JOB, &dns_name(&id.name));
    annotate(&mut job, RUN, &target.run);
    if at(&job, &["spec", "ttlSecondsAfterFinished"]).is_none() {
        job["spec"]["ttlSecondsAfterFinished"] = KEPT.into();
    }
    forget_earlier(target, &id, epoch).await?;
    let id = Id::of(&job);
    let made = make(target, &id, &job, epoch).await?;
    target.say(&format!("started {id}"));
    let result = rolled_out(target, &made, RESTARTS).await;
    if target.cancel.is_cancelled() || result.as_ref().is_err_and(|failure| failure.kind == Kind::Timeout) {
        stop(target, &id).await?;
    }
    show(target, attempt, &name).await;
    result
}

/// The epoch of the holder, where this process has held the instance for the run: a job needs no hold of its own, but is not run for one
/// that another run has overtaken.
async fn held(target: &Target) -> Result<Option<u64>, Failure> {
    if target.leases.claim(target).is_none() {
        // An earlier process of the run may have.
        if target.life > 1 {
            match Head::read(target).await {
                Ok(head) => head.still_claimed(target)?,
                // Who may not look at Leases has not held any.
                Err(failure) if failure.kind == Kind::Authorization => {}
                Err(failure) => return Err(failure),
            }
        }
        return Ok(None);
    }
    Head::take(target, |head| head.still_claimed(target)).await.map(|head| Some(head.epoch))
}

/// Fails where the job's pods would wait in vain for what the service's release brings under a name of its content.
async fn are_there(target: &Target, job: &Id, referred: &[Json]) -> Result<(), Failure> {
    for id in referred.iter().map(Id::of) {
        // What may not be looked at, the pods will tell of.
        if let Ok(None) = target.get(&id).await {
            return Err(policy(format!(
                "{job} refers to {id} of this release, which is not in {} yet: run it after the step that deploys, or keep the                  plain name by the annotation `{SKIP_VERSIONING}: \"true\"`, or refer to one that is the job's own",
                target.place()
            )));
        }
    }
    Ok(())
}

/// Has the Jobs removed that earlier runs made from the same manifest, and that have ended. What cannot be removed stays.
///
/// # Errors
/// Another run has overtaken this one: which of them came earlier is not for this one to say.
async fn forget_earlier(target: &Target, id: &Id, epoch: Option<u64>) -> Result<(), Failure> {
    let selector = format!("{INSTANCE}={},{JOB}={}", target.instance, dns_name(&id.name));
    let made = target.list(&id.version, "jobs", &format!("labelSelector={}", encode(&selector))).await;
    let ended = |job: &Json| {
        let conditions = at(job, &["status", "conditions"]).and_then(Json::as_array);
        conditions.into_iter().flatten().any(|condition| {
            condition["status"] == "True" && ["Complete", "Failed"].iter().any(|it| condition["type"] == *it)
        })
    };
    for job in made.unwrap_or_default() {
        let by = text(&job, &["metadata", "annotations", RUN]);
        if by.is_none_or(|run| run == target.run) || !ended(&job) {
            continue;
        }
        let Some(name) = text(&job, &["metadata", "name"]) else { continue };
        if let Some(epoch) = epoch {
            target.leases.check(target, epoch).await?;
        }
        match stop(target, &Id::new(&id.version, &id.kind, name)).await {
            Ok(()) => target.say(&format!("removed Job `{name}` of an earlier run")),
            Err(failure) => target.say(&format!("Job `{name}` of an earlier run stays: {}", failure.message)),
        }
    }
    Ok(())
}

/// Makes the job, or finds the one that an earlier try of this attempt made.
async fn make(target: &Target, id: &Id, job: &Json, epoch: Option<u64>) -> Result<Json, Failure> {
    let (collection, _) = target.collection(id).await?;
    let call = Call::json(Method::POST, collection, job);
    let sent = match epoch {
        Some(epoch) => target.cluster.write(&call, target, epoch).await,
        None => target.call(&call).await,
    };
    match sent {
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

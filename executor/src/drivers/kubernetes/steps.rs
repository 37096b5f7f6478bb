//! The steps of the provider, and what those that deploy share.

use super::apply::{apply, apply_of, held, wait};
use super::head::Head;
use super::manifest::{self, settle};
use super::object::Id;
use super::problem::wrong;
use super::release::Release;
use super::target::{Manner, Target};
use super::template::Scope;
use super::{canary, colours, job, parties, rollback, traffic, versioned, workloads};
use crate::driver::Attempt;
use lockstep_plan::{Call, Failure, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// The steps that are known.
pub(super) const NAMES: [&str; 13] = [
    "rolling",
    "canary",
    "promote",
    "canary_delete",
    "stage",
    "swap",
    "traffic",
    "scale",
    "apply",
    "delete",
    "job",
    "restart",
    "rollback",
];

/// How many restarts of a new pod are a crash loop, where the step does not say.
pub(super) const RESTARTS: i64 = 3;

/// What a step gives.
pub(super) type Outputs = BTreeMap<String, Value>;

/// Carries an attempt out.
pub(super) async fn carry_out(target: Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    let target = &target;
    let nothing = |()| Outputs::new();
    match attempt.call.step.as_str() {
        "rolling" => rolling(target, attempt).await,
        "canary" => canary::canary(target, attempt).await,
        "promote" => canary::promote(target, attempt).await,
        "canary_delete" => canary::delete(target).await.map(nothing),
        "stage" => colours::stage(target, attempt).await,
        "swap" => colours::swap(target, attempt).await.map(nothing),
        "traffic" => traffic::traffic(target, attempt).await.map(nothing),
        "scale" => workloads::scale(target, attempt).await.map(nothing),
        "restart" => workloads::restart(target, attempt).await.map(nothing),
        "apply" => workloads::apply_more(target, attempt).await.map(nothing),
        "delete" => workloads::delete(target, attempt).await.map(nothing),
        "job" => job::run(target, attempt).await.map(nothing),
        "rollback" => rollback::roll_back(target, attempt).await.map(nothing),
        other => Err(wrong(format!("the provider `kubernetes` has no step `{other}`"))),
    }
}

/// The objects of the call's service, as its manifests have them.
pub(super) fn rendered(call: &Call, module: &Path, run: &str) -> Result<Vec<Json>, Failure> {
    let (_, service) = parties(call)?;
    let patterns = manifest::patterns(service.settings.get("manifests"));
    manifest::load(module, &patterns, &service.files, &Scope::of(call, run))
}

/// Objects as they are applied: in the target's namespace, ConfigMaps and Secrets named by their content.
pub(super) async fn settled(target: &Target, mut objects: Vec<Json>) -> Result<Vec<Json>, Failure> {
    for index in 0..objects.len() {
        let id = Id::of(&objects[index]);
        let resource = target.kind(&id, &objects).await?;
        target.may_write(&id, &resource)?;
        if resource.namespaced {
            settle(&mut objects[index], &target.namespace)?;
        }
    }
    for (kept, by) in versioned::version(&mut objects)? {
        target.say(&format!("{kept} keeps its name, whatever it holds: {by} may name it"));
    }
    Ok(objects)
}

/// Objects that are to be part of a release: settled, and Jobs named by their content.
pub(super) async fn released(target: &Target, objects: Vec<Json>) -> Result<Vec<Json>, Failure> {
    let mut objects = settled(target, objects).await?;
    versioned::version_jobs(&mut objects)?;
    Ok(objects)
}

/// Objects that a step has beside those of the service, settled: what they refer to of these they call by the names that it has in
/// this release. Gives that, too.
pub(super) async fn beside(
    target: &Target,
    (call, module): (&Call, &Path),
    mut objects: Vec<Json>,
) -> Result<(Vec<Json>, Vec<Json>), Failure> {
    objects = settled(target, objects).await?;
    if !versioned::refer_elsewhere(&mut objects) {
        return Ok((objects, Vec::new()));
    }
    // Manifests that only a later step makes have given nothing a name yet.
    let Ok(mut own) = rendered(call, module, &target.run) else { return Ok((objects, Vec::new())) };
    versioned::version(&mut own)?;
    let mut referred: Vec<Json> = versioned::follow(&mut objects, &own).into_iter().cloned().collect();
    referred.iter_mut().try_for_each(|object| settle(object, &target.namespace))?;
    Ok((objects, referred))
}

/// Objects that an `apply` step adds to a release, ready to be applied, with what they refer to.
pub(super) async fn further(
    target: &Target,
    call: (&Call, &Path),
    objects: Vec<Json>,
) -> Result<Vec<Json>, Failure> {
    let (objects, mut all) = beside(target, call, objects).await?;
    all.extend(objects);
    versioned::version_jobs(&mut all)?;
    Ok(all)
}

/// The service's objects, ready to be applied.
pub(super) async fn service(target: &Target, attempt: &Attempt) -> Result<Vec<Json>, Failure> {
    released(target, rendered(&attempt.call, &attempt.context.module, &target.run)?).await
}

/// From how many restarts on a new pod counts as broken.
pub(super) fn restarts(attempt: &Attempt) -> i64 {
    match attempt.call.arguments.get("restarts") {
        Some(Value::Int(restarts)) => (*restarts).max(1),
        _ => RESTARTS,
    }
}

async fn rolling(target: &Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    let objects = service(target, attempt).await?;
    let before = Head::now(target).await?;
    let release =
        Release { objects, extra: extra(target, &before).await?, colour: None, ..Release::default() };
    deploy(target, attempt, &release, Deployment::WHOLE).await
}

/// What `apply` steps of the same run have added to the instance.
pub(super) async fn extra(target: &Target, head: &Head) -> Result<Vec<Json>, Failure> {
    match head.latest() {
        Some(name) if head.run == target.run => Ok(Release::read(target, name).await?.extra),
        _ => Ok(Vec::new()),
    }
}

/// How a release is put in place.
pub(super) struct Deployment {
    /// What is applied before it.
    pub first: Vec<Json>,
    /// Which of its objects are applied.
    pub applied: fn(&Release, &Json) -> bool,
    /// Whether it is in place then.
    pub completes: bool,
    /// Whether a canary that is there has to go for it.
    pub alone: bool,
}

impl Deployment {
    /// All of it.
    pub const WHOLE: Deployment =
        Deployment { first: Vec::new(), applied: |_, _| true, completes: true, alone: true };
}

/// Puts a release in place, and gives its number.
pub(super) async fn deploy(
    target: &Target,
    attempt: &Attempt,
    release: &Release,
    deployment: Deployment,
) -> Result<Outputs, Failure> {
    let name = release.name();
    for object in release.all().filter(|object| object["kind"] == "Namespace") {
        target.make_namespace(object).await?;
    }
    release.store(target).await?;
    let begun = begin(target, &name, |head| {
        head.pending = Some(name.clone());
        if deployment.alone {
            head.retire_canary();
        }
    });
    let head = begun.await?;
    let manner = match attempt.call.arguments.get("force").and_then(Value::as_bool) {
        Some(true) => Manner::Forced,
        _ => Manner::Plain,
    };
    let work = async {
        apply(target, deployment.first.iter(), head.epoch, manner).await?;
        let objects = release.all().filter(|object| (deployment.applied)(release, object));
        let applied = apply_of(target, release, objects, head.epoch, manner).await?;
        wait(target, &applied, restarts(attempt)).await
    };
    held(target, head.epoch, work).await?;
    let completes = deployment.completes;
    let head = Head::change(target, head.epoch, |head| {
        if completes {
            head.complete(&name);
        }
    });
    let head = head.await?;
    let revision = if completes { head.revision } else { head.revision + 1 };
    Ok(Outputs::from([("revision".to_string(), Value::Int(revision))]))
}

/// Takes the instance in order to put the release `new` into it. What earlier runs may have left behind stays until the end of
/// this one: its pods may still be the ones that serve.
pub(super) async fn begin(target: &Target, new: &str, edit: impl Fn(&mut Head)) -> Result<Head, Failure> {
    let taken = Head::take(target, |head| {
        head.claimed(target)?;
        head.begun_by(&target.run);
        head.tidy = false;
        edit(head);
        Ok(())
    });
    let head = taken.await?;
    target.say(&format!("release {new}"));
    Ok(head)
}

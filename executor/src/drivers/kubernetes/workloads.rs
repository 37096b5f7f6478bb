//! Steps on what is in place: more objects, more or fewer pods, a restart, or none of it any more.

use super::addresses;
use super::apply::{held, wait};
use super::cluster::Call;
use super::head::Head;
use super::manifest;
use super::object::{Id, annotate, note, notes, text};
use super::problem::{policy, wrong};
use super::release::Release;
use super::replicas::{autoscaled, counted, scales};
use super::steps::{Deployment, deploy, extra, further, restarts, service};
use super::taken::put_by_others;
use super::target::Target;
use super::template::Scope;
use crate::driver::Attempt;
use http::Method;
use jiff::Timestamp;
use lockstep_plan::{Failure, Value};
use serde_json::{Value as Json, json};

/// Who restarts: a manager of its own, so that later applies leave the mark as it is and no pod starts again for it.
const RESTARTER: &str = "lockstep-restart";

/// Annotation of the template: when its pods were restarted last; everybody's convention.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Annotation of what was restarted, one for each run: what the template said before; empty where it said nothing.
pub(super) const RESTARTED: &str = "lockstep/restarted";

/// The release in place, or on its way there by this run.
async fn in_place(target: &Target, head: &Head) -> Result<Release, Failure> {
    let name = if head.run == target.run { head.latest() } else { head.current.as_deref() };
    match name {
        Some(name) => Release::read(target, name).await,
        None => Err(nothing_in_place(target)),
    }
}

pub(super) fn nothing_in_place(target: &Target) -> Failure {
    policy(format!("no release of `{}` is in place in {}: deploy one first", target.instance, target.place()))
}

/// Sets the number of replicas of every Deployment and StatefulSet.
pub(super) async fn scale(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let Some(Value::Int(replicas)) = attempt.call.arguments.get("replicas") else {
        return Err(wrong("`replicas` is missing"));
    };
    let head = Head::now(target).await?;
    let mut release = in_place(target, &head).await?;
    refuse_autoscaled(target, &release).await?;
    set_replicas(&mut release, *replicas);
    let scaling = Deployment {
        first: Vec::new(),
        applied: |_, object| scales(object),
        completes: release.colour.is_none() || head.pending.is_none(),
        alone: false,
    };
    deploy(target, attempt, &release, scaling).await.map(drop)
}

/// Fails where somebody else says how many pods a workload of the release has.
pub(super) async fn refuse_autoscaled(target: &Target, release: &Release) -> Result<(), Failure> {
    let objects: Vec<&Json> = release.all().collect();
    match autoscaled(target, &objects, release).await?.iter().find(|scaled| release.holds(scaled)) {
        Some(scaled) => Err(policy(format!(
            "an autoscaler says how many replicas {scaled} in {} has: set its limits instead",
            target.place()
        ))),
        None => Ok(()),
    }
}

/// Has every Deployment and StatefulSet of a release have that many pods.
pub(super) fn set_replicas(release: &mut Release, replicas: i64) {
    for object in release.objects.iter_mut().chain(&mut release.extra).filter(|object| scales(object)) {
        object["spec"]["replicas"] = replicas.into();
    }
}

/// Adds objects to a release, in place of those of the same names.
pub(super) fn add(release: &mut Release, more: Vec<Json>) {
    let ids: Vec<Id> = more.iter().map(Id::of).collect();
    for objects in [&mut release.objects, &mut release.extra] {
        objects.retain(|object| !ids.iter().any(|id| id.same(&Id::of(object))));
    }
    release.extra.extend(more);
}

/// Applies further manifests, which belong to the release from now on.
pub(super) async fn apply_more(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let patterns = manifest::patterns(attempt.call.arguments.get("manifests"));
    let scope = Scope::of(&attempt.call, &attempt.context.run);
    let module = attempt.context.module.as_path();
    let more = manifest::load(module, &patterns, &attempt.call.files, &scope)?;
    let more = further(target, (&attempt.call, module), more).await?;
    let head = Head::now(target).await?;
    let mut release = match in_place(target, &head).await {
        Ok(release) => release,
        Err(_) if head.latest().is_none() => Release::default(),
        Err(failure) => return Err(failure),
    };
    release.extra = extra(target, &head).await?;
    add(&mut release, more);
    let adding = Deployment {
        first: Vec::new(),
        applied: |release, object| release.extra.contains(object),
        completes: release.colour.is_none() || head.pending.is_none(),
        alone: false,
    };
    deploy(target, attempt, &release, adding).await.map(drop)
}

/// Replaces the pods of every workload, one after another, by the same again.
pub(super) async fn restart(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let head = Head::now(target).await?;
    let release = in_place(target, &head).await?;
    let head = Head::take(target, |head| {
        head.still_claimed(target)?;
        head.run.clone_from(&target.run);
        head.tidy = false;
        Ok(())
    });
    let head = head.await?;
    // The same whenever the attempt is repeated.
    let at = i64::try_from(attempt.commanded_at).unwrap_or(0);
    let at = Timestamp::from_millisecond(at).map_err(|error| wrong(error.to_string()))?.to_string();
    let work = async {
        let mut restarted = Vec::new();
        for object in release.all().filter(|object| Id::of(object).is_workload() && object["kind"] != "Job") {
            target.go_on()?;
            let id = Id::of(object);
            let Some(live) = target.get(&id).await? else {
                return Err(wrong(format!("{id} is not in {}: deploy it again", target.place())));
            };
            let now = restarted_at(&live).unwrap_or_default();
            let before = restart_of(&live, &target.run).unwrap_or(now);
            let mut mark = earlier_restarts(target, &live);
            annotate(&mut mark, &note(RESTARTED, &target.run), before);
            restarted.push(mark_restart(target, &id, mark, &at, head.epoch).await?);
            target.say(&format!("restarting {id}"));
        }
        wait(target, &restarted, restarts(attempt)).await
    };
    held(target, head.epoch, work).await
}

/// When the pods were restarted last, as far as the template says.
fn restarted_at(live: &Json) -> Option<&str> {
    text(live, &["spec", "template", "metadata", "annotations", RESTARTED_AT])
}

/// What the template said before that run's restarts, where it had any.
fn restart_of<'a>(live: &'a Json, run: &str) -> Option<&'a str> {
    notes(live, RESTARTED).find(|(by, _)| *by == run).map(|(_, before)| before)
}

/// A mark that keeps what other runs have noted, as long as they can be taken back.
fn earlier_restarts(target: &Target, live: &Json) -> Json {
    let mut mark = json!({});
    for (run, before) in notes(live, RESTARTED).filter(|(run, _)| target.keeps_notes_of(run)) {
        annotate(&mut mark, &note(RESTARTED, run), before);
    }
    mark
}

/// Writes a mark, and when the pods are to have been restarted; empty: never.
async fn mark_restart(
    target: &Target,
    id: &Id,
    mut mark: Json,
    at: &str,
    epoch: u64,
) -> Result<Json, Failure> {
    mark["apiVersion"] = id.version.as_str().into();
    mark["kind"] = id.kind.as_str().into();
    mark["metadata"]["name"] = id.name.as_str().into();
    if !at.is_empty() {
        mark["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = at.into();
    }
    let (collection, _) = target.collection(id).await?;
    let uri = format!("{collection}/{}?fieldManager={RESTARTER}&force=true", id.name);
    let body = Some(("application/apply-patch+yaml", mark.to_string().into_bytes()));
    let call = Call { method: Method::PATCH, uri, body };
    let patched = target.cluster.write(&call, target, epoch).await;
    patched.map_err(|problem| target.failure(&format!("restart {id}"), &problem))
}

/// Has the templates of workloads that were just applied say what they said before this run's restarts.
pub(super) async fn unrestart(target: &Target, applied: &mut [Json], epoch: u64) -> Result<(), Failure> {
    for object in applied {
        let Some(before) = restart_of(object, &target.run) else { continue };
        let id = Id::of(object);
        target.say(&format!("taking the restart of {id} back"));
        *object = mark_restart(target, &id, earlier_restarts(target, object), before, epoch).await?;
    }
    Ok(())
}

/// Deletes what is in place: all that the release holds, or, where none was deployed, what the manifests describe; and a canary that
/// runs beside it.
pub(super) async fn delete(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let head = Head::now(target).await?;
    let mut objects: Vec<Json> = match head.latest() {
        Some(name) => Release::read(target, name).await?.all().cloned().collect(),
        None => service(target, attempt).await?,
    };
    for name in [&head.canary, &head.leaving].into_iter().flatten() {
        objects.extend(Release::read(target, name).await?.all().cloned());
    }
    let ids: Vec<Id> = objects.iter().map(Id::of).collect();
    let counted = counted(target, ids.iter()).await?;
    let addresses = addresses::noted(target, ids.iter()).await?;
    let head = Head::take(target, |head| {
        head.claimed(target)?;
        head.begun_by(&target.run);
        head.replicas.extend(counted.clone());
        head.addresses.extend(addresses.clone());
        head.tidy = false;
        head.pending = head.pending.take().or_else(|| head.current.clone());
        Ok(())
    });
    let head = head.await?;
    let work = async {
        for object in objects.iter().rev() {
            target.go_on()?;
            let id = Id::of(object);
            tell_what_is_lost(target, &id).await?;
            target.delete(&id, head.epoch).await?;
        }
        Ok(())
    };
    held(target, head.epoch, work).await?;
    Head::change(target, head.epoch, |head| {
        (head.current, head.pending) = (None, None);
        (head.canary, head.leaving) = (None, None);
    })
    .await
    .map(drop)
}

/// Says what of an object that is about to be deleted no rollback brings back, for no release holds it.
async fn tell_what_is_lost(target: &Target, id: &Id) -> Result<(), Failure> {
    if id.kind == "Namespace" || target.out_of_reach(id).await?.is_some() {
        return Ok(());
    }
    let Some(live) = target.whole(id).await?.filter(|live| target.owns(live)) else { return Ok(()) };
    let lost = put_by_others(&live);
    if !lost.is_empty() {
        target.say(&format!(
            "{id} goes with what others have put on it, and comes back without: {}",
            lost.join(", ")
        ));
    }
    Ok(())
}

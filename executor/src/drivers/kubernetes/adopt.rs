//! What a target runs before a stage changes it: the release in place, or, where no release of this service was ever
//! deployed, the objects that somebody else has put there under the names that the manifests use.

use super::apply::held;
use super::head::Head;
use super::manifest::settle;
use super::object::{EPOCH, INSTANCE, Id, at, is_note, stamp, text};
use super::permissions;
use super::problem::policy;
use super::release::Release;
use super::replicas::GIVEN;
use super::seal;
use super::steps::rendered;
use super::taken::TAKEN;
use super::target::Target;
use super::workloads::RESTARTED;
use lockstep_plan::{Call, Failure, Kind};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// The name of the release that a rollback has to return to; none where there is nothing to return to.
pub(super) async fn found(target: &Target, call: &Call, module: &Path) -> Result<Option<String>, Failure> {
    let wanted = rendered(call, module, &target.run)?;
    let there = in_place(target, &Head::read(target).await?).await?;
    permissions::check(target, std::slice::from_ref(call), &there, module).await?;
    let own = wanted.iter().find(|object| object["kind"] == "Namespace");
    if let Some(namespace) = own
        && target.get(&Id::of(namespace)).await?.is_none()
    {
        return Ok(None);
    }
    // From here on nobody else changes what is looked at.
    let taken = Head::take(target, |head| {
        head.claim.clone_from(&target.run);
        let current = head.current.clone();
        head.found_now(&target.run, current.as_deref());
        Ok(())
    });
    let mut head = taken.await?;
    let current = seal::in_place(target, &head).await?;
    if current != head.current
        && let Some(left) = &current
    {
        target.say(&format!("release {left}, whose step had failed, is what runs here by now"));
        let changed = Head::change(target, head.epoch, |head| {
            head.complete(left);
            head.found_now(&target.run, Some(left));
        });
        head = changed.await?;
    }
    if let Some(current) = &head.current {
        if !Release::is_stored(target, current).await? {
            return Err(lost(target, current));
        }
        return Ok(head.current);
    }
    let mut found: Vec<Json> = Vec::new();
    for mut object in wanted {
        settle(&mut object, &target.namespace)?;
        if object["kind"] != "Namespace"
            && let Some(live) = target.get(&Id::of(&object)).await?
        {
            found.push(live);
        }
    }
    // Without its head an instance still has its objects, and the releases that they came from.
    let lost = head.run.is_empty();
    if lost {
        for id in Release::stored(target).await?.into_values().flat_map(|held| held.objects) {
            let known = found.iter().any(|live| Id::of(live).same(&id));
            if !known
                && target.out_of_reach(&id).await?.is_none()
                && let Some(live) = target.get(&id).await?
            {
                found.push(live);
            }
        }
    }
    let written = found.iter().filter(|live| target.owns(live)).map(stamp).max().unwrap_or(0);
    // What a run that did not get to its end has left is nothing to return to.
    found.retain(|live| lost && target.owns(live) || text(live, &["metadata", "labels", INSTANCE]).is_none());
    if written >= head.epoch {
        target.say("what is here was written by holders of a Lease that is gone");
        head = Head::change(target, head.epoch, |head| head.epoch = written + 1).await?;
    }
    if found.is_empty() {
        return Ok(None);
    }
    let objects = found.iter().map(bare).collect();
    let release = Release { objects, found: true, ..Release::default() };
    held(target, head.epoch, release.store(target)).await?;
    let name = release.name();
    Head::change(target, head.epoch, |head| head.found_now(&target.run, Some(&name))).await?;
    Ok(Some(name))
}

/// The objects of the releases that the head says are in place, or on their way there.
///
/// # Errors
/// The record of the one in place is gone. Whatever else cannot be read is left out.
pub(super) async fn in_place(target: &Target, head: &Head) -> Result<Vec<Id>, Failure> {
    let mut ids = Vec::new();
    for name in [&head.pending, &head.current].into_iter().flatten() {
        match Release::read(target, name).await {
            Ok(release) => ids.extend(release.all().map(Id::of)),
            Err(failure) if failure.kind == Kind::Application && head.current.as_ref() == Some(name) => {
                return Err(lost(target, name));
            }
            Err(_) => {}
        }
    }
    Ok(ids)
}

/// Nothing could return to the release in place.
fn lost(target: &Target, current: &str) -> Failure {
    policy(format!(
        "the record of the release {current} of `{0}`, which is in place in {1}, is gone or damaged, so nothing could return to \
         it: bring the Secrets `lockstep.{0}.{current}.*` back from a backup, or delete the Lease `lockstep.{0}`: then the next \
         run takes what is in place for what it has to return to",
        target.instance,
        target.place()
    ))
}

/// An object without what the API server and its controllers add.
fn bare(live: &Json) -> Json {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = at(live, &["metadata", key]) {
            metadata.insert(key.into(), value.clone());
        }
    }
    if let Some(Json::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.remove(EPOCH);
        annotations.remove(GIVEN);
        annotations.retain(|key, _| ![TAKEN, RESTARTED].iter().any(|name| is_note(key, name)));
    }
    let mut object = json!({ "apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata });
    for (key, value) in live.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata", "status"].contains(&key.as_str()) {
            object[key] = value.clone();
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Json::as_object_mut) {
        // Given out by the API server, once and for all.
        if live["kind"] == "Service" {
            for key in ["clusterIP", "clusterIPs"] {
                spec.remove(key);
            }
        }
    }
    object
}

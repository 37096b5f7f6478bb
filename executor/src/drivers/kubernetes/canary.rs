//! Canaries: a second Deployment of the new release beside each of the old one, behind the same Service.

use super::apply::{apply, held, wait};
use super::head::Head;
use super::object::{Id, map_at, number};
use super::problem::policy;
use super::release::Release;
use super::steps::{Deployment, Outputs, begin, deploy, extra, restarts, service};
use super::target::{Manner, Target};
use super::traffic::{belongs, is_route};
use super::validity::leaves_room;
use crate::driver::Attempt;
use lockstep_plan::{Call, Failure, Value};
use serde_json::Value as Json;

/// Tells a canary's pods from the others.
pub(super) const CANARY: &str = "lockstep/track";

/// What pods need beside them. Of these only what the old release does not have comes with the canary.
const COMPANIONS: [&str; 6] =
    ["ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim", "Role", "RoleBinding"];

/// Runs the new release beside the one in place.
pub(super) async fn canary(target: &Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    let objects = service(target, attempt).await?;
    let before = Head::now(target).await?;
    let Some(stable) = &before.current else {
        return Err(nothing_beside(target));
    };
    let stable = Release::read(target, stable).await?;
    let mut release = beside(target, &attempt.call, objects, &stable).await?;
    // What sends it a share of the requests stays.
    if let Some(before) = before.canary.as_deref().filter(|_| before.run == target.run) {
        release.objects.extend(Release::read(target, before).await?.objects.into_iter().filter(belongs));
    }
    let name = release.name();
    release.store(target).await?;
    let head = begin(target, &name, |head| head.canary = Some(name.clone())).await?;
    let work = async {
        let applied = apply(target, release.all(), head.epoch, Manner::Plain).await?;
        wait(target, &applied, restarts(attempt)).await
    };
    held(target, head.epoch, work).await?;
    Ok(Outputs::from([("revision".to_string(), Value::Int(head.revision + 1))]))
}

pub(super) fn nothing_beside(target: &Target) -> Failure {
    policy(format!(
        "no release of `{}` runs in {} yet, so there is nothing to run a canary beside: deploy one with \
         `kubernetes.rolling` first",
        target.instance,
        target.place()
    ))
}

/// What runs of these objects beside the release in place.
pub(super) async fn beside(
    target: &Target,
    call: &Call,
    objects: Vec<Json>,
    stable: &Release,
) -> Result<Release, Failure> {
    fits(&objects)?;
    let mut release = Release::default();
    for object in objects {
        let id = Id::of(&object);
        if id.kind == "Deployment" {
            let replicas = replicas(target, call, &object).await?;
            release.objects.push(copy(object, replicas));
        } else if COMPANIONS.contains(&id.kind.as_str()) && !stable.holds(&id) {
            release.objects.push(object);
        }
    }
    Ok(release)
}

/// What a Deployment's canary is called after it.
const SUFFIX: &str = "-canary";

/// Fails where these objects cannot have a canary.
pub(super) fn fits(objects: &[Json]) -> Result<(), Failure> {
    if !objects.iter().any(|object| object["kind"] == "Deployment") {
        return Err(policy("the service's manifests hold no Deployment, and only these can have a canary"));
    }
    let mut deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    deployments.try_for_each(|object| leaves_room(object, SUFFIX))
}

/// How many pods the canary of a Deployment has: as many as the step says, or the share of those that run now, and one at
/// least.
async fn replicas(target: &Target, call: &Call, deployment: &Json) -> Result<i64, Failure> {
    if let Some(Value::Int(replicas)) = call.arguments.get("replicas") {
        return Ok(*replicas);
    }
    let share = match call.arguments.get("share") {
        Some(Value::Percent(share)) => i64::from(*share),
        _ => 0,
    };
    let live = target.get(&Id::of(deployment)).await?;
    let all = live.as_ref().and_then(|live| number(live, &["spec", "replicas"]));
    let all = all.or_else(|| number(deployment, &["spec", "replicas"])).unwrap_or(1);
    Ok(share_of(share, all))
}

fn share_of(share: i64, all: i64) -> i64 {
    if share == 0 { 0 } else { ((all * share + 99) / 100).max(1) }
}

/// A Deployment under a name and with labels of its own; the Service's selector still fits its pods.
fn copy(mut deployment: Json, replicas: i64) -> Json {
    let name = format!("{}{SUFFIX}", Id::of(&deployment).name);
    deployment["metadata"]["name"] = name.into();
    deployment["spec"]["replicas"] = replicas.into();
    for path in [
        &["metadata", "labels"][..],
        &["spec", "selector", "matchLabels"],
        &["spec", "template", "metadata", "labels"],
    ] {
        if let Some(labels) = map_at(&mut deployment, path) {
            labels.insert(CANARY.into(), "canary".into());
        }
    }
    deployment
}

/// Rolls the new release out, then removes the canary.
pub(super) async fn promote(target: &Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    let objects = service(target, attempt).await?;
    let before = Head::now(target).await?;
    let release =
        Release { objects, extra: extra(target, &before).await?, colour: None, ..Release::default() };
    let outputs = deploy(target, attempt, &release, Deployment::WHOLE).await?;
    delete(target).await?;
    Ok(outputs)
}

/// Removes the canary, if there is one.
pub(super) async fn delete(target: &Target) -> Result<(), Failure> {
    let before = Head::now(target).await?;
    if before.canary.is_none() && before.leaving.is_none() {
        target.say("there is no canary");
        return Ok(());
    }
    let head = Head::take(target, |head| {
        head.still_claimed(target)?;
        head.run.clone_from(&target.run);
        head.retire_canary();
        Ok(())
    });
    let head = head.await?;
    held(target, head.epoch, remove(target, &head)).await?;
    Head::change(target, head.epoch, |head| head.leaving = None).await.map(drop)
}

/// Removes what only the canary has that is to go. Gives the objects that were deleted.
pub(super) async fn remove(target: &Target, head: &Head) -> Result<Vec<Id>, Failure> {
    let Some(leaving) = &head.leaving else { return Ok(Vec::new()) };
    let canary = Release::read(target, leaving).await?;
    let mut stay = Vec::new();
    for name in [&head.current, &head.pending, &head.canary].into_iter().flatten() {
        stay.push(Release::read(target, name).await?);
    }
    // Requests go elsewhere before the pods do.
    if canary.all().any(is_route) && head.current.is_some() {
        apply(target, stay[0].all().filter(|object| is_route(object)), head.epoch, Manner::Plain).await?;
    }
    let mut deleted = Vec::new();
    for id in canary.all().rev().map(Id::of).filter(|id| !stay.iter().any(|stays| stays.holds(id))) {
        target.go_on()?;
        if target.delete(&id, head.epoch).await? {
            deleted.push(id);
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::super::object::at;
    use super::*;
    use serde_json::json;

    #[test]
    fn shares_are_rounded_up() {
        for (share, all, pods) in [(0, 10, 0), (1, 10, 1), (20, 10, 2), (25, 10, 3), (100, 3, 3), (50, 1, 1)]
        {
            assert_eq!(share_of(share, all), pods, "{share}% of {all}");
        }
    }

    #[test]
    fn a_copy_fits_the_service_and_not_the_original() {
        let labels = json!({ "app": "a" });
        let original = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
            "spec": { "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels } } },
        });
        let copy = copy(original, 2);
        assert_eq!(copy["metadata"]["name"], "a-canary");
        assert_eq!(copy["spec"]["replicas"], 2);
        let both = json!({ "app": "a", CANARY: "canary" });
        assert_eq!(at(&copy, &["spec", "selector", "matchLabels"]), Some(&both));
        assert_eq!(at(&copy, &["spec", "template", "metadata", "labels"]), Some(&both));
    }
}

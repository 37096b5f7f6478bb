//! Waits until a workload is rolled out, or cannot be any more.

use super::cluster::Call;
use super::object::{Id, at, number, text};
use super::pods::{Trouble, story, trouble, warnings};
use super::release::encode;
use super::rollout::{Progress, condition, progress};
use super::steps::RESTARTS;
use super::target::Target;
use super::watch::Watched;
use http::Method;
use lockstep_plan::{Failure, Kind};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long pods that the API server does not let in are waited for: old ones may still make room.
const REFUSED: Duration = Duration::from_secs(5);

/// By name.
type Pods = BTreeMap<String, Json>;

/// Waits for a workload as an apply of ours left it.
///
/// # Errors
/// It failed, time is up, or pods of its new revision cannot get better; with what these pods say.
pub(super) async fn rolled_out(target: &Target, applied: &Json, restarts: i64) -> Result<(), Failure> {
    until_rolled_out(target, applied, restarts, None).await
}

/// The same for a workload that is returned to, by the holder of `epoch`.
pub(super) async fn returned(target: &Target, applied: &Json, epoch: u64) -> Result<(), Failure> {
    until_rolled_out(target, applied, RESTARTS, Some(epoch)).await
}

async fn until_rolled_out(
    target: &Target,
    applied: &Json,
    restarts: i64,
    back: Option<u64>,
) -> Result<(), Failure> {
    let id = Id::of(applied);
    let generation = number(applied, &["metadata", "generation"]).unwrap_or(0);
    let (collection, _) = target.collection(&id).await?;
    let selector = encode(&format!("metadata.name={}", id.name));
    let uri = format!("{collection}?fieldSelector={selector}");
    let mut workload = Watched::since(target, &id.to_string(), uri, applied);
    let mut pods = Watched::new(target, &format!("pods of {id}"), pods_uri(target, applied));
    let mut said = String::new();
    let mut refused_since: Option<Instant> = None;
    loop {
        let Some(object) = workload.items.get(&id.name) else {
            return Err(Failure::new(
                Kind::Application,
                format!("{id} in {} was deleted while it was being waited for", target.place()),
            ));
        };
        let (waiting, seen) = match progress(&id.kind, object, generation) {
            Progress::Done => return Ok(()),
            Progress::Unseen => ("waiting for its controller to take notice".to_string(), false),
            Progress::Waiting(text) => (text, true),
            Progress::Failed { why, overdue } => {
                let kind = if overdue { Kind::Timeout } else { Kind::Application };
                // The workload's own watch may be ahead of that of its pods.
                if troubles(&pods.items, restarts).next().is_none() {
                    pods.again().await?;
                }
                let worst = worst(target, object, &pods.items, restarts).await;
                return Err(failure(target, &id, kind, &why, worst).await);
            }
        };
        if waiting != said {
            target.say(&format!("{id}: {waiting}"));
            said.clone_from(&waiting);
        }
        // Which pods are new shows only once the controller has said which revision is.
        for found in troubles(&pods.items, restarts).filter(|found| seen && found.hopeless) {
            if is_new(target, object, pods.items.get(&found.pod)).await? {
                return Err(
                    failure(target, &id, Kind::Application, "it cannot get better", Some(found)).await
                );
            }
        }
        if let Some(epoch) = back
            && seen
        {
            for pod in pods.items.values().filter(|pod| in_the_way(object, pod)) {
                replace(target, pod, epoch).await?;
            }
        }
        let refused =
            condition(object, "ReplicaFailure").filter(|failure| seen && failure["status"] == "True");
        let refused = refused.and_then(|condition| text(condition, &["message"])).map(str::to_string);
        match &refused {
            None => refused_since = None,
            Some(why) => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= REFUSED {
                    let why = format!("its pods are refused: {why}");
                    return Err(failure(target, &id, Kind::Policy, &why, None).await);
                }
            }
        }
        let look_again = refused_since.map_or(target.deadline, |since| since + REFUSED);
        let opened = async { Ok::<bool, Failure>(workload.open().await? | pods.open().await?) };
        tokio::select! {
            opened = opened => if opened? { continue },
            () = tokio::time::sleep_until(target.deadline) => {}
            () = target.cancel.cancelled() => return target.go_on(),
        }
        tokio::select! {
            () = workload.changed() => {}
            () = pods.changed() => {}
            () = tokio::time::sleep_until(look_again.min(target.deadline)) => {
                if Instant::now() >= target.deadline {
                    let why = format!("it was not rolled out in time: {waiting}");
                    // What waits here may have come in meanwhile.
                    let Some(object) = workload.items.get(&id.name) else { continue };
                    let worst = worst(target, object, &pods.items, restarts).await;
                    return Err(failure(target, &id, Kind::Timeout, &why, worst).await);
                }
            }
            () = target.cancel.cancelled() => return target.go_on(),
        }
    }
}

/// Whether a pod of another revision keeps a StatefulSet from replacing its pods: its controller waits for each to be ready, even
/// for one that it is about to replace.
fn in_the_way(workload: &Json, pod: &Json) -> bool {
    let newest = text(workload, &["status", "updateRevision"]);
    let revision = text(pod, &["metadata", "labels", "controller-revision-hash"]);
    let owners = at(pod, &["metadata", "ownerReferences"]).and_then(Json::as_array);
    let owned = owners
        .into_iter()
        .flatten()
        .any(|owner| owner["controller"] == true && owner["uid"] == workload["metadata"]["uid"]);
    // Those below the partition keep their revision.
    let partition = number(workload, &["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or(0);
    let ordinal =
        text(pod, &["metadata", "name"]).and_then(|name| name.rsplit_once('-')?.1.parse::<i64>().ok());
    workload["kind"] == "StatefulSet"
        && owned
        && newest.is_some()
        && revision.is_some_and(|revision| Some(revision) != newest)
        && ordinal.is_some_and(|ordinal| ordinal >= partition)
        && !pod["metadata"]["deletionTimestamp"].is_string()
        && condition(pod, "Ready").is_none_or(|ready| ready["status"] != "True")
}

/// Deletes a pod as it was seen, so that its controller makes another.
async fn replace(target: &Target, pod: &Json, epoch: u64) -> Result<(), Failure> {
    let name = text(pod, &["metadata", "name"]).unwrap_or_default();
    let metadata = &pod["metadata"];
    let seen = json!({ "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] });
    let uri = format!("/api/v1/namespaces/{}/pods/{name}", target.namespace);
    let call = Call::json(Method::DELETE, uri, &json!({ "preconditions": seen }));
    match target.cluster.write(&call, target, epoch).await {
        Ok(_) => {
            target
                .say(&format!("deleted pod `{name}`: it is not ready, and its controller would wait for it"));
            Ok(())
        }
        // It has changed, or is gone: the watch will show it.
        Err(problem) if problem.is(404) || problem.is(409) => Ok(()),
        Err(problem) => Err(target.failure(&format!("delete pod `{name}`"), &problem)),
    }
}

fn pods_uri(target: &Target, workload: &Json) -> String {
    let mut terms = Vec::new();
    let labels = at(workload, &["spec", "selector", "matchLabels"]).and_then(Json::as_object);
    for (name, value) in labels.into_iter().flatten() {
        terms.push(format!("{name}={}", value.as_str().unwrap_or_default()));
    }
    let expressions = at(workload, &["spec", "selector", "matchExpressions"]).and_then(Json::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = text(expression, &["key"]).unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        terms.push(match text(expression, &["operator"]) {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_string(),
        });
    }
    format!("/api/v1/namespaces/{}/pods?labelSelector={}", target.namespace, encode(&terms.join(",")))
}

/// What is wrong with pods that are to stay.
fn troubles(pods: &Pods, restarts: i64) -> impl Iterator<Item = Trouble> {
    let staying = pods.values().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
    staying.filter_map(move |pod| trouble(pod, restarts))
}

/// The worst of it, that of new pods first: what is wrong with old ones is only told where the new ones have nothing to say.
async fn worst(target: &Target, workload: &Json, pods: &Pods, restarts: i64) -> Option<Trouble> {
    let mut found: Vec<Trouble> = troubles(pods, restarts).collect();
    found.sort_by_key(|found| !found.hopeless);
    for trouble in &found {
        if matches!(is_new(target, workload, pods.get(&trouble.pod)).await, Ok(true)) {
            return Some(trouble.clone());
        }
    }
    found.into_iter().next()
}

/// Whether a pod belongs to the workload's newest revision: what is wrong with old ones is not this rollout's fault.
async fn is_new(target: &Target, workload: &Json, pod: Option<&Json>) -> Result<bool, Failure> {
    let Some(pod) = pod else { return Ok(false) };
    let owners = at(pod, &["metadata", "ownerReferences"]).and_then(Json::as_array);
    let Some(owner) = owners.into_iter().flatten().find(|owner| owner["controller"] == true) else {
        return Ok(false);
    };
    if owner["kind"] != "ReplicaSet" {
        let label = |name: &str| text(pod, &["metadata", "labels", name]);
        let revision = text(workload, &["status", "updateRevision"]);
        return Ok(owner["uid"] == workload["metadata"]["uid"]
            && (revision.is_none() || label("controller-revision-hash") == revision));
    }
    let name = owner["name"].as_str().unwrap_or_default();
    let Some(set) = target.get(&Id::new("apps/v1", "ReplicaSet", name)).await? else { return Ok(false) };
    let owned = at(&set, &["metadata", "ownerReferences"])
        .and_then(Json::as_array)
        .is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == workload["metadata"]["uid"]));
    let revision = ["metadata", "annotations", "deployment.kubernetes.io/revision"];
    Ok(owned && text(&set, &revision) == text(workload, &revision))
}

async fn failure(target: &Target, id: &Id, kind: Kind, why: &str, trouble: Option<Trouble>) -> Failure {
    let mut message = format!("{id} in {}: {why}", target.place());
    match trouble {
        Some(trouble) => {
            let container =
                trouble.container.as_ref().map(|name| format!(", container `{name}`")).unwrap_or_default();
            message.push_str(&format!("; pod `{}`{container}: {}", trouble.pod, trouble.why));
            message.push_str(&story(target, &trouble).await);
        }
        None => {
            for event in warnings(target, id).await {
                message.push_str(&format!("\n  event: {event}"));
            }
        }
    }
    Failure::new(kind, message)
}

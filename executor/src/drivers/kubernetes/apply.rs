//! Putting releases in place: applying their objects, waiting for their workloads, deleting what is left over.

use super::definition::established;
use super::object::{Id, at, text};
use super::release::Held;
use super::target::{Manner, Target};
use super::wait::{returned, rolled_out};
use futures_util::future::try_join_all;
use lockstep_plan::Failure;
use serde_json::Value as Json;

/// Does `work` while the instance is held with that epoch; stops when it is held no more.
pub(super) async fn held<T>(
    target: &Target,
    epoch: u64,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        failure = target.leases.lost(target, epoch) => Err(failure),
    }
}

/// Applies objects one after another; gives what the API server made of them.
pub(super) async fn apply<'a>(
    target: &Target,
    objects: impl Iterator<Item = &'a Json>,
    epoch: u64,
    manner: Manner,
) -> Result<Vec<Json>, Failure> {
    let objects: Vec<&Json> = objects.filter(|object| object["kind"] != "Namespace").collect();
    let scaled = autoscaled(target, &objects).await?;
    let mut applied = Vec::new();
    for object in objects {
        target.go_on()?;
        let id = Id::of(object);
        let autoscaled = scaled.iter().any(|other| id.same(other));
        let result = target.apply(object, epoch, manner, |wanted, live| {
            if autoscaled {
                leave_replicas(wanted, live);
            }
        });
        applied.push(result.await?);
        target.say(&format!("applied {id}"));
        if id.is_definition() {
            established(target, object).await?;
        }
    }
    Ok(applied)
}

/// How many replicas there are is the autoscaler's to say: what is there now is kept.
pub(super) fn leave_replicas(wanted: &mut Json, live: Option<&Json>) {
    let now = live.and_then(|live| at(live, &["spec", "replicas"])).cloned();
    if let Some(spec) = wanted.get_mut("spec").and_then(Json::as_object_mut) {
        match now {
            Some(now) => drop(spec.insert("replicas".into(), now)),
            None => drop(spec.remove("replicas")),
        }
    }
}

/// What autoscalers scale: those of the namespace, and those of these objects.
pub(super) async fn autoscaled(target: &Target, objects: &[&Json]) -> Result<Vec<Id>, Failure> {
    if !objects
        .iter()
        .any(|object| at(object, &["spec", "replicas"]).is_some() && Id::of(object).is_workload())
    {
        return Ok(Vec::new());
    }
    let there = target.list("autoscaling/v1", "horizontalpodautoscalers", "limit=500").await?;
    let here = objects.iter().filter(|object| object["kind"] == "HorizontalPodAutoscaler").copied();
    let scaled = there.iter().chain(here).filter_map(scale_target);
    Ok(scaled.collect())
}

/// What an autoscaler scales.
pub(super) fn scale_target(scaler: &Json) -> Option<Id> {
    let of = at(scaler, &["spec", "scaleTargetRef"])?;
    Some(Id::new(text(of, &["apiVersion"]).unwrap_or("apps/v1"), text(of, &["kind"])?, text(of, &["name"])?))
}

/// Waits until all workloads among applied objects are rolled out.
pub(super) async fn wait(target: &Target, applied: &[Json], restarts: i64) -> Result<(), Failure> {
    let workloads = applied.iter().filter(|object| Id::of(object).is_workload());
    try_join_all(workloads.map(|object| rolled_out(target, object, restarts))).await.map(drop)
}

/// Waits until all workloads among objects that were returned to are as they were; broken pods of what is left do not stand in
/// the way.
pub(super) async fn wait_back(target: &Target, applied: &[Json], epoch: u64) -> Result<(), Failure> {
    let workloads = applied.iter().filter(|object| Id::of(object).is_workload());
    try_join_all(workloads.map(|object| returned(target, object, epoch))).await.map(drop)
}

/// Deletes the objects of these releases that are not among `kept`, the last applied first.
pub(super) async fn delete_others<'a>(
    target: &Target,
    releases: impl Iterator<Item = &'a Held>,
    kept: &[Id],
    epoch: u64,
) -> Result<(), Failure> {
    let mut others: Vec<&Id> = Vec::new();
    for id in releases.flat_map(|held| &held.objects) {
        if !others.contains(&id) && !kept.iter().any(|kept| kept.same(id)) {
            others.push(id);
        }
    }
    for id in others.iter().rev() {
        target.go_on()?;
        target.delete(id, epoch).await?;
    }
    Ok(())
}

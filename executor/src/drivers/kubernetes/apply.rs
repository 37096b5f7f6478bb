//! Putting releases in place: applying their objects, waiting for their workloads, deleting what is left over.

use super::definition::established;
use super::object::Id;
use super::release::{Held, Release};
use super::replicas::{Say, autoscaled};
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
    apply_of(target, &Release::default(), objects, epoch, manner).await
}

/// The same for objects of a release, all of whose autoscalers count, whether they are applied now or later.
pub(super) async fn apply_of<'a>(
    target: &Target,
    release: &Release,
    objects: impl Iterator<Item = &'a Json>,
    epoch: u64,
    manner: Manner,
) -> Result<Vec<Json>, Failure> {
    let objects: Vec<&Json> = objects.filter(|object| object["kind"] != "Namespace").collect();
    let scaled = autoscaled(target, &objects, release).await?;
    let mut applied = Vec::new();
    for object in objects {
        target.go_on()?;
        let id = Id::of(object);
        applied.push(target.apply(object, epoch, manner, Say::of(object, &scaled)).await?);
        target.say(&format!("applied {id}"));
        if id.is_definition() {
            established(target, object).await?;
        }
    }
    Ok(applied)
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

/// Deletes the objects of these releases that are not among `kept`, the last applied first. Gives those that were there.
pub(super) async fn delete_others<'a>(
    target: &Target,
    releases: impl Iterator<Item = &'a Held>,
    kept: &[Id],
    epoch: u64,
) -> Result<Vec<Id>, Failure> {
    let mut others: Vec<&Id> = Vec::new();
    for id in releases.flat_map(|held| &held.objects) {
        if !others.contains(&id) && !kept.iter().any(|kept| kept.same(id)) {
            others.push(id);
        }
    }
    let mut deleted = Vec::new();
    for id in others.into_iter().rev() {
        target.go_on()?;
        if target.delete(id, epoch).await? {
            deleted.push(id.clone());
        }
    }
    Ok(deleted)
}

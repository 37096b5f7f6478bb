//! What can be told before a run changes anything on any target: whether the manifests are sound, and whether what they need
//! is allowed.

use super::manifest::{loaded, objects, patterns};
use super::object::Id;
use super::problem::wrong;
use super::target::Target;
use super::{permissions, versioned};
use lockstep_plan::{Call, Failure, File, Kind};
use serde_json::Value as Json;
use std::path::Path;

/// Looks at all calls of one service and target.
///
/// # Errors
/// What would surely fail. What only the run can tell (a server that is away, a kind that an earlier step defines, a file that
/// one makes) is left to its steps.
pub(super) async fn check(target: &Target, calls: &[Call], module: &Path) -> Result<(), Failure> {
    manifests(calls)?;
    match permissions::check(target, calls, module).await {
        Err(failure) if sure(failure.kind) => Err(failure),
        _ => Ok(()),
    }
}

/// Whether it would be no different once the run has begun.
fn sure(kind: Kind) -> bool {
    [Kind::Authentication, Kind::Authorization, Kind::Policy].contains(&kind)
}

/// Looks at the manifests that came with the calls.
fn manifests(calls: &[Call]) -> Result<(), Failure> {
    for call in calls {
        if call.step == "job" {
            if !call.files.is_empty() {
                job(&call.files)?;
            }
            continue;
        }
        if let Some(service) = &call.service
            && let Some(mut objects) = loaded(&patterns(service.settings.get("manifests")), &service.files)?
        {
            named(&mut objects)?;
        }
        if !call.files.is_empty() {
            named(&mut objects(&call.files, &paths(&call.files))?)?;
        }
    }
    Ok(())
}

/// Names that contents give have to be short enough.
fn named(objects: &mut [Json]) -> Result<(), Failure> {
    versioned::version(objects)?;
    versioned::version_jobs(objects)
}

/// The Job that the manifest of a `job` step describes.
pub(super) fn the_job(mut objects: Vec<Json>, path: &str) -> Result<Json, Failure> {
    match (objects.pop(), objects.len()) {
        (Some(job), 0) if job["kind"] == "Job" => Ok(job),
        (Some(other), 0) => Err(wrong(format!("`{path}` describes {}: it has to be a Job", Id::of(&other)))),
        (_, others) => Err(wrong(format!("`{path}` describes {} objects: it has to be one Job", others + 1))),
    }
}

fn job(files: &[File]) -> Result<(), Failure> {
    let paths = paths(files);
    the_job(objects(files, &paths)?, &paths.join("`, `")).map(drop)
}

fn paths(files: &[File]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

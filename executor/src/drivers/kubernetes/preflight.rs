//! What can be told before a run changes anything on any target: whether the manifests are sound, and whether what they need
//! is allowed.

use super::head::Head;
use super::manifest::{chosen, loaded, objects, patterns};
use super::object::Id;
use super::problem::{policy, wrong};
use super::steps::rendered;
use super::target::Target;
use super::validity::{LONGEST_LABEL, is_label};
use super::{adopt, canary, colours, permissions, traffic, versioned};
use lockstep_plan::{Call, Failure, File, Kind};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What the calls that were looked at put where: context and namespace, and the instance of each object.
pub(super) type Wanted = Mutex<BTreeMap<(String, String), Vec<(Id, String)>>>;

/// Looks at all calls of one service and target; `wanted`: what others of the same plan were found to put there.
///
/// # Errors
/// What would surely fail. What only the run can tell (a server that is away, a kind that an earlier step defines, a file that
/// one makes) is left to its steps.
pub(super) async fn check(
    target: &Target,
    calls: &[Call],
    module: &Path,
    wanted: &Wanted,
) -> Result<(), Failure> {
    namespace(target)?;
    for call in calls {
        let objects = manifests(call)?;
        one_instance(target, objects.iter().map(Id::of), wanted)?;
    }
    let told = async {
        // What may not be read is told with all other permissions.
        let head = Head::read(target).await.unwrap_or_default();
        refuse_nowhere(target, &head, calls, module).await?;
        let there = adopt::in_place(target, &head).await?;
        permissions::check(target, calls, &there, module).await?;
        // What is deployed before it is looked at by the step itself.
        match calls.iter().take_while(|call| call.step != "rolling").find(|call| call.step == "stage") {
            Some(call) => colours::look_ahead(target, call, module).await,
            None => Ok(()),
        }
    };
    match told.await {
        Err(failure) if sure(failure.kind) => Err(failure),
        _ => Ok(()),
    }
}

/// Fails where the target's namespace is not there, and the service's manifests do not make it.
pub(super) async fn refuse_nowhere(
    target: &Target,
    head: &Head,
    calls: &[Call],
    module: &Path,
) -> Result<(), Failure> {
    let making = |object: &Json| object["kind"] == "Namespace";
    let made = |call: &Call| rendered(call, module, &target.run).is_ok_and(|all| all.iter().any(making));
    if head.is_known() || calls.iter().any(made) { Ok(()) } else { target.refuse_nowhere().await }
}

/// Fails where no namespace can be called so.
fn namespace(target: &Target) -> Result<(), Failure> {
    let name = target.namespace.as_str();
    if is_label(name) {
        return Ok(());
    }
    Err(policy(format!(
        "`{name}` cannot be the name of a namespace: it has to be up to {LONGEST_LABEL} lower-case letters, digits and `-`, with a \
         letter or digit at both ends"
    )))
}

/// Whether it would be no different once the run has begun.
fn sure(kind: Kind) -> bool {
    [Kind::Authentication, Kind::Authorization, Kind::Policy].contains(&kind)
}

/// What the manifests describe that came with a call, but for that of a Job.
fn manifests(call: &Call) -> Result<Vec<Json>, Failure> {
    let mut all = Vec::new();
    if call.step == "job" {
        chosen(call).iter().try_for_each(|files| job(files))?;
        return Ok(all);
    }
    if let Some(service) = &call.service
        && let Some(objects) = loaded(&patterns(service.settings.get("manifests")), &service.files)?
    {
        match call.step.as_str() {
            "canary" => canary::fits(&objects)?,
            "stage" => colours::fits(&objects)?,
            "traffic" => traffic::fits(&objects)?,
            _ => {}
        }
        all.extend(named(objects)?);
    }
    for files in chosen(call) {
        all.extend(named(objects(&files, &paths(&files))?)?);
    }
    Ok(all)
}

/// Fails where two instances of one namespace describe one object: each would take it for its own.
fn one_instance(target: &Target, ids: impl Iterator<Item = Id>, wanted: &Wanted) -> Result<(), Failure> {
    let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    let place = (target.cluster.context.clone(), target.namespace.clone());
    let there = wanted.entry(place).or_default();
    for id in ids.filter(|id| id.kind != "Namespace") {
        match there.iter().find(|(other, _)| other.same(&id)) {
            Some((_, instance)) if *instance != target.instance => {
                let mut both = [instance.as_str(), target.instance.as_str()];
                both.sort_unstable();
                return Err(policy(format!(
                    "{id} in {} would belong to two service instances, `{}` and `{}`: give it another name in one of \
                     them (`${{service.name}}` and `${{infra.release}}` tell them apart)",
                    target.place(),
                    both[0],
                    both[1]
                )));
            }
            Some(_) => {}
            None => there.push((id, target.instance.clone())),
        }
    }
    Ok(())
}

/// Objects under the names that they will have: those that contents give have to be short enough.
fn named(mut objects: Vec<Json>) -> Result<Vec<Json>, Failure> {
    versioned::version(&mut objects)?;
    versioned::version_jobs(&mut objects)?;
    Ok(objects)
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

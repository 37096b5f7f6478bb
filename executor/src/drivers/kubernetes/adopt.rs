//! What a target runs before a stage changes it: the release in place, or, where no release of this service was ever
//! deployed, the objects that somebody else has put there under the names that the manifests use.

use super::head::Head;
use super::manifest::settle;
use super::object::{INSTANCE, Id, at, text};
use super::permissions;
use super::release::Release;
use super::steps::rendered;
use super::target::Target;
use lockstep_plan::{Call, Failure};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// The name of the release that a rollback has to return to; none where there is nothing to return to.
pub(super) async fn found(target: &Target, call: &Call, module: &Path) -> Result<Option<String>, Failure> {
    let wanted = rendered(call, module, &target.run)?;
    permissions::check(target, std::slice::from_ref(call), module).await?;
    let own = wanted.iter().find(|object| object["kind"] == "Namespace");
    if let Some(namespace) = own
        && target.get(&Id::of(namespace)).await?.is_none()
    {
        return Ok(None);
    }
    // From here on nobody else changes what is looked at.
    let taken = Head::take(target, |head| {
        head.claim.clone_from(&target.run);
        Ok(())
    });
    let head = taken.await?;
    if head.current.is_some() {
        return Ok(head.current);
    }
    let mut objects = Vec::new();
    for mut object in wanted {
        settle(&mut object, &target.namespace)?;
        if let Some(live) = target.get(&Id::of(&object)).await?
            && text(&live, &["metadata", "labels", INSTANCE]).is_none()
            && object["kind"] != "Namespace"
        {
            objects.push(bare(&live));
        }
    }
    if objects.is_empty() {
        return Ok(None);
    }
    let release = Release { objects, found: true, ..Release::default() };
    release.store(target).await?;
    Ok(Some(release.name()))
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

//! What deploying would change: every object as it is, and as the API server would make it.

use super::head::Head;
use super::object::{EPOCH, Id, is_note, map_at};
use super::release::Release;
use super::replicas::{GIVEN, Say, autoscaled};
use super::steps::{released, rendered};
use super::taken::TAKEN;
use super::target::Target;
use super::workloads::RESTARTED;
use crate::driver::Change;
use crate::store::hash;
use lockstep_plan::{Call, Failure};
use serde_json::Value as Json;
use std::path::Path;

/// Of the metadata, what only the API server writes.
const KEPT_BY_SERVER: [&str; 6] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];

/// Looks at all objects of the call's service, in the order in which they would be applied; then at what would be left over.
pub(super) async fn changes(target: &Target, call: &Call, module: &Path) -> Result<Vec<Change>, Failure> {
    let objects = released(target, rendered(call, module, &target.run)?).await?;
    let head = Head::read(target).await?;
    let scaled = autoscaled(target, &objects.iter().collect::<Vec<_>>(), &Release::default()).await?;
    let mut changes = Vec::new();
    for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
        let id = Id::of(object);
        let before = target.get(&id).await?;
        if target.known(&id).await?.is_none() {
            // One of its kind can only be shown as it is written.
            changes.push(Change {
                what: id.to_string(),
                before: None,
                after: Some(shown(object.clone(), &id)),
            });
            continue;
        }
        let after = target.dry_run(object, head.epoch, Say::of(object, &scaled)).await?;
        changes.push(Change {
            what: id.to_string(),
            before: before.map(|object| shown(object, &id)),
            after: Some(shown(after, &id)),
        });
    }
    if let Some(current) = &head.current {
        let wanted = Release { objects, ..Release::default() };
        let current = Release::read(target, current).await?;
        for object in current.objects.iter().filter(|object| !wanted.holds(&Id::of(object))) {
            let id = Id::of(object);
            if target.out_of_reach(&id).await?.is_none()
                && let Some(live) = target.get(&id).await?
            {
                changes.push(Change { what: id.to_string(), before: Some(shown(live, &id)), after: None });
            }
        }
    }
    Ok(changes)
}

/// An object for people: without what only the API server writes, and without what a Secret holds.
fn shown(mut object: Json, id: &Id) -> String {
    if let Some(metadata) = map_at(&mut object, &["metadata"]) {
        metadata.retain(|name, _| !KEPT_BY_SERVER.contains(&name.as_str()));
        if let Some(Json::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(EPOCH);
            annotations.remove(GIVEN);
            annotations.retain(|key, _| ![TAKEN, RESTARTED].iter().any(|name| is_note(key, name)));
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if id.kind == "Secret" {
        for (_, value) in object.get_mut("data").and_then(Json::as_object_mut).into_iter().flatten() {
            let content = value.as_str().unwrap_or_default();
            *value = format!("(hidden, sha256 {})", &hash(content.as_bytes())[..12]).into();
        }
    }
    serde_saphyr::to_string(&object).unwrap_or_else(|_| object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_shows_only_whether_it_changes() {
        let secret = |value: &str| json!({ "kind": "Secret", "metadata": { "name": "a", "uid": "1" }, "data": { "k": value } });
        let id = Id::new("v1", "Secret", "a");
        let (one, two) = (shown(secret("aGk="), &id), shown(secret("aG8="), &id));
        assert!(one.contains("hidden") && !one.contains("aGk=") && !one.contains("uid"), "{one}");
        assert_ne!(one, two);
        assert_eq!(one, shown(secret("aGk="), &id));
    }

    #[test]
    fn texts_are_yaml() {
        let object = json!({ "kind": "ConfigMap", "metadata": { "name": "a", "annotations": { EPOCH: "3" } }, "data": { "n": "1" } });
        let text = shown(object, &Id::new("v1", "ConfigMap", "a"));
        let back: Json = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, json!({ "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "n": "1" } }));
    }
}

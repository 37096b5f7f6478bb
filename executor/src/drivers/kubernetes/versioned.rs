//! ConfigMaps and Secrets get a name for each content, and what refers to them follows: so that a release keeps what it
//! was started with, and pods of the old release never read what belongs to the new one.

use super::object::{Id, SKIP_VERSIONING, map_at, short_hash, text};
use super::problem::wrong;
use k8s_openapi::ByteString;
use lockstep_plan::Failure;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What the API server takes as the name of a ConfigMap or Secret, in characters.
const LONGEST: usize = 253;
/// The same for a Job: its pods have it as a label.
const LONGEST_JOB: usize = 63;

/// `ConfigMap` or `Secret`, and a name.
type Reference = (&'static str, String);

/// Gives every ConfigMap and Secret that some pod of these objects refers to a name of its own content.
///
/// One that nothing here refers to keeps its name: whoever reads it finds it by that.
///
/// # Errors
/// A name is too long for what is added to it.
pub(super) fn version(objects: &mut [Json]) -> Result<(), Failure> {
    objects.iter_mut().for_each(encode_secret);
    let mut referred: Vec<Reference> = Vec::new();
    for object in objects.iter_mut() {
        each_reference(object, &mut |kind, name| referred.push((kind, name.clone())));
    }
    let mut names: BTreeMap<Reference, String> = BTreeMap::new();
    for object in objects.iter_mut() {
        let id = Id::of(object);
        let Some(kind) =
            ["ConfigMap", "Secret"].into_iter().find(|kind| *kind == id.kind && id.version == "v1")
        else {
            continue;
        };
        let key = (kind, id.name.clone());
        // The token controller fills those in, under the name that it is given.
        let token = text(object, &["type"]) == Some("kubernetes.io/service-account-token");
        if skips(object) || token || !referred.contains(&key) {
            continue;
        }
        let content = json!([object["data"], object["binaryData"], object["type"], object["immutable"]]);
        let name = named_by(&id, &content, LONGEST)?;
        object["metadata"]["name"] = name.as_str().into();
        names.insert(key, name);
    }
    for object in objects.iter_mut() {
        each_reference(object, &mut |kind, name| {
            if let Some(versioned) = names.get(&(kind, name.clone())) {
                name.clone_from(versioned);
            }
        });
    }
    Ok(())
}

/// Gives every Job a name of its own content: what a Job does cannot be changed, so another content is another Job.
///
/// # Errors
/// A name is too long for what is added to it.
pub(super) fn version_jobs(objects: &mut [Json]) -> Result<(), Failure> {
    for object in objects.iter_mut().filter(|object| object["kind"] == "Job" && !skips(object)) {
        let id = Id::of(object);
        if id.version == "batch/v1" {
            let name = named_by(&id, &object["spec"], LONGEST_JOB)?;
            object["metadata"]["name"] = name.into();
        }
    }
    Ok(())
}

fn skips(object: &Json) -> bool {
    text(object, &["metadata", "annotations", SKIP_VERSIONING]).is_some_and(|value| value != "false")
}

/// A name with the hash of a content.
fn named_by(id: &Id, content: &Json, longest: usize) -> Result<String, Failure> {
    let name = format!("{}-{}", id.name, &short_hash(content)[..10]);
    if name.len() <= longest {
        return Ok(name);
    }
    Err(wrong(format!(
        "the name of {id} is too long: it gets `-` and 10 digits for its content, and may have {} characters before that; \
         shorten it, or keep it as it is by the annotation `{SKIP_VERSIONING}: \"true\"`",
        longest - 11
    )))
}

/// Moves `stringData` to where the API server would put it: server-side apply cannot tell who owns it otherwise.
fn encode_secret(object: &mut Json) {
    let id = Id::of(object);
    if id.kind != "Secret" || id.version != "v1" {
        return;
    }
    let Some(Json::Object(plain)) = object.as_object_mut().and_then(|object| object.remove("stringData"))
    else {
        return;
    };
    let Some(data) = map_at(object, &["data"]) else { return };
    for (key, value) in plain {
        let value = value.as_str().unwrap_or_default().as_bytes().to_vec();
        data.insert(key, json!(ByteString(value)));
    }
}

/// Shows every reference to a ConfigMap or Secret in an object.
fn each_reference(object: &mut Json, visit: &mut dyn FnMut(&'static str, &mut String)) {
    let id = Id::of(object);
    let pod: &[&str] = match id.kind.as_str() {
        "Pod" => &["spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            &["spec", "template", "spec"]
        }
        "Ingress" => {
            for tls in items(&mut object["spec"], "tls") {
                name(tls, "secretName", "Secret", visit);
            }
            return;
        }
        "ServiceAccount" => {
            for list in ["imagePullSecrets", "secrets"] {
                for secret in items(object, list) {
                    name(secret, "name", "Secret", visit);
                }
            }
            return;
        }
        _ => return,
    };
    let mut spec = object;
    for key in pod {
        match spec.get_mut(*key) {
            Some(inner) => spec = inner,
            None => return,
        }
    }
    pod_references(spec, visit);
}

fn pod_references(spec: &mut Json, visit: &mut dyn FnMut(&'static str, &mut String)) {
    for volume in items(spec, "volumes") {
        inner(volume, "configMap", |map| name(map, "name", "ConfigMap", visit));
        inner(volume, "secret", |map| name(map, "secretName", "Secret", visit));
        inner(volume, "projected", |projected| {
            for source in items(projected, "sources") {
                inner(source, "configMap", |map| name(map, "name", "ConfigMap", visit));
                inner(source, "secret", |map| name(map, "name", "Secret", visit));
            }
        });
    }
    for secret in items(spec, "imagePullSecrets") {
        name(secret, "name", "Secret", visit);
    }
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            for from in items(container, "envFrom") {
                inner(from, "configMapRef", |map| name(map, "name", "ConfigMap", visit));
                inner(from, "secretRef", |map| name(map, "name", "Secret", visit));
            }
            for variable in items(container, "env") {
                inner(variable, "valueFrom", |from| {
                    inner(from, "configMapKeyRef", |map| name(map, "name", "ConfigMap", visit));
                    inner(from, "secretKeyRef", |map| name(map, "name", "Secret", visit));
                });
            }
        }
    }
}

fn items<'a>(object: &'a mut Json, key: &str) -> impl Iterator<Item = &'a mut Json> {
    object.get_mut(key).and_then(Json::as_array_mut).into_iter().flatten()
}

fn inner(object: &mut Json, key: &str, then: impl FnOnce(&mut Json)) {
    if let Some(value) = object.get_mut(key) {
        then(value);
    }
}

fn name(object: &mut Json, key: &str, kind: &'static str, visit: &mut dyn FnMut(&'static str, &mut String)) {
    if let Some(Json::String(name)) = object.get_mut(key) {
        visit(kind, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(value: &str, annotations: Json) -> Vec<Json> {
        vec![
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "app", "annotations": annotations },
                    "data": { "k": value } }),
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "key" }, "stringData": { "p": "hi" } }),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "alone" }, "data": { "k": value } }),
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
                    "spec": { "template": { "spec": {
                        "volumes": [{ "name": "v", "projected": { "sources": [{ "configMap": { "name": "app" } }] } },
                                    { "name": "w", "configMap": { "name": "elsewhere" } }],
                        "containers": [{ "name": "c", "env": [
                            { "name": "P", "valueFrom": { "secretKeyRef": { "name": "key", "key": "p" } } }] }] } } } }),
        ]
    }

    #[test]
    fn names_follow_contents_and_references_follow_names() {
        let (mut one, mut two) = (objects("1", json!({})), objects("2", json!({})));
        version(&mut one).unwrap();
        version(&mut two).unwrap();
        let name = |objects: &[Json], index: usize| Id::of(&objects[index]).name;
        assert_ne!(name(&one, 0), name(&two, 0));
        assert_eq!(name(&one, 1), name(&two, 1));
        assert_eq!(name(&one, 2), "alone", "nothing here refers to it");
        let spec = &one[3]["spec"]["template"]["spec"];
        assert_eq!(spec["volumes"][0]["projected"]["sources"][0]["configMap"]["name"], json!(name(&one, 0)));
        assert_eq!(spec["volumes"][1]["configMap"]["name"], "elsewhere");
        let key = &spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"];
        assert_eq!(key["name"], json!(name(&one, 1)));
        assert_eq!(one[1]["data"]["p"], "aGk=");
        assert!(one[1].get("stringData").is_none());
    }

    #[test]
    fn an_annotation_opts_out() {
        let mut objects = objects("1", json!({ SKIP_VERSIONING: "true" }));
        version(&mut objects).unwrap();
        assert_eq!(Id::of(&objects[0]).name, "app");
    }

    #[test]
    fn what_a_service_account_names_follows() {
        let secret = |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": { "a": "aGk=" } });
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "sa" },
                              "imagePullSecrets": [{ "name": "pull" }], "secrets": [{ "name": "key" }, { "name": "other" }] });
        let mut objects = vec![secret("pull"), secret("key"), account];
        version(&mut objects).unwrap();
        let name = |index: usize| Id::of(&objects[index]).name;
        assert!(name(0).starts_with("pull-") && name(1).starts_with("key-"), "{objects:?}");
        assert_eq!(objects[2]["imagePullSecrets"][0]["name"], json!(name(0)));
        assert_eq!(objects[2]["secrets"], json!([{ "name": name(1) }, { "name": "other" }]));
    }

    #[test]
    fn another_content_is_another_job() {
        let jobs = |image: &str, annotations: Json| {
            let mut jobs = vec![
                json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "migrate", "annotations": annotations },
                                        "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } }),
            ];
            version_jobs(&mut jobs).map(|()| Id::of(&jobs[0]).name)
        };
        let one = jobs("a:1", json!({})).unwrap();
        assert!(one.starts_with("migrate-") && one.len() == 18, "{one}");
        assert_eq!(one, jobs("a:1", json!({})).unwrap());
        assert_ne!(one, jobs("a:2", json!({})).unwrap());
        assert_eq!(jobs("a:2", json!({ SKIP_VERSIONING: "true" })).unwrap(), "migrate");
    }

    #[test]
    fn a_name_without_room_is_refused() {
        let named = |length: usize| {
            let mut objects = objects("1", json!({}));
            let name = "x".repeat(length);
            objects[0]["metadata"]["name"] = name.as_str().into();
            objects[3]["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"] = name.into();
            version(&mut objects)
        };
        assert_eq!(named(242), Ok(()));
        let refused = named(243).unwrap_err().message;
        assert!(refused.contains("is too long") && refused.contains("242 characters"), "{refused}");
    }
}

//! ConfigMaps and Secrets get a name for each content, and what refers to them follows: so that a release keeps what it
//! was started with, and pods of the old release never read what belongs to the new one.

use super::object::{Id, SKIP_VERSIONING, map_at, short_hash, text};
use k8s_openapi::ByteString;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// `ConfigMap` or `Secret`, and a name.
type Reference = (&'static str, String);

/// Gives every ConfigMap and Secret that some pod of these objects refers to a name of its own content.
///
/// One that nothing here refers to keeps its name: whoever reads it finds it by that.
pub(super) fn version(objects: &mut [Json]) {
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
        let skip =
            text(object, &["metadata", "annotations", SKIP_VERSIONING]).is_some_and(|value| value != "false");
        // The token controller fills those in, under the name that it is given.
        let token = text(object, &["type"]) == Some("kubernetes.io/service-account-token");
        if skip || token || !referred.contains(&key) {
            continue;
        }
        let content = json!([object["data"], object["binaryData"], object["type"], object["immutable"]]);
        let name = format!("{}-{}", id.name, &short_hash(&content)[..10]);
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
            for secret in items(object, "imagePullSecrets") {
                name(secret, "name", "Secret", visit);
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
        version(&mut one);
        version(&mut two);
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
        version(&mut objects);
        assert_eq!(Id::of(&objects[0]).name, "app");
    }
}

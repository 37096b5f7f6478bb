//! ConfigMaps and Secrets get a name for each content, and what refers to them follows: so that a release keeps what it
//! was started with, and pods of the old release never read what belongs to the new one.

use super::naming;
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
/// One that nothing here refers to keeps its name: whoever reads it finds it by that. So does one that something else names
/// where no reference is followed: gives these, each with what names it.
///
/// # Errors
/// A name is too long for what is added to it.
pub(super) fn version(objects: &mut [Json]) -> Result<Vec<(Id, Id)>, Failure> {
    objects.iter_mut().for_each(encode_secret);
    let referred = references(objects);
    let mut kept = Vec::new();
    let mut names: BTreeMap<Reference, String> = BTreeMap::new();
    for index in 0..objects.len() {
        let object = &objects[index];
        let id = Id::of(object);
        let Some(kind) = kind(&id) else { continue };
        let key = (kind, id.name.clone());
        // The token controller fills those in, under the name that it is given.
        let token = text(object, &["type"]) == Some("kubernetes.io/service-account-token");
        if skips(object) == Some(true) || token || !referred.contains(&key) {
            continue;
        }
        let other = objects.iter().find(|other| naming::names(other, kind, &id.name));
        if let Some(other) = other.filter(|_| skips(object).is_none()) {
            kept.push((id, Id::of(other)));
            continue;
        }
        let name = named_by(&id, &content(object), LONGEST)?;
        objects[index]["metadata"]["name"] = name.as_str().into();
        names.insert(key, name);
    }
    rename(objects, &names);
    Ok(kept)
}

/// Has objects that come beside others, which are versioned, refer to these by the names that they got. Gives those of the others
/// that are referred to.
pub(super) fn follow<'a>(objects: &mut [Json], others: &'a [Json]) -> Vec<&'a Json> {
    let referred = references(objects);
    let (mut names, mut found): (BTreeMap<Reference, String>, Vec<&Json>) = Default::default();
    for other in others {
        let id = Id::of(other);
        if let Some(kind) = kind(&id)
            && let Some(plain) = id.name.strip_suffix(&format!("-{}", digits(&content(other))))
            && referred.contains(&(kind, plain.to_string()))
        {
            names.insert((kind, plain.to_string()), id.name.clone());
            found.push(other);
        }
    }
    rename(objects, &names);
    found
}

/// Whether some of these objects refer to a ConfigMap or Secret that is not among them.
pub(super) fn refer_elsewhere(objects: &mut [Json]) -> bool {
    let own: Vec<Id> = objects.iter().map(Id::of).collect();
    let is_own = |(kind, name): &Reference| own.iter().any(|id| id.kind == *kind && id.name == *name);
    references(objects).iter().any(|reference| !is_own(reference))
}

/// What these objects refer to.
fn references(objects: &mut [Json]) -> Vec<Reference> {
    let mut referred: Vec<Reference> = Vec::new();
    for object in objects {
        each_reference(object, &mut |kind, name| referred.push((kind, name.clone())));
    }
    referred
}

fn rename(objects: &mut [Json], names: &BTreeMap<Reference, String>) {
    for object in objects {
        each_reference(object, &mut |kind, name| {
            if let Some(versioned) = names.get(&(kind, name.clone())) {
                name.clone_from(versioned);
            }
        });
    }
}

fn kind(id: &Id) -> Option<&'static str> {
    ["ConfigMap", "Secret"].into_iter().find(|kind| *kind == id.kind && id.version == "v1")
}

/// What a ConfigMap's or Secret's name stands for.
fn content(object: &Json) -> Json {
    json!([object["data"], object["binaryData"], object["type"], object["immutable"]])
}

/// Gives every Job a name of its own content: what a Job does cannot be changed, so another content is another Job.
///
/// # Errors
/// A name is too long for what is added to it.
pub(super) fn version_jobs(objects: &mut [Json]) -> Result<(), Failure> {
    for object in objects.iter_mut().filter(|object| object["kind"] == "Job" && skips(object) != Some(true)) {
        let id = Id::of(object);
        if id.version == "batch/v1" {
            let name = named_by(&id, &object["spec"], LONGEST_JOB)?;
            object["metadata"]["name"] = name.into();
        }
    }
    Ok(())
}

/// Whether an object says that it keeps its name, or that it does not.
fn skips(object: &Json) -> Option<bool> {
    text(object, &["metadata", "annotations", SKIP_VERSIONING]).map(|value| value != "false")
}

/// The digits that stand for a content.
fn digits(content: &Json) -> String {
    short_hash(content)[..10].to_string()
}

/// A name with the hash of a content.
fn named_by(id: &Id, content: &Json, longest: usize) -> Result<String, Failure> {
    let name = format!("{}-{}", id.name, digits(content));
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
    if !naming::is_known(&id) {
        return;
    }
    let pod: &[&str] = match id.kind.as_str() {
        "Pod" => &["spec"],
        "PodTemplate" => &["template", "spec"],
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
        inner(volume, "azureFile", |map| name(map, "secretName", "Secret", visit));
        // Those of drivers: `csi`, `cephfs`, `rbd` and the like.
        for driver in volume.as_object_mut().into_iter().flat_map(|volume| volume.values_mut()) {
            for key in ["secretRef", "nodePublishSecretRef"] {
                inner(driver, key, |map| name(map, "name", "Secret", visit));
            }
        }
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

    /// Objects as above, whose ConfigMap something else names as well.
    fn named_by(other: &Json, annotations: Json) -> (Vec<Json>, Vec<String>) {
        let mut objects = objects("1", annotations);
        objects.push(other.clone());
        let kept = version(&mut objects).unwrap();
        (objects, kept.into_iter().map(|(kept, by)| format!("{kept} for {by}")).collect())
    }

    #[test]
    fn what_is_named_where_nothing_is_followed_keeps_its_name_everywhere() {
        let thing = json!({ "apiVersion": "example.com/v1", "kind": "Thing", "metadata": { "name": "t" },
                            "spec": { "settings": "app" } });
        let (objects, kept) = named_by(&thing, json!({}));
        assert_eq!(kept, ["ConfigMap `app` for Thing `t`"]);
        assert_eq!(Id::of(&objects[0]).name, "app");
        let spec = &objects[3]["spec"]["template"]["spec"];
        assert_eq!(spec["volumes"][0]["projected"]["sources"][0]["configMap"]["name"], "app");
        assert!(Id::of(&objects[1]).name.starts_with("key-"), "nothing else names that one");
        let (objects, kept) = named_by(&thing, json!({ SKIP_VERSIONING: "false" }));
        assert!(
            kept.is_empty() && Id::of(&objects[0]).name.starts_with("app-"),
            "whoever wrote it knows better"
        );
    }

    #[test]
    fn an_ingress_follows_and_so_do_volumes_of_drivers() {
        let ingress = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "i" },
                              "spec": { "tls": [{ "secretName": "key" }] } });
        let (objects, kept) = named_by(&ingress, json!({}));
        assert_eq!(kept, [""; 0]);
        assert_eq!(objects[4]["spec"]["tls"][0]["secretName"], json!(Id::of(&objects[1]).name));
        let volumes = json!([{ "name": "a", "csi": { "driver": "d", "nodePublishSecretRef": { "name": "key" } } },
                             { "name": "b", "azureFile": { "shareName": "s", "secretName": "key" } }]);
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": { "volumes": volumes } });
        let (objects, _) = named_by(&pod, json!({}));
        let (spec, name) = (&objects[4]["spec"]["volumes"], json!(Id::of(&objects[1]).name));
        assert_eq!(spec[0]["csi"]["nodePublishSecretRef"]["name"], name);
        assert_eq!(spec[1]["azureFile"]["secretName"], name);
    }

    #[test]
    fn what_comes_beside_follows_too() {
        let mut own = objects("1", json!({}));
        version(&mut own).unwrap();
        let mut more = objects("2", json!({}));
        more.drain(..3);
        assert!(refer_elsewhere(&mut more) && !refer_elsewhere(&mut own[..3]));
        let referred: Vec<Id> = follow(&mut more, &own).into_iter().map(Id::of).collect();
        assert_eq!(referred, [Id::of(&own[0]), Id::of(&own[1])]);
        assert_eq!(more[0]["spec"], own[3]["spec"]);
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
        assert_eq!(named(242), Ok(Vec::new()));
        let refused = named(243).unwrap_err().message;
        assert!(refused.contains("is too long") && refused.contains("242 characters"), "{refused}");
    }
}

//! Objects as they are in manifests and on the wire: what they are called, and the marks that this program leaves on them.

use serde_json::{Map, Value as Json, json};
use std::fmt;

/// Says who manages an object; everybody's convention.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the service instance that owns an object.
pub(super) const INSTANCE: &str = "lockstep/instance";
/// Label of objects that belong to no namespace: that of the instance that owns them.
pub(super) const NAMESPACE: &str = "lockstep/namespace";
/// Label of stored releases: which.
pub(super) const RELEASE: &str = "lockstep/release";
/// Annotation: how often the instance had changed hands when the object was written; a lower one is refused.
pub(super) const EPOCH: &str = "lockstep/epoch";
/// Annotation in manifests: keep a ConfigMap's or Secret's own name.
pub(super) const SKIP_VERSIONING: &str = "lockstep/skip_versioning";

/// Kinds whose rollout is waited for.
pub(super) const WORKLOADS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Job"];

/// Names an object within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    /// `apps/v1`
    pub version: String,
    /// `Deployment`
    pub kind: String,
    /// `checkout`
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

impl Id {
    /// An object's name. What is missing is empty.
    pub fn of(object: &Json) -> Id {
        let part = |value: &Json| value.as_str().unwrap_or_default().to_string();
        Id {
            version: part(&object["apiVersion"]),
            kind: part(&object["kind"]),
            name: part(&object["metadata"]["name"]),
        }
    }

    pub fn new(version: &str, kind: &str, name: &str) -> Id {
        Id { version: version.into(), kind: kind.into(), name: name.into() }
    }

    /// Whether it is the same object, whatever version of its API it is written in.
    pub fn same(&self, other: &Id) -> bool {
        let group = |version: &str| version.rsplit_once('/').map_or(String::new(), |(group, _)| group.into());
        self.kind == other.kind && self.name == other.name && group(&self.version) == group(&other.version)
    }

    /// Whether it adds a kind to the cluster.
    pub fn is_definition(&self) -> bool {
        self.kind == "CustomResourceDefinition" && self.version.starts_with("apiextensions.k8s.io/")
    }

    /// Whether its rollout is waited for.
    pub fn is_workload(&self) -> bool {
        WORKLOADS.contains(&self.kind.as_str()) && (self.version == "apps/v1" || self.version == "batch/v1")
    }
}

/// The text at a path of keys, or nothing.
pub(super) fn text<'a>(object: &'a Json, path: &[&str]) -> Option<&'a str> {
    at(object, path)?.as_str()
}

/// The number at a path of keys, or nothing.
pub(super) fn number(object: &Json, path: &[&str]) -> Option<i64> {
    at(object, path)?.as_i64()
}

/// Which epoch an object was written in; 0 where it was not by us.
pub(super) fn stamp(live: &Json) -> u64 {
    text(live, &["metadata", "annotations", EPOCH]).and_then(|stamp| stamp.parse().ok()).unwrap_or(0)
}

/// What is at a path of keys.
pub(super) fn at<'a>(object: &'a Json, path: &[&str]) -> Option<&'a Json> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The map at a path of keys, made where it is missing. Nothing where something else is in the way.
pub(super) fn map_at<'a>(object: &'a mut Json, path: &[&str]) -> Option<&'a mut Map<String, Json>> {
    let mut value = object;
    for key in path {
        let map = value.as_object_mut()?;
        let entry = map.entry(*key).or_insert_with(|| json!({}));
        if entry.is_null() {
            *entry = json!({});
        }
        value = entry;
    }
    value.as_object_mut()
}

/// Sets a label of the object itself.
pub(super) fn label(object: &mut Json, name: &str, value: &str) {
    if let Some(labels) = map_at(object, &["metadata", "labels"]) {
        labels.insert(name.into(), value.into());
    }
}

/// Sets an annotation of the object itself.
pub(super) fn annotate(object: &mut Json, name: &str, value: &str) {
    if let Some(annotations) = map_at(object, &["metadata", "annotations"]) {
        annotations.insert(name.into(), value.into());
    }
}

/// The annotation in which a run notes something: everyone in one of its own.
pub(super) fn note(name: &str, run: &str) -> String {
    format!("{name}.{run}")
}

/// What runs have noted in an object under that name: each run, with its words.
pub(super) fn notes<'a>(object: &'a Json, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let annotations = at(object, &["metadata", "annotations"]).and_then(Json::as_object);
    annotations.into_iter().flatten().filter_map(move |(key, value)| {
        let run = key.strip_prefix(name)?.strip_prefix('.')?;
        Some((run, value.as_str()?))
    })
}

/// Whether an annotation is one in which some run notes something under that name.
pub(super) fn is_note(annotation: &str, name: &str) -> bool {
    annotation.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

/// JSON in one spelling: keys sorted.
pub(super) fn canonical(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let members: Vec<String> = keys
                .into_iter()
                .map(|key| format!("{}:{}", Json::from(key.as_str()), canonical(&map[key])))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The first characters of a content's hash.
pub(super) fn short_hash(value: &Json) -> String {
    crate::store::hash(canonical(value).as_bytes())[..12].to_string()
}

/// A name that may be used as (part of) an object's name and as a label's value.
pub(super) fn dns_name(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = name.trim_matches('-');
    // Names that differ only in what was replaced stay apart.
    if name == text && name.len() <= 40 {
        return name.into();
    }
    let hash = crate::store::hash(text.as_bytes());
    let kept: String = name.chars().take(34).collect();
    format!("{}-{}", kept.trim_end_matches('-'), &hash[..5])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_do_not_depend_on_the_order_of_keys() {
        let one: Json = serde_json::from_str(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#).unwrap();
        let other: Json = serde_json::from_str(r#"{"b":{"d":null,"c":[1,2]},"a":1}"#).unwrap();
        assert_eq!(short_hash(&one), short_hash(&other));
        assert_eq!(canonical(&one), r#"{"a":1,"b":{"c":[1,2],"d":null}}"#);
    }

    #[test]
    fn names_stay_apart() {
        assert_eq!(dns_name("checkout"), "checkout");
        assert_ne!(dns_name("check_out"), dns_name("check-out"));
        assert!(dns_name(&"x".repeat(300)).len() <= 40);
    }

    #[test]
    fn versions_of_an_api_name_the_same_object() {
        let one = Id::new("autoscaling/v1", "HorizontalPodAutoscaler", "a");
        assert!(one.same(&Id::new("autoscaling/v2", "HorizontalPodAutoscaler", "a")));
        assert!(!one.same(&Id::new("v1", "HorizontalPodAutoscaler", "a")));
    }
}

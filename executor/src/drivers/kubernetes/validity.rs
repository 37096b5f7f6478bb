//! What the API server would take and make nothing of, or only refuse when other objects have been applied: told before
//! anything is.

use super::object::{Id, at, text};
use super::problem::wrong;
use lockstep_plan::Failure;
use serde_json::{Map, Value as Json};

/// What is wrong with an object, and at which of its keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub path: Vec<String>,
    /// Never with a value, which may be a secret.
    pub why: String,
}

impl Fault {
    pub fn at(path: &[&str], why: impl Into<String>) -> Fault {
        Fault { path: path.iter().map(ToString::to_string).collect(), why: why.into() }
    }
}

/// Kinds of which the API server takes nothing but a DNS subdomain as a name; others have rules of their own.
const DNS_NAMED: [&str; 14] = [
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Job",
    "CronJob",
    "Ingress",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
];

/// The most characters of an object's name, of a key, and of a Service's name.
const LONGEST: usize = 253;

/// The most characters of a DNS label.
pub(super) const LONGEST_LABEL: usize = 63;

/// Whether a text is a DNS label, as the names of namespaces have to be.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_part(text)
}

/// Whether a text may stand between the dots of a DNS name, however long it is.
fn is_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

/// Fails where to the name of an object that cannot be added.
pub(super) fn leaves_room(object: &Json, suffix: &str) -> Result<(), Failure> {
    let id = Id::of(object);
    let longest = if id.kind == "Service" { LONGEST_LABEL } else { LONGEST };
    if id.name.len() + suffix.len() <= longest {
        return Ok(());
    }
    Err(wrong(format!(
        "the name of {id} is too long: it gets `{suffix}`, and may have {} characters before that",
        longest - suffix.len()
    )))
}

/// Looks at an object.
pub(super) fn check(object: &Json, id: &Id) -> Result<(), Fault> {
    identity(object, id)?;
    let fields: &[(&str, bool)] = match (id.version.as_str(), id.kind.as_str()) {
        ("v1", "Secret") => &[("stringData", false), ("data", true)],
        ("v1", "ConfigMap") => &[("data", false), ("binaryData", true)],
        _ => &[],
    };
    for (field, encoded) in fields {
        match &object[*field] {
            Json::Null => {}
            Json::Object(entries) => contents(id, field, entries, *encoded)?,
            other => {
                let why = format!("`{field}` of {id} is {}, and has to be a mapping", sort(other));
                return Err(Fault::at(&[field], why));
            }
        }
    }
    if id.kind == "ConfigMap"
        && let (Json::Object(plain), Json::Object(binary)) = (&object["data"], &object["binaryData"])
        && let Some(key) = binary.keys().find(|key| plain.contains_key(*key))
    {
        let why = format!("{id} has `{key}` in `data` and in `binaryData`: take one out");
        return Err(Fault::at(&["binaryData", key], why));
    }
    let strategy = text(object, &["spec", "updateStrategy", "type"]);
    if ["StatefulSet", "DaemonSet"].contains(&id.kind.as_str()) && strategy == Some("OnDelete") {
        return Err(Fault::at(
            &["spec", "updateStrategy", "type"],
            format!(
                "the update strategy of {id} is OnDelete, so nobody can tell when it is rolled out: use RollingUpdate"
            ),
        ));
    }
    Ok(())
}

/// What an object is called.
fn identity(object: &Json, id: &Id) -> Result<(), Fault> {
    let which = if id.kind.is_empty() { "an object".to_string() } else { format!("a {}", id.kind) };
    for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
        let what = path.join(".");
        let why = match at(object, path) {
            None | Some(Json::Null) if text(object, &["metadata", "generateName"]).is_some() => format!(
                "{which} has `metadata.generateName` and no `metadata.name`: under a name that the API server makes up, nobody \
                 could find it again to change it or to take it back. Give it a name (each Job gets one of its own from that)"
            ),
            None | Some(Json::Null) => format!("{which} has no `{what}`"),
            Some(Json::String(text)) if text.is_empty() => format!("{which} has an empty `{what}`"),
            Some(Json::String(_)) => continue,
            Some(other) => {
                format!("`{what}` of {which} is {}, and has to be a text: quote it", sort(other))
            }
        };
        return Err(Fault::at(path, why));
    }
    let dns = |text: &str| text.len() <= LONGEST && text.split('.').all(is_part);
    let (group, version) = id.version.rsplit_once('/').unwrap_or(("group", &id.version));
    if !dns(group) || !dns(version) || version.contains('.') {
        let why = format!("`apiVersion` of {id} is `{}`: write `v1` or `GROUP/VERSION`", id.version);
        return Err(Fault::at(&["apiVersion"], why));
    }
    if !id.kind.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Fault::at(&["kind"], format!("`kind` is `{}`: it may hold letters and digits", id.kind)));
    }
    let name = id.name.as_str();
    let (fits, rule) = match id.kind.as_str() {
        "Service" if id.version == "v1" => (
            dns(name)
                && name.len() <= LONGEST_LABEL
                && !name.contains('.')
                && name.starts_with(|c: char| c.is_ascii_lowercase()),
            "up to 63 lower-case letters, digits and `-`, a letter first, and no `-` last",
        ),
        kind if DNS_NAMED.contains(&kind) => (
            dns(name),
            "up to 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends and beside each `.`",
        ),
        _ => (!name.contains(['/', '%']) && ![".", ".."].contains(&name), "something without `/` and `%`"),
    };
    if fits {
        return Ok(());
    }
    let why = format!("`{name}` cannot be the name of {which}: it has to be {rule}");
    Err(Fault::at(&["metadata", "name"], why))
}

/// What a Secret or ConfigMap holds.
fn contents(id: &Id, field: &str, entries: &Map<String, Json>, encoded: bool) -> Result<(), Fault> {
    for (key, value) in entries {
        let fault = |why: String| Err(Fault::at(&[field, key], why));
        if key.is_empty()
            || key.len() > LONGEST
            || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return fault(format!(
                "`{key}` cannot be a key in `{field}` of {id}: it may hold letters, digits, `-`, `_` and `.`"
            ));
        }
        // The API server makes nothing at all of what is no text, and says nothing.
        let Some(text) = value.as_str() else {
            return fault(format!(
                "`{field}.{key}` of {id} is {}, and has to be a text: quote it",
                sort(value)
            ));
        };
        if encoded && !is_base64(text) {
            let plainly = if id.kind == "Secret" { "stringData" } else { "data" };
            return fault(format!(
                "`{field}.{key}` of {id} is not base64: encode it, or write it as it is under `{plainly}`"
            ));
        }
    }
    Ok(())
}

/// Whether the API server would read it: line breaks do not count.
fn is_base64(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| !['\r', '\n'].contains(c)).collect();
    let bare = digits.strip_suffix("==").or_else(|| digits.strip_suffix('=')).unwrap_or(&digits);
    digits.len().is_multiple_of(4) && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/')
}

/// What sort of value it is; never the value, which may be a secret.
fn sort(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: &str, field: &str, data: Json) -> Result<(), String> {
        let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "s" } });
        object[field] = data;
        check(&object, &Id::of(&object)).map_err(|fault| fault.why)
    }

    #[test]
    fn what_secrets_and_config_maps_hold_is_text() {
        let message = |field: &str, kind: &str, sort: &str| {
            Err(format!("`{field}` of {kind} `s` is {sort}, and has to be a text: quote it"))
        };
        assert_eq!(
            of("Secret", "stringData", json!({ "ok": "x", "pw": 12_345_678 })),
            message("stringData.pw", "Secret", "a number")
        );
        assert_eq!(
            of("Secret", "data", json!({ "pw": 12_345_678 })),
            message("data.pw", "Secret", "a number")
        );
        for (value, sort) in [
            (json!(true), "a boolean"),
            (json!(1.1), "a number"),
            (json!(null), "null"),
            (json!({}), "a mapping"),
        ] {
            assert_eq!(of("ConfigMap", "data", json!({ "v": value })), message("data.v", "ConfigMap", sort));
        }
        assert_eq!(
            of("ConfigMap", "data", json!(["v"])),
            Err("`data` of ConfigMap `s` is a list, and has to be a mapping".into())
        );
        assert_eq!(of("Secret", "stringData", json!({ "pw": "12345678", "v": "v1.10", "e": "" })), Ok(()));
        assert_eq!(of("Secret", "data", Json::Null), Ok(()));
        let refused = of("ConfigMap", "data", json!({ "a/b": "x" })).unwrap_err();
        assert!(refused.starts_with("`a/b` cannot be a key in `data` of ConfigMap `s`"), "{refused}");
    }

    #[test]
    fn what_is_to_be_base64_is() {
        for good in ["", "aGk=", "aGkh", "aA==", "aGkh\naGk=\n", "+/+/"] {
            assert_eq!(of("Secret", "data", json!({ "k": good })), Ok(()), "{good}");
        }
        for bad in ["hunter2", "aGk", "aGk=aGk=", "a===", "aG k", "aGk_", "pässe123"] {
            let refused = of("Secret", "data", json!({ "k": bad })).unwrap_err();
            let wanted =
                "`data.k` of Secret `s` is not base64: encode it, or write it as it is under `stringData`";
            assert_eq!(refused, wanted, "{bad}");
            let refused = of("ConfigMap", "binaryData", json!({ "k": bad })).unwrap_err();
            assert!(refused.contains("`binaryData.k`") && refused.ends_with("under `data`"), "{refused}");
        }
        let both = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "s" },
                           "data": { "k": "x" }, "binaryData": { "k": "aGk=" } });
        let fault = check(&both, &Id::of(&both)).unwrap_err();
        assert!(fault.why.contains("`k` in `data` and in `binaryData`"), "{fault:?}");
    }

    #[test]
    fn objects_are_called_as_the_api_server_allows() {
        let named = |version: &str, kind: &str, name: &str| {
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } });
            check(&object, &Id::of(&object)).map_err(|fault| fault.path.join("."))
        };
        for (version, kind, name) in [
            ("v1", "ConfigMap", "a.b-c.0"),
            ("apps/v1", "Deployment", "1shop"),
            ("v1", "Service", "shop-1"),
            ("rbac.authorization.k8s.io/v1", "Role", "system:Reader"),
            ("example.com/v1beta1", "Widget", "Any_Thing"),
        ] {
            assert_eq!(named(version, kind, name), Ok(()), "{kind} {name}");
        }
        for (version, kind, name, path) in [
            ("v1", "ConfigMap", "Shop", "metadata.name"),
            ("v1", "Secret", "shop_settings", "metadata.name"),
            ("apps/v1", "Deployment", "-shop", "metadata.name"),
            ("apps/v1", "Deployment", "shop..a", "metadata.name"),
            ("v1", "Service", "1shop", "metadata.name"),
            ("v1", "Service", "shop.a", "metadata.name"),
            ("example.com/v1", "Widget", "a/b", "metadata.name"),
            ("apps/v1/v1", "Deployment", "a", "apiVersion"),
            ("Apps/v1", "Deployment", "a", "apiVersion"),
            ("v1", "Config Map", "a", "kind"),
        ] {
            assert_eq!(named(version, kind, name), Err(path.into()), "{kind} {name}");
        }
    }

    #[test]
    fn what_nobody_can_wait_for_is_refused() {
        let set = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "d" },
                          "spec": { "updateStrategy": { "type": "OnDelete" } } });
        let refused = check(&set, &Id::of(&set)).unwrap_err().why;
        assert!(
            refused.contains("DaemonSet `d` is OnDelete") && refused.ends_with("use RollingUpdate"),
            "{refused}"
        );
    }
}

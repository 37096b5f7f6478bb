//! Who else names a ConfigMap or Secret: objects of kinds of which it is not known what their fields mean, rules of Roles,
//! annotations that controllers read. What they name has to keep its name, or they would look for what is not there.

use super::object::{Id, at};
use super::validity::is_label;
use serde_json::{Map, Value as Json};

/// Groups of Kubernetes' own kinds: what these refer to is known, but for their annotations.
const KNOWN: [&str; 8] =
    ["", "apps", "autoscaling", "batch", "extensions", "networking.k8s.io", "policy", "apiextensions.k8s.io"];

/// Entries that name something else, in whatever kind: Services, Gateways, hosts, labels of pods.
const OTHERS: [&str; 11] = [
    "backendRefs",
    "parentRefs",
    "scaleTargetRef",
    "service",
    "serviceName",
    "host",
    "hosts",
    "hostnames",
    "labels",
    "matchLabels",
    "selector",
];

/// Whether an object may name that ConfigMap or Secret, in a place where no reference is followed.
pub(super) fn names(object: &Json, kind: &str, name: &str) -> bool {
    let id = Id::of(object);
    let known = is_known(&id) && id.kind != "PersistentVolume";
    let sought = Sought { kind, name, anywhere: !known };
    let own = at(object, &["metadata", "annotations"]).and_then(Json::as_object);
    own.is_some_and(|annotations| sought.annotated(annotations))
        || object.as_object().is_some_and(|object| {
            object.iter().any(|(key, value)| key != "metadata" && key != "status" && sought.is_in(key, value))
        })
}

/// Whether it is one of Kubernetes' own kinds.
pub(super) fn is_known(id: &Id) -> bool {
    KNOWN.contains(&id.version.rsplit_once('/').map_or("", |(group, _)| group))
}

struct Sought<'a> {
    kind: &'a str,
    name: &'a str,
    /// Not only in annotations.
    anywhere: bool,
}

impl Sought<'_> {
    fn is_in(&self, key: &str, value: &Json) -> bool {
        match value {
            Json::String(text) => self.anywhere && (text == self.name || self.is_of_namespace(text)),
            Json::Array(items) => items.iter().any(|item| self.is_in(key, item)),
            Json::Object(map) if key == "annotations" => self.annotated(map),
            Json::Object(map) => map.iter().any(|(key, value)| {
                !OTHERS.contains(&key.as_str()) && !self.is_of_other_kind(map, key) && self.is_in(key, value)
            }),
            _ => false,
        }
    }

    /// Whether an entry names something of another kind, as what stands beside it says.
    fn is_of_other_kind(&self, map: &Map<String, Json>, key: &str) -> bool {
        match key {
            "name" => map.get("kind").and_then(Json::as_str).is_some_and(|kind| kind != self.kind),
            // Of a Role's rule.
            "resourceNames" => {
                let plural = format!("{}s", self.kind.to_lowercase());
                let resources = map.get("resources").and_then(Json::as_array);
                resources.is_some_and(|resources| !resources.iter().any(|it| *it == plural || it == "*"))
            }
            _ => false,
        }
    }

    fn annotated(&self, annotations: &Map<String, Json>) -> bool {
        annotations.iter().any(|(key, value)| {
            let says = key.to_lowercase().replace(['-', '_'], "");
            let says = says.contains("secret") || says.contains("configmap");
            value.as_str().is_some_and(|text| says && text == self.name || self.is_of_namespace(text))
        })
    }

    /// `NAMESPACE/NAME`
    fn is_of_namespace(&self, text: &str) -> bool {
        text.split_once('/').is_some_and(|(namespace, name)| is_label(namespace) && name == self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(version: &str, kind: &str, spec: Json) -> Json {
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "tls" }, "spec": spec })
    }

    #[test]
    fn fields_of_kinds_that_are_not_known_count() {
        let secret = |object: Json| names(&object, "Secret", "tls");
        let custom = |spec: Json| secret(of("example.com/v1", "Thing", spec));
        assert!(custom(json!({ "credentials": { "ref": "tls" } })));
        assert!(custom(json!({ "from": [{ "kind": "Secret", "name": "tls" }] })));
        assert!(custom(json!({ "from": "prod/tls" })));
        assert!(!custom(json!({ "from": { "kind": "Service", "name": "tls" }, "path": "/etc/tls" })));
        assert!(!custom(json!({ "selector": { "matchLabels": { "app": "tls" } } })), "labels are no names");
        assert!(!custom(json!({})), "not its own name either");
        let listener = json!({ "listeners": [{ "tls": { "certificateRefs": [{ "name": "tls" }] } }] });
        assert!(secret(of("gateway.networking.k8s.io/v1", "Gateway", listener)));
        let route = json!({ "rules": [{ "backendRefs": [{ "name": "tls" }] }] });
        assert!(!secret(of("gateway.networking.k8s.io/v1", "HTTPRoute", route)));
        let grant = json!({ "to": [{ "group": "", "kind": "Secret", "name": "tls" }] });
        assert!(secret(of("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", grant)));
        let knative =
            json!({ "template": { "spec": { "volumes": [{ "secret": { "secretName": "tls" } }] } } });
        assert!(secret(of("serving.knative.dev/v1", "Service", knative)));
    }

    #[test]
    fn rules_of_roles_count_and_so_do_annotations() {
        let role = |resources: Json| {
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "r" },
                    "rules": [{ "apiGroups": ["*"], "resources": resources, "resourceNames": ["tls"], "verbs": ["get"] }] })
        };
        assert!(names(&role(json!(["secrets"])), "Secret", "tls"));
        assert!(names(&role(json!(["*"])), "ConfigMap", "tls"));
        assert!(!names(&role(json!(["secrets"])), "ConfigMap", "tls"));
        let mut ingress = of("networking.k8s.io/v1", "Ingress", json!({ "tls": [{ "secretName": "tls" }] }));
        assert!(!names(&ingress, "Secret", "tls"), "that reference is followed");
        for (key, value, counts) in [
            ("nginx.ingress.kubernetes.io/auth-secret", "tls", true),
            ("nginx.ingress.kubernetes.io/proxy-set-headers", "prod/tls", true),
            ("example.com/owner", "tls", false),
            ("eks.amazonaws.com/role-arn", "arn:aws:iam::1234:role/tls", false),
        ] {
            ingress["metadata"]["annotations"] = json!({ key: value });
            assert_eq!(names(&ingress, "Secret", "tls"), counts, "{key}");
        }
        let template =
            json!({ "template": { "metadata": { "annotations": { "example.com/config-map": "tls" } } } });
        assert!(names(&of("apps/v1", "Deployment", template), "ConfigMap", "tls"));
    }
}

//! What a deployment has to be allowed to do, looked at before anything is changed; and the Role that allows it.

use super::cluster::{Call as Request, Resource};
use super::manifest::{self, settle};
use super::object::Id;
use super::steps::rendered;
use super::target::Target;
use http::Method;
use lockstep_plan::{Call, Failure, Kind};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What may be done with a kind of object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    /// Whether it belongs to no namespace.
    cluster: bool,
    group: String,
    /// `pods/log`
    resource: String,
    verb: String,
}

impl Need {
    fn new(group: &str, resource: &str, verb: &str) -> Need {
        Need { cluster: false, group: group.into(), resource: resource.into(), verb: verb.into() }
    }
}

/// `patch deployments.apps`
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// What every deployment needs, whatever it consists of.
const OWN: [(&str, &str, &[&str]); 3] = [
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ("", "secrets", &["get", "list", "create", "deletecollection"]),
    ("autoscaling", "horizontalpodautoscalers", &["list"]),
];

/// What waiting for workloads needs.
const WAITING: [(&str, &str, &[&str]); 4] = [
    ("", "pods", &["list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list"]),
    // Which pods a release in place has: undoing looks for them wherever a colour or a canary may have been.
    ("apps", "replicasets", &["get", "list"]),
];

/// What applying needs, and deleting when it is rolled back.
const APPLYING: [&str; 4] = ["get", "create", "patch", "delete"];

/// A rule of those that the API server says hold for us.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Rule {
    fn allows(&self, need: &Need) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == wanted || item == "*");
        // A rule for some names only is left to a question of its own; so is what no namespace holds.
        !need.cluster
            && self.resource_names.is_empty()
            && has(&self.verbs, &need.verb)
            && has(&self.api_groups, &need.group)
            && has(&self.resources, &need.resource)
    }
}

/// What sharing requests out needs.
const SHARING: [(&str, &str, &[&str]); 1] = [("", "endpoints", &["list", "watch"])];

/// What running a Job to its end needs.
const RUNNING: [&str; 5] = ["get", "create", "delete", "list", "watch"];

/// What calls were found to need, by context and namespace.
pub(super) type Needed = Mutex<BTreeMap<(String, String), Needs>>;

/// What is needed in one namespace, whoever needs it, and what of it was found to be allowed, or not.
#[derive(Debug, Default)]
pub(super) struct Needs {
    all: BTreeSet<Need>,
    granted: BTreeSet<Need>,
    missing: BTreeSet<Need>,
}

/// How many missing permissions are named one by one.
const NAMED: usize = 8;

/// Fails unless everything is allowed that these calls need, all of one instance; with the Role of all that is known to be needed
/// in the namespace, so that a Role of that name can be replaced by it. `there`: what is in place.
pub(super) async fn check(
    target: &Target,
    calls: &[Call],
    there: &[Id],
    module: &Path,
) -> Result<(), Failure> {
    let mut needs = BTreeSet::new();
    add(&mut needs, &WAITING);
    for call in calls {
        let job = call.step == "job";
        if !job {
            add(&mut needs, &OWN);
        }
        if call.step == "traffic" {
            add(&mut needs, &SHARING);
        }
        let verbs = if job { &RUNNING[..] } else { &APPLYING };
        let mut objects = if job { Vec::new() } else { rendered(call, module, &target.run)? };
        for files in manifest::chosen(call) {
            objects.extend(manifest::objects(&files, &[])?);
        }
        for object in &objects {
            let id = Id::of(object);
            let resource = target.kind(&id, &objects).await?;
            target.may_write(&id, &resource)?;
            if resource.namespaced {
                settle(&mut object.clone(), &target.namespace)?;
            }
            needs.extend(of_object(&id, &resource, verbs));
        }
    }
    // What is in place is returned to, or deleted in the end, whether or not there are such kinds among the manifests still.
    if calls.iter().any(|call| call.step != "job") {
        for id in there {
            if let Ok(resource) = target.kind(id, &[]).await {
                needs.extend(of_object(id, &resource, &APPLYING));
            }
        }
    }
    let place = (target.cluster.context.clone(), target.namespace.clone());
    {
        let mut needed = target.needed.lock().unwrap_or_else(PoisonError::into_inner);
        let there = needed.entry(place.clone()).or_default();
        there.all.extend(needs.iter().cloned());
        needs.retain(|need| !there.granted.contains(need));
    }
    if needs.is_empty() {
        return Ok(());
    }
    let missing = missing(target, &needs).await?;
    let mut needed = target.needed.lock().unwrap_or_else(PoisonError::into_inner);
    let there = needed.entry(place).or_default();
    if missing.is_empty() {
        there.granted.extend(needs);
        return Ok(());
    }
    there.missing.extend(missing);
    let mut missing: Vec<String> = there.missing.iter().map(Need::to_string).collect();
    if let Some(more) = missing.len().checked_sub(NAMED).filter(|more| *more > 0) {
        missing.truncate(NAMED);
        missing.push(format!("and {more} more"));
    }
    let message = format!(
        "permissions are missing in {} ({}), and nothing was changed; this is all that the run needs there, bind it:\n{}",
        target.place(),
        missing.join(", "),
        role(&target.namespace, &there.all)
    );
    Err(Failure::new(Kind::Authorization, message))
}

fn add(needs: &mut BTreeSet<Need>, more: &[(&str, &str, &[&str])]) {
    for (group, resource, verbs) in more {
        needs.extend(verbs.iter().map(|verb| Need::new(group, resource, verb)));
    }
}

/// What an object of that kind needs.
fn of_object(id: &Id, resource: &Resource, verbs: &[&str]) -> BTreeSet<Need> {
    let group = id.version.rsplit_once('/').map_or("", |(group, _)| group);
    let mut needs = BTreeSet::new();
    if resource.namespaced {
        add(&mut needs, &[(group, &resource.name, verbs)]);
        if id.kind == "StatefulSet" {
            add(&mut needs, &[("", "pods", &["delete"])]);
        }
        if id.is_workload() {
            add(&mut needs, &[(group, &resource.name, &["list", "watch"])]);
        }
    } else if id.kind != "Namespace" {
        needs.extend(
            verbs.iter().map(|verb| Need { cluster: true, ..Need::new(group, &resource.name, verb) }),
        );
    }
    needs
}

/// What of it is not allowed.
async fn missing(target: &Target, needs: &BTreeSet<Need>) -> Result<Vec<Need>, Failure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": target.namespace },
    });
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let mut answer = target
        .call(&Request::json(Method::POST, uri, &review))
        .await
        .map_err(|problem| target.failure("look at the permissions", &problem))?;
    let rules: Vec<Rule> =
        serde_json::from_value(answer["status"]["resourceRules"].take()).unwrap_or_default();
    let mut missing = Vec::new();
    // The list may be incomplete: what it does not hold is asked for by itself.
    for need in needs.iter().filter(|need| !rules.iter().any(|rule| rule.allows(need))) {
        if !allowed(target, need).await? {
            missing.push(need.clone());
        }
    }
    Ok(missing)
}

async fn allowed(target: &Target, need: &Need) -> Result<bool, Failure> {
    let (resource, subresource) = need.resource.split_once('/').unwrap_or((&need.resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "namespace": if need.cluster { "" } else { &target.namespace }, "group": need.group, "resource": resource, "subresource": subresource,
            "verb": need.verb,
        } },
    });
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = target.call(&Request::json(Method::POST, uri, &review)).await;
    let answer = answer.map_err(|problem| target.failure("look at the permissions", &problem))?;
    Ok(answer["status"]["allowed"] == true)
}

/// A Role that grants it, a line for each kind; and a ClusterRole where something belongs to no namespace.
fn role(namespace: &str, needs: &BTreeSet<Need>) -> String {
    let (shared, own): (Vec<&Need>, Vec<&Need>) = needs.iter().partition(|need| need.cluster);
    let one = |head: String, needs: &[&Need]| (!needs.is_empty()).then(|| head + &rules(needs));
    let kind = |kind: &str, metadata: &str| {
        format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{ {metadata} }}\nrules:")
    };
    let roles = [
        one(kind("Role", &format!("name: lockstep, namespace: {namespace}")), &own),
        one(kind("ClusterRole", &format!("name: lockstep-{namespace}")), &shared),
    ];
    roles.into_iter().flatten().collect::<Vec<_>>().join("\n---\n")
}

fn rules(needs: &[&Need]) -> String {
    let mut verbs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for need in needs {
        verbs.entry((&need.group, &need.resource)).or_default().push(&need.verb);
    }
    let rule = |((group, resource), verbs): ((&str, &str), Vec<&str>)| {
        let group = if group.is_empty() { "\"\"" } else { group };
        let verbs = verbs.join(", ");
        format!("\n  - {{ apiGroups: [{group}], resources: [{resource}], verbs: [{verbs}] }}")
    };
    verbs.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    fn need(group: &str, resource: &str, verb: &str) -> Need {
        Need::new(group, resource, verb)
    }

    #[test]
    fn rules_allow_what_they_name() {
        let rule: Rule = serde_json::from_value(json!({
            "verbs": ["get", "list"], "apiGroups": ["apps"], "resources": ["deployments"] }))
        .unwrap();
        assert!(rule.allows(&need("apps", "deployments", "list")));
        for other in [
            need("", "deployments", "get"),
            need("apps", "deployments", "patch"),
            need("apps", "pods", "get"),
        ] {
            assert!(!rule.allows(&other), "{other:?}");
        }
        let all: Rule =
            serde_json::from_value(json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }))
                .unwrap();
        assert!(all.allows(&need("", "pods/log", "get")));
        let named =
            json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"] });
        assert!(!serde_json::from_value::<Rule>(named).unwrap().allows(&need("", "pods", "get")));
    }

    #[test]
    fn the_role_is_one_that_can_be_applied() {
        let needs = [
            need("", "pods/log", "get"),
            need("apps", "deployments", "get"),
            need("apps", "deployments", "patch"),
        ];
        assert_eq!(needs[2].to_string(), "patch deployments.apps");
        let role = role("shop", &BTreeSet::from(needs));
        let parsed: Json = serde_saphyr::from_str(&role).unwrap();
        assert_eq!(parsed["metadata"]["namespace"], "shop");
        assert_eq!(
            parsed["rules"],
            json!([{ "apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"] },
                   { "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"] }])
        );
    }
}

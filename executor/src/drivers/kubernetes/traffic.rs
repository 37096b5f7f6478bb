//! A share of the requests for the new release: weights of a route (Gateway API), between Services that fit the old pods and
//! the new ones only.

use super::apply::{apply, held};
use super::canary::CANARY;
use super::colours::COLOUR;
use super::head::Head;
use super::object::{Id, at, map_at, number, text};
use super::problem::{policy, wrong};
use super::release::{Release, encode};
use super::steps::begin;
use super::target::{Manner, Target};
use super::validity::leaves_room;
use super::watch::Watched;
use crate::driver::Attempt;
use lockstep_plan::{Failure, Kind, Value};
use serde_json::{Map, Value as Json, json};

/// Kinds whose backends have weights.
const ROUTES: [&str; 2] = ["HTTPRoute", "GRPCRoute"];

/// What a pod of one ReplicaSet is labelled with.
pub(super) const HASH: &str = "pod-template-hash";

/// A Service that routes send requests to, as two.
struct Split {
    service: String,
    /// The name of the one that fits old pods only, and the Service where it has to be made.
    old: (String, Option<Json>),
    /// The one that fits new pods only.
    new: Json,
}

/// Sends that share to the new release, as soon as it can take requests.
pub(super) async fn traffic(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let Some(Value::Percent(share)) = attempt.call.arguments.get("share") else {
        return Err(wrong("`share` is missing"));
    };
    let before = Head::now(target).await?;
    let (Some(current), true) = (&before.current, before.run == target.run) else {
        return Err(nothing_new(target));
    };
    let current = Release::read(target, current).await?;
    let canary = match &before.canary {
        Some(name) => Release::read(target, name).await?,
        None => Release::default(),
    };
    let fresh = if canary.objects.iter().any(|object| object["kind"] == "Deployment") {
        &canary
    } else {
        match &before.pending {
            Some(name) => &Release::read(target, name).await?,
            None => return Err(nothing_new(target)),
        }
    };
    let splits = splits(target, &current, fresh).await?;
    let routes: Vec<Json> =
        current.all().filter_map(|route| weighted(route, &splits, i64::from(*share))).collect();
    if routes.is_empty() {
        return Err(policy(format!(
            "no {} of `{}` in {} sends requests to a Service of these pods: put one into the manifests",
            ROUTES.join(" or "),
            target.instance,
            target.place()
        )));
    }
    let services: Vec<Json> =
        splits.iter().flat_map(|split| split.old.1.iter().chain([&split.new])).cloned().collect();
    let mut release = Release { objects: canary.objects.clone(), ..Release::default() };
    release.objects.retain(|object| !belongs(object));
    release.objects.extend(services.iter().chain(&routes).cloned());
    let name = release.name();
    release.store(target).await?;
    let head = begin(target, &name, |head| head.canary = Some(name.clone())).await?;
    let work = async {
        apply(target, services.iter(), head.epoch, Manner::Plain).await?;
        for split in &splits {
            if *share > 0 {
                ready(target, &Id::of(&split.new).name).await?;
            }
            if *share < 100 {
                ready(target, &split.old.0).await?;
            }
        }
        target.say(&format!("{share}% of the requests go to the new release"));
        apply(target, routes.iter(), head.epoch, Manner::Plain).await.map(drop)
    };
    held(target, head.epoch, work).await
}

/// What the Service for the pods in place is called after the one that it stands for.
const STABLE: &str = "-stable";

/// Fails where the Services that a share of the requests needs could not be called so.
pub(super) fn fits(objects: &[Json]) -> Result<(), Failure> {
    let release = Release { objects: objects.to_vec(), ..Release::default() };
    let services = release.all().filter(|object| object["kind"] == "Service");
    let mut split = services.filter(|service| {
        let selector = at(service, &["spec", "selector"]).and_then(Json::as_object);
        selector.is_some_and(|selector| deployments(&release, selector).next().is_some())
    });
    split.try_for_each(|service| leaves_room(service, STABLE))
}

fn nothing_new(target: &Target) -> Failure {
    policy(format!(
        "there is no new release of `{}` beside the old one in {}: a `kubernetes.canary` or `kubernetes.stage` step of this run \
         has to come first",
        target.instance,
        target.place()
    ))
}

/// Whether it is a route, or a Service that only a share of the requests needs.
pub(super) fn belongs(object: &Json) -> bool {
    object["kind"] == "Service" || is_route(object)
}

/// Whether it says where requests go.
pub(super) fn is_route(object: &Json) -> bool {
    ROUTES.contains(&object["kind"].as_str().unwrap_or_default())
}

/// The Services of the release in place that fit pods of the new one or its own, each as two.
async fn splits(target: &Target, current: &Release, fresh: &Release) -> Result<Vec<Split>, Failure> {
    let mut splits = Vec::new();
    for service in current.all().filter(|object| object["kind"] == "Service") {
        let Some(selector) = at(service, &["spec", "selector"]).and_then(Json::as_object) else { continue };
        let mut plain = selector.clone();
        plain.remove(COLOUR);
        let Some(deployment) = deployments(fresh, &plain).next() else { continue };
        let labels = at(deployment, &["spec", "template", "metadata", "labels"]);
        let mark = [CANARY, COLOUR].into_iter().find_map(|name| Some((name, labels?.get(name)?.as_str()?)));
        let Some((label, value)) = mark else { continue };
        let service_name = Id::of(service).name;
        let new = copy(service, &format!("{service_name}-{value}"), &plain, (label, value));
        let old = if selector.contains_key(COLOUR) {
            (service_name.clone(), None)
        } else {
            let name = format!("{service_name}{STABLE}");
            let hash = stable(target, current, &plain, &service_name).await?;
            (name.clone(), Some(copy(service, &name, &plain, (HASH, &hash))))
        };
        splits.push(Split { service: service_name, old, new });
    }
    Ok(splits)
}

/// Deployments whose pods a selector fits.
pub(super) fn deployments<'a>(
    release: &'a Release,
    selector: &Map<String, Json>,
) -> impl Iterator<Item = &'a Json> {
    release.all().filter(move |object| {
        let labels = at(object, &["spec", "template", "metadata", "labels"]);
        object["kind"] == "Deployment"
            && !selector.is_empty()
            && selector.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    })
}

/// What tells the pods in place from all others that the Service fits.
pub(super) async fn stable(
    target: &Target,
    current: &Release,
    selector: &Map<String, Json>,
    service: &str,
) -> Result<String, Failure> {
    let mut found = deployments(current, selector);
    let (Some(deployment), None) = (found.next(), found.next()) else {
        return Err(policy(format!(
            "the Service `{service}` in {} fits pods of several Deployments, or of none: the pods in place can only be told from \
             new ones where it is one",
            target.place()
        )));
    };
    let id = Id::of(deployment);
    let missing = || wrong(format!("{id} in {} has no pods that serve", target.place()));
    let live = target.get(&id).await?.ok_or_else(missing)?;
    let revision = ["metadata", "annotations", "deployment.kubernetes.io/revision"];
    let terms: Vec<String> = selector
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let sets =
        target.list("apps/v1", "replicasets", &format!("labelSelector={}", encode(&terms.join(",")))).await?;
    let own = sets.iter().find(|set| {
        let owners = at(set, &["metadata", "ownerReferences"]).and_then(Json::as_array);
        owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == live["metadata"]["uid"]))
            && text(set, &revision) == text(&live, &revision)
    });
    let hash = own.and_then(|set| text(set, &["metadata", "labels", HASH]));
    hash.map(str::to_string).ok_or_else(missing)
}

/// A Service of its own for some of the pods.
fn copy(service: &Json, name: &str, selector: &Map<String, Json>, label: (&str, &str)) -> Json {
    let mut selector = selector.clone();
    selector.insert(label.0.into(), label.1.into());
    let mut ports = at(service, &["spec", "ports"]).cloned().unwrap_or_else(|| json!([]));
    for port in ports.as_array_mut().into_iter().flatten().filter_map(Json::as_object_mut) {
        port.remove("nodePort");
    }
    let mut copy = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": selector, "ports": ports },
    });
    if let (Some(labels), Some(to)) = (
        at(service, &["metadata", "labels"]).and_then(Json::as_object),
        map_at(&mut copy, &["metadata", "labels"]),
    ) {
        to.extend(labels.clone());
    }
    if let Some(namespace) = at(service, &["metadata", "namespace"]) {
        copy["metadata"]["namespace"] = namespace.clone();
    }
    copy
}

/// A route whose requests are shared out; none where it sends nothing to these Services.
fn weighted(route: &Json, splits: &[Split], share: i64) -> Option<Json> {
    if !is_route(route) {
        return None;
    }
    let mut route = route.clone();
    let mut found = false;
    let rules = route.get_mut("spec")?.get_mut("rules")?.as_array_mut()?;
    for backends in rules.iter_mut().filter_map(|rule| rule.get_mut("backendRefs")?.as_array_mut()) {
        let ours = |backend: &Json| {
            let service = text(backend, &["kind"]).is_none_or(|kind| kind == "Service");
            splits.iter().find(|split| service && backend["name"] == split.service.as_str())
        };
        if !backends.iter().any(|backend| ours(backend).is_some()) {
            continue;
        }
        found = true;
        let mut shared = Vec::new();
        for backend in backends.iter() {
            let weight = number(backend, &["weight"]).unwrap_or(1);
            let mut push = |name: &Json, weight: i64| {
                let mut backend = backend.clone();
                backend["name"] = name.clone();
                backend["weight"] = weight.into();
                shared.push(backend);
            };
            match ours(backend) {
                None => push(&backend["name"], weight * 100),
                Some(split) => {
                    push(&split.old.0.as_str().into(), weight * (100 - share));
                    push(&split.new["metadata"]["name"], weight * share);
                }
            }
        }
        *backends = shared;
    }
    found.then_some(route)
}

/// Waits until a Service has pods that take requests.
async fn ready(target: &Target, service: &str) -> Result<(), Failure> {
    let what = format!("endpoints of Service `{service}`");
    let selector = encode(&format!("metadata.name={service}"));
    let uri = format!("/api/v1/namespaces/{}/endpoints?fieldSelector={selector}", target.namespace);
    let mut endpoints = Watched::new(target, &what, uri);
    let mut said = false;
    loop {
        tokio::select! {
            changed = endpoints.next() => changed?,
            () = tokio::time::sleep_until(target.deadline) => {
                let why = format!("no pod behind Service `{service}` in {} was ready in time", target.place());
                return Err(Failure::new(Kind::Timeout, why));
            }
            () = target.cancel.cancelled() => return target.go_on(),
        }
        let subsets = endpoints.items.get(service).and_then(|found| found["subsets"].as_array());
        let addresses = |subset: &Json| subset["addresses"].as_array().is_some_and(|all| !all.is_empty());
        if subsets.is_some_and(|subsets| subsets.iter().any(addresses)) {
            return Ok(());
        }
        if !said {
            target.say(&format!("waiting for {what}"));
            said = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shared_out_and_other_backends_keep_their_part() {
        let service = json!({ "kind": "Service", "metadata": { "name": "shop", "labels": { "a": "b" } },
            "spec": { "type": "NodePort", "selector": { "app": "shop" }, "ports": [{ "port": 80, "nodePort": 30000 }] } });
        let selector = service["spec"]["selector"].as_object().unwrap();
        let new = copy(&service, "shop-canary", selector, (CANARY, "canary"));
        assert_eq!(
            new["spec"],
            json!({ "selector": { "app": "shop", CANARY: "canary" }, "ports": [{ "port": 80 }] })
        );
        let splits = [Split { service: "shop".into(), old: ("shop-stable".into(), None), new }];
        let route = |backends: Json| json!({ "kind": "HTTPRoute", "spec": { "rules": [{ "backendRefs": backends }] } });
        let before =
            route(json!([{ "name": "shop", "port": 80, "weight": 3 }, { "name": "other", "port": 81 }]));
        let after = weighted(&before, &splits, 20).unwrap();
        assert_eq!(
            after,
            route(json!([
                { "name": "shop-stable", "port": 80, "weight": 240 },
                { "name": "shop-canary", "port": 80, "weight": 60 },
                { "name": "other", "port": 81, "weight": 100 },
            ]))
        );
        assert_eq!(weighted(&route(json!([{ "name": "other" }])), &splits, 20), None);
        assert_eq!(weighted(&service, &splits, 20), None);
    }

    #[test]
    fn services_for_a_share_have_names_that_fit() {
        let of = |length: usize, app: &str| {
            fits(&[
                json!({ "kind": "Service", "metadata": { "name": "s".repeat(length) }, "spec": { "selector": { "app": app } } }),
                json!({ "kind": "Deployment", "spec": { "template": { "metadata": { "labels": { "app": "shop" } } } } }),
            ])
        };
        assert!(of(56, "shop").is_ok() && of(57, "other").is_ok());
        let refused = of(57, "shop").unwrap_err().message;
        assert!(refused.contains("it gets `-stable`, and may have 56 characters before"), "{refused}");
    }
}

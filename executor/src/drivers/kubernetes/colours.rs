//! Blue and green: each release runs in Deployments of its own colour, and the Service says which colour is served.

use super::apply::{apply, apply_of, held, wait};
use super::head::Head;
use super::object::{Id, at, label, map_at, text};
use super::problem::policy;
use super::release::{Release, encode};
use super::replicas::refuse_dangling;
use super::seal;
use super::steps::{Deployment, Outputs, deploy, extra, released, rendered, restarts, service};
use super::target::{Manner, Target};
use super::traffic::{HASH, deployments, stable};
use super::validity::leaves_room;
use super::watch::Watched;
use crate::driver::Attempt;
use lockstep_plan::{Call, Failure, Kind};
use serde_json::{Map, Value as Json};
use std::path::Path;

/// Tells the colours' pods apart.
pub(super) const COLOUR: &str = "lockstep/colour";

/// Brings the new release up in the colour that does not serve, and waits; what is served stays the same.
pub(super) async fn stage(target: &Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    let objects = service(target, attempt).await?;
    let before = Head::now(target).await?;
    let serving = match &before.current {
        Some(name) => Release::read(target, name).await?,
        None => Release::default(),
    };
    let release = Release { extra: extra(target, &before).await?, ..coloured(objects, &serving)? };
    target.say(&format!("staging {}", release.colour.as_deref().unwrap_or_default()));
    refuse_dangling(target, &serving, &release).await?;
    if before.current.is_none() {
        refuse_foreign(target, &release, |_| true).await?;
    }
    let first = match serving.colour {
        Some(_) => Vec::new(),
        None => narrowed(target, &serving, |it| deployments(&release, it).next().is_some()).await?,
    };
    let staging =
        Deployment { first, applied: |_, object| !switches(object), completes: false, alone: false };
    deploy(target, attempt, &release, staging).await
}

/// A release in the colour that does not serve.
pub(super) fn coloured(mut objects: Vec<Json>, serving: &Release) -> Result<Release, Failure> {
    let colour = if serving.colour.as_deref() == Some("blue") { "green" } else { "blue" };
    fits(&objects)?;
    paint(&mut objects, colour);
    Ok(Release { objects, colour: Some(colour.into()), ..Release::default() })
}

/// Fails where these objects cannot be staged.
pub(super) fn fits(objects: &[Json]) -> Result<(), Failure> {
    if !objects.iter().any(|object| object["kind"] == "Deployment") {
        return Err(policy("the service's manifests hold no Deployment, and only these can be staged"));
    }
    let mut deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    deployments.try_for_each(|object| leaves_room(object, "-green"))
}

/// What can be told of staging before there is a run.
///
/// # Errors
/// Somebody's autoscaler would be left without what it scales.
pub(super) async fn look_ahead(target: &Target, call: &Call, module: &Path) -> Result<(), Failure> {
    let head = Head::read(target).await?;
    let Some(current) = seal::in_place(target, &head).await? else { return Ok(()) };
    let serving = Release::read(target, &current).await?;
    let objects = released(target, rendered(call, module, &target.run)?).await?;
    refuse_dangling(target, &serving, &coloured(objects, &serving)?).await
}

/// Where no release of ours is in place, Services of somebody else may fit staged pods, and are not ours to narrow. Only those
/// that `stays` names are looked at.
pub(super) async fn refuse_foreign(
    target: &Target,
    release: &Release,
    stays: impl Fn(&Id) -> bool,
) -> Result<(), Failure> {
    for id in release.all().map(Id::of).filter(|id| id.kind == "Service" && stays(id)) {
        let Some(live) = target.get(&id).await? else { continue };
        let selector = at(&live, &["spec", "selector"]).and_then(Json::as_object);
        if selector.is_some_and(|selector| deployments(release, selector).next().is_some()) {
            return Err(policy(format!(
                "{id} in {} is somebody else's and would send requests to staged pods at once: take it over first with \
                 `kubernetes.rolling {{ force = true }}`",
                target.place()
            )));
        }
    }
    Ok(())
}

/// Services of a release without a colour, those whose selector `concerns` us, each for the pods in place only: else pods of a
/// colour that it fits as well would be sent requests before the swap.
pub(super) async fn narrowed(
    target: &Target,
    release: &Release,
    concerns: impl Fn(&Map<String, Json>) -> bool,
) -> Result<Vec<Json>, Failure> {
    let mut narrowed = Vec::new();
    for service in release.all().filter(|object| object["kind"] == "Service") {
        let Some(selector) = at(service, &["spec", "selector"]).and_then(Json::as_object) else { continue };
        if concerns(selector) {
            let hash = stable(target, release, selector, &Id::of(service).name).await?;
            let mut service = service.clone();
            service["spec"]["selector"][HASH] = hash.into();
            narrowed.push(service);
        }
    }
    Ok(narrowed)
}

/// Has requests go to the pods of a release and to no others: applies what sends them there, `sends`, has `others` removed, and only
/// then lets Services that know no colours, where there were pods of one, fit all that they say. Gives what was removed.
pub(super) async fn alone<T>(
    target: &Target,
    release: &Release,
    sends: &[&Json],
    coloured: bool,
    epoch: u64,
    others: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let narrowed = match coloured && release.colour.is_none() {
        true => narrowed(target, release, |it| deployments(release, it).count() == 1).await?,
        false => Vec::new(),
    };
    let narrow = |object: &Json| narrowed.iter().find(|narrow| Id::of(narrow).same(&Id::of(object)));
    let now = sends.iter().map(|object| narrow(object).unwrap_or(object));
    apply(target, now, epoch, Manner::Back).await?;
    let removed = others.await?;
    let widened = || sends.iter().copied().filter(|object| narrow(object).is_some());
    for service in widened() {
        gone(target, service).await?;
    }
    apply(target, widened(), epoch, Manner::Back).await?;
    Ok(removed)
}

/// Takes a staged release away that nobody is sent to, or not everybody. Gives the objects that were deleted.
pub(super) async fn unstage(
    target: &Target,
    staged: &Release,
    serving: &Release,
    epoch: u64,
) -> Result<Vec<Id>, Failure> {
    let sends: Vec<&Json> =
        serving.all().filter(|object| object["kind"] == "Service" || switches(object)).collect();
    let gone = async {
        let mut deleted = Vec::new();
        for id in staged.all().rev().map(Id::of).filter(|id| !serving.holds(id)) {
            target.go_on()?;
            if target.delete(&id, epoch).await? {
                deleted.push(id);
            }
        }
        Ok(deleted)
    };
    alone(target, serving, &sends, true, epoch, gone).await
}

/// Whether all Services that have a colour send requests to a staged release; not where there are none.
pub(super) async fn is_served(target: &Target, staged: &Release) -> Result<bool, Failure> {
    let mut served = false;
    for service in staged.all().filter(|object| object["kind"] == "Service" && switches(object)) {
        let live = target.get(&Id::of(service)).await?;
        served = live.is_some_and(|live| live["spec"]["selector"] == service["spec"]["selector"]);
        if !served {
            break;
        }
    }
    Ok(served)
}

/// Waits until no pod that has a colour and that a Service fits is sent requests any more.
pub(super) async fn gone(target: &Target, service: &Json) -> Result<(), Failure> {
    let selector = at(service, &["spec", "selector"]).and_then(Json::as_object);
    let terms = selector.into_iter().flatten().map(|(name, value)| match value.as_str() {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    });
    let terms: Vec<String> = terms.chain([COLOUR.to_string()]).collect();
    let selector = encode(&terms.join(","));
    let uri = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}", target.namespace);
    let mut pods = Watched::new(target, "pods", uri);
    pods.again().await?;
    while pods.items.values().any(|pod| !pod["metadata"]["deletionTimestamp"].is_string()) {
        tokio::select! {
            changed = pods.next() => changed?,
            () = tokio::time::sleep_until(target.deadline) => {
                let why = format!("the staged pods in {} did not go in time", target.place());
                return Err(Failure::new(Kind::Timeout, why));
            }
            () = target.cancel.cancelled() => return target.go_on(),
        }
    }
    Ok(())
}

/// Has the staged release served.
pub(super) async fn swap(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let before = Head::now(target).await?;
    let ours = before.run == target.run;
    let Some(name) = before.latest().filter(|_| ours) else { return Err(nothing_staged(target)) };
    let name = name.to_string();
    let release = Release::read(target, &name).await?;
    let Some(colour) = &release.colour else { return Err(nothing_staged(target)) };
    target.say(&format!("switching to {colour}"));
    let head = Head::take(target, |head| head.claimed(target)).await?;
    let work = async {
        // The pods first: what serves nobody yet may have been changed since it was staged.
        let staged = release.all().filter(|object| !switches(object));
        let applied = apply_of(target, &release, staged, head.epoch, Manner::Plain).await?;
        wait(target, &applied, restarts(attempt)).await?;
        apply(target, release.all().filter(|object| switches(object)), head.epoch, Manner::Plain).await
    };
    held(target, head.epoch, work).await?;
    // Whatever had a share of the requests has none of its own any more.
    let swapped = Head::change(target, head.epoch, |head| {
        head.complete(&name);
        head.canary = None;
    });
    swapped.await.map(drop)
}

pub(super) fn nothing_staged(target: &Target) -> Failure {
    policy(format!(
        "nothing of this run is staged for `{}` in {}: a `kubernetes.stage` step has to come before the swap",
        target.instance,
        target.place()
    ))
}

/// Whether applying an object changes what is served.
pub(super) fn switches(object: &Json) -> bool {
    match object["kind"].as_str() {
        Some("Service") => text(object, &["spec", "selector", COLOUR]).is_some(),
        Some("Ingress" | "HTTPRoute" | "GRPCRoute" | "TCPRoute") => true,
        // What nobody asks anything yet would be scaled down.
        Some("HorizontalPodAutoscaler") => text(object, &["metadata", "labels", COLOUR]).is_some(),
        _ => false,
    }
}

/// Gives Deployments, what scales them and the Services in front of them a colour.
fn paint(objects: &mut [Json], colour: &str) {
    let mut names = Vec::new();
    let mut pods: Vec<Json> = Vec::new();
    for object in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        let name = Id::of(object).name;
        pods.extend(at(object, &["spec", "template", "metadata", "labels"]).cloned());
        object["metadata"]["name"] = format!("{name}-{colour}").into();
        names.push(name);
        for path in [
            &["metadata", "labels"][..],
            &["spec", "selector", "matchLabels"],
            &["spec", "template", "metadata", "labels"],
        ] {
            if let Some(labels) = map_at(object, path) {
                labels.insert(COLOUR.into(), colour.into());
            }
        }
    }
    for object in objects.iter_mut() {
        match object["kind"].as_str() {
            Some("Service") => {
                let selector = at(object, &["spec", "selector"]).and_then(Json::as_object);
                let fits = selector.is_some_and(|selector| {
                    !selector.is_empty()
                        && pods.iter().any(|labels| {
                            selector.iter().all(|(name, value)| labels.get(name) == Some(value))
                        })
                });
                if fits && let Some(selector) = map_at(object, &["spec", "selector"]) {
                    selector.insert(COLOUR.into(), colour.into());
                }
            }
            Some("HorizontalPodAutoscaler") => {
                let of = text(object, &["spec", "scaleTargetRef", "name"]).map(str::to_string);
                if let Some(of) = of.filter(|of| names.contains(of)) {
                    object["metadata"]["name"] = format!("{}-{colour}", Id::of(object).name).into();
                    object["spec"]["scaleTargetRef"]["name"] = format!("{of}-{colour}").into();
                    label(object, COLOUR, colour);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_select_the_colour_of_their_pods() {
        let mut objects = vec![
            json!({ "kind": "Service", "metadata": { "name": "a" }, "spec": { "selector": { "app": "a" } } }),
            json!({ "kind": "Service", "metadata": { "name": "b" }, "spec": { "selector": { "app": "b" } } }),
            json!({ "kind": "Deployment", "metadata": { "name": "a" },
                    "spec": { "template": { "metadata": { "labels": { "app": "a", "x": "y" } } } } }),
            json!({ "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
                    "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "a" } } }),
        ];
        paint(&mut objects, "green");
        assert_eq!(objects[0]["spec"]["selector"], json!({ "app": "a", COLOUR: "green" }));
        assert_eq!(objects[1]["spec"]["selector"], json!({ "app": "b" }));
        assert_eq!(objects[2]["metadata"]["name"], "a-green");
        assert_eq!(objects[2]["spec"]["selector"]["matchLabels"][COLOUR], "green");
        assert_eq!(objects[3]["spec"]["scaleTargetRef"]["name"], "a-green");
        let switching: Vec<bool> = objects.iter().map(switches).collect();
        assert_eq!(switching, [true, false, false, true], "the autoscaler follows the requests");
    }
}

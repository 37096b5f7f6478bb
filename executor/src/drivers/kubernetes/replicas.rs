//! How many pods a workload starts with where nothing that we apply says so: as many as what it stands for has at that
//! moment.
//!
//! The number is written when the workload is made and let go of right after that, so that it belongs to nobody until an
//! autoscaler or a person sets another. In between a mark says that it still is to be let go of, whenever the process ends.

use super::addresses;
use super::cluster::MANAGER;
use super::colours::COLOUR;
use super::fields;
use super::head::Head;
use super::object::{Id, annotate, at, number, text};
use super::problem::{policy, wrong};
use super::release::Release;
use super::target::{Target, WRITES};
use lockstep_plan::Failure;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Annotation: the number of replicas, or what a Service had before it was deleted, was given by us for a start, and is to
/// be let go of. Of a Service it says what that is.
pub(super) const GIVEN: &str = "lockstep/given-replicas";

/// Who says how many pods there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    /// What is applied does, if there is anything to say.
    Written,
    /// Nothing that is applied; whoever sets it.
    Open,
    /// An autoscaler, whatever is applied.
    Autoscaler,
}

impl Say {
    /// Of an object; `autoscaled`: what autoscalers scale.
    pub fn of(object: &Json, autoscaled: &[Id]) -> Say {
        let id = Id::of(object);
        if autoscaled.iter().any(|other| id.same(other)) {
            return Say::Autoscaler;
        }
        let named = at(object, &["spec", "replicas"]).is_some();
        if scales(object) && !named { Say::Open } else { Say::Written }
    }
}

/// Whether a workload has a number of replicas to set.
pub(super) fn scales(object: &Json) -> bool {
    ["Deployment", "StatefulSet"].contains(&object["kind"].as_str().unwrap_or_default())
        && object["apiVersion"] == "apps/v1"
}

/// Settles the number in an object that is about to be applied.
pub(super) async fn settle(
    target: &Target,
    wanted: &mut Json,
    live: Option<&Json>,
    say: Say,
) -> Result<(), Failure> {
    if say == Say::Written {
        return Ok(());
    }
    let there = |live: &Json| at(live, &["spec", "replicas"]).cloned();
    let (now, given) = match live {
        Some(live) => {
            let given = is_given(live);
            (there(live).filter(|_| given || say == Say::Autoscaler), given)
        }
        None if scales(wanted) => {
            let inherited = inherited(target, wanted).await?.map(Json::from);
            let now = inherited.or_else(|| there(wanted));
            let given = now.is_some();
            (now, given)
        }
        None => (None, false),
    };
    if let Some(spec) = wanted.get_mut("spec").and_then(Json::as_object_mut) {
        match now {
            Some(now) => drop(spec.insert("replicas".into(), now)),
            None => drop(spec.remove("replicas")),
        }
    }
    if given {
        annotate(wanted, GIVEN, "true");
    }
    Ok(())
}

/// Whether an object has what was given by us and not yet let go of.
pub(super) fn is_given(live: &Json) -> bool {
    text(live, &["metadata", "annotations", GIVEN]).is_some()
}

/// Lets go of what an object was given for a start: the number of its pods, or the addresses of a Service.
pub(super) async fn let_go(target: &Target, id: &Id, live: Json, epoch: u64) -> Result<Json, Failure> {
    if !is_given(&live) {
        return Ok(live);
    }
    let service = id.kind == "Service";
    for _ in 0..WRITES {
        let Some(whole) = target.whole(id).await? else { return Ok(live) };
        if !is_given(&whole) {
            return Ok(whole);
        }
        let given = if service { addresses::fields_given(&whole) } else { vec![vec!["f:replicas".into()]] };
        let mut managers = whole["metadata"]["managedFields"].clone();
        for entry in managers.as_array_mut().into_iter().flatten() {
            if entry["manager"] == MANAGER {
                for field in &given {
                    let path: Vec<String> =
                        ["f:spec".to_string()].into_iter().chain(field.iter().cloned()).collect();
                    fields::unname(&mut entry["fieldsV1"], &path);
                }
            }
        }
        let Some(free) = target.manage(id, &whole, managers, Some(GIVEN), epoch).await? else { continue };
        target.say(&match service {
            true => format!("{id} has {} again", addresses::shown(&whole)),
            false => {
                let replicas = number(&free, &["spec", "replicas"]).unwrap_or(1);
                format!("{id} starts with {replicas} replicas; who scales it has the say from here on")
            }
        });
        return Ok(free);
    }
    Err(wrong(format!("{id} in {} keeps changing while fields of it are being let go of", target.place())))
}

/// Has nobody but us say how many replicas a workload has, now that nothing scales it.
pub(super) async fn take_over(target: &Target, id: &Id, epoch: u64) -> Result<(), Failure> {
    let path = ["f:spec", "f:replicas"].map(String::from);
    for _ in 0..WRITES {
        let Some(whole) = target.whole(id).await? else { return Ok(()) };
        let mut managers = whole["metadata"]["managedFields"].clone();
        let mut others = false;
        for entry in managers.as_array_mut().into_iter().flatten() {
            if entry["manager"] != MANAGER && fields::names(&entry["fieldsV1"], &path) {
                fields::unname(&mut entry["fieldsV1"], &path);
                others = true;
            }
        }
        if !others || target.manage(id, &whole, managers, None, epoch).await?.is_some() {
            return Ok(());
        }
    }
    Err(wrong(format!("{id} in {} keeps changing while its replicas are being taken over", target.place())))
}

/// What a workload is called whatever its colour.
fn base(object: &Json) -> &str {
    let name = text(object, &["metadata", "name"]).unwrap_or_default();
    let colour = text(object, &["metadata", "labels", COLOUR]);
    colour.and_then(|colour| name.strip_suffix(colour)?.strip_suffix('-')).unwrap_or(name)
}

/// Workloads by what they are called whatever their colour.
fn key(object: &Json) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap_or_default(), base(object))
}

/// How many pods that has which a new workload stands for; none where it stands for nothing.
async fn inherited(target: &Target, new: &Json) -> Result<Option<i64>, Failure> {
    let head = Head::now(target).await?;
    let (wanted, own) = (key(new), Id::of(new));
    for name in [&head.current, &head.pending].into_iter().flatten() {
        // One that cannot be read stands in nobody's way here.
        let Ok(release) = Release::read(target, name).await else { continue };
        for object in release.all().filter(|object| scales(object) && key(object) == wanted) {
            let id = Id::of(object);
            if !id.same(&own)
                && let Some(live) = target.get(&id).await?
                && target.owns(&live)
            {
                return Ok(number(&live, &["spec", "replicas"]));
            }
        }
    }
    Ok(head.replicas.get(&wanted).copied())
}

/// How many pods workloads among these objects have that are about to be deleted.
pub(super) async fn counted(
    target: &Target,
    leaving: impl Iterator<Item = &Id>,
) -> Result<BTreeMap<String, i64>, Failure> {
    let mut counted = BTreeMap::new();
    for id in leaving {
        if scales(&json!({ "apiVersion": id.version, "kind": id.kind }))
            && let Some(live) = target.get(id).await?
            && target.owns(&live)
            && let Some(replicas) = number(&live, &["spec", "replicas"])
        {
            counted.insert(key(&live), replicas);
        }
    }
    Ok(counted)
}

/// Fails where somebody else's autoscaler scales a Deployment that goes once another colour of it is in place.
pub(super) async fn refuse_dangling(
    target: &Target,
    current: &Release,
    new: &Release,
) -> Result<(), Failure> {
    let replaced: Vec<(Id, Id)> = current
        .all()
        .filter(|old| scales(old) && !new.holds(&Id::of(old)))
        .filter_map(|old| {
            let by = new.all().find(|object| scales(object) && key(object) == key(old))?;
            Some((Id::of(old), Id::of(by)))
        })
        .collect();
    if replaced.is_empty() {
        return Ok(());
    }
    for scaler in target.list("autoscaling/v1", "horizontalpodautoscalers", "limit=500").await? {
        let Some(scaled) = scale_target(&scaler).filter(|_| !target.owns(&scaler)) else { continue };
        if let Some((old, by)) = replaced.iter().find(|(old, _)| old.same(&scaled)) {
            return Err(policy(format!(
                "HorizontalPodAutoscaler `{}` in {} is not of this service and scales {old}, which `{}` takes the place of, so \
                 that it would scale nothing any more: put it into the manifests of the service and deploy once with \
                 `kubernetes.rolling`, or delete it",
                text(&scaler, &["metadata", "name"]).unwrap_or_default(),
                target.place(),
                by.name
            )));
        }
    }
    Ok(())
}

/// What autoscalers scale: those of the namespace, those of these objects, and those of the release that they belong to.
pub(super) async fn autoscaled(
    target: &Target,
    objects: &[&Json],
    release: &Release,
) -> Result<Vec<Id>, Failure> {
    if !objects
        .iter()
        .any(|object| at(object, &["spec", "replicas"]).is_some() && Id::of(object).is_workload())
    {
        return Ok(Vec::new());
    }
    let there = target.list("autoscaling/v1", "horizontalpodautoscalers", "limit=500").await?;
    let here = objects.iter().copied().chain(release.all());
    let here = here.filter(|object| object["kind"] == "HorizontalPodAutoscaler").filter_map(scale_target);
    Ok(there.iter().filter_map(scale_target).chain(here).collect())
}

/// What an autoscaler scales.
pub(super) fn scale_target(scaler: &Json) -> Option<Id> {
    let of = at(scaler, &["spec", "scaleTargetRef"])?;
    Some(Id::new(text(of, &["apiVersion"]).unwrap_or("apps/v1"), text(of, &["kind"])?, text(of, &["name"])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_one_workload_have_one_name() {
        let of = |name: &str, labels: Json| {
            key(&json!({ "kind": "Deployment", "metadata": { "name": name, "labels": labels } }))
        };
        let plain = of("web", json!({}));
        assert_eq!(plain, "Deployment/web");
        assert_eq!(of("web-blue", json!({ COLOUR: "blue" })), plain);
        assert_ne!(of("web-blue", json!({})), plain, "it is called so by its manifest");
        assert_ne!(of("web-blue", json!({ COLOUR: "green" })), plain);
    }

    #[test]
    fn an_autoscaler_has_the_say_before_the_manifest() {
        let deployment = |spec: Json| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" }, "spec": spec });
        let scaled = [Id::new("apps/v1", "Deployment", "a")];
        assert_eq!(Say::of(&deployment(json!({ "replicas": 2 })), &[]), Say::Written);
        assert_eq!(Say::of(&deployment(json!({})), &[]), Say::Open);
        assert_eq!(Say::of(&deployment(json!({ "replicas": 2 })), &scaled), Say::Autoscaler);
        assert_eq!(Say::of(&json!({ "apiVersion": "v1", "kind": "Service" }), &[]), Say::Written);
    }
}

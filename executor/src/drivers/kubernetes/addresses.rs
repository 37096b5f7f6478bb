//! Addresses of Services that a run deletes: whoever brings a Service back asks for the one that it had, for clients that have
//! looked it up still.

use super::head::Head;
use super::object::{Id, at, text};
use super::replicas::is_given;
use super::target::Target;
use lockstep_plan::Failure;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Where it is.
const PATH: &[&str] = &["spec", "clusterIP"];

/// Those of the Services among these objects that are about to be deleted, by name.
pub(super) async fn noted(
    target: &Target,
    leaving: impl Iterator<Item = &Id>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut noted = BTreeMap::new();
    for id in leaving.filter(|id| is_service(id)) {
        if let Some(live) = target.get(id).await?
            && target.owns(&live)
            && let Some(address) = text(&live, PATH).filter(|address| !["", "None"].contains(address))
        {
            noted.insert(id.name.clone(), address.to_string());
        }
    }
    Ok(noted)
}

/// The one that an object had which is about to be made, or was given to it and not yet let go of, where that is a Service that
/// says nothing of its own.
pub(super) async fn wanted(
    target: &Target,
    object: &Json,
    live: Option<&Json>,
) -> Result<Option<String>, Failure> {
    let id = Id::of(object);
    if !is_service(&id)
        || at(object, PATH).is_some()
        || text(object, &["spec", "type"]) == Some("ExternalName")
    {
        return Ok(None);
    }
    if let Some(live) = live {
        return Ok(text(live, PATH).filter(|_| is_given(live)).map(str::to_string));
    }
    Ok(Head::now(target).await?.addresses.get(&id.name).cloned())
}

/// Whether the API server refuses that address: somebody else has it by now, or it is none that it gives.
pub(super) fn is_refused(message: &str) -> bool {
    message.contains("spec.clusterIP")
}

fn is_service(id: &Id) -> bool {
    id.kind == "Service" && id.version == "v1"
}

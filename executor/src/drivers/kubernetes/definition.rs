//! CustomResourceDefinitions among the manifests: the kinds that they add to a cluster.

use super::cluster::Resource;
use super::object::{Id, at, text};
use super::problem::wrong;
use super::rollout::condition;
use super::target::Target;
use lockstep_plan::{Failure, Kind};
use serde_json::Value as Json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the API server is asked whether it knows a kind: it tells nobody when it comes to.
const LOOK: Duration = Duration::from_millis(200);

/// A kind that one of these objects defines.
pub(super) fn defined(id: &Id, objects: &[Json]) -> Option<Resource> {
    objects.iter().find_map(|object| {
        let is = Id::of(object).is_definition()
            && kinds(object).any(|(version, kind)| version == id.version && kind == id.kind);
        is.then(|| Resource {
            kind: id.kind.clone(),
            name: text(object, &["spec", "names", "plural"]).unwrap_or_default().into(),
            namespaced: text(object, &["spec", "scope"]) == Some("Namespaced"),
        })
    })
}

/// The kinds that a definition has served: `apiVersion` and `kind` of each.
fn kinds(definition: &Json) -> impl Iterator<Item = (String, &str)> {
    let group = text(definition, &["spec", "group"]).unwrap_or_default();
    let kind = text(definition, &["spec", "names", "kind"]).unwrap_or_default();
    let versions = at(definition, &["spec", "versions"]).and_then(Json::as_array).into_iter().flatten();
    let served = versions.filter(|version| version["served"] == true);
    served.map(move |version| (format!("{group}/{}", text(version, &["name"]).unwrap_or_default()), kind))
}

/// Waits until the API server knows the kinds of a definition that was applied.
pub(super) async fn established(target: &Target, definition: &Json) -> Result<(), Failure> {
    let id = Id::of(definition);
    loop {
        target.go_on()?;
        let Some(now) = target.get(&id).await? else {
            return Err(wrong(format!("{id} was deleted while it was being waited for")));
        };
        if let Some(refused) =
            condition(&now, "NamesAccepted").filter(|condition| condition["status"] == "False")
        {
            let why = text(refused, &["message"]).unwrap_or("its names are taken");
            return Err(wrong(format!("{id} is not accepted: {why}")));
        }
        let mut known = condition(&now, "Established").is_some_and(|condition| condition["status"] == "True");
        for (version, kind) in kinds(definition) {
            known = known && target.known(&Id::new(&version, kind, "")).await?.is_some();
        }
        if known {
            return Ok(());
        }
        if Instant::now() + LOOK >= target.deadline {
            let message = format!("{id} in {} was not established in time", target.place());
            return Err(Failure::new(Kind::Timeout, message));
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = target.cancel.cancelled() => return target.go_on(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_says_what_its_kinds_are() {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "widgets.acme.io" },
            "spec": { "group": "acme.io", "scope": "Namespaced", "names": { "plural": "widgets", "kind": "Widget" },
                      "versions": [{ "name": "v1", "served": true }, { "name": "v0", "served": false }] },
        });
        let find = |version: &str, kind: &str| {
            defined(&Id::new(version, kind, "w"), std::slice::from_ref(&definition))
                .map(|it| (it.name, it.namespaced))
        };
        assert_eq!(find("acme.io/v1", "Widget"), Some(("widgets".into(), true)));
        assert_eq!(find("acme.io/v0", "Widget"), None, "it is not served");
        assert_eq!(find("acme.io/v1", "Gadget"), None);
        assert_eq!(find("v1", "Widget"), None);
    }
}

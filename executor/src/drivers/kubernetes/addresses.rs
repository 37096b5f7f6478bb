//! Addresses of Services that a run deletes: whoever brings a Service back asks for those that it had, for clients that have
//! looked them up still. With two families of addresses it has one of each.

use super::head::Head;
use super::object::{Id, at, text};
use super::replicas::is_given;
use super::target::Target;
use lockstep_plan::Failure;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Where the first one is.
const FIRST: &[&str] = &["spec", "clusterIP"];
/// Where all are.
const ALL: &[&str] = &["spec", "clusterIPs"];

/// Between those of one Service, where they are noted.
const AND: char = '+';

/// Those of the Services among these objects that are about to be deleted, by name.
pub(super) async fn noted(
    target: &Target,
    leaving: impl Iterator<Item = &Id>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut noted = BTreeMap::new();
    for id in leaving.filter(|id| is_service(id)) {
        let Some(live) = target.get(id).await?.filter(|live| target.owns(live)) else { continue };
        let addresses = of(&live);
        if !addresses.is_empty() {
            noted.insert(id.name.clone(), addresses.join(&AND.to_string()));
        }
    }
    Ok(noted)
}

/// Those that a Service has, the first one first.
pub(super) fn of(live: &Json) -> Vec<String> {
    let all = at(live, ALL).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let mut all: Vec<String> = all.map(str::to_string).collect();
    if all.is_empty() {
        all.extend(text(live, FIRST).map(str::to_string));
    }
    all.retain(|address| !["", "None"].contains(&address.as_str()));
    all
}

/// Those that an object had which is about to be made, or was given and not yet let go of, where that is a Service that says
/// nothing of its own.
pub(super) async fn wanted(
    target: &Target,
    object: &Json,
    live: Option<&Json>,
) -> Result<Vec<String>, Failure> {
    let id = Id::of(object);
    if !is_service(&id)
        || at(object, FIRST).or_else(|| at(object, ALL)).is_some()
        || text(object, &["spec", "type"]) == Some("ExternalName")
    {
        return Ok(Vec::new());
    }
    if let Some(live) = live {
        return Ok(if is_given(live) { of(live) } else { Vec::new() });
    }
    let noted = Head::now(target).await?.addresses.get(&id.name).cloned().unwrap_or_default();
    Ok(fitting(object, noted.split(AND)))
}

/// Those of the addresses that a Service had which it can have again, by what it says of families.
fn fitting<'a>(object: &Json, had: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut had: Vec<String> = had.filter(|address| !address.is_empty()).map(str::to_string).collect();
    if let Some(families) = at(object, &["spec", "ipFamilies"]).and_then(Json::as_array) {
        let family = |address: &String| if address.contains(':') { "IPv6" } else { "IPv4" };
        let of_family = |wanted: &Json| had.iter().find(|address| wanted == family(address)).cloned();
        // One that is missing leaves nothing to ask for behind it.
        had = families.iter().map_while(of_family).collect();
    }
    let both = text(object, &["spec", "ipFamilyPolicy"]).is_some_and(|policy| policy.ends_with("DualStack"));
    had.truncate(if both { 2 } else { 1 });
    had
}

/// Has a Service ask for addresses.
pub(super) fn ask(object: &mut Json, addresses: &[String]) {
    let Some(first) = addresses.first() else { return };
    object["spec"]["clusterIP"] = first.as_str().into();
    if addresses.len() > 1 {
        object["spec"]["clusterIPs"] = addresses.into();
    }
}

/// Whether the API server refuses these addresses: somebody else has one by now, or it is none that it gives.
pub(super) fn are_refused(message: &str) -> bool {
    message.contains("spec.clusterIP")
}

fn is_service(id: &Id) -> bool {
    id.kind == "Service" && id.version == "v1"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_asks_for_as_many_addresses_as_it_may_have() {
        let fitting = |spec: Json| fitting(&json!({ "spec": spec }), ["10.0.0.7", "fd00::7"].into_iter());
        assert_eq!(fitting(json!({})), ["10.0.0.7"], "one family, unless it says otherwise");
        assert_eq!(fitting(json!({ "ipFamilyPolicy": "SingleStack" })), ["10.0.0.7"]);
        for policy in ["PreferDualStack", "RequireDualStack"] {
            assert_eq!(fitting(json!({ "ipFamilyPolicy": policy })), ["10.0.0.7", "fd00::7"]);
            let reversed = json!({ "ipFamilyPolicy": policy, "ipFamilies": ["IPv6", "IPv4"] });
            assert_eq!(fitting(reversed), ["fd00::7", "10.0.0.7"]);
        }
        assert_eq!(fitting(json!({ "ipFamilies": ["IPv6"] })), ["fd00::7"]);
        let one = ["10.0.0.7"].into_iter();
        let other =
            json!({ "spec": { "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"] } });
        assert!(super::fitting(&other, one).is_empty(), "the first one is not known");
    }

    #[test]
    fn a_service_has_what_the_server_says() {
        assert_eq!(of(&json!({ "spec": { "clusterIP": "10.0.0.7" } })), ["10.0.0.7"]);
        let both = json!({ "spec": { "clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7", "fd00::7"] } });
        assert_eq!(of(&both), ["10.0.0.7", "fd00::7"]);
        assert!(of(&json!({ "spec": { "clusterIP": "None", "clusterIPs": ["None"] } })).is_empty());
    }
}

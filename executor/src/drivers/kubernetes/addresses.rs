//! Addresses of Services that a run deletes: whoever brings a Service back asks for those that it had, for clients that have
//! looked them up still. With two families of addresses it has one of each. What is asked for from outside is the same: a
//! port of every node for each port of the Service, and the one where a node tells of its health.

use super::head::Head;
use super::node_ports;
use super::object::{Id, at, text};
use super::replicas::GIVEN;
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
        let mut had = of(&live);
        had.extend(node_ports::of(&live));
        if !had.is_empty() {
            noted.insert(id.name.clone(), told(&had));
        }
    }
    Ok(noted)
}

/// As one text.
pub(super) fn told(all: &[String]) -> String {
    all.join(&AND.to_string())
}

/// Those that a Service has, the first one first.
fn of(live: &Json) -> Vec<String> {
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
    if !is_service(&id) || text(object, &["spec", "type"]) == Some("ExternalName") {
        return Ok(Vec::new());
    }
    let had = match live {
        Some(live) => given(live),
        None => Head::now(target).await?.addresses.get(&id.name).cloned().unwrap_or_default(),
    };
    Ok(fitting(object, &had))
}

/// What a Service was given for a start, as it is noted.
fn given(live: &Json) -> String {
    match text(live, &["metadata", "annotations", GIVEN]) {
        // As releases before noted it.
        Some("true") => told(&of(live)),
        given => given.unwrap_or_default().to_string(),
    }
}

/// The fields below `spec` that a Service was given for a start.
pub(super) fn fields_given(live: &Json) -> Vec<Vec<String>> {
    let mut all = vec![vec!["f:clusterIP".to_string()], vec!["f:clusterIPs".into()]];
    all.extend(given(live).split(AND).filter_map(node_ports::field));
    all
}

/// What a Service was given for a start, in words.
pub(super) fn shown(live: &Json) -> String {
    let given = given(live);
    let (ports, addresses): (Vec<&str>, Vec<&str>) = given.split(AND).partition(|it| node_ports::is_one(it));
    let mut shown = Vec::new();
    if !addresses.is_empty() {
        shown.push(format!("the cluster IP {}", addresses.join(" and ")));
    }
    shown.extend(ports.into_iter().map(node_ports::shown));
    shown.join(", and ")
}

/// Those that a Service had which it can have again, by what it says itself.
fn fitting(object: &Json, had: &str) -> Vec<String> {
    let had = had.split(AND).filter(|it| !it.is_empty());
    let (ports, addresses): (Vec<&str>, Vec<&str>) = had.partition(|it| node_ports::is_one(it));
    let mut all = match at(object, FIRST).or_else(|| at(object, ALL)) {
        Some(_) => Vec::new(),
        None => fitting_addresses(object, addresses),
    };
    all.extend(ports.into_iter().filter(|port| node_ports::fits(object, port)).map(str::to_string));
    all
}

/// Those of the addresses that it can have again, by what it says of families.
fn fitting_addresses(object: &Json, had: Vec<&str>) -> Vec<String> {
    let mut had: Vec<String> = had.into_iter().map(str::to_string).collect();
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

/// Has a Service ask for what it had.
pub(super) fn ask(object: &mut Json, had: &[String]) {
    let (ports, addresses): (Vec<&str>, Vec<&str>) =
        had.iter().map(String::as_str).partition(|it| node_ports::is_one(it));
    if let Some(first) = addresses.first() {
        object["spec"]["clusterIP"] = (*first).into();
    }
    if addresses.len() > 1 {
        object["spec"]["clusterIPs"] = addresses.into();
    }
    ports.into_iter().for_each(|port| node_ports::ask(object, port));
}

/// What of it the API server refuses, which somebody else has by now or which it does not give: with two addresses the
/// second one, at first.
pub(super) fn refused(object: &Json, asked: &[String], message: &str) -> Vec<String> {
    let address =
        asked.iter().rfind(|it| !node_ports::is_one(it)).filter(|_| message.contains("spec.clusterIP"));
    let ports = asked.iter().filter(|it| node_ports::is_refused(object, it, message));
    ports.chain(address).cloned().collect()
}

/// What these are, in words.
pub(super) fn kind(all: &[String]) -> &'static str {
    if all.iter().any(|it| node_ports::is_one(it)) { "node port" } else { "cluster IP" }
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
        let fitting = |spec: Json| fitting(&json!({ "spec": spec }), "10.0.0.7+fd00::7");
        assert_eq!(fitting(json!({})), ["10.0.0.7"], "one family, unless it says otherwise");
        assert_eq!(fitting(json!({ "ipFamilyPolicy": "SingleStack" })), ["10.0.0.7"]);
        for policy in ["PreferDualStack", "RequireDualStack"] {
            assert_eq!(fitting(json!({ "ipFamilyPolicy": policy })), ["10.0.0.7", "fd00::7"]);
            let reversed = json!({ "ipFamilyPolicy": policy, "ipFamilies": ["IPv6", "IPv4"] });
            assert_eq!(fitting(reversed), ["fd00::7", "10.0.0.7"]);
        }
        assert_eq!(fitting(json!({ "ipFamilies": ["IPv6"] })), ["fd00::7"]);
        let other =
            json!({ "spec": { "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"] } });
        assert!(super::fitting(&other, "10.0.0.7").is_empty(), "the first one is not known");
    }

    #[test]
    fn a_service_has_what_the_server_says() {
        assert_eq!(of(&json!({ "spec": { "clusterIP": "10.0.0.7" } })), ["10.0.0.7"]);
        let both = json!({ "spec": { "clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7", "fd00::7"] } });
        assert_eq!(of(&both), ["10.0.0.7", "fd00::7"]);
        assert!(of(&json!({ "spec": { "clusterIP": "None", "clusterIPs": ["None"] } })).is_empty());
    }
}

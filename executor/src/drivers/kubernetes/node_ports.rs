//! Ports of every node that lead to a Service, as they are noted of one that is deleted: `PROTOCOL/PORT/NODEPORT` for each of
//! its ports, and `health/NODEPORT` for the one where a node tells of its health.

use super::object::{at, number, text};
use serde_json::Value as Json;

const HEALTH: &str = "health/";

/// Whether what is noted is one of these, and no address.
pub(super) fn is_one(noted: &str) -> bool {
    noted.contains('/')
}

/// Those that a Service has.
pub(super) fn of(live: &Json) -> Vec<String> {
    let given = |port: &Json| Some(format!("{}/{}", name(port), number(port, &["nodePort"])?));
    let mut all: Vec<String> = ports(live).iter().filter_map(given).collect();
    all.extend(number(live, &["spec", "healthCheckNodePort"]).map(|port| format!("{HEALTH}{port}")));
    all
}

/// Whether a Service can have one again: it is of a type that has them, and says nothing of its own.
pub(super) fn fits(object: &Json, noted: &str) -> bool {
    let kind = text(object, &["spec", "type"]).unwrap_or_default();
    let local = text(object, &["spec", "externalTrafficPolicy"]) == Some("Local");
    if noted.starts_with(HEALTH) {
        return kind == "LoadBalancer" && local && at(object, &["spec", "healthCheckNodePort"]).is_none();
    }
    let without = at(object, &["spec", "allocateLoadBalancerNodePorts"]) == Some(&Json::Bool(false));
    let open = kind == "NodePort" || (kind == "LoadBalancer" && !without);
    open && index(object, noted).is_some_and(|index| ports(object)[index]["nodePort"].is_null())
}

/// Has a Service ask for one.
pub(super) fn ask(object: &mut Json, noted: &str) {
    let node_port =
        node_port(noted).and_then(|port| port.parse::<i64>().ok()).map(Json::from).unwrap_or_default();
    if noted.starts_with(HEALTH) {
        object["spec"]["healthCheckNodePort"] = node_port;
    } else if let Some(index) = index(object, noted) {
        object["spec"]["ports"][index]["nodePort"] = node_port;
    }
}

/// Whether the API server refuses it.
pub(super) fn is_refused(object: &Json, noted: &str, message: &str) -> bool {
    match index(object, noted) {
        Some(index) => message.contains(&format!("spec.ports[{index}].nodePort")),
        None => noted.starts_with(HEALTH) && message.to_ascii_lowercase().contains("healthcheck"),
    }
}

/// The field below `spec` that says it.
pub(super) fn field(noted: &str) -> Option<Vec<String>> {
    if noted.starts_with(HEALTH) {
        return Some(vec!["f:healthCheckNodePort".into()]);
    }
    let (protocol, port) = noted.rsplit_once('/')?.0.split_once('/')?;
    let key = format!("k:{{\"port\":{port},\"protocol\":\"{protocol}\"}}");
    Some(vec!["f:ports".into(), key, "f:nodePort".into()])
}

/// In words.
pub(super) fn shown(noted: &str) -> String {
    let node_port = node_port(noted).unwrap_or_default();
    match noted.strip_prefix(HEALTH) {
        Some(_) => format!("the node port {node_port} for health"),
        None => format!("the node port {node_port}"),
    }
}

fn node_port(noted: &str) -> Option<&str> {
    noted.rsplit('/').next()
}

/// Which of a Service's ports it leads to.
fn index(object: &Json, noted: &str) -> Option<usize> {
    let (port, _) = noted.rsplit_once('/')?;
    ports(object).iter().position(|it| name(it) == port)
}

fn ports(service: &Json) -> &[Json] {
    at(service, &["spec", "ports"]).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// What tells a port of a Service from its others.
fn name(port: &Json) -> String {
    format!("{}/{}", text(port, &["protocol"]).unwrap_or("TCP"), port["port"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_asks_for_the_ports_that_it_had_and_does_not_name() {
        let live = json!({ "spec": {
            "type": "LoadBalancer", "healthCheckNodePort": 32000,
            "ports": [{ "port": 80, "protocol": "TCP", "nodePort": 30080 }, { "port": 53, "protocol": "UDP", "nodePort": 30053 }],
        } });
        let noted = of(&live);
        assert_eq!(noted, ["TCP/80/30080", "UDP/53/30053", "health/32000"]);
        let fitting = |spec: Json| -> Vec<String> {
            noted.iter().filter(|port| fits(&json!({ "spec": spec }), port)).cloned().collect()
        };
        let ports = json!([{ "port": 80 }, { "port": 53, "protocol": "UDP", "nodePort": 30054 }]);
        assert_eq!(fitting(json!({ "type": "NodePort", "ports": ports })), ["TCP/80/30080"]);
        assert!(fitting(json!({ "ports": ports })).is_empty(), "it has none");
        let local = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports });
        assert_eq!(fitting(local), ["TCP/80/30080", "health/32000"]);
        let without =
            json!({ "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports });
        assert!(fitting(without).is_empty());

        let mut object = json!({ "spec": { "type": "NodePort", "ports": [{ "port": 53, "protocol": "UDP" }, { "port": 80 }] } });
        for port in &noted {
            if fits(&object, port) {
                ask(&mut object, port);
            }
        }
        assert_eq!(object["spec"]["ports"][1]["nodePort"], 30080);
        assert_eq!(object["spec"]["ports"][0]["nodePort"], 30053);
        let message = "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated";
        assert_eq!(noted.iter().filter(|port| is_refused(&object, port, message)).count(), 1);
        assert!(is_refused(&object, "TCP/80/30080", message));
        assert!(is_refused(
            &object,
            "health/32000",
            "failed to allocate requested HealthCheck NodePort 32000: taken"
        ));
        assert_eq!(field("UDP/53/30053").unwrap()[1], "k:{\"port\":53,\"protocol\":\"UDP\"}");
    }
}

//! What pods say when a rollout does not get on: which of them cannot get better, their events and last log lines.

use super::cluster::Call;
use super::object::{Id, at, number, text};
use super::release::encode;
use super::rollout::condition;
use super::target::Target;
use serde_json::Value as Json;

/// Reasons of a waiting container that more waiting does not mend.
const HOPELESS: [&str; 5] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// How many events and log lines are shown.
const SHOWN: usize = 3;
const LINES: usize = 5;

/// Something wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub pod: String,
    /// The container, where it is one's.
    pub container: Option<String>,
    /// For people.
    pub why: String,
    /// Whether more waiting does not mend it.
    pub hopeless: bool,
    /// Whether an earlier container of the pod has ended, so that its log is the one to read.
    crashed: bool,
}

/// What is wrong with a pod, the worst first. `restarts`: from how many on it counts as a crash loop.
pub(super) fn trouble(pod: &Json, restarts: i64) -> Option<Trouble> {
    let name = text(pod, &["metadata", "name"])?.to_string();
    let mut found: Option<Trouble> = None;
    for list in ["initContainerStatuses", "containerStatuses"] {
        let statuses = at(pod, &["status", list]).and_then(Json::as_array);
        for status in statuses.into_iter().flatten() {
            let Some((why, hopeless)) = container(status, restarts) else { continue };
            let crashed = number(status, &["restartCount"]).unwrap_or(0) > 0;
            let container = text(status, &["name"]).map(str::to_string);
            let trouble = Trouble { pod: name.clone(), container, why, hopeless, crashed };
            if found.as_ref().is_none_or(|found| hopeless && !found.hopeless) {
                found = Some(trouble);
            }
        }
    }
    if found.is_some() {
        return found;
    }
    let unscheduled = condition(pod, "PodScheduled").filter(|condition| condition["status"] == "False")?;
    let why =
        format!("it cannot be scheduled: {}", text(unscheduled, &["message"]).unwrap_or("no node takes it"));
    Some(Trouble { pod: name, container: None, why, hopeless: false, crashed: false })
}

fn container(status: &Json, limit: i64) -> Option<(String, bool)> {
    let restarts = number(status, &["restartCount"]).unwrap_or(0);
    let image = text(status, &["image"]).unwrap_or("?");
    if let Some(waiting) = at(status, &["state", "waiting"]) {
        let reason = text(waiting, &["reason"]).unwrap_or_default();
        let message = text(waiting, &["message"]).map(|message| format!(": {message}")).unwrap_or_default();
        if HOPELESS.contains(&reason) || reason == "ErrImagePull" {
            return Some((format!("{reason} of the image `{image}`{message}"), HOPELESS.contains(&reason)));
        }
        if reason == "CrashLoopBackOff" {
            return Some((format!("{reason} after {restarts} restarts{message}"), restarts >= limit));
        }
    }
    if restarts >= limit {
        return Some((format!("it has been restarted {restarts} times"), true));
    }
    if let Some(code) = number(status, &["state", "terminated", "exitCode"]).filter(|code| *code != 0) {
        return Some((format!("it has ended with exit status {code}"), false));
    }
    let ready = status["ready"] == true;
    (!ready && at(status, &["state", "running"]).is_some())
        .then(|| ("it runs, but is not ready".to_string(), false))
}

/// The pod's own warnings and last log lines, as the end of a message. Whatever cannot be had is left out.
pub(super) async fn story(target: &Target, trouble: &Trouble) -> String {
    let mut story = String::new();
    for event in warnings(target, &Id::new("v1", "Pod", &trouble.pod)).await {
        story.push_str(&format!("\n  event: {event}"));
    }
    if let Some(container) = &trouble.container {
        for line in log(target, &trouble.pod, container, trouble.crashed, LINES).await {
            story.push_str(&format!("\n  log: {line}"));
        }
    }
    story
}

/// The last warnings about an object, oldest first.
pub(super) async fn warnings(target: &Target, id: &Id) -> Vec<String> {
    let selector = format!("involvedObject.kind={},involvedObject.name={},type=Warning", id.kind, id.name);
    let selector = format!("fieldSelector={}", encode(&selector));
    let Ok(mut events) = target.list("v1", "events", &selector).await else { return Vec::new() };
    let time = |event: &Json| {
        let time = text(event, &["lastTimestamp"]).or_else(|| text(event, &["eventTime"]));
        time.unwrap_or_default().to_string()
    };
    events.sort_by_key(time);
    let mut messages: Vec<String> = Vec::new();
    for event in &events {
        let (reason, message) = (text(event, &["reason"]), text(event, &["message"]));
        let message = format!("{}: {}", reason.unwrap_or("?"), message.unwrap_or_default().trim());
        messages.retain(|earlier| *earlier != message);
        messages.push(message);
    }
    messages.split_off(messages.len().saturating_sub(SHOWN))
}

/// The last lines that a container wrote, of the one before if it has crashed.
pub(super) async fn log(
    target: &Target,
    pod: &str,
    container: &str,
    crashed: bool,
    lines: usize,
) -> Vec<String> {
    let base = format!(
        "/api/v1/namespaces/{}/pods/{pod}/log?container={container}&tailLines={lines}&limitBytes=65536",
        target.namespace
    );
    for previous in [crashed, false] {
        let uri = if previous { format!("{base}&previous=true") } else { base.clone() };
        if let Ok(text) = target.cluster.text(&Call::get(uri), &target.cancel).await {
            let lines: Vec<String> = text.lines().map(|line| line.chars().take(300).collect()).collect();
            if !lines.is_empty() {
                return lines;
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: Json) -> Json {
        json!({ "metadata": { "name": "p" }, "status": { "containerStatuses": [status] } })
    }

    #[test]
    fn what_cannot_get_better_is_told_from_what_may() {
        let pull = pod(
            json!({ "name": "c", "image": "i:1", "state": { "waiting": { "reason": "ImagePullBackOff" } } }),
        );
        let found = trouble(&pull, 3).unwrap();
        assert!(found.hopeless && found.why.contains("`i:1`"), "{found:?}");
        let first =
            pod(json!({ "name": "c", "image": "i:1", "state": { "waiting": { "reason": "ErrImagePull" } } }));
        assert!(!trouble(&first, 3).unwrap().hopeless);
        let crash = |restarts: i64| {
            pod(
                json!({ "name": "c", "restartCount": restarts, "state": { "waiting": { "reason": "CrashLoopBackOff" } } }),
            )
        };
        assert!(!trouble(&crash(2), 3).unwrap().hopeless);
        assert!(trouble(&crash(3), 3).unwrap().hopeless);
        let slow = pod(json!({ "name": "c", "ready": false, "state": { "running": {} } }));
        assert_eq!(trouble(&slow, 3).unwrap().why, "it runs, but is not ready");
        assert_eq!(trouble(&pod(json!({ "name": "c", "ready": true, "state": { "running": {} } })), 3), None);
    }

    #[test]
    fn a_pod_that_no_node_takes_says_so() {
        let status =
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/2 nodes" }] });
        let found = trouble(&json!({ "metadata": { "name": "p" }, "status": status }), 3).unwrap();
        assert_eq!((found.hopeless, found.why.as_str()), (false, "it cannot be scheduled: 0/2 nodes"));
    }
}

//! When a workload counts as rolled out: the rules of `kubectl rollout status`, and those of a Job's end.

use super::object::{at, number, text};
use serde_json::Value as Json;

/// How far a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is what it should be.
    Done,
    /// Its controller has not taken notice of its last change, so that nothing can be said.
    Unseen,
    /// It is on its way.
    Waiting(String),
    /// It will not get there; whether for lack of time.
    Failed {
        /// Why.
        why: String,
        /// Whether its own deadline has passed.
        overdue: bool,
    },
}

use Progress::{Done, Waiting};

/// How far it is, with the generation that our own apply returned.
pub(super) fn progress(kind: &str, object: &Json, applied: i64) -> Progress {
    let generation = number(object, &["metadata", "generation"]).unwrap_or(0).max(applied);
    if kind == "Job" {
        return job(object);
    }
    let observed = count(object, "observedGeneration");
    if observed < generation {
        return Progress::Unseen;
    }
    match kind {
        "Deployment" => deployment(object),
        "StatefulSet" => stateful_set(object),
        "DaemonSet" => daemon_set(object),
        _ => Done,
    }
}

fn count(object: &Json, field: &str) -> i64 {
    number(object, &["status", field]).unwrap_or(0)
}

fn deployment(object: &Json) -> Progress {
    if let Some(condition) = condition(object, "Progressing")
        && condition["reason"] == "ProgressDeadlineExceeded"
    {
        let seconds = number(object, &["spec", "progressDeadlineSeconds"]).unwrap_or(600);
        return Progress::Failed {
            why: format!("it exceeded its progress deadline of {seconds}s"),
            overdue: true,
        };
    }
    let wanted = number(object, &["spec", "replicas"]).unwrap_or(1);
    let (updated, all, available) =
        (count(object, "updatedReplicas"), count(object, "replicas"), count(object, "availableReplicas"));
    // Its controller still sets how many pods there are, and replaces none.
    if object["spec"]["paused"] == true && wanted > 0 && (updated == 0 || all > updated) {
        let name = text(object, &["metadata", "name"]).unwrap_or_default();
        return Progress::Failed {
            why: format!(
                "it is paused (`spec.paused`), so its pods are not replaced, with {updated} of {wanted} updated: take `paused` out \
                 of the manifest, or let it go on with `kubectl rollout resume deployment/{name}`"
            ),
            overdue: false,
        };
    }
    if updated < wanted {
        return Waiting(format!("{updated} of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return Waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return Waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Done
}

fn stateful_set(object: &Json) -> Progress {
    if text(object, &["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return on_delete();
    }
    let wanted = number(object, &["spec", "replicas"]).unwrap_or(1);
    let ready = count(object, "readyReplicas");
    if ready < wanted {
        return Waiting(format!("{ready} of {wanted} pods are ready"));
    }
    let partition = number(object, &["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or(0);
    if partition > 0 {
        let (updated, due) = (count(object, "updatedReplicas"), wanted - partition);
        return if updated < due {
            Waiting(format!("{updated} of {due} new pods have been updated"))
        } else {
            Done
        };
    }
    let status = &object["status"];
    if status["updateRevision"] != status["currentRevision"] {
        return Waiting(format!(
            "{} of {wanted} pods are at the new revision",
            count(object, "updatedReplicas")
        ));
    }
    Done
}

fn daemon_set(object: &Json) -> Progress {
    if text(object, &["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return on_delete();
    }
    let wanted = count(object, "desiredNumberScheduled");
    let (updated, available) = (count(object, "updatedNumberScheduled"), count(object, "numberAvailable"));
    if updated < wanted {
        return Waiting(format!("{updated} of {wanted} new pods have been updated"));
    }
    if available < wanted {
        return Waiting(format!("{available} of {wanted} updated pods are available"));
    }
    Done
}

fn on_delete() -> Progress {
    let why =
        "its update strategy is OnDelete, so nobody can tell when it is rolled out; use RollingUpdate".into();
    Progress::Failed { why, overdue: false }
}

fn job(object: &Json) -> Progress {
    let holds = |name: &str| condition(object, name).filter(|condition| condition["status"] == "True");
    if holds("Complete").is_some() {
        return Done;
    }
    if let Some(failed) = holds("Failed") {
        let why = text(failed, &["message"]).unwrap_or("it failed").to_string();
        return Progress::Failed { why, overdue: failed["reason"] == "DeadlineExceeded" };
    }
    Waiting(format!("{} pods active, {} failed", count(object, "active"), count(object, "failed")))
}

/// A condition of the status.
pub(super) fn condition<'a>(object: &'a Json, kind: &str) -> Option<&'a Json> {
    at(object, &["status", "conditions"])?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn waiting(progress: Progress) -> String {
        match progress {
            Waiting(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_deployment_is_followed_step_by_step() {
        let object = |status: Json| json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 3 }, "status": status });
        let done =
            json!({ "observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3 });
        let with = |field: &str, value: i64| {
            let mut status = done.clone();
            status[field] = value.into();
            progress("Deployment", &object(status), 2)
        };
        assert_eq!(progress("Deployment", &object(done.clone()), 2), Done);
        assert_eq!(with("observedGeneration", 1), Progress::Unseen);
        assert_eq!(waiting(with("updatedReplicas", 1)), "1 of 3 new replicas have been updated");
        assert_eq!(waiting(with("replicas", 4)), "1 old replicas are pending termination");
        assert_eq!(waiting(with("availableReplicas", 2)), "2 of 3 updated replicas are available");
        // What the API server has not told the watch yet counts as not observed.
        assert_eq!(progress("Deployment", &object(done), 3), Progress::Unseen);
    }

    #[test]
    fn a_paused_deployment_gets_no_further() {
        let with = |updated: i64, all: i64| {
            let status = json!({ "observedGeneration": 1, "updatedReplicas": updated, "replicas": all, "availableReplicas": all });
            let spec = json!({ "replicas": 3, "paused": true });
            let object =
                json!({ "metadata": { "name": "a", "generation": 1 }, "spec": spec, "status": status });
            progress("Deployment", &object, 1)
        };
        for (updated, all) in [(0, 0), (0, 3), (1, 4)] {
            let Progress::Failed { why, overdue } = with(updated, all) else { panic!("{updated} of {all}") };
            assert!(!overdue && why.contains("`spec.paused`") && why.ends_with("deployment/a`"), "{why}");
        }
        assert_eq!(waiting(with(2, 2)), "2 of 3 new replicas have been updated", "it is being scaled");
        assert_eq!(with(3, 3), Done);
    }

    #[test]
    fn a_deadline_that_passed_is_a_failure() {
        let status = json!({ "observedGeneration": 1,
            "conditions": [{ "type": "Progressing", "reason": "ProgressDeadlineExceeded" }] });
        let object = json!({ "metadata": { "generation": 1 }, "spec": { "progressDeadlineSeconds": 7 }, "status": status });
        let Progress::Failed { why, overdue } = progress("Deployment", &object, 1) else { panic!() };
        assert!(overdue && why.contains("7s"), "{why}");
    }

    #[test]
    fn stateful_and_daemon_sets_have_rules_of_their_own() {
        let set = |status: Json, update: Json| json!({ "metadata": { "generation": 1 }, "spec": { "replicas": 2, "updateStrategy": update }, "status": status });
        let ready = json!({ "observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 1,
                            "updateRevision": "b", "currentRevision": "a" });
        assert_eq!(
            waiting(progress("StatefulSet", &set(ready.clone(), json!({})), 1)),
            "1 of 2 pods are at the new revision"
        );
        let partition = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } });
        assert_eq!(progress("StatefulSet", &set(ready.clone(), partition), 1), Done);
        assert!(matches!(
            progress("StatefulSet", &set(ready, json!({ "type": "OnDelete" })), 1),
            Progress::Failed { overdue: false, .. }
        ));
        let nodes = json!({ "observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3,
                            "numberAvailable": 1 });
        assert_eq!(
            waiting(progress("DaemonSet", &set(nodes, json!({})), 1)),
            "1 of 3 updated pods are available"
        );
    }

    #[test]
    fn a_job_ends_well_or_not() {
        let object = |kind: &str| json!({ "status": { "conditions": [{ "type": kind, "status": "True", "message": "no luck" }] } });
        assert_eq!(progress("Job", &object("Complete"), 1), Done);
        let failed = Progress::Failed { why: "no luck".into(), overdue: false };
        assert_eq!(progress("Job", &object("Failed"), 1), failed);
        assert!(matches!(progress("Job", &json!({}), 1), Waiting(_)));
    }
}

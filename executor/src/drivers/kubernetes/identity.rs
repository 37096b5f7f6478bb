//! Which target is meant, however it is named: two contexts, or two addresses, may lead to one namespace.

use super::cluster::Call;
use super::object::text;
use super::target::Target;
use crate::driver::{Cancel, Identity};
use std::time::Duration;

/// How long the API server is waited for. One that does not answer is left to the steps.
const ANSWER: Duration = Duration::from_secs(10);

/// What Kubernetes itself puts into each namespace, and plain permissions let read. Its `uid` is no other namespace's, of no
/// other cluster.
const OWN: &str = "configmaps/kube-root-ca.crt";

/// What the instance really is.
pub(super) async fn identify(target: &Target) -> Identity {
    let own = Call::get(format!("/api/v1/namespaces/{}/{OWN}", target.namespace));
    let never = Cancel::never();
    let asked = tokio::time::timeout(ANSWER, target.cluster.call(&own, &never)).await;
    let found = asked.ok().and_then(Result::ok);
    let uid = found.as_ref().and_then(|object| text(object, &["metadata", "uid"]));
    Identity {
        place: Some(format!(
            "`{}` in namespace `{}` of {}",
            target.instance, target.namespace, target.cluster.server
        )),
        id: uid.map(|uid| format!("{uid}/{}", target.instance)),
    }
}

//! One API server, as one kubeconfig context reaches it: calls with timeouts, repeated only where that is safe.

use super::kubeconfig;
use super::problem::Problem;
use super::target::Target;
use crate::driver::Cancel;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long one call may take, its answer's body included.
const CALL: Duration = Duration::from_secs(30);

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How many calls are under way at a time, watches apart: hundreds of targets must not drown their API server.
const AT_A_TIME: usize = 32;

/// Waits before a call is repeated; as many repetitions as there are waits.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1500),
    Duration::from_millis(3000),
];

/// The longest `Retry-After` that is obeyed; a longer one fails the call.
const PATIENCE: Duration = Duration::from_secs(20);

/// The names by which this program writes.
pub(super) const MANAGER: &str = "lockstep";

/// An API server.
pub(super) struct Cluster {
    /// The context by which it is reached, for people.
    pub context: String,
    /// Its API server, spelled in one way.
    pub server: String,
    client: Client,
    under_way: Semaphore,
    kinds: Mutex<Kinds>,
    /// Held by whoever lists kinds: the others have use for the same list.
    listing: tokio::sync::Mutex<()>,
}

/// What was listed, by `apiVersion`.
type Kinds = BTreeMap<String, Arc<Vec<Resource>>>;

/// A kind of object, as the API server knows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Resource {
    /// `Deployment`
    pub kind: String,
    /// `deployments`; with a slash: a subresource.
    pub name: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// A request that has not been sent.
#[derive(Clone)]
pub(super) struct Call {
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// Its type and content.
    pub body: Option<(&'static str, Vec<u8>)>,
}

impl Call {
    /// Reads.
    pub fn get(uri: impl Into<String>) -> Call {
        Call { method: Method::GET, uri: uri.into(), body: None }
    }

    /// Sends JSON.
    pub fn json(method: Method, uri: impl Into<String>, body: &Json) -> Call {
        Call { method, uri: uri.into(), body: Some(("application/json", body.to_string().into_bytes())) }
    }

    /// Whether it may be sent again when nobody knows what became of it. A patch here is always a server-side apply, which
    /// says how the object shall be; a review of permissions is a question, and leaves nothing behind; and the only Secrets
    /// that are created are parts of releases, where whoever made one first has made the same.
    fn repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::PATCH | Method::DELETE)
            || self.uri.starts_with("/apis/authorization.k8s.io/")
            || self.uri.ends_with("/secrets")
    }

    fn request(&self) -> Result<Request<Body>, Problem> {
        let mut builder = Request::builder().method(self.method.clone()).uri(&self.uri);
        if let Some((kind, _)) = &self.body {
            builder = builder.header(http::header::CONTENT_TYPE, *kind);
        }
        let bytes = self.body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        builder.body(Body::from(bytes)).map_err(|error| Problem::Other(error.to_string()))
    }
}

impl Cluster {
    /// Reads the kubeconfig (none: `KUBECONFIG`, then `~/.kube/config`, then the pod's own service account), and takes that
    /// context of it (empty: the current one). Nothing is sent yet.
    pub async fn connect(kubeconfig: Option<&Path>, context: &str) -> Result<Cluster, Problem> {
        let (mut config, name) = kubeconfig::load(kubeconfig, context).await?;
        config.connect_timeout = Some(CONNECT);
        config.write_timeout = Some(CALL);
        // Repetitions are decided here, where it is known which calls may be repeated.
        config.default_retry = false;
        let server = kubeconfig::server(&config);
        let client = kubeconfig::client(config)?;
        let under_way = Semaphore::new(AT_A_TIME);
        let (kinds, listing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Cluster { context: name, server, client, under_way, kinds, listing })
    }

    /// Sends a call and reads its answer. Reads end at once when cancelled; a write is always waited for.
    pub async fn call(&self, call: &Call, cancel: &Cancel) -> Result<Json, Problem> {
        parsed(&self.text(call, cancel).await?)
    }

    /// Like [`Cluster::call`], for answers that are no JSON.
    pub async fn text(&self, call: &Call, cancel: &Cancel) -> Result<String, Problem> {
        self.repeated(call, cancel, None).await
    }

    /// Sends a write of whoever holds the target with that epoch. It is made sure each time before it is sent.
    pub async fn write(&self, call: &Call, target: &Target, epoch: u64) -> Result<Json, Problem> {
        parsed(&self.repeated(call, &target.cancel, Some((target, epoch))).await?)
    }

    async fn repeated(
        &self,
        call: &Call,
        cancel: &Cancel,
        holder: Option<(&Target, u64)>,
    ) -> Result<String, Problem> {
        let mut waits = BACKOFF.iter();
        loop {
            if cancel.is_cancelled() {
                return Err(Problem::Cancelled);
            }
            if let Some((target, epoch)) = holder {
                Box::pin(target.leases.check(target, epoch)).await.map_err(Problem::Overtaken)?;
            }
            let sent = self.send(call);
            let result = if call.method == Method::GET {
                tokio::select! {
                    result = sent => result,
                    () = cancel.cancelled() => return Err(Problem::Cancelled),
                }
            } else {
                sent.await
            };
            let (problem, wait) = match result {
                Ok(text) => return Ok(text),
                Err((problem, wait)) => (problem, wait),
            };
            let again = problem.passing() && (call.repeatable() || problem.refused());
            let Some(pause) = waits.next().filter(|_| again) else { return Err(problem) };
            let pause = wait.unwrap_or(*pause);
            if pause > PATIENCE {
                return Err(problem);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return Err(Problem::Cancelled),
            }
        }
    }

    /// Sends it once. With a failure comes how long the server asks to be left alone.
    async fn send(&self, call: &Call) -> Result<String, (Problem, Option<Duration>)> {
        let request = call.request().map_err(|problem| (problem, None))?;
        // It is never closed.
        let _turn = self.under_way.acquire().await;
        let answered = async {
            let response = self.client.send(request).await.map_err(|error| (Problem::from(error), None))?;
            let (parts, body) = response.into_parts();
            let wait = retry_after(&parts.headers);
            let bytes = body
                .collect()
                .await
                .map_err(|error| (Problem::Unreachable(format!("the answer broke off: {error}")), None))?
                .to_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match parts.status.is_success() {
                true => Ok(text),
                false => Err((Problem::Status(Box::new(status(parts.status.as_u16(), &text))), wait)),
            }
        };
        match tokio::time::timeout(CALL, answered).await {
            Ok(result) => result,
            Err(_) => Err((Problem::Unreachable(format!("no answer within {}s", CALL.as_secs())), None)),
        }
    }

    /// Opens a watch; its events come as lines.
    pub async fn watch(&self, uri: String) -> Result<Response<Body>, Problem> {
        let request = Call::get(uri).request()?;
        let opened = tokio::time::timeout(CALL, self.client.send(request)).await;
        let response = match opened {
            Ok(response) => response.map_err(Problem::from)?,
            Err(_) => return Err(Problem::Unreachable(format!("no answer within {}s", CALL.as_secs()))),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let bytes = tokio::time::timeout(CALL, response.into_body().collect()).await;
        let text = match bytes {
            Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes.to_bytes()).into_owned(),
            _ => String::new(),
        };
        Err(Problem::Status(Box::new(status(code, &text))))
    }

    /// How the API server calls a kind; none when it does not know it.
    pub async fn resource(
        &self,
        version: &str,
        kind: &str,
        cancel: &Cancel,
    ) -> Result<Option<Resource>, Problem> {
        let find = |kinds: &[Resource]| {
            kinds.iter().find(|resource| resource.kind == kind && !resource.name.contains('/')).cloned()
        };
        let known = || self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned();
        let before = known();
        if let Some(found) = before.as_deref().and_then(|kinds| find(kinds)) {
            return Ok(Some(found));
        }
        let _turn = self.listing.lock().await;
        // Somebody else may have been first.
        let listed = known().filter(|now| before.as_ref().is_none_or(|before| !Arc::ptr_eq(now, before)));
        if let Some(found) = listed.as_deref().and_then(|kinds| find(kinds)) {
            return Ok(Some(found));
        }
        // Not known, or defined since.
        let listed = match self.call(&Call::get(base(version)), cancel).await {
            Ok(listed) => listed,
            Err(problem) if problem.is(404) => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let kinds: Vec<Resource> = serde_json::from_value(listed["resources"].clone())
            .map_err(|error| Problem::Other(format!("its list of kinds cannot be read: {error}")))?;
        let found = find(&kinds);
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(version.to_string(), Arc::new(kinds));
        Ok(found)
    }
}

fn parsed(text: &str) -> Result<Json, Problem> {
    json(text.as_bytes()).map_err(|error| Problem::Other(format!("its answer is not JSON: {error}")))
}

/// What the API server says, without what is never looked at: who manages which fields is as long as an object itself.
pub(super) fn json(text: &[u8]) -> Result<Json, serde_json::Error> {
    let mut said: Json = serde_json::from_slice(text)?;
    let lighten = |object: &mut Json| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    lighten(&mut said);
    // Of a list, or of an event.
    said.get_mut("items").and_then(Json::as_array_mut).into_iter().flatten().for_each(lighten);
    said.get_mut("object").into_iter().for_each(lighten);
    Ok(said)
}

/// Where objects of an `apiVersion` are.
pub(super) fn base(version: &str) -> String {
    if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") }
}

fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What the server says; where it says nothing of its own, what its answer was.
fn status(code: u16, text: &str) -> Status {
    match serde_json::from_str::<Status>(text) {
        Ok(status) if status.is_failure() => Status { code, ..status },
        _ => Status::failure(text.trim().lines().next().unwrap_or_default(), "").with_code(code),
    }
}

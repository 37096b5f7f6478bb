//! Objects as they change: listed, then watched, and listed again whenever the watch breaks off.

use super::cluster::Call;
use super::object::text;
use super::target::Target;
use http_body_util::BodyExt;
use kube::client::Body;
use lockstep_plan::Failure;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a watch may say nothing before it is not trusted any more.
const SILENCE: Duration = Duration::from_secs(60);

/// How long the API server keeps one open.
const LENGTH: u64 = 290;

/// Before a watch that could not be opened is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The objects that a list names, kept up to date.
pub(super) struct Watched<'a> {
    target: &'a Target,
    /// For failures: `Deployments`
    what: String,
    /// The collection with its selector.
    uri: String,
    /// By name.
    pub items: BTreeMap<String, Json>,
    open: Option<Open>,
}

struct Open {
    body: Body,
    /// Of a line that has not ended.
    rest: Vec<u8>,
}

impl<'a> Watched<'a> {
    /// `uri` is the collection, with a query that selects.
    pub fn new(target: &'a Target, what: &str, uri: String) -> Watched<'a> {
        Watched { target, what: what.into(), uri, items: BTreeMap::new(), open: None }
    }

    /// Returns once there is something new; at first, what is there. May be dropped and called again.
    pub async fn changed(&mut self) -> Result<(), Failure> {
        loop {
            let Some(open) = &mut self.open else {
                return self.list().await;
            };
            if let Some(end) = open.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = open.rest.drain(..=end).collect();
                if self.take(&line) {
                    return Ok(());
                }
                continue;
            }
            match tokio::time::timeout(SILENCE, open.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        open.rest.extend_from_slice(&data);
                    }
                }
                // It ended, broke off, or fell silent.
                _ => self.open = None,
            }
        }
    }

    /// Looks again now, whatever the watch has told.
    pub async fn again(&mut self) -> Result<(), Failure> {
        self.open = None;
        self.list().await
    }

    async fn list(&mut self) -> Result<(), Failure> {
        let doing = format!("watch {}", self.what);
        let listed = self.target.call(&Call::get(self.uri.clone())).await;
        let mut listed = listed.map_err(|problem| self.target.failure(&doing, &problem))?;
        let version = text(&listed, &["metadata", "resourceVersion"]).unwrap_or_default().to_string();
        let items: Vec<Json> = serde_json::from_value(listed["items"].take()).unwrap_or_default();
        let uri = format!(
            "{}&watch=1&allowWatchBookmarks=true&timeoutSeconds={LENGTH}&resourceVersion={version}",
            self.uri
        );
        match self.target.cluster.watch(uri).await {
            Ok(response) => self.open = Some(Open { body: response.into_body(), rest: Vec::new() }),
            // What was listed is known in any case; the next call lists again.
            Err(problem) if problem.passing() || problem.is(410) => tokio::time::sleep(PAUSE).await,
            Err(problem) => return Err(self.target.failure(&doing, &problem)),
        }
        self.items = items.into_iter().filter_map(|item| Some((name(&item)?, item))).collect();
        Ok(())
    }

    /// Takes an event in; whether it says anything new.
    fn take(&mut self, line: &[u8]) -> bool {
        let Ok(mut event) = serde_json::from_slice::<Json>(line) else {
            self.open = None;
            return false;
        };
        let object = event["object"].take();
        match (event["type"].as_str(), name(&object)) {
            (Some("ADDED" | "MODIFIED"), Some(name)) => drop(self.items.insert(name, object)),
            (Some("DELETED"), Some(name)) => drop(self.items.remove(&name)),
            (Some("BOOKMARK"), _) => return false,
            // An error, as a rule that the version is too old.
            _ => {
                self.open = None;
                return false;
            }
        }
        true
    }
}

fn name(object: &Json) -> Option<String> {
    text(object, &["metadata", "name"]).map(str::to_string)
}

//! Objects as they change: watched, and listed whenever the watch breaks off.

use super::cluster::{Call, json};
use super::object::text;
use super::problem::Problem;
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
    /// Where the first watch begins, so that nothing has to be listed for it.
    from: Option<From>,
    open: Option<Open>,
}

enum From {
    /// After that version.
    Version(String),
    /// With an event for each object that is there.
    All,
}

struct Open {
    body: Body,
    /// Of a line that has not ended.
    rest: Vec<u8>,
}

impl<'a> Watched<'a> {
    /// `uri` is the collection, with a query that selects. What is there comes as if it had just been added.
    pub fn new(target: &'a Target, what: &str, uri: String) -> Watched<'a> {
        Watched { target, what: what.into(), uri, items: BTreeMap::new(), from: Some(From::All), open: None }
    }

    /// The same, for one object that has just been written or read.
    pub fn since(target: &'a Target, what: &str, uri: String, object: &Json) -> Watched<'a> {
        let mut watched = Watched::new(target, what, uri);
        if let (Some(name), Some(version)) = (name(object), text(object, &["metadata", "resourceVersion"])) {
            watched.items.insert(name, object.clone());
            watched.from = Some(From::Version(version.into()));
        }
        watched
    }

    /// Opens the watch, unless it is open; whether that showed how things are now. May be dropped and called again.
    pub async fn open(&mut self) -> Result<bool, Failure> {
        if self.open.is_some() {
            return Ok(false);
        }
        match self.from.take() {
            None => return self.list().await.map(|()| true),
            Some(From::All) => self.begin("").await?,
            Some(From::Version(version)) => self.begin(&format!("&resourceVersion={version}")).await?,
        }
        Ok(false)
    }

    /// Returns once there may be something new, or once the watch has to be opened again. May be dropped and called again.
    pub async fn changed(&mut self) {
        while let Some(open) = &mut self.open {
            if let Some(end) = open.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = open.rest.drain(..=end).collect();
                if self.take(&line) {
                    return;
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

    /// Returns once there may be something new, with the watch opened where that is needed. May be dropped and called again.
    pub async fn next(&mut self) -> Result<(), Failure> {
        if !self.open().await? {
            self.changed().await;
        }
        Ok(())
    }

    /// Looks again now, whatever the watch has told.
    pub async fn again(&mut self) -> Result<(), Failure> {
        self.open = None;
        self.list().await
    }

    async fn list(&mut self) -> Result<(), Failure> {
        let listed = self.target.call(&Call::get(self.uri.clone())).await;
        let mut listed = listed.map_err(|problem| self.failure(&problem))?;
        let version = text(&listed, &["metadata", "resourceVersion"]).unwrap_or_default().to_string();
        let items: Vec<Json> = serde_json::from_value(listed["items"].take()).unwrap_or_default();
        self.begin(&format!("&resourceVersion={version}")).await?;
        self.items = items.into_iter().filter_map(|item| Some((name(&item)?, item))).collect();
        Ok(())
    }

    async fn begin(&mut self, version: &str) -> Result<(), Failure> {
        let uri = format!("{}&watch=1&allowWatchBookmarks=true&timeoutSeconds={LENGTH}{version}", self.uri);
        match self.target.cluster.watch(uri).await {
            Ok(response) => self.open = Some(Open { body: response.into_body(), rest: Vec::new() }),
            // Next time it is listed, which tells what was missed.
            Err(problem) if problem.passing() || problem.is(410) => tokio::time::sleep(PAUSE).await,
            Err(problem) => return Err(self.failure(&problem)),
        }
        Ok(())
    }

    fn failure(&self, problem: &Problem) -> Failure {
        self.target.failure(&format!("watch {}", self.what), problem)
    }

    /// Takes an event in; whether it says anything new.
    fn take(&mut self, line: &[u8]) -> bool {
        let Ok(mut event) = json(line) else {
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

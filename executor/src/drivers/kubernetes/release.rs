//! Releases: everything that one deployment consists of, kept in the target's namespace, so that it can be returned to
//! even when the files it came from are gone.
//!
//! A release is stored in Secrets that cannot change: compressed, cut into parts below the size that the API server takes,
//! the first one written last. Its name is the hash of its content.

use super::cluster::{Call, MANAGER};
use super::object::{INSTANCE, Id, MANAGED_BY, RELEASE, short_hash, text};
use super::problem::wrong;
use super::target::Target;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::Method;
use k8s_openapi::ByteString;
use lockstep_plan::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Of one part, in bytes; a Secret may hold 1 MiB.
const PART: usize = 768 * 1024;

/// The type of the Secrets.
const TYPE: &str = "lockstep/release";

/// How many parts there are.
const PARTS: &str = "lockstep/parts";

/// What a deployment consists of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Release {
    /// The service's objects, in the order in which they are applied.
    pub objects: Vec<Json>,
    /// Objects that `apply` steps added.
    pub extra: Vec<Json>,
    /// `blue` or `green`, where there is one of each.
    pub colour: Option<String>,
    /// Whether it was never deployed, but is what was found in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
}

/// What a stored release holds.
pub(super) struct Held {
    /// In the order in which they are applied.
    pub objects: Vec<Id>,
    /// Whether it has a colour.
    pub coloured: bool,
}

impl Release {
    /// Its name: the hash of its content.
    pub fn name(&self) -> String {
        let deployed = json!([self.objects, self.extra, self.colour]);
        short_hash(&if self.found { json!([deployed, "found"]) } else { deployed })
    }

    /// All objects, in the order in which they are applied.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Json> {
        self.extra.iter().chain(&self.objects)
    }

    /// Whether an object is part of it.
    pub fn holds(&self, id: &Id) -> bool {
        self.all().any(|object| Id::of(object).same(id))
    }

    /// Stores it, unless it is stored already.
    pub async fn store(&self, target: &Target) -> Result<(), Failure> {
        let name = self.name();
        let doing = format!("store the release {name}");
        let bytes = serde_json::to_vec(self).and_then(|bytes| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&bytes).and_then(|()| encoder.finish()).map_err(serde::ser::Error::custom)
        });
        let bytes = bytes.map_err(|error| wrong(format!("cannot {doing}: {error}")))?;
        let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
        for (index, part) in parts.iter().enumerate().rev() {
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": part_name(target, &name, index),
                    "labels": { MANAGED_BY: MANAGER, INSTANCE: target.instance, RELEASE: name },
                    "annotations": { PARTS: parts.len().to_string() },
                },
                "type": TYPE,
                "immutable": true,
                "data": { "release": ByteString(part.to_vec()) },
            });
            // Whoever made it first made the same.
            match target.call(&Call::json(Method::POST, secrets(target), &secret)).await {
                Ok(_) => {}
                Err(problem) if problem.is(409) => {}
                Err(problem) if problem.passing() => {
                    // It may have been carried out: read what is there.
                    let id = Id::new("v1", "Secret", &part_name(target, &name, index));
                    if target.get(&id).await?.is_none() {
                        return Err(target.failure(&doing, &problem));
                    }
                }
                Err(problem) => return Err(target.failure(&doing, &problem)),
            }
        }
        Ok(())
    }

    /// Reads a stored release.
    pub async fn read(target: &Target, name: &str) -> Result<Release, Failure> {
        let mut secrets = Vec::new();
        let mut parts = 1;
        while secrets.len() < parts {
            let id = Id::new("v1", "Secret", &part_name(target, name, secrets.len()));
            let Some(secret) = target.get(&id).await? else {
                return Err(damaged(target, name, &format!("{id} is gone")));
            };
            if secrets.is_empty() {
                parts = parts_of(&secret);
            }
            secrets.push(secret);
        }
        Release::decode(target, name, &secrets)
    }

    /// Of its parts, in order.
    fn decode(target: &Target, name: &str, secrets: &[Json]) -> Result<Release, Failure> {
        let damaged = |why: &str| damaged(target, name, why);
        let mut bytes = Vec::new();
        for secret in secrets {
            let part: ByteString = serde_json::from_value(secret["data"]["release"].clone())
                .map_err(|error| damaged(&format!("{}: {error}", Id::of(secret))))?;
            bytes.extend(part.0);
        }
        let mut text = Vec::new();
        GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut text)
            .map_err(|error| damaged(&error.to_string()))?;
        let release: Release = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
        match release.name() == name {
            true => Ok(release),
            false => Err(damaged("its content is not what its name says")),
        }
    }

    /// Whether it is stored.
    pub async fn is_stored(target: &Target, name: &str) -> Result<bool, Failure> {
        target.get(&Id::new("v1", "Secret", &part_name(target, name, 0))).await.map(|found| found.is_some())
    }

    /// What all stored releases of the instance hold, by the releases' names.
    pub async fn stored(target: &Target) -> Result<BTreeMap<String, Held>, Failure> {
        let selector =
            format!("labelSelector={}", encode(&format!("{INSTANCE}={},{RELEASE}", target.instance)));
        let mut secrets: BTreeMap<String, BTreeMap<usize, Json>> = BTreeMap::new();
        for mut secret in target.list("v1", "secrets", &selector).await? {
            // Lists say of their items only once what they are.
            (secret["apiVersion"], secret["kind"]) = ("v1".into(), "Secret".into());
            let index =
                text(&secret, &["metadata", "name"]).and_then(|name| name.rsplit_once('.')?.1.parse().ok());
            let release = text(&secret, &["metadata", "labels", RELEASE]).map(str::to_string);
            if let (Some(index), Some(release)) = (index, release) {
                secrets.entry(release).or_default().insert(index, secret);
            }
        }
        let mut stored = BTreeMap::new();
        for (name, parts) in secrets {
            // The first one is written last: without it nothing was stored.
            let Some(first) = parts.get(&0) else { continue };
            let wanted = parts_of(first);
            let parts: Vec<Json> = parts.into_values().collect();
            let release = match parts.len() == wanted {
                true => Release::decode(target, &name, &parts),
                false => Err(damaged(target, &name, "parts of it are gone")),
            };
            // Whoever needs that very release reads it by its name.
            let release = match release {
                Ok(release) => release,
                Err(failure) => {
                    target
                        .say(&format!("what only that release holds is not tidied up: {}", failure.message));
                    continue;
                }
            };
            let (objects, coloured) = (release.all().map(Id::of).collect(), release.colour.is_some());
            stored.insert(name, Held { objects, coloured });
        }
        Ok(stored)
    }

    /// Forgets a stored release.
    pub async fn forget(target: &Target, name: &str) -> Result<(), Failure> {
        let selector = encode(&format!("{INSTANCE}={},{RELEASE}={name}", target.instance));
        let uri = format!("{}?labelSelector={selector}", secrets(target));
        let deleted = target.call(&Call { method: Method::DELETE, uri, body: None }).await;
        deleted.map(drop).map_err(|problem| target.failure(&format!("delete the release {name}"), &problem))
    }
}

/// How many parts the release has whose first part that is.
fn parts_of(secret: &Json) -> usize {
    text(secret, &["metadata", "annotations", PARTS]).and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn damaged(target: &Target, name: &str, why: &str) -> Failure {
    wrong(format!(
        "the release {name} of `{}` in {} cannot be read: {why}; it can only be returned to by deploying it again",
        target.instance,
        target.place()
    ))
}

fn secrets(target: &Target) -> String {
    format!("/api/v1/namespaces/{}/secrets", target.namespace)
}

fn part_name(target: &Target, release: &str, index: usize) -> String {
    format!("lockstep.{}.{release}.{index}", target.instance)
}

/// A selector as a part of a query.
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

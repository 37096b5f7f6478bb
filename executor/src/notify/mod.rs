//! Telling people: over chat, by mail, to a page. What cannot be delivered is a warning; it never fails a run.

mod chat;
mod email;
mod rules;

pub(crate) use rules::{Notice, Notices};

use crate::secrets::Secrets;
use lockstep_plan::{NoFacts, Source, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one try may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits before further tries.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Names it for ever, so that a receiver can tell a repetition.
    pub key: String,
    pub run: String,
    pub pipeline: String,
    pub stage: Option<String>,
    /// `success`, `failure`, `rollback`, `waiting`; of the step `notify`: `message`.
    pub event: &'static str,
    /// One line.
    pub title: String,
    /// More, or nothing.
    pub text: String,
}

/// Why a try failed, and whether another may help.
struct Refused {
    why: String,
    for_good: bool,
}

impl Refused {
    fn for_now(why: impl Into<String>) -> Refused {
        Refused { why: why.into(), for_good: false }
    }

    fn for_good(why: impl Into<String>) -> Refused {
        Refused { why: why.into(), for_good: true }
    }
}

/// Where notifications go, with what secrets hold.
#[derive(Debug)]
pub(crate) struct Channels {
    channels: BTreeMap<String, Source>,
    secrets: Secrets,
}

/// A channel's settings, evaluated.
struct Settings<'a> {
    values: BTreeMap<&'a str, Value>,
    secrets: &'a Secrets,
}

impl Settings<'_> {
    /// The text of a setting, or what the secret in it holds; empty when it was not given.
    fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(Value::Secret(secret)) => self.secrets.get(secret).unwrap_or_default(),
            Some(value) => value.as_text().unwrap_or_default(),
            None => "",
        }
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.values.get(name) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    fn map(&self, name: &str) -> Vec<(&str, String)> {
        match self.values.get(name) {
            Some(Value::Map(entries)) => {
                entries.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.values.get(name) {
            Some(Value::List(items)) => items.iter().map(Value::to_string).collect(),
            _ => Vec::new(),
        }
    }
}

impl Channels {
    pub fn new(channels: BTreeMap<String, Source>, secrets: Secrets) -> Channels {
        Channels { channels, secrets }
    }

    /// Delivers a message, with a few tries. A sentence says why it could not; it holds no secret.
    pub async fn deliver(&self, channel: &str, message: &Message) -> Result<(), String> {
        let mut waits = AGAIN.iter();
        loop {
            let refused = match self.attempt(channel, message).await {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let next = waits.next().filter(|_| !refused.for_good);
            let Some(wait) = next else {
                let why = self.secrets.redactor(self.secrets.names()).redact(&refused.why);
                return Err(format!("channel `{channel}` could not be told: {why}"));
            };
            tokio::time::sleep(*wait).await;
        }
    }

    async fn attempt(&self, channel: &str, message: &Message) -> Result<(), Refused> {
        let Some(source) = self.channels.get(channel) else {
            return Err(Refused::for_good("the plan does not say where it is"));
        };
        let values = source.settings.iter();
        let values = values.filter_map(|(name, value)| Some((name.as_str(), value.eval(&NoFacts).ok()?)));
        let settings = Settings { values: values.collect(), secrets: &self.secrets };
        match source.kind.as_str() {
            "slack" => chat::slack(&settings, message).await,
            "webhook" => chat::webhook(&settings, message).await,
            "email" => email::send(&settings, message).await,
            kind => Err(Refused::for_good(format!("nothing is known of channels of kind `{kind}`"))),
        }
    }
}

//! The messages of the protocol: what a program is told, and what its lines mean.

use crate::driver::Context;
use crate::secrets::Secrets;
use lockstep_plan::{Call, Failure, Fields, File, Kind, Value, ValueType};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// The version that requests name.
pub(super) const VERSION: u32 = 1;

/// A request about one step or target. Secrets are told as what they hold: standard input is seen by nobody else.
pub(super) fn request(what: &str, call: &Call, context: &Context) -> Json {
    let values = |values: &BTreeMap<String, Value>| {
        let values = values.iter().map(|(name, value)| (name.clone(), tell(value, &context.secrets)));
        Json::Object(values.collect::<Map<_, _>>())
    };
    let files = |files: &[File]| -> Vec<Json> {
        files.iter().map(|file| json!({ "path": file.path, "text": file.text })).collect()
    };
    json!({
        "version": VERSION,
        "request": what,
        "run": context.run,
        "epoch": context.epoch,
        "step": call.step,
        "arguments": values(&call.arguments),
        "files": files(&call.files),
        "target": call.target.as_ref().map(|target| json!({
            "name": target.name, "settings": values(&target.settings),
        })),
        "service": call.service.as_ref().map(|service| json!({
            "name": service.name, "artifact_type": service.artifact_type,
            "artifact": values(&service.artifact), "settings": values(&service.settings),
            "files": files(&service.files),
        })),
        "record": call.record.as_ref().map(|record| tell(record, &context.secrets)),
    })
}

fn tell(value: &Value, secrets: &Secrets) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Percent(value) => (*value).into(),
        Value::Duration(milliseconds) => (*milliseconds).into(),
        Value::Text(text) | Value::Path(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(|item| tell(item, secrets)).collect::<Vec<_>>().into(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, value)| (name.clone(), tell(value, secrets)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::Secret(name) => secrets.get(name).unwrap_or_default().into(),
    }
}

/// A line of a program.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// What it does.
    Progress(String),
    /// It succeeded.
    Result(Outputs),
    /// It failed.
    Failure(Failed),
    /// What became of the key that it was asked about.
    Probe(Known),
    /// What the target runs.
    Record(Json),
}

#[derive(Debug, Deserialize)]
pub(super) struct Outputs {
    #[serde(default)]
    pub outputs: BTreeMap<String, Json>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    kind: Kind,
    message: String,
    /// Of a step that touches many hosts: how many failed, of how many.
    #[serde(default)]
    hosts: Option<(u32, u32)>,
}

impl Failed {
    pub fn failure(self) -> Failure {
        Failure { kind: self.kind, message: self.message, hosts: self.hosts }
    }
}

/// What a program knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Known {
    /// Nothing was done.
    NeverStarted,
    /// It goes on; further lines tell how it ends.
    Running,
    /// It has ended; the next line tells how.
    Ended,
    /// It cannot tell.
    Unknown,
}

/// The outputs as their step declares them.
pub(super) fn outputs(
    given: &BTreeMap<String, Json>,
    declared: &Fields<ValueType>,
) -> Result<BTreeMap<String, Value>, String> {
    let mut outputs = BTreeMap::new();
    for (name, ty) in declared {
        let json = given.get(name).ok_or_else(|| format!("its result has no output `{name}`"))?;
        let value = typed(json, *ty)
            .ok_or_else(|| format!("its output `{name}` is {json}, and not {}", described(*ty)))?;
        outputs.insert(name.clone(), value);
    }
    match given.keys().find(|name| !declared.contains_key(*name)) {
        Some(name) => Err(format!("its result has an output `{name}`, which its step does not declare")),
        None => Ok(outputs),
    }
}

fn typed(json: &Json, ty: ValueType) -> Option<Value> {
    Some(match ty {
        ValueType::Bool => Value::Bool(json.as_bool()?),
        ValueType::Int => Value::Int(json.as_i64()?),
        ValueType::Percent => Value::Percent(u32::try_from(json.as_u64()?).ok()?),
        ValueType::Duration => Value::Duration(json.as_u64()?),
        ValueType::Text => Value::Text(json.as_str()?.into()),
        ValueType::Path => Value::Path(json.as_str()?.into()),
        ValueType::List => json.is_array().then(|| Value::of_json(json))?,
        ValueType::Map => json.is_object().then(|| Value::of_json(json))?,
    })
}

fn described(ty: ValueType) -> &'static str {
    match ty {
        ValueType::Bool => "`true` or `false`",
        ValueType::Int => "a whole number",
        ValueType::Percent => "a whole number of percent",
        ValueType::Duration => "a whole number of milliseconds",
        ValueType::Text | ValueType::Path => "text",
        ValueType::List => "a list",
        ValueType::Map => "an object",
    }
}

//! A pipeline's arguments: those on the command line, and those of `--values`.

use crate::args::PipelineArgs;
use crate::failure::Failure;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each argument as text, the way the command line takes it. What stands on the command line wins.
pub fn arguments(args: &PipelineArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut arguments = match &args.values {
        Some(path) => of_file(path)?,
        None => BTreeMap::new(),
    };
    let mut given = BTreeSet::new();
    for argument in &args.arguments {
        let Some((name, value)) = argument.split_once('=') else {
            return Err(Failure::new(format!("`{argument}` is not an argument of a pipeline"))
                .help("arguments are written `name=value`"));
        };
        if !given.insert(name) {
            return Err(Failure::new(format!("argument `{name}` is given twice")));
        }
        arguments.insert(name.into(), value.into());
    }
    Ok(arguments)
}

/// Arguments from a JSON object.
fn of_file(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    let bad = |message: String| {
        Failure::new(format!("`{}` cannot be used: {message}", path.display())).help(
            "the file holds one JSON object: `{ \"version\": \"1.4.0\", \"replicas\": 3, \"labels\": { \"team\": \"shop\" } }`",
        )
    };
    let values: serde_json::Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    values
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            value => match written(&value) {
                Some(text) => Ok((name, text)),
                None => Err(bad(format!("`{name}` is or holds `null`; leave out what is not to be given"))),
            },
        })
        .collect()
}

/// A value as the language writes it; nothing for `null`.
fn written(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(written).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Object(entries) => {
            let entries =
                entries.iter().map(|(name, value)| Some(format!("{} = {}", quoted(name), written(value)?)));
            let entries: Option<Vec<String>> = entries.collect();
            format!("{{{}}}", entries?.join(", "))
        }
    })
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

//! Values: what an expression comes to, and what steps are given and give back.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A value of the language.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `true`, `false`
    Bool(bool),
    /// `42`
    Int(i64),
    /// `20%`
    Percent(u32),
    /// In milliseconds.
    Duration(u64),
    /// Text, and words of settings with fixed words.
    Text(String),
    /// A path, relative to the module of the pipeline unless it is absolute.
    Path(String),
    /// `[a, b]`
    List(Vec<Value>),
    /// `{ a = 1 }`
    Map(BTreeMap<String, Value>),
    /// The name of a secret in [`crate::Plan::secrets`]; never what it holds.
    Secret(String),
}

impl Value {
    /// The text of a text or a path.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Path(text) => Some(text),
            _ => None,
        }
    }

    /// What JSON says of a value whose type nobody has declared, such as an item of a list: `null` is an empty map, a number
    /// that is not a whole one is text.
    pub fn of_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Map(BTreeMap::new()),
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Value::Text(number.to_string()), Value::Int)
            }
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Value::of_json).collect()),
            Json::Object(entries) => Value::Map(
                entries.iter().map(|(name, value)| (name.clone(), Value::of_json(value))).collect(),
            ),
        }
    }

    /// The truth of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

/// As interpolation into text writes it. Lists and maps are written for people; secrets only by their name.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Percent(value) => write!(f, "{value}%"),
            Value::Duration(value) => f.write_str(&format_duration(*value)),
            Value::Text(text) | Value::Path(text) => f.write_str(text),
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { " " })?;
                    write!(f, "{key} = {value}")?;
                }
                f.write_str(" }")
            }
            Value::Secret(name) => write!(f, "<secret {name}>"),
        }
    }
}

/// Writes milliseconds as the language does: `1h30m`, `500ms`, `0s`.
pub fn format_duration(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".into();
    }
    let mut rest = milliseconds;
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// The type of a value, as a step's outputs declare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `percent`
    Percent,
    /// `duration`
    Duration,
    /// `string` and every type written as text
    Text,
    /// `path`
    Path,
    /// `list<T>`
    List,
    /// `map<T>`
    Map,
}

impl ValueType {
    /// The type that a value is of, where there is one for it: a secret has none.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(_) => ValueType::Bool,
            Value::Int(_) => ValueType::Int,
            Value::Percent(_) => ValueType::Percent,
            Value::Duration(_) => ValueType::Duration,
            Value::Text(_) => ValueType::Text,
            Value::Path(_) => ValueType::Path,
            Value::List(_) => ValueType::List,
            Value::Map(_) => ValueType::Map,
            Value::Secret(_) => return None,
        })
    }

    /// The value that stands for "something of this type" where no real one is known, as in a simulation.
    pub fn example(self) -> Value {
        match self {
            ValueType::Bool => Value::Bool(false),
            ValueType::Int => Value::Int(1),
            ValueType::Percent => Value::Percent(0),
            ValueType::Duration => Value::Duration(0),
            ValueType::Text => Value::Text(String::new()),
            ValueType::Path => Value::Path(String::new()),
            ValueType::List => Value::List(Vec::new()),
            ValueType::Map => Value::Map(BTreeMap::new()),
        }
    }
}

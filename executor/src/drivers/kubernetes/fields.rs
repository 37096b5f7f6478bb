//! Fields as the API server names them where it says who manages what: paths through an object, and the object's values there.

use super::object::at;
use serde_json::{Map, Value as Json, json};

/// The steps of a path as `managedFields` spell them: `f:spec`, `k:{"name":"web"}`, `v:"a"`, `i:0`.
pub(super) type Path = Vec<String>;

/// All fields that an entry's `fieldsV1` names.
pub(super) fn leaves(fields: &Json) -> Vec<Path> {
    let mut found = Vec::new();
    collect(fields, &mut Vec::new(), &mut found);
    found
}

fn collect(fields: &Json, path: &mut Path, found: &mut Vec<Path>) {
    for (step, inner) in fields.as_object().into_iter().flatten() {
        if step == "." {
            found.push(path.clone());
            continue;
        }
        path.push(step.clone());
        match inner.as_object().is_none_or(Map::is_empty) {
            true => found.push(path.clone()),
            false => collect(inner, path, found),
        }
        path.pop();
    }
}

/// A path as the API server says it to people: `.spec.template.spec.containers[name="web"].image`.
pub(super) fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        match Step::of(step) {
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Item(keys) => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                text.push_str(&format!("[{}]", keys.join(",")));
            }
            Step::Value(value) => text.push_str(&format!("[={value}]")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

enum Step<'a> {
    /// Of a map.
    Key(&'a str),
    /// The item of a list that has these.
    Item(Map<String, Json>),
    /// The item of a list that is that.
    Value(Json),
    /// The item of a list at that place.
    Index(usize),
}

impl Step<'_> {
    fn of(step: &str) -> Step<'_> {
        let (kind, rest) = step.split_once(':').unwrap_or(("f", step));
        match kind {
            "k" => Step::Item(serde_json::from_str(rest).unwrap_or_default()),
            "v" => Step::Value(serde_json::from_str(rest).unwrap_or_default()),
            "i" => Step::Index(rest.parse().unwrap_or(usize::MAX)),
            _ => Step::Key(rest),
        }
    }

    /// Where in a list it is.
    fn place(&self, items: &[Json]) -> Option<usize> {
        match self {
            Step::Key(_) => None,
            Step::Item(keys) => {
                items.iter().position(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
            }
            Step::Value(value) => items.iter().position(|item| item == value),
            Step::Index(index) => (*index < items.len()).then_some(*index),
        }
    }
}

/// The value at a path.
pub(super) fn value<'a>(object: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(object, |value, step| match Step::of(step) {
        Step::Key(key) => value.get(key),
        step => {
            let items = value.as_array()?;
            step.place(items).map(|place| &items[place])
        }
    })
}

/// Puts a value at a path, through what is missing on the way.
pub(super) fn set(object: &mut Json, path: &[String], value: &Json) {
    let Some((step, rest)) = path.split_first() else {
        *object = value.clone();
        return;
    };
    let inner = match Step::of(step) {
        Step::Key(key) => {
            if !object.is_object() {
                *object = json!({});
            }
            &mut object[key]
        }
        step => {
            if !object.is_array() {
                *object = json!([]);
            }
            let Json::Array(items) = object else { return };
            let place = step.place(items).unwrap_or_else(|| {
                items.push(match &step {
                    Step::Item(keys) => Json::Object(keys.clone()),
                    Step::Value(value) => value.clone(),
                    Step::Key(_) | Step::Index(_) => Json::Null,
                });
                items.len() - 1
            });
            &mut items[place]
        }
    };
    set(inner, rest, value);
}

/// Takes the value at a path out.
pub(super) fn remove(object: &mut Json, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (Step::of(step), object) {
        (Step::Key(key), Json::Object(map)) if rest.is_empty() => drop(map.remove(key)),
        (Step::Key(key), Json::Object(map)) => {
            if let Some(inner) = map.get_mut(key) {
                remove(inner, rest);
            }
        }
        (step, Json::Array(items)) => match step.place(items) {
            Some(place) if rest.is_empty() => drop(items.remove(place)),
            Some(place) => remove(&mut items[place], rest),
            None => {}
        },
        _ => {}
    }
}

/// Names a field in an entry's `fieldsV1`.
pub(super) fn name(fields: &mut Json, path: &[String]) {
    let (mut fields, mut made) = (fields, true);
    for step in path {
        if !fields.is_object() {
            *fields = json!({});
        }
        // What was a field by itself still is one beside those within it.
        if !made && fields.as_object().is_some_and(Map::is_empty) {
            fields["."] = json!({});
        }
        made = fields.get(step).is_none();
        fields = &mut fields[step.as_str()];
    }
    match fields.as_object().is_none_or(Map::is_empty) {
        true => *fields = json!({}),
        false => fields["."] = json!({}),
    }
}

/// Whether an entry's `fieldsV1` names a field.
pub(super) fn names(fields: &Json, path: &[String]) -> bool {
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    at(fields, &steps).and_then(Json::as_object).is_some_and(|at| at.is_empty() || at.contains_key("."))
}

/// Takes a field out of an entry's `fieldsV1`, with what led to nothing else.
pub(super) fn unname(fields: &mut Json, path: &[String]) {
    let (Some((step, rest)), Some(map)) = (path.split_first(), fields.as_object_mut()) else { return };
    let Some(inner) = map.get_mut(step) else { return };
    if rest.is_empty() {
        inner.as_object_mut().map(|inner| inner.remove("."));
    } else {
        unname(inner, rest);
    }
    if inner.as_object().is_none_or(Map::is_empty) {
        map.remove(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Json {
        json!({
            "f:metadata": { "f:annotations": { ".": {}, "f:a.b/c": {} } },
            "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:image": {} } },
                        "f:finalizers": { "v:\"x\"": {} } },
        })
    }

    #[test]
    fn fields_are_worded_as_the_server_words_them() {
        let mut shown: Vec<String> = leaves(&fields()).iter().map(|path| super::shown(path)).collect();
        shown.sort();
        let wanted = [
            ".metadata.annotations",
            ".metadata.annotations.a.b/c",
            ".spec.containers[name=\"web\"]",
            ".spec.containers[name=\"web\"].image",
            ".spec.finalizers[=\"x\"]",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn values_are_found_put_in_and_taken_out() {
        let path: Path =
            ["f:spec", "f:containers", "k:{\"name\":\"web\"}", "f:image"].map(String::from).into();
        let mut object =
            json!({ "spec": { "containers": [{ "name": "a" }, { "name": "web", "image": "i:1" }] } });
        assert_eq!(value(&object, &path), Some(&json!("i:1")));
        remove(&mut object, &path);
        assert_eq!(object, json!({ "spec": { "containers": [{ "name": "a" }, { "name": "web" }] } }));
        let mut empty = json!({});
        set(&mut empty, &path, &json!("i:2"));
        assert_eq!(empty, json!({ "spec": { "containers": [{ "name": "web", "image": "i:2" }] } }));
    }

    #[test]
    fn entries_gain_and_lose_fields() {
        let mut all = json!({});
        for path in leaves(&fields()) {
            assert!(!names(&all, &path));
            name(&mut all, &path);
            assert!(names(&all, &path), "{path:?} {all}");
        }
        assert_eq!(all, fields());
        for path in leaves(&fields()) {
            unname(&mut all, &path);
        }
        assert_eq!(all, json!({}));
    }
}

//! The text of a manifest, YAML or JSON, taken apart into objects.
//!
//! Texts that placeholders gave stand in for a mark until the YAML is read. So each stays within the scalar that it stands
//! in, whatever it holds.

use super::object::{Id, at, text};
use lockstep_plan::File;
use serde_json::{Map, Value as Json};
use serde_saphyr::Error;

/// The objects of a file's documents; lists are taken apart.
pub(super) fn parse(file: &File) -> Result<Vec<Json>, String> {
    // A YAML of today for what kubectl reads by the rules of 1.1: a mode is 0644.
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        underscored_numbers_as_strings: true,
    };
    let marked = Marked::new(file);
    let documents: Vec<Json> = serde_saphyr::from_multiple_with_options(&marked.text, options)
        .map_err(|error| marked.fill(&explain(&error)))?;
    let mut objects = Vec::new();
    for document in documents {
        take_apart(marked.filled(document)?, &mut objects)?;
    }
    Ok(objects)
}

/// A file's text with marks in place of what was filled in.
struct Marked<'a> {
    file: &'a File,
    text: String,
    /// Stands before and after the number of what is filled in; occurs nowhere else in the text.
    mark: char,
}

impl Marked<'_> {
    fn new(file: &File) -> Marked<'_> {
        let mark = ('\u{e000}'..='\u{f8ff}').find(|mark| !file.text.contains(*mark)).unwrap_or('\u{e000}');
        let mut text = String::with_capacity(file.text.len());
        let mut end = 0;
        for (index, range) in file.filled.iter().enumerate() {
            text.push_str(&file.text[end..range.start]);
            text.push_str(&format!("{mark}{index}{mark}"));
            end = range.end;
        }
        text.push_str(&file.text[end..]);
        Marked { file, text, mark }
    }

    /// A text with what the marks stand for.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        for (index, part) in text.split(self.mark).enumerate() {
            // Every other part is a number.
            let range = part.parse().ok().and_then(|number: usize| self.file.filled.get(number));
            match range.filter(|_| index % 2 == 1) {
                Some(range) => filled.push_str(&self.file.text[range.clone()]),
                None => filled.push_str(part),
            }
        }
        filled
    }

    fn filled(&self, value: Json) -> Result<Json, String> {
        if self.file.filled.is_empty() {
            return Ok(value);
        }
        Ok(match value {
            Json::String(text) if text.contains(self.mark) => self.fill(&text).into(),
            Json::Array(items) => {
                items.into_iter().map(|item| self.filled(item)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Json::Object(entries) => {
                let mut filled = Map::new();
                for (key, value) in entries {
                    let key = self.fill(&key);
                    if filled.contains_key(&key) {
                        return Err(twice(&key));
                    }
                    filled.insert(key, self.filled(value)?);
                }
                filled.into()
            }
            other => other,
        })
    }
}

fn twice(key: &str) -> String {
    format!("the key `{key}` stands twice in one mapping: take one out")
}

/// What is wrong with the YAML, for those who wrote it.
fn explain(error: &Error) -> String {
    let error = error.without_snippet();
    let why = match error {
        Error::NullIntoString { .. } => "a key is null or empty: keys have to be texts, so quote it".into(),
        Error::DuplicateMappingKey { key: Some(key), .. } => twice(key),
        Error::DuplicateMappingKey { key: None, .. } => {
            "a key stands twice in one mapping: take one out".into()
        }
        other => return other.to_string().trim_start_matches("error: ").to_string(),
    };
    error.location().map_or(why.clone(), |at| format!("line {} column {}: {why}", at.line(), at.column()))
}

fn take_apart(document: Json, objects: &mut Vec<Json>) -> Result<(), String> {
    if document.is_null() {
        return Ok(());
    }
    if !document.is_object() {
        return Err("a document that is no object: it needs `apiVersion`, `kind` and `metadata`".into());
    }
    let id = Id::of(&document);
    if id.kind.ends_with("List")
        && let Some(items) = document["items"].as_array()
    {
        return items.iter().try_for_each(|item| take_apart(item.clone(), objects));
    }
    for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
        let which = if id.kind.is_empty() { "an object".to_string() } else { format!("a {}", id.kind) };
        let what = path.join(".");
        match at(&document, path) {
            None | Some(Json::Null) => return Err(format!("{which} has no `{what}`")),
            Some(Json::String(text)) if text.is_empty() => {
                return Err(format!("{which} has an empty `{what}`"));
            }
            Some(Json::String(_)) => {}
            Some(other) => {
                return Err(format!(
                    "`{what}` of {which} is {}, and has to be a text: quote it",
                    sort(other)
                ));
            }
        }
    }
    check(&document, &id)?;
    objects.push(document);
    Ok(())
}

/// Refuses what the API server would take, or only refuse when other objects have been applied.
fn check(object: &Json, id: &Id) -> Result<(), String> {
    let fields: &[&str] = match (id.version.as_str(), id.kind.as_str()) {
        ("v1", "Secret") => &["stringData", "data"],
        ("v1", "ConfigMap") => &["data", "binaryData"],
        _ => &[],
    };
    for field in fields {
        match &object[*field] {
            Json::Null => {}
            Json::Object(entries) => {
                // The API server makes nothing at all of them, and says nothing.
                if let Some((key, value)) = entries.iter().find(|(_, value)| !value.is_string()) {
                    return Err(format!(
                        "`{field}.{key}` of {id} is {}, and has to be a text: quote it",
                        sort(value)
                    ));
                }
            }
            other => return Err(format!("`{field}` of {id} is {}, and has to be a mapping", sort(other))),
        }
    }
    let strategy = text(object, &["spec", "updateStrategy", "type"]);
    if ["StatefulSet", "DaemonSet"].contains(&id.kind.as_str()) && strategy == Some("OnDelete") {
        return Err(format!(
            "the update strategy of {id} is OnDelete, so nobody can tell when it is rolled out: use RollingUpdate"
        ));
    }
    Ok(())
}

/// What sort of value it is; never the value, which may be a secret.
fn sort(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A file in which `«…»` was filled in.
    fn file(text: &str) -> File {
        let (mut plain, mut filled, mut start) = (String::new(), Vec::new(), 0);
        for c in text.chars() {
            match c {
                '«' => start = plain.len(),
                '»' => filled.push(start..plain.len()),
                c => plain.push(c),
            }
        }
        File { path: "a.yaml".into(), text: plain, filled }
    }

    fn objects(text: &str) -> Result<Vec<Json>, String> {
        parse(&file(text))
    }

    #[test]
    fn documents_and_lists_give_their_objects() {
        let text = "---\n# nothing\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {k: '1', mode: \"0644\"}}\n";
        let objects = objects(text).unwrap();
        let names: Vec<String> = objects.iter().map(|object| Id::of(object).to_string()).collect();
        assert_eq!(names, ["Service `a`", "ConfigMap `b`"]);
        assert_eq!(objects[1]["data"], json!({ "k": "1", "mode": "0644" }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let service = |more: &str| objects(&format!("apiVersion: v1\nkind: Service\n{more}")).unwrap_err();
        for (text, expected) in [
            ("", "a Service has no `metadata.name`"),
            (
                "metadata: {name: 5}",
                "`metadata.name` of a Service is a number, and has to be a text: quote it",
            ),
            ("metadata: {name: ''}", "a Service has an empty `metadata.name`"),
            (
                "a: 1\nb: {c: 1, c: 2}",
                "line 4 column 11: the key `c` stands twice in one mapping: take one out",
            ),
            (
                "spec:\n  null: 1",
                "line 4 column 3: a key is null or empty: keys have to be texts, so quote it",
            ),
        ] {
            assert_eq!(service(text), expected, "{text}");
        }
        assert!(objects("just text\n").unwrap_err().contains("no object"));
        assert!(objects("a: b: c\n").unwrap_err().contains("line 1"));
    }

    #[test]
    fn what_secrets_and_config_maps_hold_is_text() {
        let of = |kind: &str, data: &str| {
            objects(&format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: s}}\n{data}\n")).map(drop)
        };
        let message = |field: &str, kind: &str, sort: &str| {
            Err(format!("`{field}` of {kind} `s` is {sort}, and has to be a text: quote it"))
        };
        assert_eq!(
            of("Secret", "stringData: {ok: x, pw: 12345678}"),
            message("stringData.pw", "Secret", "a number")
        );
        assert_eq!(of("Secret", "data: {pw: 12345678}"), message("data.pw", "Secret", "a number"));
        assert_eq!(of("ConfigMap", "data: {on: true}"), message("data.on", "ConfigMap", "a boolean"));
        assert_eq!(of("ConfigMap", "data: {v: 1.10}"), message("data.v", "ConfigMap", "a number"));
        assert_eq!(of("ConfigMap", "data: {v: }"), message("data.v", "ConfigMap", "null"));
        assert_eq!(of("ConfigMap", "data: {v: {a: b}}"), message("data.v", "ConfigMap", "a mapping"));
        assert_eq!(
            of("ConfigMap", "data: [v]"),
            Err("`data` of ConfigMap `s` is a list, and has to be a mapping".into())
        );
        assert_eq!(of("Secret", "stringData: {pw: '12345678', v: v1.10, e: \"\"}"), Ok(()));
        assert_eq!(of("Secret", "data:"), Ok(()));
    }

    #[test]
    fn what_nobody_can_wait_for_is_refused() {
        let set = "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {updateStrategy: {type: OnDelete}}}";
        let refused = objects(set).unwrap_err();
        assert!(
            refused.contains("DaemonSet `d` is OnDelete") && refused.ends_with("use RollingUpdate"),
            "{refused}"
        );
    }

    #[test]
    fn modes_are_octal_as_kubectl_reads_them() {
        let text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {a: [0400, 0777, 0o400, '0400', 0, 10, -010, 1.5, 0.5]}}";
        assert_eq!(
            objects(text).unwrap()[0]["spec"]["a"],
            json!([256, 511, 256, "0400", 0, 10, -8, 1.5, 0.5])
        );
    }

    #[test]
    fn what_is_filled_in_stays_one_scalar() {
        let injected = "x\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: evil}";
        for value in [
            injected, "a: b", "\"", "'", "{", "- x", "# x", "x #y", "*a", "3.10", "true", "", " x ", "~",
            "|\n a\tb",
        ] {
            let text = format!(
                "# «{value}»\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: inj}}\ndata:\n  plain: «{value}»\n  \
                 within: a«{value}»b«{value}»\n  single: '«{value}»'\n  double: \"\\t«{value}»\"\n  block: |\n    one «{value}»\n    \
                 two\n  «k{value}»: key\n  last: «{value}»\n"
            );
            let objects = objects(&text).unwrap();
            assert_eq!(objects.len(), 1, "{value}");
            let expected = json!({
                "plain": value, "within": format!("a{value}b{value}"), "single": value, "double": format!("\t{value}"),
                "block": format!("one {value}\ntwo\n"), format!("k{value}"): "key", "last": value,
            });
            assert_eq!(objects[0]["data"], expected, "{value}");
        }
        let twice = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {«a»: x, a: y}}";
        assert_eq!(objects(twice).unwrap_err(), "the key `a` stands twice in one mapping: take one out");
    }
}

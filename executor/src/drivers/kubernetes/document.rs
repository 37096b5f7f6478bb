//! The text of a manifest, YAML or JSON, taken apart into objects.
//!
//! Texts that placeholders gave stand in for a mark until the YAML is read. So each stays within the scalar that it stands
//! in, whatever it holds.

use super::object::Id;
use super::places::place;
use super::validity::{Fault, check};
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
        if let Err(fault) = marked.filled(document).and_then(|document| take_apart(document, &mut objects)) {
            let at = place(&marked.text, objects.len(), &fault.path);
            return Err(at.map_or(fault.why.clone(), |at| format!("{at}: {}", fault.why)));
        }
    }
    Ok(objects)
}

/// Where a file's object stands, counted from 0: `line 3`.
pub(super) fn line(file: &File, object: usize) -> Option<String> {
    place(&Marked::new(file).text, object, &[])
        .map(|at| at.split(" column").next().unwrap_or_default().to_string())
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
        if file.path.ends_with(".json") {
            text = separated(text);
        }
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

    fn filled(&self, value: Json) -> Result<Json, Fault> {
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
                        return Err(Fault::at(&[], twice(&key)));
                    }
                    filled.insert(key, self.filled(value)?);
                }
                filled.into()
            }
            other => other,
        })
    }
}

/// JSON objects one after another, as documents of YAML; on the lines on which they stood, where each begins one.
fn separated(text: String) -> String {
    let mut stream = serde_json::Deserializer::from_str(&text).into_iter::<serde::de::IgnoredAny>();
    let mut ends = Vec::new();
    while let Some(Ok(_)) = stream.next() {
        ends.push(stream.byte_offset());
    }
    let mut documents = String::with_capacity(text.len());
    let mut from = 0;
    for end in ends {
        let rest = &text[end..];
        let gap = rest.len() - rest.trim_start().len();
        documents.push_str(&text[from..end + gap]);
        from = end + gap;
        if from < text.len() {
            documents.push_str(if rest[..gap].contains('\n') { "--- " } else { "\n--- " });
        }
    }
    documents + &text[from..]
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

fn take_apart(document: Json, objects: &mut Vec<Json>) -> Result<(), Fault> {
    if document.is_null() {
        return Ok(());
    }
    if !document.is_object() {
        let why = "a document that is no object: it needs `apiVersion`, `kind` and `metadata`";
        return Err(Fault::at(&[], why));
    }
    let id = Id::of(&document);
    if id.kind.ends_with("List")
        && let Some(items) = document["items"].as_array()
    {
        return items.iter().try_for_each(|item| take_apart(item.clone(), objects));
    }
    check(&document, &id)?;
    objects.push(document);
    Ok(())
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
    fn json_may_hold_several_documents() {
        let service = |name: &str| {
            format!(
                "{{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\"metadata\": {{\"name\": \"{name}\"}}}}"
            )
        };
        let all = |text: &str| parse(&File { path: "a.json".into(), ..file(text) });
        let names =
            |text: &str| -> Vec<String> { all(text).unwrap().iter().map(|it| Id::of(it).name).collect() };
        let [a, b, c] = ["«a: b»", "b", "c"].map(service);
        let a = a.replace("«a: b»", "«a»");
        assert_eq!(names(&format!("{a}\n{b}\n\n{c}\n")), ["a", "b", "c"]);
        assert_eq!(names(&format!("{a}{b} {c}")), ["a", "b", "c"]);
        assert_eq!(names(&a), ["a"]);
        let wrong = all(&format!("{a}\n{b}\n{}", c.replace("v1", "v1/"))).unwrap_err();
        assert!(wrong.starts_with("line 5 "), "{wrong}");
        assert!(all(&format!("{a}\n{{\"a\": 1, \"a\": 2}}")).unwrap_err().contains("stands twice"));
        assert!(all(&format!("{a}\n{{")).is_err());
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
            ("", "line 1 column 1: a Service has no `metadata.name`"),
            (
                "metadata: {name: 5}",
                "line 3 column 18: `metadata.name` of a Service is a number, and has to be a text: quote it",
            ),
            ("metadata: {name: ''}", "line 3 column 18: a Service has an empty `metadata.name`"),
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
                "# «{value}»\napiVersion: v1\nkind: Thing\nmetadata: {{name: inj}}\ndata:\n  plain: «{value}»\n  \
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
        let refused = objects(twice).unwrap_err();
        assert_eq!(refused, "line 1 column 1: the key `a` stands twice in one mapping: take one out");
    }
}

//! Diagnostics as SARIF 2.1.0 (OASIS Static Analysis Results Interchange Format), for code scanning.

use lockstep_compiler::{CheckOutput, PlaceOutput, rules};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The log of one run of the checker.
pub fn log(output: &CheckOutput) -> Value {
    let index: BTreeMap<&str, usize> =
        rules().iter().enumerate().map(|(index, rule)| (rule.name, index)).collect();
    let descriptors: Vec<Value> = rules()
        .iter()
        .map(|rule| {
            json!({
                "id": rule.name,
                "shortDescription": { "text": rule.summary },
                "help": { "text": rule.page, "markdown": rule.page },
                "defaultConfiguration": { "level": rule.severity.name() },
            })
        })
        .collect();
    let results: Vec<Value> = output
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let mut text = diagnostic.message.clone();
            if let Some(help) = &diagnostic.help {
                text.push_str("\n\nhelp: ");
                text.push_str(help);
            }
            let related: Vec<Value> = diagnostic
                .labels
                .iter()
                .filter(|label| label.place != diagnostic.place)
                .enumerate()
                .map(|(id, label)| {
                    let mut location = location(&label.place);
                    location["id"] = json!(id);
                    location["message"] = json!({ "text": label.message });
                    location
                })
                .collect();
            let mut result = json!({
                "ruleId": diagnostic.rule,
                "level": diagnostic.severity,
                "message": { "text": text },
                "locations": [location(&diagnostic.place)],
                "relatedLocations": related,
            });
            if let Some(at) = index.get(diagnostic.rule) {
                result["ruleIndex"] = json!(at);
            }
            if let Some(fix) = &diagnostic.fix {
                // One change for each file.
                let mut changes: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
                for edit in &fix.edits {
                    changes.entry(&edit.place.file).or_default().push(json!({
                        "deletedRegion": region(&edit.place),
                        "insertedContent": { "text": edit.text },
                    }));
                }
                let changes: Vec<Value> = changes
                    .into_iter()
                    .map(|(file, edits)| json!({ "artifactLocation": { "uri": uri(file) }, "replacements": edits }))
                    .collect();
                result["fixes"] = json!([{ "description": { "text": fix.title }, "artifactChanges": changes }]);
            }
            result
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "Lockstep",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn location(place: &PlaceOutput) -> Value {
    json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&place.file) }, "region": region(place) } })
}

fn region(place: &PlaceOutput) -> Value {
    json!({
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    })
}

/// A path as a relative URI reference (RFC 3986): everything that is not plain is escaped.
fn uri(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(byte as char)
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_uri_references() {
        assert_eq!(uri("my app/ä.lockstep"), "my%20app/%C3%A4.lockstep");
    }
}

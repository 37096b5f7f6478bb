//! Diagnostics as SARIF 2.1.0 (OASIS Static Analysis Results Interchange Format), for code scanning.

use lockstep_compiler::{CheckOutput, DiagnosticOutput, FixOutput, LabelOutput, PlaceOutput, rules};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The log of one run of the checker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<Finding<'a>>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Text<'static>,
    help: Help,
    default_configuration: Configuration,
}

#[derive(Debug, Serialize)]
struct Help {
    text: &'static str,
    markdown: &'static str,
}

#[derive(Debug, Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Text<'a>,
    locations: [Place<'a>; 1],
    related_locations: Vec<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixes: Option<[Fix<'a>; 1]>,
}

#[derive(Debug, Serialize)]
struct Text<'a> {
    text: Cow<'a, str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text<'a>>,
    physical_location: PhysicalLocation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
    end_line: u32,
    end_column: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fix<'a> {
    description: Text<'a>,
    artifact_changes: Vec<Change<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    artifact_location: ArtifactLocation,
    replacements: Vec<Replacement<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replacement<'a> {
    deleted_region: Region,
    inserted_content: Text<'a>,
}

/// The log of one run of the checker.
pub fn log(output: &CheckOutput) -> Log<'_> {
    let index: BTreeMap<&str, usize> =
        rules().iter().enumerate().map(|(index, rule)| (rule.name, index)).collect();
    let descriptors = rules().iter().map(|rule| Descriptor {
        id: rule.name,
        short_description: said(rule.summary),
        help: Help { text: rule.page, markdown: rule.page },
        default_configuration: Configuration { level: rule.severity.name() },
    });
    let rules = descriptors.collect();
    let driver = Driver { name: "Lockstep", version: env!("CARGO_PKG_VERSION"), rules };
    let finding = |it| finding(it, &index);
    Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool { driver },
            column_kind: "unicodeCodePoints",
            results: output.diagnostics.iter().map(finding).collect(),
        }],
    }
}

fn finding<'a>(diagnostic: &'a DiagnosticOutput, index: &BTreeMap<&str, usize>) -> Finding<'a> {
    let mut text = diagnostic.message.clone();
    if let Some(help) = &diagnostic.help {
        text.push_str("\n\nhelp: ");
        text.push_str(help);
    }
    let others = diagnostic.labels.iter().filter(|label| label.place != diagnostic.place);
    Finding {
        rule_id: diagnostic.rule,
        rule_index: index.get(diagnostic.rule).copied(),
        level: diagnostic.severity,
        message: Text { text: text.into() },
        locations: [Place { id: None, message: None, physical_location: location(&diagnostic.place) }],
        related_locations: others.enumerate().map(|(id, label)| related(id, label)).collect(),
        fixes: diagnostic.fix.as_ref().map(|it| [fix(it)]),
    }
}

fn related(id: usize, label: &LabelOutput) -> Place<'_> {
    let message = Some(said(&label.message));
    Place { id: Some(id), message, physical_location: location(&label.place) }
}

/// One change for each file.
fn fix(fix: &FixOutput) -> Fix<'_> {
    let mut changes: BTreeMap<&str, Vec<Replacement<'_>>> = BTreeMap::new();
    for edit in &fix.edits {
        let inserted_content = said(&edit.text);
        let replacement = Replacement { deleted_region: region(&edit.place), inserted_content };
        changes.entry(&edit.place.file).or_default().push(replacement);
    }
    let changes = changes.into_iter().map(|(file, replacements)| Change {
        artifact_location: ArtifactLocation { uri: uri(file) },
        replacements,
    });
    Fix { description: said(&fix.title), artifact_changes: changes.collect() }
}

fn location(place: &PlaceOutput) -> PhysicalLocation {
    let artifact_location = ArtifactLocation { uri: uri(&place.file) };
    PhysicalLocation { artifact_location, region: region(place) }
}

fn said(text: &str) -> Text<'_> {
    Text { text: text.into() }
}

fn region(place: &PlaceOutput) -> Region {
    Region {
        start_line: place.line,
        start_column: place.column,
        end_line: place.end_line,
        end_column: place.end_column,
    }
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

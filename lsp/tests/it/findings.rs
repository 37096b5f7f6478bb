//! What is found in a document, in the protocol's terms.

use crate::client::{Client, text_at, uri};
use gen_lsp_types::{Code, DiagnosticSeverity, Message, TextEdit, Uri};
use serde_json::json;
use std::collections::BTreeMap;

const PIPELINE: &str = r#"service site(version: string) = local {
  artifact = tar { path = "site-${version}.tar" }
}

environment here {
  kind = non_production
  infrastructure one = local { root = "/srv/one" }
}

workflow publish(service: service<local>, infra: infrastructure<local>, copies: int = 1) {
  phase deploy {
    step deploy = local.deploy { timeout = 5m }
    step report = shell { script = "echo published" }
    step wait = wait { duration = if copies == 1 then 1m else 2m }
  }
}

pipeline release(version: string) {
  stage one = publish { service = site { version }, infra = here.one, copies = 2 }
}
"#;

/// The pipeline with one thing changed.
fn with(from: &str, to: &str) -> String {
    assert!(PIPELINE.contains(from));
    PIPELINE.replace(from, to)
}

fn text(message: &Message) -> &str {
    match message {
        Message::String(text) => text,
        Message::MarkupContent(markup) => &markup.value,
    }
}

#[test]
fn a_broken_pipeline_is_shown_and_its_repair_clears_it() {
    let dir = tempfile::tempdir().unwrap();
    let uri = uri(&dir.path().join("site.lockstep"));
    let client = Client::start();
    let broken = with("copies = 2", r#"copies = "two""#);
    client.open(&uri, 1, &broken);
    let shown = client.diagnostics(&uri);
    assert_eq!(shown.version, Some(1));
    let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
    assert_eq!(text_at(&broken, found.range), r#""two""#);
    assert_eq!(found.severity, Some(DiagnosticSeverity::Error));
    assert_eq!(found.code, Some(Code::String("type/mismatch".into())));
    assert_eq!(found.source.as_deref(), Some("lockstep"));
    let Some([related]) = found.related_information.as_deref() else { panic!("{found:#?}") };
    assert_eq!(related.location.uri, uri);
    assert!(text_at(&broken, related.location.range).starts_with("copies"), "{related:#?}");

    client.change(&uri, 2, PIPELINE);
    let shown = client.diagnostics(&uri);
    assert_eq!((shown.version, shown.diagnostics), (Some(2), vec![]));
    client.leave();
}

#[test]
fn advice_is_part_of_the_message() {
    let uri = Uri::parse("file:///nowhere/site.lockstep").unwrap();
    let client = Client::start();
    client.open(&uri, 1, &with("= publish {", "= publsh {"));
    let shown = client.diagnostics(&uri);
    let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
    assert_eq!(found.code, Some(Code::String("name/unknown".into())));
    let (problem, advice) = text(&found.message).split_once('\n').expect("a problem and an advice");
    assert!(problem.contains("`publsh`") && advice.contains("`publish`"), "{problem}\n{advice}");
    client.leave();
}

#[test]
fn columns_are_in_the_units_that_the_client_asked_for() {
    let uri = Uri::parse("file:///nowhere/site.lockstep").unwrap();
    // Five characters before the mistake that are twelve bytes and six UTF-16 units.
    let broken = with("{ version },", r#"{ version = "äö€𝄞x${nobody}${version}" },"#);
    let line = broken.lines().find(|line| line.contains("nobody")).unwrap();
    let before = &line[..line.find("nobody").unwrap()];
    for (offered, chosen, column) in [
        (json!(null), "utf-16", before.encode_utf16().count()),
        (json!(["utf-16"]), "utf-16", before.encode_utf16().count()),
        (json!(["utf-32", "utf-16"]), "utf-16", before.encode_utf16().count()),
        (json!(["utf-32"]), "utf-32", before.chars().count()),
        (json!(["utf-16", "utf-8"]), "utf-8", before.len()),
        (json!(["utf-7"]), "utf-16", before.encode_utf16().count()),
    ] {
        let (client, answer) = Client::greet(json!({ "general": { "positionEncodings": offered } }));
        assert_eq!(answer["capabilities"]["positionEncoding"], chosen, "{offered}");
        client.open(&uri, 1, &broken);
        let shown = client.diagnostics(&uri);
        let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
        assert_eq!(found.range.start.character as usize, column, "{offered}");
        assert_eq!(found.range.end.character as usize, column + "nobody".len(), "{offered}");
        client.leave();
    }
    let counts = [before.len(), before.encode_utf16().count(), before.chars().count()];
    assert!(counts[0] > counts[1] && counts[1] > counts[2], "the units differ here: {counts:?}");
}

#[test]
fn severities_keep_their_order() {
    let uri = Uri::parse("file:///nowhere/site.lockstep").unwrap();
    let client = Client::start();
    client.open(&uri, 1, &with("version: string) {", "version: string, idle: int = 1) {"));
    let shown = client.diagnostics(&uri);
    let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
    assert_eq!(found.code, Some(Code::String("name/unused".into())));
    assert_eq!(found.severity, Some(DiagnosticSeverity::Warning));
    client.leave();
}

#[test]
fn a_fix_comes_along_as_an_edit() {
    let uri = Uri::parse("file:///nowhere/site.lockstep").unwrap();
    let client = Client::start();
    let broken = with(
        "  phase deploy {",
        "  parallel { phase before { step a = shell { script = \"true\" } } }\n  phase deploy {",
    );
    client.open(&uri, 1, &broken);
    let shown = client.diagnostics(&uri);
    let found = &shown.diagnostics[0];
    assert_eq!(found.code, Some(Code::String("phase/parallel".into())));
    let data = found.data.as_ref().expect("a fix");
    assert!(data["title"].as_str().is_some_and(|title| !title.is_empty()), "{data}");
    let changes: BTreeMap<Uri, Vec<TextEdit>> =
        serde_json::from_value(data["edit"]["changes"].clone()).unwrap();
    let mut edits = changes[&uri].clone();
    edits.sort_by_key(|edit| edit.range);
    let mut repaired = broken.clone();
    for edit in edits.iter().rev() {
        let old = text_at(&broken, edit.range);
        let at = old.as_ptr() as usize - broken.as_ptr() as usize;
        repaired.replace_range(at..at + old.len(), &edit.new_text);
    }
    client.change(&uri, 2, &repaired);
    assert_eq!(client.diagnostics(&uri).diagnostics, vec![], "{repaired}");
    client.leave();
}

#[test]
fn places_in_the_built_in_providers_are_left_out() {
    let uri = Uri::parse("file:///nowhere/site.lockstep").unwrap();
    let client = Client::start();
    client.open(&uri, 1, &with("timeout = 5m", "timeout = 5"));
    let shown = client.diagnostics(&uri);
    let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
    assert_eq!(found.code, Some(Code::String("type/mismatch".into())));
    let related = found.related_information.iter().flatten();
    assert!(related.clone().all(|it| it.location.uri == uri), "{found:#?}");
    client.leave();
}

#[test]
fn a_document_that_is_no_file_stands_alone() {
    let client = Client::start();
    let (one, two) = (Uri::parse("untitled:Untitled-1").unwrap(), Uri::parse("untitled:Untitled-2").unwrap());
    for uri in [&one, &two] {
        // In one module, the names would collide.
        client.open(uri, 1, &with("copies = 2", "copies = none"));
        let shown = client.diagnostics(uri);
        let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
        assert_eq!(found.code, Some(Code::String("name/unknown".into())));
    }
    client.leave();
}

//! Files that belong together: open, on disk, imported, gone.

use crate::client::{Client, text_at, uri};
use gen_lsp_types::{Code, Diagnostic, Uri};
use lsp_server::{Message, Notification, Request};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const GROUP: &str = "group sre { members = [\"ann\"] }\n";
const BROKEN: &str = "group sre { members = [nobody] }\n";

/// The rules that are broken, in order.
fn rules(diagnostics: &[Diagnostic]) -> String {
    let rules = diagnostics.iter().map(|it| match &it.code {
        Some(Code::String(rule)) => rule.as_str(),
        other => panic!("{other:?}"),
    });
    rules.collect::<Vec<_>>().join(" ")
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Uri {
    fs::create_dir_all(path.parent().expect("a file in a directory")).expect("a directory");
    fs::write(path, text).expect("a file");
    uri(path)
}

#[test]
fn an_open_document_shows_what_is_wrong_with_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let text = "group sre { members = [\"bob\"] }\nsecret token = env { name = 5 }\n";
    let neighbour = write(&dir.path().join("zweite Größe.lockstep"), text);
    assert!(neighbour.as_str().ends_with("/zweite%20Gr%C3%B6%C3%9Fe.lockstep"), "{neighbour}");
    let open = uri(&dir.path().join("first.lockstep"));
    let client = Client::start();
    client.open(&open, 1, GROUP);
    let shown = client.diagnostics(&neighbour);
    assert_eq!(shown.version, None, "nobody has it open");
    assert_eq!(rules(&shown.diagnostics), "name/duplicate type/mismatch");
    assert_eq!(text_at(text, shown.diagnostics[0].range), "sre");
    assert_eq!(text_at(text, shown.diagnostics[1].range), "5");
    let Some([related]) = shown.diagnostics[0].related_information.as_deref() else { panic!("{shown:#?}") };
    assert_eq!((&related.location.uri, text_at(GROUP, related.location.range)), (&open, "sre"));

    // Renaming the one in the open document repairs the neighbour.
    client.change(&open, 2, &GROUP.replace("sre", "ops"));
    assert_eq!(rules(&client.diagnostics(&neighbour).diagnostics), "type/mismatch");
    client.leave();
}

#[test]
fn open_text_counts_until_it_is_closed_then_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (uri(&dir.path().join("one.lockstep")), write(&dir.path().join("two.lockstep"), BROKEN));
    let client = Client::start();
    client.open(&one, 1, "group ops { members = [nobody] }\n");
    assert_eq!(rules(&client.diagnostics(&one).diagnostics), "name/unknown");
    assert_eq!(rules(&client.diagnostics(&two).diagnostics), "name/unknown");
    client.open(&two, 7, GROUP);
    let shown = client.diagnostics(&two);
    assert_eq!((shown.version, rules(&shown.diagnostics)), (Some(7), String::new()));
    client.close(&two);
    let shown = client.diagnostics(&two);
    assert_eq!((shown.version, rules(&shown.diagnostics)), (None, "name/unknown".into()));
    // The last document of the module takes everything with it, saved or not.
    client.close(&one);
    for _ in 0..2 {
        let shown = client.await_published(|params| params.uri == one || params.uri == two);
        assert_eq!((shown.version, rules(&shown.diagnostics)), (None, String::new()), "{}", shown.uri);
    }
    client.leave();
}

#[test]
fn files_that_come_and_go_on_disk_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.lockstep");
    let (open, other) = (uri(&dir.path().join("open.lockstep")), write(&path, BROKEN));
    let client = Client::start();
    client.open(&open, 1, "group ops { members = [\"bob\"] }\n");
    assert_eq!(rules(&client.diagnostics(&other).diagnostics), "name/unknown");
    let event = |kind: u32| json!({ "changes": [{ "uri": other, "type": kind }] });
    fs::remove_file(&path).unwrap();
    client.notify("workspace/didChangeWatchedFiles", event(3));
    assert_eq!(rules(&client.diagnostics(&other).diagnostics), "");
    fs::write(&path, BROKEN).unwrap();
    client.notify("textDocument/didSave", json!({ "textDocument": { "uri": open } }));
    assert_eq!(rules(&client.diagnostics(&other).diagnostics), "name/unknown");
    client.leave();
}

#[test]
fn a_change_is_seen_by_those_who_import_it() {
    let dir = tempfile::tempdir().unwrap();
    let common = write(&dir.path().join("common/people.lockstep"), GROUP);
    let user = uri(&dir.path().join("app/app.lockstep"));
    let text =
        "import \"../common\"\n\npipeline release {\n  approval go { from = common.sre, within = 1h }\n}\n";
    let client = Client::start();
    client.open(&user, 1, text);
    assert_eq!(rules(&client.diagnostics(&user).diagnostics), "");
    client.open(&common, 1, &GROUP.replace("sre", "ops"));
    let shown = client.diagnostics(&user);
    assert_eq!(rules(&shown.diagnostics), "name/unknown");
    assert_eq!(text_at(text, shown.diagnostics[0].range), "sre");
    client.change(&common, 2, GROUP);
    assert_eq!(rules(&client.diagnostics(&user).diagnostics), "");
    client.leave();
}

#[test]
fn an_imported_module_is_shown_once_a_document_of_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let common = write(&dir.path().join("common/people.lockstep"), BROKEN);
    let user = uri(&dir.path().join("app.lockstep"));
    let client = Client::start();
    client.open(&user, 1, "import \"common\"\n");
    client.diagnostics(&user);
    client.open(&common, 1, BROKEN);
    let shown = client.collect_until(|params| params.uri == common);
    let [shown] = &shown[..] else { panic!("{shown:#?}") };
    assert_eq!((shown.version, rules(&shown.diagnostics)), (Some(1), "name/unknown".into()));
    client.leave();
}

#[cfg(unix)]
#[test]
fn another_spelling_of_a_directory_is_the_same_module() {
    let dir = tempfile::tempdir().unwrap();
    let real = write(&dir.path().join("real/people.lockstep"), BROKEN);
    std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    let linked = uri(&dir.path().join("link/people.lockstep"));
    let client = Client::start();
    client.open(&linked, 1, GROUP);
    let user = uri(&dir.path().join("app.lockstep"));
    client.open(
        &user,
        1,
        "import \"real\"\n\npipeline go {\n  approval a { from = real.sre, within = 1h }\n}\n",
    );
    let shown = client.collect_until(|params| params.uri == user);
    assert!(
        shown.iter().all(|params| params.uri != real),
        "shown under the client's spelling only: {shown:#?}"
    );
    assert!(shown.iter().all(|params| params.diagnostics.is_empty()), "the open text counts: {shown:#?}");
    client.leave();
}

#[test]
fn a_module_that_cannot_be_read_says_so_and_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("bad/latin.lockstep"), b"// caf\xe9\n");
    let bad = uri(&dir.path().join("bad/open.lockstep"));
    let good = uri(&dir.path().join("good/open.lockstep"));
    let client = Client::start();
    client.open(&bad, 1, GROUP);
    let shown = client.diagnostics(&bad);
    let [found] = &shown.diagnostics[..] else { panic!("{shown:#?}") };
    assert!(format!("{:?}", found.message).contains("UTF-8"), "{found:#?}");
    client.open(&good, 1, BROKEN);
    assert_eq!(rules(&client.diagnostics(&good).diagnostics), "name/unknown");
    fs::remove_file(dir.path().join("bad/latin.lockstep")).unwrap();
    client.change(&bad, 2, GROUP);
    assert_eq!(rules(&client.diagnostics(&bad).diagnostics), "");
    client.leave();
}

#[test]
fn of_many_changes_only_the_last_is_checked() {
    let uri = Uri::parse("file:///nowhere/people.lockstep").unwrap();
    let notification =
        |method: &str, params: Value| Message::from(Notification { method: method.into(), params });
    let params = json!({ "processId": null, "rootUri": null, "capabilities": {} });
    let document = json!({ "uri": uri, "languageId": "lockstep", "version": 1, "text": GROUP });
    let mut waiting = vec![
        Request { id: 1.into(), method: "initialize".into(), params }.into(),
        notification("initialized", json!({})),
        notification("textDocument/didOpen", json!({ "textDocument": document })),
    ];
    for version in 2..=50 {
        let text = if version == 50 { BROKEN } else { GROUP };
        let changes = json!([{ "text": text }]);
        let document = json!({ "uri": uri, "version": version });
        let params = json!({ "textDocument": document, "contentChanges": changes });
        waiting.push(notification("textDocument/didChange", params));
    }
    let client = Client::late(waiting);
    let shown = client.diagnostics(&uri);
    assert_eq!((shown.version, rules(&shown.diagnostics)), (Some(50), "name/unknown".into()));
    client.leave();
}

#[test]
fn faults_in_manifests_are_shown_in_the_manifests() {
    let dir = tempfile::tempdir().unwrap();
    let text = "kind: Deployment\nname: ${service.nam}\n";
    let manifest = write(&dir.path().join("k8s/web.yaml"), text);
    let open = uri(&dir.path().join("main.lockstep"));
    let source = "service web = kubernetes {\n  artifact  = docker_image { image = \"web\" }\n  manifests = [\"k8s/*.yaml\"]\n}\n";
    let client = Client::start();
    client.open(&open, 1, source);
    let shown = client.diagnostics(&manifest);
    assert_eq!(rules(&shown.diagnostics), "name/unknown");
    assert_eq!(text_at(text, shown.diagnostics[0].range), "nam");
    let Some([related]) = shown.diagnostics[0].related_information.as_deref() else { panic!("{shown:#?}") };
    assert_eq!((&related.location.uri, text_at(source, related.location.range)), (&open, "\"k8s/*.yaml\""));

    // A manifest that is not named any more has nothing wrong with it.
    client.change(&open, 2, &source.replace("k8s/*.yaml", "k8s/web.yml"));
    assert_eq!(rules(&client.diagnostics(&manifest).diagnostics), "");
    client.leave();
}

//! Greeting, parting, and messages that should not have come.

use crate::client::Client;
use gen_lsp_types::{DiagnosticSeverity, Uri};
use lockstep_lsp::Error;
use lsp_server::{ErrorCode, Response};
use serde_json::{Value, json};

fn code(response: Response) -> i32 {
    response.response_result.expect_err("an error").code
}

#[test]
fn the_greeting_says_what_the_server_does() {
    let (client, answer) = Client::greet(json!({}));
    assert_eq!(answer["serverInfo"]["name"], "lockstep");
    let sync = &answer["capabilities"]["textDocumentSync"];
    assert_eq!((&sync["openClose"], &sync["change"], &sync["save"]), (&json!(true), &json!(1), &json!(true)));
    client.leave();
}

#[test]
fn a_question_the_server_does_not_know_is_refused() {
    let mut client = Client::start();
    for method in ["textDocument/unheardOf", "$/unheardOf", "initialised"] {
        assert_eq!(code(client.request(method, json!({}))), ErrorCode::MethodNotFound as i32, "{method}");
    }
    client.leave();
}

#[test]
fn the_greeting_comes_first_and_once() {
    let mut client = Client::connect();
    assert_eq!(code(client.request("shutdown", Value::Null)), ErrorCode::ServerNotInitialized as i32);
    assert_eq!(
        code(client.request("initialize", json!({ "capabilities": 5 }))),
        ErrorCode::InvalidParams as i32
    );
    let params = json!({ "processId": null, "rootUri": null, "capabilities": {} });
    assert!(client.request("initialize", params.clone()).response_result.is_ok());
    assert_eq!(code(client.request("initialize", params)), ErrorCode::InvalidRequest as i32);
    client.leave();
}

#[test]
fn after_shutdown_there_is_only_exit() {
    let mut client = Client::start();
    assert!(client.request("shutdown", Value::Null).response_result.is_ok());
    assert_eq!(code(client.request("shutdown", Value::Null)), ErrorCode::InvalidRequest as i32);
    client.notify("exit", Value::Null);
    assert!(client.end().is_ok());
}

#[test]
fn leaving_without_a_word_is_an_error() {
    let client = Client::start();
    client.notify("exit", Value::Null);
    assert!(matches!(client.end(), Err(Error::ExitWithoutShutdown)));
    assert!(matches!(Client::start().end(), Err(Error::Disconnected)));
    assert!(matches!(Client::connect().end(), Err(Error::Disconnected)));
}

#[test]
fn notifications_that_make_no_sense_are_logged_and_passed_over() {
    let client = Client::start();
    let uri = Uri::parse("file:///nowhere/people.lockstep").unwrap();
    client.notify("textDocument/didOpen", json!({ "textDocument": 5 }));
    assert!(client.log().starts_with("`textDocument/didOpen` is ignored: "));
    client.notify("textDocument/didOpen", json!([]));
    assert!(client.log().starts_with("`textDocument/didOpen` is ignored: "));
    client.change(&uri, 2, "");
    assert!(client.log().contains("<file:///nowhere/people.lockstep> is not open"));
    client.close(&uri);
    assert!(client.log().contains("<file:///nowhere/people.lockstep> is not open"));
    client.notify("$/setTrace", json!({ "value": "off" }));
    client.open(&uri, 1, "group sre { members = [nobody] }\n");
    let nothing = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 0 } });
    client.notify(
        "textDocument/didChange",
        json!({ "textDocument": { "uri": uri, "version": 2 }, "contentChanges": [{ "range": nothing, "text": "x" }] }),
    );
    assert!(client.log().contains("whole text"));
    client.change(&uri, 3, "group sre { members = [somebody] }\n");
    let shown = client.await_published(|params| params.version == Some(3));
    assert_eq!(shown.diagnostics[0].severity, Some(DiagnosticSeverity::Error));
    client.leave();
}

#[test]
fn a_client_that_can_watch_files_is_asked_to() {
    let dynamic = json!({ "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } } });
    let (client, _) = Client::greet(dynamic);
    let question = client.question();
    assert_eq!(question.method, "client/registerCapability");
    let registration = &question.params["registrations"][0];
    assert_eq!(registration["method"], "workspace/didChangeWatchedFiles");
    assert_eq!(registration["registerOptions"]["watchers"][0]["globPattern"], "**/*.{lockstep,yaml,yml}");
    client.send(Response::new_ok(question.id, Value::Null));
    client.leave();
}

//! A client at the other end of a connection in memory.

use gen_lsp_types::{Notification, PublishDiagnosticsNotification, PublishDiagnosticsParams, Range, Uri};
use lockstep_lsp::Error;
use lsp_server::{Connection, Message, Response};
use serde_json::{Value, json};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

/// Far more than any answer takes: when it has passed, none will come.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    connection: Connection,
    server: JoinHandle<Result<(), Error>>,
    last_id: i32,
}

impl Client {
    /// A server that has not been greeted.
    pub fn connect() -> Self {
        let (server, connection) = Connection::memory();
        let server = std::thread::spawn(move || lockstep_lsp::serve(&server));
        Client { connection, server, last_id: 0 }
    }

    /// A server that was greeted with these capabilities, and what it answered.
    pub fn greet(capabilities: Value) -> (Self, Value) {
        let mut client = Client::connect();
        let answer = client.request(
            "initialize",
            json!({ "processId": null, "rootUri": null, "capabilities": capabilities }),
        );
        client.notify("initialized", json!({}));
        (client, answer.response_result.expect("the server knows `initialize`"))
    }

    /// A server that starts only now, with all of that already waiting for it.
    pub fn late(waiting: Vec<Message>) -> Self {
        let (server, connection) = Connection::memory();
        for message in waiting {
            connection.sender.send(message).expect("the channel is open");
        }
        let server = std::thread::spawn(move || lockstep_lsp::serve(&server));
        Client { connection, server, last_id: 100 }
    }

    /// A server that was greeted by a client without special wishes.
    pub fn start() -> Self {
        Client::greet(json!({})).0
    }

    /// Waits for the next question of the server.
    pub fn question(&self) -> lsp_server::Request {
        self.await_message(|message| match message {
            Message::Request(request) => Some(request),
            _ => None,
        })
    }

    /// Waits for the next line of the log.
    pub fn log(&self) -> String {
        self.await_message(|message| match message {
            Message::Notification(it) if it.method == "window/logMessage" => {
                Some(it.params["message"].as_str().expect("a text").to_string())
            }
            _ => None,
        })
    }

    pub fn notify(&self, method: &str, params: Value) {
        self.send(lsp_server::Notification { method: method.into(), params });
    }

    /// Asks, and waits for the answer.
    pub fn request(&mut self, method: &str, params: Value) -> Response {
        self.last_id += 1;
        let id = self.last_id.into();
        self.send(lsp_server::Request { id, method: method.into(), params });
        self.response()
    }

    /// Waits for the next answer.
    pub fn response(&self) -> Response {
        self.await_message(|message| match message {
            Message::Response(response) => Some(response),
            _ => None,
        })
    }

    pub fn open(&self, uri: &Uri, version: i32, text: &str) {
        let document = json!({ "uri": uri, "languageId": "lockstep", "version": version, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
    }

    pub fn change(&self, uri: &Uri, version: i32, text: &str) {
        let document = json!({ "uri": uri, "version": version });
        self.notify(
            "textDocument/didChange",
            json!({ "textDocument": document, "contentChanges": [{ "text": text }] }),
        );
    }

    pub fn close(&self, uri: &Uri) {
        self.notify("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    }

    /// Waits for the next diagnostics of that document.
    pub fn diagnostics(&self, uri: &Uri) -> PublishDiagnosticsParams {
        self.await_published(|params| params.uri == *uri)
    }

    /// Waits for diagnostics that are as wanted.
    pub fn await_published(
        &self,
        mut wanted: impl FnMut(&PublishDiagnosticsParams) -> bool,
    ) -> PublishDiagnosticsParams {
        self.await_message(|message| published(message).filter(|params| wanted(params)))
    }

    /// Everything that is published until what is wanted comes, which is the last.
    pub fn collect_until(
        &self,
        wanted: impl Fn(&PublishDiagnosticsParams) -> bool,
    ) -> Vec<PublishDiagnosticsParams> {
        let mut all = Vec::new();
        self.await_published(|params| {
            all.push(params.clone());
            wanted(params)
        });
        all
    }

    /// Passes messages over until one is taken.
    pub fn await_message<T>(&self, mut take: impl FnMut(Message) -> Option<T>) -> T {
        loop {
            let message =
                self.connection.receiver.recv_timeout(PATIENCE).expect("the awaited message never came");
            if let Some(taken) = take(message) {
                return taken;
            }
        }
    }

    pub fn send(&self, message: impl Into<Message>) {
        self.connection.sender.send(message.into()).expect("the server listens");
    }

    /// Leaves properly.
    pub fn leave(mut self) {
        let answer = self.request("shutdown", Value::Null);
        assert_eq!(answer.response_result.expect("the server knows `shutdown`"), Value::Null);
        self.notify("exit", Value::Null);
        self.end().expect("a proper good-bye");
    }

    /// Hangs up, and gives what the server ended with.
    pub fn end(self) -> Result<(), Error> {
        drop(self.connection);
        self.server.join().expect("the server does not panic")
    }
}

fn published(message: Message) -> Option<PublishDiagnosticsParams> {
    match message {
        Message::Notification(it) if it.method == PublishDiagnosticsNotification::METHOD.to_string() => {
            Some(serde_json::from_value(it.params).expect("diagnostics as the protocol spells them"))
        }
        _ => None,
    }
}

pub fn uri(path: &Path) -> Uri {
    Uri::from_file_path(path).expect("an absolute path")
}

/// What a range of UTF-16 columns covers; one line only.
pub fn text_at(text: &str, range: Range) -> &str {
    assert_eq!(range.start.line, range.end.line, "{range:?}");
    let line = text.split('\n').nth(range.start.line as usize).expect("a line of the text");
    let byte = |column: u32| {
        let mut units = 0;
        let mut places = line.char_indices().map(|(at, character)| {
            let here = (at, units);
            units += character.len_utf16() as u32;
            here
        });
        places.find(|(_, units)| *units == column).map_or(line.len(), |(at, _)| at)
    };
    &line[byte(range.start.character)..byte(range.end.character)]
}

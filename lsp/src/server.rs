//! The loop: takes messages, keeps the documents, publishes what changed.

use crate::diagnostics::{self, Findings};
use crate::documents::Documents;
use crate::encoding::Encoding;
use crate::error::Error;
use gen_lsp_types::{
    ClientCapabilities, DidChangeTextDocumentNotification, DidChangeTextDocumentParams,
    DidChangeWatchedFilesNotification, DidChangeWatchedFilesRegistrationOptions,
    DidCloseTextDocumentNotification, DidCloseTextDocumentParams, DidOpenTextDocumentNotification,
    DidOpenTextDocumentParams, DidSaveTextDocumentNotification, ExitNotification, FileSystemWatcher,
    InitializeParams, InitializeRequest, InitializeResult, InitializedNotification, LogMessageNotification,
    LogMessageParams, LspNotificationMethod, LspRequestMethod, MessageType, Notification,
    PublishDiagnosticsNotification, PublishDiagnosticsParams, Registration, RegistrationParams,
    RegistrationRequest, Request, ServerCapabilities, ServerInfo, ShutdownRequest,
    TextDocumentContentChangeEvent, TextDocumentSyncKind, TextDocumentSyncOptions,
};
use lsp_server::{Connection, ErrorCode, Message, RequestId, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// How far the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Running,
    ShutDown,
}

/// One conversation with one client.
pub struct Server<'c> {
    connection: &'c Connection,
    stage: Stage,
    encoding: Encoding,
    /// The client tells of changed files when it is asked to.
    can_watch: bool,
    documents: Documents,
    /// What the client shows.
    published: Findings,
    /// Something changed since the last check.
    stale: bool,
}

impl<'c> Server<'c> {
    /// A server that has not heard anything yet.
    pub fn new(connection: &'c Connection) -> Self {
        Server {
            connection,
            stage: Stage::New,
            encoding: Encoding::Utf16,
            can_watch: false,
            documents: Documents::default(),
            published: Findings::new(),
            stale: false,
        }
    }

    /// Serves until `exit`.
    pub fn run(mut self) -> Result<(), Error> {
        while let Ok(first) = self.connection.receiver.recv() {
            // Everything that waits is taken before a check starts: only the last state is worth one.
            for message in std::iter::once(first).chain(self.connection.receiver.try_iter()) {
                if self.take(message)?.is_break() {
                    return if self.stage == Stage::ShutDown {
                        Ok(())
                    } else {
                        Err(Error::ExitWithoutShutdown)
                    };
                }
            }
            if std::mem::take(&mut self.stale) && self.stage == Stage::Running {
                self.publish()?;
            }
        }
        if self.stage == Stage::ShutDown { Ok(()) } else { Err(Error::Disconnected) }
    }

    fn take(&mut self, message: Message) -> Result<ControlFlow<()>, Error> {
        match message {
            Message::Request(request) => {
                let response = self.answer(&request.id, &request.method, request.params);
                self.send(response)?;
            }
            Message::Notification(it) => match LspNotificationMethod::from(it.method.as_str()) {
                ExitNotification::METHOD => return Ok(ControlFlow::Break(())),
                method if self.stage == Stage::Running => {
                    if let Err(problem) = self.hear(method, it.params)? {
                        self.log(format!("`{}` is ignored: {problem}", it.method))?;
                    }
                }
                _ => {}
            },
            // The only question asked is whether the client will watch files: nothing to do either way.
            Message::Response(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn answer(&mut self, id: &RequestId, method: &str, params: Value) -> Response {
        let error = |code: ErrorCode, message: String| Response::new_err(id.clone(), code as i32, message);
        match (self.stage, LspRequestMethod::from(method)) {
            (Stage::New, InitializeRequest::METHOD) => {
                match serde_json::from_value::<InitializeParams>(params) {
                    Ok(params) => Response::new_ok(id.clone(), self.initialize(&params.capabilities)),
                    Err(problem) => {
                        error(ErrorCode::InvalidParams, format!("`{method}` is not understood: {problem}"))
                    }
                }
            }
            (Stage::New, _) => {
                error(ErrorCode::ServerNotInitialized, format!("`{method}` came before `initialize`"))
            }
            (Stage::Running, ShutdownRequest::METHOD) => {
                self.stage = Stage::ShutDown;
                Response::new_ok(id.clone(), ())
            }
            (Stage::Running, InitializeRequest::METHOD) => {
                error(ErrorCode::InvalidRequest, "`initialize` came a second time".into())
            }
            (Stage::Running, _) => error(ErrorCode::MethodNotFound, format!("`{method}` is not known here")),
            (Stage::ShutDown, _) => {
                error(ErrorCode::InvalidRequest, format!("`{method}` came after `shutdown`"))
            }
        }
    }

    fn initialize(&mut self, client: &ClientCapabilities) -> InitializeResult {
        self.stage = Stage::Running;
        self.encoding = Encoding::negotiate(client);
        let watching = client.workspace.as_ref().and_then(|it| it.did_change_watched_files.as_ref());
        self.can_watch = watching.and_then(|it| it.dynamic_registration) == Some(true);
        let sync = TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::Full),
            save: Some(true.into()),
            ..TextDocumentSyncOptions::default()
        };
        InitializeResult {
            capabilities: ServerCapabilities {
                position_encoding: Some(self.encoding.kind()),
                text_document_sync: Some(sync.into()),
                ..ServerCapabilities::default()
            },
            server_info: Some(ServerInfo {
                name: "lockstep".into(),
                version: Some(env!("CARGO_PKG_VERSION").into()),
            }),
        }
    }

    /// Takes a notification; the inner error says what is wrong with it.
    fn hear(
        &mut self,
        method: LspNotificationMethod<'_>,
        params: Value,
    ) -> Result<Result<(), String>, Error> {
        let heard = match method {
            InitializedNotification::METHOD => {
                if self.can_watch {
                    self.watch()?;
                }
                Ok(())
            }
            DidOpenTextDocumentNotification::METHOD => self.opened(params),
            DidChangeTextDocumentNotification::METHOD => self.changed(params),
            DidCloseTextDocumentNotification::METHOD => self.closed(params),
            // Other files of the module may have changed on disk.
            DidSaveTextDocumentNotification::METHOD | DidChangeWatchedFilesNotification::METHOD => {
                self.stale = true;
                Ok(())
            }
            // Notifications one does not know are to be passed over.
            _ => Ok(()),
        };
        Ok(heard)
    }

    fn opened(&mut self, params: Value) -> Result<(), String> {
        let document = read::<DidOpenTextDocumentParams>(params)?.text_document;
        self.documents.open(document.uri, document.version, document.text);
        self.stale = true;
        Ok(())
    }

    fn changed(&mut self, params: Value) -> Result<(), String> {
        let params = read::<DidChangeTextDocumentParams>(params)?;
        let uri = params.text_document.text_document_identifier.uri;
        let document = self.documents.get_mut(&uri).ok_or_else(|| format!("<{uri}> is not open"))?;
        match params.content_changes.into_iter().next_back() {
            Some(TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole)) => {
                document.change(params.text_document.version, whole.text);
            }
            _ => return Err("changes must carry the whole text, as was agreed".into()),
        }
        self.stale = true;
        Ok(())
    }

    fn closed(&mut self, params: Value) -> Result<(), String> {
        let uri = read::<DidCloseTextDocumentParams>(params)?.text_document.uri;
        if !self.documents.close(&uri) {
            return Err(format!("<{uri}> is not open"));
        }
        self.stale = true;
        Ok(())
    }

    /// Checks, and sends what differs from what the client shows.
    fn publish(&mut self) -> Result<(), Error> {
        let found = diagnostics::find(&self.documents, self.encoding);
        let shown = std::mem::replace(&mut self.published, found);
        // First what is gone: a document may have another spelling now.
        for (uri, old) in &shown {
            if !old.diagnostics.is_empty() && !self.published.contains_key(uri) {
                let nothing =
                    PublishDiagnosticsParams { uri: uri.clone(), version: None, diagnostics: Vec::new() };
                self.notify::<PublishDiagnosticsNotification>(nothing)?;
            }
        }
        for (uri, new) in &self.published {
            let news = match shown.get(uri) {
                Some(old) => old != new,
                None => new.version.is_some() || !new.diagnostics.is_empty(),
            };
            if news {
                self.notify::<PublishDiagnosticsNotification>(new.clone())?;
            }
        }
        Ok(())
    }

    /// Asks to be told when source files and manifests change behind the editor's back.
    fn watch(&self) -> Result<(), Error> {
        let everywhere =
            FileSystemWatcher { glob_pattern: "**/*.{lockstep,yaml,yml}".to_string().into(), kind: None };
        let options = DidChangeWatchedFilesRegistrationOptions { watchers: vec![everywhere] };
        let registration = Registration {
            id: "source-files".into(),
            method: DidChangeWatchedFilesNotification::METHOD.to_string(),
            register_options: Some(json!(options)),
        };
        let params = RegistrationParams { registrations: vec![registration] };
        let method = RegistrationRequest::METHOD.to_string();
        self.send(lsp_server::Request::new("watch".to_string().into(), method, params))
    }

    fn log(&self, message: String) -> Result<(), Error> {
        self.notify::<LogMessageNotification>(LogMessageParams { kind: MessageType::Warning, message })
    }

    fn notify<N: Notification>(&self, params: N::Params) -> Result<(), Error> {
        self.send(lsp_server::Notification::new(N::METHOD.to_string(), params))
    }

    fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.connection.sender.send(message.into()).map_err(|_| Error::Disconnected)
    }
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T, String> {
    serde_json::from_value(params).map_err(|error| error.to_string())
}

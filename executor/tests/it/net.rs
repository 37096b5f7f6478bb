//! Steps and notifications that speak to servers: real ones, on this machine.

use crate::support::*;
use lockstep_executor::End;
use lockstep_plan::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as a server saw it.
#[derive(Debug, Clone, Default)]
struct Seen {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// A server of this test's own.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `answer` gives status and body for each request, in order.
    fn new(answer: impl Fn(usize, &Seen) -> (u16, String) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let mut reader = BufReader::new(stream);
                let Some(request) = read(&mut reader) else { continue };
                let (status, body) = answer(number, &request);
                kept.lock().unwrap().push(request);
                let _ = write!(
                    reader.into_inner(),
                    "HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Server { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(reader: &mut impl BufRead) -> Option<Seen> {
    let mut seen = Seen::default();
    reader.read_line(&mut seen.line).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        seen.headers.insert(name.to_lowercase(), value.into());
    }
    let length = seen.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).ok()?;
    Some(seen)
}

fn net(provider: &'static str, step: &'static str, arguments: Vec<(&'static str, Value)>) -> Plan {
    let work = W::Step { name: "look", provider, step, arguments, timeout: 20_000 };
    plan(vec![stage("a", vec![work])])
}

async fn failure(plan: Plan) -> Failure {
    World::new().run(plan).await.failure()
}

#[tokio::test]
async fn a_page_is_looked_at() {
    let server = Server::new(|_, seen| match seen.line.split(' ').nth(1) {
        Some("/ok") => (200, "all is well".into()),
        Some("/door") => (401, String::new()),
        Some("/secret") => (403, String::new()),
        _ => (503, String::new()),
    });
    let check = |path: &str, more: Vec<(&'static str, Value)>| {
        net("http", "check", [vec![("url", text(&format!("{}{path}", server.url)))], more].concat())
    };
    let ended = World::new().run(check("/ok", vec![("contains", text("is well"))])).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let outputs = BTreeMap::from([("status".into(), Value::Int(200))]);
    assert_eq!(ended.outcome(), Outcome::Succeeded { outputs });
    let ended = World::new().run(check("/broken", vec![("status", Value::Int(503))])).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let failed = failure(check("/ok", vec![("contains", text("is ill"))])).await;
    assert_eq!(failed.kind, Kind::Verification);
    assert!(failed.message.ends_with("does not contain `is ill`"), "{}", failed.message);
    for (path, kind) in
        [("/broken", Kind::Verification), ("/door", Kind::Authentication), ("/secret", Kind::Authorization)]
    {
        assert_eq!(failure(check(path, vec![])).await.kind, kind, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_no_connection() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = failure(net("http", "check", vec![("url", text(&format!("http://{free}/")))])).await;
    assert_eq!(failed.kind, Kind::Connectivity, "{}", failed.message);
    let failed = failure(net("http", "check", vec![("url", text("no address"))])).await;
    assert_eq!(failed.kind, Kind::Application, "{}", failed.message);
}

#[tokio::test]
async fn a_page_that_does_not_come_is_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let mut plan = net("http", "check", vec![("url", text(&url))]);
    plan.steps[0].timeout = 300;
    assert_eq!(failure(plan).await.kind, Kind::Timeout);
}

/// A server whose certificate nobody has vouched for.
#[tokio::test]
async fn a_certificate_has_to_be_vouched_for() {
    lockstep_executor::install_tls();
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let _ = tls.read(&mut [0; 100]);
        }
    });
    let failed = failure(net("http", "check", vec![("url", text(&url))])).await;
    assert_eq!(failed.kind, Kind::Authentication, "{}", failed.message);
    assert!(failed.message.contains("its certificate is not accepted"), "{}", failed.message);
}

#[tokio::test]
async fn prometheus_is_asked() {
    let server = Server::new(|number, seen| {
        assert!(seen.line.starts_with("GET /api/v1/query?query=errors%7B"), "{}", seen.line);
        let result = match number {
            0..3 => r#"{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.01"]}]}"#,
            3 => {
                r#"{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.01"]},{"metric":{},"value":[1.5,"0.2"]}]}"#
            }
            4 => r#"{"resultType":"vector","result":[]}"#,
            5 => r#"{"resultType":"scalar","result":[1.5,"NaN"]}"#,
            _ => return (400, r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.into()),
        };
        (200, format!(r#"{{"status":"success","data":{result}}}"#))
    });
    let watch = |during| {
        let query = vec![
            ("server", text(&server.url)),
            ("query", text("errors{job=\"a\"}")),
            ("below", text("0.1")),
            ("during", Value::Duration(during)),
            ("every", Value::Duration(100)),
        ];
        net("verify", "prometheus", query)
    };
    let ended = World::new().run(watch(290)).await;
    let outputs = BTreeMap::from([("value".into(), text("0.01"))]);
    assert_eq!(ended.outcome(), Outcome::Succeeded { outputs });
    assert!(server.seen().len() >= 2, "it was watched for a while");
    while server.seen().len() < 3 {
        World::new().run(watch(0)).await;
    }
    for (kind, why) in [
        (Kind::Verification, "is 0.2, not below 0.1"),
        (Kind::Verification, "gives no value"),
        (Kind::Verification, "is NaN, not below 0.1"),
        (Kind::Application, "parse error"),
    ] {
        let failed = failure(watch(0)).await;
        assert_eq!(failed.kind, kind);
        assert!(failed.message.contains(why), "{}", failed.message);
    }
}

fn channel(plan: &mut Plan, name: &str, kind: &str, settings: Vec<(&'static str, Value)>) {
    let settings = settings.into_iter().map(|(name, value)| (name.to_string(), Expr::Value(value))).collect();
    plan.channels.insert(name.into(), Source { kind: kind.into(), settings });
}

#[tokio::test]
async fn people_are_told_how_it_ended() {
    // The first try meets a server that is busy.
    let server = Server::new(|number, _| if number == 0 { (503, String::new()) } else { (200, "ok".into()) });
    let world = World::new();
    std::fs::write(world.path("hook"), format!("{}/hooks/s3cr3t", server.url)).unwrap();
    let mut made = plan(vec![stage("a", vec![shell("one", "echo it is broken >&2; exit 3")])]);
    made.secrets.insert(
        "hook".into(),
        Source {
            kind: "file".into(),
            settings: Fields::from_iter([("path".into(), Expr::Value(Value::Path("hook".into())))]),
        },
    );
    channel(&mut made, "room", "webhook", vec![("secret_url", Value::Secret("hook".into()))]);
    made.stages[0].notifies =
        vec![Notify { channels: vec!["room".into()], events: vec![NotifyEvent::Failure] }];
    made.notifies = vec![Notify { channels: vec!["room".into()], events: vec![NotifyEvent::Success] }];
    let ended = world.run(made).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::RolledBack));
    let seen = server.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].headers["idempotency-key"], seen[1].headers["idempotency-key"]);
    assert_eq!(seen[1].line, "POST /hooks/s3cr3t HTTP/1.1\r\n");
    let body: serde_json::Value = serde_json::from_str(&seen[1].body).unwrap();
    assert_eq!(body["event"], "failure");
    assert_eq!(body["stage"], "a");
    assert_eq!(body["title"], "release: stage a failed");
    assert!(body["text"].as_str().unwrap().contains("exit status 3: it is broken"), "{body}");
    // What was told is not told again.
    assert_eq!(
        world.resume(&ended.run).run(Arc::new(Memory::default())).await.unwrap(),
        End::Finished(RunOutcome::RolledBack)
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_told_is_a_warning() {
    let server = Server::new(|_, _| (404, "no such hook".into()));
    let url = format!("{}/hooks/s3cr3t", server.url);
    let world = World::new();
    std::fs::write(world.path("hook"), &url).unwrap();
    let mut made = plan(vec![stage("a", vec![shell("one", "true")])]);
    let path = Fields::from_iter([("path".into(), Expr::Value(Value::Path("hook".into())))]);
    made.secrets.insert("hook".into(), Source { kind: "file".into(), settings: path });
    channel(&mut made, "room", "slack", vec![("webhook", Value::Secret("hook".into()))]);
    made.notifies = vec![Notify { channels: vec!["room".into()], events: vec![NotifyEvent::Success] }];
    let ended = world.run(made).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let notes = ended.memory.notes.lock().unwrap().clone();
    assert_eq!(
        notes,
        ["warning: channel `room` could not be told: its server answers with status 404: no such hook"]
    );
    for file in walk(&world.directory.path().join("state")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cr3t"), "{}", file.display());
    }
}

#[tokio::test]
async fn a_step_tells_a_room() {
    let server = Server::new(|_, _| (200, "ok".into()));
    let mut made =
        net("notify", "notify", vec![("to", text("room")), ("text", text("1.4.0 <is> out\nall of it"))]);
    channel(&mut made, "room", "slack", vec![("url", text(&server.url)), ("channel", text("#releases"))]);
    let ended = World::new().run(made).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let body: serde_json::Value = serde_json::from_str(&server.seen()[0].body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({ "channel": "#releases", "text": "*1.4.0 &lt;is&gt; out*\nall of it" })
    );
}

/// Speaks as much SMTP as a mail needs; gives the mail.
fn take_mail(stream: TcpStream) -> String {
    let mut writer = stream.try_clone().unwrap();
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    let (mut mail, mut body) = (String::new(), false);
    say("220 here");
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        mail.push_str(&line);
        mail.push('\n');
        if body {
            if line == "." {
                body = false;
                say("250 taken");
            }
            continue;
        }
        match line.split(' ').next().unwrap_or_default() {
            "DATA" => {
                body = true;
                say("354 go on");
            }
            "QUIT" => {
                say("221 bye");
                break;
            }
            _ => say("250 fine"),
        }
    }
    mail
}

#[tokio::test]
async fn a_mail_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i64::from(listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || take_mail(listener.accept().unwrap().0));
    let mut made = net("notify", "notify", vec![("to", text("mail")), ("text", text("1.4.0 is out"))]);
    let to = Value::List(vec![text("anna@example.com"), text("Bert <bert@example.com>")]);
    let settings = vec![("to", to), ("server", text("127.0.0.1")), ("port", Value::Int(port))];
    channel(&mut made, "mail", "email", settings);
    let ended = World::new().run(made).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let lines = ended.memory.lines.lock().unwrap().clone();
    assert!(lines.is_empty(), "{lines:?}");
    let mail = server.join().unwrap();
    for part in ["RCPT TO:<anna@example.com>", "RCPT TO:<bert@example.com>", "Subject: 1.4.0 is out"] {
        assert!(mail.contains(part), "{mail}");
    }
}

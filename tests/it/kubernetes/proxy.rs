//! A proxy in front of a real API server that does what networks and servers do on bad days.

use futures_util::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// It is passed on.
    None,
    /// It is answered in the server's stead, with that code and `Retry-After`.
    Answer(u16, Option<u64>),
    /// It is passed on, and what is answered is that code.
    Lost(u16),
    /// The connection is cut before it is passed on.
    Cut,
    /// It is passed on, and the connection is cut before the answer.
    CutAfter,
    /// It is passed on, and the answer ends after that many milliseconds, whether or not there is more.
    Short(u64),
    /// It is passed on that many milliseconds later.
    Slow(u64),
}

/// Decides by method, path with query, and the number of the request, from 0.
pub type Rule = Arc<dyn Fn(&Method, &str, usize) -> Fault + Send + Sync>;

/// A proxy; gone when its runtime is.
pub struct Proxy {
    pub address: String,
    /// Every request: method, path, and what happened to it.
    pub seen: Arc<Mutex<Vec<(Method, String, Fault)>>>,
}

impl Proxy {
    /// Starts one, on the current runtime.
    pub async fn start(upstream: Client, rule: Rule) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (upstream, rule, requests) = (upstream.clone(), rule.clone(), requests.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(&upstream, &rule, &requests, request));
                    // A connection that is cut is what the tests are about.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Proxy { address, seen }
    }
}

/// The connection ends.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

async fn answer(
    upstream: &Client,
    rule: &Rule,
    seen: &Mutex<Vec<(Method, String, Fault)>>,
    request: Request<Incoming>,
) -> Result<Answer, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let fault = {
        let mut seen = seen.lock().unwrap();
        let fault = rule(&parts.method, &path, seen.len());
        seen.push((parts.method.clone(), path.clone(), fault));
        fault
    };
    match fault {
        Fault::Cut => return Err(Cut),
        Fault::Answer(code, wait) => return Ok(status(code, wait)),
        Fault::Slow(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
        _ => {}
    }
    let mut passed_on = Request::builder().method(parts.method).uri(path);
    for name in [hyper::header::CONTENT_TYPE, hyper::header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            passed_on = passed_on.header(&name, value);
        }
    }
    let passed_on = passed_on.body(Body::from(body.to_vec())).map_err(|_| Cut)?;
    let answered = upstream.send(passed_on).await.map_err(|_| Cut)?;
    match fault {
        Fault::CutAfter => Err(Cut),
        Fault::Lost(code) => Ok(status(code, None)),
        Fault::Short(milliseconds) => {
            let (parts, body) = answered.into_parts();
            let stream = body.into_data_stream().map_ok(Frame::data);
            let end = Box::pin(tokio::time::sleep(Duration::from_millis(milliseconds)));
            let body = StreamBody::new(stream.take_until(end));
            Ok(Response::from_parts(parts, body.boxed_unsync()))
        }
        _ => {
            let (parts, body) = answered.into_parts();
            let stream = body.into_data_stream().map_ok(Frame::data);
            Ok(Response::from_parts(parts, StreamBody::new(stream).boxed_unsync()))
        }
    }
}

fn status(code: u16, wait: Option<u64>) -> Answer {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        _ => "",
    };
    let text = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","code":{code},"message":"etcdserver: injected","reason":"{reason}"}}"#
    );
    let mut response = Response::builder().status(code).header("content-type", "application/json");
    if let Some(wait) = wait {
        response = response.header("retry-after", wait.to_string());
    }
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    response.body(body.boxed_unsync()).unwrap()
}

/// Starts a proxy that passes connections on, as `CONNECT` asks for, on the current runtime; gives its address.
pub async fn tunnel(count: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let mut words = head.split_whitespace();
                assert_eq!(words.next(), Some("CONNECT"), "{head}");
                let mut server = TcpStream::connect(words.next().unwrap_or_default()).await?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                count.fetch_add(1, Ordering::Relaxed);
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

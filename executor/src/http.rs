//! The one way to speak HTTP: a client with the system's certificates, and what its errors mean.

use lockstep_plan::{Failure, Kind};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use std::error::Error;
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// No more of a page than this is looked at, in bytes.
const PAGE_LIMIT: usize = 1024 * 1024;

/// Makes TLS work, for everything in this process that speaks it. Called before anything else does; again is harmless.
pub fn install_tls() {
    // It fails when there is one already, and that is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client whose whole request takes at most so long.
///
/// # Errors
/// The system's certificates cannot be read.
pub(crate) fn client(limit: Duration, redirects: Policy) -> Result<Client, Failure> {
    install_tls();
    Client::builder()
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(limit)
        .redirect(redirects)
        .build()
        .map_err(|error| failure(error, "the HTTP client"))
}

/// What an error of a request means. The address is not told: it may hold a secret; `whom` stands for it.
pub(crate) fn failure(error: reqwest::Error, whom: &str) -> Failure {
    let error = error.without_url();
    let certificate = certificate_fault(&error);
    let kind = match () {
        () if certificate.is_some() => Kind::Authentication,
        () if error.is_timeout() => Kind::Timeout,
        () if error.is_builder() => Kind::Application,
        () => Kind::Connectivity,
    };
    let why = match certificate {
        Some(fault) => format!("its certificate is not accepted: {fault}"),
        None => causes(&error),
    };
    Failure::new(kind, format!("{whom}: {why}"))
}

/// Why the other side's certificate was refused, if that is what happened.
fn certificate_fault(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(fault)) = error.downcast_ref() {
        return Some(fault.to_string());
    }
    // What an I/O error wraps is not its source, but its source's sibling.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped
        .and_then(|wrapped| certificate_fault(wrapped))
        .or_else(|| error.source().and_then(certificate_fault))
}

/// The last and most precise of an error's causes, after the first and most general one.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.source().is_none() {
            text.push_str(&format!(": {error}"));
        }
        cause = error.source();
    }
    text
}

/// The beginning of what a page holds.
pub(crate) async fn page(mut response: Response) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= PAGE_LIMIT {
            bytes.truncate(PAGE_LIMIT);
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

//! `http.check`: asks for a page, and looks at the status it answers with and at what it holds.

use super::look;
use crate::driver::{Attempt, Driver, Probe, Work};
use crate::http::{client, failure, page};
use lockstep_plan::{Failure, Kind, Outcome, Value};
use reqwest::redirect::Policy;
use std::collections::BTreeMap;

/// The provider `http`.
pub struct Http;

impl Driver for Http {
    fn steps(&self) -> &[&str] {
        &["check"]
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        look::start(attempt, |attempt| Box::pin(async move { check(&attempt).await }))
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        // Asking again changes nothing.
        let again = self.start(attempt);
        Box::pin(async move { Probe::Running(again) })
    }
}

async fn check(attempt: &Attempt) -> Result<BTreeMap<String, Value>, Failure> {
    let url = attempt.text("url");
    let wanted = match attempt.call.arguments.get("status") {
        Some(Value::Int(status)) => *status,
        _ => 200,
    };
    // Whoever expects a redirection wants to see it.
    let redirects = if (300..400).contains(&wanted) { Policy::none() } else { Policy::limited(10) };
    let client = client(attempt.timeout, redirects)?;
    let response = client.get(url).send().await.map_err(|error| failure(error, url))?;
    let status = i64::from(response.status().as_u16());
    if status != wanted {
        let kind = match status {
            401 | 407 => Kind::Authentication,
            403 => Kind::Authorization,
            _ => Kind::Verification,
        };
        return Err(Failure::new(kind, format!("{url} answers with status {status}, not {wanted}")));
    }
    let contains = attempt.text("contains");
    if !contains.is_empty() {
        let page = page(response).await.map_err(|error| failure(error, url))?;
        if !page.contains(contains) {
            let message = format!("the page of {url} does not contain `{contains}`");
            return Err(Failure::new(Kind::Verification, message));
        }
    }
    Ok(BTreeMap::from([("status".into(), Value::Int(status))]))
}

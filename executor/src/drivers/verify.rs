//! `verify.command`, a script, and `verify.prometheus`, a query whose answer is compared with bounds.

use super::{Shell, look};
use crate::driver::{Attempt, Driver, Probe, Work};
use crate::http::{client, failure, page};
use lockstep_plan::{Failure, Kind, Outcome, Value, format_duration};
use reqwest::redirect::Policy;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a Prometheus server may take to answer one query.
const ANSWER: Duration = Duration::from_secs(30);

/// The provider `verify`.
pub struct Verify;

impl Driver for Verify {
    fn steps(&self) -> &[&str] {
        &["command", "prometheus"]
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        if attempt.call.step == "command" {
            return Shell::VERIFY.start(attempt);
        }
        look::start(attempt, |attempt| Box::pin(async move { watch(&attempt).await }))
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        if attempt.call.step == "command" {
            return Shell::VERIFY.probe(attempt);
        }
        // Asking again changes nothing.
        let again = self.start(attempt);
        Box::pin(async move { Probe::Running(again) })
    }
}

/// What the query's answer has to be.
struct Bounds {
    above: Option<f64>,
    below: Option<f64>,
}

/// Asks as long and as often as the step says; the first answer out of bounds is its failure.
async fn watch(attempt: &Attempt) -> Result<BTreeMap<String, Value>, Failure> {
    let time = |name: &str| match attempt.call.arguments.get(name) {
        Some(Value::Duration(milliseconds)) => Duration::from_millis(*milliseconds),
        _ => Duration::ZERO,
    };
    let bounds = Bounds { above: bound(attempt, "above")?, below: bound(attempt, "below")? };
    let (during, every) = (time("during"), time("every").max(Duration::from_millis(100)));
    let client = client(ANSWER.min(attempt.timeout), Policy::limited(10))?;
    let begun = Instant::now();
    loop {
        let values = ask(&client, attempt.text("server"), attempt.text("query")).await?;
        let value = bounds.judge(&values, attempt.text("query"))?;
        if begun.elapsed() + every > during {
            return Ok(BTreeMap::from([("value".into(), Value::Text(value))]));
        }
        attempt.output.say(&format!(
            "{value} is within bounds; watching for another {}",
            format_duration((during - begun.elapsed()).as_secs() * 1000)
        ));
        tokio::time::sleep(every).await;
    }
}

fn bound(attempt: &Attempt, name: &str) -> Result<Option<f64>, Failure> {
    match attempt.text(name) {
        "" => Ok(None),
        text => match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::new(Kind::Application, format!("`{name}` is no number: `{text}`"))),
        },
    }
}

/// The values of every series that the query comes to, as the server writes them.
async fn ask(client: &reqwest::Client, server: &str, query: &str) -> Result<Vec<String>, Failure> {
    let wrong = |message: String| Failure::new(Kind::Application, message);
    let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", server.trim_end_matches('/')))
        .map_err(|error| wrong(format!("`{server}` is no address: {error}")))?;
    url.query_pairs_mut().append_pair("query", query);
    let response = client.get(url).send().await.map_err(|error| failure(error, server))?;
    let status = response.status();
    let page = page(response).await.map_err(|error| failure(error, server))?;
    let answer: Json = serde_json::from_str(&page).unwrap_or(Json::Null);
    if let Some(error) = answer["error"].as_str() {
        return Err(wrong(format!("{server} does not answer `{query}`: {error}")));
    }
    match status.as_u16() {
        200 => {}
        401 => return Err(Failure::new(Kind::Authentication, format!("{server} answers with status 401"))),
        403 => return Err(Failure::new(Kind::Authorization, format!("{server} answers with status 403"))),
        status => {
            return Err(Failure::new(Kind::Connectivity, format!("{server} answers with status {status}")));
        }
    }
    let result = &answer["data"]["result"];
    let value = |sample: &Json| sample.get(1).and_then(Json::as_str).map(str::to_owned);
    let values = match answer["data"]["resultType"].as_str() {
        Some("vector") => {
            result.as_array().into_iter().flatten().map(|series| value(&series["value"])).collect()
        }
        Some("scalar") => Some(value(result).into_iter().collect()),
        _ => None,
    };
    values.ok_or_else(|| {
        wrong(format!(
            "{server} does not answer `{query}` with a number: the query has to give a vector or a scalar"
        ))
    })
}

impl Bounds {
    /// The first value, when all are within the bounds.
    fn judge(&self, values: &[String], query: &str) -> Result<String, Failure> {
        let bad = |message: String| Failure::new(Kind::Verification, message);
        for text in values {
            // `NaN` is within no bounds.
            let value: f64 = text.parse().unwrap_or(f64::NAN);
            if let Some(above) = self
                .above
                .filter(|above| !matches!(value.partial_cmp(above), Some(std::cmp::Ordering::Greater)))
            {
                return Err(bad(format!("`{query}` is {text}, not above {above}")));
            }
            if let Some(below) =
                self.below.filter(|below| !matches!(value.partial_cmp(below), Some(std::cmp::Ordering::Less)))
            {
                return Err(bad(format!("`{query}` is {text}, not below {below}")));
            }
        }
        values.first().cloned().ok_or_else(|| bad(format!("`{query}` gives no value")))
    }
}

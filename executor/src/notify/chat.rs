//! Chat rooms and pages of one's own: a JSON message posted over HTTP.

use super::{LIMIT, Message, Refused, Settings};
use crate::http::{client, failure, page};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Where a bot posts when the channel does not say otherwise.
const SLACK: &str = "https://slack.com/api/chat.postMessage";

/// An incoming webhook, or a bot that posts to a channel.
pub(super) async fn slack(settings: &Settings<'_>, message: &Message) -> Result<(), Refused> {
    let text = if message.text.is_empty() {
        format!("*{}*", escape(&message.title))
    } else {
        format!("*{}*\n{}", escape(&message.title), escape(&message.text))
    };
    let token = settings.text("token");
    let webhook = [settings.text("webhook"), settings.text("url")].into_iter().find(|url| !url.is_empty());
    let channel = settings.text("channel");
    let mut body = json!({ "text": text });
    if !channel.is_empty() {
        body["channel"] = channel.into();
    }
    let Some(webhook) = webhook.filter(|_| token.is_empty()) else {
        let request = post(SLACK, message, &body)?.bearer_auth(token);
        // A refusal comes with status 200.
        let answer: Value = serde_json::from_str(&send(request).await?).unwrap_or_default();
        return match answer["ok"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(Refused::for_good(answer["error"].as_str().unwrap_or("it does not say why"))),
        };
    };
    send(post(webhook, message, &body)?).await.map(drop)
}

/// The three characters that mean something in Slack's text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A page that takes JSON, as docs/notifications.md describes it.
pub(super) async fn webhook(settings: &Settings<'_>, message: &Message) -> Result<(), Refused> {
    let url = [settings.text("secret_url"), settings.text("url")].into_iter().find(|url| !url.is_empty());
    let body = json!({
        "version": 1,
        "key": message.key,
        "run": message.run,
        "pipeline": message.pipeline,
        "stage": message.stage,
        "event": message.event,
        "title": message.title,
        "text": message.text,
    });
    let mut request = post(url.unwrap_or_default(), message, &body)?;
    for (name, value) in settings.map("headers") {
        request = request.header(name, value);
    }
    send(request).await.map(drop)
}

fn post(url: &str, message: &Message, body: &Value) -> Result<RequestBuilder, Refused> {
    // A redirection would turn it into something that is not posted.
    let client = client(LIMIT, Policy::none()).map_err(|failure| Refused::for_good(failure.message))?;
    let request = client.post(url).header("content-type", "application/json; charset=utf-8");
    Ok(request.header("idempotency-key", &message.key).body(body.to_string()))
}

async fn send(request: RequestBuilder) -> Result<String, Refused> {
    let response = request.send().await.map_err(|error| match error.is_builder() {
        true => Refused::for_good(failure(error, "its address").message),
        false => Refused::for_now(failure(error, "its server").message),
    })?;
    let status = response.status();
    let text = page(response).await.unwrap_or_default();
    if status.is_success() {
        return Ok(text);
    }
    let said = text.trim().lines().next().unwrap_or_default().chars().take(200).collect::<String>();
    let why = format!("its server answers with status {}: {said}", status.as_u16());
    let temporary = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    Err(Refused { why: why.trim_end_matches([':', ' ']).to_owned(), for_good: !temporary })
}

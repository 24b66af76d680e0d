//! Reads answers, and finds the reason in errors of every form that has been seen.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use super::system::System;
use crate::credentials::{InspectError, WriteError};
use crate::outbound;

/// The header in which Elasticsearch names itself, from 7.14 on.
pub(super) const PRODUCT: &str = "x-elastic-product";

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// To be read before the body: errors come with bodies of many forms.
    pub status: StatusCode,
    headers: HeaderMap,
    content: Content,
    after_unknown: bool,
}

/// A body. It is parsed only once, as a list of users has many megabytes.
#[derive(Debug)]
enum Content {
    Json(Value),
    Text(String),
}

impl Content {
    fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).map_or_else(|_| Self::Text(String::from_utf8_lossy(body).into_owned()), Self::Json)
    }
}

/// That there is no answer, or none of the system that was asked.
#[derive(Debug)]
pub struct NoResponse {
    /// What happened, for log lines.
    pub why: String,
    /// Whether the request may have reached a node.
    pub sent: bool,
}

impl NoResponse {
    pub(super) fn unsent(why: String) -> Self {
        Self { why, sent: false }
    }
}

/// Nothing is known of the user, which is an outage and never the user's fault.
impl From<NoResponse> for InspectError {
    fn from(error: NoResponse) -> Self {
        Self::Unavailable(error.why)
    }
}

/// A write that reached no node was certainly not applied. Of any other it is not known.
impl From<NoResponse> for WriteError {
    fn from(error: NoResponse) -> Self {
        if error.sent { Self::Unknown(error.why) } else { Self::Unavailable(error.why) }
    }
}

/// Why no answer could be read.
pub(super) enum ReadError {
    /// The connection could not be made, or broke.
    Connection(NoResponse),
    /// The body is longer than the limit.
    TooLarge(String),
}

pub(super) async fn read(request: RequestBuilder, limit: usize) -> Result<Answer, ReadError> {
    let response = request.send().await.map_err(|error| {
        let sent = !error.is_connect();
        ReadError::Connection(NoResponse { why: outbound::chain(error), sent })
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let code = status.as_u16();
    match outbound::body(response, limit).await {
        Ok(body) => Ok(Answer { status, headers, content: Content::of(&body), after_unknown: false }),
        Err(outbound::BodyError::Oversize(why)) => Err(ReadError::TooLarge(format!("{code}, then: {why}"))),
        Err(outbound::BodyError::Broken(why)) => {
            Err(ReadError::Connection(NoResponse { why: format!("{code}, then: {why}"), sent: true }))
        }
    }
}

impl Answer {
    pub(super) fn after(self, after_unknown: bool) -> Self {
        Self { after_unknown, ..self }
    }

    /// Whether an earlier attempt at the same call may have had an effect.
    #[must_use]
    pub(crate) fn after_unknown(&self) -> bool {
        self.after_unknown
    }

    /// The body; `null` where it is not JSON.
    #[must_use]
    pub(crate) fn body(&self) -> &Value {
        match &self.content {
            Content::Json(body) => body,
            Content::Text(_) => &Value::Null,
        }
    }

    /// Whether the body is `{}`.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.body().as_object().is_some_and(serde_json::Map::is_empty)
    }

    /// The body without a copy; `null` where it is not JSON.
    #[must_use]
    pub(crate) fn into_body(self) -> Value {
        match self.content {
            Content::Json(body) => body,
            Content::Text(_) => Value::Null,
        }
    }

    /// What the body has under this key, without a copy.
    #[must_use]
    pub(crate) fn into_entry(self, key: &str) -> Option<Value> {
        self.into_body().get_mut(key).map(Value::take)
    }

    /// The name in the header of the product, which OpenSearch does not send.
    #[must_use]
    pub(crate) fn product(&self) -> Option<&HeaderValue> {
        self.headers.get(PRODUCT)
    }

    /// Whether the header of the product says that this is Elasticsearch.
    #[must_use]
    pub(crate) fn names_elasticsearch(&self) -> bool {
        self.product().is_some_and(|product| product == "Elasticsearch")
    }

    /// The body where it is not JSON.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Json(_) => None,
            Content::Text(text) => Some(text),
        }
    }

    /// `error.reason`, a bare `error`, `message`, a bare `reason`, or the text; at most 200 characters, none of them
    /// a control character.
    #[must_use]
    pub(crate) fn reason(&self) -> String {
        match &self.content {
            Content::Json(body) => {
                let error = &body["error"];
                let reason = error["reason"].as_str().or_else(|| error.as_str());
                let reason = reason.or_else(|| body["message"].as_str()).or_else(|| body["reason"].as_str());
                reason.map_or_else(|| line(&body.to_string(), 200), |reason| line(reason, 200))
            }
            Content::Text(text) => line(text, 200),
        }
    }

    /// `error.type`, or the type of the first cause; empty where there is neither.
    #[must_use]
    pub(crate) fn kind(&self) -> String {
        let error = &self.body()["error"];
        let kind = error["type"].as_str().or_else(|| error["root_cause"][0]["type"].as_str());
        kind.unwrap_or_default().to_owned()
    }

    /// The status and the reason, for log lines.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        let reason = self.reason();
        if reason.is_empty() { self.status.as_u16().to_string() } else { format!("{} {reason}", self.status.as_u16()) }
    }

    /// Says in log lines that this is not the system's own answer: status, content type, and the little of the body that shows
    /// where it comes from. No more of it, since another server may send back the credential that it was sent.
    pub(super) fn foreign(&self, system: System) -> String {
        let kind =
            self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("without a content type");
        let hint = match &self.content {
            Content::Json(body) => body["message"].as_str().or_else(|| body["error"].as_str()).unwrap_or_default(),
            Content::Text(text) if text.trim_start().starts_with('<') => title(text).unwrap_or_default(),
            Content::Text(text) => text.trim_start().lines().next().unwrap_or_default(),
        };
        let (status, hint) = (self.status.as_u16(), line(hint.trim(), 80));
        let hint = if hint.is_empty() { hint } else { format!(" \"{hint}\"") };
        format!(
            "something between elastauth and {} answered in its place: {status} {}{hint}; check \
             elasticsearch.hosts, and the proxies and load balancers in front of the cluster",
            system.name(),
            line(kind, 80)
        )
    }

    /// Whether waiting does not help after this 429, because the disk is full (elasticsearch#77906).
    pub(super) fn will_last(&self) -> bool {
        self.kind() == "cluster_block_exception"
    }

    /// `Retry-After` in seconds. The form with a date is not read: it would need the wall clock.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
pub(super) fn answer_with(status: u16, kind: &str, body: &str) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let headers = HeaderMap::from_iter(kind.parse().map(|kind| (CONTENT_TYPE, kind)));
    Answer { status, headers, content: Content::of(body.as_bytes()), after_unknown: false }
}

/// At most so many characters of a text, with spaces for control characters.
fn line(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// The title of an HTML page.
fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title>")? + "<title>".len();
    let end = begin + lower.get(begin..)?.find("</title>")?;
    page.get(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        answer_with(status, "text/plain", body)
    }

    /// Requirement 31: the status decides, and `error` may have any form.
    #[test]
    fn errors_of_every_shape_have_a_reason_of_one_line() {
        for (body, reason, kind) in [
            (r#"{"error":{"type":"t","reason":"r","root_cause":[]},"status":400}"#, "r", "t"),
            (r#"{"error":{"root_cause":[{"type":"t","reason":"deep"}],"reason":"r"}}"#, "r", "t"),
            (r#"{"error":"bare","status":406}"#, "bare", ""),
            (r#"{"error":{},"status":400}"#, r#"{"error":{},"status":400}"#, ""),
            (r#"{"error":null}"#, r#"{"error":null}"#, ""),
            (r#"{"status":"BAD_REQUEST","message":"m"}"#, "m", ""),
            (r#"{"status":"error","reason":"r"}"#, "r", ""),
            (r"{}", "{}", ""),
            ("[]", "[]", ""),
            ("\"text\"", "\"text\"", ""),
            ("", "", ""),
            ("Unauthorized", "Unauthorized", ""),
            ("<html>\n\u{1b}[31m</html>", "<html>  [31m</html>", ""),
            ("\u{fffd}{\"", "\u{fffd}{\"", ""),
        ] {
            let found = answer(400, body);
            assert_eq!((found.reason().as_str(), found.kind().as_str()), (reason, kind), "{body}");
        }
        assert_eq!(answer(500, "").describe(), "500");
        assert_eq!(answer(500, &"x".repeat(1000)).describe().len(), 204);
    }

    #[test]
    fn a_foreign_answer_is_described_by_where_it_seems_to_come_from_and_never_by_what_it_was_sent() {
        let secret = "YWRtaW46c2VjcmV0";
        let echoes = [
            ("application/json", format!(r#"{{"headers":{{"authorization":"Basic {secret}"}}}}"#)),
            ("text/plain", format!("Hostname: whoami\nGET / HTTP/1.1\nAuthorization: Basic {secret}")),
            ("text/html", format!("<html><body>Authorization: Basic {secret}</body></html>")),
        ];
        for (kind, body) in echoes {
            assert!(!answer_with(200, kind, &body).foreign(System::Elasticsearch).contains(secret), "{kind}");
        }
        for (kind, body, part) in [
            ("text/html", "<html>\n<head><TITLE>404 Not\nFound</TITLE>", r#"404 text/html "404 Not Found""#),
            ("application/json", r#"{"message":"no Route"}"#, r#"404 application/json "no Route""#),
            ("text/plain", "default backend - 404", r#"404 text/plain "default backend - 404""#),
            ("text/plain", "", "404 text/plain;"),
        ] {
            let why = answer_with(404, kind, body).foreign(System::Elasticsearch);
            assert!(why.contains(part) && why.contains("between elastauth and Elasticsearch"), "{why}");
        }
    }
}

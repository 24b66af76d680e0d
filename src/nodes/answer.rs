//! Answers, and the errors in them, of every shape that has been seen.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::outbound;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// Read this first: bodies of errors come in every shape.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
    after_unknown: bool,
}

/// No answer.
#[derive(Debug)]
pub struct Lost {
    /// Why.
    pub why: String,
    /// Whether the request may have reached a node.
    pub sent: bool,
}

impl Lost {
    pub(super) fn unsent(why: String) -> Self {
        Self { why, sent: false }
    }
}

pub(super) enum Failed {
    Broken(Lost),
    Oversize(String),
}

pub(super) async fn read(request: RequestBuilder, limit: usize) -> Result<Answer, Failed> {
    let response = request.send().await.map_err(|error| {
        let sent = !error.is_connect();
        Failed::Broken(Lost { why: outbound::chain(error), sent })
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let code = status.as_u16();
    match outbound::body(response, limit).await {
        Ok(body) => Ok(Answer { status, headers, body, after_unknown: false }),
        Err(outbound::BodyError::Oversize(why)) => Err(Failed::Oversize(format!("{code}, then: {why}"))),
        Err(outbound::BodyError::Broken(why)) => {
            Err(Failed::Broken(Lost { why: format!("{code}, then: {why}"), sent: true }))
        }
    }
}

impl Answer {
    pub(super) fn after(self, after_unknown: bool) -> Self {
        Self { after_unknown, ..self }
    }

    /// Whether an earlier attempt of the same call may have been carried out.
    #[must_use]
    pub fn after_unknown(&self) -> bool {
        self.after_unknown
    }

    /// The body, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// `error.reason`, a bare `error`, `message`, a bare `reason`, or the text; at most 200 characters, none of them
    /// a control character.
    #[must_use]
    pub fn reason(&self) -> String {
        let text = match self.json() {
            Some(body) => {
                let error = &body["error"];
                let reason = error["reason"].as_str().or_else(|| error.as_str());
                let reason = reason.or_else(|| body["message"].as_str()).or_else(|| body["reason"].as_str());
                reason.map_or_else(|| body.to_string(), str::to_owned)
            }
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
    }

    /// `error.type`, or that of the first cause.
    #[must_use]
    pub fn kind(&self) -> String {
        let body = self.json().unwrap_or_default();
        let error = &body["error"];
        let kind = error["type"].as_str().or_else(|| error["root_cause"][0]["type"].as_str());
        kind.unwrap_or_default().to_owned()
    }

    /// The status and the reason, for logs.
    #[must_use]
    pub fn describe(&self) -> String {
        let reason = self.reason();
        if reason.is_empty() { self.status.as_u16().to_string() } else { format!("{} {reason}", self.status.as_u16()) }
    }

    /// A 429 that no waiting cures: the disk is full (elasticsearch#77906).
    pub(super) fn will_last(&self) -> bool {
        self.kind() == "cluster_block_exception"
    }

    /// In seconds; a date is not worth a clock.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.into(), after_unknown: false }
    }

    /// Requirement 31: the status first, then whatever `error` is.
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
}

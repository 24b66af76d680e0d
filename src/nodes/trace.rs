//! The span of one attempt (OpenTelemetry's conventions for HTTP clients). The path holds a username, and stays out of it.

use reqwest::StatusCode;
use tracing::Span;
use tracing::field::Empty;
use url::Url;

use super::{Call, Next};
use crate::spans;

/// `turn` counts from 0. (Other numbers than `i64` would be exported as text.)
pub(super) fn attempt(call: &Call<'_>, url: &Url, turn: usize) -> Span {
    spans::span!(
        "request",
        otel.name = call.method.as_str(),
        otel.kind = "client",
        http.request.method = call.method.as_str(),
        http.request.resend_count = i64::try_from(turn).ok().filter(|turn| *turn > 0),
        server.address = url.host_str(),
        server.port = url.port_or_known_default().map(i64::from),
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

pub(super) fn ended(span: &Span, next: &Next) {
    match next {
        Next::Done(answer) | Next::Again(Ok(answer), _) => {
            let status = answer.status;
            span.record("http.response.status_code", i64::from(status.as_u16()));
            // that there is no such user is what most looks are to find out
            if status != StatusCode::NOT_FOUND && (status.is_client_error() || status.is_server_error()) {
                spans::failed(span, status.as_str());
            }
        }
        Next::Stop(_) | Next::Again(Err(_), _) => spans::failed(span, "connection"),
    }
}

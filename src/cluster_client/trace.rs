//! Makes the span of one attempt, by OpenTelemetry's conventions for HTTP clients. The path holds a username and is left out.

use reqwest::StatusCode;
use tracing::Span;
use tracing::field::Empty;
use url::Url;

use super::call::Call;
use crate::spans;

/// `turn` counts from 0. Numbers are `i64`, as others would be exported as text.
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

/// Notes the status on the span, and whether it is a failure. A 404 is none, as most reads are to find out whether a user
/// exists; a foreign answer always is, with a kind of its own.
pub(super) fn answered(span: &Span, status: StatusCode, foreign: bool) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if foreign {
        spans::failed(span, "foreign");
    } else if status != StatusCode::NOT_FOUND && (status.is_client_error() || status.is_server_error()) {
        spans::failed(span, status.as_str());
    }
}

//! The span of one attempt (OpenTelemetry's conventions for HTTP clients). The path holds a username, and stays out of it.

use reqwest::StatusCode;
use tracing::Span;
use tracing::field::Empty;
use url::Url;

use super::Call;
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

/// An answer of something else has a kind of its own: that there is no such user is what most looks are to find out, and that
/// 404 is no failure.
pub(super) fn answered(span: &Span, status: StatusCode, foreign: bool) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if foreign {
        spans::failed(span, "foreign");
    } else if status != StatusCode::NOT_FOUND && (status.is_client_error() || status.is_server_error()) {
        spans::failed(span, status.as_str());
    }
}

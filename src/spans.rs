//! The spans of a request's trace. Where nobody exports them none is made: no layer wants their target, so that a span costs
//! its call site one comparison, and its fields are not looked at.
//!
//! What is put on them leaves the process: kinds and codes of our own, never a token, a password, a path or an answer's text.

/// What tells spans from log lines, whatever `log_level` says.
pub(crate) const TARGET: &str = "spans";

/// A span under the current one.
macro_rules! span {
    ($name:expr $(, $($fields:tt)*)?) => {
        ::tracing::debug_span!(target: $crate::spans::TARGET, $name $(, $($fields)*)?)
    };
}
pub(crate) use span;

/// Marks a span as failed: `error.type`, which it must have, is a kind and no text.
pub(crate) fn failed(span: &tracing::Span, kind: &str) {
    span.record("error.type", kind).record("otel.status_code", "ERROR");
}

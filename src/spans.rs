//! Makes the spans of a request's trace. Where traces are not exported, no layer accepts their target: then a span costs its
//! call site one comparison, and its fields are not evaluated.
//!
//! Their fields leave the process: they are kinds and codes, never a token, a password, a path or the text of an answer.

/// The target by which spans are told from log lines, at every `log_level`.
pub(crate) const TARGET: &str = "spans";

/// Makes a span under the current one.
macro_rules! span {
    ($name:expr $(, $($fields:tt)*)?) => {
        ::tracing::debug_span!(target: $crate::spans::TARGET, $name $(, $($fields)*)?)
    };
}
pub(crate) use span;

/// Marks a span as failed. It must have the field `error.type`, which gets a kind and not a text.
pub(crate) fn failed(span: &tracing::Span, kind: &str) {
    span.record("error.type", kind).record("otel.status_code", "ERROR");
}

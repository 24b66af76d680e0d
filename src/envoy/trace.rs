//! Makes the span of a call, by OpenTelemetry's conventions for RPC servers, as a child of Envoy's span.

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{KeyRef, MetadataMap};
use tracing::Span;
use tracing::field::{Empty, display};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::authz::{Because, Decision, Refusal, Request};
use crate::credentials::Source;
use crate::spans;

const METHOD: &str = "envoy.service.auth.v3.Authorization/Check";

/// The span of a call. Its parent is in the metadata of the call, where Envoy puts `traceparent` and `tracestate` of its own
/// span. The same headers of the checked request are the client's, and are ignored here.
pub(super) fn check(metadata: &MetadataMap) -> Span {
    let span = spans::span!(
        METHOD,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = METHOD,
        rpc.response.status_code = Empty,
        elastauth.reason = Empty,
        elastauth.status = Empty,
        elastauth.way = Empty,
        elastauth.request_id = Empty,
        user.name = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    );
    if !span.is_disabled() {
        // fails where nothing exports spans
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Carrier(metadata)));
    }
    span
}

/// Records what the log line says. The user of a refused request is left out, since it may not be verified.
pub(super) fn decided(span: &Span, request: Option<&Request>, decision: &Decision) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.response.status_code", "OK");
    if let Some(request) = request.filter(|request| !request.request_id.as_str().is_empty()) {
        span.record("elastauth.request_id", display(&request.request_id));
    }
    let (reason, status) = match decision {
        Decision::Allow(obtained) => {
            span.record("user.name", obtained.credential.username().as_str());
            span.record("elastauth.way", way(obtained.source));
            ("allowed", 200)
        }
        Decision::Preflight => ("preflight", 200),
        Decision::Deny(refusal) => refused(span, refusal),
        Decision::Respond(respond) => match &respond.because {
            Because::Refused(refusal) => refused(span, refusal),
            Because::Login(step) => (step.name(), respond.response.status),
        },
    };
    // numbers of other types than `i64` are exported as text
    span.record("elastauth.reason", reason).record("elastauth.status", i64::from(status));
}

fn refused(span: &Span, refusal: &Refusal) -> (&'static str, u16) {
    let verdict = refusal.verdict();
    if refusal.is_outage() {
        spans::failed(span, verdict.reason);
    }
    (verdict.reason, verdict.http)
}

/// Records that the message was no `CheckRequest`.
pub(super) fn undecodable(span: &Span) {
    span.record("rpc.response.status_code", "INVALID_ARGUMENT").record("elastauth.reason", "message_undecodable");
}

fn way(source: Source) -> &'static str {
    match source {
        Source::Near => "near",
        Source::Stale => "stale",
        Source::Store => "store",
        Source::Provisioned => "provisioned",
    }
}

struct Carrier<'a>(&'a MetadataMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        let ascii = |key| match key {
            KeyRef::Ascii(name) => Some(name.as_str()),
            KeyRef::Binary(_) => None,
        };
        self.0.keys().filter_map(ascii).collect()
    }
}

//! Traces: sends spans to a collector, by OTLP over gRPC. No request ever waits for the collector: spans go into a bounded queue, and
//! are dropped where it is full.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::spans::TARGET;

mod collector;
mod sampling;
mod settings;

pub use collector::Error;
pub use sampling::{Roots, Sampling};
pub use settings::Settings;

/// How long the process waits at its end for the last spans to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// Finds what [`Traces::new`] would fail on, such as a file that cannot be read. Needs no runtime.
pub fn check(settings: &Settings) -> Result<(), Error> {
    collector::check(settings)
}

/// Collects spans and sends them in batches.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Connects in the background, for which it must be called within a runtime.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(collector::exporter(settings)?)
            .with_sampler(sampling::OfRequests::new(settings.sampling))
            .with_resource(resource(settings.service_name.clone()))
            .build();
        Ok(Self(provider))
    }

    /// Takes the spans of requests and nothing else: log lines, and what libraries call spans, are not exported.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        OpenTelemetryLayer::new(self.0.tracer("elastauth"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::DEBUG))
    }

    /// Sends the spans that are left, for two seconds at most.
    pub async fn flush(self) {
        // the process ends either way
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH)).await;
    }
}

fn resource(service_name: Option<String>) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let found = Resource::builder().with_attribute(version.clone()).build();
    let named = found.get(&Key::new("service.name")).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let name = service_name.or_else(|| (!named).then(|| "elastauth".to_owned()));
    match name {
        Some(name) => Resource::builder().with_attribute(version).with_service_name(name).build(),
        None => found,
    }
}

/// `traceparent` and `tracestate` of a span that is exported; nothing for any other.
pub(crate) fn context_of(span: &Span) -> HashMap<String, String> {
    let mut headers = HashMap::new();
    if !span.is_disabled() {
        let context = span.context();
        if context.span().span_context().is_sampled() {
            TraceContextPropagator::new().inject_context(&context, &mut headers);
        }
    }
    headers
}

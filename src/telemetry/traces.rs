//! Traces: spans to a collector, by OTLP over gRPC. Whatever becomes of the collector, no request waits for it: spans
//! go into a bounded queue, and what finds it full is dropped.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use secrecy::SecretString;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::spans::TARGET;

mod collector;
mod sampling;

pub use collector::Error;
pub use sampling::{Roots, Sampling};

/// How long the last spans may take at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// `tracing.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the collector.
    pub endpoint: Url,
    /// Whom to trust instead of the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// `name=value`, separated by commas; sent along with every request.
    pub headers: Option<SecretString>,
    /// `service.name`; default what `OTEL_RESOURCE_ATTRIBUTES` says, or `elastauth`.
    pub service_name: Option<String>,
    /// Which requests are traced.
    pub sampling: Sampling,
}

/// Reads what [`Traces::new`] reads, and says what is wrong with it. Needs no runtime.
pub fn check(settings: &Settings) -> Result<(), Error> {
    collector::check(settings)
}

/// What collects spans and sends them.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Connects in the background. Belongs into a runtime.
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

    /// Sends what is left, for two seconds at most.
    pub async fn flush(self) {
        // whether it came to its end changes nothing any more
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

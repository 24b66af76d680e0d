//! A collector of traces: it implements the service of the official OTLP definition and keeps what it receives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::certificates::Pair;
use crate::process::until;

/// A running collector; dropping it ends it.
pub struct Collector {
    /// The address to connect to, as `http://127.0.0.1:port` or `https://…`.
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    connections: usize,
    requests: Vec<ExportTraceServiceRequest>,
    metadata: Vec<MetadataMap>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Starts a collector on a free port.
    pub async fn start() -> Self {
        Self::run(Server::builder(), "http").await
    }

    /// The same, over TLS with this certificate.
    pub async fn start_tls(pair: &Pair) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(&pair.cert, &pair.key));
        Self::run(Server::builder().tls_config(tls).unwrap(), "https").await
    }

    async fn run(mut server: Server, scheme: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let kept = Arc::<Mutex<Kept>>::default();
        let counting = Arc::clone(&kept);
        let incoming = TcpListenerStream::new(listener).map(move |stream| {
            lock(&counting).connections += 1;
            stream
        });
        let service = TraceServiceServer::new(Keeper(Arc::clone(&kept))).accept_compressed(CompressionEncoding::Gzip);
        let task = tokio::spawn(async move {
            server.add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { url, kept, task }
    }

    /// The address without the scheme, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.kept).connections
    }

    /// The bytes of every request, to search for what must not be in them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.kept).requests.iter().flat_map(prost::Message::encode_to_vec).collect()
    }

    /// The values of this key in the gRPC metadata of all requests.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Vec<String> {
        let text = |metadata: &MetadataMap| Some(metadata.get(name)?.to_str().ok()?.to_owned());
        lock(&self.kept).metadata.iter().filter_map(text).collect()
    }

    /// Every span so far, ordered by the time of its beginning.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let kept = lock(&self.kept);
        let mut spans = Vec::new();
        for resource_spans in kept.requests.iter().flat_map(|request| &request.resource_spans) {
            let resource = resource_spans.resource.as_ref().map(|resource| texts(&resource.attributes));
            let resource = resource.unwrap_or_default();
            for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
                spans.push(Span::new(span, &resource));
            }
        }
        spans.sort_by_key(|span| span.began);
        spans
    }

    /// Waits until `count` spans have this name, and returns all spans received by then.
    pub async fn wait_for(&self, name: &str, count: usize) -> Vec<Span> {
        let found = || self.spans().iter().filter(|span| span.name == name).count();
        until(name, || async { found() >= count }).await;
        self.spans()
    }
}

/// A span with its ids and attributes as text.
#[derive(Clone, Debug)]
pub struct Span {
    /// The id of the trace, in hexadecimal digits.
    pub trace: String,
    /// The id of the span, in hexadecimal digits.
    pub id: String,
    /// The id of the parent span in hexadecimal digits; empty when it has none.
    pub parent: String,
    /// The name of the span.
    pub name: String,
    /// The kind: `server`, `client` or `internal`.
    pub kind: SpanKind,
    /// Whether its status is an error.
    pub failed: bool,
    /// The attributes; numbers are converted to text.
    pub attributes: HashMap<String, String>,
    /// The attributes of the process that sent the span.
    pub resource: HashMap<String, String>,
    /// The beginning, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// The end, in nanoseconds since the Unix epoch.
    pub ended: u64,
    /// The number of events in the span.
    pub events: usize,
}

impl Span {
    fn new(span: &opentelemetry_proto::tonic::trace::v1::Span, resource: &HashMap<String, String>) -> Self {
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name.clone(),
            kind: span.kind(),
            failed: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
            attributes: texts(&span.attributes),
            resource: resource.clone(),
            began: span.start_time_unix_nano,
            ended: span.end_time_unix_nano,
            events: span.events.len(),
        }
    }

    /// The value of an attribute; empty when the span has none of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => format!("{text:?}").trim_matches('"').to_owned(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(&pair.value))).collect()
}

#[derive(Clone)]
struct Keeper(Arc<Mutex<Kept>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut kept = lock(&self.0);
        kept.requests.push(request);
        kept.metadata.push(metadata);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

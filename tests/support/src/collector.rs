//! A collector of traces: the service of the official OTLP definition, which keeps what it is sent.

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

/// A running collector; it ends when dropped.
pub struct Collector {
    /// `http://127.0.0.1:port`, or `https:`
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
    /// On a free port.
    pub async fn start() -> Self {
        Self::run(Server::builder(), "http").await
    }

    /// The same over TLS.
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

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.kept).connections
    }

    /// Every request as it came, to look for what must not be in it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.kept).requests.iter().flat_map(prost::Message::encode_to_vec).collect()
    }

    /// What came beside the requests under this name.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Vec<String> {
        let text = |metadata: &MetadataMap| Some(metadata.get(name)?.to_str().ok()?.to_owned());
        lock(&self.kept).metadata.iter().filter_map(text).collect()
    }

    /// Every span so far, in the order of their beginnings.
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

    /// Waits until so many spans have this name, and answers all that there are then.
    pub async fn wait_for(&self, name: &str, count: usize) -> Vec<Span> {
        let found = || self.spans().iter().filter(|span| span.name == name).count();
        until(name, || async { found() >= count }).await;
        self.spans()
    }
}

/// A span as people read it.
#[derive(Clone, Debug)]
pub struct Span {
    /// In hex.
    pub trace: String,
    /// In hex.
    pub id: String,
    /// In hex; empty for none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: SpanKind,
    /// Whether its status is an error.
    pub failed: bool,
    /// Numbers as text, too.
    pub attributes: HashMap<String, String>,
    /// Of the process.
    pub resource: HashMap<String, String>,
    /// Nanoseconds.
    pub began: u64,
    /// Nanoseconds.
    pub ended: u64,
    /// How many events it has.
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

    /// An attribute; empty for none.
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

//! Records requests and answers as they were on the wire, for tests that compare them with the specification.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The method of the request.
    pub method: Method,
    /// Path and query, as sent.
    pub uri: Uri,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The body of the request.
    pub sent: Bytes,
    /// The status of the answer.
    pub status: StatusCode,
    /// The body of the answer.
    pub answered: Bytes,
}

/// Records nothing until it is started.
#[derive(Default)]
pub(super) struct Recorder(Mutex<Option<Vec<Exchange>>>);

impl Recorder {
    pub(super) fn start(&self) {
        self.0.lock().unwrap().get_or_insert_default();
    }

    pub(super) fn all(&self) -> Vec<Exchange> {
        self.0.lock().unwrap().clone().unwrap_or_default()
    }
}

pub(super) async fn keep(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.recorder.0.lock().unwrap().is_none() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let sent = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let (method, uri, headers) = (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
    let answer = next.run(Request::from_parts(parts, Body::from(sent.clone()))).await;
    let (parts, body) = answer.into_parts();
    let answered = to_bytes(body, usize::MAX).await.unwrap();
    let exchange = Exchange { method, uri, headers, sent, status: parts.status, answered: answered.clone() };
    if let Some(kept) = shared.recorder.0.lock().unwrap().as_mut() {
        kept.push(exchange);
    }
    Response::from_parts(parts, Body::from(answered))
}

//! A gateway in front of a server: it forwards requests, answers some in the server's place, and compresses answers on demand.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An answer of the gateway's own: status, content type and body.
pub type Own = (u16, &'static str, &'static str);

/// Decides by method, path and `Authorization` which requests the gateway answers itself.
type Rule = Box<dyn Fn(&Method, &str, &str) -> Option<Own> + Send + Sync>;

struct Shared {
    target: String,
    http: reqwest::Client,
    rule: Mutex<Option<Rule>>,
    answered: Mutex<usize>,
    compresses: bool,
}

/// A running gateway; dropping it ends it.
pub struct Gateway {
    /// The address to connect to, as `http://127.0.0.1:port`.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    /// Starts a gateway in front of this server, which forwards everything.
    pub async fn start(target: &str) -> Self {
        Self::start_with(target, false).await
    }

    /// The same, but every answer is compressed by gzip, whether the client accepts that or not.
    pub async fn compressing(target: &str) -> Self {
        Self::start_with(target, true).await
    }

    async fn start_with(target: &str, compresses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (target, http) = (target.to_owned(), crate::http());
        let (rule, answered) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { target, http, rule, answered, compresses });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// From now on the gateway answers the requests itself for which `rule` returns an answer.
    pub fn answer(&self, rule: impl Fn(&Method, &str, &str) -> Option<Own> + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
        *self.shared.answered.lock().unwrap() = 0;
    }

    /// From now on the gateway forwards everything.
    pub fn pass(&self) {
        *self.shared.rule.lock().unwrap() = None;
    }

    /// The number of requests that the gateway answered itself since the last call of [`Self::answer`].
    #[must_use]
    pub fn answered(&self) -> usize {
        *self.shared.answered.lock().unwrap()
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let own =
        shared.rule.lock().unwrap().as_ref().and_then(|rule| rule(&parts.method, parts.uri.path(), authorization));
    if let Some((status, kind, body)) = own {
        *shared.answered.lock().unwrap() += 1;
        return Response::builder().status(status).header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut headers = parts.headers;
    for own in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(own);
    }
    let request = shared.http.request(parts.method, format!("{}{}", shared.target, parts.uri)).headers(headers);
    let answer = request.body(body).send().await.unwrap();
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let mut body: Bytes = answer.bytes().await.unwrap();
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if shared.compresses {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body).unwrap();
        body = encoder.finish().unwrap().into();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

//! Serves health, readiness and metrics over HTTP.
//!
//! `/health` and `/live` show that the process lives, `/ready` that it can serve, or what is missing; both as JSON. The status
//! `degraded` is ready, for cached users only: Elasticsearch is down, or the cache refuses writes. `/metrics` is text, and there
//! when `enable_metrics` is on. Where people log in with a browser, the identity provider says here that sessions have ended.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower::Service as _;

use crate::authz::{Because, Readiness, Respond};
use crate::inbound::{ConnectionPermit, Connections};
use crate::login;

/// The longest time of one answer to `/ready`.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest time until a request has come completely.
const HEADERS: Duration = Duration::from_secs(10);

/// The longest life of a connection, which carries one request: a peer may not read its answer.
const WHOLE: Duration = Duration::from_secs(20);

/// The most bytes of a request: a line and a few headers.
const BUFFER: usize = 16 * 1024;

/// The most bytes of a body: that of a logout token is a few hundred.
const BODY: usize = 64 * 1024;

/// The settings of the port of health and metrics.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `listen`: the address of the port. Default `127.0.0.1:5000`.
    pub listen: SocketAddr,
    /// `enable_metrics`: whether `/metrics` is served. Default off, as in the Go service.
    pub metrics: bool,
}

/// The content type of metrics in the format of `OpenMetrics` 1.0 (§4.1.1).
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves so many connections at once, until `stopped`. `ready` returns `None` while draining; without `scrape` there is no
/// `/metrics`. `logouts` is the path of back-channel logouts, and what answers one by its body.
pub(crate) async fn serve<R, F, M, L, A>(
    listener: TcpListener,
    max_connections: usize,
    ready: R,
    scrape: Option<M>,
    logouts: Option<(String, L)>,
    stopped: impl Future<Output = ()> + Send,
) where
    R: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Readiness>> + Send,
    M: Fn() -> Result<String, fmt::Error> + Clone + Send + Sync + 'static,
    L: Fn(Bytes) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Option<Respond>> + Send,
{
    let mut router = Router::new()
        .route("/health", get(alive))
        .route("/live", get(alive))
        .route("/ready", get(move || readiness(ready.clone())));
    if let Some(scrape) = scrape {
        router = router.route("/metrics", get(async move || metrics(scrape())));
    }
    if let Some((path, logout)) = logouts {
        let answer = async move |body: Bytes| back_channel_logout(logout(body).await);
        router = router.route(&path, post(answer).layer(DefaultBodyLimit::max(BODY)));
    }
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(max_connections);
    let serve = |io, permit| connection(io, router.clone(), permit, graceful.watcher());
    connections.accept_until(stopped, async || Ok(listener.accept().await?.0), serve).await;
    drop(listener);
    graceful.shutdown().await;
}

/// Serves one connection: one request and its answer.
async fn connection<IO>(io: IO, router: Router, permit: ConnectionPermit, watcher: Watcher)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        permit.request_received();
        router.clone().call(request)
    });
    let mut http1 = http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(BUFFER).keep_alive(false);
    match timeout(WHOLE, watcher.watch(http1.serve_connection(TokioIo::new(io), service))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "A connection to the health port was closed"),
        Err(_elapsed) => {
            tracing::debug!("A connection to the health port was closed: the peer did not read the answer");
        }
    }
}

fn metrics(page: Result<String, fmt::Error>) -> Response {
    match page {
        Ok(page) => ([(header::CONTENT_TYPE, METRICS)], page).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The answer to the provider (`OpenID` Connect Back-Channel Logout 1.0 §2.8).
fn back_channel_logout(respond: Option<Respond>) -> Response {
    let Some(Respond { response, because }) = respond else { return StatusCode::NOT_FOUND.into_response() };
    if let Because::Refused(refusal) = because {
        let verdict = refusal.verdict();
        tracing::warn!(
            reason = verdict.reason,
            status = verdict.http,
            error = %refusal,
            "Logout by the identity provider refused: the sessions go on"
        );
    }
    let login::Response { status, headers, body } = response;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, AppendHeaders(headers), body).into_response()
}

async fn alive() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn readiness<R, F>(ready: R) -> Response
where
    R: Fn() -> F,
    F: Future<Output = Option<Readiness>> + Send,
{
    let Ok(Some(found)) = tokio::time::timeout(PATIENCE, ready()).await else {
        let body = json!({ "status": "unavailable", "why": "draining, or no answer in time" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    };
    let part = |result: &Result<(), String>| match result {
        Ok(()) => json!("ok"),
        Err(why) => json!(why),
    };
    let able = found.cache.is_ok() && found.keys.is_ok();
    let whole = found.writes.is_ok() && found.elasticsearch.is_ok();
    let (code, status) = match (able, whole) {
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    // whether the store takes writes is known only while it answers
    let cache = found.cache.and(found.writes);
    let body = json!({ "status": status, "cache": part(&cache), "keys": part(&found.keys),
                       "elasticsearch": part(&found.elasticsearch) });
    (code, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Serves this connection until the shutdown. The page `/large` is larger than the buffers of a connection.
    fn serve_one(io: DuplexStream) -> GracefulShutdown {
        let router = Router::new().route("/live", get(alive)).route("/large", get(async || "x".repeat(1 << 20)));
        let graceful = GracefulShutdown::new();
        tokio::spawn(connection(io, router, Connections::new(1).admit().unwrap(), graceful.watcher()));
        graceful
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_complete_request_in_time_is_closed() {
        for said in ["", "GET /live HTTP/1.1\r\n", "GET /live HTTP/1.1\r\nhost: a\r\n"] {
            let (mut peer, io) = tokio::io::duplex(1024);
            let _graceful = serve_one(io);
            let began = Instant::now();
            peer.write_all(said.as_bytes()).await.unwrap();
            peer.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(began.elapsed(), HEADERS, "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_answered() {
        let (mut peer, io) = tokio::io::duplex(1024);
        let _graceful = serve_one(io);
        for byte in b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n" {
            sleep(HEADERS / 50).await;
            peer.write_all(&[*byte]).await.unwrap();
        }
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_answer_that_is_not_read_in_time_is_closed() {
        let (mut peer, io) = tokio::io::duplex(1024);
        let _graceful = serve_one(io);
        let began = Instant::now();
        peer.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        sleep(WHOLE + Duration::from_millis(1)).await;
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.unwrap();
        assert!(answer.len() <= 2048 && began.elapsed() < WHOLE * 2, "{}", answer.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_does_not_hold_up_the_end() {
        let (mut peer, io) = tokio::io::duplex(1024);
        let graceful = serve_one(io);
        tokio::task::yield_now().await;
        let began = Instant::now();
        graceful.shutdown().await;
        assert_eq!((began.elapsed(), peer.read_to_end(&mut Vec::new()).await.unwrap()), (Duration::ZERO, 0));
    }
}

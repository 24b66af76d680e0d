//! Health and readiness over HTTP, as JSON: `/health` and `/live` say that the process lives, `/ready` that it can
//! serve, or what is missing; `degraded` is ready, for cached users: Elasticsearch is down, or the cache refuses writes. And
//! `/metrics`, as text, where that is on.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

use crate::authz::Readiness;

/// How long `/ready` looks.
const PATIENCE: Duration = Duration::from_secs(2);

/// `listen`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Default `127.0.0.1:5000`.
    pub listen: SocketAddr,
    /// `enable_metrics`: `/metrics` is there. Default off, as in the Go service.
    pub metrics: bool,
}

/// `OpenMetrics` 1.0 §4.1.1
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `stopped`. `ready` answers `None` while draining; without `scrape` there is no `/metrics`.
pub async fn serve<R, F, M>(
    listener: TcpListener,
    ready: R,
    scrape: Option<M>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    R: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Readiness>> + Send,
    M: Fn() -> Result<String, fmt::Error> + Clone + Send + Sync + 'static,
{
    let mut router = Router::new()
        .route("/health", get(alive))
        .route("/live", get(alive))
        .route("/ready", get(move || readiness(ready.clone())));
    if let Some(scrape) = scrape {
        router = router.route("/metrics", get(async move || metrics(scrape())));
    }
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
}

fn metrics(page: Result<String, fmt::Error>) -> Response {
    match page {
        Ok(page) => ([(header::CONTENT_TYPE, METRICS)], page).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
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
    // of a store that does not answer it is not known whether it would take writes
    let cache = found.cache.and(found.writes);
    let body = json!({ "status": status, "cache": part(&cache), "keys": part(&found.keys),
                       "elasticsearch": part(&found.elasticsearch) });
    (code, Json(body)).into_response()
}

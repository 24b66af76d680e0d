//! Calls a unary method of a gRPC service as a function, without a connection, a task or a wait.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;

use crate::Grpc;

/// Sends the framed message `count` times, one after another; each call must be answered.
pub async fn many(mut service: impl Grpc, message: &Bytes, count: usize) {
    for _ in 0..count {
        one(&mut service, message).await;
    }
}

/// Sends the framed message once and returns the body of the answer.
///
/// # Panics
///
/// If the answer is not a message, or has a status other than 0.
#[expect(clippy::expect_used, reason = "a measurement fails by panicking")]
pub async fn one(service: &mut impl Grpc, message: &Bytes) -> Bytes {
    let request = http::Request::post("/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::new(message.clone())))
        .expect("a request");
    let Ok(response) = service.call(request).await;
    let answer = response.into_body().collect().await.expect("a body");
    let status = answer.trailers().and_then(|trailers| trailers.get("grpc-status"));
    assert_eq!(status.map(http::HeaderValue::as_bytes), Some(&b"0"[..]), "a good answer");
    answer.to_bytes()
}

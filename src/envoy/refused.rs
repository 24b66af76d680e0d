//! A line for calls that tonic refuses before the service sees them: a message over the limit, an unknown method.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

/// The layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogRefused;

/// The service around the router.
#[derive(Clone, Debug)]
pub(super) struct Logged<T>(T);

impl<T> Layer<T> for LogRefused {
    type Service = Logged<T>;

    fn layer(&self, inner: T) -> Logged<T> {
        Logged(inner)
    }
}

impl<T, B, R> Service<Request<B>> for Logged<T>
where
    T: Service<Request<B>, Response = Response<R>>,
    T::Future: Send + 'static,
    T::Error: 'static,
{
    type Response = T::Response;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<T::Response, T::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await?;
            // a reply that the service made carries its status in the trailers, a refusal by tonic in the headers
            if let Some(status) = response.headers().get("grpc-status").filter(|status| *status != "0") {
                let grpc_status = status.to_str().unwrap_or("?");
                tracing::info!(reason = "call_refused", grpc_status, "Request denied");
            }
            Ok(response)
        })
    }
}

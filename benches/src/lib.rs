//! Servers that answer every Check with a constant, with which elastauth is compared, and ways to call either.

use std::convert::Infallible;
use std::io;

use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub mod call;
mod floor;
pub mod hit;
mod lean;
pub mod messages;

pub use floor::floor;
pub use lean::lean;

/// The length is that of a real one: a name of 8 bytes and a password of 43.
const AUTHORIZATION: &str = "Basic dXNlci0wMDA6MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMg==";

/// A gRPC service in the form that tonic's server requires.
pub trait Grpc: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> {}

impl<S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>> Grpc for S {}

/// Serves on a port that the system chooses, and prints the address.
pub async fn serve<S>(service: S) -> Result<(), Box<dyn std::error::Error>>
where
    S: Grpc<Future: Send> + NamedService + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(io::Error::other)?;
    println!("serves on {}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // Envoy calls the health service before it sends anything else
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(S::NAME, tonic_health::ServingStatus::Serving).await;
    Server::builder()
        .max_concurrent_streams(Some(4096))
        .add_service(health)
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

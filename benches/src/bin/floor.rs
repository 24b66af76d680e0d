//! The floor: an ext_authz server on tonic that answers every Check with the same credential and looks at nothing, with the
//! stock generated types of the crate `envoy-types`. What elastauth costs is told as a ratio to this.

use std::io;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::google::rpc;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As long as a real one: a name of 8 bytes and a password of 43.
const AUTHORIZATION: &str = "Basic dXNlci0wMDA6MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMg==";

struct Floor(CheckResponse);

#[tonic::async_trait]
impl Authorization for Floor {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

fn constant() -> CheckResponse {
    let header = HeaderValue { key: "authorization".into(), value: AUTHORIZATION.into(), ..HeaderValue::default() };
    let overwrite = HeaderValueOption { header: Some(header), append_action: 2, ..HeaderValueOption::default() };
    let removed = ["es-security-runas-user", "es-secondary-authorization", "proxy-authorization"];
    let ok = OkHttpResponse {
        headers: vec![overwrite],
        headers_to_remove: removed.map(str::to_owned).to_vec(),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(rpc::Status::default()),
        http_response: Some(HttpResponse::OkResponse(ok)),
        ..CheckResponse::default()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(io::Error::other)?;
    println!("floor serves on {}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // Envoy asks for it before it sends anything
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AuthorizationServer<Floor>>().await;
    Server::builder()
        .max_concurrent_streams(Some(4096))
        .add_service(health)
        .add_service(AuthorizationServer::new(Floor(constant())))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

//! The floor: a server that ignores the request and answers a constant, with the stock generated types of the crate
//! `envoy-types`. The costs of elastauth are reported as ratios to it.

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::google::rpc;
use tonic::{Request, Response, Status};

use crate::AUTHORIZATION;

/// A service that answers every Check with a constant.
pub struct Floor(CheckResponse);

#[tonic::async_trait]
impl Authorization for Floor {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

/// The floor's gRPC service.
#[must_use]
pub fn floor() -> AuthorizationServer<Floor> {
    AuthorizationServer::new(Floor(constant()))
}

pub(crate) fn constant() -> CheckResponse {
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

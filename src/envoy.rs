//! The ext_authz service: `envoy.service.auth.v3.Authorization/Check` on tonic.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderName;
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Response, Status};

use crate::authz::{Authorizer, Decision, Refusal, Request};
use crate::credentials::{Provisioner, Store};
use crate::identity::KeySource;
use crate::identity::presented::Wanted;

mod deadline;
mod log;
mod refused;
mod request;
mod response;
pub mod wire;

use wire::server::authorization_server::{Authorization, AuthorizationServer};
use wire::{Call, Reply};

/// The name under which health is reported, beside the empty one.
pub const SERVICE: &str = "envoy.service.auth.v3.Authorization";

/// Streams of one connection. Envoy opens one connection per worker and answers a lower limit with refused streams.
const MAX_STREAMS: u32 = 4096;

/// Where Envoy reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:9001`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `grpc.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Default `127.0.0.1:9001`.
    pub listen: Listen,
    /// `grpc.allow_insecure`: others than Envoy may reach the port. Default off.
    pub allow_insecure: bool,
    /// `grpc.reflection`: for `grpcurl`. Default off.
    pub reflection: bool,
    /// `grpc.max_message_size`: bytes of one request. Default 4 MiB.
    pub max_message_size: usize,
    /// `grpc.deadline`: longest time for one answer, whatever Envoy allows. Default 3 s.
    pub deadline: Duration,
    /// `grpc.max_in_flight`: requests being answered at once; more are denied with 503. Default 4096.
    pub max_in_flight: usize,
    /// Headers that name the caller: taken off every request that is let through.
    pub identity_headers: Vec<HeaderName>,
}

impl Settings {
    /// Whether nobody but Envoy can call, so that what a call says about Envoy's own peers is Envoy's word.
    #[must_use]
    pub fn knows_its_callers(&self) -> bool {
        matches!(self.listen, Listen::Unix(_)) && !self.allow_insecure
    }
}

/// Answers Check.
pub struct Service<K: KeySource, S, P> {
    authorizer: Arc<Authorizer<K, S, P>>,
    wanted: Wanted,
    replies: response::Replies,
    cap: Duration,
    in_flight: Semaphore,
}

impl<K: KeySource, S: Store, P: Provisioner> Service<K, S, P> {
    /// Wraps the authorizer in deadline, load limit and panic barrier.
    pub fn new(authorizer: Arc<Authorizer<K, S, P>>, settings: &Settings) -> Self {
        let (wanted, replies) = (authorizer.wanted(), response::Replies::new(&settings.identity_headers));
        let in_flight = Semaphore::new(settings.max_in_flight);
        Self { authorizer, wanted, replies, cap: settings.deadline, in_flight }
    }

    async fn decide(&self, request: &Request, metadata: &MetadataMap) -> Decision {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Decision::Deny(Refusal::Overload);
        };
        let limit = deadline::of(metadata, self.cap);
        let decision = AssertUnwindSafe(self.authorizer.decide(request)).catch_unwind();
        match tokio::time::timeout(limit, decision).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(_panic)) => Decision::Deny(Refusal::Panic),
            Err(_elapsed) => Decision::Deny(Refusal::Deadline),
        }
    }
}

#[tonic::async_trait]
impl<K: KeySource, S: Store, P: Provisioner> Authorization for Service<K, S, P> {
    async fn check(&self, call: tonic::Request<Call>) -> Result<Response<Reply>, Status> {
        let (metadata, _, call) = call.into_parts();
        let check = match call {
            Ok(check) => check,
            Err(error) => {
                log::undecodable(&error);
                return Err(Status::invalid_argument("not a CheckRequest"));
            }
        };
        let request = request::read(check, &self.wanted);
        let decision = match &request {
            Some(request) => self.decide(request, &metadata).await,
            None => Decision::Deny(Refusal::NoRequest),
        };
        log::decision(request.as_ref(), &decision);
        Ok(Response::new(match &decision {
            Decision::Allow(obtained) => self.replies.allow(&obtained.credential),
            Decision::Preflight => self.replies.preflight(),
            Decision::Deny(refusal) if refusal.is_outage() => response::unavailable(refusal),
            Decision::Deny(refusal) => response::deny(refusal),
        }))
    }
}

/// A bound socket, before anything is served.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket and its path.
    Unix(UnixListener, PathBuf),
}

/// Binds. A Unix socket that nobody answers on any more is replaced.
pub async fn bind(listen: &Listen) -> io::Result<Listener> {
    match listen {
        Listen::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
        Listen::Unix(path) => {
            if tokio::net::UnixStream::connect(path).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
            {
                std::fs::remove_file(path)?;
            }
            Ok(Listener::Unix(UnixListener::bind(path)?, path.clone()))
        }
    }
}

/// Serves until `stopped`, then lets the requests in flight finish. `draining` comes first: from then on health says
/// `NOT_SERVING`, so that Envoy moves on while requests are still answered.
pub async fn serve<K: KeySource, S: Store, P: Provisioner>(
    listener: Listener,
    service: Service<K, S, P>,
    settings: &Settings,
    draining: impl Future<Output = ()> + Send + 'static,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status(SERVICE, tonic_health::ServingStatus::Serving).await;
    let unhealthy = tokio::spawn(async move {
        draining.await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        reporter.set_service_status(SERVICE, tonic_health::ServingStatus::NotServing).await;
        // dropping the reporter would end the watchers' streams
        std::future::pending::<()>().await;
    });
    let authorization = AuthorizationServer::new(service).max_decoding_message_size(settings.max_message_size);
    let mut router: Router<_> = Server::builder()
        .max_concurrent_streams(Some(MAX_STREAMS))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .layer(refused::LogRefused)
        .add_service(health)
        .add_service(authorization);
    if settings.reflection {
        router = router.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    }
    let served = match listener {
        Listener::Tcp(listener) => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, stopped).await
        }
        Listener::Unix(listener, path) => {
            let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
            let served = router.serve_with_incoming_shutdown(incoming, stopped).await;
            // a socket left behind is replaced at the next start
            let _ = std::fs::remove_file(path);
            served
        }
    };
    unhealthy.abort();
    Ok(served?)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// The server could not be built or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Transport.
    #[error("gRPC server")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection.
    #[error("gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

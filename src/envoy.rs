//! The ext_authz service: `envoy.service.auth.v3.Authorization/Check` on tonic, and the services beside it on the same port.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderName;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Response, Status};
use tracing::{Instrument as _, Span};

use crate::authz::{Authorizer, Decision, Refusal, Request};
use crate::cookies;
use crate::credentials::{Provisioner, Store};
use crate::inbound::Connections;
use crate::login;
use crate::login::IdentityProvider;
use crate::metrics::Metrics;

mod access_log;
mod budget;
mod deadline;
mod gate;
mod listener;
mod log;
mod preface;
mod reflection;
mod request;
mod response;
mod server;
pub mod tls;
mod trace;
pub mod wire;

pub use listener::Listen;
pub(crate) use listener::{Listener, bind};

use budget::MemoryBudget;
use gate::Gate;
use server::Server;
use wire::http::Malformed;
use wire::server::authorization_server::{Authorization, AuthorizationServer};
use wire::{Call, Reply, Unread};

/// The service name under which health is reported, beside the empty name.
pub const SERVICE: &str = "envoy.service.auth.v3.Authorization";

/// The bits of a file's mode for users other than its owner and the members of its group.
const OTHER_USERS: u32 = 0o007;

/// The time beyond the deadline in which the last answers reach Envoy.
const FINISH_MARGIN: Duration = Duration::from_secs(1);

/// The settings of the gRPC port.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `grpc.listen`: the address at which Envoy connects. Default `127.0.0.1:9001`.
    pub listen: Listen,
    /// `grpc.allow_insecure`: permits an address that others than Envoy can reach, without TLS. Default off.
    pub allow_insecure: bool,
    /// `grpc.tls_*`: the files of TLS. Default: no TLS.
    pub tls: Option<tls::Settings>,
    /// `grpc.reflection`: whether `grpcurl` can ask for the methods of the service. Default off.
    pub reflection: bool,
    /// `grpc.access_log`: whether replies name the user to Envoy, and Envoy may report what was answered to it. Default off.
    pub access_log: bool,
    /// `grpc.max_message_size`: the most bytes of one request. Default 4 MiB.
    pub max_message_size: usize,
    /// `grpc.deadline`: longest time for one answer, whatever Envoy allows. Default 3 s.
    pub deadline: Duration,
    /// `grpc.max_in_flight`: requests at once that need more than memory; more are denied with 503. Default 4096.
    pub max_in_flight: usize,
    /// `grpc.max_connection_age`: about so old, a connection is ended, so that Envoy finds new replicas. Default 10 min.
    pub max_connection_age: Option<Duration>,
}

impl Settings {
    /// The time within which every request that was received has its answer.
    #[must_use]
    pub(crate) fn finish(&self) -> Duration {
        self.deadline + FINISH_MARGIN
    }

    /// Whether only clients that the operator named can call: over a Unix socket that is not open to all users of the
    /// machine, or with client certificates and a list of names. Only then can a call be trusted to come from Envoy, and with it
    /// what it says about Envoy's own peers (`source.principal`, `metadata_context`).
    #[must_use]
    pub(crate) fn knows_its_callers(&self) -> bool {
        let socket = matches!(self.listen, Listen::Unix { mode, .. } if mode & OTHER_USERS == 0);
        let listed = |tls: &tls::Settings| tls.client_ca_file.is_some() && !tls.allowed.is_empty();
        (socket || self.tls.as_ref().is_some_and(listed)) && !self.allow_insecure
    }
}

/// What is removed from every request that is let through: the system behind Envoy must not take it for the caller's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StrippedAttributes {
    /// Headers that name the caller or carry a token.
    pub headers: Vec<HeaderName>,
    /// Cookies that carry a token, or are otherwise not for what is behind Envoy.
    pub cookies: cookies::Selection,
}

/// The implementation of Check: reads the request, lets the authorizer decide, and encodes the reply.
pub struct Service<K: IdentityProvider, S, P> {
    authorizer: Arc<Authorizer<K, S, P>>,
    reader: request::Reader,
    replies: response::Replies,
    stripped_cookies: cookies::Selection,
    cap: Duration,
    budget: MemoryBudget,
    metrics: Option<Arc<Metrics>>,
}

impl<K: IdentityProvider, S: Store, P: Provisioner> Service<K, S, P> {
    /// Wraps the authorizer in the deadline, the limits of load, and a barrier for panics.
    pub fn new(
        authorizer: Arc<Authorizer<K, S, P>>,
        metrics: Option<Arc<Metrics>>,
        settings: &Settings,
        stripped: StrippedAttributes,
    ) -> Self {
        let StrippedAttributes { headers, cookies: mut stripped_cookies } = stripped;
        let mut selection = authorizer.selection();
        if selection.visit {
            stripped_cookies.prefixes.push(login::cookies::SESSION.to_owned());
        }
        selection.cookies |= !stripped_cookies.is_empty();
        let reader = request::Reader::new(selection);
        let replies = response::Replies::new(&headers, settings.access_log);
        let budget = MemoryBudget::new(settings.max_in_flight, settings.max_message_size);
        Self { authorizer, reader, replies, stripped_cookies, cap: settings.deadline, budget, metrics }
    }

    async fn decide(&self, request: &mut Request, metadata: MetadataMap, span: &Span) -> Decision {
        let begun = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| self.authorizer.begin(request))));
        let open = match begun {
            // a hit waits for nothing and needs neither a clock nor a timer
            Ok(Ok(decision)) => return decision,
            Ok(Err(open)) => open,
            Err(_panic) => return Decision::Deny(Refusal::Panic),
        };
        // many requests may wait for long: of the message only what is needed stays in memory
        request.detach(self.authorizer.needs_whole_requests());
        let deadline = deadline::of(&metadata, self.cap);
        drop(metadata);
        let Some(_reserved) = self.budget.reserve(request.size() + open.size()) else {
            return Decision::Deny(Refusal::Overload);
        };
        // boxed, so that the future of a hit is not as large as this one
        let finishing = Box::pin(self.authorizer.finish(open, request).instrument(span.clone()));
        match timeout(deadline, AssertUnwindSafe(finishing).catch_unwind()).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(_panic)) => Decision::Deny(Refusal::Panic),
            Err(_elapsed) => Decision::Deny(Refusal::Deadline),
        }
    }

    /// The reply to a call with a message that was thrown away.
    fn shed(&self, metadata: &MetadataMap) -> Reply {
        let decision = Decision::Deny(Refusal::Overload);
        log::decision(None, &decision);
        trace::decided(&trace::check(metadata), None, &decision);
        if let Some(metrics) = &self.metrics {
            metrics.decided(&decision, Duration::ZERO);
        }
        response::unavailable(&Refusal::Overload)
    }

    /// Answers one call; `metadata` is the call's. Every decodable message gets a reply, others `INVALID_ARGUMENT`.
    pub async fn answer(&self, call: Call, metadata: MetadataMap) -> Result<Reply, Status> {
        let began = self.metrics.as_ref().map(|metrics| (metrics, Instant::now()));
        let call = match call {
            Ok(check) => Ok(check),
            Err(Unread::Encoding(error)) => Err(Malformed::from(error)),
            Err(Unread::ThrownAway) => return Ok(self.shed(&metadata)),
        };
        let span = trace::check(&metadata);
        let mut request = call.and_then(|check| self.reader.read(check)).map_err(|error| {
            log::undecodable(&error);
            trace::undecodable(&span);
            if let Some((metrics, _)) = began {
                metrics.undecodable();
            }
            Status::invalid_argument("not a CheckRequest")
        })?;
        let decision = match &mut request {
            Some(request) => self.decide(request, metadata, &span).await,
            None => Decision::Deny(Refusal::NoRequest),
        };
        log::decision(request.as_ref(), &decision);
        trace::decided(&span, request.as_ref(), &decision);
        if let Some((metrics, began)) = began {
            metrics.decided(&decision, began.elapsed());
        }
        let cookies = request.as_ref().and_then(|r| cookies::without(&r.attributes.cookies, &self.stripped_cookies));
        Ok(match &decision {
            Decision::Allow(obtained) => self.replies.allow(&obtained.credential, cookies.as_deref()),
            Decision::Preflight => self.replies.preflight(cookies.as_deref()),
            Decision::Deny(refusal) if refusal.is_outage() => response::unavailable(refusal),
            Decision::Deny(refusal) => response::deny(refusal),
            Decision::Respond(respond) => response::respond(&respond.response),
        })
    }
}

#[tonic::async_trait]
impl<K: IdentityProvider, S: Store, P: Provisioner> Authorization for Service<K, S, P> {
    async fn check(&self, call: tonic::Request<Call>) -> Result<Response<Reply>, Status> {
        let (metadata, _, call) = call.into_parts();
        self.answer(call, metadata).await.map(Response::new)
    }
}

/// The gRPC service alone, without health and without a network.
pub fn authorization<K: IdentityProvider, S: Store, P: Provisioner>(
    service: Service<K, S, P>,
    settings: &Settings,
) -> AuthorizationServer<Service<K, S, P>> {
    AuthorizationServer::new(service).max_decoding_message_size(settings.max_message_size)
}

/// Serves up to `max_connections` until `stopped`, then lets the requests in flight finish. `draining` completes before: from
/// then on health is `NOT_SERVING`, so that Envoy chooses other replicas while requests are still answered.
pub(crate) async fn serve<K: IdentityProvider, S: Store, P: Provisioner>(
    listener: Listener,
    service: Service<K, S, P>,
    settings: &Settings,
    max_connections: usize,
    draining: impl Future<Output = ()> + Send + 'static,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let tls = settings.tls.clone().map(tls::Watched::load).transpose()?.map(Arc::new);
    let (mut reporter, health) = tonic_health::server::health_reporter();
    for name in ["", SERVICE] {
        reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    }
    let (ended, end) = oneshot::channel();
    let reporting = tokio::spawn(async move {
        draining.await;
        for name in ["", SERVICE] {
            reporter.set_service_status(name, tonic_health::ServingStatus::NotServing).await;
        }
        let _ = end.await;
        // ends the streams of clients that watch health, which would keep their connections open
        for name in ["", SERVICE] {
            reporter.clear_service_status(name).await;
        }
    });
    let budget = service.budget.clone();
    let gate = Gate::new(settings.max_in_flight, budget, settings.max_message_size, settings.deadline);
    let health = health.max_decoding_message_size(reflection::OTHER_MESSAGES);
    let mut routes = Routes::new(health);
    if settings.access_log {
        routes = routes.add_service(access_log::service(Arc::clone(&service.authorizer), service.metrics.clone()));
    }
    routes = routes.add_service(authorization(service, settings));
    if settings.reflection {
        routes = reflection::add(routes, settings.access_log)?;
    }
    let stopped = async move {
        stopped.await;
        let _ = ended.send(());
    };
    let server = Server::new(routes, gate, tls, settings.max_connection_age, settings.finish());
    server.serve(listener, Connections::new(max_connections), stopped).await;
    reporting.abort();
    Ok(())
}

/// Why the server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files of TLS cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] tls::Error),
    /// The reflection service could not be built.
    #[error("gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

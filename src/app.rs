//! The composition root: configuration → parts → servers → drain. The only file that names concrete edge types.

use std::io;
use std::sync::Arc;

use crate::authz::policy::Policy;
use crate::authz::{Authorizer, Callers};
use crate::config::{Cache, Problems, Settings};
use crate::credentials::broker::{self, Broker};
use crate::credentials::seal::SealError;
use crate::credentials::{BackendStatus as _, Store, StoreError};
use crate::file::{self, FileStore};
use crate::identity::headers::anchor;
use crate::identity::issuer::{self, Issuer};
use crate::identity::issuers::Issuers;
use crate::inbound::Limits;
use crate::memory::MemoryStore;
use crate::oidc::{self, OidcProvider};
use crate::redis::{self, RedisStore};
use crate::roles::Mapping;
use crate::shutdown::{self, Phase};
use crate::users::DirectoryError;
use crate::{envoy, http, inbound, outbound, telemetry};

mod administer;
mod backend;
mod explain;
mod parts;

pub use administer::{accounts, purge, users};
use backend::Backend;
pub use explain::{UserPreview, explain, preview};
pub use parts::Parts;

/// Why the service did not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the configuration says cannot work.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// What exports traces.
    #[error("{0}")]
    Traces(#[from] telemetry::traces::Error),
    /// Signals.
    #[error("signals: {0}")]
    Signals(io::Error),
    /// The sealing key.
    #[error("secret_key: {0}")]
    Seal(#[from] SealError),
    /// The broker.
    #[error("{0}")]
    Broker(#[from] broker::Error),
    /// A command about a cache that no other process can reach.
    #[error("cache.type is memory: the records are in the process that serves, and end with it")]
    NoSharedCache,
    /// A command about users.
    #[error("users: {0}")]
    Directory(#[from] DirectoryError),
    /// The store did not answer a command.
    #[error("cache: {0}")]
    Store(#[from] StoreError),
    /// What Redis itself says.
    #[error("cache: {0}")]
    Redis(#[from] redis::Error),
    /// The file of the cache.
    #[error("cache.path: {0}")]
    File(#[from] file::Error),
    /// The Elasticsearch client.
    #[error("elasticsearch: {0}")]
    Elastic(#[from] outbound::Error),
    /// The provider's client.
    #[error("oidc: {0}")]
    Oidc(#[from] oidc::Error),
    /// The comparison of secrets.
    #[error("authelia.shared_secret: {0}")]
    Anchor(#[from] anchor::NoRandomness),
    /// The gRPC server.
    #[error("{0}")]
    Grpc(#[from] envoy::Error),
}

/// Serves until a signal. Start-up needs neither the identity provider nor Redis nor Elasticsearch.
pub async fn serve(settings: Settings, warnings: &[String]) -> Result<(), Error> {
    let mut parts = Parts::new(&settings)?;
    let traces = parts.traces.take();
    telemetry::install(settings.logs, traces.as_ref());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let ended = serve_until_the_end(parts, &settings).await;
    if let Some(traces) = traces {
        traces.flush().await;
    }
    ended
}

async fn serve_until_the_end(parts: Parts, settings: &Settings) -> Result<(), Error> {
    match &settings.cache {
        Cache::Memory(memory) => {
            let store = MemoryStore::new(*memory);
            serve_with(store, parts, settings).await
        }
        Cache::File(file) => {
            let store = FileStore::open(file)?;
            tracing::info!(path = %store.path().display(), "The cache is a file: for one elastauth only");
            serve_with(store, parts, settings).await
        }
        Cache::Redis(redis) => {
            let store = RedisStore::new((**redis).clone());
            store.try_out().await?;
            serve_with(store, parts, settings).await
        }
    }
}

async fn serve_with<S: Store>(store: S, parts: Parts, settings: &Settings) -> Result<(), Error> {
    let Parts { callers, provisioner, seal, metrics, .. } = parts;
    if let Callers::Tokens(issuers, _) = &callers {
        tokio::spawn(issuers.watch());
    }
    let broker = Broker::new(store, provisioner, seal, settings.credentials.clone())?;
    tokio::spawn(broker.watch());
    let policy = Policy::new(settings.policy.clone());
    let mapping = Mapping::new(&settings.roles);
    let authorizer =
        Arc::new(Authorizer::new(callers, settings.known, policy, mapping, broker, settings.grpc.max_in_flight));
    tokio::spawn(Arc::clone(&authorizer).sweep());

    let grpc = envoy::bind(&settings.grpc.listen)
        .await
        .map_err(|error| Error::Listen { address: settings.grpc.listen.to_string(), error })?;
    let health = inbound::bind(settings.http.listen)
        .await
        .map_err(|error| Error::Listen { address: settings.http.listen.to_string(), error })?;
    let shutdown = shutdown::on_signals(settings.shutdown).map_err(Error::Signals)?;
    tracing::info!(grpc = %settings.grpc.listen, tls = settings.grpc.tls.is_some(), http = %settings.http.listen, "elastauth serves");

    let ready = {
        let (authorizer, shutdown) = (Arc::clone(&authorizer), shutdown.clone());
        move || {
            let (authorizer, phase) = (Arc::clone(&authorizer), shutdown.phase());
            async move { if phase == Phase::Running { Some(authorizer.readiness().await) } else { None } }
        }
    };
    let service =
        envoy::Service::new(Arc::clone(&authorizer), metrics.clone(), &settings.grpc, settings.stripped.clone());
    let scrape = metrics.map(|metrics| move || metrics.scrape(authorizer.vitals(), authorizer.in_flight()));
    let (draining, stopping) = (shutdown.clone().reached(Phase::Draining), shutdown.clone().reached(Phase::Stopping));
    let limits = Limits::of_this_process();
    let grpc = envoy::serve(grpc, service, &settings.grpc, limits.callers, draining, stopping);
    let http = http::serve(health, limits.operators, ready, scrape, shutdown.clone().reached(Phase::Stopping));
    // ends when the first fails, or when both have ended
    let (grpc, http) = (async { grpc.await.map_err(Error::from) }, async {
        http.await;
        Ok(())
    });
    tokio::select! {
        ended = async { tokio::try_join!(grpc, http) } => ended.map(|_| ()),
        () = shutdown.reached(Phase::Overdue) => Ok(()),
    }
}

/// Looks at Elasticsearch and the administrator's account once, for `check --online`: what is wrong, or else what is worth
/// knowing.
pub async fn examine(settings: &Settings) -> Result<Vec<String>, String> {
    let provisioner = Backend::new(settings).map_err(|error| error.to_string())?;
    provisioner.examine().await
}

fn issuers(settings: &[(oidc::Settings, issuer::Settings)]) -> Result<Issuers<OidcProvider>, Error> {
    let issuer = |(provider, tokens): &(oidc::Settings, issuer::Settings)| {
        Ok(Issuer::new(OidcProvider::new(provider.clone())?, tokens.clone()))
    };
    Ok(Issuers::new(settings.iter().map(issuer).collect::<Result<_, Error>>()?))
}

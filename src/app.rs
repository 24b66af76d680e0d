//! Puts the process together: configuration → parts → servers → drain. It is the only module that names concrete edge types.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::authz::policy::Policy;
use crate::authz::{Authorizer, Callers, Rules};
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
mod people;

pub use administer::{accounts, end_sessions, purge, sessions, users};
use backend::Backend;
pub use explain::{UserPreview, explain, preview};
pub use parts::Parts;

/// Why the service did not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work, although each of its values is valid.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address as the configuration has it.
        address: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The exporter of traces cannot be made.
    #[error("{0}")]
    Traces(#[from] telemetry::traces::Error),
    /// The process cannot listen to signals.
    #[error("signals: {0}")]
    Signals(io::Error),
    /// The sealing key cannot be made.
    #[error("secret_key: {0}")]
    Seal(#[from] SealError),
    /// The broker cannot be made, or cannot read what is stored.
    #[error("{0}")]
    Broker(#[from] broker::Error),
    /// A command needs a cache that only the serving process can reach.
    #[error("cache.type is memory: the records are inside the running elastauth, and end with it")]
    NoSharedCache,
    /// Users cannot be listed or changed.
    #[error("users: {0}")]
    Directory(#[from] DirectoryError),
    /// The store did not answer a command.
    #[error("cache: {0}")]
    Store(#[from] StoreError),
    /// Redis refuses what elastauth needs, such as the database.
    #[error("cache: {0}")]
    Redis(#[from] redis::Error),
    /// The file of the cache cannot be used.
    #[error("cache.path: {0}")]
    File(#[from] file::Error),
    /// The HTTP client for Elasticsearch cannot be made.
    #[error("elasticsearch: {0}")]
    Elastic(#[from] outbound::Error),
    /// The client for the identity provider cannot be made.
    #[error("oidc: {0}")]
    Oidc(#[from] oidc::Error),
    /// Shared secrets cannot be compared without random numbers.
    #[error("authelia.shared_secret: {0}")]
    Anchor(#[from] anchor::NoRandomness),
    /// The gRPC server cannot be made, or ended with an error.
    #[error("{0}")]
    Grpc(#[from] envoy::Error),
}

/// Serves until a signal. The start needs neither the identity provider nor Redis nor Elasticsearch.
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
            tracing::info!(path = %store.path().display(), "The cache is a file, which only one elastauth can use");
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
    let Parts { callers, people, provisioner, seal, metrics, .. } = parts;
    if let Callers::Tokens(issuers, _) = &callers {
        tokio::spawn(issuers.watch());
    }
    let store = Arc::new(store);
    let broker = Broker::new(Arc::clone(&store), provisioner, seal.clone(), settings.credentials.clone())?;
    tokio::spawn(broker.watch());
    let rules =
        Arc::new(Rules { policy: Policy::new(settings.policy.clone()), mapping: Mapping::new(&settings.roles) });
    let login = people.map(|people| people.login(store, seal, &broker, &rules, settings));
    let authorizer =
        Arc::new(Authorizer::new(callers, settings.max_tokens, rules, broker, login, settings.grpc.max_in_flight));
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
    let scrape = metrics.map(|metrics| {
        let authorizer = Arc::clone(&authorizer);
        move || metrics.scrape(authorizer.vitals(), authorizer.in_flight())
    });
    let (draining, stopping) = (shutdown.clone().reached(Phase::Draining), shutdown.clone().reached(Phase::Stopping));
    let limits = Limits::of_this_process();
    let grpc = envoy::serve(grpc, service, &settings.grpc, limits.callers, draining, stopping);
    let logouts = settings.login.as_ref().map(|login| {
        let authorizer = Arc::clone(&authorizer);
        let answer = move |body: Bytes| {
            let authorizer = Arc::clone(&authorizer);
            async move { authorizer.back_channel_logout(&body).await }
        };
        (login.back_channel_logout_path(), answer)
    });
    let stopping_too = shutdown.clone().reached(Phase::Stopping);
    let http = http::serve(health, limits.operators, ready, scrape, logouts, stopping_too);
    // ends when the first fails, or when both have ended, and with them what outlived its request
    let (grpc, http) = (async { grpc.await.map_err(Error::from) }, async {
        http.await;
        Ok(())
    });
    let served = async {
        tokio::try_join!(grpc, http)?;
        authorizer.idle().await;
        Ok(())
    };
    tokio::select! {
        ended = served => ended,
        () = shutdown.reached(Phase::Overdue) => Ok(()),
    }
}

/// Examines Elasticsearch and the administrator's account once, for `check --online`. Returns warnings, or else what is wrong.
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

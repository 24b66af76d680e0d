//! Builds the settings of each part from the values of its keys, section by section.

use std::time::Duration;

use ::http::HeaderName;

use super::keys::{self, ProviderKind};
use super::settings::{Cache, Provider, Settings};
use super::values::Values;
use crate::credentials::{self, near_cache, seal};
use crate::envoy::StrippedAttributes;
use crate::identity::headers::Names;
use crate::{cookies, envoy, http, shutdown, telemetry};

mod address;
mod claims;
mod elasticsearch;
mod grpc;
mod header_name;
mod headers;
mod identity;
mod login;
mod mapping;
mod opensearch;
mod policy;
mod redis;
mod roles;
mod store;
mod tracing;

use elasticsearch::elasticsearch;
use grpc::grpc;
use identity::{Issuers, issuers};
use login::{LoginClient, login};
use opensearch::opensearch;
use roles::roles;
use store::{cache, key, previous_keys, store_name};

pub(super) fn settings(v: &mut Values<'_>) -> Settings {
    let names = headers::names(v);
    let grpc = grpc(v);
    let identity_headers = names.all().to_vec();
    let policy = policy::policy(v);
    let login_enabled = v.get(&keys::login::ENABLED);
    let Named { provider: identity, clients, cookies } =
        identity(v, names, &policy::claims(&policy), &grpc, login_enabled);
    let login = login(v, login_enabled, &identity, &clients);
    let stripped = stripped(identity_headers, &identity, cookies);
    let cluster = v.get(&keys::cache::CLUSTER);
    let roles = roles(v);
    let cache = cache(v);
    let connection = elasticsearch::connection(v);
    let key = key(v, &cache, connection.account.as_ref());
    if login.is_some() && matches!(key, seal::Key::Derived { guessable: true, .. }) {
        let why = "is required with login.enabled: browsers get cookies that are sealed with it, and a key that follows from a \
                   password could be guessed from them";
        v.problem(&keys::cache::SECRET_KEY, why);
    }
    let elasticsearch = elasticsearch(v, connection, store_name(&key, &cache), &cluster, &roles, grpc.deadline);
    let credentials = credentials::Settings {
        expiration: v.get(&keys::cache::EXPIRATION),
        extend: v.get(&keys::cache::EXTEND),
        near: near_cache::Settings {
            max_entries: v.get(&keys::cache::NEAR_MAX_ENTRIES),
            max_stale: v.get(&keys::cache::MAX_STALE),
        },
        settling: v.get(&keys::elasticsearch::SETTLING),
        confirm_interval: v.get(&keys::elasticsearch::CONFIRM_INTERVAL),
        mapping: mapping::digest(&identity, &roles),
        store_timeout: match &cache {
            // longer than its own time-outs, which have the better errors: to connect, and for a read that is repeated
            Cache::Redis(redis) => redis.connect_timeout + redis.command_timeout * 4 + Duration::from_millis(50),
            Cache::Memory(_) => Duration::from_secs(1),
            // a write waits for the disk, and for the writes before it
            Cache::File(_) => Duration::from_secs(5),
        },
        write_timeout: elasticsearch.write_timeout,
    };
    let http = http::Settings {
        listen: address::socket(v, &keys::http::LISTEN),
        metrics: v.get(&keys::observability::ENABLE_METRICS),
    };
    let shutdown = shutdown::Settings { drain: v.get(&keys::http::DRAIN).unwrap_or_default(), finish: grpc.finish() };
    Settings {
        http,
        grpc,
        stripped,
        shutdown,
        logs: telemetry::Settings {
            level: v.get(&keys::observability::LOG_LEVEL),
            format: v.get(&keys::observability::LOG_FORMAT),
        },
        traces: tracing::traces(v),
        identity,
        login,
        max_tokens: v.get(&keys::cache::TOKEN_MAX_ENTRIES),
        verifications: v.get(&keys::grpc::MAX_VERIFICATIONS).get(),
        policy,
        roles,
        credentials,
        seal: seal::Settings { key, previous: previous_keys(v), cluster },
        cache,
        opensearch: opensearch(v, &elasticsearch),
        flavor: v.get(&keys::opensearch::FLAVOR),
        elasticsearch,
    }
}

/// What names callers, and what goes with it.
struct Named {
    provider: Provider,
    /// What each issuer has for logins with a browser.
    clients: Vec<LoginClient>,
    /// The cookies that never go on.
    cookies: cookies::Selection,
}

/// `ruled`: the claims that rules are about, which are kept of each caller's. `login`: whether people log in with a browser.
fn identity(v: &mut Values<'_>, names: Names, ruled: &[String], grpc: &envoy::Settings, login: bool) -> Named {
    match v.get(&keys::auth::PROVIDER) {
        ProviderKind::Oidc => {
            let Issuers { all, sources, clients, cookies } = issuers(v, ruled, login);
            Named { provider: Provider::Oidc(all, sources), clients, cookies }
        }
        ProviderKind::Authelia => {
            let headers = headers::headers(v, names, ruled, grpc.knows_its_callers());
            let provider = Provider::Headers(Box::new(headers));
            Named { provider, clients: Vec::new(), cookies: cookies::Selection::default() }
        }
    }
}

/// The headers that name callers are stripped where tokens name them, too.
fn stripped(identity_headers: Vec<HeaderName>, identity: &Provider, cookies: cookies::Selection) -> StrippedAttributes {
    let mut stripped = StrippedAttributes { headers: identity_headers, cookies };
    if let Provider::Oidc(_, sources) = identity {
        stripped.headers.extend(sources.headers.iter().cloned());
        stripped.cookies.names.extend(sources.cookies.iter().cloned());
    }
    stripped
}

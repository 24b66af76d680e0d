//! Values to settings, section by section.

use std::net::SocketAddr;
use std::time::Duration;

use ::http::HeaderName;
use ::tracing::Level;
use url::Url;

use super::values::Values;
use super::{Cache, Provider, Settings};

use crate::credentials::{self, near_cache, seal};
use crate::envoy::StrippedAttributes;
use crate::identity::headers::Names;
use crate::identity::token_cache;
use crate::{elastic, envoy, http, outbound, roles, shutdown, telemetry};

mod elasticsearch;
mod grpc;
mod headers;
mod identity;
mod mapping;
mod opensearch;
mod policy;
mod redis;
mod store;
mod tracing;

use elasticsearch::elasticsearch;
use grpc::grpc;
use identity::issuers;
use opensearch::{flavor, opensearch};
use store::{cache, key, previous_keys, store_name};

pub(super) fn settings(v: &mut Values<'_>) -> Settings {
    let names = headers::names(v);
    let grpc = grpc(v);
    let identity_headers = names.all().to_vec();
    let mut identity = identity(v, names, &grpc);
    let stripped = stripped(identity_headers, &identity);
    let policy = policy::policy(v);
    keep_claims(v, &mut identity, policy::claims(&policy));
    let cluster = v.setting("cluster");
    let roles = roles(v);
    let cache = cache(v);
    let elasticsearch = elasticsearch(v, &cluster, &roles, grpc.deadline);
    let key = key(v, &cache, elasticsearch.nodes.account.as_ref().map(|account| &account.secret));
    let elasticsearch = elastic::Settings { store: store_name(&key, &cache), ..elasticsearch };
    let credentials = credentials::Settings {
        expiration: v.duration("cache.expiration"),
        extend: v.boolean("extend_cache"),
        near: near_cache::Settings {
            max_entries: v.number("cache.near_max_entries", None),
            max_stale: v.duration("cache.max_stale"),
        },
        settling: v.duration("elasticsearch.settling"),
        confirm_interval: v.duration("elasticsearch.confirm_interval"),
        mapping: mapping::digest(&identity, &roles),
        store_timeout: match &cache {
            // its own time-out has the better text
            Cache::Redis(redis) => redis.command_timeout + Duration::from_millis(50),
            Cache::Memory(_) => Duration::from_secs(1),
            // a write waits for the disk, and for the writes before it
            Cache::File(_) => Duration::from_secs(5),
        },
        write_timeout: elasticsearch.write_timeout,
    };
    let http = http::Settings { listen: address(v, "listen"), metrics: v.boolean("enable_metrics") };
    let shutdown = shutdown::Settings { drain: v.duration_or_off("drain").unwrap_or_default(), finish: grpc.finish() };
    Settings {
        http,
        grpc,
        stripped,
        shutdown,
        logs: logs(v),
        traces: tracing::traces(v),
        identity,
        known: known(v),
        verifications: at_least_one(v, "grpc.max_verifications", Some((cpus() / 2).max(1))),
        policy,
        roles,
        credentials,
        seal: seal::Settings { key, previous: previous_keys(v), cluster },
        cache,
        opensearch: opensearch(v, &elasticsearch),
        flavor: flavor(v),
        elasticsearch,
    }
}

fn identity(v: &mut Values<'_>, names: Names, grpc: &envoy::Settings) -> Provider {
    match v.setting("auth_provider").as_str() {
        "oidc" => {}
        "authelia" => return Provider::Headers(Box::new(headers::headers(v, names, grpc.knows_its_callers()))),
        _ => v.problem("auth_provider", "must be oidc or authelia"),
    }
    let (issuers, sources) = issuers(v);
    Provider::Oidc(issuers, sources)
}

fn known(v: &mut Values<'_>) -> token_cache::Settings {
    token_cache::Settings {
        verified: v.number("cache.token_max_entries", None),
        refused: v.number("cache.refused_token_max_entries", None),
    }
}

/// The headers that name callers are stripped where tokens name them, too.
fn stripped(identity_headers: Vec<HeaderName>, identity: &Provider) -> StrippedAttributes {
    let mut stripped = StrippedAttributes { headers: identity_headers, cookies: Vec::new() };
    if let Provider::Oidc(_, sources) = identity {
        stripped.headers.extend(sources.headers.iter().cloned());
        stripped.cookies.clone_from(&sources.cookies);
    }
    stripped
}

/// What rules look at is kept of the caller's claims.
fn keep_claims(v: &mut Values<'_>, provider: &mut Provider, names: Vec<String>) {
    match provider {
        Provider::Oidc(issuers, _) => {
            for (_, issuer) in issuers {
                issuer.token.claims.kept.clone_from(&names);
            }
        }
        Provider::Headers(headers) => match &mut headers.metadata {
            Some(metadata) => metadata.claims.kept = names,
            None if names.is_empty() => {}
            None => v.problem("policy.allow", "headers carry no claims: use groups"),
        },
    }
}

/// http(s), without a user part, which would end in logs.
fn url(v: &mut Values<'_>, path: &'static str, text: &str) -> Option<Url> {
    let Ok(url) = Url::parse(text) else {
        v.problem(path, "must be an http or https URL");
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        v.problem(path, "must be an http or https URL");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        v.problem(path, "must not hold a user name or password");
        v.hide(path);
        return None;
    }
    if url.scheme() == "http" && !outbound::loopback(&url) {
        v.warning(path, "http without TLS: whoever is on the way can read and change what is sent");
    }
    Some(url)
}

/// How many processors this process may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// `default` is for what the table of keys can only describe.
fn at_least_one(v: &mut Values<'_>, path: &'static str, default: Option<usize>) -> usize {
    let number = v.number(path, default);
    if number == 0 {
        v.problem(path, "must be at least 1");
    }
    number
}

fn roles(v: &mut Values<'_>) -> roles::Settings {
    let default_roles = v.list("default_roles");
    let group_mappings = v.mapping("group_mappings");
    let denied = v.list("denied_roles");
    for role in default_roles.iter().filter(|role| denied.contains(role)) {
        v.problem("default_roles", format!("the role {role} is in denied_roles"));
    }
    for (group, roles) in &group_mappings {
        for role in roles.iter().filter(|role| denied.contains(role)) {
            v.problem(
                "group_mappings",
                format!("the group {group} would get the role {role}, which is in denied_roles"),
            );
        }
    }
    let superuser = |roles: &Vec<String>| roles.iter().any(|role| role == "superuser");
    if superuser(&default_roles) {
        v.warnings.push("default_roles: everybody who can log in becomes superuser".into());
    }
    for (group, _) in group_mappings.iter().filter(|(_, roles)| superuser(roles)) {
        v.warnings.push(format!("group_mappings: the group {group} becomes superuser"));
    }
    roles::Settings { default_roles, group_mappings, allow_no_roles: v.boolean("allow_no_roles") }
}

/// `:5000` means every address, as in Go.
fn address(v: &mut Values<'_>, path: &'static str) -> SocketAddr {
    let text = v.setting(path).replace("localhost:", "127.0.0.1:");
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text };
    full.parse().unwrap_or_else(|_| {
        v.problem(path, "must be address:port, such as 127.0.0.1:5000");
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn logs(v: &mut Values<'_>) -> telemetry::Settings {
    let level = match v.setting("log_level").to_lowercase().as_str() {
        "warning" => Level::WARN,
        other => other.parse().unwrap_or_else(|_| {
            v.problem("log_level", "must be error, warn, info, debug or trace");
            Level::INFO
        }),
    };
    let format = match v.setting("log_format").as_str() {
        "json" => telemetry::Format::Json,
        "text" => telemetry::Format::Text,
        _ => {
            v.problem("log_format", "must be json or text");
            telemetry::Format::Json
        }
    };
    telemetry::Settings { level, format }
}

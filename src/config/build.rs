//! Values to settings, section by section.

use std::net::SocketAddr;
use std::thread::available_parallelism;

use base64::Engine as _;
use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use url::{Host, Url};

use super::values::Values;
use super::{Cache, Settings};
use crate::credentials::{self, seal};
use crate::identity::{algorithm, claims, keyring, token};
use crate::{elastic, envoy, http, memory, oidc, redis, roles, telemetry};

pub(super) fn settings(v: &mut Values<'_>) -> Settings {
    if v.text_or("auth_provider", "oidc") != "oidc" {
        v.problem("auth_provider", "only oidc is available in this version");
    }
    for unused in ["oidc.use_pkce", "oidc.authorization_endpoint", "oidc.token_endpoint"] {
        v.text(unused);
    }
    v.secret("oidc.client_secret");
    v.list("oidc.scopes");
    let (provider, token) = provider(v);
    let keyring = keyring::Settings {
        refresh: v.duration("oidc.keys_refresh", "5m"),
        max_stale: v.duration("oidc.keys_max_stale", "24h"),
        cooldown: v.duration("oidc.keys_cooldown", "10s"),
    };
    let cluster = v.text_or("cluster", "default");
    let elasticsearch = elasticsearch(v, &cluster);
    let cache = cache(v);
    let key = key(v, &cache, &elasticsearch.password);
    let credentials = credentials::Settings {
        expiration: v.duration("cache.expiration", "1h"),
        extend: v.boolean("extend_cache"),
        write_timeout: elasticsearch.write_timeout,
    };
    let http = http::Settings { listen: address(v, "listen", "127.0.0.1:5000") };
    Settings {
        http,
        grpc: grpc(v),
        logs: logs(v),
        provider,
        token,
        keyring,
        roles: roles(v),
        credentials,
        seal: seal::Settings { key, cluster },
        cache,
        elasticsearch,
    }
}

fn provider(v: &mut Values<'_>) -> (oidc::Settings, token::Settings) {
    let issuer = v.required("oidc.issuer");
    if !issuer.is_empty() {
        url(v, "oidc.issuer", &issuer);
    }
    match v.text_or("oidc.token_validation", "jwks").as_str() {
        "jwks" => {}
        "both" => v.warnings.push("oidc.token_validation: both: userinfo is not asked in this version".into()),
        "userinfo" => v.problem("oidc.token_validation", "userinfo is not available in this version; use jwks"),
        _ => v.problem("oidc.token_validation", "must be jwks or both"),
    }
    v.text("oidc.userinfo_endpoint");
    let client_id = v.text("oidc.client_id");
    let mut audiences = v.list("oidc.audience");
    if audiences.is_empty() {
        audiences.extend(client_id);
    }
    if audiences.is_empty() {
        v.problem("oidc.client_id", "is required, or oidc.audience: a token for another service must not pass");
    }
    let jwks_uri = v.text("oidc.jwks_uri").and_then(|text| url(v, "oidc.jwks_uri", &text));
    let claims = claims::Settings {
        username: v.text_or("oidc.claim_mappings.username", "preferred_username"),
        email: v.text_or("oidc.claim_mappings.email", "email"),
        groups: v.text_or("oidc.claim_mappings.groups", "groups"),
        full_name: v.text_or("oidc.claim_mappings.full_name", "name"),
    };
    let provider = oidc::Settings {
        issuer: issuer.clone(),
        jwks_uri,
        timeout: v.duration("oidc.timeout", "3s"),
        ca_file: v.text("oidc.ca_file").map(Into::into),
    };
    let (algorithms, leeway) = (algorithms(v), v.duration("oidc.leeway", "60s"));
    (provider, token::Settings { issuer, audiences, algorithms, leeway, claims })
}

fn algorithms(v: &mut Values<'_>) -> Vec<Algorithm> {
    let names = v.list("oidc.algorithms");
    if names.is_empty() {
        return algorithm::SUPPORTED.to_vec();
    }
    let mut algorithms = Vec::new();
    for name in names {
        match name.parse().ok().filter(|algorithm| algorithm::SUPPORTED.contains(algorithm)) {
            Some(algorithm) => algorithms.push(algorithm),
            None => v.problem("oidc.algorithms", format!("{name} is not supported, or not safe here")),
        }
    }
    algorithms
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
        v.effective.retain(|(shown, _)| *shown != path);
        return None;
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "http" && !loopback {
        v.warnings.push(format!("{path}: http without TLS: whoever is on the way can read and change what is sent"));
    }
    Some(url)
}

fn elasticsearch(v: &mut Values<'_>, cluster: &str) -> elastic::Settings {
    let texts = v.list("elasticsearch.hosts");
    if texts.is_empty() {
        v.problem("elasticsearch.hosts", "is required; set it in the file or as ELASTICSEARCH_HOSTS");
    }
    let hosts = texts.iter().filter_map(|text| url(v, "elasticsearch.hosts", text)).collect();
    let username = v.required("elasticsearch.username");
    let password = v.secret("elasticsearch.password").unwrap_or_else(|| {
        v.problem("elasticsearch.password", "is required; ELASTICSEARCH_PASSWORD or ELASTICSEARCH_PASSWORD_FILE");
        SecretString::default()
    });
    elastic::Settings {
        hosts,
        username,
        password,
        ca_file: v.text("elasticsearch.ca_file").map(Into::into),
        timeout: v.duration("elasticsearch.timeout", "2s"),
        write_timeout: v.duration("elasticsearch.write_timeout", "5s"),
        max_writes: at_least_one(v, "elasticsearch.max_writes", 4),
        dry_run: v.boolean("elasticsearch.dry_run"),
        cluster: cluster.to_owned(),
    }
}

fn at_least_one(v: &mut Values<'_>, path: &'static str, default: usize) -> usize {
    let number = v.parsed(path, default, "a whole number");
    if number == 0 {
        v.problem(path, "must be at least 1");
    }
    number
}

fn cache(v: &mut Values<'_>) -> Cache {
    let kind = v.text_or("cache.type", "");
    v.text("cache.path");
    match kind.as_str() {
        "redis" => Cache::Redis(redis(v)),
        "" | "memory" => {
            Cache::Memory(memory::Settings { max_entries: at_least_one(v, "cache.memory_max_entries", 100_000) })
        }
        "file" => {
            v.problem("cache.type", "file is not available in this version; use redis or memory");
            Cache::Memory(memory::Settings { max_entries: 1 })
        }
        _ => {
            v.problem("cache.type", "must be redis or memory");
            Cache::Memory(memory::Settings { max_entries: 1 })
        }
    }
}

fn redis(v: &mut Values<'_>) -> redis::Settings {
    let text = v.text_or("cache.redis_host", "localhost:6379");
    let (host, port) = match text.rsplit_once(':') {
        // an IPv6 address without brackets has no port
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (text.as_str(), Some(6379)),
    };
    let port = port.unwrap_or_else(|| {
        v.problem("cache.redis_host", "must be host:port");
        0
    });
    let cpus = available_parallelism().map_or(1, std::num::NonZero::get);
    redis::Settings {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
        db: v.parsed("cache.redis_db", 0, "a whole number"),
        username: v.text("cache.redis_username"),
        password: v.secret("cache.redis_password"),
        connect_timeout: v.duration("cache.redis_connect_timeout", "5s"),
        command_timeout: v.duration("cache.redis_command_timeout", "250ms"),
        pool_size: at_least_one(v, "cache.redis_pool_size", 10 * cpus),
    }
}

/// Without a `secret_key`, replicas still need the same key; one process alone may roll dice.
fn key(v: &mut Values<'_>, cache: &Cache, password: &SecretString) -> seal::Key {
    if let Some(text) = v.secret("secret_key") {
        let bytes = decode_key(text.expose_secret());
        if bytes.is_none() {
            v.problem("secret_key", "must be 64 hex digits or base64 of 32 bytes; `elastauth generate-key` makes one");
        }
        return seal::Key::Given(SecretBox::new(Box::new(bytes.unwrap_or_default())));
    }
    if let Cache::Redis(_) = cache {
        v.warnings.push("secret_key is not set: records are sealed with a key made from elasticsearch.password".into());
        return seal::Key::Derived(password.clone());
    }
    let mut bytes = [0_u8; 32];
    if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).is_err() {
        v.problem("secret_key", "is required: the operating system gives no randomness");
    }
    seal::Key::Given(SecretBox::new(Box::new(bytes)))
}

fn decode_key(text: &str) -> Option<[u8; 32]> {
    let hex = || {
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        Some(digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
    };
    let bytes: Vec<u8> = if text.len() == 64 { hex()? } else { base64_any(text)? };
    bytes.try_into().ok()
}

fn base64_any(text: &str) -> Option<Vec<u8>> {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}

fn roles(v: &mut Values<'_>) -> roles::Settings {
    let default_roles = v.list("default_roles");
    let group_mappings = v.mapping("group_mappings");
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
fn address(v: &mut Values<'_>, path: &'static str, default: &str) -> SocketAddr {
    let text = v.text_or(path, default).replace("localhost:", "127.0.0.1:");
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text };
    full.parse().unwrap_or_else(|_| {
        v.problem(path, "must be address:port, such as 127.0.0.1:5000");
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn grpc(v: &mut Values<'_>) -> envoy::Settings {
    const PATH: &str = "grpc.listen";
    let allow_insecure = v.boolean("grpc.allow_insecure");
    let text = v.text_or(PATH, "127.0.0.1:9001");
    v.effective.retain(|(path, _)| *path != PATH);
    let listen = match text.strip_prefix("unix:") {
        Some(path) => envoy::Listen::Unix(path.into()),
        None => envoy::Listen::Tcp(address(v, PATH, "127.0.0.1:9001")),
    };
    if let envoy::Listen::Tcp(address) = listen
        && !address.ip().is_loopback()
    {
        if allow_insecure {
            v.warnings.push(format!("{PATH}: whoever reaches {address} can ask for passwords"));
        } else {
            v.problem(PATH, "beyond loopback, whoever reaches the port can ask for passwords: set grpc.allow_insecure if the network keeps others out");
        }
    }
    envoy::Settings {
        listen,
        allow_insecure,
        reflection: v.boolean("grpc.reflection"),
        max_message_size: at_least_one(v, "grpc.max_message_size", 4 * 1024 * 1024),
        deadline: v.duration("grpc.deadline", "3s"),
        max_in_flight: at_least_one(v, "grpc.max_in_flight", 4096),
    }
}

fn logs(v: &mut Values<'_>) -> telemetry::Settings {
    v.text("enable_metrics");
    let level = match v.text_or("log_level", "info").to_lowercase().as_str() {
        "warning" => tracing::Level::WARN,
        other => other.parse().unwrap_or_else(|_| {
            v.problem("log_level", "must be error, warn, info, debug or trace");
            tracing::Level::INFO
        }),
    };
    let format = match v.text_or("log_format", "json").as_str() {
        "json" => telemetry::Format::Json,
        "text" => telemetry::Format::Text,
        _ => {
            v.problem("log_format", "must be json or text");
            telemetry::Format::Json
        }
    };
    telemetry::Settings { level, format }
}

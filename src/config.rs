//! Raw YAML and environment to valid settings.

use crate::{credentials, elastic, envoy, http, identity, memory, oidc, redis, roles, telemetry};

/// Everything, valid.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `listen`
    pub http: http::Settings,
    /// `grpc.*`
    pub grpc: envoy::Settings,
    /// `log_*`
    pub logs: telemetry::Settings,
    /// `oidc.*`: the network side.
    pub provider: oidc::Settings,
    /// `oidc.*`: what a token must be.
    pub token: identity::token::Settings,
    /// `oidc.keys_*`
    pub keyring: identity::keyring::Settings,
    /// `default_roles`, `group_mappings`
    pub roles: roles::Settings,
    /// `cache.*`, `extend_cache`
    pub credentials: credentials::Settings,
    /// `secret_key`, `cluster`
    pub seal: credentials::seal::Settings,
    /// `cache.type`
    pub cache: Cache,
    /// `elasticsearch.*`
    pub elasticsearch: elastic::Settings,
}

/// Which store.
#[derive(Clone, Debug)]
pub enum Cache {
    /// `cache.type: ""` or `memory`
    Memory(memory::Settings),
    /// `cache.type: redis`
    Redis(redis::Settings),
}

//! Values that are one of a few names.

use crate::elastic::Refresh;
use crate::flavor::Flavor;
use crate::identity::claims::Case;
use crate::identity::issuer::Validation;
use crate::oidc::ClientAuthMethod;
use crate::opensearch::RoleField;
use crate::redis::Mode;
use crate::telemetry::Format;

/// A type with a name for each of its values.
pub(crate) trait Choice: Copy + 'static {
    /// In the order in which an error lists them. The first one stands in for a name that is none, with which nothing starts. An
    /// empty name is accepted and not listed.
    const NAMES: &'static [(&'static str, Self)];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The names for an error to list.
    fn listed() -> Vec<&'static str> {
        Self::NAMES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect()
    }
}

/// `auth_provider`: what names the caller.
#[derive(Clone, Copy)]
pub(crate) enum ProviderKind {
    Oidc,
    Authelia,
}

impl Choice for ProviderKind {
    const NAMES: &'static [(&'static str, Self)] = &[("oidc", Self::Oidc), ("authelia", Self::Authelia)];
}

/// `cache.type`: where credentials are stored.
#[derive(Clone, Copy)]
pub(crate) enum CacheKind {
    Redis,
    File,
    Memory,
}

/// Memory is first, and stands in for a misspelt type: it reads no keys of Redis, the problems of which would be reported, too.
impl Choice for CacheKind {
    const NAMES: &'static [(&'static str, Self)] =
        &[("", Self::Memory), ("redis", Self::Redis), ("file", Self::File), ("memory", Self::Memory)];
}

/// `policy.preflight`: what becomes of CORS preflight requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preflight {
    Deny,
    Allow,
}

impl Choice for Preflight {
    const NAMES: &'static [(&'static str, Self)] = &[("deny", Self::Deny), ("allow", Self::Allow)];
}

/// `elasticsearch.opensearch_hash`: which of the two hashes passwords.
#[derive(Clone, Copy)]
pub(crate) enum HashPlace {
    Here,
    OpenSearch,
}

impl Choice for HashPlace {
    const NAMES: &'static [(&'static str, Self)] = &[("here", Self::Here), ("opensearch", Self::OpenSearch)];
}

impl Choice for Case {
    const NAMES: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("lower", Self::Lower)];
}

impl Choice for Validation {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("jwks", Self::Jwks),
        ("both", Self::Both),
        ("userinfo", Self::Userinfo),
        ("introspection", Self::Introspection),
    ];
}

impl Choice for ClientAuthMethod {
    const NAMES: &'static [(&'static str, Self)] =
        &[("client_secret_basic", Self::Basic), ("client_secret_post", Self::Post)];
}

impl Choice for Mode {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("single", Self::Single), ("sentinel", Self::Sentinel), ("cluster", Self::Cluster)];
}

/// None is found out by asking the server.
impl Choice for Option<Flavor> {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", None), ("elasticsearch", Some(Flavor::Elasticsearch)), ("opensearch", Some(Flavor::OpenSearch))];
}

impl Choice for RoleField {
    const NAMES: &'static [(&'static str, Self)] =
        &[("backend_roles", Self::Backend), ("security_roles", Self::Security)];
}

impl Choice for Refresh {
    const NAMES: &'static [(&'static str, Self)] =
        &[("false", Self::False), ("true", Self::True), ("wait_for", Self::WaitFor)];
}

impl Choice for Format {
    const NAMES: &'static [(&'static str, Self)] = &[("json", Self::Json), ("text", Self::Text)];
}

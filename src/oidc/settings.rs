//! What has to be known of a provider before it can be asked, and what can be wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::client_auth::{Client, ClientAuthMethod};
use crate::outbound;

/// `oidc.*`, as far as the network is concerned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer as configured, to be compared exactly.
    pub issuer: String,
    /// `oidc.jwks_uri`: need not be discovered.
    pub jwks_uri: Option<Url>,
    /// `oidc.userinfo_endpoint`: need not be discovered.
    pub userinfo_endpoint: Option<Url>,
    /// `oidc.introspection_endpoint`: need not be discovered.
    pub introspection_endpoint: Option<Url>,
    /// `oidc.authorization_endpoint`, for logins: need not be discovered.
    pub authorization_endpoint: Option<Url>,
    /// `oidc.token_endpoint`, for logins: need not be discovered.
    pub token_endpoint: Option<Url>,
    /// `oidc.end_session_endpoint`, for logouts: need not be discovered.
    pub end_session_endpoint: Option<Url>,
    /// `oidc.client_id` and `oidc.client_secret`, for introspection and logins.
    pub client: Option<Client>,
    /// `oidc.client_auth_method`. None: `client_secret_basic`, unless the provider announces `client_secret_post` and not that.
    pub client_auth: Option<ClientAuthMethod>,
    /// Time-out of one request. Default 3 s.
    pub timeout: Duration,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why the settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `OpenID` Connect Discovery §3: an http(s) URL without query and fragment.
    #[error("the issuer is not an http or https URL without query and fragment")]
    Issuer,
    /// An address, by the rule of [`OidcProvider`](super::OidcProvider).
    #[error("the address {address} is neither https, as the issuer is, nor on this machine")]
    Insecure {
        /// The key of the configuration that has it.
        key: &'static str,
        /// The address, without what may be secret in it.
        address: String,
    },
    /// `ca_file`, or the client as such.
    #[error(transparent)]
    Client(#[from] outbound::Error),
}

impl Error {
    /// The key of the configuration that is to be changed.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Issuer => "oidc.issuer",
            Self::Insecure { key, .. } => key,
            Self::Client(_) => "oidc.ca_file",
        }
    }
}

//! The OpenID provider over HTTP: discovery and the key set.

use std::time::Duration;

use url::Url;

/// `oidc.*`, as far as the network is concerned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer as configured, to be compared exactly.
    pub issuer: String,
    /// `oidc.jwks_uri`: skips discovery.
    pub jwks_uri: Option<Url>,
    /// Time-out of one request. Default 3 s.
    pub timeout: Duration,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<std::path::PathBuf>,
}

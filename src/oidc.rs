//! The OpenID provider over HTTP: discovery, the key set, and answers about tokens.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use crate::identity::{Answer, KeySource, KeySourceError, Question};
use crate::outbound::{self, shown};

mod endpoints;
mod questions;
mod reply;

use endpoints::{Endpoint, Endpoints};
use reply::{Expected, Reply};

/// Above this an answer is given up. Key sets and claims are a few KiB.
const MAX_BYTES: usize = 1024 * 1024;

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
    /// `oidc.client_id` and `oidc.client_secret`, for introspection.
    pub client: Option<(String, SecretString)>,
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
    /// An address, by the rule of [`OidcProvider`].
    #[error("the address {address} is neither https, as the issuer is, nor on this machine")]
    Insecure {
        /// Its key.
        key: &'static str,
        /// Which.
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

/// Says what [`OidcProvider::new`] would say of the addresses and of `ca_file`.
pub fn check(settings: &Settings) -> Result<(), Error> {
    Endpoints::new(settings)?;
    outbound::check(&outbound::Tls::trusting(settings.ca_file.as_deref()))?;
    Ok(())
}

/// One provider, its addresses found by `OpenID` Connect Discovery 1.0 or configured.
///
/// They must be https, unless the issuer is plain http itself or the address is a loopback one. Redirects are not followed: they
/// could lead where that rule no longer holds, and take the token or the secret along.
#[derive(Debug)]
pub struct OidcProvider {
    client: Client,
    endpoints: Endpoints,
    secret: Option<(String, SecretString)>,
}

impl OidcProvider {
    /// Checks the settings, reads `ca_file`, and asks nobody yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let Settings { timeout, ca_file, client: secret, .. } = &settings;
        let endpoints = Endpoints::new(&settings)?;
        let client = outbound::client(ca_file.as_deref(), endpoints.known())?;
        let client = client.timeout(*timeout).connect_timeout(*timeout).build().map_err(outbound::Error::from)?;
        Ok(Self { client, endpoints, secret: secret.clone() })
    }

    async fn get(&self, url: &Url, expected: Expected) -> Result<Vec<u8>, KeySourceError> {
        let response =
            self.client.get(url.clone()).send().await.map_err(|error| failed(url, outbound::chain(error)))?;
        Reply::read(url, response).await?.document(url, expected)
    }

    /// Where the endpoint is. If it cannot be used, [`Endpoints::forget`] is to be told.
    async fn locate(&self, endpoint: Endpoint) -> Result<Url, KeySourceError> {
        let known = self.endpoints.find(endpoint);
        let found = if let Some(found) = known {
            found
        } else {
            let body = self.get(self.endpoints.discovery(), Expected::Discovery).await?;
            self.endpoints.discovered(&body)?;
            self.endpoints.find(endpoint).unwrap_or_else(|| Err(KeySourceError("discovery was overtaken".into())))
        };
        if found.is_err() {
            // the provider may mend its document
            self.endpoints.forget();
        }
        found
    }
}

impl KeySource for OidcProvider {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        let url = self.locate(Endpoint::Keys).await?;
        let keys = self.get(&url, Expected::KeySet).await;
        if keys.is_err() {
            // the provider may have moved its keys: ask where they are next time
            self.endpoints.forget();
        }
        keys
    }

    async fn ask(&self, question: Question, token: &str) -> Result<Answer, KeySourceError> {
        match question {
            Question::Userinfo => self.userinfo(token).await,
            Question::Introspection => self.introspect(token).await,
        }
    }
}

fn failed(url: &Url, why: impl std::fmt::Display) -> KeySourceError {
    KeySourceError(format!("{}: {why}", shown(url)))
}

#[cfg(test)]
mod tests;

//! The OpenID provider over HTTP: discovery and the key set.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::identity::{KeySource, KeySourceError};
use crate::outbound::{self, loopback, shown};

/// Above this an answer is given up. Key sets are a few KiB.
const MAX_BYTES: usize = 1024 * 1024;

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
    pub ca_file: Option<PathBuf>,
}

/// Why the settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `OpenID` Connect Discovery §3: an http(s) URL without query and fragment.
    #[error("the issuer is not an http or https URL without query and fragment")]
    Issuer,
    /// The key set's address, by the rule of [`OidcKeys`].
    #[error("the key set's address {0} is neither https nor on this machine")]
    Insecure(String),
    /// `ca_file`, or the client as such.
    #[error(transparent)]
    Client(#[from] outbound::Error),
}

/// The key set of one provider, found by `OpenID` Connect Discovery 1.0 or configured.
///
/// The set must come over https, unless the issuer is plain http itself or the set is on a loopback address.
/// Redirects are not followed: they could lead where that rule no longer holds.
#[derive(Debug)]
pub struct OidcKeys {
    client: Client,
    issuer: String,
    discovery: Url,
    configured: Option<Url>,
    /// Kept while it works.
    discovered: Mutex<Option<Url>>,
}

/// `OpenID` Connect Discovery §3, what is needed of it.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl OidcKeys {
    /// Checks the settings, reads `ca_file`, and asks nobody yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let Settings { issuer, jwks_uri, timeout, ca_file } = settings;
        // §4: a terminating slash is removed before the well-known path is appended
        let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery = Url::parse(&discovery).map_err(|_| Error::Issuer)?;
        let plain = matches!(discovery.scheme(), "http" | "https") && !issuer.contains(['?', '#']);
        if !plain || !discovery.has_host() {
            return Err(Error::Issuer);
        }
        if let Some(uri) = jwks_uri.as_ref().filter(|uri| !secure(uri, &discovery)) {
            return Err(Error::Insecure(shown(uri)));
        }

        let client = outbound::client(ca_file.as_deref(), [jwks_uri.as_ref().unwrap_or(&discovery)])?;
        let client = client.timeout(timeout).connect_timeout(timeout).build().map_err(outbound::Error::from)?;
        Ok(Self { client, issuer, discovery, configured: jwks_uri, discovered: Mutex::default() })
    }

    async fn discover(&self) -> Result<Url, KeySourceError> {
        let body = self.get(&self.discovery).await?;
        let nonsense = |why: &str| KeySourceError(format!("{}: {why}", shown(&self.discovery)));
        let document: Document =
            serde_json::from_slice(&body).map_err(|_| nonsense("not a document with issuer and jwks_uri"))?;
        // §4.3: exactly, or keys of one issuer would vouch for another
        if document.issuer != self.issuer {
            return Err(nonsense("the issuer in the document is not the configured one"));
        }
        let uri = Url::parse(&document.jwks_uri).map_err(|_| nonsense("the jwks_uri is not a URL"))?;
        if !secure(&uri, &self.discovery) {
            return Err(nonsense("the jwks_uri is neither https nor on this machine"));
        }
        Ok(uri)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, KeySourceError> {
        let failed = |why: String| KeySourceError(format!("{}: {why}", shown(url)));
        let response = self.client.get(url.clone()).send().await.map_err(|error| failed(outbound::chain(error)))?;
        if response.status() != StatusCode::OK {
            return Err(failed(format!("answered {}", response.status())));
        }
        outbound::body(response, MAX_BYTES).await.map_err(|error| failed(error.to_string()))
    }

    fn remember(&self, uri: Option<Url>) {
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = uri;
    }

    fn remembered(&self) -> Option<Url> {
        self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KeySource for OidcKeys {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        if let Some(uri) = &self.configured {
            return self.get(uri).await;
        }
        let uri = match self.remembered() {
            Some(uri) => uri,
            None => self.discover().await?,
        };
        let keys = self.get(&uri).await;
        // the provider may have moved its keys: ask where they are next time
        self.remember(keys.is_ok().then_some(uri));
        keys
    }
}

fn secure(uri: &Url, issuer: &Url) -> bool {
    match uri.scheme() {
        "https" => true,
        "http" => issuer.scheme() == "http" || loopback(uri),
        _ => false,
    }
}

#[cfg(test)]
mod tests;

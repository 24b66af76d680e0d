//! The OpenID provider over HTTP: discovery (OpenID Connect Discovery 1.0 §4) and the key set.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, redirect};
use serde::Deserialize;
use url::{Host, Url};

use crate::identity::{KeySource, KeySourceError};

/// Documents are a few kilobytes.
const MAX_DOCUMENT: usize = 1024 * 1024;

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

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS or HTTP settings.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// `oidc.ca_file`
    #[error("{0}")]
    CaFile(String),
}

/// The provider's keys.
pub struct OidcKeys {
    http: Client,
    settings: Settings,
    discovered: Mutex<Option<Url>>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

impl OidcKeys {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // ring for the whole process; an error means that it is there already
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = Client::builder()
            // another host must not get to name the keys
            .redirect(redirect::Policy::none())
            .timeout(settings.timeout)
            .user_agent(concat!("elastauth/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(|e| Error::CaFile(format!("{}: {e}", path.display())))?;
            http = http.tls_certs_only(Certificate::from_pem_bundle(&pem)?);
        }
        Ok(Self { http: http.build()?, settings, discovered: Mutex::default() })
    }

    fn remember(&self, url: Option<Url>) {
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    async fn jwks_uri(&self) -> Result<Url, KeySourceError> {
        if let Some(url) = &self.settings.jwks_uri {
            return Ok(url.clone());
        }
        let known = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(url) = known {
            return Ok(url);
        }
        let issuer = &self.settings.issuer;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|e| KeySourceError(format!("oidc.issuer: {e}")))?;
        let document = self.get(&address).await?;
        let found: Discovery = serde_json::from_slice(&document)
            .map_err(|e| KeySourceError(format!("{}: no discovery document: {e}", shown(&address))))?;
        if found.issuer != *issuer {
            return Err(KeySourceError(format!("{}: the document names another issuer", shown(&address))));
        }
        if !as_safe(&found.jwks_uri, &address) {
            return Err(KeySourceError(format!("{}: its jwks_uri is not https", shown(&address))));
        }
        self.remember(Some(found.jwks_uri.clone()));
        Ok(found.jwks_uri)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, KeySourceError> {
        let failed = |why: String| KeySourceError(format!("{}: {why}", shown(url)));
        let lost = |error: reqwest::Error| failed(chain(&error.without_url()));
        let mut response = self.http.get(url.clone()).send().await.map_err(lost)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(failed(format!("answered {}", response.status().as_u16())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_DOCUMENT {
                return Err(failed("answered more than 1 MiB".into()));
            }
            body.extend(chunk);
        }
        Ok(body)
    }
}

impl KeySource for OidcKeys {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        let url = self.jwks_uri().await?;
        let document = self.get(&url).await;
        if document.is_err() {
            // the provider may have moved its keys
            self.remember(None);
        }
        document
    }
}

/// Keys come by https, or as the discovery document came, or from this machine.
fn as_safe(url: &Url, document: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || loopback || (url.scheme() == "http" && document.scheme() == "http")
}

/// Without user part and query.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

//! The OpenID provider over HTTP: discovery, the key set, answers about tokens, and the tokens of logins.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::identity::{Answer, KeySource, KeySourceError, Question};
use crate::outbound;

mod client_auth;
mod endpoints;
mod questions;
mod reply;
mod settings;
mod tokens;

pub use client_auth::{Client, ClientAuthMethod};
use endpoints::{Endpoint, Endpoints};
use reply::{Expected, Reply, failed};
pub use settings::{Error, Settings};

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
    http: reqwest::Client,
    endpoints: Endpoints,
    client: Option<Client>,
    /// As configured; else as the provider announces it.
    client_auth: Option<ClientAuthMethod>,
    timeout: Duration,
    /// When discovery for a login last failed, and why. Held while one runs, so that of many logins that begin at once one
    /// discovers.
    discovering: Mutex<Option<(Instant, String)>>,
}

impl OidcProvider {
    /// Checks the settings and reads `ca_file`. Nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let endpoints = Endpoints::new(&settings)?;
        let Settings { timeout, ca_file, client, client_auth, .. } = settings;
        let http = outbound::client(ca_file.as_deref(), endpoints.known())?;
        // shorter, so that a machine that does not answer at all is told from a request that may have arrived
        let http = http.timeout(timeout).connect_timeout(timeout * 3 / 4).build().map_err(outbound::Error::from)?;
        Ok(Self { http, endpoints, client, client_auth, timeout, discovering: Mutex::default() })
    }

    /// How the client shows its secret at an endpoint.
    fn client_auth(&self, endpoint: Endpoint) -> ClientAuthMethod {
        self.client_auth.unwrap_or_else(|| self.endpoints.announced_client_auth(endpoint))
    }

    /// Passes an answer on. An address that is not there is discovered anew next time. A failure at one token says nothing about
    /// the address.
    fn note(&self, response: reqwest::Result<reqwest::Response>) -> reqwest::Result<reqwest::Response> {
        let gone = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
        if response.as_ref().map_or(true, |response| gone.contains(&response.status())) {
            self.endpoints.forget();
        }
        response
    }

    async fn get(&self, url: &Url, expected: Expected) -> Result<Vec<u8>, KeySourceError> {
        let response = self.http.get(url.clone()).send().await.map_err(|error| failed(url, outbound::chain(error)))?;
        Reply::read(url, response).await?.document(url, expected)
    }

    async fn discover(&self) -> Result<(), KeySourceError> {
        let body = self.get(self.endpoints.discovery(), Expected::Discovery).await?;
        self.endpoints.discovered(&body)
    }

    /// Where the endpoint is. If it cannot be used, [`Endpoints::forget`] is to be told.
    async fn locate(&self, endpoint: Endpoint) -> Result<Url, KeySourceError> {
        let known = self.endpoints.find(endpoint);
        let found = if let Some(found) = known {
            found
        } else {
            self.discover().await?;
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

#[cfg(test)]
mod tests;

//! The OpenID provider over HTTP: discovery, the key set, and answers about tokens.

use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use crate::identity::{Answer, KeySource, KeySourceError, Question};
use crate::outbound;

mod endpoints;
mod questions;
mod reply;
mod settings;

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
    client: Client,
    endpoints: Endpoints,
    secret: Option<(String, SecretString)>,
}

impl OidcProvider {
    /// Checks the settings and reads `ca_file`. Nothing is sent yet.
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

#[cfg(test)]
mod tests;

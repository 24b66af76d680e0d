//! Where a provider answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::reply::failed;
use super::settings::{Error, Settings};
use crate::identity::KeySourceError;
use crate::outbound::{loopback, shown};

/// What a provider can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The key set (RFC 7517 §5).
    Keys,
    /// The userinfo endpoint (`OpenID` Connect Core §5.3).
    Userinfo,
    /// Token introspection (RFC 7662).
    Introspection,
}

/// One address per endpoint, where it is known.
#[derive(Debug, Default)]
struct Addresses {
    keys: Option<Url>,
    userinfo: Option<Url>,
    introspection: Option<Url>,
}

impl Addresses {
    fn of(&self, endpoint: Endpoint) -> Option<&Url> {
        match endpoint {
            Endpoint::Keys => self.keys.as_ref(),
            Endpoint::Userinfo => self.userinfo.as_ref(),
            Endpoint::Introspection => self.introspection.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Url> {
        [&self.keys, &self.userinfo, &self.introspection].into_iter().flatten()
    }
}

/// `OpenID` Connect Discovery §3 and RFC 8414 §2, what is needed of them. The rest is looked at only where it is needed:
/// documents have `""` or `TBD` for endpoints that a provider does not have.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    #[serde(default)]
    jwks_uri: Value,
    #[serde(default)]
    userinfo_endpoint: Value,
    #[serde(default)]
    introspection_endpoint: Value,
    #[serde(default)]
    introspection_endpoint_auth_methods_supported: Value,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Value,
}

impl Document {
    fn address(&self, endpoint: Endpoint) -> (&Value, &'static str) {
        match endpoint {
            Endpoint::Keys => (&self.jwks_uri, "jwks_uri"),
            Endpoint::Userinfo => (&self.userinfo_endpoint, "userinfo_endpoint"),
            Endpoint::Introspection => (&self.introspection_endpoint, "introspection_endpoint"),
        }
    }

    /// Whether clients show their secret in the form and not in a header. Where nothing is said of introspection, the provider
    /// does as at its token endpoint; where nothing is said at all, `client_secret_basic` is what every provider has to take
    /// (RFC 6749 §2.3.1).
    fn secret_in_the_body(&self) -> bool {
        let of_its_own = self.introspection_endpoint_auth_methods_supported.as_array();
        let methods = of_its_own.or_else(|| self.token_endpoint_auth_methods_supported.as_array());
        let takes = |method: &str| methods.is_some_and(|methods| methods.iter().any(|one| one == method));
        takes("client_secret_post") && !takes("client_secret_basic")
    }
}

/// The addresses of one provider.
#[derive(Debug)]
pub(super) struct Endpoints {
    issuer: String,
    discovery: Url,
    configured: Addresses,
    /// Kept while it works.
    discovered: ArcSwapOption<Document>,
    /// What the last document said of it: it outlives the document, which another question may have dropped meanwhile.
    secret_in_the_body: AtomicBool,
}

impl Endpoints {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let issuer = settings.issuer.clone();
        // §4: a terminating slash is removed before the well-known path is appended
        let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery = Url::parse(&discovery).map_err(|_| Error::Issuer)?;
        let plain = matches!(discovery.scheme(), "http" | "https") && !issuer.contains(['?', '#']);
        if !plain || !discovery.has_host() {
            return Err(Error::Issuer);
        }
        let configured = Addresses {
            keys: settings.jwks_uri.clone(),
            userinfo: settings.userinfo_endpoint.clone(),
            introspection: settings.introspection_endpoint.clone(),
        };
        for (key, url) in [
            ("oidc.jwks_uri", &configured.keys),
            ("oidc.userinfo_endpoint", &configured.userinfo),
            ("oidc.introspection_endpoint", &configured.introspection),
        ] {
            if let Some(url) = url.as_ref().filter(|url| !secure(url, &discovery)) {
                return Err(Error::Insecure { key, address: shown(url) });
            }
        }
        Ok(Self {
            issuer,
            discovery,
            configured,
            discovered: ArcSwapOption::empty(),
            secret_in_the_body: AtomicBool::default(),
        })
    }

    /// The addresses that are known before the first request.
    pub(super) fn known(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.discovery).filter(|_| self.configured.keys.is_none()).chain(self.configured.all())
    }

    pub(super) fn discovery(&self) -> &Url {
        &self.discovery
    }

    /// Where the endpoint is; `None` where that has to be discovered first.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<Result<Url, KeySourceError>> {
        if let Some(url) = self.configured.of(endpoint) {
            return Some(Ok(url.clone()));
        }
        let discovered = self.discovered.load();
        let (address, name) = discovered.as_ref()?.address(endpoint);
        Some(self.address(address, name))
    }

    /// Reads the discovery document.
    pub(super) fn discovered(&self, body: &[u8]) -> Result<(), KeySourceError> {
        let document: Document =
            serde_json::from_slice(body).map_err(|_| self.nonsense("not a discovery document with an issuer"))?;
        // §4.3: exactly, or keys of one issuer would vouch for another
        if document.issuer != self.issuer {
            return Err(self.nonsense("the issuer in the document is not the configured one"));
        }
        self.secret_in_the_body.store(document.secret_in_the_body(), Ordering::Relaxed);
        self.discovered.store(Some(Arc::new(document)));
        Ok(())
    }

    /// Whether the client's secret goes into the body of the request: where the provider announces only that.
    pub(super) fn wants_the_secret_in_the_body(&self) -> bool {
        self.secret_in_the_body.load(Ordering::Relaxed)
    }

    /// To be called when an address does not work: the next use discovers them anew.
    pub(super) fn forget(&self) {
        self.discovered.store(None);
    }

    fn address(&self, address: &Value, name: &str) -> Result<Url, KeySourceError> {
        let text = match address {
            Value::Null => "",
            address => address.as_str().ok_or_else(|| self.nonsense(&format!("the {name} is not a text")))?,
        };
        if text.is_empty() {
            return Err(self.nonsense(&format!("the document has no {name}")));
        }
        let url = Url::parse(text).map_err(|_| self.nonsense(&format!("the {name} is not a whole URL")))?;
        if !secure(&url, &self.discovery) {
            return Err(self.nonsense(&format!("the {name} is neither https nor on this machine")));
        }
        Ok(url)
    }

    fn nonsense(&self, why: &str) -> KeySourceError {
        failed(&self.discovery, why)
    }
}

pub(super) fn secure(url: &Url, issuer: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => issuer.scheme() == "http" || loopback(url),
        _ => false,
    }
}

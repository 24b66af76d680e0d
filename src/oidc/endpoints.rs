//! Where a provider answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::client_auth::ClientAuthMethod;
use super::reply::failed;
use super::settings::{Error, Settings};
use crate::identity::KeySourceError;
use crate::login;
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
    /// Where browsers are sent to log in (RFC 6749 §3.1). It is never asked from here.
    Authorization,
    /// Where codes and refresh tokens are redeemed (RFC 6749 §3.2).
    Token,
    /// Where browsers are sent after a logout (`OpenID` Connect RP-Initiated Logout 1.0 §2). It is never asked from here.
    EndSession,
}

impl Endpoint {
    const ALL: [Self; 6] =
        [Self::Keys, Self::Userinfo, Self::Introspection, Self::Authorization, Self::Token, Self::EndSession];

    /// The address in the configuration, with its key.
    fn configured(self, settings: &Settings) -> (Option<&Url>, &'static str) {
        match self {
            Self::Keys => (settings.jwks_uri.as_ref(), "oidc.jwks_uri"),
            Self::Userinfo => (settings.userinfo_endpoint.as_ref(), "oidc.userinfo_endpoint"),
            Self::Introspection => (settings.introspection_endpoint.as_ref(), "oidc.introspection_endpoint"),
            Self::Authorization => (settings.authorization_endpoint.as_ref(), "oidc.authorization_endpoint"),
            Self::Token => (settings.token_endpoint.as_ref(), "oidc.token_endpoint"),
            Self::EndSession => (settings.end_session_endpoint.as_ref(), "oidc.end_session_endpoint"),
        }
    }

    /// Whether requests go there from here, and not from browsers.
    fn is_asked(self) -> bool {
        !matches!(self, Self::Authorization | Self::EndSession)
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
    authorization_endpoint: Value,
    #[serde(default)]
    token_endpoint: Value,
    #[serde(default)]
    end_session_endpoint: Value,
    /// RFC 9207 §3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: Value,
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
            Endpoint::Authorization => (&self.authorization_endpoint, "authorization_endpoint"),
            Endpoint::Token => (&self.token_endpoint, "token_endpoint"),
            Endpoint::EndSession => (&self.end_session_endpoint, "end_session_endpoint"),
        }
    }

    /// Whether clients show their secret in the form and not in a header, at introspection and at the token endpoint. Where
    /// nothing is said of introspection, the provider does as at its token endpoint; where nothing is said at all,
    /// `client_secret_basic` is what every provider has to take (RFC 6749 §2.3.1).
    fn secret_in_the_body(&self) -> [bool; 2] {
        let of_tokens = self.token_endpoint_auth_methods_supported.as_array();
        let of_introspection = self.introspection_endpoint_auth_methods_supported.as_array().or(of_tokens);
        [of_introspection, of_tokens].map(|methods| {
            let takes = |method: &str| methods.is_some_and(|methods| methods.iter().any(|one| one == method));
            takes("client_secret_post") && !takes("client_secret_basic")
        })
    }
}

/// The addresses of one provider.
#[derive(Debug)]
pub(super) struct Endpoints {
    issuer: String,
    discovery: Url,
    configured: Vec<(Endpoint, Url)>,
    /// Kept while it works.
    discovered: ArcSwapOption<Document>,
    /// The last one, also when it does not work any more: people are better sent where the provider was than nowhere.
    latest: ArcSwapOption<Document>,
    /// What the last document said of it, as [`Document::secret_in_the_body`]: it outlives the document, which another question
    /// may have dropped meanwhile.
    secret_in_the_body: [AtomicBool; 2],
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
        let mut configured = Vec::new();
        for endpoint in Endpoint::ALL {
            let (url, key) = endpoint.configured(settings);
            let Some(url) = url else { continue };
            if !secure(url, &discovery) {
                return Err(Error::Insecure { key, address: shown(url) });
            }
            configured.push((endpoint, url.clone()));
        }
        Ok(Self {
            issuer,
            discovery,
            configured,
            discovered: ArcSwapOption::empty(),
            latest: ArcSwapOption::empty(),
            secret_in_the_body: <[AtomicBool; 2]>::default(),
        })
    }

    /// The addresses that are known before the first request.
    pub(super) fn known(&self) -> impl Iterator<Item = &Url> {
        let asked = self.configured.iter().filter(|(endpoint, _)| endpoint.is_asked()).map(|(_, url)| url);
        std::iter::once(&self.discovery).filter(|_| self.configured(Endpoint::Keys).is_none()).chain(asked)
    }

    fn configured(&self, endpoint: Endpoint) -> Option<&Url> {
        self.configured.iter().find(|(one, _)| *one == endpoint).map(|(_, url)| url)
    }

    pub(super) fn discovery(&self) -> &Url {
        &self.discovery
    }

    /// Where the endpoint is; `None` where that has to be discovered first.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<Result<Url, KeySourceError>> {
        self.find_in(self.discovered.load().as_ref(), endpoint)
    }

    fn find_in(&self, document: Option<&Arc<Document>>, endpoint: Endpoint) -> Option<Result<Url, KeySourceError>> {
        if let Some(url) = self.configured(endpoint) {
            return Some(Ok(url.clone()));
        }
        let (address, name) = document?.address(endpoint);
        Some(self.address(address, name))
    }

    /// Where a login sends browsers, as far as it is known, and whether discovery could tell more of it.
    pub(super) fn of_logins(&self) -> (Option<login::Endpoints>, bool) {
        let latest = self.latest.load();
        let find = |endpoint| self.find_in(latest.as_ref(), endpoint).and_then(Result::ok);
        let end_session = find(Endpoint::EndSession);
        let names_itself = latest
            .as_ref()
            .is_some_and(|document| document.authorization_response_iss_parameter_supported == Value::Bool(true));
        let complete = latest.is_some() || self.configured(Endpoint::EndSession).is_some();
        let known = find(Endpoint::Authorization).map(|authorization| login::Endpoints {
            authorization,
            end_session,
            names_itself,
        });
        (known, !complete)
    }

    /// Where browsers log in, by the last document or by the configuration.
    pub(super) fn authorization(&self) -> Result<Url, KeySourceError> {
        let found = self.find_in(self.latest.load().as_ref(), Endpoint::Authorization);
        found.unwrap_or_else(|| Err(self.nonsense("discovery was overtaken")))
    }

    /// Reads the discovery document.
    pub(super) fn discovered(&self, body: &[u8]) -> Result<(), KeySourceError> {
        let document: Document =
            serde_json::from_slice(body).map_err(|_| self.nonsense("not a discovery document with an issuer"))?;
        // §4.3: exactly, or keys of one issuer would vouch for another
        if document.issuer != self.issuer {
            return Err(self.nonsense("the issuer in the document is not the configured one"));
        }
        for (known, announced) in self.secret_in_the_body.iter().zip(document.secret_in_the_body()) {
            known.store(announced, Ordering::Relaxed);
        }
        let document = Arc::new(document);
        self.latest.store(Some(Arc::clone(&document)));
        self.discovered.store(Some(document));
        Ok(())
    }

    /// How clients show their secret at this endpoint: in the body where the provider announces only that.
    pub(super) fn announced_client_auth(&self, endpoint: Endpoint) -> ClientAuthMethod {
        let [of_introspection, of_tokens] = &self.secret_in_the_body;
        let in_the_body = if endpoint == Endpoint::Introspection { of_introspection } else { of_tokens };
        if in_the_body.load(Ordering::Relaxed) { ClientAuthMethod::Post } else { ClientAuthMethod::Basic }
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

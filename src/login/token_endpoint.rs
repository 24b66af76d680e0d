//! The seam to the identity provider, as far as people log in there. Implemented by an edge.

use std::future::Future;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::identity::KeySource;

/// Where the provider's endpoints are, by configuration or by discovery (`OpenID` Connect Discovery §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Where browsers are sent to log in.
    pub authorization: Url,
    /// Where browsers are sent after a logout (`OpenID` Connect RP-Initiated Logout 1.0 §2.1), if the provider has such a place.
    pub end_session: Option<Url>,
    /// Whether the provider announces that it names itself as `iss` in its answers to the callback (RFC 9207 §3).
    pub names_itself: bool,
}

/// What is given to the token endpoint in exchange for tokens.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// The code that a browser brought to the callback (RFC 6749 §4.1.3).
    Code {
        /// The code as the provider gave it.
        code: &'a SecretString,
        /// The redirect URI to which the provider sent the browser.
        redirect_uri: &'a str,
        /// The PKCE verifier (RFC 7636 §4.5); none where `oidc.use_pkce` is off.
        verifier: Option<&'a SecretString>,
    },
    /// A refresh token (RFC 6749 §6).
    Refresh(&'a SecretString),
}

/// The answer of the token endpoint (RFC 6749 §5.1), nothing of it verified.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The ID token; after a refresh a provider may leave it out.
    pub id_token: Option<SecretString>,
    /// The access token.
    pub access_token: SecretString,
    /// The refresh token: the first one, or after a refresh the one that replaces the redeemed one, if it is replaced.
    pub refresh_token: Option<SecretString>,
    /// For how long the access token is valid from now on, where the provider says it.
    pub expires_in: Option<Duration>,
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// The provider answered with an error of OAuth (RFC 6749 §5.2): the same grant will not succeed later.
    #[error("the provider refused: {error}{}", description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// Such as `invalid_grant`, with unusual characters replaced.
        error: String,
        /// `error_description`, bounded and safe to show.
        description: Option<String>,
    },
    /// The request certainly did not reach the provider: the grant is as good as before.
    #[error("{0}")]
    NotSent(String),
    /// The provider may or may not have redeemed the grant: no answer in time, or one that makes no sense.
    #[error("{0}")]
    Unknown(String),
}

/// The provider's endpoints are not known, because discovery fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Where people log in, and where what they bring back is redeemed.
pub trait TokenEndpoint: Send + Sync + 'static {
    /// The endpoints; from memory once they are known.
    fn endpoints(&self) -> impl Future<Output = Result<Endpoints, Unavailable>> + Send;

    /// Redeems a grant, as the client of the configuration. It ends within `oidc.timeout`, and is never repeated by itself.
    fn redeem(&self, grant: Grant<'_>) -> impl Future<Output = Result<Tokens, RedeemError>> + Send;
}

/// All that is asked of an identity provider.
pub trait IdentityProvider: KeySource + TokenEndpoint {}

impl<T: KeySource + TokenEndpoint> IdentityProvider for T {}

//! Why a step of a login, or the look-up of a session, failed.

use super::callback::NoCallback;
use super::sessions::SessionError;
use crate::credentials::StoreError;
use crate::identity::token;

/// Why there is no page, no session or no end of one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no such page below `login.path`, or not for this method.
    #[error("no such page")]
    NoSuchPage,
    /// The callback was called with a query that no provider sends.
    #[error("{0}")]
    Callback(#[from] NoCallback),
    /// The browser has no cookie of the login that the provider answers, or one that has ended, or of another host.
    #[error("the browser did not begin this login, or more than ten minutes ago")]
    State,
    /// The provider that answers is not the one where the person was sent (RFC 9207 §2.4).
    #[error("{0}")]
    Issuer(String),
    /// The provider refused the login (RFC 6749 §4.1.2.1, `OpenID` Connect Core §3.1.2.6).
    #[error("the provider refused the login: {error}{}", description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Provider {
        /// Such as `access_denied`, safe to show.
        error: String,
        /// `error_description`, safe to show.
        description: Option<String>,
    },
    /// The token endpoint refused the code.
    #[error("the code was not redeemed: {0}")]
    Code(String),
    /// Three logins have succeeded in this browser within half a minute.
    #[error("three logins within half a minute, and no session stayed")]
    Loop,
    /// There is no session to show.
    #[error("there is no session")]
    NoSession,
    /// The body of a back-channel logout is not what providers send.
    #[error("{0}")]
    LogoutToken(&'static str),
    /// The ID token, or a logout token, does not verify.
    #[error("{0}")]
    Token(#[from] token::Error),
    /// The provider does not answer, and the step or the session needs it.
    #[error("the identity provider: {0}")]
    ProviderUnavailable(String),
    /// The store does not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A fault of elastauth, or of the operating system.
    #[error("{0}")]
    Internal(String),
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => Self::Store(error),
            SessionError::ProviderDown(why) => Self::ProviderUnavailable(why),
            SessionError::Internal(why) => Self::Internal(why),
        }
    }
}

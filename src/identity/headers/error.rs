//! Why headers make no identity.

use ::http::HeaderName;

use crate::identity::{UsernameError, token};

/// Why. No text holds a value that was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The secret in `context_extensions` is missing or wrong.
    #[error("the request does not carry the secret of Envoy's operator in context_extensions")]
    Secret,
    /// The peer that talks to Envoy is not on the list.
    #[error("the peer that talks to Envoy is not in authelia.trusted_peers")]
    Peer,
    /// Nobody is named.
    #[error("neither headers nor metadata name a user")]
    Missing,
    /// More than one value, or values joined with a comma.
    #[error("the header {0} has several values")]
    Repeated(HeaderName),
    /// Bytes that are not visible ASCII.
    #[error("the header {0} has characters that cannot be trusted")]
    Encoding(HeaderName),
    /// The metadata's claims, which mean what they mean in a token.
    #[error(transparent)]
    Claims(#[from] token::Error),
    /// The name cannot be an Elasticsearch user.
    #[error(transparent)]
    Username(#[from] UsernameError),
}

impl Error {
    /// A stable name for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Secret => "identity_secret",
            Self::Peer => "identity_peer",
            Self::Missing => "identity_missing",
            Self::Repeated(_) => "identity_repeated",
            Self::Encoding(_) => "identity_encoding",
            Self::Claims(error) => error.reason(),
            Self::Username(_) => "username_refused",
        }
    }

    /// Whether nobody is logged in; everything else is forbidden.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::Claims(error) => !error.is_forbidden(),
            Self::Secret | Self::Peer | Self::Repeated(_) | Self::Encoding(_) | Self::Username(_) => false,
        }
    }
}

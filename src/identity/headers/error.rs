//! Why headers make no identity.

use ::http::HeaderName;

use crate::identity::{UsernameError, token};

/// Why headers are not taken for an identity. No text holds a value that was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The secret in `context_extensions` is missing or wrong.
    #[error("the request does not carry the secret of Envoy's operator in context_extensions")]
    Secret,
    /// The peer that talks to Envoy is not on the list.
    #[error("the peer that talks to Envoy is not in authelia.trusted_peers")]
    Peer,
    /// The headers name no user.
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

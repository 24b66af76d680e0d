//! Why a token, or a key for one, is refused.

use std::sync::Arc;

use super::UsernameError;

/// Why there is no key for a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The provider does not publish the key: the token's fault.
    #[error("the provider has no key with the token's key id")]
    UnknownKey,
    /// The provider publishes several keys, and `OpenID` Connect Core §10.1 then demands a `kid`.
    #[error("the token names no key, and the provider has several")]
    MissingKid,
    /// The key that the token names is of another type or curve, or for another algorithm.
    #[error("the token's algorithm does not fit its key")]
    Algorithm,
    /// The keys are not known and cannot be fetched now. The token is not at fault.
    #[error("the provider's keys are not available: {0}")]
    Unavailable(Arc<str>),
}

/// Why a token does not make an identity. No text holds the token or the value of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The token has more than 16 KiB.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Not a signed JSON Web Token in compact form.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The header has `crit` (RFC 7515 §4.1.11).
    #[error("the token demands extensions that are not supported")]
    Critical,
    /// Not an allowed algorithm.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// No key for it, or none now.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key did not sign this.
    #[error("the token's signature is wrong")]
    Signature,
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// None of the configured audiences is in `aud`.
    #[error("the token is for another audience")]
    Audience,
    /// The token's `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is to come.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// A token of several audiences that an unknown party asked for.
    #[error("the token was made for a client that is not ours")]
    AuthorizedParty,
    /// A logout or refresh token, or another kind.
    #[error("the token is neither an access nor an ID token")]
    Kind,
    /// The token has `cnf` (RFC 7800): its bearer would have to prove that it holds a key.
    #[error("the token is bound to a key of its client, and elastauth cannot check that the client holds it")]
    Bound,
    /// A claim that is needed; the name is ours or the configuration's.
    #[error("the token has no claim {0}")]
    ClaimMissing(String),
    /// A claim that is there but not of its type.
    #[error("the token's claim {0} has the wrong type")]
    ClaimType(String),
    /// A required claim that has none of the accepted values; the name is the configuration's.
    #[error("the token's claim {0} has none of the required values")]
    ClaimValue(String),
    /// The provider says no when it is asked.
    #[error("the provider does not accept the token")]
    Refused,
    /// The userinfo response has another `sub` than the token (`OpenID` Connect Core §5.3.2).
    #[error("the provider's userinfo is about another subject than the token")]
    OtherSubject,
    /// The provider cannot be asked about tokens now. The token is not at fault.
    #[error("the provider does not answer: {0}")]
    Unanswered(Arc<str>),
    /// The provider would have to be asked about more tokens than it answers in time. The token is not at fault.
    #[error("more tokens wait to be asked about than the provider answers in time")]
    Overload,
    /// The username is an e-mail address that the provider does not call verified.
    #[error("the provider does not say that the e-mail address is verified")]
    EmailUnverified,
    /// The ID token of a login has another `nonce` than the login began with, or none.
    #[error("the ID token was made for another login than this one")]
    Nonce,
    /// `at_hash` of an ID token is not that of the access token that came with it.
    #[error("the ID token was made for another access token than the one that came with it")]
    AccessTokenHash,
    /// A logout token that ends nothing, with what is wrong with it; other errors are of tokens that name a caller.
    #[error("the logout token is not valid: {0}")]
    LogoutToken(Arc<str>),
    /// The name cannot be an Elasticsearch user.
    #[error(transparent)]
    Username(#[from] UsernameError),
}

impl Error {
    /// Whether the provider is at fault and not the token: such an error is never remembered of a token.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Key(KeyError::Unavailable(_)) | Self::Unanswered(_) | Self::Overload)
    }
}

//! The identity of a caller: the types that verified tokens and trusted headers end in.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

pub mod algorithm;
mod answers;
pub mod attributes;
pub mod claims;
mod error;
pub mod headers;
pub mod issuer;
pub mod issuers;
pub mod jwks;
mod jws;
pub mod keyring;
mod logout_token;
pub mod sign_in;
pub mod strict_object;
#[cfg(test)]
mod testing;
pub mod token;
pub(crate) mod token_cache;
mod verification_limit;
mod verified;

pub use error::{Error, KeyError};
pub use logout_token::LogoutNotice;
pub use sign_in::{Expected, SignInTokens, SignedIn};
pub use verified::{Validity, Verified};

/// A name that Elasticsearch accepts and that Basic authentication can carry:
/// `[A-Za-z0-9][A-Za-z0-9._@+-]{0,254}`. Other names are refused, never rewritten: rewriting would let two
/// people end in one user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Username(Arc<str>);

impl Username {
    /// Checks a name against the allow-list.
    pub fn parse(name: &str) -> Result<Self, UsernameError> {
        let bytes = name.as_bytes();
        let Some(first) = bytes.first() else {
            return Err(UsernameError::Empty);
        };
        if bytes.len() > 255 {
            return Err(UsernameError::TooLong);
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._@+-".contains(b);
        if !first.is_ascii_alphanumeric() || !bytes.iter().all(allowed) {
            return Err(UsernameError::Characters);
        }
        Ok(Self(name.into()))
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// The name has no characters at all.
    #[error("the username is empty")]
    Empty,
    /// The name has more than 255 bytes.
    #[error("the username is longer than 255 bytes")]
    TooLong,
    /// A byte outside the allow-list.
    #[error("the username has a character outside [A-Za-z0-9._@+-] or does not begin with a letter or digit")]
    Characters,
}

/// The one (issuer, subject) pair that a username belongs to, for as long as the Elasticsearch user exists.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// The token's `iss`, or the configured name of the login proxy.
    pub issuer: Arc<str>,
    /// The token's `sub`, or the username where headers name it.
    pub subject: Arc<str>,
}

impl Owner {
    /// The owner of a username that a login proxy's headers name: they carry no issuer and no subject, so the provider's
    /// configured name and the username itself take their place.
    #[must_use]
    pub fn of_headers(provider: &str, username: &Username) -> Self {
        Self { issuer: provider.into(), subject: Arc::clone(&username.0) }
    }
}

/// A moment by which two tokens of one user are put in order: milliseconds since the Unix epoch.
pub type Millis = u64;

/// When a caller's groups were true: what decides between two requests of one user that differ in their roles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AsOf {
    /// At this moment by the provider's clock: a token's `iat`.
    At(Millis),
    /// When the provider was asked, which is known by this process's own clock only. Clocks of replicas disagree, so that this
    /// is never compared with another one's moments: it is put in order with what the store holds by the age of both.
    Answered(Instant),
    /// They carry no time of their own, as a login proxy's headers: they are true now. Roles then follow the latest
    /// request, but change at most once per user and second.
    Now,
}

impl AsOf {
    /// The moment, or this one where the groups carry none.
    #[must_use]
    pub fn or(self, now: Millis) -> Millis {
        match self {
            Self::At(moment) => moment,
            Self::Answered(_) | Self::Now => now,
        }
    }
}

/// A caller after all checks: nothing behind this type doubts it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The name of the Elasticsearch user.
    pub username: Username,
    /// The owner of that name; another subject cannot take it.
    pub owner: Owner,
    /// The e-mail address, which Kibana shows.
    pub email: Option<String>,
    /// The full name, which Kibana shows.
    pub full_name: Option<String>,
    /// The groups as the provider names them; a name with a comma stays one name.
    pub groups: Vec<String>,
    /// The claims that the policy's rules look at, and their values.
    pub claims: Vec<(String, Vec<String>)>,
    /// When the groups were true.
    pub as_of: AsOf,
    /// The token's `exp`; what headers say is true for their request only.
    pub expires: SystemTime,
}

/// Where verification keys, and answers about tokens, come from. Implemented by an edge.
pub trait KeySource: Send + Sync + 'static {
    /// Fetches the whole key set, a JSON Web Key Set document (RFC 7517 §5).
    fn fetch(&self) -> impl Future<Output = Result<Vec<u8>, KeySourceError>> + Send;

    /// Asks the provider about a token.
    fn ask(&self, question: Question, token: &str) -> impl Future<Output = Result<Answer, KeySourceError>> + Send;
}

/// What a provider can be asked about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The claims of its user: `OpenID` Connect Core §5.3.
    Userinfo,
    /// Whether it is active, and what it holds: RFC 7662.
    Introspection,
}

/// What a provider says about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A JSON document, not looked at yet.
    Document(Vec<u8>),
    /// That the token is not good.
    Refused,
}

/// The provider could not be asked, or its answer makes no sense.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_elasticsearch_and_basic_can_carry_pass() {
        for name in ["a", "john.doe", "John_Doe", "j+d@example.com", "0-9", &"x".repeat(255)] {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn headers_belong_to_their_provider_and_to_the_name_that_they_carry() {
        let owner = Owner::of_headers("authelia", &Username::parse("ann").unwrap());
        assert_eq!(owner, Owner { issuer: "authelia".into(), subject: "ann".into() });
    }

    #[test]
    fn other_names_are_refused_not_rewritten() {
        let long = "x".repeat(256);
        for name in ["", "_password", ".", "..", "-a", "a:b", "a/b", "a b", "a%2fb", "jürgen", "a\0", "a\n", &long] {
            assert!(Username::parse(name).is_err(), "{name:?}");
        }
    }
}

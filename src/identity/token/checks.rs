//! Which checks a token has passed, for people.

use super::Error;
use crate::identity::KeyError;

/// What is checked about a signed token, in this order.
pub const CHECKS: [&str; 9] =
    ["form", "algorithm", "key", "signature", "issuer", "kind", "audience", "times", "claims and username"];

/// What is checked where the provider is asked, in this order. All but the first and the last are about what the token or the
/// answer says of itself; an opaque token that userinfo is asked about says nothing.
pub(in crate::identity) const ASKED: [&str; 6] =
    ["the provider's answer", "issuer", "kind", "audience", "times", "claims and username"];

impl Error {
    /// The checks that a signed token with this error has certainly passed.
    pub(in crate::identity) fn passed_before(&self) -> &'static [&'static str] {
        let known = match self {
            // each may also be found out later
            Self::TooLong | Self::Malformed(_) | Self::Critical | Self::Kind => 0,
            Self::Algorithm => 1,
            Self::Key(KeyError::Algorithm | KeyError::UnknownKey | KeyError::MissingKid | KeyError::Unavailable(_)) => {
                2
            }
            Self::Signature => 3,
            Self::Issuer => 4,
            Self::Bound => 5,
            Self::Audience | Self::AuthorizedParty => 6,
            Self::Expired | Self::NotYetValid | Self::IssuedInFuture => 7,
            Self::ClaimMissing(name) | Self::ClaimType(name) => match name.as_str() {
                "iss" => 4,
                "aud" => 6,
                "exp" | "nbf" | "iat" => 7,
                _ => 8,
            },
            Self::ClaimValue(_)
            | Self::EmailUnverified
            | Self::Username(_)
            | Self::Refused
            | Self::OtherSubject
            | Self::Unanswered(_)
            | Self::Overload => 8,
        };
        CHECKS.get(..known).unwrap_or_default()
    }

    /// The same of a token that the provider was asked about.
    pub(in crate::identity) fn passed_after_answer(&self) -> &'static [&'static str] {
        let known = match self {
            Self::TooLong
            | Self::Malformed(_)
            | Self::Critical
            | Self::Algorithm
            | Self::Key(_)
            | Self::Signature
            | Self::Refused
            | Self::OtherSubject
            | Self::Unanswered(_)
            | Self::Overload => 0,
            Self::Issuer => 1,
            Self::Kind | Self::Bound => 2,
            Self::Audience | Self::AuthorizedParty => 3,
            Self::Expired | Self::NotYetValid | Self::IssuedInFuture => 4,
            Self::ClaimMissing(name) | Self::ClaimType(name) => match name.as_str() {
                // `exp` is read with the answer
                "iss" | "exp" => 1,
                "aud" => 3,
                "nbf" => 4,
                _ => 5,
            },
            Self::ClaimValue(_) | Self::EmailUnverified | Self::Username(_) => 5,
        };
        ASKED.get(..known).unwrap_or_default()
    }
}

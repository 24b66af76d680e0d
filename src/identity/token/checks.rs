//! Which checks a token has passed, for people.

use super::Error;
use crate::identity::keyring;

/// What is checked about a signed token, in this order.
pub const CHECKS: [&str; 9] =
    ["form", "algorithm", "key", "signature", "issuer", "kind", "audience", "times", "claims and username"];

impl Error {
    /// The checks that a signed token with this error has certainly passed.
    pub(in crate::identity) fn passed_before(&self) -> &'static [&'static str] {
        let known = match self {
            // each may also be found out later
            Self::TooLong | Self::Malformed(_) | Self::Critical | Self::Kind => 0,
            Self::Algorithm => 1,
            Self::Key(
                keyring::Error::Algorithm
                | keyring::Error::UnknownKey
                | keyring::Error::MissingKid
                | keyring::Error::Unavailable(_),
            ) => 2,
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
            | Self::Unanswered(_) => 8,
        };
        CHECKS.get(..known).unwrap_or_default()
    }
}

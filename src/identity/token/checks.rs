//! Which checks a token has passed, for `elastauth explain`.

use crate::identity::Error;

/// What is checked about a token, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Whether it is a signed JSON Web Token that asks for no extensions.
    Form,
    /// Whether its algorithm is one of those that are allowed.
    Algorithm,
    /// Whether the provider publishes a key for it.
    Key,
    /// Whether that key signed it.
    Signature,
    /// Whether the provider, asked about it, accepts it.
    Answer,
    /// Whether the configured issuer made it.
    Issuer,
    /// Whether it is an access or ID token that is bound to no key.
    Kind,
    /// Whether it was made for one of the configured audiences.
    Audience,
    /// Whether it is valid at this time.
    Times,
    /// Whether its claims make a user.
    Claims,
}

/// The checks of a token that its signature vouches for.
const SIGNED: [Check; 9] = [
    Check::Form,
    Check::Algorithm,
    Check::Key,
    Check::Signature,
    Check::Issuer,
    Check::Kind,
    Check::Audience,
    Check::Times,
    Check::Claims,
];

/// The checks of a token that the provider is asked about. Between the first and the last they look at what the token or the answer
/// says of the token.
const ASKED: [Check; 6] = [Check::Answer, Check::Issuer, Check::Kind, Check::Audience, Check::Times, Check::Claims];

impl Check {
    /// What `elastauth explain` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Answer => "the provider's answer",
            Self::Issuer => "issuer",
            Self::Kind => "kind",
            Self::Audience => "audience",
            Self::Times => "times",
            Self::Claims => "claims and username",
        }
    }

    /// Whether it looks at claims that an opaque token does not have.
    pub(in crate::identity) fn needs_claims(self) -> bool {
        (Self::Issuer..Self::Claims).contains(&self)
    }

    /// The checks that a signed token has certainly passed which ended so.
    pub(in crate::identity) fn passed_by_signed(outcome: Result<(), &Error>) -> Vec<Self> {
        let Err(error) = outcome else { return SIGNED.into() };
        let failed = match (error, error.found_by()) {
            // its header says of which kind it is, too
            (Error::Kind, _) => Self::Form,
            // the provider is asked when everything else is in order
            (_, Self::Answer) => Self::Claims,
            (_, check) => check,
        };
        SIGNED.into_iter().filter(|check| *check < failed).collect()
    }

    /// The same of a token that the provider was asked about.
    pub(in crate::identity) fn passed_by_asked(outcome: Result<(), &Error>) -> Vec<Self> {
        let Err(error) = outcome else { return ASKED.into() };
        let failed = match error {
            // it is read together with the answer
            Error::ClaimMissing(name) | Error::ClaimType(name) if name == "exp" => Self::Issuer,
            // an answer need not have it
            Error::ClaimMissing(name) | Error::ClaimType(name) if name == "iat" => Self::Claims,
            error => error.found_by(),
        };
        ASKED.into_iter().filter(|check| *check < failed).collect()
    }
}

impl Error {
    /// The check that finds this error.
    fn found_by(&self) -> Check {
        match self {
            Self::TooLong | Self::Malformed(_) | Self::Critical => Check::Form,
            Self::Algorithm => Check::Algorithm,
            Self::Key(_) => Check::Key,
            Self::Signature => Check::Signature,
            Self::Refused | Self::OtherSubject | Self::Unanswered(_) | Self::Overload => Check::Answer,
            Self::Issuer => Check::Issuer,
            Self::Kind | Self::Bound => Check::Kind,
            Self::Audience | Self::AuthorizedParty => Check::Audience,
            Self::Expired | Self::NotYetValid | Self::IssuedInFuture => Check::Times,
            Self::ClaimMissing(name) | Self::ClaimType(name) => match name.as_str() {
                "iss" => Check::Issuer,
                "aud" => Check::Audience,
                "exp" | "nbf" | "iat" => Check::Times,
                _ => Check::Claims,
            },
            Self::ClaimValue(_)
            | Self::EmailUnverified
            | Self::Username(_)
            // of a login or a logout, which explain does not show
            | Self::Nonce
            | Self::AccessTokenHash
            | Self::LogoutToken(_) => Check::Claims,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_passed_in_their_order() {
        assert!(SIGNED.is_sorted() && ASKED.is_sorted());
    }

    #[test]
    fn only_what_an_error_proves_counts_as_passed() {
        let names = |checks: Vec<Check>| checks.into_iter().map(Check::name).collect::<Vec<_>>();
        let signed = |error: &Error| names(Check::passed_by_signed(Err(error))).len();
        let asked = |error: &Error| names(Check::passed_by_asked(Err(error))).len();
        let claim = |name: &str| Error::ClaimMissing(name.into());
        for (error, of_signed, of_asked) in [
            (Error::TooLong, 0, 0),
            (Error::Kind, 0, 2),
            (Error::Algorithm, 1, 0),
            (Error::Key(crate::identity::KeyError::UnknownKey), 2, 0),
            (Error::Signature, 3, 0),
            (Error::Issuer, 4, 1),
            (Error::Bound, 5, 2),
            (Error::AuthorizedParty, 6, 3),
            (Error::Expired, 7, 4),
            (claim("iss"), 4, 1),
            (claim("aud"), 6, 3),
            (claim("exp"), 7, 1),
            (claim("nbf"), 7, 4),
            (claim("iat"), 7, 5),
            (claim("email"), 8, 5),
            (Error::EmailUnverified, 8, 5),
            (Error::Refused, 8, 0),
            (Error::Overload, 8, 0),
        ] {
            assert_eq!((signed(&error), asked(&error)), (of_signed, of_asked), "{error:?}");
        }
        assert_eq!((Check::passed_by_signed(Ok(())).len(), Check::passed_by_asked(Ok(())).len()), (9, 6));
    }
}

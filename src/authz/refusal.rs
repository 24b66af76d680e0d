//! The refusal of one request: the error that caused it, and how the client is answered.

use std::time::Duration;

use super::policy;
use super::reason::{Reason, Verdict};
use crate::credentials::broker;
use crate::identity::{headers, token};
use crate::login;

/// Why one request is refused, with the details for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The attributes of the check have no HTTP request.
    #[error("the check has no HTTP request")]
    NoRequest,
    /// The request has no `Authorization` header, and no token in any other place where one is looked for.
    #[error("no credentials")]
    NoCredentials,
    /// The header is repeated, or Envoy joined several with a comma.
    #[error("several credentials in one request")]
    SeveralCredentials,
    /// The credential is not a bearer token.
    #[error("the credentials are not a bearer token")]
    NoBearer,
    /// The credential is one that elastauth injected into an earlier request.
    #[error("the credential that elastauth injected has come back: Envoy asks twice about one request")]
    OwnCredential,
    /// The token does not verify, or the provider cannot be asked about it.
    #[error("{0}")]
    Token(token::Error),
    /// Headers or metadata name no user, or cannot be trusted.
    #[error("{0}")]
    Headers(headers::Error),
    /// The operator's rules do not let the request through.
    #[error("{0}")]
    Policy(policy::Denied),
    /// None of the caller's groups gives a role.
    #[error("{0}")]
    NoRoles(#[from] crate::roles::NoRoles),
    /// A request with the cookie of a session that has ended, or of none that there ever was.
    #[error("the session has ended")]
    SessionEnded,
    /// A request that a page of another site may have made the browser send, with the cookie of a session or a token.
    #[error("the browser does not say that the request comes from a page of this host")]
    CrossSite,
    /// A step of a login failed, or the session cannot be looked at.
    #[error("{0}")]
    Login(#[from] login::Error),
    /// The caller cannot get a credential.
    #[error("{0}")]
    Credentials(broker::Error),
    /// The decision took longer than `grpc.deadline`, or than Envoy waits.
    #[error("the decision took longer than the deadline")]
    Deadline,
    /// Too many requests at once, or no room for their messages.
    #[error("too many requests in flight")]
    Overload,
    /// The code that decides has panicked.
    #[error("internal error")]
    Panic,
}

/// After an outage without a known end.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Refusal {
    /// The line of the table of reasons that applies.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoRequest => Reason::NoHttpRequest,
            Self::NoCredentials => Reason::CredentialsMissing,
            Self::SeveralCredentials => Reason::CredentialsRepeated,
            Self::NoBearer => Reason::CredentialsNotBearer,
            Self::OwnCredential => Reason::CredentialsOurs,
            Self::Token(error) => error.into(),
            Self::Headers(error) => error.into(),
            Self::Policy(denied) => (*denied).into(),
            Self::NoRoles(_) => Reason::RolesNone,
            Self::SessionEnded => Reason::SessionEnded,
            Self::CrossSite => Reason::CrossSite,
            Self::Login(error) => error.into(),
            Self::Credentials(error) => error.into(),
            Self::Deadline => Reason::DeadlineExceeded,
            Self::Overload => Reason::Overloaded,
            Self::Panic => Reason::InternalError,
        }
    }

    /// The reason's verdict. Where headers name the caller, the client has no token that it could replace: the text only
    /// asks for a login.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdict = self.reason().verdict();
        match self {
            Self::Headers(_) if verdict.http == 401 => {
                Verdict { text: Reason::IdentityMissing.verdict().text, ..verdict }
            }
            _ => verdict,
        }
    }

    /// Whether the same request may be let through later: see [`Reason::is_outage`].
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.reason().is_outage()
    }

    /// For how long the client is to wait before it asks again, after an outage.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Credentials(broker::Error::Busy(busy)) => busy.again.max(RETRY_AFTER),
            _ => RETRY_AFTER,
        }
    }

    /// `WWW-Authenticate` for a 401 (RFC 9110 §11.6.1), in the form of RFC 6750 §3 where a token would help. Where a login proxy
    /// names callers, no header of the client's would help: the scheme is one that no client knows, so that no client asks its
    /// user for a password or a token, and a person sees where to log in.
    #[must_use]
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Headers(_) if self.verdict().http == 401 => Some(r#"LoginProxy realm="elastauth""#),
            Self::Token(_) if self.verdict().http == 401 => Some(r#"Bearer realm="elastauth", error="invalid_token""#),
            _ if self.verdict().http == 401 => Some(r#"Bearer realm="elastauth""#),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::authz::testing::refusals;

    use super::*;

    #[test]
    fn a_challenge_asks_for_what_would_help_and_comes_with_every_401_and_nothing_else() {
        for refusal in refusals() {
            let scheme = refusal.challenge().map(|challenge| challenge.split_once(' ').unwrap().0);
            let expected = match refusal {
                _ if refusal.verdict().http != 401 => None,
                Refusal::Headers(_) => Some("LoginProxy"),
                _ => Some("Bearer"),
            };
            assert_eq!(scheme, expected, "{refusal:?}");
        }
    }

    #[test]
    fn claims_that_a_proxy_forwards_are_answered_as_a_missing_login_and_not_as_a_token() {
        let of = |error: token::Error| (Refusal::Token(error.clone()), Refusal::Headers(error.into()));
        let (token, headers) = of(token::Error::ClaimMissing("groups".into()));
        assert_eq!((token.verdict().http, token.verdict().text), (401, "the token is not valid"));
        assert_eq!((headers.verdict().http, headers.verdict().text), (401, "authentication required"));
        assert_eq!(token.reason(), headers.reason());
        let (token, headers) = of(token::Error::ClaimValue("tid".into()));
        assert_eq!((token.verdict(), headers.verdict().text), (headers.verdict(), "access denied"));
    }

    #[test]
    fn an_outage_of_the_provider_is_one_to_the_client_and_for_what_is_remembered_of_tokens() {
        for refusal in refusals() {
            let Refusal::Token(error) = &refusal else { continue };
            assert_eq!(refusal.is_outage(), error.is_outage(), "{error:?}");
        }
    }
}

//! The kinds of refusal, and the one table of what each means.

use std::time::Duration;

use super::policy;
use crate::credentials::broker;
use crate::credentials::{Busy, Refused};
use crate::identity::{headers, token};

/// Every way a request can be refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// No HTTP request in the attributes.
    #[error("the check has no HTTP request")]
    NoRequest,
    /// No `Authorization` header.
    #[error("no credentials")]
    NoCredentials,
    /// Repeated or joined.
    #[error("several credentials in one request")]
    SeveralCredentials,
    /// Not a bearer token.
    #[error("the credentials are not a bearer token")]
    NoBearer,
    /// Not a bearer token, but what we injected into an earlier request.
    #[error("the credential that elastauth injected has come back: Envoy asks twice about one request")]
    OwnCredential,
    /// The token does not verify.
    #[error("{0}")]
    Token(token::Error),
    /// Headers or metadata name nobody, or cannot be trusted.
    #[error("{0}")]
    Headers(headers::Error),
    /// The operator's rules.
    #[error("{0}")]
    Policy(policy::Denied),
    /// No role.
    #[error("{0}")]
    NoRoles(#[from] crate::roles::NoRoles),
    /// No credential.
    #[error("{0}")]
    Credentials(broker::Error),
    /// Our own deadline.
    #[error("the decision took longer than the deadline")]
    Deadline,
    /// Too many at once.
    #[error("too many requests in flight")]
    Overload,
    /// A panic.
    #[error("internal error")]
    Panic,
}

/// What a kind of refusal means to Envoy, to the client and to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// gRPC code in `CheckResponse.status`; never 0.
    pub code: i32,
    /// HTTP status.
    pub http: u16,
    /// Stable name for logs and metrics; `docs/troubleshooting.md` lists each with its cure.
    pub reason: &'static str,
    /// What the client sees: one constant text per kind.
    pub text: &'static str,
}

/// Of an outage whose end nobody knows.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const UNAUTHENTICATED: (i32, u16) = (16, 401);
const DENIED: (i32, u16) = (7, 403);
const INVALID: (i32, u16) = (3, 400);
const UNAVAILABLE: (i32, u16) = (14, 503);

impl Refusal {
    /// The one table of refusals.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        use broker::Error as B;
        let ((code, http), reason, text) = match self {
            Self::NoRequest => (INVALID, "no_http_request", "not an HTTP request"),
            Self::NoCredentials => (UNAUTHENTICATED, "credentials_missing", "authentication required"),
            Self::SeveralCredentials => (UNAUTHENTICATED, "credentials_repeated", "one credential, please"),
            Self::NoBearer => (UNAUTHENTICATED, "credentials_not_bearer", "a bearer token is required"),
            Self::OwnCredential => (DENIED, "credentials_ours", "access denied"),
            Self::Token(error) if error.is_outage() => (UNAVAILABLE, error.reason(), "try again later"),
            Self::Token(error) if error.is_forbidden() => (DENIED, error.reason(), "access denied"),
            Self::Token(error) => (UNAUTHENTICATED, error.reason(), "the token is not valid"),
            Self::Headers(error) if error.is_anonymous() => {
                (UNAUTHENTICATED, error.reason(), "authentication required")
            }
            Self::Headers(error) => (DENIED, error.reason(), "access denied"),
            Self::Policy(policy::Denied::Path(_)) => (INVALID, "path_ambiguous", "the path is not plain"),
            Self::Policy(policy::Denied::NoRule) => (DENIED, "policy_denied", "access denied"),
            Self::NoRoles(_) => (DENIED, "roles_none", "access denied"),
            Self::Credentials(error) => match error {
                B::OtherOwner => (DENIED, "username_taken", "access denied"),
                B::Refused(refused) => (DENIED, refused_reason(*refused), "access denied"),
                B::Store(_) => (UNAVAILABLE, "cache_unavailable", "try again later"),
                B::Unreadable(_) => (UNAVAILABLE, "cache_key_unknown", "try again later"),
                B::OtherCluster => (UNAVAILABLE, "cache_of_another_cluster", "try again later"),
                B::Elasticsearch(_) => (UNAVAILABLE, "elasticsearch_unavailable", "try again later"),
                B::Busy(_) => (UNAVAILABLE, "provisioning_busy", "try again later"),
                B::Internal(_) => (UNAVAILABLE, "internal_error", "try again later"),
            },
            Self::Deadline => (UNAVAILABLE, "deadline_exceeded", "try again later"),
            Self::Overload => (UNAVAILABLE, "overloaded", "try again later"),
            Self::Panic => (UNAVAILABLE, "internal_error", "try again later"),
        };
        Verdict { code, http, reason, text }
    }

    /// Whether it is our side's fault and may pass.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.verdict().http == UNAVAILABLE.1
    }

    /// When to ask again, after an outage.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Credentials(broker::Error::Busy(busy)) => busy.again.max(RETRY_AFTER),
            _ => RETRY_AFTER,
        }
    }

    /// `WWW-Authenticate` for a 401 (RFC 9110 §11.6.1), as RFC 6750 §3 has it where a token would help. Where a login proxy names
    /// callers, nothing that a client may send would help: the scheme is one that no client knows, so that none asks its user for a
    /// password or a token, and that tells a person where to log in.
    #[must_use]
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Headers(_) if self.verdict().http == 401 => Some(r#"LoginProxy realm="elastauth""#),
            Self::Token(_) if self.verdict().http == 401 => Some(r#"Bearer realm="elastauth", error="invalid_token""#),
            _ if self.verdict().http == 401 => Some(r#"Bearer realm="elastauth""#),
            _ => None,
        }
    }

    /// One of each kind: for what is counted from the start, and for tests over all of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        use broker::Error as B;
        let store = crate::credentials::StoreError::Unavailable("down".into());
        let refused = [Refused::NotOurs, Refused::OtherOwner, Refused::Disabled, Refused::Reserved, Refused::Rejected];
        let mut all = vec![
            Self::NoRequest,
            Self::NoCredentials,
            Self::SeveralCredentials,
            Self::NoBearer,
            Self::OwnCredential,
            Self::Policy(policy::Denied::Path(policy::Ambiguity::NoSlash)),
            Self::Policy(policy::Denied::NoRule),
            Self::NoRoles(crate::roles::NoRoles),
            Self::Credentials(B::OtherOwner),
            Self::Credentials(B::Store(store)),
            Self::Credentials(B::Unreadable(crate::credentials::seal::OpenError::UnknownKey)),
            Self::Credentials(B::OtherCluster),
            Self::Credentials(B::Elasticsearch("down".into())),
            Self::Credentials(B::Busy(Busy { again: Duration::from_secs(2) })),
            Self::Credentials(B::Internal("bug".into())),
            Self::Deadline,
            Self::Overload,
            Self::Panic,
        ];
        all.extend(refused.map(|r| Self::Credentials(B::Refused(r))));
        all.push(Self::Credentials(B::Refused(Refused::DryRun)));
        all.extend(token::Error::examples().into_iter().map(Self::Token));
        all.extend(headers::Error::examples().into_iter().map(Self::Headers));
        all
    }
}

fn refused_reason(refused: Refused) -> &'static str {
    match refused {
        Refused::NotOurs => "user_not_managed",
        Refused::OtherOwner => "user_of_another_subject",
        Refused::Disabled => "user_disabled",
        Refused::Reserved => "username_reserved",
        Refused::Rejected => "user_rejected",
        Refused::DryRun => "dry_run",
    }
}

//! [`Request`] → [`Decision`]: who asks, with which roles, under which credential; and the kinds of refusal.

use std::time::SystemTime;

use bytes::Bytes;

use crate::credentials::broker::{self, Broker};
use crate::credentials::{Obtained, Provisioner, Refused, Store};
use crate::identity::token::{self, Verifier};
use crate::identity::{Identity, KeySource};
use crate::roles::Mapping;

/// What a decision needs of a request. Headers are untrusted bytes.
#[derive(Clone, Debug)]
pub struct Request {
    /// The caller's credentials.
    pub authorization: Authorization,
    /// `x-request-id`, for logs.
    pub request_id: String,
    /// Envoy's stream id, for logs.
    pub stream_id: String,
    /// For logs.
    pub method: String,
    /// For logs.
    pub host: String,
    /// Without the query, for logs.
    pub path: String,
}

/// The `Authorization` headers of a request.
#[derive(Clone)]
pub enum Authorization {
    /// None.
    Absent,
    /// One value.
    One(Bytes),
    /// Repeated: which one would count is anybody's guess.
    Several,
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(…)",
            Self::Several => "Several",
        })
    }
}

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// Let through with this credential.
    Allow(Obtained),
    /// Refuse.
    Deny(Refusal),
}

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
    /// The token does not verify.
    #[error("{0}")]
    Token(token::Error),
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
    /// Stable name for logs and metrics; the README lists each with its cure.
    pub reason: &'static str,
    /// What the client sees: one constant text per kind.
    pub text: &'static str,
}

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
            Self::Token(error) if error.is_outage() => (UNAVAILABLE, error.reason(), "try again later"),
            Self::Token(error) if error.is_forbidden() => (DENIED, error.reason(), "access denied"),
            Self::Token(error) => (UNAUTHENTICATED, error.reason(), "the token is not valid"),
            Self::NoRoles(_) => (DENIED, "roles_none", "access denied"),
            Self::Credentials(error) => match error {
                B::OtherOwner => (DENIED, "username_taken", "access denied"),
                B::Refused(refused) => (DENIED, refused_reason(*refused), "access denied"),
                B::Store(_) => (UNAVAILABLE, "cache_unavailable", "try again later"),
                B::Unreadable(_) => (UNAVAILABLE, "cache_key_unknown", "try again later"),
                B::Elasticsearch(_) => (UNAVAILABLE, "elasticsearch_unavailable", "try again later"),
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

    /// `WWW-Authenticate` (RFC 6750 §3) for a 401.
    #[must_use]
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Token(_) if self.verdict().http == 401 => Some(r#"Bearer realm="elastauth", error="invalid_token""#),
            _ if self.verdict().http == 401 => Some(r#"Bearer realm="elastauth""#),
            _ => None,
        }
    }

    /// One of each kind, for tests over all of them.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        use broker::Error as B;
        let store = crate::credentials::StoreError("down".into());
        let refused = [Refused::NotOurs, Refused::OtherOwner, Refused::Disabled, Refused::Reserved, Refused::Rejected];
        let mut all = vec![
            Self::NoRequest,
            Self::NoCredentials,
            Self::SeveralCredentials,
            Self::NoBearer,
            Self::NoRoles(crate::roles::NoRoles),
            Self::Credentials(B::OtherOwner),
            Self::Credentials(B::Store(store)),
            Self::Credentials(B::Unreadable(crate::credentials::seal::OpenError::UnknownKey)),
            Self::Credentials(B::Elasticsearch("down".into())),
            Self::Credentials(B::Internal("bug".into())),
            Self::Deadline,
            Self::Overload,
            Self::Panic,
        ];
        all.extend(refused.map(|r| Self::Credentials(B::Refused(r))));
        all.push(Self::Credentials(B::Refused(Refused::DryRun)));
        all.extend(token::Error::examples().into_iter().map(Self::Token));
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

/// Decides.
pub struct Authorizer<K: KeySource, S, P> {
    verifier: Verifier<K>,
    mapping: Mapping,
    broker: Broker<S, P>,
}

impl<K: KeySource, S: Store, P: Provisioner> Authorizer<K, S, P> {
    /// Puts the stages together.
    pub fn new(verifier: Verifier<K>, mapping: Mapping, broker: Broker<S, P>) -> Self {
        Self { verifier, mapping, broker }
    }

    /// The whole way of a request. May be cancelled at any time.
    pub async fn decide(&self, request: &Request) -> Decision {
        match self.obtain(request).await {
            Ok(obtained) => Decision::Allow(obtained),
            Err(refusal) => Decision::Deny(refusal),
        }
    }

    async fn obtain(&self, request: &Request) -> Result<Obtained, Refusal> {
        let token = bearer(&request.authorization)?;
        let identity: Identity = self.verifier.verify(token, SystemTime::now()).await.map_err(Refusal::Token)?;
        let roles = self.mapping.roles(&identity.groups)?;
        self.broker.obtain(&identity, roles).await.map_err(Refusal::Credentials)
    }

    /// What `/ready` reports: the store answers, and keys are known or can be had.
    pub async fn readiness(&self) -> Readiness {
        let (cache, keys) = tokio::join!(self.broker.store().reachable(), self.verifier.ready());
        Readiness { cache: cache.map_err(|e| e.to_string()), keys: keys.map_err(|e| e.to_string()) }
    }
}

/// Whether requests can be served.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// The store.
    pub cache: Result<(), String>,
    /// The verification keys.
    pub keys: Result<(), String>,
}

/// The one bearer token (RFC 6750 §2.1): scheme without regard to case, spaces, token characters only. A comma is how
/// Envoy joins repeated headers.
fn bearer(authorization: &Authorization) -> Result<&str, Refusal> {
    let value = match authorization {
        Authorization::Absent => return Err(Refusal::NoCredentials),
        Authorization::Several => return Err(Refusal::SeveralCredentials),
        Authorization::One(value) => value,
    };
    if value.contains(&b',') {
        return Err(Refusal::SeveralCredentials);
    }
    let value = std::str::from_utf8(value).map_err(|_| Refusal::NoBearer)?.trim_matches(' ');
    if value.is_empty() {
        return Err(Refusal::NoCredentials);
    }
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::NoBearer)?;
    let token = token.trim_start_matches(' ');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(allowed) {
        return Err(Refusal::NoBearer);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_bearer_token_is_taken() {
        let reason = |value: &'static [u8]| match bearer(&Authorization::One(Bytes::from_static(value))) {
            Ok(token) => token.to_owned(),
            Err(refusal) => refusal.verdict().reason.to_owned(),
        };
        for (value, expected) in [
            (&b"Bearer abc.def"[..], "abc.def"),
            (b"bEARER   abc", "abc"),
            (b"", "credentials_missing"),
            (b"Bearer", "credentials_not_bearer"),
            (b"Bearer ", "credentials_not_bearer"),
            (b"Bearer a b", "credentials_not_bearer"),
            (b"Bearer a\tb", "credentials_not_bearer"),
            (b"Basic abc", "credentials_not_bearer"),
            (b"Bearer abc!", "credentials_not_bearer"),
            (b"Bearer ab\xff", "credentials_not_bearer"),
            (b"Bearer A,Basic B", "credentials_repeated"),
            (b"Bearer A, Bearer A", "credentials_repeated"),
        ] {
            assert_eq!(reason(value), expected, "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn reasons_are_snake_case_and_no_verdict_allows() {
        for refusal in Refusal::all() {
            let verdict = refusal.verdict();
            assert_ne!(verdict.code, 0);
            assert!(verdict.reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", verdict.reason);
        }
    }

    #[test]
    fn a_request_never_shows_its_credentials() {
        let shown = format!("{:?}", Authorization::One(Bytes::from_static(b"Bearer secret")));
        assert!(!shown.contains("secret"));
    }
}

//! The reasons for which requests are refused: one table with the name, the answer to the client and the cure of each, and how
//! the errors of the other parts map to it.

use super::policy;
use crate::credentials::seal::OpenError;
use crate::credentials::{Refused, broker};
use crate::identity::{KeyError, headers, token};
use crate::login;

/// What a refusal with one reason means to Envoy, to the client and to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// gRPC code in `CheckResponse.status`; never 0, which would let the request through.
    pub code: i32,
    /// Status code of the HTTP response that Envoy sends to the client.
    pub http: u16,
    /// The reason's name in logs, metrics and traces; it never changes.
    pub reason: &'static str,
    /// The body of the response: one constant text, so that it reveals nothing about the request.
    pub text: &'static str,
}

/// The part of a verdict that several reasons share.
struct Answer {
    code: i32,
    http: u16,
    text: &'static str,
}

const DENIED: Answer = Answer { code: 7, http: 403, text: "access denied" };
const INVALID_TOKEN: Answer = unauthenticated("the token is not valid");
const UNAVAILABLE: Answer = Answer { code: 14, http: 503, text: "try again later" };

const fn unauthenticated(text: &'static str) -> Answer {
    Answer { code: 16, http: 401, text }
}

const fn invalid(text: &'static str) -> Answer {
    Answer { code: 3, http: 400, text }
}

/// Makes the enum, the list of all reasons and the access to the table from the table's rows.
macro_rules! reasons {
    ($($reason:ident: $name:literal, $answer:expr, $cure:literal;)+) => {
        /// Why a request was refused. What a client may learn and what an operator can do follow from it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = concat!("`", $name, "`: ", $cure, ".")] $reason,)+
        }

        impl Reason {
            /// Every reason, in the table's order.
            pub const ALL: [Self; [$(Self::$reason),+].len()] = [$(Self::$reason),+];

            /// What it means to Envoy, to the client and to the log.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                let (reason, Answer { code, http, text }) = match self {
                    $(Self::$reason => ($name, $answer),)+
                };
                Verdict { code, http, reason, text }
            }

            /// What the refusal shows, and what an operator can do about it: one sentence without a full stop.
            #[must_use]
            pub const fn cure(self) -> &'static str {
                match self {
                    $(Self::$reason => $cure,)+
                }
            }
        }
    };
}

reasons! {
    NoHttpRequest: "no_http_request", invalid("not an HTTP request"),
        "the check has no HTTP request: use the filter for HTTP, not for TCP";
    CredentialsMissing: "credentials_missing", unauthenticated("authentication required"),
        "the client sent no `Authorization`: let the login proxy in front add the token, or let people log in at elastauth \
         (`login.enabled`)";
    CredentialsRepeated: "credentials_repeated", unauthenticated("more than one credential in the request"),
        "there are several `Authorization` headers: find out which program adds the second";
    CredentialsNotBearer: "credentials_not_bearer", unauthenticated("a bearer token is required"),
        "the credential is not a bearer token: Basic credentials of clients are not passed on";
    CredentialsOurs: "credentials_ours", DENIED,
        "Envoy asked a second time with the credential that elastauth injected: remove `internal_redirect_policy`, and use one \
         filter for each route";

    TokenMalformed: "token_malformed", INVALID_TOKEN,
        "not a signed JSON Web Token: opaque and encrypted ones need another `oidc.token_validation`";
    TokenTooLong: "token_too_long", INVALID_TOKEN,
        "the token is longer than 16 KiB: let the provider put fewer groups into it";
    TokenCriticalHeader: "token_critical_header", INVALID_TOKEN,
        "the token demands an extension (`crit`) that elastauth does not support: let the provider issue tokens without it";
    TokenAlgorithm: "token_algorithm", INVALID_TOKEN,
        "`alg` is not in `oidc.algorithms`, or does not suit the key: let the provider sign with another algorithm";
    TokenSignature: "token_signature", INVALID_TOKEN,
        "the token is forged, or was damaged on its way: find out where the client got it";
    TokenKeyUnknown: "token_key_unknown", INVALID_TOKEN,
        "the token is signed with a key that the provider does not publish: it is another provider's, or old";
    TokenKeyIdMissing: "token_key_id_missing", INVALID_TOKEN,
        "the provider has several keys and the token names none: configure the provider to send `kid`";
    TokenIssuer: "token_issuer", INVALID_TOKEN,
        "`iss` differs from `oidc.issuer`: they are compared to the letter, a trailing slash included";
    TokenAudience: "token_audience", INVALID_TOKEN,
        "`aud` is not `oidc.client_id`: set `oidc.audience`, or let the provider issue tokens for elastauth";
    TokenAuthorizedParty: "token_authorized_party", INVALID_TOKEN,
        "`aud` has other audiences too, and `azp` is none of elastauth's clients: let the provider issue tokens for elastauth \
         alone, or list the client in `oidc.authorized_parties`";
    TokenKind: "token_kind", INVALID_TOKEN,
        "a logout, refresh or other token, by its header or by its claims (`typ`, `token_use`, `token_type`, …): send the access \
         or the ID token";
    TokenBound: "token_bound", INVALID_TOKEN,
        "the token is bound to a key of its client (`cnf`: DPoP, mutual TLS), which elastauth cannot check: let the provider \
         issue bearer tokens";
    TokenExpired: "token_expired", INVALID_TOKEN,
        "the client has to renew its token: if all of them are expired, compare the clocks";
    TokenNotYetValid: "token_not_yet_valid", INVALID_TOKEN,
        "`nbf` is in the future: compare the clocks, or raise `oidc.leeway`";
    TokenIssuedInFuture: "token_issued_in_future", INVALID_TOKEN,
        "`iat` is in the future: compare the clocks, or raise `oidc.leeway`";
    TokenClaimMissing: "token_claim_missing", INVALID_TOKEN,
        "the log names the claim: map another with `oidc.claim_mappings`, or let the provider send it";
    TokenClaimType: "token_claim_type", INVALID_TOKEN,
        "the log names the claim: usernames are strings, groups a string or a list of strings";
    TokenClaimValue: "token_claim_value", DENIED,
        "the log names the claim: `oidc.required_claims` demands another value, so this person is not to be let in";
    TokenRefused: "token_refused", INVALID_TOKEN,
        "the provider does not accept the token: it is expired, revoked, or without the scope `openid` that userinfo needs";
    TokenOtherSubject: "token_other_subject", INVALID_TOKEN,
        "userinfo answered about another `sub` than the token's: look at the provider, or at a cache in front of it";
    EmailUnverified: "email_unverified", DENIED,
        "the username is an e-mail address, from whatever claim, that the provider does not call verified: let the provider verify \
         it, or set `oidc.allow_unverified_email` where administrators set all addresses";

    LoginNonce: "login_nonce", DENIED,
        "the ID token has another `nonce` than the login began with, so it was made for another login: let the person log in again, \
         and if it happens to all of them, look for something that answers in the provider's place";
    LoginAccessTokenHash: "login_access_token_hash", DENIED,
        "`at_hash` of the ID token does not fit the access token that came with it: look at the provider, and at what stands between \
         it and elastauth";
    LogoutTokenInvalid: "logout_token_invalid", invalid("the logout token is not valid"),
        "the log says what is wrong with the logout token: if the provider sent it, compare `oidc.client_id` and the clocks, else \
         somebody tries to log people out";

    IdentitySecret: "identity_secret", DENIED,
        "the call has no `elastauth-secret`, or a wrong one: give it to Envoy in `context_extensions`, and if Envoy has it, find \
         out what else calls";
    IdentityPeer: "identity_peer", DENIED,
        "the client certificate that Envoy saw is not in `authelia.trusted_peers`: list it, if it is the login proxy's";
    IdentityMissing: "identity_missing", unauthenticated("authentication required"),
        "the request names no user: put the login proxy's filter before elastauth's, and let it pass its headers on";
    IdentityRepeated: "identity_repeated", DENIED,
        "a header has two values, or a comma: remove the client's own header early in Envoy";
    IdentityEncoding: "identity_encoding", DENIED,
        "a header has bytes beyond ASCII, or `!`, which replaces them: give the person a plain username, the group a plain name";

    UsernameRefused: "username_refused", DENIED,
        "the username is not `[A-Za-z0-9][A-Za-z0-9._@+-]{0,254}`: map another claim to the username";
    UsernameReserved: "username_reserved", DENIED,
        "the username is that of a built-in user, or of the account that elastauth itself uses: give the person another";
    UsernameTaken: "username_taken", DENIED,
        "the username belongs to another subject, another person or the same one's former account: `elastauth users rebind` in \
         the latter case";
    UserOfAnotherSubject: "user_of_another_subject", DENIED,
        "the Elasticsearch user belongs to another subject, another person or the same one's former account: `elastauth users \
         rebind` in the latter case";
    UserNotManaged: "user_not_managed", DENIED,
        "a person, or the Go service, made this user: `elastauth users adopt`, or delete it, and elastauth makes its own";
    UserDisabled: "user_disabled", DENIED,
        "an administrator disabled the user in Elasticsearch: enable it there to let the person in";
    UserRejected: "user_rejected", DENIED,
        "Elasticsearch answered 400 with an error of its own: the log has its reason";
    PathAmbiguous: "path_ambiguous", invalid("the path is not plain"),
        "there are rules about paths, and servers read this path in different ways: let Envoy normalise it with \
         `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action`";
    PolicyDenied: "policy_denied", DENIED,
        "no rule of `policy.allow` matches: `elastauth explain` tries the rules, and `log_level: debug` logs those that match";
    RolesNone: "roles_none", DENIED,
        "no group of the user is mapped and `default_roles` is empty: add a mapping, or default roles";
    DryRun: "dry_run", DENIED,
        "`elasticsearch.dry_run` is on: without it the user would have been written";

    SessionEnded: "session_ended", unauthenticated("the session has ended"),
        "the session is over: by a logout, by `login.idle_timeout` or `login.session_lifetime`, or the cache has lost it; \
         reloading the page leads to the login";
    CrossSite: "cross_site", DENIED,
        "the request came with a cookie, but not from a page of this host (`Sec-Fetch-Site`, `Origin`): if a program sent it, let \
         it use a token in `Authorization`; if a page of another host did, that page must not";
    LoginPathUnknown: "login_path_unknown", Answer { code: 5, http: 404, text: "no such page" },
        "there is no such page below `login.path`, or not for this method: the documentation lists them";
    LoginCallbackInvalid: "login_callback_invalid", invalid("not an answer of the identity provider"),
        "the browser came to the callback without `code` and `state`, or with one of them twice: nobody but the provider sends \
         browsers there";
    LoginStateUnknown: "login_state_unknown", DENIED,
        "the browser that came back has no cookie of this login: it was begun in another browser or under another host name, it \
         took more than ten minutes, or the browser keeps no cookies; the person can begin anew";
    LoginIssuer: "login_issuer", DENIED,
        "`iss` at the callback is missing or names another provider (RFC 9207): someone mixes up providers, or `oidc.issuer` is not \
         spelt as the provider spells it";
    LoginRefused: "login_refused", DENIED,
        "the provider refused the login, and the log has its `error`: `access_denied` is the person's own doing, others are about \
         the client's registration: redirect URI, scopes, response type";
    LoginCodeRefused: "login_code_refused", DENIED,
        "the provider did not redeem the code, and the log has its `error`: `invalid_client` means `oidc.client_id`, \
         `oidc.client_secret` or `oidc.client_auth_method`; `invalid_grant` a code that was used or is old";
    LoginLoop: "login_loop", Answer { code: 8, http: 429, text: "too many logins" },
        "three logins within 30 seconds and no session stayed: the browser does not keep the cookie `__Host-elastauth`, or replicas \
         do not share the cache and `secret_key`";

    KeysUnavailable: "keys_unavailable", UNAVAILABLE,
        "the provider's keys cannot be fetched: the log has the cause";
    ProviderUnavailable: "provider_unavailable", UNAVAILABLE,
        "the provider does not answer a question about a token, a login, or the refresh of a session: the log has the cause";
    CacheUnavailable: "cache_unavailable", UNAVAILABLE,
        "the cache does not answer: the log has the cause";
    CacheKeyUnknown: "cache_key_unknown", UNAVAILABLE,
        "the record was sealed with another `secret_key`: give every replica the same, or run `elastauth cache purge`";
    CacheFormatNewer: "cache_format_newer", UNAVAILABLE,
        "the record was written by a later release, in a format of its own: finish the upgrade; after a way back to this release, \
         run `elastauth cache purge`";
    CacheOfAnotherCluster: "cache_of_another_cluster", UNAVAILABLE,
        "the record is of another Elasticsearch's user, because two deployments share a cache and a `secret_key`: give each a \
         `cluster` or a `cache.redis_db` of its own, or run `elastauth cache purge --other-clusters` after a migration";
    ProvisioningBusy: "provisioning_busy", UNAVAILABLE,
        "more users are new at once than Elasticsearch writes in time: clients may come again after `Retry-After`; raise \
         `elasticsearch.max_writes` if Elasticsearch has processors to spare";
    ElasticsearchUnavailable: "elasticsearch_unavailable", UNAVAILABLE,
        "Elasticsearch, or the account of elastauth there, does not work, or something on the way answers in its place: the log \
         has the cause";
    DeadlineExceeded: "deadline_exceeded", UNAVAILABLE,
        "the decision took longer than Envoy or `grpc.deadline` allows: give Envoy's filter more time than `grpc.deadline`";
    Overloaded: "overloaded", UNAVAILABLE,
        "more requests at once from callers that are not known here than `grpc.max_in_flight` or the memory for messages allows, or \
         more unknown tokens than the provider answers in time, as the log says: add replicas, or find out what sends so many tokens";
    InternalError: "internal_error", UNAVAILABLE,
        "a fault of elastauth: please report it with the log";
}

impl Reason {
    /// The reason's name in logs, metrics and traces; it never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.verdict().reason
    }

    /// Whether it is the fault of elastauth or of a system that it needs, and not of the request: the same request may be let
    /// through later.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        self.verdict().http == UNAVAILABLE.http
    }
}

impl From<&token::Error> for Reason {
    fn from(error: &token::Error) -> Self {
        use token::Error as E;
        match error {
            E::TooLong => Self::TokenTooLong,
            E::Malformed(_) => Self::TokenMalformed,
            E::Critical => Self::TokenCriticalHeader,
            E::Algorithm | E::Key(KeyError::Algorithm) => Self::TokenAlgorithm,
            E::Key(KeyError::UnknownKey) => Self::TokenKeyUnknown,
            E::Key(KeyError::MissingKid) => Self::TokenKeyIdMissing,
            E::Key(KeyError::Unavailable(_)) => Self::KeysUnavailable,
            E::Signature => Self::TokenSignature,
            E::Issuer => Self::TokenIssuer,
            E::Audience => Self::TokenAudience,
            E::Expired => Self::TokenExpired,
            E::NotYetValid => Self::TokenNotYetValid,
            E::IssuedInFuture => Self::TokenIssuedInFuture,
            E::AuthorizedParty => Self::TokenAuthorizedParty,
            E::Kind => Self::TokenKind,
            E::Bound => Self::TokenBound,
            E::ClaimMissing(_) => Self::TokenClaimMissing,
            E::ClaimType(_) => Self::TokenClaimType,
            E::ClaimValue(_) => Self::TokenClaimValue,
            E::Refused => Self::TokenRefused,
            E::OtherSubject => Self::TokenOtherSubject,
            E::Unanswered(_) => Self::ProviderUnavailable,
            E::Overload => Self::Overloaded,
            E::EmailUnverified => Self::EmailUnverified,
            E::Nonce => Self::LoginNonce,
            E::AccessTokenHash => Self::LoginAccessTokenHash,
            E::LogoutToken(_) => Self::LogoutTokenInvalid,
            E::Username(_) => Self::UsernameRefused,
        }
    }
}

impl From<&headers::Error> for Reason {
    fn from(error: &headers::Error) -> Self {
        use headers::Error as E;
        match error {
            E::Secret => Self::IdentitySecret,
            E::Peer => Self::IdentityPeer,
            E::Missing => Self::IdentityMissing,
            E::Repeated(_) => Self::IdentityRepeated,
            E::Encoding(_) => Self::IdentityEncoding,
            E::Claims(error) => error.into(),
            E::Username(_) => Self::UsernameRefused,
        }
    }
}

impl From<&login::Error> for Reason {
    fn from(error: &login::Error) -> Self {
        use login::Error as E;
        match error {
            E::NoSuchPage => Self::LoginPathUnknown,
            E::Callback(_) => Self::LoginCallbackInvalid,
            E::State => Self::LoginStateUnknown,
            E::Issuer(_) => Self::LoginIssuer,
            E::Provider { .. } => Self::LoginRefused,
            E::Code(_) => Self::LoginCodeRefused,
            E::Loop => Self::LoginLoop,
            E::NoSession => Self::SessionEnded,
            E::LogoutToken(_) => Self::LogoutTokenInvalid,
            E::Token(error) => error.into(),
            E::ProviderUnavailable(_) => Self::ProviderUnavailable,
            E::Store(_) => Self::CacheUnavailable,
            E::Internal(_) => Self::InternalError,
        }
    }
}

impl From<policy::Denied> for Reason {
    fn from(denied: policy::Denied) -> Self {
        match denied {
            policy::Denied::Path(_) => Self::PathAmbiguous,
            policy::Denied::NoRule => Self::PolicyDenied,
        }
    }
}

impl From<&broker::Error> for Reason {
    fn from(error: &broker::Error) -> Self {
        use broker::Error as E;
        match error {
            E::OtherOwner => Self::UsernameTaken,
            E::Refused(refused) => (*refused).into(),
            E::Store(_) => Self::CacheUnavailable,
            E::Unreadable(OpenError::NewerFormat) => Self::CacheFormatNewer,
            E::Unreadable(OpenError::UnknownKey | OpenError::Broken) => Self::CacheKeyUnknown,
            E::OtherCluster => Self::CacheOfAnotherCluster,
            E::Elasticsearch(_) => Self::ElasticsearchUnavailable,
            E::Busy(_) => Self::ProvisioningBusy,
            E::Internal(_) => Self::InternalError,
        }
    }
}

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotOurs => Self::UserNotManaged,
            Refused::OtherOwner => Self::UserOfAnotherSubject,
            Refused::DryRun => Self::DryRun,
            Refused::Disabled => Self::UserDisabled,
            Refused::Reserved => Self::UsernameReserved,
            Refused::Rejected => Self::UserRejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reasons for which calls fail before there is a request: they are in the log alone.
    const BEFORE_A_REQUEST: [&str; 4] = ["message_undecodable", "call_refused", "peer_not_allowed", "tls_handshake"];

    #[test]
    fn reasons_are_snake_case_and_differ_and_no_verdict_allows() {
        let mut names: Vec<&str> = Reason::ALL.map(Reason::name).into();
        for reason in Reason::ALL {
            assert_ne!(reason.verdict().code, 0);
            assert!(reason.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", reason.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn a_cure_is_one_sentence() {
        for reason in Reason::ALL {
            let cure = reason.cure();
            let words = cure.split(' ').count();
            assert!(words > 5 && !cure.ends_with('.') && !cure.contains(['\n', '|']) && !cure.contains("  "), "{cure}");
        }
    }

    /// The lines of the table of refusals: name, status and cure.
    #[test]
    fn the_documentation_has_a_line_with_the_status_and_a_cure_for_each_reason() {
        let page = include_str!("../../docs/troubleshooting.md");
        let row = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | ")));
            let line = line.unwrap_or_else(|| panic!("the table of refusals has no line for {name}"));
            let (status, cure) = line.split_once(" | ").unwrap();
            let cure = cure.trim_end_matches([' ', '|']);
            assert!(cure.split(' ').count() > 2, "{name} has no cure");
            (status.to_owned(), cure.to_owned())
        };
        for reason in Reason::ALL {
            let expected = (reason.verdict().http.to_string(), reason.cure().to_owned());
            assert_eq!(row(reason.name()), expected, "{}", reason.name());
        }
        for name in BEFORE_A_REQUEST {
            row(name);
        }
    }
}

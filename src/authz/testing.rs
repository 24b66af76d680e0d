//! What the tests of several modules share: a refusal for each reason.

use std::time::Duration;

use ::http::HeaderName;

use super::{Reason, Refusal, policy};
use crate::credentials::{Busy, Refused, StoreError, broker, seal};
use crate::identity::{KeyError as K, UsernameError, headers, token};
use crate::login;
use crate::roles::NoRoles;

/// At least one refusal for each reason.
pub(crate) fn refusals() -> Vec<Refusal> {
    use broker::Error as B;
    use login::Error as L;
    use token::Error as T;
    let name = HeaderName::from_static("remote-user");
    let own = [
        Refusal::NoRequest,
        Refusal::NoCredentials,
        Refusal::SeveralCredentials,
        Refusal::NoBearer,
        Refusal::OwnCredential,
        Refusal::Policy(policy::Denied::Path(policy::Ambiguity::NoSlash)),
        Refusal::Policy(policy::Denied::NoRule),
        Refusal::NoRoles(NoRoles),
        Refusal::Deadline,
        Refusal::Overload,
        Refusal::Panic,
        Refusal::SessionEnded,
        Refusal::CrossSite,
    ];
    let login = [
        L::NoSuchPage,
        L::Callback(login::NoCallback::Neither),
        L::State,
        L::Issuer("another".into()),
        L::Provider { error: "access_denied".into(), description: None },
        L::Code("invalid_grant".into()),
        L::Loop,
        L::Token(T::Nonce),
        L::ProviderUnavailable("down".into()),
        L::Store(StoreError::Unavailable("down".into())),
        L::Internal("bug".into()),
    ];
    let refused = [
        Refused::NotOurs,
        Refused::OtherOwner,
        Refused::Disabled,
        Refused::Reserved,
        Refused::Rejected,
        Refused::DryRun,
    ];
    let credentials = [
        B::OtherOwner,
        B::Store(StoreError::Unavailable("down".into())),
        B::Unreadable(seal::OpenError::UnknownKey),
        B::Unreadable(seal::OpenError::NewerFormat),
        B::OtherCluster,
        B::Elasticsearch("down".into()),
        B::Busy(Busy { again: Duration::from_secs(2) }),
        B::Internal("bug".into()),
    ];
    let tokens = [
        T::TooLong,
        T::Malformed("x"),
        T::Critical,
        T::Algorithm,
        T::Key(K::Algorithm),
        T::Key(K::UnknownKey),
        T::Key(K::MissingKid),
        T::Key(K::Unavailable("down".into())),
        T::Signature,
        T::Issuer,
        T::Audience,
        T::Expired,
        T::NotYetValid,
        T::IssuedInFuture,
        T::AuthorizedParty,
        T::Kind,
        T::Bound,
        T::ClaimMissing("sub".into()),
        T::ClaimType("sub".into()),
        T::ClaimValue("tid".into()),
        T::Refused,
        T::OtherSubject,
        T::Unanswered("down".into()),
        T::Overload,
        T::EmailUnverified,
        T::Nonce,
        T::AccessTokenHash,
        T::LogoutToken("it has no event of a logout".into()),
        T::Username(UsernameError::Empty),
    ];
    let headers = [
        headers::Error::Secret,
        headers::Error::Peer,
        headers::Error::Missing,
        headers::Error::Repeated(name.clone()),
        headers::Error::Encoding(name),
        headers::Error::Claims(T::ClaimMissing("groups".into())),
        headers::Error::Username(UsernameError::Empty),
    ];
    let all = own.into_iter().chain(tokens.map(Refusal::Token)).chain(headers.map(Refusal::Headers));
    all.chain(refused.map(|refused| Refusal::Credentials(B::Refused(refused))))
        .chain(credentials.map(Refusal::Credentials))
        .chain(login.map(Refusal::Login))
        .collect()
}

#[test]
fn there_is_a_refusal_for_each_reason() {
    let refusals = refusals();
    for reason in Reason::ALL {
        assert!(refusals.iter().any(|refusal| refusal.reason() == reason), "{reason:?}");
    }
}

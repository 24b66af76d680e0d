//! The name of a record in the store: of a user's credential, of a session, of a logout.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::identity::Username;

/// The beginning of the name of every record.
const PREFIX: &str = "elastauth-";

/// The name of a record in the store: `elastauth-` and, for a user's credential, the percent-encoded standard base64 of the
/// username.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// `john.doe` → `elastauth-am9obi5kb2U%3D`, the format of the Go service.
    #[must_use]
    pub fn of(username: &Username) -> Self {
        let encoded = STANDARD.encode(username.as_str());
        let escaped = percent_encoding::utf8_percent_encode(&encoded, percent_encoding::NON_ALPHANUMERIC);
        Self(format!("{PREFIX}{escaped}").into())
    }

    /// `elastauth-KIND-` and the base64url of the digest, without padding: a record of the login. No user's record has such a
    /// name, since a hyphen is percent-encoded there.
    #[must_use]
    pub(crate) fn of_digest(kind: &str, digest: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{kind}-{}", URL_SAFE_NO_PAD.encode(digest)).into())
    }

    /// Whether [`Self::of_digest`] gives records of this kind such names.
    #[must_use]
    pub(crate) fn is_of_kind(&self, kind: &str) -> bool {
        let rest = self.0.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(kind));
        rest.is_some_and(|rest| rest.starts_with('-'))
    }

    /// A key that was found in a store; none where it is not the key of a record.
    #[must_use]
    pub fn known(name: &str) -> Option<Self> {
        name.starts_with(PREFIX).then(|| Self(name.into()))
    }

    /// The key as text, as stores use it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_key_has_the_documented_format() {
        let key = CacheKey::of(&Username::parse("john.doe").unwrap());
        assert_eq!(key.as_str(), "elastauth-am9obi5kb2U%3D");
        let key = CacheKey::of(&Username::parse("a>>>?".replace(['>', '?'], "+").as_str()).unwrap());
        assert!(!key.as_str()["elastauth-".len()..].contains(['+', '/', '=']));
    }

    #[test]
    fn no_user_has_the_record_of_a_session() {
        let session = CacheKey::of_digest("session", &[0xff; 32]);
        assert_eq!(session.as_str(), "elastauth-session-__________________________________________8");
        assert!(session.is_of_kind("session") && !session.is_of_kind("logout") && !session.is_of_kind("sess"));
        for name in ["session", "session-x", "s"] {
            assert!(!CacheKey::of(&Username::parse(name).unwrap()).is_of_kind("session"));
        }
    }
}

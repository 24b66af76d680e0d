//! The name of a user's record in the store.

use std::sync::Arc;

use crate::identity::Username;

/// The beginning of the name of every record.
const PREFIX: &str = "elastauth-";

/// The name of a record in the store: `elastauth-` and the percent-encoded standard base64 of the username.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// `john.doe` → `elastauth-am9obi5kb2U%3D`, the format of the Go service.
    #[must_use]
    pub fn of(username: &Username) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(username.as_str());
        let escaped = percent_encoding::utf8_percent_encode(&encoded, percent_encoding::NON_ALPHANUMERIC);
        Self(format!("{PREFIX}{escaped}").into())
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
}

//! An identity together with what keeps it true.

use std::sync::Arc;
use std::time::SystemTime;

use super::Identity;
use super::jwks::Key;

/// The result of a verification.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The caller that the token, or the provider's answer, stands for.
    pub identity: Identity,
    /// How long it may be kept.
    pub validity: Validity,
}

/// What keeps a verification true: nothing else about a token changes with time.
#[derive(Clone, Debug)]
pub struct Validity {
    /// The key that signed the token; none for an answer of the provider.
    key: Option<Arc<Key>>,
    until: SystemTime,
}

impl Verified {
    /// By a signature: until the token's `exp` with the leeway, and as long as the provider publishes the key.
    pub(super) fn by_key(identity: Identity, key: Arc<Key>, until: SystemTime) -> Self {
        Self { identity, validity: Validity { key: Some(key), until } }
    }

    /// By the provider's word: until that is no longer taken for granted.
    pub(super) fn by_answer(identity: Identity, until: SystemTime) -> Self {
        Self { identity, validity: Validity { key: None, until } }
    }
}

impl Validity {
    #[cfg(test)]
    pub(super) fn until(until: SystemTime) -> Self {
        Self { key: None, until }
    }

    /// Whether the token would verify now as it did. Cheap: a comparison and one load of a flag.
    #[must_use]
    pub fn holds(&self, now: SystemTime) -> bool {
        now < self.until && self.key.as_ref().is_none_or(|key| !key.is_withdrawn())
    }
}

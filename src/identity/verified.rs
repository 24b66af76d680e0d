//! An identity together with what keeps it true.

use std::sync::Arc;
use std::time::SystemTime;

use super::Identity;
use super::jwks::Key;

/// What a verification came to. It may be kept as long as it [`holds`](Self::holds): nothing else about the token
/// changes with time.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who.
    pub identity: Identity,
    /// The key that signed the token; none for an answer of the provider.
    key: Option<Arc<Key>>,
    until: SystemTime,
}

impl Verified {
    /// By a signature: until the token's `exp` with the leeway, and as long as the provider publishes the key.
    pub(super) fn by_key(identity: Identity, key: Arc<Key>, until: SystemTime) -> Self {
        Self { identity, key: Some(key), until }
    }

    /// Whether the token would verify now as it did. Cheap: a comparison and one load of a flag.
    #[must_use]
    pub fn holds(&self, now: SystemTime) -> bool {
        now < self.until && self.key.as_ref().is_none_or(|key| !key.is_withdrawn())
    }
}

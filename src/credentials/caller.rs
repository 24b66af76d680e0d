//! Who asks for a credential.

use super::CacheKey;
use super::agreement::Want;
use crate::identity::Identity;
use crate::roles::Roles;

/// A verified person and the roles of that person, prepared for the broker: what a hit compares is made once for each token
/// and not once for each request.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    pub(super) want: Want,
    pub(super) key: CacheKey,
}

impl Caller {
    /// Joins the two.
    #[must_use]
    pub fn new(identity: Identity, roles: Roles) -> Self {
        let want = Want { owner: identity.owner.clone(), roles, as_of: identity.as_of };
        let key = CacheKey::of(&identity.username);
        Self { identity, want, key }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

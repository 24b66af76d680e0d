//! The caller for which a credential is obtained.

use super::CacheKey;
use super::agreement::Entitlement;
use crate::bounded_cache::Size;
use crate::identity::Identity;
use crate::roles::{Roles, Version};

/// A verified identity with its roles, prepared for the broker: what a hit compares is made once for each token and not once
/// for each request.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    pub(super) entitlement: Entitlement,
    pub(super) key: CacheKey,
}

impl Caller {
    /// A caller with this identity and these roles.
    #[must_use]
    pub fn new(identity: Identity, roles: Roles) -> Self {
        // the broker knows since when its configuration is in force, and puts that in
        let mapping = Version::default();
        let entitlement = Entitlement { owner: identity.owner.clone(), roles, as_of: identity.as_of, mapping };
        let key = CacheKey::of(&identity.username);
        Self { identity, entitlement, key }
    }

    /// The roles that its groups give.
    #[must_use]
    pub fn roles(&self) -> &Roles {
        &self.entitlement.roles
    }

    /// The verified identity, with its groups and claims.
    #[must_use]
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Counts the texts, with the reference counts of shared ones. The names of roles are shared with the mapping, and not counted.
impl Size for Caller {
    fn size(&self) -> usize {
        let Self { identity, entitlement, key } = self;
        let Identity { username, owner, email, full_name, groups, claims, as_of: _, expires: _ } = identity;
        let text = |text: &String| size_of::<String>() + text.len();
        let shared = [username.as_str(), &owner.issuer, &owner.subject, key.as_str()].map(|text| 16 + text.len());
        let values = |(name, values): &(String, Vec<String>)| 24 + text(name) + values.iter().map(text).sum::<usize>();
        size_of::<Self>()
            + shared.iter().sum::<usize>()
            + email.iter().chain(full_name).chain(groups).map(text).sum::<usize>()
            + claims.iter().map(values).sum::<usize>()
            + entitlement.roles.size()
    }
}

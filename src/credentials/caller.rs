//! Who asks for a credential.

use super::CacheKey;
use super::agreement::Entitlement;
use crate::bounded_cache::Size;
use crate::identity::Identity;
use crate::roles::{Roles, Version};

/// A verified person and the roles of that person, prepared for the broker: what a hit compares is made once for each token
/// and not once for each request.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    pub(super) entitlement: Entitlement,
    pub(super) key: CacheKey,
}

impl Caller {
    /// Joins the two.
    #[must_use]
    pub fn new(identity: Identity, roles: Roles) -> Self {
        // the broker knows since when the configuration counts
        let mapping = Version::default();
        let entitlement = Entitlement { owner: identity.owner.clone(), roles, as_of: identity.as_of, mapping };
        let key = CacheKey::of(&identity.username);
        Self { identity, entitlement, key }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Texts, with the counters of those that are shared. The names of the roles are the mapping's own.
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

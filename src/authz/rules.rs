//! The operator's rules, by which an identity becomes a caller with roles.

use super::policy::Policy;
use crate::credentials::Caller;
use crate::identity::Identity;
use crate::roles::{Mapping, NoRoles};

/// The rules about callers: groups to roles, and which requests get through.
#[derive(Debug)]
pub struct Rules {
    /// `policy.*`.
    pub policy: Policy,
    /// `default_roles`, `group_mappings` and `allow_no_roles`.
    pub mapping: Mapping,
}

impl Rules {
    /// The caller with the roles of its groups. Of groups and claims only what the policy looks at is kept.
    pub fn caller(&self, mut identity: Identity) -> Result<Caller, NoRoles> {
        let roles = self.mapping.roles(&identity.groups)?;
        self.policy.reduce(&mut identity);
        Ok(Caller::new(identity, roles))
    }
}

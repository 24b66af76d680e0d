//! A user of Elasticsearch, as it is to be written and as it is found.

use std::sync::Arc;

use super::agreement::Standing;
use super::agreement::standing::outranked;
use super::durable_copy::SealedCopy;
use super::{Day, RequestContext};
use crate::digest::Digest;
use crate::identity::{Millis, Owner, Username};
use crate::roles::{Roles, Version};

/// A user as it is to be written.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// The username, which is also part of the path of the write.
    pub username: Username,
    /// The (issuer, subject) to which the username belongs; part of the stamp in the user's metadata.
    pub owner: Owner,
    /// The complete set of the user's roles.
    pub roles: Roles,
    /// The time at which the roles were true; part of the stamp.
    pub as_of: Millis,
    /// The configuration that turned the user's groups into the roles; part of the stamp.
    pub mapping: Version,
    /// The full name, which Kibana shows; none if the caller brings none.
    pub full_name: Option<String>,
    /// The email address, which Kibana shows; none if the caller brings none.
    pub email: Option<String>,
    /// The cluster's own id, where it is known; part of the stamp, where it shows that a user was restored from another
    /// cluster's snapshot.
    pub cluster_uuid: Option<Arc<str>>,
    /// The day of the write; part of the stamp, where it makes inactivity visible.
    pub seen: Day,
    /// The sealed password, which is stored beside the stamp, also by a write of roles alone. Without one nothing is stored, and
    /// what was there before is removed.
    pub copy: Option<SealedCopy>,
    /// The request that asked for the user.
    pub context: RequestContext,
}

impl UserSpec {
    /// Whether the stamp in Elasticsearch takes precedence over what is to be written.
    #[must_use]
    pub(crate) fn is_outranked_by(&self, stamp: &Standing) -> bool {
        let Self { mapping, as_of, ref roles, .. } = *self;
        outranked(&Standing { mapping, as_of, roles: roles.clone() }, stamp).is_some()
    }
}

/// What Elasticsearch has under a username, seen from one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Existing {
    /// There is no such user.
    Absent,
    /// A user with elastauth's stamp that is this owner's and enabled.
    Ours(Ours),
}

/// What Elasticsearch has with a user of elastauth's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ours {
    /// The roles that the user has, and what its stamp says of them. None where the stamp has no time of the roles, or was
    /// restored from another cluster.
    pub standing: Option<Standing>,
    /// The sealed password that is stored beside the stamp, if there is one. Only a login shows whether it is still right.
    pub copy: Option<SealedCopy>,
}

/// The elastauth with another store that wrote a user last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherWriter {
    /// The name of its store in the stamp: a digest.
    pub theirs: String,
    /// The name of this process's store.
    pub ours: String,
}

/// The name of the store of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreName {
    /// The name in logs, for operators: it may be an address.
    pub name: String,
    /// The name in stamps, which every user may read in its own metadata: a digest.
    pub mark: String,
}

impl StoreName {
    /// Whether a stamp names this store. Earlier releases wrote the name itself into stamps.
    #[must_use]
    pub(crate) fn is(&self, stamped: &str) -> bool {
        stamped == self.mark || stamped == self.name
    }
}

impl From<&str> for StoreName {
    /// Marks it with a plain digest, for names that are not worth guessing.
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), mark: Digest::of([name]).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_known_by_its_mark_and_by_the_name_that_older_releases_wrote() {
        let ours = StoreName::from("redis 10.0.0.1:6379, database 0");
        let others = StoreName::from("redis 10.0.0.2:6379, database 0");
        assert!(ours.is(&ours.mark) && ours.is(&ours.name));
        assert!(!ours.is(&others.mark) && !ours.is(&others.name) && !ours.is(""));
        assert!(!ours.mark.contains("10.0.0.1"));
    }
}

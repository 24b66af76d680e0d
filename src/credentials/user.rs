//! A user of Elasticsearch: as it is to be, and as it is found.

use std::sync::Arc;

use super::agreement::Standing;
use super::agreement::standing::outranked;
use super::{Day, RequestContext};
use crate::digest::Digest;
use crate::identity::{Millis, Owner, Username};
use crate::roles::{Roles, Version};

/// The user as Elasticsearch is to have it.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// The user's name.
    pub username: Username,
    /// Goes into the user's metadata, with our stamp.
    pub owner: Owner,
    /// The complete set.
    pub roles: Roles,
    /// When the roles were true; goes into the metadata.
    pub as_of: Millis,
    /// The configuration that turned the user's groups into the roles; goes into the metadata.
    pub mapping: Version,
    /// Shown in Kibana.
    pub full_name: Option<String>,
    /// Shown in Kibana.
    pub email: Option<String>,
    /// What the cluster calls itself, where that is known; goes into the metadata, and tells a user that was restored from
    /// another cluster's snapshot.
    pub cluster_uuid: Option<Arc<str>>,
    /// The day of the write; goes into the metadata, where it makes inactivity visible.
    pub seen: Day,
    /// The request that asked for the user.
    pub context: RequestContext,
}

impl UserSpec {
    /// Whether what stands in Elasticsearch counts for more than what is to be written.
    #[must_use]
    pub fn is_outranked_by(&self, stamp: &Standing) -> bool {
        let Self { mapping, as_of, ref roles, .. } = *self;
        outranked(&Standing { mapping, as_of, roles: roles.clone() }, stamp).is_some()
    }
}

/// What stands in Elasticsearch under a name, seen from one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Existing {
    /// Nobody.
    Absent,
    /// Ours, this owner's, and enabled: with the roles that it has, and what its stamp says of them. None where the stamp does
    /// not say when they were true, or is of another cluster, out of which it was restored.
    Ours(Option<Standing>),
}

/// That another elastauth wrote a user last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherWriter {
    /// What its stamp says of its store: a digest of the name.
    pub theirs: String,
    /// The name of ours.
    pub ours: String,
}

/// How the store of the records is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreName {
    /// For operators: it may be an address.
    pub name: String,
    /// What users' stamps say instead, since every user may read its own metadata.
    pub mark: String,
}

impl StoreName {
    /// Whether a stamp names this store. Releases before this one wrote the name itself.
    #[must_use]
    pub fn is(&self, stamped: &str) -> bool {
        stamped == self.mark || stamped == self.name
    }
}

impl From<&str> for StoreName {
    /// Marked with a plain digest: for names that nobody would guess at.
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

//! Which Elasticsearch a record belongs to.
//!
//! Two deployments may share one Redis and one `secret_key` without knowing it. So each record says for which cluster it was
//! made: by the id that the cluster gave itself, and by the addresses under which it is asked, which are known also while it
//! is away. Both are inside the sealed part, where nobody can change them.

use std::sync::Arc;

use crate::digest::Digest;

/// A cluster, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// What it calls itself (`cluster_uuid`); none as long as it has not said so, or where the account may not ask.
    pub uuid: Option<Arc<str>>,
    /// Of the addresses; none in a record of a release that did not note them.
    pub hosts: Option<Digest>,
}

/// Whose a record is, seen from one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// This cluster's, as far as can be known.
    Here,
    /// That of a cluster which this one has replaced at the same addresses: of no use to anybody.
    ToPredecessor,
    /// Another deployment's.
    Elsewhere,
}

impl Cluster {
    /// Whose a record is that says it is this one's.
    #[must_use]
    pub fn whose(&self, record: &Self) -> Belongs {
        let same_hosts = match (self.hosts, record.hosts) {
            (Some(ours), Some(theirs)) => ours == theirs,
            // of an older release: nothing speaks against it
            (_, None) | (None, _) => true,
        };
        match (&self.uuid, &record.uuid) {
            (Some(ours), Some(theirs)) if ours == theirs => Belongs::Here,
            (Some(_), Some(_)) if same_hosts => Belongs::ToPredecessor,
            (None, _) | (_, None) if same_hosts => Belongs::Here,
            (Some(_) | None, Some(_) | None) => Belongs::Elsewhere,
        }
    }

    /// With the id that a record of this cluster has, where this one's is not known at the moment.
    #[must_use]
    pub fn or_as(&self, record: &Self) -> Self {
        Self { uuid: self.uuid.clone().or_else(|| record.uuid.clone()), hosts: self.hosts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_by_the_id_and_where_that_is_not_known_by_the_addresses() {
        use Belongs::{Elsewhere, Here, ToPredecessor};
        let cluster = |uuid: &str, hosts: u64| Cluster {
            uuid: Some(uuid).filter(|uuid| !uuid.is_empty()).map(Arc::from),
            hosts: Some(hosts).filter(|hosts| *hosts > 0).map(Digest),
        };
        for (ours, record, expected) in [
            (("a", 1), ("a", 1), Here),
            (("a", 1), ("a", 2), Here),
            (("b", 1), ("a", 1), ToPredecessor),
            (("b", 2), ("a", 1), Elsewhere),
            // not known here, as while it is away since the start
            (("", 1), ("a", 1), Here),
            (("", 2), ("a", 1), Elsewhere),
            // not known when it was written
            (("a", 1), ("", 1), Here),
            (("a", 2), ("", 1), Elsewhere),
            (("", 2), ("", 1), Elsewhere),
            // older releases
            (("a", 1), ("", 0), Here),
            (("", 1), ("", 0), Here),
        ] {
            let found = cluster(ours.0, ours.1).whose(&cluster(record.0, record.1));
            assert_eq!(found, expected, "{ours:?} {record:?}");
        }
    }
}

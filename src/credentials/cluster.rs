//! Identifies the Elasticsearch cluster that a record belongs to.
//!
//! Two deployments may share one Redis and one `secret_key` by mistake. So each record names the cluster for which it was made:
//! by the id that the cluster gave itself, and by the addresses at which it is asked, which are known also while it does not
//! answer. Both are inside the sealed part, which cannot be changed without the key.

use std::sync::Arc;

use crate::digest::Digest;

/// What identifies a cluster, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The id that the cluster gave itself (`cluster_uuid`); none until it has answered, or where the account may not ask.
    pub uuid: Option<Arc<str>>,
    /// Digest of the addresses; none in a record of a release that did not store it.
    pub hosts: Option<Digest>,
}

/// The cluster of a record, compared with this process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// The record is of this cluster, as far as can be known.
    Here,
    /// The record is of a cluster that this one has replaced at the same addresses: it is of no use any more.
    ToPredecessor,
    /// The record is of another deployment's cluster.
    Elsewhere,
}

impl Cluster {
    /// The relation of a record of the cluster `record` to this cluster.
    #[must_use]
    pub fn relation(&self, record: &Self) -> Belongs {
        let same_hosts = match (self.hosts, record.hosts) {
            (Some(ours), Some(theirs)) => ours == theirs,
            // of an older release, which stored no addresses
            (_, None) | (None, _) => true,
        };
        match (&self.uuid, &record.uuid) {
            (Some(ours), Some(theirs)) if ours == theirs => Belongs::Here,
            (Some(_), Some(_)) if same_hosts => Belongs::ToPredecessor,
            (None, _) | (_, None) if same_hosts => Belongs::Here,
            (Some(_) | None, Some(_) | None) => Belongs::Elsewhere,
        }
    }

    /// This cluster with the id that a record of it has, where the id is not known at the moment.
    #[must_use]
    pub fn or_as(&self, record: &Self) -> Self {
        Self { uuid: self.uuid.clone().or_else(|| record.uuid.clone()), hosts: self.hosts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_belongs_where_the_id_is_the_same_and_where_that_is_not_known_the_addresses() {
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
            // not known here, as while it has not answered since the start
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
            let found = cluster(ours.0, ours.1).relation(&cluster(record.0, record.1));
            assert_eq!(found, expected, "{ours:?} {record:?}");
        }
    }
}

//! The settings of the broker: how long records, leases and confirmations last.

use std::time::Duration;

use super::near_cache::Settings as NearCacheSettings;
use crate::digest::Digest;

/// How long records, leases and confirmations last.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `cache.expiration`: the life of a ready record.
    pub expiration: Duration,
    /// `extend_cache`: whether a use in the second half of a record's life extends it.
    pub extend: bool,
    /// The bounds of the near cache, which is this process's own.
    pub near: NearCacheSettings,
    /// `elasticsearch.settling`: how long after a write an earlier one may still be applied. Default 90 s.
    pub settling: Duration,
    /// `elasticsearch.confirm_interval`: the time between two confirmations of a record in use. Default 15 min.
    pub confirm_interval: Duration,
    /// The digest of what turns groups into roles, by which replicas recognise another configuration.
    pub mapping: Digest,
    /// The longest that the store may take for one operation: its own time-out and a little more.
    pub store_timeout: Duration,
    /// `elasticsearch.write_timeout`: the longest that one write of a user may take. A lease lasts two seconds longer.
    pub write_timeout: Duration,
}

/// How much longer than `write_timeout` a lease lasts.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

impl Settings {
    /// How long a lease lasts.
    pub(super) fn lease_time(&self) -> Duration {
        self.write_timeout + LEASE_MARGIN
    }
}

//! What all flights of this process share, and reading the store.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::maintenance::{BROKEN_JUST_NOW, Maintenance};
use super::refusals::Refusals;
use super::running::Running;
use super::{Broker, Error};
use crate::clock::{jittered, now_millis};
use crate::credentials::admission::Admission;
use crate::credentials::agreement::Entitlement;
use crate::credentials::breaker::Breaker;
use crate::credentials::near_cache::NearCache;
use crate::credentials::record::{LeaseHolder, Phase, Written};
use crate::credentials::seal::{OpenError, Seal};
use crate::credentials::{Belongs, CacheKey, Cluster, Entry, Provisioner, Settings, Store};
use crate::identity::{AsOf, Millis};
use crate::roles::Version;
use crate::spans;

/// Beyond `write_timeout`: how much longer a claim lasts.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// No record lives longer than this, however often it is used.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Between two changes of a user's roles by callers whose roles carry no time of their own.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);

/// What all flights of this process share.
pub(super) struct Shared<S, P> {
    pub(super) store: Breaker<S>,
    pub(super) provisioner: P,
    pub(super) seal: Seal,
    pub(super) near: NearCache,
    pub(super) settings: Settings,
    pub(super) me: LeaseHolder,
    pub(super) running: Running,
    pub(super) admission: Admission,
    pub(super) refusals: Refusals,
    pub(super) maintenance: Maintenance,
}

/// What was last read from, or written to, the store.
#[derive(Debug)]
pub(in crate::credentials) struct Current {
    pub(in crate::credentials) bytes: Vec<u8>,
    pub(in crate::credentials) written: Written,
    /// Life that was left at `at`.
    pub(in crate::credentials) remaining: Duration,
    /// Before the store was asked.
    pub(in crate::credentials) at: Instant,
}

/// What reading the store gave.
pub(super) enum Peek {
    Nothing,
    Broken(Entry),
    Record(Box<Current>),
}

impl Current {
    /// A ready record that fits, for a caller by this configuration.
    pub(in crate::credentials) fn serves(&self, entitlement: &Entitlement, running: impl FnOnce() -> Version) -> bool {
        let record = &self.written.record;
        record.phase.is_ready()
            && record.owner == entitlement.owner
            // what nearly every hit ends with
            && (record.roles == entitlement.roles || self.counts_for_more(&Entitlement { mapping: running(), ..entitlement.clone() }))
    }

    fn counts_for_more(&self, entitlement: &Entitlement) -> bool {
        let record = &self.written.record;
        entitlement.is_satisfied_by(record)
            || (!entitlement.mapping.is_later_than(record.mapping) && self.changed_since(entitlement.as_of))
    }

    /// Whether roles that carry no time of the provider's must leave this record as it is: they are older than it by the
    /// store's clock, or it has changed just now. A confirmation is no change.
    pub(super) fn changed_since(&self, as_of: AsOf) -> bool {
        match as_of {
            AsOf::At(_) => false,
            AsOf::Answered(asked) => self.changed_just_now() || self.age() <= asked.elapsed(),
            AsOf::Now => self.changed_just_now(),
        }
    }

    /// With the caller's own copies of what is equal, so that both are kept once.
    pub(super) fn sharing(mut self, entitlement: &Entitlement) -> Self {
        let record = &mut self.written.record;
        if record.owner == entitlement.owner {
            record.owner = entitlement.owner.clone();
        }
        if record.roles == entitlement.roles {
            record.roles = entitlement.roles.clone();
        }
        self
    }

    fn changed_just_now(&self) -> bool {
        self.written.record.phase != Phase::Confirmed && self.age() < BETWEEN_CHANGES
    }

    /// How long the phase has lasted by now.
    pub(super) fn age(&self) -> Duration {
        self.written.age(self.remaining).saturating_add(self.at.elapsed())
    }
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Drops what this process keeps and nobody will be served with any more.
    pub fn sweep(&self) {
        let Shared { near, admission, refusals, maintenance, settings, .. } = &*self.shared;
        near.sweep();
        admission.sweep();
        refusals.sweep();
        maintenance.sweep(settings);
    }
}

impl<S: Store, P: Provisioner> Shared<S, P> {
    pub(super) async fn peek(&self, key: &CacheKey) -> Result<Peek, Error> {
        let at = Instant::now();
        self.found(key, self.store.get(key).await?, at).await
    }

    /// For a caller who cannot be served otherwise.
    pub(super) async fn peek_if_alive(&self, key: &CacheKey) -> Result<Peek, Error> {
        let at = Instant::now();
        self.found(key, self.store.get_if_alive(key).await?, at).await
    }

    async fn found(&self, key: &CacheKey, entry: Option<Entry>, at: Instant) -> Result<Peek, Error> {
        match entry {
            Some(entry) => self.opened(key, entry, at).await,
            None => Ok(Peek::Nothing),
        }
    }

    /// `at` is before the store was asked.
    pub(super) async fn opened(&self, key: &CacheKey, entry: Entry, at: Instant) -> Result<Peek, Error> {
        let opened = self.seal.open(key, &entry.bytes).map(|plain| Written::decode(&plain));
        let written = match opened {
            Ok(Ok(written)) => written,
            Err(OpenError::UnknownKey) => return Err(Error::Unreadable(OpenError::UnknownKey)),
            Ok(Err(_)) | Err(OpenError::Broken) => {
                if self.maintenance.broken.may(key, BROKEN_JUST_NOW) {
                    tracing::warn!(cacheKey = key.as_str(), "the cached record is broken and will be replaced");
                }
                return Ok(Peek::Broken(entry));
            }
        };
        match self.whose(&written.cluster).await {
            Belongs::Here => {}
            Belongs::ToPredecessor => {
                tracing::warn!(
                    cacheKey = key.as_str(),
                    "the cached record is of a cluster that stood at the same addresses before, and will be replaced"
                );
                return Ok(Peek::Broken(entry));
            }
            Belongs::Elsewhere => return Err(Error::OtherCluster),
        }
        let Entry { bytes, remaining } = entry;
        self.running.read(written.record.mapping, written.age(remaining));
        Ok(Peek::Record(Box::new(Current { bytes, written, remaining, at })))
    }

    /// Nothing may be known of the cluster yet, or what is known may be out of date, as after an outage in which it was replaced:
    /// before a record is held against it, it is asked.
    async fn whose(&self, record: &Cluster) -> Belongs {
        let cluster = self.provisioner.cluster();
        match cluster.whose(record) {
            Belongs::Here if cluster.uuid.is_some() || record.uuid.is_none() => Belongs::Here,
            _ => self.ask_cluster().await.whose(record),
        }
    }

    pub(super) async fn ask_cluster(&self) -> Cluster {
        self.provisioner.ask_cluster().instrument(spans::span!("ask cluster")).await
    }

    /// The caller's roles, as the configuration of this process gives them.
    pub(super) fn wanted(&self, entitlement: &Entitlement) -> Entitlement {
        Entitlement { mapping: self.running.version(), ..entitlement.clone() }
    }

    /// Forgets the users of a cluster that was replaced, for as long as the process lives.
    pub(super) async fn follow_cluster(&self) {
        loop {
            self.provisioner.rebuilt().await;
            self.near.clear();
        }
    }

    /// How long a claim lasts.
    pub(super) fn lease_time(&self) -> Duration {
        self.settings.write_timeout + LEASE_MARGIN
    }

    /// `cache.expiration`, less up to 10 % so that what was written together does not end together, and never past the
    /// hard maximum from `born`.
    pub(super) fn ready_life(&self, born: Millis) -> Duration {
        let life = jittered(self.settings.expiration, 0.9..=1.0);
        let left = MAX_AGE.saturating_sub(Duration::from_millis(now_millis().saturating_sub(born)));
        life.min(left).max(Duration::from_secs(1))
    }
}

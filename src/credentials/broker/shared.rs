//! What all runs of this process share, and how it reads records from the store.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::Error;
use super::kept_passwords::KeptPasswords;
use super::limits::{BROKEN_JUST_NOW, MaintenanceLimits};
use super::refusals::Refusals;
use super::running::Running;
use crate::clock::{jittered, now_millis};
use crate::credentials::admission::Admission;
use crate::credentials::agreement::Entitlement;
use crate::credentials::near_cache::NearCache;
use crate::credentials::record::{LeaseHolder, Written};
use crate::credentials::seal::{OpenError, Seal};
use crate::credentials::stored::Current;
use crate::credentials::timed_store::TimedStore;
use crate::credentials::{Belongs, CacheKey, Cluster, Entry, Provisioner, Settings, Store};
use crate::identity::Millis;
use crate::spans;

/// No password is used for longer than this, however often its record is.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The age at which the password of a record in use is replaced: a day before [`MAX_AGE`], so that no request has to wait for it.
pub(super) const ROTATED_AT: Duration = Duration::from_secs(29 * 24 * 3600);

/// What all runs of this process share.
pub(super) struct Shared<S, P> {
    pub(super) store: TimedStore<S>,
    pub(super) provisioner: P,
    pub(super) seal: Seal,
    pub(super) near_cache: NearCache,
    pub(super) settings: Settings,
    /// This process as a holder of leases.
    pub(super) me: LeaseHolder,
    pub(super) running: Running,
    pub(super) admission: Admission,
    pub(super) refusals: Refusals,
    pub(super) limits: MaintenanceLimits,
    pub(super) kept_passwords: KeptPasswords,
    /// Runs and maintenance, which the end of the process waits for: a write that is under way is neither repeated by another
    /// replica nor missed.
    pub(super) background: TaskTracker,
}

/// What a read of the store gave.
pub(super) enum Peek {
    Nothing,
    /// Something that is no record, or a record of a cluster that no longer exists: to be replaced.
    Broken(Entry),
    Record(Box<Current>),
}

impl<S: Store, P: Provisioner> Shared<S, P> {
    pub(super) async fn peek(&self, key: &CacheKey) -> Result<Peek, Error> {
        let at = Instant::now();
        self.opened(key, self.store.get(key).await?, at).await
    }

    /// For a request that can be served otherwise: fails soon where the store may have to be waited for.
    pub(super) async fn peek_soon(&self, key: &CacheKey) -> Result<Peek, Error> {
        let at = Instant::now();
        self.opened(key, self.store.get_soon(key).await?, at).await
    }

    /// Unseals what was read. `at` is a time before the store was asked.
    pub(super) async fn opened(&self, key: &CacheKey, entry: Option<Entry>, at: Instant) -> Result<Peek, Error> {
        let Some(entry) = entry else { return Ok(Peek::Nothing) };
        let opened = self.seal.open(key, &entry.bytes).map(|plain| Written::decode(&plain));
        let written = match opened {
            Ok(Ok(written)) => written,
            Err(unreadable @ (OpenError::UnknownKey | OpenError::NewerFormat)) => {
                return Err(Error::Unreadable(unreadable));
            }
            Ok(Err(_)) | Err(OpenError::Broken) => {
                if self.limits.broken.begin(key, BROKEN_JUST_NOW) {
                    tracing::warn!(cacheKey = key.as_str(), "the cached record is broken and will be replaced");
                }
                return Ok(Peek::Broken(entry));
            }
        };
        match self.belonging(&written.cluster).await {
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
        self.running.note_record(written.record.mapping, written.age(remaining));
        Ok(Peek::Record(Box::new(Current { bytes, written, remaining, at })))
    }

    /// Asks the cluster which one it is before a record is refused because of it: this process may not know the cluster yet,
    /// or the cluster may have been replaced in an outage.
    async fn belonging(&self, record: &Cluster) -> Belongs {
        let cluster = self.provisioner.cluster();
        match cluster.relation(record) {
            Belongs::Here if cluster.uuid.is_some() || record.uuid.is_none() => Belongs::Here,
            _ => self.ask_cluster().await.relation(record),
        }
    }

    pub(super) async fn ask_cluster(&self) -> Cluster {
        self.provisioner.ask_cluster().instrument(spans::span!("ask cluster")).await
    }

    /// The caller's roles, dated by the configuration of this process.
    pub(super) fn dated(&self, entitlement: &Entitlement) -> Entitlement {
        Entitlement { mapping: self.running.version(), ..entitlement.clone() }
    }

    /// Drops the cached credentials of a cluster that was replaced, for as long as the process lives.
    pub(super) async fn follow_cluster(&self) {
        loop {
            self.provisioner.rebuilt().await;
            self.near_cache.clear();
        }
    }

    /// The bytes of a record for the store: encoded, and sealed for its key.
    pub(super) fn sealed(&self, key: &CacheKey, written: &Written) -> Result<Vec<u8>, Error> {
        let plain = written.encode().map_err(|error| Error::Internal(error.to_string()))?;
        Ok(self.seal.seal(key, &plain)?)
    }

    /// `cache.expiration`, less up to 10 % so that records written together do not end together, and never past [`MAX_AGE`]
    /// from `born`.
    pub(super) fn ready_life(&self, born: Millis) -> Duration {
        let life = jittered(self.settings.expiration, 0.9..=1.0);
        life.min(until(born, MAX_AGE)).max(Duration::from_secs(1))
    }

    /// The life to give to a ready record; none where that is no more than it has.
    pub(super) fn longer_life(&self, current: &Current) -> Option<Duration> {
        let left = until(current.written.record.born, MAX_AGE);
        Some(self.ready_life(current.written.record.born).min(left)).filter(|life| *life > current.life_left())
    }
}

/// The time until a record's password is to be replaced by a new one.
pub(super) fn until_rotation(born: Millis) -> Duration {
    until(born, ROTATED_AT)
}

/// The time until something that began at `born`, by the clock of some replica, has this age.
fn until(born: Millis, age: Duration) -> Duration {
    age.saturating_sub(Duration::from_millis(now_millis().saturating_sub(born)))
}

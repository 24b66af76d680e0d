//! This process's cache of credentials, already unsealed, which answers nearly every request.
//!
//! An entry is served as long as the store would have reported a change of its record. After that it is suspect: it serves
//! only while the store does not answer.

use std::sync::Arc;

use super::invalidation::{Invalidations, ReadVersion};
use super::schedule::MaintenanceSchedule;
use super::stored::Current;
use super::{CacheKey, Credential};
use crate::bounded_cache::{self, BoundedCache, Size};

mod settings;

pub use settings::Settings;

/// The most bytes that a credential takes on average: about 1,300 with a few roles.
const BYTES_EACH: usize = 1536;

/// The bytes of the encoded reply beside the credential: the names of the headers that it removes.
const REPLY: usize = 512;

/// A ready record and its credential.
#[derive(Debug)]
pub(super) struct CachedCredential {
    pub(super) current: Current,
    pub(super) credential: Credential,
    pub(super) maintenance: MaintenanceSchedule,
    read_version: ReadVersion,
}

/// The result of a look-up.
pub(super) enum Lookup {
    /// Nothing is cached under the key, or what was cached has ended or changed.
    Nothing,
    /// What the store holds.
    Fresh(Arc<CachedCredential>),
    /// What the store held when changes were last reported; it may have changed since.
    Suspect(Arc<CachedCredential>),
}

/// The cached credentials, bounded in number and in bytes.
pub(super) struct NearCache {
    entries: BoundedCache<CacheKey, Arc<CachedCredential>>,
    invalidations: Arc<Invalidations>,
    settings: Settings,
}

impl CachedCredential {
    /// An entry never outlives its record.
    fn ended(&self) -> bool {
        self.current.life_left().is_zero()
    }
}

/// Counts the record as the store holds it, and the reply, which contains the credential once more.
impl Size for Arc<CachedCredential> {
    fn size(&self) -> usize {
        let CachedCredential { current, credential, .. } = &**self;
        let record = &current.written.record;
        let names = [credential.username().as_str(), &record.owner.issuer, &record.owner.subject].map(str::len);
        let roles: usize = record.roles.iter().map(|role| size_of::<(&str, [usize; 2])>() + role.len()).sum();
        size_of::<(CachedCredential, CacheKey, [usize; 8])>()
            + current.bytes.capacity()
            + names.iter().sum::<usize>()
            + roles
            + 2 * credential.expose_header().len()
            + REPLY
    }
}

impl NearCache {
    pub(super) fn new(settings: Settings) -> Self {
        let entries = bounded_cache::bounded(settings.max_entries, BYTES_EACH);
        Self { entries, invalidations: Arc::default(), settings }
    }

    /// What the store reports changes to.
    pub(super) fn invalidations(&self) -> &Arc<Invalidations> {
        &self.invalidations
    }

    /// To be taken before the key is read from the store.
    pub(super) fn read_version(&self, key: &CacheKey) -> ReadVersion {
        self.invalidations.read_version(key)
    }

    pub(super) fn look_up(&self, key: &CacheKey) -> Lookup {
        let Some(cached) = self.entries.get(key) else { return Lookup::Nothing };
        let trusted = self.invalidations.trusts(&cached.read_version);
        if cached.ended() || !self.invalidations.unchanged(&cached.read_version) {
            self.entries.remove(key);
            return Lookup::Nothing;
        }
        if trusted { Lookup::Fresh(cached) } else { Lookup::Suspect(cached) }
    }

    /// Drops what will not be served any more, with its password: what has ended, what has changed in the store, and what has
    /// been suspect for too long.
    pub(super) fn sweep(&self) {
        let fresh = |cached: &CachedCredential| {
            self.invalidations.trusts(&cached.read_version)
                && !cached.ended()
                && self.invalidations.unchanged(&cached.read_version)
        };
        self.entries.retain(|_, cached| fresh(cached) || self.may_serve(cached));
    }

    /// Drops every entry, as when the cluster has been replaced.
    pub(super) fn clear(&self) {
        self.entries.clear();
    }

    /// Whether a suspect entry may serve, now that the store does not answer.
    pub(super) fn may_serve(&self, cached: &CachedCredential) -> bool {
        !cached.ended()
            && self.invalidations.unchanged(&cached.read_version)
            && self.invalidations.suspect_for(&cached.read_version) < self.settings.max_stale
    }

    /// Caches what was read after `read_version` was taken. A change that was reported in between prevails: the version is
    /// compared at every look-up, so that it does not matter which of the two comes first.
    pub(super) fn insert(
        &self,
        key: &CacheKey,
        read_version: ReadVersion,
        current: Current,
        credential: Credential,
        maintenance: MaintenanceSchedule,
    ) -> Arc<CachedCredential> {
        let cached = Arc::new(CachedCredential { current, credential, maintenance, read_version });
        self.entries.insert(key.clone(), Arc::clone(&cached));
        cached
    }

    /// Drops the entry of a key that this process itself has changed. The store will report that change too, a moment later,
    /// and what was read in between is then dropped once more: one more round trip for the request after a provisioning. This
    /// cannot be avoided. A push says which key changed, not which connection changed it; `NOLOOP` covers only the connection
    /// that tracks, which writes nothing; and a process that took the next push for its own would miss another replica's
    /// change that came before it.
    pub(super) fn invalidate(&self, key: &CacheKey) {
        self.invalidations.changed(key.as_str().as_bytes());
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests;

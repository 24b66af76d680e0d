//! Credentials kept in this process, unsealed once. An entry is used as long as the store would have told of a change;
//! after that it is suspect, and serves only when the store cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use super::agreement::Entitlement;
use super::broker::{Current, MaintenanceSchedule};
use super::{CacheKey, Credential};
use crate::bounded_cache::{self, Size};
use crate::roles::Version;

use super::invalidation::{Invalidations, ReadVersion};

/// `cache.near_max_entries`, `cache.max_stale`
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Credentials kept in this process, and 1.5 KiB for each. Default 100,000; 0 keeps none.
    pub max_entries: usize,
    /// How long a suspect entry serves while the store does not answer. Default 15 min.
    pub max_stale: Duration,
}

/// Bytes that a credential takes on average, at most: about 1,300 with a few roles.
const BYTES_EACH: usize = 1536;

/// What the encoded reply takes beside the credential: the names of the headers that it removes.
const REPLY: usize = 512;

/// A ready record and its credential.
#[derive(Debug)]
pub(super) struct CachedCredential {
    pub(super) current: Current,
    pub(super) credential: Credential,
    pub(super) maintenance: MaintenanceSchedule,
    read_version: ReadVersion,
}

/// What is known of a key.
pub(super) enum Lookup {
    /// Nothing.
    Nothing,
    /// What the store holds.
    Fresh(Arc<CachedCredential>),
    /// What the store held; it may have changed.
    Suspect(Arc<CachedCredential>),
}

/// The kept credentials.
pub(super) struct NearCache {
    kept: bounded_cache::BoundedCache<CacheKey, Arc<CachedCredential>>,
    invalidations: Arc<Invalidations>,
    settings: Settings,
}

impl CachedCredential {
    pub(super) fn serves(&self, entitlement: &Entitlement, running: impl FnOnce() -> Version) -> bool {
        self.current.serves(entitlement, running)
    }

    /// Never longer than the record itself.
    fn ended(&self) -> bool {
        self.current.at.elapsed() >= self.current.remaining
    }
}

/// With the record as the store holds it, and the reply, which has the credential once more.
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
        Self { kept: bounded_cache::bounded(settings.max_entries, BYTES_EACH), invalidations: Arc::default(), settings }
    }

    /// For the store to tell of changes.
    pub(super) fn invalidations(&self) -> &Arc<Invalidations> {
        &self.invalidations
    }

    /// To be taken before the key is read from the store.
    pub(super) fn read_version(&self, key: &CacheKey) -> ReadVersion {
        self.invalidations.read_version(key)
    }

    pub(super) fn look(&self, key: &CacheKey) -> Lookup {
        let Some(kept) = self.kept.get(key) else { return Lookup::Nothing };
        if kept.ended() || !self.invalidations.unchanged(&kept.read_version) {
            self.kept.remove(key);
            return Lookup::Nothing;
        }
        if self.invalidations.trusts(&kept.read_version, kept.current.at) {
            Lookup::Fresh(kept)
        } else {
            Lookup::Suspect(kept)
        }
    }

    /// Drops what will not be served any more, with its password: what has ended, what has changed in the store, and what is suspect
    /// for too long.
    pub(super) fn sweep(&self) {
        let lives = |kept: &CachedCredential| !kept.ended() && self.invalidations.unchanged(&kept.read_version);
        let fresh =
            |kept: &CachedCredential| lives(kept) && self.invalidations.trusts(&kept.read_version, kept.current.at);
        self.kept.retain(|_, kept| fresh(kept) || self.may_serve(kept));
    }

    /// Forgets everybody.
    pub(super) fn clear(&self) {
        self.kept.clear();
    }

    /// Whether a suspect entry may serve, now that the store does not answer.
    pub(super) fn may_serve(&self, kept: &CachedCredential) -> bool {
        !kept.ended()
            && self.invalidations.unchanged(&kept.read_version)
            && self.invalidations.suspect_for(&kept.read_version, kept.current.at) < self.settings.max_stale
    }

    /// Keeps what was read after the ticket was taken. A change that was told in between wins: the ticket is compared
    /// at every look, so that it does not matter which of the two comes first.
    pub(super) fn keep(
        &self,
        key: &CacheKey,
        read_version: ReadVersion,
        current: Current,
        credential: Credential,
        maintenance: MaintenanceSchedule,
    ) -> Arc<CachedCredential> {
        let kept = Arc::new(CachedCredential { current, credential, maintenance, read_version });
        self.kept.insert(key.clone(), Arc::clone(&kept));
        kept
    }

    /// This process changed the key itself. The store will tell of that change too, a moment later, and then what was read in
    /// between is dropped once more: one more round trip for the request after a provisioning. It cannot be spared. A
    /// push says which key changed, not who changed it; `NOLOOP` covers only the connection that tracks, which writes nothing; and
    /// whoever takes the next push for his own misses another's change that came before it.
    pub(super) fn forget(&self, key: &CacheKey) {
        self.invalidations.changed(key.as_str().as_bytes());
        self.kept.remove(key);
    }
}

#[cfg(test)]
mod tests;

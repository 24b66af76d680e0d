//! What is done in the background for records in use: their life is extended, and their password tried.
//!
//! A write whose sender gave up can still land, even after a newer one; a fail-over may bring back an older record; an
//! administrator may change a password by hand. So a ready record is not trusted for ever: it is confirmed at its first use
//! after the settling time, and again at intervals.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::recent::Recent;
use super::shared::{Current, Shared};
use super::{Error, Purpose};
use crate::clock::{millis, now_millis};
use crate::credentials::near_cache::CachedCredential;
use crate::credentials::record::{Phase, Record, Written};
use crate::credentials::seal::Seal;
use crate::credentials::{
    CacheKey, Day, Existing, InspectError, Login, OtherWriter, Provisioner, RequestContext, Settings, Store,
};
use crate::identity::Identity;

/// Two attempts are a third of the settling time apart (30 s).
const ATTEMPTS: u32 = 3;
/// Confirmations of this process at once: a login costs Elasticsearch a hash.
const CONFIRMATIONS: usize = 4;
/// A mismatch so few settling times after a repair (ten minutes) is no late write: somebody else writes the user.
const REPAIRED_JUST_NOW: f64 = 20.0 / 3.0;
/// And never sooner, so that a short settling time makes no loop.
const LEAST_BETWEEN_REPAIRS: Duration = Duration::from_secs(5);
/// A record with no more than this left is written anew soon, and the day with it.
const RENEWED_ANYWAY: Duration = Duration::from_secs(3600);
/// While keys are exchanged, replicas may seal with different ones: without a pause they would seal a record back and forth.
const SEALED_JUST_NOW: Duration = Duration::from_secs(10 * 60);
/// A broken record that cannot be replaced, or that something breaks again and again, is told of once in this time.
pub(super) const BROKEN_JUST_NOW: Duration = Duration::from_secs(60);

/// When something is due, in milliseconds after the record was read.
#[derive(Debug)]
pub(in crate::credentials) struct MaintenanceSchedule {
    extend: AtomicU64,
    confirm: AtomicU64,
    /// Never for a record that the present key sealed.
    seal: AtomicU64,
}

impl MaintenanceSchedule {
    /// `told_since`: when the store began to tell of changes again, after a time when it did not. What was confirmed
    /// before that may have been rolled back since.
    pub(in crate::credentials) fn of(
        current: &Current,
        settings: &Settings,
        told_since: Option<Instant>,
        seal: &Seal,
    ) -> Self {
        let age = current.written.age(current.remaining);
        let rolled_back = || told_since.is_some_and(|since| age > current.at.saturating_duration_since(since));
        let confirm = match current.written.record.phase {
            Phase::Confirmed if rolled_back() => Duration::ZERO,
            Phase::Confirmed => settings.confirm_interval.saturating_sub(age),
            Phase::Ready => settings.settling.saturating_sub(age),
            Phase::Pending { .. } => Duration::MAX,
        };
        let half = current.remaining.saturating_sub(current.written.life / 2);
        let extend = if settings.extend { half } else { Duration::MAX };
        Self {
            extend: AtomicU64::new(millis(extend)),
            confirm: AtomicU64::new(millis(confirm)),
            seal: AtomicU64::new(if seal.is_current(&current.bytes) { u64::MAX } else { 0 }),
        }
    }
}

/// Whether it is time, for one caller only; the next one is let in later.
fn due(at: &AtomicU64, elapsed: Duration, retry: Duration) -> bool {
    let (at_ms, now) = (at.load(Ordering::Relaxed), millis(elapsed));
    now >= at_ms && at.compare_exchange(at_ms, now + millis(retry), Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Bounds on confirmations, repairs and new seals.
pub(super) struct Maintenance {
    permits: Semaphore,
    repaired: Recent,
    sealed: Recent,
    /// Whose broken record the log has told of.
    pub(super) broken: Recent,
}

impl Default for Maintenance {
    fn default() -> Self {
        let (repaired, sealed, broken) = (Recent::default(), Recent::default(), Recent::default());
        Self { permits: Semaphore::new(CONFIRMATIONS), repaired, sealed, broken }
    }
}

impl Maintenance {
    /// Forgets what was done long ago.
    pub(super) fn sweep(&self, settings: &Settings) {
        self.repaired.sweep(between_repairs(settings));
        self.sealed.sweep(SEALED_JUST_NOW);
        self.broken.sweep(BROKEN_JUST_NOW);
    }
}

fn between_repairs(settings: &Settings) -> Duration {
    settings.settling.mul_f64(REPAIRED_JUST_NOW).max(LEAST_BETWEEN_REPAIRS)
}

/// What a confirmation found.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    /// Right, and the day in Elasticsearch has passed.
    Unseen,
    Wrong,
    /// Nothing is known: tried again later.
    Open,
}

impl<S: Store, P: Provisioner> Shared<S, P> {
    /// Starts what is due. `fly` makes the flights that write the record once more.
    pub(super) fn maintenance<F>(
        self: &Arc<Self>,
        key: &CacheKey,
        kept: &Arc<CachedCredential>,
        identity: &Identity,
        fly: impl Fn(Purpose) -> F,
    ) where
        F: Future<Output = Result<Record, Error>> + Send + 'static,
    {
        let elapsed = kept.current.at.elapsed();
        let retry = self.settings.settling / ATTEMPTS;
        if due(&kept.maintenance.extend, elapsed, retry) {
            let (shared, key, kept) = (Arc::clone(self), key.clone(), Arc::clone(kept));
            tokio::spawn(async move {
                let life = shared.ready_life(kept.current.written.record.born);
                shared.rewrite(&key, &kept.current, None, life).await;
            });
        }
        if due(&kept.maintenance.seal, elapsed, retry) && self.maintenance.sealed.may(key, SEALED_JUST_NOW) {
            let (shared, key, kept) = (Arc::clone(self), key.clone(), Arc::clone(kept));
            tokio::spawn(async move {
                let left = kept.current.remaining.saturating_sub(kept.current.at.elapsed());
                shared.rewrite(&key, &kept.current, None, left).await;
            });
        }
        if due(&kept.maintenance.confirm, elapsed, retry) {
            let record = &kept.current.written.record;
            let (repair, touch) = (fly(Purpose::Repair(record.clone())), fly(Purpose::Touch(record.clone())));
            let (shared, key, kept, identity) = (Arc::clone(self), key.clone(), Arc::clone(kept), identity.clone());
            tokio::spawn(async move {
                let Ok(_permit) = shared.maintenance.permits.try_acquire() else {
                    // somebody's turn comes with the next use
                    kept.maintenance.confirm.store(0, Ordering::Relaxed);
                    return;
                };
                match shared.confirm(&kept.current, &identity).await {
                    Verdict::Unseen => {
                        if let Err(error) = touch.await {
                            tracing::debug!(user = identity.username.as_str(), %error, "The day was not written");
                        }
                    }
                    Verdict::Right => {
                        let left = kept.current.remaining.saturating_sub(kept.current.at.elapsed());
                        shared.rewrite(&key, &kept.current, Some(Phase::Confirmed), left).await;
                    }
                    Verdict::Wrong => shared.mismatch(&key, &identity, repair).await,
                    Verdict::Open => {}
                }
            });
        }
    }

    /// Writes the record once more, unless that was done just now: then somebody else writes the user. Says who.
    async fn mismatch<F>(&self, key: &CacheKey, identity: &Identity, repair: F)
    where
        F: Future<Output = Result<Record, Error>>,
    {
        let user = identity.username.as_str();
        let first = self.maintenance.repaired.may(key, between_repairs(&self.settings));
        match self.provisioner.other_writer(&identity.username).await {
            Ok(Some(OtherWriter { theirs, ours })) => tracing::error!(
                user,
                other_cache = theirs,
                this_cache = ours,
                "An elastauth with another cache wrote this user: each locks the other's users out. Give all of them one \
                 cache (cache.type: redis, the same redis_host and redis_db) and one secret_key, or each a cluster of its \
                 own. (What other_cache shows is a digest of that cache's name.)"
            ),
            Ok(None) | Err(_) if first => {
                tracing::warn!(user, "Elasticsearch does not have what was agreed: the user is written again");
            }
            Ok(None) | Err(_) => tracing::error!(
                user,
                "Elasticsearch does not have what was agreed, again: who else writes this user? A person, or another program"
            ),
        }
        if first && let Err(error) = repair.await {
            tracing::warn!(user, %error, "The user was not repaired");
        }
    }

    /// Whether a write is worth the day: a record that ends soon is written anyway.
    fn outlives_the_day(&self, current: &Current) -> bool {
        self.settings.extend || current.remaining > RENEWED_ANYWAY
    }

    async fn confirm(&self, current: &Current, identity: &Identity) -> Verdict {
        let record = &current.written.record;
        match self.provisioner.log_in(&identity.username, &record.password).await {
            Ok(Login::Accepted { roles, seen, as_of, mapping })
                if record.roles.iter().all(|role| roles.contains(role))
                    && as_of.is_none_or(|as_of| as_of == record.as_of)
                    && mapping.is_none_or(|mapping| mapping == record.mapping) =>
            {
                let passed = seen.is_some_and(|day| day < Day::of(now_millis()));
                if passed && self.outlives_the_day(current) { Verdict::Unseen } else { Verdict::Right }
            }
            Ok(Login::Accepted { .. }) => Verdict::Wrong,
            // Elasticsearch also answers 401 while its security index is unavailable: the administrator must see the user,
            // or see that it is gone
            Ok(Login::Rejected) => {
                match self.provisioner.inspect(&identity.username, &record.owner, &RequestContext::default()).await {
                    Ok(Existing::Ours(_) | Existing::Absent) => Verdict::Wrong,
                    Err(InspectError::Refused(refused)) => {
                        tracing::warn!(user = identity.username.as_str(), error = %refused, "Not confirmed");
                        Verdict::Open
                    }
                    Err(InspectError::Unavailable(_)) => Verdict::Open,
                }
            }
            Err(error) => {
                tracing::debug!(user = identity.username.as_str(), %error, "Not confirmed");
                Verdict::Open
            }
        }
    }

    /// The same record with another life, and in another phase if one is given. Whatever comes of it, a later use tries
    /// again.
    async fn rewrite(&self, key: &CacheKey, current: &Current, phase: Option<Phase>, life: Duration) {
        let record = &current.written.record;
        // a phase goes on ageing when only its life is extended
        let aged = current.age();
        let (record, aged) = match phase {
            Some(phase) => (record.in_phase(phase), Duration::ZERO),
            None => (record.clone(), aged),
        };
        let cluster = self.provisioner.cluster().or_as(&current.written.cluster);
        let written = Written { record, life, aged, cluster };
        let Ok(plain) = written.encode() else { return };
        let Ok(bytes) = self.seal.seal(key, &plain) else { return };
        match self.store.replace(key, &current.bytes, &bytes, life.max(Duration::from_millis(1))).await {
            Ok(_) => self.near.forget(key),
            // the password is the same either way: who is known is served on while the store does not answer
            Err(error) => tracing::debug!(%error, "The record was not rewritten"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::near_cache;
    use crate::digest::Digest;
    use crate::identity::Username;

    #[tokio::test(start_paused = true)]
    async fn whatever_was_done_long_ago_is_forgotten_by_a_sweep() {
        let minute = Duration::from_secs(60);
        let settings = Settings {
            expiration: minute,
            extend: false,
            near: near_cache::Settings { max_entries: 1, max_stale: minute },
            settling: minute,
            confirm_interval: minute,
            mapping: Digest(1),
            store_timeout: minute,
            write_timeout: minute,
        };
        let (maintenance, key) = (Maintenance::default(), CacheKey::of(&Username::parse("ann").unwrap()));
        let all = || [&maintenance.repaired, &maintenance.sealed, &maintenance.broken];
        assert!(all().into_iter().all(|done| done.may(&key, minute)));
        maintenance.sweep(&settings);
        assert_eq!(all().map(Recent::len), [1, 1, 1]);
        tokio::time::advance(between_repairs(&settings).max(SEALED_JUST_NOW).max(BROKEN_JUST_NOW)).await;
        maintenance.sweep(&settings);
        assert_eq!(all().map(Recent::len), [0, 0, 0]);
    }
}

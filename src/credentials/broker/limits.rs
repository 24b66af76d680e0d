//! How much background work for records is done at once, and how soon again for one user.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::recent::Recent;
use crate::credentials::Settings;

/// Confirmations of this process at once: each login costs Elasticsearch a hash.
const CONFIRMATIONS: usize = 4;
/// Writes in the background at once, of roles that Elasticsearch did not take before and of new passwords.
const WRITES: usize = 4;
/// Touches of this process at once: the pool of connections is for requests.
const TOUCHES: usize = 4;
/// A mismatch within so many settling times after a repair (ten minutes by default) is no late write: something else writes
/// the user.
const REPAIRED_JUST_NOW: f64 = 20.0 / 3.0;
/// The least time between two repairs of one user, so that a short settling time makes no loop.
const LEAST_BETWEEN_REPAIRS: Duration = Duration::from_secs(5);
/// While keys are exchanged, replicas may seal with different ones: without a pause they would seal a record back and forth.
pub(super) const SEALED_JUST_NOW: Duration = Duration::from_secs(10 * 60);
/// A broken record that cannot be replaced, or that is broken again and again, is logged once in this time.
pub(super) const BROKEN_JUST_NOW: Duration = Duration::from_secs(60);
/// A user with a change of roles that Elasticsearch does not take is logged once in this time.
pub(super) const HELD_UP_JUST_NOW: Duration = Duration::from_secs(60);

/// The least time between two hints about one user: a caller that provokes 401s costs one login in this time.
pub(super) const BETWEEN_HINTS: Duration = Duration::from_secs(60);
/// Hints that are noted in the store at once. The others wait, no more than there are users in [`Recent`].
const HINTS: usize = 4;

/// Bounds on confirmations, writes, touches, repairs, new seals and hints.
pub(super) struct MaintenanceLimits {
    pub(super) confirmations: Semaphore,
    pub(super) writes: Arc<Semaphore>,
    pub(super) touches: Semaphore,
    pub(super) repaired: Recent,
    pub(super) sealed: Recent,
    /// The users with a broken record that was logged.
    pub(super) broken: Recent,
    /// The users with a change of roles that was logged as not written.
    pub(super) held_up: Recent,
    /// The users with a credential that was answered 401, as Envoy reported.
    pub(super) hinted: Recent,
    pub(super) hints: Semaphore,
}

impl Default for MaintenanceLimits {
    fn default() -> Self {
        Self {
            confirmations: Semaphore::new(CONFIRMATIONS),
            touches: Semaphore::new(TOUCHES),
            hints: Semaphore::new(HINTS),
            writes: Arc::new(Semaphore::new(WRITES)),
            repaired: Recent::default(),
            sealed: Recent::default(),
            broken: Recent::default(),
            held_up: Recent::default(),
            hinted: Recent::default(),
        }
    }
}

impl MaintenanceLimits {
    /// Drops what was done long enough ago to be done again.
    pub(super) fn sweep(&self, settings: &Settings) {
        self.repaired.sweep(between_repairs(settings));
        self.sealed.sweep(SEALED_JUST_NOW);
        self.broken.sweep(BROKEN_JUST_NOW);
        self.held_up.sweep(HELD_UP_JUST_NOW);
        self.hinted.sweep(BETWEEN_HINTS);
    }
}

/// The least time between two repairs of one user.
pub(super) fn between_repairs(settings: &Settings) -> Duration {
    settings.settling.mul_f64(REPAIRED_JUST_NOW).max(LEAST_BETWEEN_REPAIRS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{CacheKey, near_cache};
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
        let (limits, key) = (MaintenanceLimits::default(), CacheKey::of(&Username::parse("ann").unwrap()));
        let all = || [&limits.repaired, &limits.sealed, &limits.broken, &limits.held_up, &limits.hinted];
        assert!(all().into_iter().all(|done| done.begin(&key, minute)));
        limits.sweep(&settings);
        assert_eq!(all().map(Recent::len), [1; 5]);
        let longest = [SEALED_JUST_NOW, BROKEN_JUST_NOW, HELD_UP_JUST_NOW, BETWEEN_HINTS].into_iter().max();
        tokio::time::advance(between_repairs(&settings).max(longest.unwrap())).await;
        limits.sweep(&settings);
        assert_eq!(all().map(Recent::len), [0; 5]);
    }
}

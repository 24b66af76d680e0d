//! Limits how often something is done for one user.
//!
//! It is a map and not a `quick_cache`: a cache at its bound would evict a user and let it begin again within its pause,
//! where this lets no further user begin.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::credentials::CacheKey;

/// How many users are remembered at most.
const MOST: usize = 10_000;

/// The users that something was done for, and when.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<CacheKey, Instant>>);

impl Recent {
    /// Whether it may be done for this user now; if so, it is noted as done. It may not where it was done within the
    /// `pause`, nor for more users than are remembered.
    pub(super) fn begin(&self, key: &CacheKey, pause: Duration) -> bool {
        let mut recent = self.0.lock();
        if recent.len() >= MOST {
            recent.retain(|_, at| at.elapsed() < pause);
        }
        let again = recent.get(key).is_some_and(|at| at.elapsed() < pause);
        let begins = !again && recent.len() < MOST;
        if begins {
            recent.insert(key.clone(), Instant::now());
        }
        begins
    }

    /// Drops what was done before the `pause`.
    pub(super) fn sweep(&self, pause: Duration) {
        let mut recent = self.0.lock();
        recent.retain(|_, at| at.elapsed() < pause);
        recent.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Username;

    fn key(n: usize) -> CacheKey {
        CacheKey::of(&Username::parse(&format!("u{n}")).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn each_user_begins_once_in_a_pause_and_their_number_is_bounded() {
        let (recent, pause) = (Recent::default(), Duration::from_secs(60));
        assert!(recent.begin(&key(0), pause) && !recent.begin(&key(0), pause));
        for n in 1..MOST {
            assert!(recent.begin(&key(n), pause));
        }
        assert!(!recent.begin(&key(MOST), pause));
        tokio::time::advance(pause).await;
        assert!(recent.begin(&key(MOST), pause) && recent.begin(&key(0), pause));
    }

    #[tokio::test(start_paused = true)]
    async fn users_of_an_earlier_pause_are_dropped_by_a_sweep() {
        let (recent, pause) = (Recent::default(), Duration::from_secs(60));
        assert!(recent.begin(&key(0), pause));
        tokio::time::advance(pause / 2).await;
        assert!(recent.begin(&key(1), pause));
        recent.sweep(pause);
        assert_eq!(recent.0.lock().len(), 2);
        tokio::time::advance(pause / 2).await;
        recent.sweep(pause);
        assert!(recent.0.lock().keys().eq([&key(1)]));
    }
}

//! Whether the store has just been lost: then users have the passwords that Elasticsearch keeps, and need no writes.
//!
//! After a loss every user in use needs a run at the same time. A run that only inspects the user and logs in takes a few
//! milliseconds, and the bound on writes would refuse users that could be served. A flood of new users must not get past that
//! bound, so a run goes on without a permit to write only while other users are found to have a kept password.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long one user with a kept password speaks for others.
const JUST_NOW: Duration = Duration::from_secs(10);
/// How many runs without a permit to write look at users at once.
const LOOKS: usize = 64;

/// Bounds the runs that look for a kept password without a permit to write.
pub(super) struct KeptPasswords {
    found: Mutex<Option<Instant>>,
    looks: Arc<Semaphore>,
}

impl Default for KeptPasswords {
    fn default() -> Self {
        Self { found: Mutex::default(), looks: Arc::new(Semaphore::new(LOOKS)) }
    }
}

impl KeptPasswords {
    /// A user had the password that Elasticsearch keeps.
    pub(super) fn found(&self) {
        *self.found.lock() = Some(Instant::now());
    }

    /// Whether that was so for some user just now.
    pub(super) fn are_found(&self) -> bool {
        self.found.lock().is_some_and(|at| at.elapsed() < JUST_NOW)
    }

    /// Waits until fewer runs look at users. None where the semaphore is closed, which it never is.
    pub(super) async fn look(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.looks).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_user_speaks_for_others_for_a_while() {
        let kept = KeptPasswords::default();
        assert!(!kept.are_found());
        kept.found();
        tokio::time::advance(JUST_NOW.saturating_sub(Duration::from_millis(1))).await;
        assert!(kept.are_found());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!kept.are_found());
    }
}

//! Removes expired entries from memory periodically. Without it, a password or the digest of a token that is not asked for again
//! would stay until many others displaced it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// The interval between two sweeps, and so the longest time that an expired entry stays.
pub(crate) const PAUSE: Duration = Duration::from_secs(60);

/// Runs `sweep` once in each [`PAUSE`], for as long as the process lives; to be spawned as a task. Each sweep has a thread of its
/// own: looking at 200,000 entries takes some milliseconds, which is too long for a thread that answers requests.
pub(crate) async fn every_pause(sweep: impl Fn() + Send + Sync + 'static) {
    let sweep = Arc::new(sweep);
    let mut ticks = interval_at(Instant::now() + PAUSE, PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sweep = Arc::clone(&sweep);
        if tokio::task::spawn_blocking(move || sweep()).await.is_err() {
            tracing::error!("Expired entries were not removed from memory: the sweep panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sweeps_follow_one_another_and_a_panic_does_not_end_them() {
        let sweeps = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sweeps);
        let sweeping = every_pause(move || assert_ne!(counted.fetch_add(1, SeqCst), 1, "the second one fails"));
        let ended = tokio::time::timeout(PAUSE * 5 + Duration::from_secs(1), sweeping).await;
        assert!(ended.is_err());
        assert_eq!(sweeps.load(SeqCst), 5);
    }
}

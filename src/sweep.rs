//! What has ended is taken out of memory, and not only when it is looked at again: a password or the name of a token that nobody
//! asks for any more would else stay until a flood of others pushes it out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How long what has ended stays at most.
pub(crate) const PAUSE: Duration = Duration::from_secs(60);

/// Sweeps once in each [`PAUSE`], for as long as the process lives. To be run as a task. Looking at 200,000 entries takes some
/// milliseconds, which is too long for a thread that answers requests.
pub(crate) async fn every_pause(sweep: impl Fn() + Send + Sync + 'static) {
    let sweep = Arc::new(sweep);
    let mut ticks = interval_at(Instant::now() + PAUSE, PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sweep = Arc::clone(&sweep);
        if tokio::task::spawn_blocking(move || sweep()).await.is_err() {
            tracing::error!("Ended entries were not taken out of memory: the sweep panicked");
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

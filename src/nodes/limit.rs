//! How many writes are sent at once, and how many wait for their turn: a write makes the cluster hash a password, so more
//! of them at once only take longer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Bounds on writes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At once.
    pub concurrent: usize,
    /// How many may wait beyond that; more are sent away at once.
    pub queue: usize,
    /// How long one may wait: no longer than its caller does.
    pub patience: Duration,
    /// In a second; none for no such limit.
    pub per_second: Option<u32>,
}

/// Admits writes.
pub struct Writes {
    limits: Limits,
    permits: Semaphore,
    inside: AtomicUsize,
    /// When the next one is due, where there is a rate.
    due: Mutex<Option<Instant>>,
}

/// Leave to write, until it is dropped.
pub struct Permit<'a> {
    _permit: SemaphorePermit<'a>,
    _place: Place<'a>,
}

/// Too many are waiting, or for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many writes are waiting")]
pub struct Full;

/// One of those that wait or write.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writes {
    /// Nobody writes yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let permits = Semaphore::new(limits.concurrent);
        Self { limits, permits, inside: AtomicUsize::new(0), due: Mutex::default() }
    }

    /// Waits for a turn.
    pub async fn admit(&self) -> Result<Permit<'_>, Full> {
        let ends = Instant::now() + self.limits.patience;
        let place = Place(&self.inside);
        if self.inside.fetch_add(1, Ordering::Relaxed) >= self.limits.concurrent + self.limits.queue {
            return Err(Full);
        }
        if let Some(turn) = self.turn(ends)? {
            tokio::time::sleep_until(turn).await;
        }
        match timeout_at(ends, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(Permit { _permit: permit, _place: place }),
            _ => Err(Full),
        }
    }

    /// The moment that the rate allows; taken only if it comes in time.
    fn turn(&self, ends: Instant) -> Result<Option<Instant>, Full> {
        let Some(rate) = self.limits.per_second else { return Ok(None) };
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = due.map_or(now, |due| due.max(now));
        if turn > ends {
            return Err(Full);
        }
        *due = Some(turn + Duration::from_secs(1) / rate.max(1));
        Ok(Some(turn))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn writes(concurrent: usize, queue: usize, per_second: Option<u32>) -> Arc<Writes> {
        Arc::new(Writes::new(Limits { concurrent, queue, patience: Duration::from_secs(3), per_second }))
    }

    /// Runs so many writes of 100 ms at once: how many were admitted, and how long it took.
    async fn run(writes: &Arc<Writes>, count: usize) -> (usize, Duration) {
        let (began, peak) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let all: Vec<_> = (0..count)
            .map(|_| {
                let (writes, peak) = (Arc::clone(writes), Arc::clone(&peak));
                tokio::spawn(async move {
                    let Ok(_permit) = writes.admit().await else { return false };
                    let now = peak.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now <= writes.limits.concurrent);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    peak.fetch_sub(1, Ordering::SeqCst);
                    true
                })
            })
            .collect();
        let mut admitted = 0;
        for one in all {
            admitted += usize::from(one.await.unwrap());
        }
        assert_eq!(writes.inside.load(Ordering::SeqCst), 0, "everybody left");
        (admitted, began.elapsed())
    }

    /// Requirement 29.
    #[tokio::test(start_paused = true)]
    async fn only_so_many_write_at_once_and_those_beyond_the_queue_are_sent_away() {
        let (admitted, took) = run(&writes(4, 16, None), 100).await;
        assert_eq!(admitted, 20);
        assert!((500..600).contains(&took.as_millis()), "{took:?}");
        let (admitted, took) = run(&writes(1, 1000, None), 100).await;
        assert!((30..=31).contains(&admitted), "{admitted} in {took:?}: nobody waits longer than its caller");
    }

    /// Requirement 29.
    #[tokio::test(start_paused = true)]
    async fn a_rate_spreads_writes_and_refuses_those_whose_turn_comes_too_late() {
        let (admitted, took) = run(&writes(4, 1000, Some(5)), 100).await;
        assert!((15..=16).contains(&admitted), "{admitted}");
        assert!(took >= Duration::from_millis(2900), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_its_place() {
        let writes = writes(1, 1, None);
        let _held = writes.admit().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), writes.admit()).await.is_err());
        assert_eq!(writes.inside.load(Ordering::SeqCst), 1);
    }
}

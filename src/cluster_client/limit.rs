//! How many writes are sent at once, and how fast they go: a write makes the cluster hash a password, so more of them at once
//! only take longer.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::credentials::Throughput;

/// How long a write takes before one was seen.
const USUAL: Duration = Duration::from_millis(100);
/// The share of the newest write in the mean.
const NEWEST: u32 = 8;

/// Bounds on writes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At once.
    pub concurrent: usize,
    /// How long one may wait: no longer than its caller does.
    pub patience: Duration,
    /// In a second; none for no such limit.
    pub per_second: Option<u32>,
}

impl Limits {
    /// What to expect where a write takes so long. Half of the patience is left for what a write needs beside its turn, and for
    /// turns that come late; as many as write at once may come in any case.
    fn pace(&self, mean: Duration) -> Throughput {
        let each = mean / u32::try_from(self.concurrent).unwrap_or(u32::MAX);
        let each = self.between().map_or(each, |between| between.max(each));
        let waiting = (self.patience / 2).as_nanos() / each.as_nanos().max(1);
        let most = usize::try_from(waiting).unwrap_or(usize::MAX).max(self.concurrent);
        Throughput { writers: self.concurrent, most, each }
    }

    /// The least time from one write to the next.
    fn between(&self) -> Option<Duration> {
        self.per_second.map(|rate| Duration::from_secs(1) / rate.max(1))
    }

    /// Before a write was seen.
    #[must_use]
    pub fn usual_pace(&self) -> Throughput {
        self.pace(USUAL)
    }
}

/// Admits writes.
pub struct Writes {
    limits: Limits,
    permits: Semaphore,
    /// When the next one is due, where there is a rate.
    due: Mutex<Option<Instant>>,
    /// How long a write takes.
    mean: Mutex<Duration>,
}

/// Leave to write, until it is dropped.
pub struct Permit<'a> {
    writes: &'a Writes,
    since: Instant,
    _turn: SemaphorePermit<'a>,
}

/// The turn would come too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many writes are waiting")]
pub struct Full;

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut mean = self.writes.mean.lock();
        *mean = (*mean * (NEWEST - 1) + self.since.elapsed()) / NEWEST;
    }
}

impl Writes {
    /// Nobody writes yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let permits = Semaphore::new(limits.concurrent);
        Self { limits, permits, due: Mutex::default(), mean: Mutex::new(USUAL) }
    }

    /// How fast writes go at present.
    pub fn pace(&self) -> Throughput {
        self.limits.pace(*self.mean.lock())
    }

    /// Waits for a turn.
    pub async fn admit(&self) -> Result<Permit<'_>, Full> {
        let ends = Instant::now() + self.limits.patience;
        if let Some(turn) = self.turn(ends)? {
            tokio::time::sleep_until(turn).await;
        }
        match timeout_at(ends, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(Permit { writes: self, since: Instant::now(), _turn: permit }),
            _ => Err(Full),
        }
    }

    /// The moment that the rate allows; taken only if it comes in time.
    fn turn(&self, ends: Instant) -> Result<Option<Instant>, Full> {
        let Some(between) = self.limits.between() else { return Ok(None) };
        let mut due = self.due.lock();
        let now = Instant::now();
        let turn = due.map_or(now, |due| due.max(now));
        if turn > ends {
            return Err(Full);
        }
        *due = Some(turn + between);
        Ok(Some(turn))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn writes(concurrent: usize, per_second: Option<u32>) -> Arc<Writes> {
        Arc::new(Writes::new(Limits { concurrent, patience: Duration::from_secs(3), per_second }))
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
        assert_eq!(writes.permits.available_permits(), writes.limits.concurrent, "everybody left");
        (admitted, began.elapsed())
    }

    /// Requirement 29.
    #[tokio::test(start_paused = true)]
    async fn only_so_many_write_at_once_and_nobody_waits_longer_than_its_caller() {
        let (admitted, took) = run(&writes(4, None), 20).await;
        assert_eq!(admitted, 20);
        assert!((500..600).contains(&took.as_millis()), "{took:?}");
        let (admitted, took) = run(&writes(1, None), 100).await;
        assert!((30..=31).contains(&admitted), "{admitted} in {took:?}");
    }

    /// Requirement 29.
    #[tokio::test(start_paused = true)]
    async fn a_rate_spreads_writes_and_refuses_those_whose_turn_comes_too_late() {
        let (admitted, took) = run(&writes(4, Some(5)), 100).await;
        assert!((15..=16).contains(&admitted), "{admitted}");
        assert!(took >= Duration::from_millis(2900), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_its_place() {
        let writes = writes(1, None);
        let held = writes.admit().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), writes.admit()).await.is_err());
        drop(held);
        assert!(writes.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_follows_the_writes() {
        let writes = writes(4, None);
        assert_eq!(
            writes.pace(),
            Throughput { writers: 4, most: 60, each: Duration::from_millis(25) },
            "100 ms until one was seen"
        );
        for (takes, most) in [(50, 120), (1000, 6), (60_000, 4)] {
            for _ in 0..200 {
                let _permit = writes.admit().await.unwrap();
                tokio::time::advance(Duration::from_millis(takes)).await;
            }
            let pace = writes.pace();
            assert!(pace.most.abs_diff(most) <= 1, "{pace:?} where a write takes {takes} ms");
            assert!(pace.each.as_millis().abs_diff(u128::from(takes) / 4) <= 1, "{pace:?}");
        }
        let limited = self::writes(4, Some(10)).pace();
        assert_eq!(
            limited,
            Throughput { writers: 4, most: 15, each: Duration::from_millis(100) },
            "the rate is slower"
        );
    }
}

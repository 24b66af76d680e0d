//! Limits how many writes are sent at the same time, and how many in a second, and measures how fast they are: a write makes
//! the cluster hash a password, so that more of them at once only take longer.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::credentials::Throughput;

/// How long a write is taken to last before one was measured.
const USUAL: Duration = Duration::from_millis(100);
/// One part in so many of the mean is the newest write's.
const NEWEST: u32 = 8;

/// The limits on the writes of this process.
#[derive(Clone, Copy, Debug)]
pub struct WriteLimits {
    /// How many may be under way at the same time: `elasticsearch.max_writes`.
    pub concurrent: usize,
    /// How long one may wait for its turn: no longer than its caller waits for it.
    pub patience: Duration,
    /// How many may begin in a second: `elasticsearch.max_write_rate`; none for no limit.
    pub per_second: Option<u32>,
}

impl WriteLimits {
    /// The throughput where a write takes so long on average. As many may wait as get their turn within half of the patience:
    /// the other half is for the write itself, and for turns that come late. As many as may write at once may always wait.
    fn throughput(&self, mean: Duration) -> Throughput {
        let each = mean / u32::try_from(self.concurrent).unwrap_or(u32::MAX);
        let each = self.interval().map_or(each, |interval| interval.max(each));
        let waiting = (self.patience / 2).as_nanos() / each.as_nanos().max(1);
        let most = usize::try_from(waiting).unwrap_or(usize::MAX).max(self.concurrent);
        Throughput { writers: self.concurrent, most, each }
    }

    /// The least time from one write to the next, where there is a rate.
    fn interval(&self) -> Option<Duration> {
        self.per_second.map(|rate| Duration::from_secs(1) / rate.max(1))
    }

    /// The throughput that is assumed before a write was measured.
    pub(crate) fn usual_throughput(&self) -> Throughput {
        self.throughput(USUAL)
    }
}

/// Makes writes wait for their turn within the limits.
pub(crate) struct WriteLimiter {
    limits: WriteLimits,
    permits: Semaphore,
    /// When the rate allows the next write, where there is one.
    next: Mutex<Option<Instant>>,
    /// How long a write takes on average.
    mean: Mutex<Duration>,
}

/// The right to write, until it is dropped. How long it was held is taken for the duration of the write.
pub(crate) struct WritePermit<'a> {
    limiter: &'a WriteLimiter,
    since: Instant,
    _permit: SemaphorePermit<'a>,
}

/// That the turn would come later than a write may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many writes are waiting")]
pub(crate) struct TooManyWrites;

impl Drop for WritePermit<'_> {
    fn drop(&mut self) {
        let mut mean = self.limiter.mean.lock();
        *mean = (*mean * (NEWEST - 1) + self.since.elapsed()) / NEWEST;
    }
}

impl WriteLimiter {
    pub(crate) fn new(limits: WriteLimits) -> Self {
        let permits = Semaphore::new(limits.concurrent);
        Self { limits, permits, next: Mutex::default(), mean: Mutex::new(USUAL) }
    }

    /// How fast writes are at present.
    pub(crate) fn throughput(&self) -> Throughput {
        self.limits.throughput(*self.mean.lock())
    }

    /// Waits for a turn, at most as long as a write may wait.
    pub(crate) async fn admit(&self) -> Result<WritePermit<'_>, TooManyWrites> {
        let ends = Instant::now() + self.limits.patience;
        if let Some(turn) = self.turn(ends)? {
            tokio::time::sleep_until(turn).await;
        }
        match timeout_at(ends, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(WritePermit { limiter: self, since: Instant::now(), _permit: permit }),
            _ => Err(TooManyWrites),
        }
    }

    /// The time from which the rate allows this write; it is taken only if it comes before `ends`.
    fn turn(&self, ends: Instant) -> Result<Option<Instant>, TooManyWrites> {
        let Some(interval) = self.limits.interval() else { return Ok(None) };
        let mut next = self.next.lock();
        let now = Instant::now();
        let turn = next.map_or(now, |next| next.max(now));
        if turn > ends {
            return Err(TooManyWrites);
        }
        *next = Some(turn + interval);
        Ok(Some(turn))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn writes(concurrent: usize, per_second: Option<u32>) -> Arc<WriteLimiter> {
        Arc::new(WriteLimiter::new(WriteLimits { concurrent, patience: Duration::from_secs(3), per_second }))
    }

    /// Begins so many writes of 100 ms at once, and answers how many were admitted and how long all took.
    async fn run(writes: &Arc<WriteLimiter>, count: usize) -> (usize, Duration) {
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
        assert_eq!(writes.permits.available_permits(), writes.limits.concurrent, "all permits are given back");
        (admitted, began.elapsed())
    }

    /// Requirement 29: writes at the same time are limited.
    #[tokio::test(start_paused = true)]
    async fn only_so_many_write_at_once_and_none_waits_longer_than_its_caller() {
        let (admitted, took) = run(&writes(4, None), 20).await;
        assert_eq!(admitted, 20);
        assert!((500..600).contains(&took.as_millis()), "{took:?}");
        let (admitted, took) = run(&writes(1, None), 100).await;
        assert!((30..=31).contains(&admitted), "{admitted} in {took:?}");
    }

    /// Requirement 29: writes in a second are limited.
    #[tokio::test(start_paused = true)]
    async fn a_rate_spreads_writes_and_refuses_those_whose_turn_comes_too_late() {
        let (admitted, took) = run(&writes(4, Some(5)), 100).await;
        assert!((15..=16).contains(&admitted), "{admitted}");
        assert!(took >= Duration::from_millis(2900), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_gives_up_waiting_leaves_its_place() {
        let writes = writes(1, None);
        let held = writes.admit().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), writes.admit()).await.is_err());
        drop(held);
        assert!(writes.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_throughput_follows_the_writes() {
        let writes = writes(4, None);
        assert_eq!(
            writes.throughput(),
            Throughput { writers: 4, most: 60, each: Duration::from_millis(25) },
            "100 ms until one was seen"
        );
        for (takes, most) in [(50, 120), (1000, 6), (60_000, 4)] {
            for _ in 0..200 {
                let _permit = writes.admit().await.unwrap();
                tokio::time::advance(Duration::from_millis(takes)).await;
            }
            let throughput = writes.throughput();
            assert!(throughput.most.abs_diff(most) <= 1, "{throughput:?} where a write takes {takes} ms");
            assert!(throughput.each.as_millis().abs_diff(u128::from(takes) / 4) <= 1, "{throughput:?}");
        }
        let limited = self::writes(4, Some(10)).throughput();
        assert_eq!(
            limited,
            Throughput { writers: 4, most: 15, each: Duration::from_millis(100) },
            "the rate is slower"
        );
    }
}

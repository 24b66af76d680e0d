//! Times in whole milliseconds, as records and stores use them, a clock that does not stop in suspend, and random variations of
//! durations.

use std::ops::{Add, RangeInclusive};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The milliseconds of a duration, or the largest number when they do not fit.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The whole seconds of a duration, rounded up, as `Retry-After` has them (RFC 9110 §10.2.3).
pub(crate) fn seconds_rounded_up(duration: Duration) -> String {
    duration.as_millis().div_ceil(1000).to_string()
}

/// Milliseconds that a store keeps a record for; at least one, since a record without a life would be none.
pub(crate) fn lifetime_millis(life: Duration) -> u64 {
    millis(life).max(1)
}

/// The milliseconds from 1970 to this time; 0 for an earlier one.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The milliseconds since 1970, by the wall clock of this machine.
pub(crate) fn now_millis() -> u64 {
    unix_millis(SystemTime::now())
}

/// The time by the wall clock of this machine. In unit tests it goes on as tokio's time does, which can be paused.
#[cfg(not(test))]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// See above.
#[cfg(test)]
pub(crate) fn wall_clock() -> SystemTime {
    static FIRST: std::sync::LazyLock<(SystemTime, BootTime)> =
        std::sync::LazyLock::new(|| (SystemTime::now(), BootTime::now()));
    let (time, boot) = *FIRST;
    time + Duration::from_nanos(BootTime::now().nanos().saturating_sub(boot.nanos()))
}

/// A moment in nanoseconds since the machine was started, by a clock that also runs while the machine is suspended
/// (`CLOCK_BOOTTIME`). [`tokio::time::Instant`] stands still meanwhile. In unit tests it is tokio's time, which can be
/// paused, and so it is on systems other than Linux.
///
/// Reading it takes about 30 ns, exactly as long as reading an `Instant`: the kernel maps both clocks into the process (vDSO).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootTime(u64);

impl BootTime {
    /// Later than every other moment.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The present moment.
    pub(crate) fn now() -> Self {
        Self(nanos_since_boot())
    }

    /// The moment that [`Self::nanos`] returned the number of.
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Its number, for an atomic.
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// How long ago it was; zero for a moment to come.
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_nanos(nanos_since_boot().saturating_sub(self.0))
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(all(target_os = "linux", not(test)))]
fn nanos_since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default().saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or_default())
}

#[cfg(not(all(target_os = "linux", not(test))))]
fn nanos_since_boot() -> u64 {
    use std::sync::LazyLock;
    use tokio::time::Instant;

    // a paused clock may have begun before the first one that looked: it must not seem to stand still
    const BEFORE: Duration = Duration::from_secs(600);
    static FIRST: LazyLock<Instant> = LazyLock::new(|| {
        let now = Instant::now();
        now.checked_sub(BEFORE).unwrap_or(now)
    });
    u64::try_from(Instant::now().saturating_duration_since(*FIRST).as_nanos()).unwrap_or(u64::MAX)
}

/// The duration times a random factor from this range, so that what begins together, on one replica or on several, does not end
/// together.
pub(crate) fn jittered(duration: Duration, factor: RangeInclusive<f64>) -> Duration {
    let (least, most) = factor.into_inner();
    duration.mul_f64(least + (most - least) * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_range_and_varies() {
        let hour = Duration::from_secs(3600);
        let all: Vec<_> = (0..100).map(|_| jittered(hour, 0.9..=1.1)).collect();
        assert!(all.iter().all(|one| (hour.mul_f64(0.9)..=hour.mul_f64(1.1)).contains(one)));
        assert!(all.iter().any(|one| *one != all[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_since_boot_goes_on_and_no_moment_is_before_another_one_that_was_read_earlier() {
        let (first, step) = (BootTime::now(), Duration::from_secs(3));
        tokio::time::advance(step).await;
        assert!(first < BootTime::now() && first + step <= BootTime::now() && BootTime::now() < BootTime::NEVER);
        assert_eq!((first.elapsed(), (first + step * 2).elapsed()), (step, Duration::ZERO));
        assert_eq!(BootTime::NEVER + step, BootTime::NEVER);
        assert_eq!(BootTime::from_nanos(first.nanos()), first);
    }

    #[test]
    fn what_does_not_fit_is_bounded() {
        assert_eq!(millis(Duration::MAX), u64::MAX);
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}

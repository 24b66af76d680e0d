//! Times in whole milliseconds, as records and stores use them, and random variations of durations.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The milliseconds of a duration, or the largest number when they do not fit.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

    #[test]
    fn what_does_not_fit_is_bounded() {
        assert_eq!(millis(Duration::MAX), u64::MAX);
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}

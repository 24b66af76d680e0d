//! When the background work for a cached record is next to be done: to extend its life, to confirm its password, to seal it with
//! the present key, to write what Elasticsearch did not take, to replace an old password, and to touch it in the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Settings;
use super::record::Phase;
use super::seal::Seal;
use super::stored::Current;
use crate::clock::millis;

/// Between two touches of a record that is in use. A store that evicts what was not used for long
/// (Redis with `allkeys-lru`) sees no hits in the near cache, and would evict first the records that are used most. A minute is
/// short beside the time that a record is unused before it is evicted, and costs a store less than one read of each user in a
/// minute.
pub(super) const BETWEEN_TOUCHES: Duration = Duration::from_secs(60);

/// The times of a record's tasks, kept with the cached credential, so that a hit compares numbers only.
#[derive(Debug)]
pub(super) struct MaintenanceSchedule {
    pub(super) extend: TaskTime,
    pub(super) confirm: TaskTime,
    /// Never for a record that the present key sealed.
    pub(super) seal: TaskTime,
    /// Never for a ready record: another attempt to write a change of roles that Elasticsearch did not take.
    pub(super) write: TaskTime,
    /// A new password, before the record's greatest age.
    pub(super) rotate: TaskTime,
    /// Reading the record was a use of it.
    pub(super) touch: TaskTime,
}

/// The pause after a change of roles was not written, until any replica tries again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// When a task is next to be done, in milliseconds after the record was read.
#[derive(Debug)]
pub(super) struct TaskTime(AtomicU64);

impl MaintenanceSchedule {
    /// `tracked_since` is when the store began to report changes again after a time when it did not. What was confirmed
    /// before that may have been rolled back since.
    /// `rotate` is the time until the record is to get a new password.
    pub(super) fn of(
        current: &Current,
        settings: &Settings,
        tracked_since: Option<Instant>,
        seal: &Seal,
        rotate: Duration,
    ) -> Self {
        let age = current.written.age(current.remaining);
        let rolled_back = || tracked_since.is_some_and(|since| age > current.at.saturating_duration_since(since));
        let confirm = match current.written.record.phase {
            Phase::Confirmed if rolled_back() => Duration::ZERO,
            Phase::Confirmed => settings.confirm_interval.saturating_sub(age),
            Phase::Ready => settings.settling.saturating_sub(age),
            Phase::Pending { .. } => Duration::MAX,
        };
        let write = match current.written.record.phase {
            Phase::Pending { failed: true, .. } => RETRY.saturating_sub(age),
            Phase::Pending { failed: false, .. } => settings.lease_time().saturating_sub(age),
            Phase::Ready | Phase::Confirmed => Duration::MAX,
        };
        let ready = current.written.record.phase.is_ready();
        let half = current.remaining.saturating_sub(current.written.life / 2);
        let extend = if settings.extend && ready { half } else { Duration::MAX };
        let seal = if seal.is_current(&current.bytes) { Duration::MAX } else { Duration::ZERO };
        let rotate = if ready { rotate } else { Duration::MAX };
        let times = [extend, confirm, seal, write, rotate, BETWEEN_TOUCHES];
        let [extend, confirm, seal, write, rotate, touch] = times.map(TaskTime::after);
        Self { extend, confirm, seal, write, rotate, touch }
    }
}

impl TaskTime {
    fn after(duration: Duration) -> Self {
        Self(AtomicU64::new(millis(duration)))
    }

    /// Whether the time has come. Only one caller gets `true`; the next one gets it after the time `retry`.
    pub(super) fn begin(&self, elapsed: Duration, retry: Duration) -> bool {
        let (at, now) = (self.0.load(Ordering::Relaxed), millis(elapsed));
        now >= at && self.0.compare_exchange(at, now + millis(retry), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Lets the next use of the record begin the task.
    pub(super) fn postpone_to_next_use(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

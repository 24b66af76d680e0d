//! When the background work for a cached record is next to be done: to extend its life, to confirm its password, and to seal
//! it with the present key.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Settings;
use super::record::Phase;
use super::seal::Seal;
use super::stored::Current;
use crate::clock::millis;

/// The times of a record's tasks, kept with the cached credential, so that a hit compares numbers only.
#[derive(Debug)]
pub(super) struct MaintenanceSchedule {
    pub(super) extend: TaskTime,
    pub(super) confirm: TaskTime,
    /// Never for a record that the present key sealed.
    pub(super) seal: TaskTime,
}

/// When a task is next to be done, in milliseconds after the record was read.
#[derive(Debug)]
pub(super) struct TaskTime(AtomicU64);

impl MaintenanceSchedule {
    /// `tracked_since` is when the store began to report changes again after a time when it did not. What was confirmed
    /// before that may have been rolled back since.
    pub(super) fn of(current: &Current, settings: &Settings, tracked_since: Option<Instant>, seal: &Seal) -> Self {
        let age = current.written.age(current.remaining);
        let rolled_back = || tracked_since.is_some_and(|since| age > current.at.saturating_duration_since(since));
        let confirm = match current.written.record.phase {
            Phase::Confirmed if rolled_back() => Duration::ZERO,
            Phase::Confirmed => settings.confirm_interval.saturating_sub(age),
            Phase::Ready => settings.settling.saturating_sub(age),
            Phase::Pending { .. } => Duration::MAX,
        };
        let half = current.remaining.saturating_sub(current.written.life / 2);
        let extend = if settings.extend { half } else { Duration::MAX };
        let seal = if seal.is_current(&current.bytes) { Duration::MAX } else { Duration::ZERO };
        Self { extend: TaskTime::after(extend), confirm: TaskTime::after(confirm), seal: TaskTime::after(seal) }
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

//! The configuration of this process, and since when it is in force compared with those of other replicas.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::now_millis;
use crate::digest::Digest;
use crate::identity::Millis;
use crate::roles::Version;

/// The digest of this process's configuration, and since when it is in force.
///
/// It is in force since this process was started, by the clock of its machine, or since another process with the same
/// configuration was. Clocks disagree: one that was ahead may have dated an earlier configuration later. But what was written
/// before this process was started was written by an earlier configuration or by the same one, whatever its date.
pub(super) struct Running {
    digest: Digest,
    since: AtomicU64,
    started: Instant,
}

impl Running {
    pub(super) fn new(digest: Digest) -> Self {
        Self { digest, since: AtomicU64::new(now_millis()), started: Instant::now() }
    }

    pub(super) fn version(&self) -> Version {
        Version { since: self.since.load(Ordering::Relaxed), digest: self.digest }
    }

    /// Moves this configuration after the one that wrote a record of this age.
    pub(super) fn note_record(&self, record: Version, age: Duration) {
        if record.digest == self.digest {
            self.raise(record.since);
        } else if age > self.started.elapsed() {
            self.raise(record.since.saturating_add(1));
        }
    }

    /// Takes over the time from a user's stamp by the same configuration. The age of a stamp is not known.
    pub(super) fn note_stamp(&self, stamp: Version) {
        if stamp.digest == self.digest {
            self.raise(stamp.since);
        }
    }

    fn raise(&self, since: Millis) {
        self.since.fetch_max(since, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(since: Millis, digest: u64) -> Version {
        Version { since, digest: Digest(digest) }
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_of_one_configuration_are_as_late_as_the_last_of_them() {
        let running = Running::new(Digest(1));
        let own = running.version().since;
        running.note_record(version(own + 5000, 1), Duration::ZERO);
        assert_eq!(running.version(), version(own + 5000, 1));
        running.note_stamp(version(own + 7000, 1));
        running.note_stamp(version(own + 9000, 2));
        running.note_record(version(own + 9000, 2), Duration::ZERO);
        assert_eq!(running.version(), version(own + 7000, 1), "another one is later, as far as can be known");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_before_the_start_is_of_an_earlier_configuration_whatever_its_clock_said() {
        let running = Running::new(Digest(1));
        let ahead = version(running.version().since + 600_000, 2);
        tokio::time::advance(Duration::from_secs(10)).await;
        running.note_record(ahead, Duration::from_secs(9));
        assert!(running.version() < ahead, "written since: a process that was started later may have done it");
        running.note_record(ahead, Duration::from_secs(11));
        assert!(running.version() > ahead);
    }
}

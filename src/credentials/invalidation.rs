//! What a store tells about changes that others make, and how far it can be relied on.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::credentials::CacheKey;

/// Keys share so many counters (half a megabyte): a change of one key also makes its neighbours read again, which costs a round
/// trip, and is refused while `grpc.max_in_flight` is reached. While 10,000 new users are made, about every second known one reads
/// again once.
const SLOTS: usize = 65_536;
/// Keys share so many lists of who waits for a change; whoever is woken for another's looks again.
const WAITERS: usize = 4096;
/// How long an entry is trusted where nobody tells of changes.
pub(in crate::credentials) const UNTRACKED: Duration = Duration::from_secs(2);
/// Ends of sessions that are remembered. Entries of older ones are too old to be served.
const SESSIONS: usize = 64;

/// Whether changes are told. The upper bits count: two sessions are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Changes would be told, but the connection is gone.
    Lost,
    /// Every change is told.
    Tracked,
    /// The store cannot tell.
    Untracked,
}

/// The line over which a store tells of changes. Written by the store, read by the near cache.
#[derive(Debug)]
pub struct Invalidations {
    /// Session number in the upper bits, mode in the lower two.
    state: AtomicU64,
    changes: Box<[AtomicU64]>,
    waiters: Box<[Notify]>,
    hasher: RandomState,
    /// When sessions ended, the latest last.
    ended: Mutex<VecDeque<(u64, Instant)>>,
    /// How often something was told.
    signs: AtomicU64,
}

/// The state of a key's line before the key was read: what is read after it is good as long as nothing has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::credentials) struct ReadVersion {
    slot: usize,
    changes: u64,
    state: u64,
}

impl Default for Invalidations {
    fn default() -> Self {
        let changes = std::iter::repeat_with(AtomicU64::default).take(SLOTS).collect();
        let waiters = std::iter::repeat_with(Notify::default).take(WAITERS).collect();
        Self {
            state: AtomicU64::new(0),
            changes,
            waiters,
            hasher: RandomState::new(),
            ended: Mutex::default(),
            signs: AtomicU64::new(0),
        }
    }
}

impl Invalidations {
    /// From now on every change is told.
    pub fn begun(&self) {
        self.signs.fetch_add(1, Ordering::AcqRel);
        self.enter(1);
    }

    /// Changes are missed from now on: what was read before is suspect.
    pub fn lost(&self) {
        self.enter(0);
    }

    /// The store cannot tell of changes.
    pub fn unavailable(&self) {
        self.enter(2);
    }

    fn enter(&self, mode: u64) {
        let mut ended = self.ended.lock();
        let before = self.state.load(Ordering::Acquire);
        if mode_of(before) == mode_of(mode) && mode != 1 {
            return;
        }
        if ended.len() == SESSIONS {
            ended.pop_front();
        }
        ended.push_back((before, Instant::now()));
        self.state.store((before | 3) + 1 + mode, Ordering::Release);
        drop(ended);
        self.wake_all();
    }

    /// A key changed; the bytes are the store's.
    pub fn changed(&self, key: &[u8]) {
        // first: whoever finds the change finds the sign
        self.signs.fetch_add(1, Ordering::AcqRel);
        let slot = self.slot(key);
        if let Some(changes) = self.changes.get(slot) {
            changes.fetch_add(1, Ordering::AcqRel);
        }
        self.waiters(slot).notify_waiters();
    }

    /// Any key may have changed, as after a flush.
    pub fn all_changed(&self) {
        self.signs.fetch_add(1, Ordering::AcqRel);
        for changes in &self.changes {
            changes.fetch_add(1, Ordering::AcqRel);
        }
        self.wake_all();
    }

    /// Counts what only a store that lives can have told.
    pub(in crate::credentials) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Acquire)
    }

    fn wake_all(&self) {
        for waiters in &self.waiters {
            waiters.notify_waiters();
        }
    }

    fn slot(&self, key: &[u8]) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash do")]
        let hash = self.hasher.hash_one(key) as usize;
        hash % SLOTS
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is less than the length")]
    fn waiters(&self, slot: usize) -> &Notify {
        &self.waiters[slot % WAITERS]
    }

    pub(in crate::credentials) fn read_version(&self, key: &CacheKey) -> ReadVersion {
        let slot = self.slot(key.as_str().as_bytes());
        let changes = self.changes.get(slot).map_or(0, |changes| changes.load(Ordering::Acquire));
        ReadVersion { slot, changes, state: self.state.load(Ordering::Acquire) }
    }

    /// Nobody told of a change since the ticket was taken.
    pub(in crate::credentials) fn unchanged(&self, read_version: &ReadVersion) -> bool {
        self.changes
            .get(read_version.slot)
            .is_some_and(|changes| changes.load(Ordering::Acquire) == read_version.changes)
    }

    /// Nobody can have missed one either. `read` is when the entry was read.
    pub(in crate::credentials) fn trusts(&self, read_version: &ReadVersion, read: Instant) -> bool {
        let state = self.state.load(Ordering::Acquire);
        match mode_of(state) {
            Mode::Tracked => read_version.state == state,
            Mode::Untracked => read.elapsed() < UNTRACKED,
            Mode::Lost => false,
        }
    }

    /// How long a change may have been missed.
    pub(in crate::credentials) fn suspect_for(&self, read_version: &ReadVersion, read: Instant) -> Duration {
        if mode_of(read_version.state) != Mode::Tracked {
            return read.elapsed();
        }
        let ended = self.ended.lock();
        let end = ended.iter().find(|(state, _)| *state == read_version.state).map(|(_, at)| *at);
        match end {
            Some(at) => at.elapsed(),
            None if read_version.state == self.state.load(Ordering::Acquire) => Duration::ZERO,
            None => Duration::MAX,
        }
    }

    /// When the present session began, if changes are told.
    pub(in crate::credentials) fn tracked_since(&self) -> Option<Instant> {
        let ended = self.ended.lock();
        let tracked = mode_of(self.state.load(Ordering::Acquire)) == Mode::Tracked;
        // the first session has nobody before it whose changes could have been missed
        ended.back().filter(|(before, _)| tracked && *before != 0).map(|(_, at)| *at)
    }

    /// Waits until the key may have changed since the ticket was taken, at most `told`, or `poll`
    /// where nobody tells.
    pub(in crate::credentials) async fn wait(&self, read_version: &ReadVersion, poll: Duration, told: Duration) {
        let changed = self.waiters(read_version.slot).notified();
        tokio::pin!(changed);
        // from here on no wake-up is missed
        changed.as_mut().enable();
        if !self.unchanged(read_version) {
            return;
        }
        let tracked = mode_of(self.state.load(Ordering::Acquire)) == Mode::Tracked;
        let limit = if tracked { told } else { poll };
        // either way the record is read again
        let _ = tokio::time::timeout(limit, changed).await;
    }
}

fn mode_of(state: u64) -> Mode {
    match state & 3 {
        1 => Mode::Tracked,
        2 => Mode::Untracked,
        _ => Mode::Lost,
    }
}

//! The store's reports of changes made by others, and how far the near cache may rely on them.
//!
//! A connection that reports changes is a session. While one lasts, an entry of the near cache is true as long as its key has not
//! been reported. When it ends, changes may be missed, and entries of before are suspect. A store that cannot report changes says
//! so, and entries are then trusted for a short time only.
//!
//! A session with a server is trusted only for a short time after the server's last answer on that connection. A
//! process that stood still, in a machine that was suspended or a container that was paused, wakes with reports that it has not
//! read yet, and would else answer its first requests with what has changed meanwhile. The server's answer comes after the
//! reports that it sent before it: when a session is trusted again, those reports have been read.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::BootTime;
use crate::credentials::CacheKey;

/// How many counters of changes there are (half a megabyte). Keys share them: a change of one key also drops the entries of
/// others with the same counter, which costs each a round trip, and a refusal while `grpc.max_in_flight` is reached. While 10,000
/// new users are written, about every second known user is read again once.
const SLOTS: usize = 65_536;
/// How many lists of waiting runs there are. Keys share them: a run that is woken by the change of another key reads again.
const WAITERS: usize = 4096;
/// How long an entry is trusted where the store cannot report changes.
pub(super) const UNTRACKED: Duration = Duration::from_secs(2);
/// How many ends of sessions are remembered. Entries of older sessions are too old to be served.
const SESSIONS: usize = 64;

/// Whether changes are reported. It is the lower two bits of the state; the upper bits count, so that no two sessions are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Changes would be reported, but the connection is gone.
    Lost,
    /// Every change is reported.
    Tracked,
    /// The store cannot report changes.
    Untracked,
}

/// Takes a store's reports of changes, for the near cache to read.
#[derive(Debug)]
pub struct Invalidations {
    /// The number of the session in the upper bits, the mode in the lower two.
    state: AtomicU64,
    /// How often a key of each slot was reported.
    changes: Box<[AtomicU64]>,
    waiters: Box<[Notify]>,
    hasher: RandomState,
    /// Until when the present session is trusted: a [`BootTime`] in nanoseconds.
    trusted_until: AtomicU64,
    /// The states that ended, the latest last.
    ended: Mutex<VecDeque<Ended>>,
    /// How many reports there were, each a sign of life of the store.
    signs: AtomicU64,
}

/// A state that ended.
#[derive(Debug)]
struct Ended {
    state: u64,
    at: Instant,
    /// Since when changes may have been missed: since the session was not trusted any more, if that was earlier.
    suspect: BootTime,
}

/// What had been reported before a key was read: what was read is true as long as this has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadVersion {
    slot: usize,
    changes: u64,
    state: u64,
    at: BootTime,
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
            trusted_until: AtomicU64::new(BootTime::NEVER.nanos()),
            ended: Mutex::default(),
            signs: AtomicU64::new(0),
        }
    }
}

impl Invalidations {
    /// A session with a store within this process begins: every change is reported from now on, and no report can be late.
    pub(crate) fn begun(&self) {
        self.begun_until(BootTime::NEVER);
    }

    /// A session with a server begins: every change is reported from now on. It is trusted until `until`, see [`Self::renewed`].
    pub(crate) fn begun_until(&self, until: BootTime) {
        self.signs.fetch_add(1, Ordering::AcqRel);
        self.enter(1, until);
    }

    /// The server has answered a question of this session, and all its reports of before have been passed on: the session is
    /// trusted until `until`, which counts from the time when the question was sent.
    pub(crate) fn renewed(&self, until: BootTime) {
        self.trusted_until.store(until.nanos(), Ordering::Release);
    }

    /// The session has ended: changes are missed from now on, and what was read before is suspect.
    pub(crate) fn lost(&self) {
        self.enter(0, BootTime::NEVER);
    }

    /// The store cannot report changes at all.
    pub(crate) fn unavailable(&self) {
        self.enter(2, BootTime::NEVER);
    }

    fn enter(&self, mode: u64, trusted_until: BootTime) {
        let mut ended = self.ended.lock();
        let before = self.state.load(Ordering::Acquire);
        if mode_of(before) == mode_of(mode) && mode != 1 {
            return;
        }
        if ended.len() == SESSIONS {
            ended.pop_front();
        }
        let suspect = self.trusted_until().min(BootTime::now());
        ended.push_back(Ended { state: before, at: Instant::now(), suspect });
        self.renewed(trusted_until);
        self.state.store((before | 3) + 1 + mode, Ordering::Release);
        drop(ended);
        self.wake_all();
    }

    /// A key has changed; the bytes are the key as the store has it.
    pub(crate) fn changed(&self, key: &[u8]) {
        // first, so that a reader that finds the change finds the sign too
        self.signs.fetch_add(1, Ordering::AcqRel);
        let slot = self.slot(key);
        if let Some(changes) = self.changes.get(slot) {
            changes.fetch_add(1, Ordering::AcqRel);
        }
        self.waiters(slot).notify_waiters();
    }

    /// Every key may have changed, as after a flush.
    pub(crate) fn all_changed(&self) {
        self.signs.fetch_add(1, Ordering::AcqRel);
        for changes in &self.changes {
            changes.fetch_add(1, Ordering::AcqRel);
        }
        self.wake_all();
    }

    /// How many reports there were: only a store that is alive makes them.
    pub(crate) fn signs(&self) -> u64 {
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

    pub(crate) fn read_version(&self, key: &CacheKey) -> ReadVersion {
        let slot = self.slot(key.as_str().as_bytes());
        let changes = self.changes.get(slot).map_or(0, |changes| changes.load(Ordering::Acquire));
        ReadVersion { slot, changes, state: self.state.load(Ordering::Acquire), at: BootTime::now() }
    }

    /// Whether no change of the key was reported since the version was taken.
    pub(crate) fn unchanged(&self, read_version: &ReadVersion) -> bool {
        self.changes
            .get(read_version.slot)
            .is_some_and(|changes| changes.load(Ordering::Acquire) == read_version.changes)
    }

    /// Whether no change can have been missed either. To be asked before [`Self::unchanged`]: if the session is renewed between
    /// the two, the changes of before are seen.
    pub(crate) fn trusts(&self, read_version: &ReadVersion) -> bool {
        let state = self.state.load(Ordering::Acquire);
        match mode_of(state) {
            Mode::Tracked => read_version.state == state && BootTime::now() < self.trusted_until(),
            Mode::Untracked => read_version.at.elapsed() < UNTRACKED,
            Mode::Lost => false,
        }
    }

    fn trusted_until(&self) -> BootTime {
        BootTime::from_nanos(self.trusted_until.load(Ordering::Acquire))
    }

    /// For how long a change may have been missed.
    pub(crate) fn suspect_for(&self, read_version: &ReadVersion) -> Duration {
        if mode_of(read_version.state) != Mode::Tracked {
            return read_version.at.elapsed();
        }
        let ended = self.ended.lock();
        let since = ended.iter().find(|ended| ended.state == read_version.state).map(|ended| ended.suspect);
        match since {
            Some(since) => since.elapsed(),
            None if read_version.state == self.state.load(Ordering::Acquire) => self.trusted_until().elapsed(),
            None => Duration::MAX,
        }
    }

    /// When the present session began, if there is one and there was another state before it.
    pub(super) fn tracked_since(&self) -> Option<Instant> {
        let ended = self.ended.lock();
        let tracked = mode_of(self.state.load(Ordering::Acquire)) == Mode::Tracked;
        // before the first session this process relied on no reports, and so has missed none
        ended.back().filter(|before| tracked && before.state != 0).map(|before| before.at)
    }

    /// Waits until the key may have changed since the version was taken: at most the time `tracked` within a session, and `poll`
    /// without one.
    pub(crate) async fn wait(&self, read_version: &ReadVersion, poll: Duration, tracked: Duration) {
        let changed = self.waiters(read_version.slot).notified();
        tokio::pin!(changed);
        // from here on no wake-up is missed
        changed.as_mut().enable();
        if !self.unchanged(read_version) {
            return;
        }
        let in_session = mode_of(self.state.load(Ordering::Acquire)) == Mode::Tracked;
        let limit = if in_session { tracked } else { poll };
        // either way the caller reads the record again
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

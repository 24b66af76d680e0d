//! Whether the provider renews tokens at present, as far as this process's attempts show it.
//!
//! Where it does not, sessions are served on without a wait for it, and this process asks it once in a second instead of once for
//! each session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::refresh::Outcome;
use crate::clock::BootTime;

/// Between two attempts of this process.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an attempt without an answer counts. After that it is not known how the provider is.
const COUNTS: Duration = Duration::from_secs(60);

/// How long it counts that a request waited in vain, for an attempt of this process or of another replica.
const SLOW: Duration = Duration::from_secs(10);

/// The condition of the provider.
#[derive(Default)]
pub(crate) struct ProviderCondition {
    /// Until when it counts as down: a [`BootTime`] in nanoseconds; zero where it has answered.
    down_until: AtomicU64,
    /// Until when requests do not wait for it, because one has waited in vain.
    slow_until: AtomicU64,
    /// When it may be asked again.
    next: AtomicU64,
    why: Mutex<String>,
}

impl ProviderCondition {
    /// Notes how an attempt ended.
    pub(crate) fn note(&self, outcome: Outcome, why: &str) {
        match outcome {
            Outcome::Renewed | Outcome::Refused => {
                self.down_until.store(0, Ordering::Relaxed);
                self.slow_until.store(0, Ordering::Relaxed);
            }
            Outcome::NotSent | Outcome::Unanswered => {
                let now = BootTime::now();
                why.clone_into(&mut self.why.lock());
                self.next.store((now + PAUSE).nanos(), Ordering::Relaxed);
                self.down_until.store((now + COUNTS).nanos(), Ordering::Relaxed);
            }
            // these say nothing about it
            Outcome::Fresh | Outcome::Ended | Outcome::StoreFailed => {}
        }
    }

    /// Notes that a request has waited in vain.
    pub(crate) fn note_wait(&self) {
        self.slow_until.store((BootTime::now() + SLOW).nanos(), Ordering::Relaxed);
    }

    /// Whether it is worth no wait where a request can be served without new tokens.
    pub(crate) fn is_slow(&self) -> bool {
        let now = BootTime::now().nanos();
        now < self.down_until.load(Ordering::Relaxed) || now < self.slow_until.load(Ordering::Relaxed)
    }

    fn is_down(&self) -> bool {
        BootTime::now().nanos() < self.down_until.load(Ordering::Relaxed)
    }

    /// Whether the caller may ask it: always while it answers, and else in turn.
    pub(crate) fn may_ask(&self) -> bool {
        if !self.is_down() {
            return true;
        }
        let (now, next) = (BootTime::now(), self.next.load(Ordering::Relaxed));
        let then = (now + PAUSE).nanos();
        now.nanos() >= next && self.next.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What the last attempt without an answer said.
    pub(crate) fn why(&self) -> String {
        self.why.lock().clone()
    }
}

//! Whether the store has just been lost: then users have the passwords that Elasticsearch keeps, and need no writes.
//!
//! After a loss every user in use needs a run at the same time. A run that only inspects the user and logs in takes a few
//! milliseconds, and the bound on writes would refuse users that could be served. A flood of new users must not get past that
//! bound, so a run goes on without a permit to write only while other users are found to have a kept password. Where the first
//! of them are still being looked at, it waits for what is found.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

/// How long one user with a kept password speaks for others.
const JUST_NOW: Duration = Duration::from_secs(10);
/// How many runs without a permit to write look at users at once.
const LOOKS: usize = 64;
/// How long a run waits for what others find.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many users without a kept password show that nothing was lost: after a loss there are new users, too.
const ENOUGH: u64 = 8;
/// How many runs wait so at once: no more than a part of `grpc.max_in_flight`, which a flood of new users must not use up.
const WAITING: usize = 1024;

/// Bounds the runs that look for a kept password without a permit to write.
pub(super) struct KeptPasswords {
    seen: watch::Sender<Seen>,
    looks: Arc<Semaphore>,
    waiting: Semaphore,
}

/// What was seen of users without a record.
#[derive(Default)]
struct Seen {
    /// When the last one with a kept password was found.
    found: Option<Instant>,
    /// How many had none.
    missed: u64,
    /// How many are being looked at with a permit to write.
    open: usize,
}

impl Seen {
    fn found_just_now(&self) -> bool {
        self.found.is_some_and(|at| at.elapsed() < JUST_NOW)
    }
}

/// A look at a user, until it is dropped.
pub(super) struct Look(watch::Sender<Seen>);

impl Look {
    /// The user has no password that Elasticsearch keeps.
    pub(super) fn missed(self) {
        self.0.send_modify(|seen| seen.missed += 1);
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.send_if_modified(|seen| {
            seen.open -= 1;
            seen.open == 0
        });
    }
}

impl Default for KeptPasswords {
    fn default() -> Self {
        let (looks, waiting) = (Arc::new(Semaphore::new(LOOKS)), Semaphore::new(WAITING));
        Self { seen: watch::Sender::new(Seen::default()), looks, waiting }
    }
}

impl KeptPasswords {
    /// A user without a record is going to be looked at.
    pub(super) fn begin(&self) -> Look {
        self.seen.send_if_modified(|seen| {
            seen.open += 1;
            false
        });
        Look(self.seen.clone())
    }

    /// A user had the password that Elasticsearch keeps.
    pub(super) fn found(&self) {
        self.seen.send_if_modified(|seen| {
            let news = !seen.found_just_now();
            seen.found = Some(Instant::now());
            news
        });
    }

    /// Whether that was so for some user just now. Waits where users are being looked at and none is known to have one yet, until
    /// one has, several have none, or [`PATIENCE`] is over.
    pub(super) async fn are_found(&self) -> bool {
        let mut seen = self.seen.subscribe();
        let before = seen.borrow().missed;
        let decided = |seen: &Seen| seen.found_just_now() || seen.open == 0 || seen.missed >= before + ENOUGH;
        if !decided(&self.seen.borrow())
            && let Ok(_place) = self.waiting.try_acquire()
        {
            let _ = timeout(PATIENCE, seen.wait_for(decided)).await;
        }
        self.seen.borrow().found_just_now()
    }

    /// Waits until fewer runs look at users. None where the semaphore is closed, which it never is.
    pub(super) async fn look(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.looks).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_user_speaks_for_others_for_a_while() {
        let kept = KeptPasswords::default();
        assert!(!kept.are_found().await);
        kept.found();
        tokio::time::advance(JUST_NOW.saturating_sub(Duration::from_millis(1))).await;
        assert!(kept.are_found().await);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!kept.are_found().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_waits_for_what_is_found_at_users_that_are_being_looked_at() {
        let kept = KeptPasswords::default();
        let looks: Vec<_> = (0..=ENOUGH).map(|_| kept.begin()).collect();
        let began = Instant::now();
        assert!(!kept.are_found().await);
        assert_eq!(began.elapsed(), PATIENCE, "none has answered");
        let few = async {
            looks.into_iter().skip(1).take(2).for_each(Look::missed);
            kept.found();
        };
        assert!(join(kept.are_found(), few).await.0);
        assert_eq!(began.elapsed(), PATIENCE, "new users among them decide nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_does_not_wait_where_new_users_come_or_none_is_looked_at() {
        let kept = KeptPasswords::default();
        let (began, open) = (Instant::now(), kept.begin());
        let missed = async { (0..ENOUGH).for_each(|_| kept.begin().missed()) };
        assert!(!join(kept.are_found(), missed).await.0);
        let ended = async { drop(open) };
        assert!(!join(kept.are_found(), ended).await.0);
        assert!(!kept.are_found().await);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

//! Lets concurrent requests of one user share one run of the protocol in this process, which goes on when the request that
//! began it is cancelled.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio_util::task::TaskTracker;

use super::CacheKey;

/// Receives the outcome of a run; `None` while it runs.
type Outcome<T> = watch::Receiver<Option<T>>;

/// The runs of one user. They run one after another, because each holds `turn`.
struct User<P, T> {
    turn: Arc<tokio::sync::Mutex<()>>,
    runs: Vec<(P, Outcome<T>)>,
}

type Users<P, T> = Arc<Mutex<HashMap<CacheKey, User<P, T>>>>;

/// The runs of all users, by user and purpose `P`. The login has one run at a time for each session in the same way.
pub(crate) struct SingleFlight<P, T> {
    users: Users<P, T>,
    background: TaskTracker,
}

impl<P, T> Clone for SingleFlight<P, T> {
    fn clone(&self) -> Self {
        Self { users: Arc::clone(&self.users), background: self.background.clone() }
    }
}

/// The run ended without an outcome, because its task panicked or was cancelled.
#[derive(Debug)]
pub(crate) struct Lost;

impl<P, T> SingleFlight<P, T>
where
    P: PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Runs are tasks of `background`.
    pub(crate) fn new(background: TaskTracker) -> Self {
        Self { users: Arc::default(), background }
    }

    /// Joins the run of the same user and purpose, or starts one. Runs of one user follow one another; the argument of `run`
    /// says whether it had to wait for an earlier one.
    pub(crate) async fn join<F, R>(&self, key: &CacheKey, purpose: P, run: R) -> Result<T, Lost>
    where
        R: FnOnce(bool) -> F + Send + 'static,
        F: Future<Output = T> + Send + 'static,
        P: Clone,
    {
        let mut outcome = {
            let mut users = self.users.lock();
            let user = users.entry(key.clone()).or_insert_with(|| User { turn: Arc::default(), runs: Vec::new() });
            match user.runs.iter().find(|(running, _)| *running == purpose) {
                Some((_, outcome)) => outcome.clone(),
                None => {
                    let (sender, outcome) = watch::channel(None);
                    user.runs.push((purpose.clone(), outcome.clone()));
                    let turn = Arc::clone(&user.turn);
                    let leave = Leave { users: Arc::clone(&self.users), key: key.clone(), purpose };
                    self.background.spawn(async move {
                        let _leave = leave;
                        let (turn, waited) = take_turn(turn).await;
                        let result = run(waited).await;
                        drop(turn);
                        sender.send_replace(Some(result));
                    });
                    outcome
                }
            }
        };
        let result = outcome.wait_for(Option::is_some).await.map_err(|_| Lost)?;
        result.clone().ok_or(Lost)
    }
}

async fn take_turn(turn: Arc<tokio::sync::Mutex<()>>) -> (OwnedMutexGuard<()>, bool) {
    match Arc::clone(&turn).try_lock_owned() {
        Ok(guard) => (guard, false),
        Err(_) => (turn.lock_owned().await, true),
    }
}

/// Removes the run when its task ends, in whatever way.
struct Leave<P: PartialEq, T> {
    users: Users<P, T>,
    key: CacheKey,
    purpose: P,
}

impl<P: PartialEq, T> Drop for Leave<P, T> {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        if let Some(user) = users.get_mut(&self.key) {
            user.runs.retain(|(running, _)| *running != self.purpose);
            if user.runs.is_empty() {
                users.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::identity::Username;

    fn key() -> CacheKey {
        CacheKey::of(&Username::parse("ann").unwrap())
    }

    #[tokio::test]
    async fn a_hundred_concurrent_callers_share_one_flight() {
        let single_flight = SingleFlight::<u8, usize>::new(TaskTracker::new());
        let count = Arc::new(AtomicUsize::new(0));
        let callers = (0..100).map(|_| {
            let count = Arc::clone(&count);
            let user = key();
            let single_flight = &single_flight;
            async move {
                let run = move |_| async move {
                    tokio::task::yield_now().await;
                    count.fetch_add(1, SeqCst)
                };
                single_flight.join(&user, 1, run).await
            }
        });
        let results = futures_util::future::join_all(callers).await;
        assert!(results.into_iter().all(|r| matches!(r, Ok(0))));
        assert_eq!(count.load(SeqCst), 1);
        assert!(single_flight.users.lock().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_cancel_the_run() {
        let single_flight = SingleFlight::<u8, ()>::new(TaskTracker::new());
        let (done, finished) = tokio::sync::oneshot::channel();
        let (go, started) = tokio::sync::oneshot::channel::<()>();
        {
            let user = key();
            let call = single_flight.join(&user, 1, |_| async move {
                let _ = started.await;
                let _ = done.send(());
            });
            tokio::pin!(call);
            assert!(futures_util::poll!(call.as_mut()).is_pending());
        }
        go.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_run_is_an_error_and_leaves_nothing_behind() {
        let single_flight = SingleFlight::<u8, ()>::new(TaskTracker::new());
        let result = single_flight.join(&key(), 1, |_| async { panic!("while it runs") }).await;
        assert!(result.is_err());
        assert!(single_flight.users.lock().is_empty());
    }
}

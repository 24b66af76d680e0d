//! One loop per user at a time in this process, detached from the request that started it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, watch};

use super::CacheKey;

/// What a flight ends with; `None` while it runs.
type Landing<T> = watch::Receiver<Option<T>>;

struct User<W, T> {
    turn: Arc<tokio::sync::Mutex<()>>,
    running: Vec<(W, Landing<T>)>,
}

/// The flights under way.
pub(super) struct SingleFlight<W, T>(Arc<Mutex<HashMap<CacheKey, User<W, T>>>>);

impl<W, T> Clone for SingleFlight<W, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The flight ended without a result: its task was lost.
#[derive(Debug)]
pub(super) struct Lost;

impl<W, T> SingleFlight<W, T>
where
    W: PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the flight of the same user and want, or starts one. Flights of one user run one after another;
    /// `run` learns whether it had to wait for its turn.
    pub(super) async fn join<F, R>(&self, key: &CacheKey, want: W, run: R) -> Result<T, Lost>
    where
        R: FnOnce(bool) -> F + Send + 'static,
        F: Future<Output = T> + Send + 'static,
        W: Clone,
    {
        let mut landing = {
            let mut map = self.0.lock();
            let user = map.entry(key.clone()).or_insert_with(|| User { turn: Arc::default(), running: Vec::new() });
            match user.running.iter().find(|(running, _)| *running == want) {
                Some((_, landing)) => landing.clone(),
                None => {
                    let (sender, landing) = watch::channel(None);
                    user.running.push((want.clone(), landing.clone()));
                    let turn = Arc::clone(&user.turn);
                    let leave = Leave { map: Arc::clone(&self.0), key: key.clone(), want };
                    tokio::spawn(async move {
                        let _leave = leave;
                        let (turn, waited) = take_turn(turn).await;
                        let result = run(waited).await;
                        drop(turn);
                        sender.send_replace(Some(result));
                    });
                    landing
                }
            }
        };
        let result = landing.wait_for(Option::is_some).await.map_err(|_| Lost)?;
        result.clone().ok_or(Lost)
    }
}

async fn take_turn(turn: Arc<tokio::sync::Mutex<()>>) -> (OwnedMutexGuard<()>, bool) {
    match Arc::clone(&turn).try_lock_owned() {
        Ok(guard) => (guard, false),
        Err(_) => (turn.lock_owned().await, true),
    }
}

/// Takes the flight off the list when its task ends, by whatever way.
struct Leave<W: PartialEq, T> {
    map: Arc<Mutex<HashMap<CacheKey, User<W, T>>>>,
    key: CacheKey,
    want: W,
}

impl<W: PartialEq, T> Drop for Leave<W, T> {
    fn drop(&mut self) {
        let mut map = self.map.lock();
        if let Some(user) = map.get_mut(&self.key) {
            user.running.retain(|(running, _)| *running != self.want);
            if user.running.is_empty() {
                map.remove(&self.key);
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
        let flights = SingleFlight::<u8, usize>::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let callers = (0..100).map(|_| {
            let runs = Arc::clone(&runs);
            let user = key();
            let flights = &flights;
            async move {
                let run = move |_| async move {
                    tokio::task::yield_now().await;
                    runs.fetch_add(1, SeqCst)
                };
                flights.join(&user, 1, run).await
            }
        });
        let results = futures_util::future::join_all(callers).await;
        assert!(results.into_iter().all(|r| matches!(r, Ok(0))));
        assert_eq!(runs.load(SeqCst), 1);
        assert!(flights.0.lock().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_cancel_the_flight() {
        let flights = SingleFlight::<u8, ()>::new();
        let (done, finished) = tokio::sync::oneshot::channel();
        let (go, started) = tokio::sync::oneshot::channel::<()>();
        {
            let user = key();
            let call = flights.join(&user, 1, |_| async move {
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
    async fn a_lost_flight_is_an_error_and_leaves_nothing_behind() {
        let flights = SingleFlight::<u8, ()>::new();
        let result = flights.join(&key(), 1, |_| async { panic!("in flight") }).await;
        assert!(result.is_err());
        assert!(flights.0.lock().is_empty());
    }
}

//! A store that is down costs a request one time-out, once: after that the answer comes at once, and the store is asked
//! again in the background.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::near::Link;
use super::{CacheKey, Entry, Replaced, Store, StoreError};
use crate::spans;

/// Between two probes, doubling up to the second figure.
const BACK_OFF: Duration = Duration::from_millis(50);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// A probe may have to connect first.
const PROBE: Duration = Duration::from_secs(5);

/// A store behind a circuit breaker.
pub(super) struct Breaker<S> {
    shared: Arc<Shared<S>>,
    /// The longest that one operation may take.
    limit: Duration,
}

struct Shared<S> {
    store: S,
    /// Why it is open.
    open: Mutex<Option<StoreError>>,
}

impl<S: Store> Breaker<S> {
    pub(super) fn new(store: S, limit: Duration) -> Self {
        Self { shared: Arc::new(Shared { store, open: Mutex::default() }), limit }
    }

    /// Whether the store is not asked at present.
    pub(super) fn is_open(&self) -> bool {
        self.shared.open().is_some()
    }

    async fn run<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if let Some(why) = self.shared.open().clone() {
            return Err(why);
        }
        let span = span::<S>(name);
        let outcome = timeout(self.limit, operation.instrument(span.clone())).await;
        let late = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError(format!("no answer within {:?}", self.limit))));
        if let Err(error) = &outcome {
            spans::failed(&span, if late { "timeout" } else { "unavailable" });
            self.trip(error);
        }
        outcome
    }

    /// Opens, and asks in the background until there is an answer; the first time at once, since it may have been one
    /// connection's failure.
    fn trip(&self, error: &StoreError) {
        if self.shared.open().replace(error.clone()).is_some() {
            return;
        }
        tracing::warn!(%error, "The cache does not answer");
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let mut back_off = BACK_OFF;
            while !matches!(timeout(PROBE, shared.store.reachable()).await, Ok(Ok(()))) {
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
            *shared.open() = None;
            tracing::info!("The cache answers again");
        });
    }
}

/// One operation; a call of another server where the store is one.
fn span<S: Store>(name: &'static str) -> Span {
    spans::span!(
        "cache",
        otel.name = name,
        otel.kind = S::SYSTEM.map(|_| "client"),
        db.system.name = S::SYSTEM,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

impl<S> Shared<S> {
    fn open(&self) -> std::sync::MutexGuard<'_, Option<StoreError>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for Breaker<S> {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.run("cache get", self.shared.store.get(key)).await
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        self.run("cache create", self.shared.store.put_if_absent(key, bytes, life)).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> Result<Replaced, StoreError> {
        self.run("cache replace", self.shared.store.replace(key, expected, new, life)).await
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        self.run("cache remove", self.shared.store.remove(key, expected)).await
    }

    async fn watch(&self, link: Arc<Link>) {
        self.shared.store.watch(link).await;
    }

    /// Asks the store itself, whatever the breaker says.
    async fn reachable(&self) -> Result<(), StoreError> {
        self.shared.store.reachable().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::identity::Username;

    /// Fails, hangs or answers, and counts how often it is asked.
    #[derive(Default)]
    struct Fickle {
        mode: Mutex<Mode>,
        asked: AtomicUsize,
    }

    #[derive(Clone, Copy, Default)]
    enum Mode {
        #[default]
        Answers,
        Fails,
        Hangs,
    }

    impl Fickle {
        async fn answer(&self) -> Result<(), StoreError> {
            self.asked.fetch_add(1, SeqCst);
            let mode = *self.mode.lock().unwrap();
            match mode {
                Mode::Answers => Ok(()),
                Mode::Fails => Err(StoreError("refused".into())),
                Mode::Hangs => std::future::pending().await,
            }
        }
    }

    impl Store for Arc<Fickle> {
        async fn get(&self, _: &CacheKey) -> Result<Option<Entry>, StoreError> {
            self.answer().await.map(|()| None)
        }
        async fn put_if_absent(&self, _: &CacheKey, _: &[u8], _: Duration) -> Result<Option<Vec<u8>>, StoreError> {
            self.answer().await.map(|()| None)
        }
        async fn replace(&self, _: &CacheKey, _: &[u8], _: &[u8], _: Duration) -> Result<Replaced, StoreError> {
            self.answer().await.map(|()| Replaced::Yes)
        }
        async fn remove(&self, _: &CacheKey, _: &[u8]) -> Result<bool, StoreError> {
            self.answer().await.map(|()| true)
        }
        async fn watch(&self, _: Arc<Link>) {}
        async fn reachable(&self) -> Result<(), StoreError> {
            self.answer().await
        }
    }

    const LIMIT: Duration = Duration::from_millis(250);

    fn breaker() -> (Arc<Fickle>, Breaker<Arc<Fickle>>, CacheKey) {
        let store = Arc::<Fickle>::default();
        (Arc::clone(&store), Breaker::new(store, LIMIT), CacheKey::of(&Username::parse("ann").unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_costs_one_time_out_and_then_nothing() {
        let (store, breaker, key) = breaker();
        *store.mode.lock().unwrap() = Mode::Hangs;
        let began = tokio::time::Instant::now();
        assert!(breaker.get(&key).await.is_err());
        assert_eq!(began.elapsed(), LIMIT);
        for _ in 0..100 {
            assert!(breaker.get(&key).await.is_err());
        }
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_down_is_asked_in_the_background_at_a_bounded_rate_until_it_answers() {
        let (store, breaker, key) = breaker();
        *store.mode.lock().unwrap() = Mode::Fails;
        assert!(breaker.put_if_absent(&key, b"", LIMIT).await.is_err());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = store.asked.load(SeqCst);
        assert!((60..70).contains(&asked), "{asked}");
        *store.mode.lock().unwrap() = Mode::Answers;
        tokio::time::sleep(MAX_BACK_OFF).await;
        assert!(breaker.get(&key).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_lost_connection_opens_it_for_a_moment_only() {
        let (store, breaker, key) = breaker();
        *store.mode.lock().unwrap() = Mode::Fails;
        assert!(breaker.get(&key).await.is_err());
        *store.mode.lock().unwrap() = Mode::Answers;
        tokio::task::yield_now().await;
        assert!(breaker.get(&key).await.is_ok());
    }
}

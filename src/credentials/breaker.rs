//! A circuit breaker around the store: once an operation has failed, further ones fail at once instead of waiting for a
//! time-out each.
//!
//! While the breaker is open, the store is probed in the background. A request that cannot be served otherwise also asks it, if
//! the store has shown signs of life since.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::invalidation::Invalidations;
use super::{CacheKey, Entry, Replaced, Store, StoreError};
use crate::spans;

/// Between the first two probes; doubles up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(50);
/// The longest time between two probes.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// The time-out of a probe, which may have to connect first.
const PROBE: Duration = Duration::from_secs(5);
/// The name of a read in traces.
const GET: &str = "cache get";

/// A store behind a circuit breaker.
pub(super) struct Breaker<S> {
    shared: Arc<Shared<S>>,
    /// The longest that one operation may take.
    limit: Duration,
}

struct Shared<S> {
    store: S,
    /// Where the store shows signs of life.
    invalidations: Arc<Invalidations>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Whether it is being probed in the background.
    probed: bool,
}

/// Why a breaker is open, and since when.
struct Open {
    why: StoreError,
    /// How many signs of life there had been when the failed operation began.
    signs: u64,
}

impl<S: Store> Breaker<S> {
    pub(super) fn new(store: S, invalidations: Arc<Invalidations>, limit: Duration) -> Self {
        Self { shared: Arc::new(Shared { store, invalidations, state: Mutex::default() }), limit }
    }

    /// Whether the store is not asked at present.
    pub(super) fn is_open(&self) -> bool {
        self.shared.state.lock().open.is_some()
    }

    /// Reads for a request that cannot be served otherwise. Such a read asks the store even while the breaker is open, if the
    /// store has shown a sign of life since. After a fail-over another replica may write before this one's next probe; the
    /// report of that write drops the cached credential here, and its user would otherwise be refused until the probe.
    pub(super) async fn get_if_alive(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let signs = self.shared.invalidations.signs();
        if self.shared.state.lock().open.as_ref().is_none_or(|open| open.signs == signs) {
            return self.get(key).await;
        }
        let read = self.attempt(GET, self.shared.store.get(key)).await;
        if read.is_ok() {
            self.shared.close(false);
        }
        read
    }

    async fn run<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let open = self.shared.state.lock().open.as_ref().map(|open| open.why.clone());
        match open {
            Some(why) => Err(why),
            None => self.attempt(name, operation).await,
        }
    }

    async fn attempt<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let signs = self.shared.invalidations.signs();
        let span = span::<S>(name);
        let outcome = timeout(self.limit, operation.instrument(span.clone())).await;
        let late = outcome.is_err();
        let outcome =
            outcome.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {:?}", self.limit))));
        match &outcome {
            Ok(_) => {}
            Err(error @ StoreError::Unavailable(_)) => {
                spans::failed(&span, if late { "timeout" } else { "unavailable" });
                self.trip(error, signs);
            }
            // this is an answer, and it came at once: callers with a record go on being served
            Err(StoreError::WriteRefused(_)) => spans::failed(&span, "refused"),
        }
        outcome
    }

    /// Opens the breaker, and probes in the background until there is an answer; the first time at once, because only one
    /// connection may have failed.
    fn trip(&self, error: &StoreError, signs: u64) {
        let mut state = self.shared.state.lock();
        let was_closed = state.open.replace(Open { why: error.clone(), signs }).is_none();
        let probed = std::mem::replace(&mut state.probed, true);
        drop(state);
        if was_closed {
            tracing::warn!(%error, "The cache does not answer");
        }
        if probed {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let mut back_off = BACK_OFF;
            while !matches!(timeout(PROBE, shared.store.reachable()).await, Ok(Ok(()))) {
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
            shared.close(true);
        });
    }
}

/// The span of one operation; that of a client's call where the store is another server.
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
    /// Closes the breaker after an answer. `by_probe` says that the answer was to the probe, which ends with it.
    fn close(&self, by_probe: bool) {
        let mut state = self.state.lock();
        let was_open = state.open.take().is_some();
        state.probed &= !by_probe;
        drop(state);
        if was_open {
            tracing::info!("The cache answers again");
        }
    }
}

impl<S: Store> Store for Breaker<S> {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.run(GET, self.shared.store.get(key)).await
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

    /// Is not sent while the breaker is open, and never opens it: no request depends on it.
    async fn touch(&self, key: &CacheKey) -> Result<(), StoreError> {
        if let Some(open) = &self.shared.state.lock().open {
            return Err(open.why.clone());
        }
        let late = |_| Err(StoreError::Unavailable(format!("no answer within {:?}", self.limit)));
        timeout(self.limit, self.shared.store.touch(key)).await.unwrap_or_else(late)
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        self.shared.store.watch(invalidations).await;
    }

    /// Asks the store even while the breaker is open: first whether it answers reads, then whether it takes writes.
    async fn reachable(&self) -> Result<(), StoreError> {
        self.shared.store.reachable().await?;
        self.shared.store.writable().await
    }
}

#[cfg(test)]
mod tests;

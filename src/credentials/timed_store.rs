//! The store as runs use it: each operation has a span, and a longest time as a safety net.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::invalidation::Invalidations;
use super::{CacheKey, Entry, Replaced, Store, StoreError};
use crate::spans;

/// The name of a read in traces.
const GET: &str = "cache get";

/// A store with a span and a longest time for each operation.
pub(crate) struct TimedStore<S> {
    store: S,
    /// The longest that one operation may take. A store has shorter time-outs of its own, with better errors.
    limit: Duration,
}

impl<S: Store> TimedStore<S> {
    pub(crate) fn new(store: S, limit: Duration) -> Self {
        Self { store, limit }
    }

    fn late(&self) -> StoreError {
        StoreError::Unavailable(format!("no answer within {:?}", self.limit))
    }

    async fn run<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = span::<S>(name);
        let outcome = timeout(self.limit, operation.instrument(span.clone())).await;
        let late = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|_| Err(self.late()));
        match &outcome {
            Ok(_) => {}
            Err(StoreError::Unavailable(_)) => spans::failed(&span, if late { "timeout" } else { "unavailable" }),
            Err(StoreError::WriteRefused(_)) => spans::failed(&span, "refused"),
        }
        outcome
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

impl<S: Store> Store for TimedStore<S> {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.run(GET, self.store.get(key)).await
    }

    async fn get_soon(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.run(GET, self.store.get_soon(key)).await
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        self.run("cache create", self.store.put_if_absent(key, bytes, life)).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> Result<Replaced, StoreError> {
        self.run("cache replace", self.store.replace(key, expected, new, life)).await
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        self.run("cache remove", self.store.remove(key, expected)).await
    }

    /// Has no span: no request depends on it.
    async fn touch(&self, key: &CacheKey) -> Result<(), StoreError> {
        timeout(self.limit, self.store.touch(key)).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        self.store.watch(invalidations).await;
    }

    fn is_asked(&self) -> bool {
        self.store.is_asked()
    }

    /// First whether the store answers reads, then whether it takes writes. A store that answers reads serves users with a record,
    /// whatever comes of writes.
    async fn reachable(&self) -> Result<(), StoreError> {
        self.store.reachable().await?;
        self.store.writable().await.map_err(|error| StoreError::WriteRefused(error.to_string()))
    }
}

#[cfg(test)]
mod tests;

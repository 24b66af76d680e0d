//! A store that hangs, or refuses writes.

use super::*;
use crate::identity::Username;

/// Answers reads or hangs; writes end as this says.
struct Fickle {
    hangs: bool,
    writes: Result<(), StoreError>,
}

impl Fickle {
    async fn answer(&self) -> Result<(), StoreError> {
        if self.hangs { std::future::pending().await } else { Ok(()) }
    }
}

impl Store for Fickle {
    async fn get(&self, _: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.answer().await.map(|()| None)
    }
    async fn put_if_absent(&self, _: &CacheKey, _: &[u8], _: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        self.writes.clone().map(|()| None)
    }
    async fn replace(&self, _: &CacheKey, _: &[u8], _: &[u8], _: Duration) -> Result<Replaced, StoreError> {
        self.writes.clone().map(|()| Replaced::Yes)
    }
    async fn remove(&self, _: &CacheKey, _: &[u8]) -> Result<bool, StoreError> {
        self.writes.clone().map(|()| true)
    }
    async fn watch(&self, _: Arc<Invalidations>) {}
    async fn reachable(&self) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn writable(&self) -> Result<(), StoreError> {
        self.writes.clone()
    }
}

const LIMIT: Duration = Duration::from_millis(250);

#[tokio::test(start_paused = true)]
async fn an_operation_ends_in_time() {
    let store = TimedStore::new(Fickle { hangs: true, writes: Ok(()) }, LIMIT);
    let began = tokio::time::Instant::now();
    assert!(store.get(&CacheKey::of(&Username::parse("ann").unwrap())).await.is_err());
    assert_eq!(began.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_reads_is_in_reach_whatever_comes_of_writes() {
    for writes in [StoreError::WriteRefused("OOM".into()), StoreError::Unavailable("timed out".into())] {
        let store = TimedStore::new(Fickle { hangs: false, writes: Err(writes) }, LIMIT);
        assert!(matches!(store.reachable().await, Err(StoreError::WriteRefused(_))));
    }
    let store = TimedStore::new(Fickle { hangs: false, writes: Ok(()) }, LIMIT);
    assert!(store.reachable().await.is_ok());
}

//! A store that fails, hangs, or shows signs of life.

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
    /// Answers reads, and refuses writes.
    RefusesWrites,
}

impl Fickle {
    async fn answer(&self) -> Result<(), StoreError> {
        self.asked.fetch_add(1, SeqCst);
        let mode = *self.mode.lock();
        match mode {
            Mode::Answers | Mode::RefusesWrites => Ok(()),
            Mode::Fails => Err(StoreError::Unavailable("refused".into())),
            Mode::Hangs => std::future::pending().await,
        }
    }
}

impl Fickle {
    async fn write(&self) -> Result<(), StoreError> {
        self.answer().await?;
        let refused = matches!(*self.mode.lock(), Mode::RefusesWrites);
        if refused { Err(StoreError::WriteRefused("OOM".into())) } else { Ok(()) }
    }
}

impl Store for Arc<Fickle> {
    async fn get(&self, _: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.answer().await.map(|()| None)
    }
    async fn put_if_absent(&self, _: &CacheKey, _: &[u8], _: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        self.write().await.map(|()| None)
    }
    async fn replace(&self, _: &CacheKey, _: &[u8], _: &[u8], _: Duration) -> Result<Replaced, StoreError> {
        self.write().await.map(|()| Replaced::Yes)
    }
    async fn remove(&self, _: &CacheKey, _: &[u8]) -> Result<bool, StoreError> {
        self.write().await.map(|()| true)
    }
    async fn touch(&self, _: &CacheKey) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn watch(&self, _: Arc<Invalidations>) {}
    async fn reachable(&self) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn writable(&self) -> Result<(), StoreError> {
        self.write().await
    }
}

const LIMIT: Duration = Duration::from_millis(250);

fn breaker() -> (Arc<Fickle>, Breaker<Arc<Fickle>>, CacheKey) {
    let store = Arc::<Fickle>::default();
    let breaker = Breaker::new(Arc::clone(&store), Arc::default(), LIMIT);
    (store, breaker, CacheKey::of(&Username::parse("ann").unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_costs_one_time_out_and_then_nothing() {
    let (store, breaker, key) = breaker();
    *store.mode.lock() = Mode::Hangs;
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
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.put_if_absent(&key, b"", LIMIT).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = store.asked.load(SeqCst);
    assert!((60..70).contains(&asked), "{asked}");
    *store.mode.lock() = Mode::Answers;
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert!(breaker.get(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_lost_connection_opens_it_for_a_moment_only() {
    let (store, breaker, key) = breaker();
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.get(&key).await.is_err());
    *store.mode.lock() = Mode::Answers;
    tokio::task::yield_now().await;
    assert!(breaker.get(&key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_reports_a_change_is_asked_before_the_next_probe_by_a_request_that_has_nothing_else() {
    let (store, breaker, key) = breaker();
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.get(&key).await.is_err());
    tokio::time::sleep(Duration::from_secs(30)).await;
    *store.mode.lock() = Mode::Answers;
    assert!(breaker.get_if_alive(&key).await.is_err(), "it has shown no sign of life");
    breaker.shared.invalidations.changed(b"elastauth-other");
    assert!(breaker.get(&key).await.is_err(), "a request that can be served does not wait for it");
    assert!(breaker.get_if_alive(&key).await.is_ok());
    assert!(breaker.get(&key).await.is_ok(), "it is closed for all");
}

#[tokio::test(start_paused = true)]
async fn one_sign_of_life_is_good_for_one_failure_and_the_background_goes_on_alone() {
    let (store, breaker, key) = breaker();
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.get(&key).await.is_err());
    for _ in 0..20 {
        *store.mode.lock() = Mode::Answers;
        breaker.shared.invalidations.begun();
        assert!(breaker.get_if_alive(&key).await.is_ok());
        *store.mode.lock() = Mode::Fails;
        assert!(breaker.get(&key).await.is_err());
        breaker.shared.invalidations.begun();
        let asked = store.asked.load(SeqCst);
        for _ in 0..100 {
            assert!(breaker.get_if_alive(&key).await.is_err());
        }
        assert_eq!(store.asked.load(SeqCst), asked + 1);
    }
    let asked = store.asked.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = store.asked.load(SeqCst) - asked;
    assert!((55..70).contains(&asked), "one asks in the background: {asked}");
    *store.mode.lock() = Mode::Answers;
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert!(breaker.get(&key).await.is_ok());
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.get(&key).await.is_err());
    *store.mode.lock() = Mode::Answers;
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert!(breaker.get(&key).await.is_ok(), "and again later");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_writes_is_still_read_and_readiness_distinguishes_the_two() {
    let (store, breaker, key) = breaker();
    *store.mode.lock() = Mode::RefusesWrites;
    for _ in 0..10 {
        assert!(matches!(breaker.put_if_absent(&key, b"", LIMIT).await, Err(StoreError::WriteRefused(_))));
        assert!(matches!(breaker.remove(&key, b"").await, Err(StoreError::WriteRefused(_))));
        assert!(breaker.get(&key).await.is_ok() && !breaker.is_open());
    }
    assert!(matches!(breaker.reachable().await, Err(StoreError::WriteRefused(_))));
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.get(&key).await.is_err());
    *store.mode.lock() = Mode::RefusesWrites;
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert!(breaker.get(&key).await.is_ok(), "it is closed for reads");
}

#[tokio::test(start_paused = true)]
async fn a_touch_that_fails_opens_nothing_and_is_not_sent_while_the_breaker_is_open() {
    let (store, breaker, key) = breaker();
    for mode in [Mode::Fails, Mode::Hangs] {
        *store.mode.lock() = mode;
        assert!(breaker.touch(&key).await.is_err());
        assert!(!breaker.is_open());
    }
    *store.mode.lock() = Mode::Fails;
    assert!(breaker.get(&key).await.is_err() && breaker.is_open());
    let asked = store.asked.load(SeqCst);
    assert!(breaker.touch(&key).await.is_err());
    assert_eq!(store.asked.load(SeqCst), asked);
}

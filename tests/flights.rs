//! Two requests of one user in one process, step by step.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use elastauth::credentials::broker::Broker;
use elastauth::credentials::seal::{self, Key, Seal};
use elastauth::credentials::{
    BackendStatus, CacheKey, Caller, Entry, Existing, InspectError, Login, Ours, Password, Provisioner, Replaced,
    RequestContext, Settings, Store, StoreError, UserSpec, WriteError,
};
use elastauth::credentials::{Invalidations, near_cache};
use elastauth::digest::Digest;
use elastauth::identity::{AsOf, Identity, Owner, Username};
use elastauth::memory::{self, MemoryStore};
use elastauth::roles::Roles;
use tokio::sync::Notify;

/// Something that is stopped where the test wants it.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    reached: Notify,
    opened: Notify,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    /// Stops the first one that comes while it is closed.
    async fn pass(&self) {
        if std::mem::take(&mut *self.closed.lock().unwrap()) {
            self.reached.notify_one();
            self.opened.notified().await;
        }
    }
}

struct SlowStore {
    inner: MemoryStore,
    read: Arc<Gate>,
}

impl Store for SlowStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let entry = self.inner.get(key).await;
        self.read.pass().await;
        entry
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.put_if_absent(key, bytes, life).await
    }

    async fn replace(&self, key: &CacheKey, old: &[u8], new: &[u8], life: Duration) -> Result<Replaced, StoreError> {
        self.inner.replace(key, old, new, life).await
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        self.inner.remove(key, expected).await
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        self.inner.watch(invalidations).await;
    }

    async fn reachable(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Users {
    writes: Arc<AtomicUsize>,
    write: Arc<Gate>,
}

impl Provisioner for Users {
    async fn inspect(&self, _: &Username, _: &Owner, _: &RequestContext) -> Result<Existing, InspectError> {
        Ok(if self.writes.load(SeqCst) == 0 { Existing::Absent } else { Existing::Ours(Ours::default()) })
    }

    async fn log_in(&self, _: &Username, _: &Password) -> Result<Login, InspectError> {
        Ok(Login::Accepted { roles: Roles::new(["a"]), seen: None, as_of: None, mapping: None })
    }

    async fn write(&self, _: &UserSpec, _: Option<&Password>) -> Result<(), WriteError> {
        self.writes.fetch_add(1, SeqCst);
        self.write.pass().await;
        Ok(())
    }
}

impl BackendStatus for Users {}

fn ann() -> Identity {
    Identity {
        username: Username::parse("ann").unwrap(),
        owner: Owner { issuer: "https://i".into(), subject: "s".into() },
        email: None,
        full_name: None,
        groups: Vec::new(),
        claims: Vec::new(),
        as_of: AsOf::At(1000),
        expires: SystemTime::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn a_request_that_read_before_another_had_finished_writes_nothing() {
    let (read, write, writes) = (Arc::<Gate>::default(), Arc::<Gate>::default(), Arc::<AtomicUsize>::default());
    let store = SlowStore { inner: MemoryStore::new(memory::Settings { max_entries: 10 }), read: Arc::clone(&read) };
    let users = Users { writes: Arc::clone(&writes), write: Arc::clone(&write) };
    let seal = Seal::new(&seal::Settings {
        key: Key::Given(Box::new([1; 32]).into()),
        previous: Vec::new(),
        cluster: "c".into(),
    })
    .unwrap();
    let minute = Duration::from_secs(60);
    let settings = Settings {
        expiration: minute,
        extend: false,
        settling: minute,
        confirm_interval: minute,
        near: near_cache::Settings { max_entries: 10, max_stale: minute },
        mapping: Digest(1),
        store_timeout: minute,
        write_timeout: minute,
    };
    let broker = Arc::new(Broker::new(store, users, seal, settings).unwrap());
    let ask = || {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            broker.obtain(&Caller::new(ann(), Roles::new(["a"])), RequestContext::default).await.unwrap()
        })
    };
    write.close();
    let first = ask();
    write.reached.notified().await;
    // the second request reads the pending record, and gets it only when the first one has finished
    read.close();
    let second = ask();
    read.reached.notified().await;
    write.opened.notify_one();
    first.await.unwrap();
    read.opened.notify_one();
    second.await.unwrap();
    assert_eq!(writes.load(SeqCst), 1);
}

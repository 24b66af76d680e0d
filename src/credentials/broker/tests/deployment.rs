//! Any number of replicas over one store and one Elasticsearch, all in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use parking_lot::Mutex;

use crate::clock::{millis, now_millis};
use crate::credentials::agreement::Standing;
use crate::credentials::broker::{Broker, Error};
use crate::credentials::record::Written;
use crate::credentials::seal::{self, Key, Seal};
use crate::credentials::{
    BackendStatus, CacheKey, Caller, Cluster, Entry, Existing, InspectError, Invalidations, Login, Obtained, Ours,
    Password, Provisioner, Replaced, RequestContext, SealedCopy, Settings, Store, StoreError, Throughput, UserSpec,
    WriteError, near_cache,
};
use crate::digest::Digest;
use crate::identity::{AsOf, Identity, Millis, Owner, Username};
use crate::memory::{self, MemoryStore};
use crate::roles::{Roles, Version};

pub(super) type Replica = Broker<SharedStore, Elastic>;

/// What the replicas of one deployment share, and their settings.
#[derive(Clone)]
pub(super) struct Deployment {
    pub(super) store: SharedStore,
    pub(super) elastic: Elastic,
    pub(super) settings: Settings,
}

impl Deployment {
    pub(super) fn new() -> Self {
        let hour = Duration::from_secs(3600);
        let settings = Settings {
            expiration: hour,
            extend: false,
            settling: Duration::from_secs(90),
            confirm_interval: Duration::from_secs(15 * 60),
            near: near_cache::Settings { max_entries: 100, max_stale: hour },
            mapping: Digest(1),
            store_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(5),
        };
        Self { store: SharedStore::default(), elastic: Elastic::default(), settings }
    }

    /// The sealed record of the user, as it is stored.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.held().bytes
    }

    fn held(&self) -> Entry {
        self.store.0.memory.get(&key()).now_or_never().unwrap().unwrap().unwrap()
    }

    /// The record of the user.
    pub(super) fn record(&self) -> Written {
        Written::decode(&seal().open(&key(), &self.bytes()).unwrap()).unwrap()
    }

    /// Changes the stored record, as another process would, and leaves its life. Answers the new bytes.
    pub(super) fn edit_record(&self, edit: impl FnOnce(&mut Written)) -> Vec<u8> {
        let mut written = self.record();
        edit(&mut written);
        self.edit_bytes(|bytes| *bytes = seal().seal(&key(), &written.encode().unwrap()).unwrap())
    }

    /// The same with the sealed bytes.
    pub(super) fn edit_bytes(&self, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let Entry { bytes, remaining } = self.held();
        let mut new = bytes.clone();
        edit(&mut new);
        self.store.replace(&key(), &bytes, &new, remaining).now_or_never().unwrap().unwrap();
        new
    }

    /// Makes the password of the stored record this old, and gives the record this life.
    pub(super) fn age_record(&self, age: Duration, life: Duration) {
        let born = now_millis() - millis(age);
        let bytes = self.edit_record(|written| (written.record.born, written.life) = (born, life));
        self.store.replace(&key(), &bytes, &bytes, life).now_or_never().unwrap().unwrap();
    }

    /// A replica to which the store reports changes.
    pub(super) async fn replica(&self) -> Arc<Replica> {
        self.replica_by(1).await
    }

    /// The same, with another configuration.
    pub(super) async fn replica_by(&self, mapping: u64) -> Arc<Replica> {
        let seal = seal();
        let settings = Settings { mapping: Digest(mapping), ..self.settings.clone() };
        let broker = Broker::new(self.store.clone(), self.elastic.clone(), seal, settings).unwrap();
        // the session begins when this is polled first; the part that follows the cluster never ends
        tokio::select! {
            biased;
            () = broker.watch() => {}
            () = tokio::task::yield_now() => {}
        }
        Arc::new(broker)
    }
}

pub(super) async fn try_ask(replica: &Replica) -> Result<Obtained, Error> {
    replica.obtain(&Caller::new(ann(AsOf::At(1000)), Roles::new(["a"])), RequestContext::default).await
}

pub(super) async fn ask_as(replica: &Replica, identity: &Identity, roles: Roles) -> Result<Obtained, Error> {
    replica.obtain(&Caller::new(identity.clone(), roles), RequestContext::default).await
}

pub(super) async fn ask(replica: &Replica) -> Obtained {
    try_ask(replica).await.unwrap()
}

pub(super) fn ann(as_of: AsOf) -> Identity {
    named("ann", as_of)
}

pub(super) fn named(name: &str, as_of: AsOf) -> Identity {
    Identity {
        username: Username::parse(name).unwrap(),
        owner: Owner { issuer: "i".into(), subject: "s".into() },
        email: None,
        full_name: None,
        groups: Vec::new(),
        claims: Vec::new(),
        as_of,
        expires: SystemTime::UNIX_EPOCH,
    }
}

fn seal() -> Seal {
    let key = Key::Given(Box::new([1; 32]).into());
    Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap()
}

fn key() -> CacheKey {
    CacheKey::of(&ann(AsOf::Now).username)
}

/// A store that counts its round trips and reports every change to every replica, as Redis does.
#[derive(Clone)]
pub(super) struct SharedStore(Arc<Shared>);

struct Shared {
    memory: MemoryStore,
    sessions: Mutex<Vec<Arc<Invalidations>>>,
    trips: AtomicUsize,
    changes: AtomicUsize,
    touches: AtomicUsize,
    hangs: AtomicBool,
    down: AtomicBool,
    read_only: AtomicBool,
    /// How many of the next records that are put are there without an answer.
    unanswered: AtomicUsize,
}

impl Default for SharedStore {
    fn default() -> Self {
        let memory = MemoryStore::new(memory::Settings { max_entries: 1000 });
        let (sessions, trips, changes, touches) = Default::default();
        let (hangs, down, read_only, unanswered) = Default::default();
        Self(Arc::new(Shared { memory, sessions, trips, changes, touches, hangs, down, read_only, unanswered }))
    }
}

impl SharedStore {
    pub(super) fn trips(&self) -> usize {
        self.0.trips.load(SeqCst)
    }

    /// How often something was written.
    pub(super) fn changes(&self) -> usize {
        self.0.changes.load(SeqCst)
    }

    /// How often it was told that a record is in use.
    pub(super) fn touches(&self) -> usize {
        self.0.touches.load(SeqCst)
    }

    /// Reads are not answered from now on.
    pub(super) fn hang(&self) {
        self.0.hangs.store(true, SeqCst);
    }

    /// Nothing is answered from now on, and every replica's session is lost.
    pub(super) fn die(&self) {
        self.0.down.store(true, SeqCst);
        for invalidations in &*self.0.sessions.lock() {
            invalidations.lost();
        }
    }

    pub(super) fn lose_answers(&self, next: usize) {
        self.0.unanswered.store(next, SeqCst);
    }

    /// Reads are answered, and no writes.
    pub(super) fn refuse_writes(&self, refuse: bool) {
        self.0.read_only.store(refuse, SeqCst);
    }

    fn to_write(&self) -> Result<&MemoryStore, StoreError> {
        let refuses = self.0.read_only.load(SeqCst);
        if refuses { Err(StoreError::WriteRefused("OOM".into())) } else { self.memory() }
    }

    /// Everything is answered again, but the sessions stay lost.
    pub(super) fn revive(&self) {
        self.0.down.store(false, SeqCst);
    }

    pub(super) async fn remaining(&self) -> Duration {
        self.0.memory.get(&key()).await.unwrap().unwrap().remaining
    }

    /// Loses everything, as after `FLUSHALL`.
    pub(super) fn flush(&self) {
        self.0.memory.clear();
        for invalidations in &*self.0.sessions.lock() {
            invalidations.all_changed();
        }
    }

    /// Deletes the record, as an operator does.
    pub(super) async fn delete(&self) {
        let held = self.0.memory.get(&key()).await.unwrap().unwrap();
        assert!(self.remove(&key(), &held.bytes).await.unwrap());
    }

    fn report<T>(&self, key: &CacheKey, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let outcome = outcome?;
        self.0.changes.fetch_add(1, SeqCst);
        for invalidations in &*self.0.sessions.lock() {
            invalidations.changed(key.as_str().as_bytes());
        }
        Ok(outcome)
    }

    fn memory(&self) -> Result<&MemoryStore, StoreError> {
        self.0.trips.fetch_add(1, SeqCst);
        if self.0.down.load(SeqCst) { Err(StoreError::Unavailable("refused".into())) } else { Ok(&self.0.memory) }
    }
}

impl Store for SharedStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        if self.0.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        self.memory()?.get(key).await
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let existed = self.report(key, self.to_write()?.put_if_absent(key, bytes, life).await);
        match self.0.unanswered.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(StoreError::Unavailable("no answer".into())),
            Err(_) => existed,
        }
    }

    async fn replace(&self, key: &CacheKey, old: &[u8], new: &[u8], life: Duration) -> Result<Replaced, StoreError> {
        self.report(key, self.to_write()?.replace(key, old, new, life).await)
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        self.report(key, self.to_write()?.remove(key, expected).await)
    }

    async fn touch(&self, _: &CacheKey) -> Result<(), StoreError> {
        self.0.touches.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        invalidations.begun();
        self.0.sessions.lock().push(invalidations);
    }

    async fn reachable(&self) -> Result<(), StoreError> {
        self.memory().map(|_| ())
    }
}

/// A user as Elasticsearch has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) password: Password,
    pub(super) roles: Roles,
    pub(super) as_of: Millis,
    pub(super) mapping: Version,
    pub(super) copy: Option<SealedCopy>,
}

/// What does not work in Elasticsearch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outage {
    #[default]
    None,
    /// Every request fails at once.
    Down,
    /// No request is ever answered.
    Hangs,
    /// Reads and logins are answered, and every write is refused.
    RefusesWrites,
}

/// Users in memory, and how often they were written.
#[derive(Clone, Default)]
pub(super) struct Elastic(Arc<Directory>);

#[derive(Default)]
struct Directory {
    users: Mutex<HashMap<Username, User>>,
    writes: AtomicUsize,
    passwords: AtomicUsize,
    inspections: AtomicUsize,
    logins: AtomicUsize,
    /// How many of the next writes are applied without an answer.
    unanswered: AtomicUsize,
    /// How long a read and a write take.
    times: Mutex<(Duration, Duration)>,
    /// How fast writes go; unlimited if none is given.
    throughput: Mutex<Option<Throughput>>,
    cluster: Mutex<Cluster>,
    outage: Mutex<Outage>,
}

impl Elastic {
    pub(super) fn writes(&self) -> usize {
        self.0.writes.load(SeqCst)
    }

    /// Writes with a password.
    pub(super) fn passwords(&self) -> usize {
        self.0.passwords.load(SeqCst)
    }

    pub(super) fn inspections(&self) -> usize {
        self.0.inspections.load(SeqCst)
    }

    pub(super) fn logins(&self) -> usize {
        self.0.logins.load(SeqCst)
    }

    pub(super) fn take(&self, read: Duration, write: Duration) {
        *self.0.times.lock() = (read, write);
    }

    pub(super) fn limit(&self, throughput: Throughput) {
        *self.0.throughput.lock() = Some(throughput);
    }

    /// Makes it the cluster with this id at these addresses.
    pub(super) fn become_cluster(&self, uuid: Option<&str>, hosts: u64) {
        *self.0.cluster.lock() = Cluster { uuid: uuid.map(Arc::from), hosts: Some(Digest(hosts)) };
    }

    pub(super) fn lose_answers(&self, next: usize) {
        self.0.unanswered.store(next, SeqCst);
    }

    pub(super) fn fail(&self, outage: Outage) {
        *self.0.outage.lock() = outage;
    }

    /// Changes the user by hand.
    pub(super) fn change(&self, change: impl FnOnce(&mut User)) {
        change(self.0.users.lock().get_mut(&ann(AsOf::Now).username).unwrap());
    }

    async fn answers(&self) -> Result<(), String> {
        let outage = *self.0.outage.lock();
        match outage {
            Outage::None | Outage::RefusesWrites => Ok(()),
            Outage::Down => Err("refused".into()),
            Outage::Hangs => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Err("no answer".into())
            }
        }
    }

    fn times(&self) -> (Duration, Duration) {
        *self.0.times.lock()
    }

    /// Gives the user another password, as an administrator does.
    pub(super) fn change_password(&self, to: Password) {
        self.0.users.lock().get_mut(&ann(AsOf::Now).username).unwrap().password = to;
    }

    pub(super) fn user(&self) -> User {
        self.0.users.lock()[&ann(AsOf::Now).username].clone()
    }
}

impl Provisioner for Elastic {
    async fn inspect(&self, username: &Username, _: &Owner, _: &RequestContext) -> Result<Existing, InspectError> {
        self.0.inspections.fetch_add(1, SeqCst);
        self.answers().await.map_err(InspectError::Unavailable)?;
        tokio::time::sleep(self.times().0).await;
        let users = self.0.users.lock();
        Ok(users.get(username).map_or(Existing::Absent, |user| {
            let User { as_of, mapping, ref roles, ref copy, .. } = *user;
            let standing = Some(Standing { mapping, as_of, roles: roles.clone() });
            Existing::Ours(Ours { standing, copy: copy.clone() })
        }))
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        self.0.logins.fetch_add(1, SeqCst);
        self.answers().await.map_err(InspectError::Unavailable)?;
        let users = self.0.users.lock();
        let user = users.get(username).filter(|user| user.password == *password);
        Ok(user.map_or(Login::Rejected, |user| Login::Accepted {
            roles: user.roles.clone(),
            seen: None,
            as_of: Some(user.as_of),
            mapping: Some(user.mapping),
        }))
    }

    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        if *self.0.outage.lock() == Outage::RefusesWrites {
            return Err(WriteError::Unavailable("cluster_block_exception".into()));
        }
        self.answers().await.map_err(WriteError::Unavailable)?;
        self.0.writes.fetch_add(1, SeqCst);
        self.0.passwords.fetch_add(usize::from(password.is_some()), SeqCst);
        tokio::time::sleep(self.times().1).await;
        let mut users = self.0.users.lock();
        let known = users.get(&user.username).map(|user| user.password.clone());
        let password = password.cloned().or(known).ok_or(WriteError::Missing)?;
        let (roles, copy) = (user.roles.clone(), user.copy.clone());
        let UserSpec { as_of, mapping, .. } = *user;
        users.insert(user.username.clone(), User { password, roles, as_of, mapping, copy });
        let less = |left: usize| left.checked_sub(1);
        match self.0.unanswered.fetch_update(SeqCst, SeqCst, less) {
            Ok(_) => Err(WriteError::Unknown("no answer".into())),
            Err(_) => Ok(()),
        }
    }
}

impl BackendStatus for Elastic {
    fn cluster(&self) -> Cluster {
        self.0.cluster.lock().clone()
    }

    fn throughput(&self) -> Throughput {
        self.0.throughput.lock().unwrap_or(Throughput::UNLIMITED)
    }
}

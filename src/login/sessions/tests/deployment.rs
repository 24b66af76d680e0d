//! Any number of replicas over one store and one provider that rotates refresh tokens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::{unix_millis, wall_clock};
use crate::credentials::seal::{self, Key, Seal};
use crate::credentials::{CacheKey, Entry, Invalidations, Replaced, Store, StoreError};
use crate::identity::{AsOf, Identity, Owner, Username};
use crate::login::session::Session;
use crate::login::{
    LiveSession, NewSession, Renew, RenewError, Renewed, SessionDigest, SessionError, Sessions, SignedIn, sessions,
};
use crate::memory::{self, MemoryStore};

pub(super) type Replica = Sessions<SharedStore, Provider, Groups>;
/// What a replica makes of an identity.
pub(super) type Groups = Arc<[String]>;
pub(super) type FoundSession = Result<Option<Arc<LiveSession<Groups>>>, SessionError>;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// The life of tokens.
pub(super) const TOKENS: Duration = Duration::from_secs(20 * 60);
pub(super) const MAX_STALE: Duration = Duration::from_secs(15 * 60);

#[derive(Clone)]
pub(super) struct Deployment {
    pub(super) store: SharedStore,
    pub(super) provider: Provider,
    pub(super) settings: sessions::Settings,
}

impl Deployment {
    pub(super) fn new() -> Self {
        let settings = sessions::Settings {
            lifetime: 12 * HOUR,
            idle_timeout: HOUR,
            max_stale: MAX_STALE,
            renewal_timeout: 5 * SECOND,
            store_timeout: SECOND,
            near_max_entries: 100,
            store_max_stale: 15 * MINUTE,
        };
        Self { store: SharedStore::default(), provider: Provider::default(), settings }
    }

    /// A replica to which the store reports changes.
    pub(super) async fn replica(&self) -> Replica {
        self.replica_sealing(1).await
    }

    pub(super) async fn replica_sealing(&self, key: u8) -> Replica {
        let invalidations = Arc::new(Invalidations::default());
        self.store.watch(Arc::clone(&invalidations)).await;
        let prepare = |identity: &Identity| identity.groups.clone().into();
        let (store, provider) = (self.store.clone(), self.provider.clone());
        Sessions::new(store, seal_of(key), invalidations, provider, self.settings, prepare)
    }

    /// A person logs in, with a refresh token.
    pub(super) async fn log_in(&self, replica: &Replica) -> SessionDigest {
        let new = NewSession { refresh_token: Some(self.provider.grant()), ..login("ann") };
        replica.begin(new).await.unwrap().digest()
    }

    /// The stored session.
    pub(super) fn session(&self, digest: &SessionDigest) -> Option<Session> {
        let entry = self.store.0.memory.get(&digest.key()).now_or_never().unwrap().unwrap()?;
        Some(Session::decode(&seal_of(1).open(&digest.key(), &entry.bytes).unwrap()).unwrap())
    }

    pub(super) fn remaining(&self, digest: &SessionDigest) -> Duration {
        self.store.0.memory.get(&digest.key()).now_or_never().unwrap().unwrap().unwrap().remaining
    }
}

/// What a login of this person brings, without a refresh token.
pub(super) fn login(name: &str) -> NewSession {
    NewSession {
        host: String::new(),
        identity: identity(name, &["of the login"]),
        sid: Some(format!("session of {name}")),
        signed_in: unix_millis(wall_clock()),
        id_token: "the first ID token".to_owned().into(),
        refresh_token: None,
        lifetime: TOKENS,
    }
}

pub(super) fn identity(name: &str, groups: &[&str]) -> Identity {
    Identity {
        username: Username::parse(name).unwrap(),
        owner: Owner { issuer: "https://issuer".into(), subject: format!("subject of {name}").into() },
        email: Some(format!("{name}@example.org")),
        full_name: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        claims: vec![("department".into(), vec!["a".into()])],
        as_of: AsOf::At(unix_millis(wall_clock())),
        expires: UNIX_EPOCH,
    }
}

pub(super) fn seal_of(key: u8) -> Seal {
    let key = Key::Given(Box::new([key; 32]).into());
    Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap()
}

pub(super) fn now() -> SystemTime {
    wall_clock()
}

/// One request: memory first, then the store.
pub(super) async fn ask(replica: &Replica, digest: &SessionDigest) -> FoundSession {
    match replica.recall(digest, now()) {
        Some(live) => Ok(Some(live)),
        None => replica.find(digest, now()).await,
    }
}

/// One request of a person who is logged in: the groups.
pub(super) async fn groups(replica: &Replica, digest: &SessionDigest) -> Vec<String> {
    ask(replica, digest).await.unwrap().expect("a session").caller.to_vec()
}

pub(super) async fn is_in(replica: &Replica, digest: &SessionDigest) -> bool {
    ask(replica, digest).await.unwrap().is_some()
}

/// A second before this time is over.
pub(super) fn just_before(time: Duration) -> Duration {
    time.saturating_sub(SECOND)
}

/// Lets what was begun in the background go on.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass, and what was begun in the background go on.
pub(super) async fn pass(time: Duration) {
    settle().await;
    tokio::time::sleep(time).await;
    settle().await;
}

/// Records in memory, of whose changes every replica is told.
#[derive(Clone, Default)]
pub(super) struct SharedStore(Arc<Held>);

struct Held {
    memory: MemoryStore,
    sessions: Mutex<Vec<Arc<Invalidations>>>,
    down: AtomicBool,
    /// How many of the next writes are done without an answer.
    unanswered: AtomicUsize,
    /// How long each write takes.
    writes_take: Mutex<Duration>,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            memory: MemoryStore::new(memory::Settings { max_entries: 1000 }),
            sessions: Mutex::default(),
            down: AtomicBool::default(),
            unanswered: AtomicUsize::default(),
            writes_take: Mutex::default(),
            reads: AtomicUsize::default(),
            writes: AtomicUsize::default(),
        }
    }
}

impl SharedStore {
    pub(super) fn reads(&self) -> usize {
        self.0.reads.load(SeqCst)
    }

    pub(super) fn writes(&self) -> usize {
        self.0.writes.load(SeqCst)
    }

    pub(super) fn lose_answers(&self, next: usize) {
        self.0.unanswered.store(next, SeqCst);
    }

    pub(super) fn writes_take(&self, time: Duration) {
        *self.0.writes_take.lock() = time;
    }

    /// The server ends: replicas hear of no changes any more.
    pub(super) fn fail(&self) {
        self.0.down.store(true, SeqCst);
        for invalidations in &*self.0.sessions.lock() {
            invalidations.lost();
        }
    }

    pub(super) fn revive(&self) {
        self.0.down.store(false, SeqCst);
        for invalidations in &*self.0.sessions.lock() {
            invalidations.begun();
        }
    }

    /// Loses everything, as after `FLUSHALL`.
    pub(super) fn flush(&self) {
        self.0.memory.clear();
        for invalidations in &*self.0.sessions.lock() {
            invalidations.all_changed();
        }
    }

    /// Puts bytes there, whatever was there before.
    pub(super) async fn put(&self, key: &CacheKey, bytes: &[u8], life: Duration) {
        if let Some(entry) = self.0.memory.get(key).await.unwrap() {
            self.0.memory.remove(key, &entry.bytes).await.unwrap();
        }
        self.0.memory.put_if_absent(key, bytes, life).await.unwrap();
        self.report(key);
    }

    pub(super) async fn bytes(&self, key: &CacheKey) -> Vec<u8> {
        self.0.memory.get(key).await.unwrap().unwrap().bytes
    }

    fn report(&self, key: &CacheKey) {
        for invalidations in &*self.0.sessions.lock() {
            invalidations.changed(key.as_str().as_bytes());
        }
    }

    fn memory(&self) -> Result<&MemoryStore, StoreError> {
        if self.0.down.load(SeqCst) { Err(StoreError::Unavailable("refused".into())) } else { Ok(&self.0.memory) }
    }

    async fn to_write(&self) -> Result<&MemoryStore, StoreError> {
        let time = *self.0.writes_take.lock();
        tokio::time::sleep(time).await;
        self.0.writes.fetch_add(1, SeqCst);
        self.memory()
    }

    fn answer<T>(&self, key: &CacheKey, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.report(key);
        match self.0.unanswered.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(StoreError::Unavailable("no answer".into())),
            Err(_) => answer,
        }
    }
}

impl Store for SharedStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.0.reads.fetch_add(1, SeqCst);
        self.memory()?.get(key).await
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = self.to_write().await?.put_if_absent(key, bytes, life).await;
        self.answer(key, answer)
    }

    async fn replace(&self, key: &CacheKey, old: &[u8], new: &[u8], life: Duration) -> Result<Replaced, StoreError> {
        let answer = self.to_write().await?.replace(key, old, new, life).await;
        self.answer(key, answer)
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        let answer = self.to_write().await?.remove(key, expected).await;
        self.answer(key, answer)
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        invalidations.begun();
        self.0.sessions.lock().push(invalidations);
    }

    async fn reachable(&self) -> Result<(), StoreError> {
        self.memory().map(|_| ())
    }
}

/// What the provider does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Redeems the token.
    Answers,
    /// Redeems the token, and the answer is lost.
    LosesTheAnswer,
    /// Redeems nothing, and never answers.
    Hangs,
    /// Cannot be connected to.
    IsDown,
    /// Answers with tokens of another person.
    IsMistaken,
    /// Redeems the token, and what it answers cannot be verified.
    IsNotVerified,
    /// Answers without an ID token, and leaves the refresh token as it is.
    AnswersShortly,
}

/// A provider that gives each refresh token once, and revokes the session where one is redeemed twice.
#[derive(Clone, Default)]
pub(super) struct Provider(Arc<State>);

#[derive(Default)]
struct State {
    /// The number of the good refresh token of each session; none after it was revoked.
    good: Mutex<Vec<Option<usize>>>,
    /// What is done with the next requests; those after them are answered.
    script: Mutex<VecDeque<Does>>,
    /// What is done with all requests.
    always: Mutex<Option<Does>>,
    takes: Mutex<Duration>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    reused: AtomicBool,
}

impl Provider {
    /// A new session at the provider: its refresh token.
    pub(super) fn grant(&self) -> SecretString {
        let mut good = self.0.good.lock();
        good.push(Some(0));
        format!("{}:0", good.len() - 1).into()
    }

    pub(super) fn script(&self, does: impl IntoIterator<Item = Does>) {
        self.0.script.lock().extend(does);
    }

    pub(super) fn always(&self, does: Does) {
        *self.0.always.lock() = Some(does);
    }

    /// How long each answer takes.
    pub(super) fn takes(&self, time: Duration) {
        *self.0.takes.lock() = time;
    }

    /// All sessions end at the provider.
    pub(super) fn revoke(&self) {
        self.0.good.lock().fill(None);
    }

    /// How many requests there were.
    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(SeqCst)
    }

    /// Whether a token was redeemed twice.
    pub(super) fn saw_reuse(&self) -> bool {
        self.0.reused.load(SeqCst)
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.0.most_at_once.load(SeqCst)
    }

    fn redeem(&self, token: &SecretString) -> Result<SecretString, RenewError> {
        let (session, number) = token.expose_secret().split_once(':').unwrap();
        let (session, number): (usize, usize) = (session.parse().unwrap(), number.parse().unwrap());
        let good = &mut self.0.good.lock()[session];
        if *good != Some(number) {
            self.0.reused.fetch_or(good.is_some(), SeqCst);
            *good = None;
            return Err(RenewError::Refused("invalid_grant".into()));
        }
        *good = Some(number + 1);
        Ok(format!("{session}:{}", number + 1).into())
    }
}

struct AtOnce<'a>(&'a State);

impl Drop for AtOnce<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, SeqCst);
    }
}

impl Renew for Provider {
    async fn renew(&self, refresh_token: &SecretString, _: &Owner) -> Result<Renewed, RenewError> {
        let state = &*self.0;
        let asked = state.asked.fetch_add(1, SeqCst) + 1;
        state.most_at_once.fetch_max(state.at_once.fetch_add(1, SeqCst) + 1, SeqCst);
        let _at_once = AtOnce(state);
        let scripted = state.script.lock().pop_front();
        let does = scripted.or(*state.always.lock()).unwrap_or(Does::Answers);
        let takes = *state.takes.lock();
        if does == Does::IsDown {
            return Err(RenewError::NotSent("connection refused".into()));
        }
        tokio::time::sleep(takes).await;
        let name = if does == Does::IsMistaken { "bob" } else { "ann" };
        let signed_in = SignedIn {
            identity: identity(name, &[&format!("of refresh {asked}")]),
            sid: None,
            id_token: format!("ID token {asked}").into(),
        };
        match does {
            Does::Answers | Does::IsMistaken => {
                let refresh_token = Some(self.redeem(refresh_token)?);
                Ok(Renewed { signed_in: Some(signed_in), refresh_token, lifetime: TOKENS })
            }
            Does::IsNotVerified => {
                let refresh_token = Some(self.redeem(refresh_token)?);
                Err(RenewError::Unverified { refresh_token, why: "no keys".into() })
            }
            Does::AnswersShortly => Ok(Renewed { signed_in: None, refresh_token: None, lifetime: TOKENS }),
            Does::LosesTheAnswer => {
                let _lost = self.redeem(refresh_token);
                std::future::pending().await
            }
            Does::Hangs => std::future::pending().await,
            Does::IsDown => unreachable!(),
        }
    }
}

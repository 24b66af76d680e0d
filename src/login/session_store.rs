//! Sessions and markers as the store holds them: sealed, and compared byte for byte.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::markers::Marker;
use super::refresh::Swap;
use super::session::Session;
use crate::clock::BootTime;
use crate::credentials::seal::Seal;
use crate::credentials::{CacheKey, Entry, Invalidations, MAX_RECORD, Replaced, Store, StoreError, TimedStore};

/// How long the records of the login live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    /// `login.session_lifetime`.
    pub(crate) lifetime: Duration,
    /// `login.idle_timeout`.
    pub(crate) idle: Duration,
    /// How long a claim lasts.
    pub(crate) lease: Duration,
}

/// The longest time between two uses of a session of which the store learns only the first.
const PRECISION: Duration = Duration::from_secs(60);
/// How much longer than its lease a session with a claim lives.
const OVERDUE: Duration = Duration::from_secs(30);

/// A session with the bytes that the store has.
pub(crate) struct Stored {
    pub(crate) session: Session,
    pub(crate) bytes: Vec<u8>,
    /// What was left of its life at the time `at`.
    pub(crate) remaining: Duration,
    /// A time just before the store was asked.
    pub(crate) at: BootTime,
}

/// What the store has under a marker's name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Marking {
    Nothing,
    Marker(Marker),
    /// A marker that no key opens, and which is this old. It ends the sessions that are older.
    Unreadable(Duration),
}

/// Why a record could not be written.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Internal(String),
}

/// The store, the seal, and the reports of changes.
pub(crate) struct SessionStore<S> {
    store: TimedStore<S>,
    seal: Seal,
    invalidations: Arc<Invalidations>,
    pub(crate) lives: Lives,
}

impl Lives {
    /// How exactly the store knows when a session was last used.
    pub(crate) fn precision(&self) -> Duration {
        PRECISION.min(self.idle / 20)
    }

    /// The life of a session that is used now; zero after its absolute end.
    pub(crate) fn of_used(&self, session: &Session, now: SystemTime) -> Duration {
        (self.idle + self.precision()).min(self.until_end(session, now))
    }

    /// The same for a session with a claim: it lives as long as the claim may be finished or taken over.
    fn of_claimed(&self, session: &Session, now: SystemTime) -> Duration {
        (self.idle + self.precision()).max(self.lease + OVERDUE).min(self.until_end(session, now))
    }

    fn until_end(&self, session: &Session, now: SystemTime) -> Duration {
        session.ends(self.lifetime).duration_since(now).unwrap_or_default().min(self.lifetime)
    }
}

impl<S: Store> SessionStore<S> {
    pub(crate) fn new(store: TimedStore<S>, seal: Seal, invalidations: Arc<Invalidations>, lives: Lives) -> Self {
        Self { store, seal, invalidations, lives }
    }

    pub(crate) fn invalidations(&self) -> &Invalidations {
        &self.invalidations
    }

    async fn get(&self, key: &CacheKey, soon: bool) -> Result<Option<Entry>, StoreError> {
        if soon { self.store.get_soon(key).await } else { self.store.get(key).await }
    }

    /// Reads a session; none where there is none that this process can open. `soon` is for a request that can be served otherwise.
    pub(crate) async fn read(&self, key: &CacheKey, soon: bool) -> Result<Option<Stored>, StoreError> {
        let at = BootTime::now();
        let Some(Entry { bytes, remaining }) = self.get(key, soon).await? else { return Ok(None) };
        Ok(self.open(key, &bytes).map(|session| Stored { session, bytes, remaining, at }))
    }

    /// A session that does not open was sealed with a key that was given up, or is not elastauth's. Nobody is kept from logging in
    /// anew, which writes another record.
    fn open(&self, key: &CacheKey, bytes: &[u8]) -> Option<Session> {
        let plain = self.seal.open(key, bytes).map_err(|error| error.to_string());
        let session = plain.and_then(|plain| Session::decode(&plain).map_err(|error| error.to_string()));
        session.inspect_err(|why| tracing::warn!(cacheKey = key.as_str(), why, "A session cannot be read")).ok()
    }

    /// Reads a marker.
    pub(crate) async fn marking(&self, key: &CacheKey, soon: bool) -> Result<Marking, StoreError> {
        let Some(Entry { bytes, remaining }) = self.get(key, soon).await? else { return Ok(Marking::Nothing) };
        let opened = self.seal.open(key, &bytes).ok().and_then(|plain| Marker::decode(&plain).ok());
        Ok(opened.map_or_else(
            || {
                tracing::warn!(cacheKey = key.as_str(), "The marker of a logout cannot be read");
                Marking::Unreadable(self.lives.lifetime.saturating_sub(remaining))
            },
            Marking::Marker,
        ))
    }

    /// Writes a marker, unless a later one is there.
    pub(crate) async fn mark(&self, key: &CacheKey, marker: Marker) -> Result<(), WriteError> {
        let plain = marker.encode().map_err(|error| WriteError::Internal(error.to_string()))?;
        let sealed = self.seal.seal(key, &plain).map_err(|error| WriteError::Internal(error.to_string()))?;
        let life = self.lives.lifetime;
        let mut there = self.store.put_if_absent(key, &sealed, life).await?;
        loop {
            self.invalidations.changed(key.as_str().as_bytes());
            let Some(bytes) = there else { return Ok(()) };
            let known = self.seal.open(key, &bytes).ok().and_then(|plain| Marker::decode(&plain).ok());
            if known.is_some_and(|known| known >= marker) {
                return Ok(());
            }
            there = match self.store.replace(key, &bytes, &sealed, life).await? {
                Replaced::Yes => None,
                // the later one goes back, if it is later
                Replaced::Overwrote(before) => {
                    let later = self.seal.open(key, &before).ok().and_then(|plain| Marker::decode(&plain).ok());
                    if let Some(later) = later.filter(|later| *later > marker) {
                        return Box::pin(self.mark(key, later)).await;
                    }
                    None
                }
                Replaced::Changed | Replaced::Missing => self.store.put_if_absent(key, &sealed, life).await?,
            };
        }
    }

    fn sealed(&self, key: &CacheKey, session: &Session) -> Result<Vec<u8>, WriteError> {
        let plain = session.encode().map_err(|error| WriteError::Internal(error.to_string()))?;
        let sealed = self.seal.seal(key, &plain).map_err(|error| WriteError::Internal(error.to_string()))?;
        // a longer one would not be read
        if sealed.len() > MAX_RECORD {
            let length = sealed.len();
            return Err(WriteError::Internal(format!("the session takes {length} bytes, more than {MAX_RECORD}")));
        }
        Ok(sealed)
    }

    /// Writes a new session; `false` where something is there already.
    pub(crate) async fn create(&self, key: &CacheKey, session: Session, now: SystemTime) -> Result<bool, WriteError> {
        let life = self.lives.of_used(&session, now);
        let bytes = self.sealed(key, &Session { life, ..session })?;
        let created = self.store.put_if_absent(key, &bytes, life).await?.is_none();
        self.invalidations.changed(key.as_str().as_bytes());
        Ok(created)
    }

    /// Writes `new` over what was read, which is then what was read last. After [`WriteError::Store`] it may have been written.
    pub(crate) async fn replace(
        &self,
        key: &CacheKey,
        current: &mut Stored,
        new: Session,
        now: SystemTime,
    ) -> Result<Swap, WriteError> {
        let life = match new.claim {
            Some(_) => self.lives.of_claimed(&new, now),
            None => self.lives.of_used(&new, now),
        };
        if life.is_zero() {
            return Ok(Swap::Missing);
        }
        let session = Session { life, ..new };
        let (bytes, at) = (self.sealed(key, &session)?, BootTime::now());
        let replaced = self.store.replace(key, &current.bytes, &bytes, life).await;
        self.invalidations.changed(key.as_str().as_bytes());
        Ok(match replaced? {
            Replaced::Yes => {
                *current = Stored { session, bytes, remaining: life, at };
                Swap::Yes
            }
            Replaced::Overwrote(before) => {
                // a store without scripting found out too late: what was there goes back
                self.store.replace(key, &bytes, &before, life).await?;
                self.invalidations.changed(key.as_str().as_bytes());
                Swap::Changed
            }
            Replaced::Changed => Swap::Changed,
            Replaced::Missing => Swap::Missing,
        })
    }

    /// Gives a session the life of one that is used now, and leaves it as it is. It is nothing where the session has changed.
    pub(crate) async fn extend(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<(), StoreError> {
        if let Replaced::Overwrote(before) = self.store.replace(key, bytes, bytes, life).await? {
            self.store.replace(key, bytes, &before, life).await?;
        }
        self.invalidations.changed(key.as_str().as_bytes());
        Ok(())
    }

    /// Compare and delete.
    pub(crate) async fn remove(&self, key: &CacheKey, bytes: &[u8]) -> Result<bool, StoreError> {
        let removed = self.store.remove(key, bytes).await;
        self.invalidations.changed(key.as_str().as_bytes());
        removed
    }

    /// The bytes under a session's name, whatever they are, and the session where they open.
    pub(crate) async fn read_any(&self, key: &CacheKey) -> Result<Option<(Vec<u8>, Option<Session>)>, StoreError> {
        let Some(Entry { bytes, .. }) = self.store.get(key).await? else { return Ok(None) };
        let session = self.open(key, &bytes);
        Ok(Some((bytes, session)))
    }
}

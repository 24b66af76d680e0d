//! Drives the loop of [`super::agreement`] over a store and a provisioner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::agreement::{Action, Event, Failure, Fresh, Life, Outcome, State, Want, WriteFailure, step};
use super::flight::Flights;
use super::record::{Claim, Phase, Record, Written};
use super::seal::{OpenError, Seal, SealError};
use super::{
    CacheKey, Credential, Entry, InspectError, Obtained, Password, Provisioner, Refused, Replaced, Settings, Source,
    Store, StoreError, UserSpec, WriteError,
};
use crate::identity::{Identity, Millis, Username};
use crate::roles::Roles;

mod run;

use run::Flight;

/// Beyond `write_timeout`: how much longer a claim lasts.
const CLAIM_MARGIN: Duration = Duration::from_secs(2);
/// Beyond a claim: how long a pending record can still be finished.
const PENDING_MARGIN: Duration = Duration::from_secs(60);
/// How long a refusal by Elasticsearch is remembered, so that it is not asked again on every request.
const REFUSAL_MEMORY: Duration = Duration::from_secs(30);
/// How many refusals are remembered.
const REFUSALS: usize = 10_000;
/// Between two looks at a record that another replica is writing.
const POLL: Duration = Duration::from_millis(25);
/// How long a flight that owes a write goes on trying to reach the store, and at what interval.
const DEBT_PATIENCE: Duration = Duration::from_secs(60);
const DEBT_RETRY: Duration = Duration::from_millis(500);
/// A record is not extended past this age.
const MAX_AGE_MS: Millis = 30 * 24 * 3600 * 1000;

/// Why there is no credential.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The username serves another (issuer, subject).
    #[error("the username belongs to another subject")]
    OtherOwner,
    /// Elasticsearch's user is to be left alone.
    #[error("{0}")]
    Refused(Refused),
    /// The store does not answer. Without it nothing is written to Elasticsearch.
    #[error("the cache is unavailable: {0}")]
    Store(#[from] StoreError),
    /// The record was sealed with another key.
    #[error("{0}")]
    Unreadable(OpenError),
    /// Elasticsearch did not acknowledge.
    #[error("Elasticsearch is unavailable: {0}")]
    Elasticsearch(String),
    /// Something of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Gives each caller the one credential that all replicas agree on.
pub struct Broker<S, P> {
    core: Arc<Core<S, P>>,
    flights: Flights<Want, Result<Record, Error>>,
}

struct Core<S, P> {
    store: S,
    provisioner: P,
    seal: Seal,
    settings: Settings,
    me: Claim,
    refusals: Mutex<HashMap<(Username, crate::identity::Owner), (Refused, Instant)>>,
}

/// What was last read from, or written to, the store.
struct Current {
    bytes: Vec<u8>,
    written: Written,
    remaining: Duration,
    at: Instant,
}

/// What reading the store gave.
enum Peek {
    Nothing,
    Broken(Entry),
    Record(Box<Current>),
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Settles on a claim of its own.
    pub fn new(store: S, provisioner: P, seal: Seal, settings: Settings) -> Result<Self, Error> {
        let me = random_claim()?;
        let refusals = Mutex::default();
        let core = Arc::new(Core { store, provisioner, seal, settings, me, refusals });
        Ok(Self { core, flights: Flights::new() })
    }

    /// The store, for readiness.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.core.store
    }

    /// The caller's credential: out of the store, or after a write that Elasticsearch acknowledged. May be
    /// cancelled at any time: what it began goes on.
    pub async fn obtain(&self, identity: &Identity, roles: Roles) -> Result<Obtained, Error> {
        let want = Want { owner: identity.owner.clone(), roles, as_of: identity.as_of };
        let key = CacheKey::of(&identity.username);
        let peek = self.core.peek(&key).await?;
        if let Peek::Record(current) = &peek
            && current.written.record.phase == Phase::Ready
            && current.written.record.owner == want.owner
            && want.is_met_by(&current.written.record)
        {
            tracing::debug!(cacheKey = key.as_str(), user = identity.username.as_str(), "Cache hit");
            let credential = Credential::new(identity.username.clone(), &current.written.record.password);
            self.core.extend(&key, current);
            return Ok(Obtained { credential, source: Source::Store });
        }
        tracing::debug!(cacheKey = key.as_str(), user = identity.username.as_str(), "Cache miss");
        if let Some(refused) = self.core.remembered(identity) {
            return Err(Error::Refused(refused));
        }
        let flight = {
            let core = Arc::clone(&self.core);
            let (key, want, identity) = (key.clone(), want.clone(), identity.clone());
            move |waited: bool| async move {
                // what was read before waiting for another flight of this user is out of date
                let known = (!waited).then_some(peek);
                Flight { core: &core, key, identity, current: None, why: String::new() }.run(want, known).await
            }
        };
        let record = match self.flights.join(&key, want, flight).await {
            Ok(result) => result?,
            Err(_lost) => return Err(Error::Internal("the provisioning task was lost".into())),
        };
        let credential = Credential::new(identity.username.clone(), &record.password);
        Ok(Obtained { credential, source: Source::Provisioned })
    }
}

impl<S: Store, P: Provisioner> Core<S, P> {
    async fn peek(&self, key: &CacheKey) -> Result<Peek, Error> {
        let at = Instant::now();
        let Some(entry) = self.store.get(key).await? else {
            return Ok(Peek::Nothing);
        };
        let opened = self.seal.open(key, &entry.bytes).map(|plain| Written::decode(&plain));
        match opened {
            Ok(Ok(written)) => {
                let Entry { bytes, remaining } = entry;
                Ok(Peek::Record(Box::new(Current { bytes, written, remaining, at })))
            }
            Err(OpenError::UnknownKey) => Err(Error::Unreadable(OpenError::UnknownKey)),
            Ok(Err(_)) | Err(OpenError::Broken) => {
                tracing::warn!(cacheKey = key.as_str(), "the cached record is broken and will be replaced");
                Ok(Peek::Broken(entry))
            }
        }
    }

    fn claim_time(&self) -> Duration {
        self.settings.write_timeout + CLAIM_MARGIN
    }

    /// `cache.expiration`, less up to 10 % so that what was written together does not end together.
    fn ready_life(&self) -> Duration {
        let mut byte = [0_u8; 1];
        // without randomness there is no jitter; nothing else depends on it
        let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
        self.settings.expiration.mul_f64(1.0 - 0.1 * f64::from(byte[0]) / 255.0)
    }

    /// A use past half the life extends it once, in the background.
    fn extend(self: &Arc<Self>, key: &CacheKey, current: &Current) {
        let too_old = now_ms().saturating_sub(current.written.record.born) > MAX_AGE_MS;
        if !self.settings.extend || current.remaining * 2 > current.written.life || too_old {
            return;
        }
        let core = Arc::clone(self);
        let (key, expected) = (key.clone(), current.bytes.clone());
        let written = Written { record: current.written.record.clone(), life: self.ready_life() };
        tokio::spawn(async move {
            let Ok(plain) = written.encode() else { return };
            let Ok(bytes) = core.seal.seal(&key, &plain) else { return };
            // whatever comes of it, the next use tries again
            if let Err(error) = core.store.replace(&key, &expected, &bytes, written.life).await {
                tracing::debug!(%error, "the record was not extended");
            }
        });
    }

    fn remembered(&self, identity: &Identity) -> Option<Refused> {
        let id = (identity.username.clone(), identity.owner.clone());
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.get(&id).filter(|(_, at)| at.elapsed() < REFUSAL_MEMORY).map(|(refused, _)| *refused)
    }

    fn remember(&self, identity: &Identity, refused: Refused) {
        let id = (identity.username.clone(), identity.owner.clone());
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= REFUSALS {
            refusals.retain(|_, (_, at)| at.elapsed() < REFUSAL_MEMORY);
        }
        if refusals.len() < REFUSALS {
            refusals.insert(id, (refused, Instant::now()));
        }
    }
}

fn random_claim() -> Result<Claim, Error> {
    let mut bytes = [0_u8; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Error::Internal("the operating system gave no randomness".into()))?;
    Ok(Claim(u128::from_be_bytes(bytes)))
}

fn fresh() -> Result<Fresh, Error> {
    let password = Password::generate().map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Fresh { password, born: now_ms() })
}

/// Stands for a record that could not be read: only its bytes are of use.
fn placeholder(identity: &Identity, fresh: &Fresh) -> Record {
    Record {
        phase: Phase::Ready,
        password: fresh.password.clone(),
        roles: Roles::default(),
        as_of: 0,
        owner: identity.owner.clone(),
        born: fresh.born,
    }
}

fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

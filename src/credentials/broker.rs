//! Drives the loop of [`super::agreement`] over a store and a provisioner.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::admission::{Admission, Permit};
use super::agreement::{
    Action, Entitlement, Event, Failure, Fresh, Life, Observation, Outcome, State, Swap, WriteFailure, step,
};
use super::breaker::Breaker;
use super::credential::user_of;
use super::invalidation::ReadVersion;
use super::near_cache::{CachedCredential, Lookup, NearCache};
use super::record::{LeaseHolder, Phase, Record, Written};
use super::seal::Seal;
use super::single_flight::SingleFlight;
use super::{
    CacheKey, Caller, Credential, InspectError, Obtained, Password, Provisioner, Refused, Replaced, RequestContext,
    Settings, Source, Store, StoreError, UserSpec, WriteError,
};
use crate::clock::now_millis;
use crate::identity::Identity;
use crate::roles::Roles;
use crate::spans;

mod error;
mod maintenance;
mod preview;
mod recent;
mod refusals;
mod run;
mod running;
mod shared;

pub use error::Error;
use maintenance::Maintenance;
pub(super) use maintenance::MaintenanceSchedule;
pub use preview::{ObservedUser, PlannedWrite, Preview, StoredRecord};
use refusals::Refusals;
use run::AgreementRun;
use running::Running;
pub(super) use shared::Current;
use shared::{Peek, Shared};

/// Beyond a claim: how long a pending record can still be finished. As long as a PUT of it may still be applied (a minute is
/// Elasticsearch's own time-out of a write): if the record went before, nobody would know whose that PUT was.
const PENDING_MARGIN: Duration = Duration::from_secs(60);
/// Between two looks at a record that another replica is writing, where nobody tells of changes.
const POLL: Duration = Duration::from_millis(25);
/// The same where changes are told: only a safety net.
const TOLD_POLL: Duration = Duration::from_millis(500);
/// How long a flight that owes a write goes on trying to reach the store, and at what interval.
const DEBT_PATIENCE: Duration = Duration::from_secs(60);
const DEBT_RETRY: Duration = Duration::from_millis(500);

/// Gives each caller the one credential that all replicas agree on.
pub struct Broker<S, P> {
    shared: Arc<Shared<S, P>>,
    flights: SingleFlight<Purpose, Result<Record, Error>>,
}

/// What a flight is for.
#[derive(Clone, PartialEq)]
enum Purpose {
    Obtain(Entitlement),
    /// Elasticsearch does not have this ready record.
    Repair(Record),
    /// Elasticsearch has it, with a day that has passed.
    Touch(Record),
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Settles on a claim of its own.
    pub fn new(store: S, provisioner: P, seal: Seal, settings: Settings) -> Result<Self, Error> {
        let me = random_holder()?;
        let (near, running) = (NearCache::new(settings.near), Running::new(settings.mapping));
        let store = Breaker::new(store, Arc::clone(near.invalidations()), settings.store_timeout);
        let shared = Arc::new(Shared {
            store,
            provisioner,
            seal,
            near,
            settings,
            me,
            running,
            admission: Admission::default(),
            refusals: Refusals::default(),
            maintenance: Maintenance::default(),
        });
        Ok(Self { shared, flights: SingleFlight::new() })
    }

    /// Whether the store answers and takes writes, for readiness.
    pub async fn reachable(&self) -> Result<(), StoreError> {
        self.shared.store.reachable().await
    }

    /// Whether the store is asked at all: not while its breaker is open.
    pub fn store_answers(&self) -> bool {
        !self.shared.store.is_open()
    }

    /// Lets the store tell of changes, and the provisioner look after itself, for as long as the process lives.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<S, P> {
        let shared = Arc::clone(&self.shared);
        async move {
            let store = shared.store.watch(Arc::clone(shared.near.invalidations()));
            tokio::join!(store, shared.provisioner.watch(), shared.follow_cluster());
        }
    }

    /// What the provisioner last found in the background.
    pub fn condition(&self) -> Result<(), String> {
        self.shared.provisioner.condition()
    }

    /// Whether this value of an `Authorization` header was handed out by this process, as far as it is still known.
    pub fn issued(&self, basic: &str) -> bool {
        let key = basic.strip_prefix("Basic ").and_then(user_of).map(|username| CacheKey::of(&username));
        match key.map(|key| self.shared.near.look(&key)) {
            Some(Lookup::Fresh(kept) | Lookup::Suspect(kept)) => kept.credential.is(basic),
            Some(Lookup::Nothing) | None => false,
        }
    }

    /// The caller's credential, if it is kept here and nobody needs to be asked.
    pub fn recall(&self, caller: &Caller) -> Option<Obtained> {
        match self.shared.near.look(&caller.key) {
            Lookup::Fresh(kept) if self.serves(&kept, &caller.entitlement) => {
                Some(self.hit(caller, &kept, Source::Near))
            }
            Lookup::Fresh(_) | Lookup::Suspect(_) | Lookup::Nothing => None,
        }
    }

    /// The caller's credential: kept here, out of the store, or after a write that Elasticsearch acknowledged. May be
    /// cancelled at any time: what it began goes on. A hit does not need to know on whose behalf it is.
    pub async fn obtain(&self, caller: &Caller, context: impl FnOnce() -> RequestContext) -> Result<Obtained, Error> {
        let Caller { entitlement, key, .. } = caller;
        let suspect = match self.shared.near.look(key) {
            Lookup::Fresh(kept) if self.serves(&kept, entitlement) => return Ok(self.hit(caller, &kept, Source::Near)),
            Lookup::Suspect(kept) => Some(kept),
            _ => None,
        };
        let read_version = self.shared.near.read_version(key);
        let read = match &suspect {
            Some(_) => self.shared.peek(key).await,
            None => self.shared.peek_if_alive(key).await,
        };
        let peek = match (read, suspect) {
            (Ok(peek), _) => peek,
            (Err(Error::Store(error)), Some(kept))
                if self.serves(&kept, entitlement) && self.shared.near.may_serve(&kept) =>
            {
                tracing::debug!(cacheKey = key.as_str(), %error, "Served although the cache does not answer");
                return Ok(self.hit(caller, &kept, Source::Stale));
            }
            (Err(error), _) => return Err(error),
        };
        let peek = match peek {
            Peek::Record(current) if current.serves(entitlement, || self.shared.running.version()) => {
                let credential = Credential::new(caller.identity().username.clone(), &current.written.record.password);
                let told_since = self.shared.near.invalidations().tracked_since();
                let maintenance =
                    MaintenanceSchedule::of(&current, &self.shared.settings, told_since, &self.shared.seal);
                let kept =
                    self.shared.near.keep(key, read_version, current.sharing(entitlement), credential, maintenance);
                return Ok(self.hit(caller, &kept, Source::Store));
            }
            other => other,
        };
        let (identity, context) = (caller.identity(), context());
        let (user, request_id) = (identity.username.as_str(), context.request_id());
        tracing::debug!(cacheKey = key.as_str(), user, request_id, "Cache miss");
        if let Some(refused) = self.shared.refusals.of(identity) {
            return Err(Error::Refused(refused));
        }
        let record = self
            .fly(key, Purpose::Obtain(self.shared.wanted(entitlement)), identity, &context, Some((peek, read_version)))
            .await?;
        let credential = Credential::new(identity.username.clone(), &record.password);
        Ok(Obtained { credential, source: Source::Provisioned })
    }

    /// One flight of a user at a time; `known` is what was just read.
    fn fly(
        &self,
        key: &CacheKey,
        purpose: Purpose,
        identity: &Identity,
        context: &RequestContext,
        known: Option<(Peek, ReadVersion)>,
    ) -> impl Future<Output = Result<Record, Error>> + Send + use<S, P> {
        let state = match &purpose {
            Purpose::Obtain(entitlement) => State::new(self.shared.me, entitlement.clone()),
            Purpose::Repair(record) => State::repair(self.shared.me, record.clone()),
            Purpose::Touch(record) => State::renew(self.shared.me, record.clone()),
        };
        let (shared, flights) = (Arc::clone(&self.shared), self.flights.clone());
        let (key, identity, context) = (key.clone(), identity.clone(), context.clone());
        async move {
            let name = key.clone();
            // whoever joins a flight has a span of the wait; what the flight does is under the one that began it
            let span = spans::span!("provision");
            let within = span.clone();
            let flight = move |waited: bool| {
                let run = async move {
                    // what was read before waiting for another flight of this user is out of date
                    let (peek, read_version) = known.filter(|_| !waited).unzip();
                    let read_version = read_version.unwrap_or_else(|| shared.near.read_version(&key));
                    let why = String::new();
                    AgreementRun {
                        shared: &shared,
                        key,
                        identity,
                        context,
                        current: None,
                        read_version,
                        why,
                        place: None,
                    }
                    .run(state, peek)
                    .await
                };
                run.instrument(within)
            };
            let landed = flights.join(&name, purpose, flight).instrument(span).await;
            landed.unwrap_or_else(|_lost| Err(Error::Internal("the provisioning task was lost".into())))
        }
    }

    fn serves(&self, kept: &CachedCredential, entitlement: &Entitlement) -> bool {
        kept.serves(entitlement, || self.shared.running.version())
    }

    fn hit(&self, caller: &Caller, kept: &Arc<CachedCredential>, source: Source) -> Obtained {
        let (key, identity) = (&caller.key, caller.identity());
        tracing::debug!(cacheKey = key.as_str(), user = kept.credential.username().as_str(), ?source, "Cache hit");
        self.shared.maintenance(key, kept, identity, |purpose| {
            self.fly(key, purpose, identity, &RequestContext::default(), None)
        });
        Obtained { credential: kept.credential.clone(), source }
    }
}

fn random_holder() -> Result<LeaseHolder, Error> {
    let mut bytes = [0_u8; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Error::Internal("the operating system gave no randomness".into()))?;
    Ok(LeaseHolder(u128::from_be_bytes(bytes)))
}

fn fresh() -> Result<Fresh, Error> {
    let password = Password::generate().map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Fresh { password, born: now_millis() })
}

#[cfg(test)]
mod tests;

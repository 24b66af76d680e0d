//! Drives the loop of [`super::agreement`] over a store and a provisioner.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::Instrument as _;

use super::admission::{Admission, Place};
use super::agreement::{Action, Event, Failure, Fresh, Life, Outcome, Sight, State, Swap, Want, WriteFailure, step};
use super::breaker::Breaker;
use super::credential::user_of;
use super::flight::Flights;
use super::near::{Kept, Look, Near, Ticket};
use super::record::{Claim, Phase, Record, Written};
use super::seal::Seal;
use super::{
    CacheKey, Caller, Credential, InspectError, Obtained, Origin, Password, Provisioner, Refused, Replaced, Settings,
    Source, Store, StoreError, UserSpec, WriteError,
};
use crate::identity::{Identity, Millis};
use crate::roles::Roles;
use crate::spans;

mod core;
mod error;
mod outlook;
mod recent;
mod refusals;
mod run;
mod running;
mod upkeep;

pub(super) use core::Current;
use core::{Core, Peek};
pub use error::Error;
pub use outlook::{Held, Next, Outlook, Seen};
use refusals::Refusals;
use run::Flight;
use running::Running;
use upkeep::Repairs;
pub(super) use upkeep::Upkeep;

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
    core: Arc<Core<S, P>>,
    flights: Flights<Purpose, Result<Record, Error>>,
}

/// What a flight is for.
#[derive(Clone, PartialEq)]
enum Purpose {
    Obtain(Want),
    /// Elasticsearch does not have this ready record.
    Repair(Record),
    /// Elasticsearch has it, with a day that has passed.
    Touch(Record),
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Settles on a claim of its own.
    pub fn new(store: S, provisioner: P, seal: Seal, settings: Settings) -> Result<Self, Error> {
        let me = random_claim()?;
        let (near, running) = (Near::new(settings.near), Running::new(settings.mapping));
        let store = Breaker::new(store, Arc::clone(near.link()), settings.store_timeout);
        let core = Arc::new(Core {
            store,
            provisioner,
            seal,
            near,
            settings,
            me,
            running,
            admission: Admission::default(),
            refusals: Refusals::default(),
            repairs: Repairs::default(),
        });
        Ok(Self { core, flights: Flights::new() })
    }

    /// Whether the store answers and takes writes, for readiness.
    pub async fn reachable(&self) -> Result<(), StoreError> {
        self.core.store.reachable().await
    }

    /// Whether the store is asked at all: not while its breaker is open.
    pub fn store_answers(&self) -> bool {
        !self.core.store.is_open()
    }

    /// Lets the store tell of changes, and the provisioner look after itself, for as long as the process lives.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<S, P> {
        let core = Arc::clone(&self.core);
        async move {
            let store = core.store.watch(Arc::clone(core.near.link()));
            tokio::join!(store, core.provisioner.watch(), core.follow_cluster());
        }
    }

    /// What the provisioner last found in the background.
    pub fn condition(&self) -> Result<(), String> {
        self.core.provisioner.condition()
    }

    /// Whether this value of an `Authorization` header was handed out by this process, as far as it is still known.
    pub fn issued(&self, basic: &str) -> bool {
        let key = basic.strip_prefix("Basic ").and_then(user_of).map(|username| CacheKey::of(&username));
        match key.map(|key| self.core.near.look(&key)) {
            Some(Look::Fresh(kept) | Look::Suspect(kept)) => kept.credential.is(basic),
            Some(Look::Nothing) | None => false,
        }
    }

    /// The caller's credential, if it is kept here and nobody needs to be asked.
    pub fn recall(&self, caller: &Caller) -> Option<Obtained> {
        match self.core.near.look(&caller.key) {
            Look::Fresh(kept) if self.serves(&kept, &caller.want) => Some(self.hit(caller, &kept, Source::Near)),
            Look::Fresh(_) | Look::Suspect(_) | Look::Nothing => None,
        }
    }

    /// The caller's credential: kept here, out of the store, or after a write that Elasticsearch acknowledged. May be
    /// cancelled at any time: what it began goes on. A hit does not need to know on whose behalf it is.
    pub async fn obtain(&self, caller: &Caller, origin: impl FnOnce() -> Origin) -> Result<Obtained, Error> {
        let Caller { want, key, .. } = caller;
        let suspect = match self.core.near.look(key) {
            Look::Fresh(kept) if self.serves(&kept, want) => return Ok(self.hit(caller, &kept, Source::Near)),
            Look::Suspect(kept) => Some(kept),
            _ => None,
        };
        let ticket = self.core.near.ticket(key);
        let read = match &suspect {
            Some(_) => self.core.peek(key).await,
            None => self.core.peek_if_alive(key).await,
        };
        let peek = match (read, suspect) {
            (Ok(peek), _) => peek,
            (Err(Error::Store(error)), Some(kept)) if self.serves(&kept, want) && self.core.near.may_serve(&kept) => {
                tracing::debug!(cacheKey = key.as_str(), %error, "Served although the cache does not answer");
                return Ok(self.hit(caller, &kept, Source::Stale));
            }
            (Err(error), _) => return Err(error),
        };
        let peek = match peek {
            Peek::Record(current) if current.serves(want, || self.core.running.version()) => {
                let credential = Credential::new(caller.identity().username.clone(), &current.written.record.password);
                let told_since = self.core.near.link().tracked_since();
                let upkeep = Upkeep::of(&current, &self.core.settings, told_since, &self.core.seal);
                let kept = self.core.near.keep(key, ticket, current.sharing(want), credential, upkeep);
                return Ok(self.hit(caller, &kept, Source::Store));
            }
            other => other,
        };
        let (identity, origin) = (caller.identity(), origin());
        let (user, request_id) = (identity.username.as_str(), origin.request_id());
        tracing::debug!(cacheKey = key.as_str(), user, request_id, "Cache miss");
        if let Some(refused) = self.core.refusals.of(identity) {
            return Err(Error::Refused(refused));
        }
        let record =
            self.fly(key, Purpose::Obtain(self.core.wanted(want)), identity, &origin, Some((peek, ticket))).await?;
        let credential = Credential::new(identity.username.clone(), &record.password);
        Ok(Obtained { credential, source: Source::Provisioned })
    }

    /// One flight of a user at a time; `known` is what was just read.
    fn fly(
        &self,
        key: &CacheKey,
        purpose: Purpose,
        identity: &Identity,
        origin: &Origin,
        known: Option<(Peek, Ticket)>,
    ) -> impl Future<Output = Result<Record, Error>> + Send + use<S, P> {
        let state = match &purpose {
            Purpose::Obtain(want) => State::new(self.core.me, want.clone()),
            Purpose::Repair(record) => State::repair(self.core.me, record.clone()),
            Purpose::Touch(record) => State::renew(self.core.me, record.clone()),
        };
        let (core, flights) = (Arc::clone(&self.core), self.flights.clone());
        let (key, identity, origin) = (key.clone(), identity.clone(), origin.clone());
        async move {
            let name = key.clone();
            // whoever joins a flight has a span of the wait; what the flight does is under the one that began it
            let span = spans::span!("provision");
            let within = span.clone();
            let flight = move |waited: bool| {
                let run = async move {
                    // what was read before waiting for another flight of this user is out of date
                    let (peek, ticket) = known.filter(|_| !waited).unzip();
                    let ticket = ticket.unwrap_or_else(|| core.near.ticket(&key));
                    let why = String::new();
                    Flight { core: &core, key, identity, origin, current: None, ticket, why, place: None }
                        .run(state, peek)
                        .await
                };
                run.instrument(within)
            };
            let landed = flights.join(&name, purpose, flight).instrument(span).await;
            landed.unwrap_or_else(|_lost| Err(Error::Internal("the provisioning task was lost".into())))
        }
    }

    fn serves(&self, kept: &Kept, want: &Want) -> bool {
        kept.serves(want, || self.core.running.version())
    }

    fn hit(&self, caller: &Caller, kept: &Arc<Kept>, source: Source) -> Obtained {
        let (key, identity) = (&caller.key, caller.identity());
        tracing::debug!(cacheKey = key.as_str(), user = kept.credential.username().as_str(), ?source, "Cache hit");
        self.core.upkeep(key, kept, identity, |purpose| self.fly(key, purpose, identity, &Origin::default(), None));
        Obtained { credential: kept.credential.clone(), source }
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

fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

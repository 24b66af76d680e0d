//! Gives each caller the credential that all replicas agree on: from the near cache, from the store, or after a run of the
//! protocol ([`super::agreement`]) that writes the user.

use std::future::Future;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::admission::Admission;
use super::credential::user_of;
use super::invalidation::{Invalidations, ReadVersion};
use super::near_cache::{CachedCredential, Lookup, NearCache};
use super::record::{LeaseHolder, Phase, Record};
use super::schedule::{MaintenanceSchedule, RETRY};
use super::seal::Seal;
use super::single_flight::SingleFlight;
use super::stored::{Current, PROMPT};
use super::timed_store::TimedStore;
use super::{CacheKey, Caller, Credential, Obtained, Provisioner, RequestContext, Settings, Source, Store, StoreError};
use crate::identity::Identity;
use crate::{random, spans};

mod error;
mod hint;
mod kept_passwords;
mod limits;
mod maintenance;
mod preview;
mod recent;
mod refusals;
mod run;
mod running;
mod shared;

pub use error::Error;
pub use preview::{ObservedUser, PlannedWrite, Preview, StoredRecord};

use kept_passwords::KeptPasswords;
use limits::{HELD_UP_JUST_NOW, MaintenanceLimits};
use refusals::Refusals;
use run::{AgreementRun, Purpose};
use running::Running;
use shared::{Peek, Shared, until_rotation};

/// Gives each caller the one credential that all replicas agree on.
pub struct Broker<S, P> {
    shared: Arc<Shared<S, P>>,
    runs: SingleFlight<Purpose, Result<Record, Error>>,
}

/// That the near cache has no credential that may be served without asking the store: `Broker::obtain_after` goes on from
/// here, without another look-up.
pub struct Miss {
    /// Serves if the store does not answer.
    suspect: Option<Arc<CachedCredential>>,
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Chooses a random lease holder for this process. Asks neither the store nor Elasticsearch yet.
    pub fn new(store: S, provisioner: P, seal: Seal, settings: Settings) -> Result<Self, Error> {
        let near_cache = NearCache::new(settings.near);
        let store = TimedStore::new(store, settings.store_timeout);
        let background = TaskTracker::new();
        let shared = Arc::new(Shared {
            store,
            provisioner,
            seal,
            near_cache,
            me: random_holder()?,
            running: Running::new(settings.mapping),
            settings,
            admission: Admission::default(),
            refusals: Refusals::default(),
            limits: MaintenanceLimits::default(),
            kept_passwords: KeptPasswords::default(),
            background: background.clone(),
        });
        Ok(Self { shared, runs: SingleFlight::new(background) })
    }

    /// Whether the store answers and takes writes, for readiness.
    pub(crate) async fn reachable(&self) -> Result<(), StoreError> {
        self.shared.store.reachable().await
    }

    /// Whether all of the store is asked at present, which a server that does not answer is not.
    pub(crate) fn store_answers(&self) -> bool {
        self.shared.store.is_asked()
    }

    /// Receives the store's reports of changes, and lets the provisioner check its back end, for as long as the process lives.
    /// To be run as a task.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<S, P> {
        let shared = Arc::clone(&self.shared);
        async move {
            let store = shared.store.watch(Arc::clone(shared.near_cache.invalidations()));
            tokio::join!(store, shared.provisioner.watch(), shared.follow_cluster());
        }
    }

    /// What the store reports changes to.
    pub(crate) fn invalidations(&self) -> Arc<Invalidations> {
        Arc::clone(self.shared.near_cache.invalidations())
    }

    /// The result of the provisioner's last check in the background.
    pub(crate) fn condition(&self) -> Result<(), String> {
        self.shared.provisioner.condition()
    }

    /// Resolves when no run of the protocol is under way, and no maintenance of a record, for the end of the process: another
    /// replica would have to wait for the lease of a write that is given up, and to write once more.
    pub(crate) async fn idle(&self) {
        let background = &self.shared.background;
        if !background.is_empty() {
            tracing::info!(tasks = background.len(), "Waiting for users that are being written or confirmed");
        }
        // what is begun meanwhile counts, too
        background.close();
        background.wait().await;
    }

    /// Drops what this process keeps and will not use any more.
    pub(crate) fn sweep(&self) {
        let Shared { near_cache, admission, refusals, limits, settings, .. } = &*self.shared;
        near_cache.sweep();
        admission.sweep();
        refusals.sweep();
        limits.sweep(settings);
    }

    /// Whether this value of an `Authorization` header is a credential in the near cache.
    pub(crate) fn issued(&self, basic: &str) -> bool {
        let key = basic.strip_prefix("Basic ").and_then(user_of).map(|username| CacheKey::of(&username));
        match key.map(|key| self.shared.near_cache.look_up(&key)) {
            Some(Lookup::Fresh(cached) | Lookup::Suspect(cached)) => cached.credential.is(basic),
            Some(Lookup::Nothing) | None => false,
        }
    }

    /// The caller's credential, if it is in the near cache and may be served without asking the store. Waits for nothing.
    pub(crate) fn recall(&self, caller: &Caller) -> Result<Obtained, Miss> {
        match self.shared.near_cache.look_up(&caller.key) {
            Lookup::Fresh(cached) if self.serves(caller, &cached) => Ok(self.serve(caller, &cached, Source::Near)),
            Lookup::Suspect(cached) => Err(Miss { suspect: Some(cached) }),
            Lookup::Fresh(_) | Lookup::Nothing => Err(Miss { suspect: None }),
        }
    }

    /// The caller's credential: from the near cache, or as `Broker::obtain_after` gets it.
    pub async fn obtain(&self, caller: &Caller, context: impl FnOnce() -> RequestContext) -> Result<Obtained, Error> {
        match self.recall(caller) {
            Ok(obtained) => Ok(obtained),
            Err(miss) => self.obtain_after(miss, caller, context).await,
        }
    }

    /// The caller's credential after a miss: out of the store, or after a write that Elasticsearch acknowledged. May be
    /// cancelled at any time: a run that it began goes on. `context` is asked for only where a run is needed.
    pub(crate) async fn obtain_after(
        &self,
        Miss { suspect }: Miss,
        caller: &Caller,
        context: impl FnOnce() -> RequestContext,
    ) -> Result<Obtained, Error> {
        let (shared, Caller { entitlement, key, .. }) = (&self.shared, caller);
        let read_version = shared.near_cache.read_version(key);
        let near_cache = &shared.near_cache;
        let suspect = suspect.filter(|cached| self.may_use(caller, &cached.current) && near_cache.may_serve(cached));
        let read = match &suspect {
            Some(_) => shared.peek_soon(key).await,
            None => shared.peek(key).await,
        };
        let peek = match (read, suspect) {
            (Ok(peek), _) => peek,
            (Err(Error::Store(error)), Some(cached)) if near_cache.may_serve(&cached) => {
                tracing::debug!(cacheKey = key.as_str(), %error, "Served although the cache does not answer");
                return Ok(self.serve(caller, &cached, Source::Stale));
            }
            (Err(error), _) => return Err(error),
        };
        let peek = match peek {
            Peek::Record(current) if current.serves(entitlement, || shared.running.version()) => {
                return Ok(self.keep_and_serve(caller, *current, read_version));
            }
            other => other,
        };
        let (identity, context) = (caller.identity(), context());
        let (user, request_id) = (identity.username.as_str(), context.request_id());
        tracing::debug!(cacheKey = key.as_str(), user, request_id, "Cache miss");
        if let Some(refused) = shared.refusals.get(identity) {
            return Err(Error::Refused(refused));
        }
        let found = match &peek {
            Peek::Record(current) => self.found(caller, current),
            Peek::Nothing | Peek::Broken(_) => Found::default(),
        };
        if found.failed_just_now && !found.may_use {
            return Err(Error::Elasticsearch(
                "the change of the user's roles could not be written a moment ago".into(),
            ));
        }
        let purpose = Purpose::Obtain(shared.dated(entitlement));
        let run = self.join_run(key, purpose, identity, &context, Some((peek, read_version)));
        let ended = if found.may_use || found.changing {
            timeout(PROMPT, run)
                .await
                .unwrap_or_else(|_| Err(Error::Elasticsearch(format!("no answer within {PROMPT:?}"))))
        } else {
            run.await
        };
        match ended {
            Ok(record) => {
                let credential = Credential::new(identity.username.clone(), &record.password);
                Ok(Obtained { credential, source: Source::Provisioned })
            }
            Err(error) if found.may_use && error.is_an_outage() => {
                self.obtain_unchanged(caller, &error).await.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The caller's credential with the user's former roles, after its own could not be written; none where they are more than the
    /// caller's.
    async fn obtain_unchanged(&self, caller: &Caller, why: &Error) -> Option<Obtained> {
        let (shared, key) = (&self.shared, &caller.key);
        let read_version = shared.near_cache.read_version(key);
        let Ok(Peek::Record(current)) = shared.peek(key).await else { return None };
        if !self.may_use(caller, &current) {
            return None;
        }
        if shared.limits.held_up.begin(key, HELD_UP_JUST_NOW) {
            let (user, roles) = (caller.identity().username.as_str(), caller.entitlement.roles.to_string());
            tracing::warn!(
                user,
                roles,
                error = %why,
                "The user's change of roles is not written yet. The user is served with the former roles, and it is tried again"
            );
        }
        Some(self.keep_and_serve(caller, *current, read_version))
    }

    fn found(&self, caller: &Caller, current: &Current) -> Found {
        let (record, entitlement) = (&current.written.record, self.shared.dated(&caller.entitlement));
        let changing = !record.phase.is_ready() && record.phase.has_password();
        let failed = matches!(record.phase, Phase::Pending { failed: true, .. }) && current.age() < RETRY;
        // newer roles are noted in the record first, so that these are written in the end
        let noted = entitlement.is_satisfied_by(record);
        Found { may_use: entitlement.allows(record), changing, failed_just_now: changing && failed && noted }
    }

    /// Whether the record's password gives the caller no more than it may have, although the record may not have the caller's
    /// roles.
    fn may_use(&self, caller: &Caller, current: &Current) -> bool {
        let entitlement = &caller.entitlement;
        current.serves(entitlement, || self.shared.running.version())
            || self.shared.dated(entitlement).allows(&current.written.record)
    }

    /// Keeps what was read in the near cache, and serves it.
    fn keep_and_serve(&self, caller: &Caller, current: Current, read_version: ReadVersion) -> Obtained {
        let (shared, Caller { entitlement, key, .. }) = (&self.shared, caller);
        let record = &current.written.record;
        let credential = Credential::new(caller.identity().username.clone(), &record.password);
        let tracked_since = shared.near_cache.invalidations().tracked_since();
        let rotation = until_rotation(record.born);
        let schedule = MaintenanceSchedule::of(&current, &shared.settings, tracked_since, &shared.seal, rotation);
        let current = current.sharing(entitlement);
        let cached = shared.near_cache.insert(key, read_version, current, credential, schedule);
        self.serve(caller, &cached, Source::Store)
    }

    /// Joins the run of this user and purpose, or starts one; a user has one run at a time. `known` is what was just read.
    fn join_run(
        &self,
        key: &CacheKey,
        purpose: Purpose,
        identity: &Identity,
        context: &RequestContext,
        known: Option<(Peek, ReadVersion)>,
    ) -> impl Future<Output = Result<Record, Error>> + Send + use<S, P> {
        let state = purpose.state(self.shared.me);
        let (shared, runs) = (Arc::clone(&self.shared), self.runs.clone());
        let (key, identity, context) = (key.clone(), identity.clone(), context.clone());
        async move {
            let name = key.clone();
            // a request that joins a run has a span of its wait; the spans of the run are below that of the request that began it
            let span = spans::span!("provision");
            let within = span.clone();
            let run = move |waited: bool| {
                let run = async move {
                    // what was read before waiting for another run of this user is out of date
                    let (peek, read_version) = known.filter(|_| !waited).unzip();
                    let read_version = read_version.unwrap_or_else(|| shared.near_cache.read_version(&key));
                    AgreementRun::new(&shared, key, identity, context, read_version).run(state, peek).await
                };
                run.instrument(within)
            };
            let ended = runs.join(&name, purpose, run).instrument(span).await;
            ended.unwrap_or_else(|_lost| Err(Error::Internal("the provisioning task was lost".into())))
        }
    }

    fn serves(&self, caller: &Caller, cached: &CachedCredential) -> bool {
        cached.current.serves(&caller.entitlement, || self.shared.running.version())
    }

    fn serve(&self, caller: &Caller, cached: &Arc<CachedCredential>, source: Source) -> Obtained {
        let key = &caller.key;
        tracing::debug!(cacheKey = key.as_str(), user = cached.credential.username().as_str(), ?source, "Cache hit");
        self.maintain(caller, cached);
        Obtained { credential: cached.credential.clone(), source }
    }

    /// Another handle to the same broker, for a task in the background.
    fn handle(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), runs: self.runs.clone() }
    }
}

/// What the store had for a caller that needs a run.
#[derive(Clone, Copy, Default)]
struct Found {
    /// The record's password gives the caller no more than it may have.
    may_use: bool,
    /// A change of roles is pending.
    changing: bool,
    /// An attempt to write it has just failed, and it is the caller's change or a newer one.
    failed_just_now: bool,
}

fn random_holder() -> Result<LeaseHolder, Error> {
    let bytes = random::bytes().map_err(|error| Error::Internal(error.to_string()))?;
    Ok(LeaseHolder(u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests;

//! The sessions of people who logged in: from the near cache, from the store, and renewed in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::markers::{LogoutNotice, MarkerKeys};
use super::near_sessions::{LiveSession, NearSessions, Standing};
use super::provider_condition::ProviderCondition;
use super::refresh::Outcome;
use super::refresh_run::{Ended, RefreshRun, Times};
use super::renew::Renew;
use super::session::Session;
use super::session_id::{SessionDigest, SessionId};
use super::session_store::{Lives, Marking, SessionStore, Stored, WriteError};
use crate::clock::{BootTime, unix_millis, wall_clock};
use crate::credentials::seal::Seal;
use crate::credentials::{CacheKey, Invalidations, ReadVersion, SingleFlight, Store, StoreError, TimedStore};
use crate::identity::{AsOf, Identity, Millis, Owner, Username};
use crate::spans;

/// How long a request waits for new tokens where it can be served without them. The attempt goes on.
const PROMPT: Duration = Duration::from_secs(1);
/// How often the end of a session is tried against replicas that write it at the same time, or a store that gives no answer.
const TRIES: usize = 8;

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `login.session_lifetime`.
    pub lifetime: Duration,
    /// `login.idle_timeout`.
    pub idle_timeout: Duration,
    /// `login.max_stale`: for how long after the end of its tokens a session is served while the provider does not answer.
    pub max_stale: Duration,
    /// The longest that one call of [`Renew::renew`] may take: all of its requests to the provider, each of `oidc.timeout`.
    pub renewal_timeout: Duration,
    /// The longest that the store may take for one operation.
    pub store_timeout: Duration,
    /// `cache.near_max_entries`: the most sessions that this process keeps, and 4 KiB for each.
    pub near_max_entries: usize,
    /// `cache.max_stale`: how long a session that this process keeps is served while the store does not answer.
    pub store_max_stale: Duration,
}

/// Why it is not known whether there is a session, or why there can be none.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// The store does not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The tokens ended more than `login.max_stale` ago, and the provider does not renew them.
    #[error("the identity provider does not renew the session: {0}")]
    ProviderDown(String),
    /// A mistake in elastauth, or no randomness.
    #[error("{0}")]
    Internal(String),
}

impl From<WriteError> for SessionError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => Self::Store(error),
            WriteError::Internal(why) => Self::Internal(why),
        }
    }
}

/// A finished login.
pub struct NewSession {
    /// The host of the cookie. At any other one the session does not exist.
    pub host: String,
    /// The person.
    pub identity: Identity,
    /// The provider's own name of the session: `sid`.
    pub sid: Option<String>,
    /// The `iat` of the ID token, in milliseconds: a logout of this second or later ends the session.
    pub signed_in: Millis,
    /// The ID token, for a logout at the provider.
    pub id_token: SecretString,
    /// Without one the session ends with its tokens.
    pub refresh_token: Option<SecretString>,
    /// How long the tokens are good from now on.
    pub lifetime: Duration,
}

/// A session that was ended.
pub struct EndedSession {
    /// Whose it was.
    pub owner: Owner,
    /// The name of the Elasticsearch user.
    pub username: Username,
    /// The last ID token, for `id_token_hint`.
    pub id_token: SecretString,
}

/// How often attempts to renew tokens ended so, since the start of the process.
#[derive(Debug, Default)]
pub struct Refreshes {
    /// There were new tokens.
    pub renewed: AtomicU64,
    /// The provider refused, which ended the session.
    pub refused: AtomicU64,
    /// The provider could not be asked.
    pub not_sent: AtomicU64,
    /// The provider gave no answer, or one that makes no sense.
    pub unanswered: AtomicU64,
    /// The store did not answer.
    pub store_failed: AtomicU64,
}

/// How many outcomes of attempts to renew tokens are counted.
pub const REFRESHES: usize = 5;

impl Refreshes {
    /// The counts by the names of the outcomes, as metrics have them.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); REFRESHES] {
        let Self { renewed, refused, not_sent, unanswered, store_failed } = self;
        [
            ("renewed", renewed),
            ("refused", refused),
            ("not_sent", not_sent),
            ("unanswered", unanswered),
            ("store_failed", store_failed),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// All sessions. A clone is another handle to the same ones.
pub struct Sessions<S, R, C> {
    shared: Arc<Shared<S, R, C>>,
    runs: SingleFlight<(), Ended>,
    background: TaskTracker,
}

impl<S, R, C> Clone for Sessions<S, R, C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), runs: self.runs.clone(), background: self.background.clone() }
    }
}

struct Shared<S, R, C> {
    store: SessionStore<S>,
    renew: R,
    prepare: Box<dyn Fn(&Identity) -> C + Send + Sync>,
    near: NearSessions<C>,
    provider: ProviderCondition,
    settings: Settings,
    times: Times,
    refreshes: Refreshes,
}

/// What a look into the store gave.
enum Loaded<C> {
    Read(Arc<LiveSession<C>>),
    /// The store did not answer, and this is what it had before.
    Suspect(Arc<LiveSession<C>>, StoreError),
}

/// The markers of a session, and what had been reported before they were read.
struct Markings {
    keys: MarkerKeys,
    versions: [ReadVersion; 2],
    found: [Marking; 2],
}

impl<S: Store, R: Renew, C: Clone + Send + Sync + 'static> Sessions<S, R, C> {
    /// Over a store to which others write as well, and of whose changes `invalidations` is told. `prepare` makes of an identity what
    /// every request of the session needs; it is cloned where a session is read again.
    pub fn new(
        store: S,
        seal: Seal,
        invalidations: Arc<Invalidations>,
        renew: R,
        settings: Settings,
        prepare: impl Fn(&Identity) -> C + Send + Sync + 'static,
    ) -> Self {
        let times = Times { renewal: settings.renewal_timeout, store: settings.store_timeout };
        let lives = Lives { lifetime: settings.lifetime, idle: settings.idle_timeout, lease: times.lease() };
        let store = TimedStore::new(store, settings.store_timeout);
        let background = TaskTracker::new();
        let shared = Shared {
            store: SessionStore::new(store, seal, invalidations, lives),
            renew,
            prepare: Box::new(prepare),
            near: NearSessions::new(settings.near_max_entries, settings.store_max_stale),
            provider: ProviderCondition::default(),
            settings,
            times,
            refreshes: Refreshes::default(),
        };
        Self { shared: Arc::new(shared), runs: SingleFlight::new(background.clone()), background }
    }

    /// The session, if this process knows it and it may be served without a question. Waits for nothing. What is due for the session
    /// is begun in the background.
    #[must_use]
    pub fn recall(&self, digest: &SessionDigest, now: SystemTime) -> Option<Arc<LiveSession<C>>> {
        let Shared { near, store, provider, settings, .. } = &*self.shared;
        let boot = BootTime::now();
        let live = near.fresh(digest, store.invalidations(), boot)?;
        match live.standing(now, settings.max_stale) {
            Standing::Good => {}
            Standing::Stale if provider.is_slow() => {}
            Standing::Stale | Standing::Late | Standing::Over => return None,
        }
        self.maintain(digest, &live, now, boot);
        Some(live)
    }

    /// The session, after a look into the store; none where it has ended or there never was one. Where its tokens have ended, it
    /// waits for new ones. May be cancelled at any time: an attempt to renew tokens goes on.
    pub async fn find(
        &self,
        digest: &SessionDigest,
        now: SystemTime,
    ) -> Result<Option<Arc<LiveSession<C>>>, SessionError> {
        let (shared, key) = (&self.shared, digest.key());
        let max_stale = shared.settings.max_stale;
        let live = match shared.load(digest, &key).await? {
            None => return Ok(None),
            Some(Loaded::Read(live)) => live,
            Some(Loaded::Suspect(live, error)) => {
                return match live.standing(now, max_stale) {
                    Standing::Good | Standing::Stale => {
                        tracing::debug!(cacheKey = key.as_str(), %error, "Served although the cache does not answer");
                        Ok(Some(live))
                    }
                    Standing::Late => Err(error.into()),
                    Standing::Over => Ok(None),
                };
            }
        };
        let standing = live.standing(now, max_stale);
        match standing {
            Standing::Good => {
                self.maintain(digest, &live, now, BootTime::now());
                return Ok(Some(live));
            }
            Standing::Stale if shared.provider.is_slow() => {
                self.maintain(digest, &live, now, BootTime::now());
                return Ok(Some(live));
            }
            Standing::Stale | Standing::Late => {}
            Standing::Over => {
                shared.drop_ended(digest, &key, &live.bytes, &live.username, "its time is over").await;
                return Ok(None);
            }
        }
        let stale = standing == Standing::Stale;
        if !stale && !shared.provider.may_ask() {
            return Err(SessionError::ProviderDown(shared.provider.why()));
        }
        let renewal = self.renew(&key);
        let ended = if stale { tokio::time::timeout(PROMPT, renewal).await.ok() } else { Some(renewal.await) };
        let error = match ended {
            None => {
                shared.provider.note_wait();
                return Ok(Some(live));
            }
            Some(Ended { outcome: Outcome::Ended | Outcome::Refused, .. }) => return Ok(None),
            Some(Ended { outcome: Outcome::Renewed | Outcome::Fresh, .. }) => {
                return match shared.load(digest, &key).await? {
                    None => Ok(None),
                    Some(Loaded::Read(live) | Loaded::Suspect(live, _)) => match live.standing(now, max_stale) {
                        Standing::Good | Standing::Stale => Ok(Some(live)),
                        Standing::Late => Err(SessionError::ProviderDown("its tokens have ended already".into())),
                        Standing::Over => Ok(None),
                    },
                };
            }
            Some(Ended { outcome: Outcome::NotSent | Outcome::Unanswered, why }) => SessionError::ProviderDown(why),
            Some(Ended { outcome: Outcome::StoreFailed, why }) => StoreError::Unavailable(why).into(),
        };
        if stale { Ok(Some(live)) } else { Err(error) }
    }

    /// Begins a session: one write, and an id that nobody had before.
    pub async fn begin(&self, new: NewSession) -> Result<SessionId, SessionError> {
        let id = SessionId::generate().map_err(|error| SessionError::Internal(error.to_string()))?;
        let now = wall_clock();
        let born = unix_millis(now);
        let NewSession { host, mut identity, sid, signed_in, id_token, refresh_token, lifetime } = new;
        identity.as_of = AsOf::At(identity.as_of.or(born));
        let session = Session {
            identity,
            sid,
            signed_in,
            born,
            id_token,
            refresh_token,
            received: born,
            lifetime,
            generation: 0,
            claim: None,
            life: Duration::ZERO,
            unknown: serde_json::Map::new(),
        };
        if self.shared.store.create(&id.digest_at(&host).key(), session, now).await? {
            Ok(id)
        } else {
            Err(SessionError::Internal("two random numbers were the same".into()))
        }
    }

    /// Ends a session, whatever refresh is on its way; answers what there was to end.
    pub async fn end(&self, digest: &SessionDigest) -> Result<Option<EndedSession>, SessionError> {
        let (shared, key) = (&self.shared, digest.key());
        shared.near.remove(digest);
        let (mut seen, mut error) = (None, None);
        for _ in 0..TRIES {
            let (bytes, session) = match shared.store.read_any(&key).await {
                Ok(Some(read)) => read,
                // it was not there, or the last try has removed it without an answer
                Ok(None) => return Ok(seen),
                Err(failed) => {
                    error = Some(failed);
                    continue;
                }
            };
            let ended = session.map(|Session { identity, id_token, .. }| {
                let Identity { owner, username, .. } = identity;
                EndedSession { owner, username, id_token }
            });
            match shared.store.remove(&key, &bytes).await {
                Ok(true) => {
                    let user = ended.as_ref().map(|ended| ended.username.as_str());
                    tracing::info!(user, reason = "logout", "Session ended");
                    return Ok(ended);
                }
                Ok(false) => {}
                Err(failed) => {
                    seen = ended;
                    error = Some(failed);
                }
            }
        }
        let changes = || StoreError::Unavailable("the session changes all the time".into());
        Err(error.unwrap_or_else(changes).into())
    }

    /// Ends the sessions that a verified logout token of the provider is about, at all replicas.
    pub async fn logged_out(&self, notice: &LogoutNotice) -> Result<(), SessionError> {
        self.shared.store.mark(&notice.key(), notice.marker()).await?;
        Ok(())
    }

    /// How many sessions this process keeps.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.shared.near.len()
    }

    /// How attempts to renew tokens ended.
    #[must_use]
    pub fn refreshes(&self) -> &Refreshes {
        &self.shared.refreshes
    }

    /// Drops what this process keeps and will not serve any more.
    pub fn sweep(&self) {
        self.shared.near.sweep(self.shared.store.invalidations());
    }

    /// Resolves when no attempt is under way, for the end of the process: tokens that were received are stored.
    pub async fn idle(&self) {
        if !self.background.is_empty() {
            tracing::info!(tasks = self.background.len(), "Waiting for sessions that are being refreshed");
        }
        // what is begun meanwhile counts, too
        self.background.close();
        self.background.wait().await;
    }

    /// Begins what is due for a session that is used.
    fn maintain(&self, digest: &SessionDigest, live: &Arc<LiveSession<C>>, now: SystemTime, boot: BootTime) {
        let Some(due) = live.due(now, boot, &self.shared.store.lives) else { return };
        let (sessions, key) = (self.clone(), digest.key());
        if due.renewal && self.shared.provider.may_ask() {
            // the writes of the attempt extend the session's life too
            self.background.spawn(async move { sessions.renew(&key).await });
        } else if let Some(life) = due.extension {
            let live = Arc::clone(live);
            self.background.spawn(async move {
                if let Err(error) = sessions.shared.store.extend(&key, &live.bytes, life).await {
                    tracing::debug!(cacheKey = key.as_str(), %error, "The use of a session is not noted");
                }
            });
        }
    }

    /// Joins the attempt to renew this session's tokens, or begins one.
    async fn renew(&self, key: &CacheKey) -> Ended {
        let (shared, name) = (Arc::clone(&self.shared), key.clone());
        let run = move |_waited| async move { shared.renew(&name).await };
        let lost = |_| Ended { outcome: Outcome::Unanswered, why: "the task was lost".into() };
        self.runs.join(key, (), run).await.unwrap_or_else(lost)
    }
}

impl<S: Store, R: Renew, C: Clone> Shared<S, R, C> {
    /// Looks into the store, and keeps what it finds.
    async fn load(&self, digest: &SessionDigest, key: &CacheKey) -> Result<Option<Loaded<C>>, SessionError> {
        let Self { near, store, .. } = self;
        let reports = store.invalidations();
        let known = near.known(digest);
        let suspect = known.clone().filter(|live| near.may_serve(live, reports));
        let (stored, version, markings) = match self.read(key, known.as_deref(), suspect.is_some()).await {
            Ok(Some(read)) => read,
            Ok(None) => {
                near.remove(digest);
                return Ok(None);
            }
            Err(error) => {
                let suspect = suspect.filter(|live| near.may_serve(live, reports));
                return match suspect {
                    Some(live) => Ok(Some(Loaded::Suspect(live, error))),
                    None => Err(error.into()),
                };
            }
        };
        if markings.found.into_iter().any(|marking| ends(marking, &stored.session)) {
            let username = stored.session.identity.username.clone();
            self.drop_ended(digest, key, &stored.bytes, &username, "logout at the provider").await;
            return Ok(None);
        }
        let [subject, session] = markings.versions;
        let caller = match known.filter(|known| known.bytes == stored.bytes) {
            Some(known) => known.caller.clone(),
            None => (self.prepare)(&stored.session.identity),
        };
        let live = LiveSession::new(stored, markings.keys, [version, subject, session], &store.lives, caller);
        let live = Arc::new(live);
        near.insert(*digest, Arc::clone(&live));
        Ok(Some(Loaded::Read(live)))
    }

    /// Reads a session and its markers: at the same time where it is known which these are.
    async fn read(
        &self,
        key: &CacheKey,
        known: Option<&LiveSession<C>>,
        soon: bool,
    ) -> Result<Option<(Stored, ReadVersion, Markings)>, StoreError> {
        let version = self.store.invalidations().read_version(key);
        let read = self.store.read(key, soon);
        let (stored, markings) = match known {
            None => (read.await?, None),
            Some(known) => {
                let (stored, markings) = tokio::join!(read, self.markings(known.markers.clone(), soon));
                (stored?, Some(markings))
            }
        };
        let Some(stored) = stored else { return Ok(None) };
        let keys = MarkerKeys::of(&stored.session);
        let markings = match markings.transpose()?.filter(|read| read.keys == keys) {
            Some(markings) => markings,
            None => self.markings(keys, soon).await?,
        };
        Ok(Some((stored, version, markings)))
    }

    async fn markings(&self, keys: MarkerKeys, soon: bool) -> Result<Markings, StoreError> {
        let reports = self.store.invalidations();
        let subject = reports.read_version(&keys.subject);
        let session = keys.session.as_ref().map_or(subject, |key| reports.read_version(key));
        let of_session = async {
            match &keys.session {
                Some(key) => self.store.marking(key, soon).await,
                None => Ok(Marking::Nothing),
            }
        };
        let (of_subject, of_session) = tokio::join!(self.store.marking(&keys.subject, soon), of_session);
        let found = [of_subject?, of_session?];
        Ok(Markings { keys, versions: [subject, session], found })
    }

    /// Deletes the record of a session that has ended. Where the store does not do it, the session stays ended for the same reason.
    async fn drop_ended(
        &self,
        digest: &SessionDigest,
        key: &CacheKey,
        bytes: &[u8],
        username: &Username,
        reason: &'static str,
    ) {
        self.near.remove(digest);
        match self.store.remove(key, bytes).await {
            Ok(true) => tracing::info!(user = username.as_str(), reason, "Session ended"),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(cacheKey = key.as_str(), %error, "The record of an ended session is not deleted");
            }
        }
    }

    /// One attempt to renew the tokens, to its end.
    async fn renew(&self, key: &CacheKey) -> Ended {
        let span = spans::span!("refresh session", elastauth.outcome = Empty);
        let run = RefreshRun::new(&self.store, &self.renew, self.times, key).run();
        let ended = run.instrument(span.clone()).await;
        let Ended { outcome, why } = &ended;
        self.provider.note(*outcome, why);
        let Refreshes { renewed, refused, not_sent, unanswered, store_failed } = &self.refreshes;
        let (name, counter) = match outcome {
            Outcome::Renewed => ("renewed", Some(renewed)),
            Outcome::Fresh => ("fresh", None),
            Outcome::Ended => ("ended", None),
            Outcome::Refused => ("refused", Some(refused)),
            Outcome::NotSent => ("not_sent", Some(not_sent)),
            Outcome::Unanswered => ("unanswered", Some(unanswered)),
            Outcome::StoreFailed => ("store_failed", Some(store_failed)),
        };
        span.record("elastauth.outcome", name);
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        match outcome {
            Outcome::Renewed | Outcome::Fresh | Outcome::Ended => {
                tracing::debug!(cacheKey = key.as_str(), outcome = name, "Session refresh");
            }
            Outcome::Refused => {
                tracing::info!(cacheKey = key.as_str(), reason = "refresh refused", error = why, "Session ended");
            }
            Outcome::NotSent | Outcome::Unanswered | Outcome::StoreFailed => tracing::warn!(
                cacheKey = key.as_str(),
                outcome = name,
                error = why,
                "A session could not be refreshed. It is served for up to login.max_stale, and it is tried again"
            ),
        }
        ended
    }
}

/// Whether a marker ends this session.
fn ends(marking: Marking, session: &Session) -> bool {
    match marking {
        Marking::Nothing => false,
        Marking::Marker(marker) => marker.ends(session.signed_in),
        Marking::Unreadable(age) => {
            let since = wall_clock().checked_sub(age).map_or(0, unix_millis);
            session.born <= since
        }
    }
}

#[cfg(test)]
mod tests;

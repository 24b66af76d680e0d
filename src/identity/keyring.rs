//! Verification keys, kept in memory.
//!
//! Readers take what is there, without a lock, and never wait for a fetch while a set that is young enough is there. A
//! fetch runs in a task of its own, one at a time, so that a caller that goes away does not end it for the others.
//!
//! One clock says when no fetch may start: for [`Settings::cooldown`] after a fetch that failed, and after one for an unknown key id.
//! Made-up key ids therefore cost the provider one fetch per cool-down, and a new key is known within one, flood or not.
//!
//! A key that stays in the set stays the same `Arc`; one that leaves it is marked as withdrawn, which ends the
//! verifications that are kept ([`Validity::holds`](super::Validity::holds)).

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::KeySource;
use super::error::KeyError;
use super::jwks::{self, Key};
use crate::clock::jittered;

/// How long keys are trusted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.keys_refresh`: age by which the set is fetched again, whether it is used or not. Default 5 min.
    pub refresh: Duration,
    /// `oidc.keys_max_stale`: age up to which an old set serves while the provider is down. Default 24 h.
    pub max_stale: Duration,
    /// `oidc.keys_cooldown`: how long no fetch starts after one for an unknown key id, or after a failure. Default 10 s.
    pub cooldown: Duration,
}

/// The keys of one provider.
#[derive(Debug)]
pub struct Keyring<K> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K> {
    source: K,
    settings: Settings,
    algorithms: Vec<Algorithm>,
    /// Swapped as a whole.
    set: ArcSwapOption<Set>,
    /// Never held across an await.
    fetches: Mutex<Fetches>,
    /// Places of callers that wait for an unknown key id.
    unknown: Semaphore,
}

#[derive(Debug)]
struct Set {
    keys: Vec<Arc<Key>>,
    /// When the fetch began: the set is at least as new as this.
    asked: Instant,
}

#[derive(Debug, Default)]
struct Fetches {
    /// The task of the running fetch holds the sender: it is over when that is gone, panic or not.
    running: Option<watch::Receiver<()>>,
    /// The last fetch, unless it succeeded.
    failure: Option<Failure>,
    /// The one clock: when the last fetch ended, if it failed or was for an unknown key id. A set that was fetched for its age
    /// starts none, so that a key which comes right after it is found at once.
    rests_since: Option<Instant>,
}

/// Why the set is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// There is none, or it is old.
    Age,
    /// None of its keys has the id that a token names.
    UnknownKey,
}

#[derive(Debug)]
struct Failure {
    asked: Instant,
    why: Arc<str>,
}

/// Tokens with unknown key ids that wait for a fetch at once. Any client can make them up, and each that waits is one of the
/// requests in flight: a quarter of the default of `grpc.max_in_flight`.
const MAX_UNKNOWN: usize = 1024;
/// The part of `oidc.keys_refresh` after which keys are fetched in the background: ahead of the age at which a request would start a
/// fetch, and not by all replicas at once.
const EARLY: RangeInclusive<f64> = 0.8..=0.95;

/// Between two rounds of the watch, however the times are set.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

impl<K: KeySource> Keyring<K> {
    /// A ring without keys: the first use fetches them, so that start-up does not need the provider. Keys
    /// that fit none of the `algorithms` are left out.
    pub fn new(source: K, settings: Settings, algorithms: &[Algorithm]) -> Self {
        let shared = Shared {
            source,
            settings,
            algorithms: algorithms.to_vec(),
            set: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            unknown: Semaphore::new(MAX_UNKNOWN),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The provider that the keys come from.
    pub(super) fn source(&self) -> &K {
        &self.shared.source
    }

    /// The key for a token's `kid` and algorithm.
    ///
    /// Waits for a fetch only when no set is young enough, or when none of its keys has that id.
    pub async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, KeyError> {
        let called = Instant::now();
        loop {
            let set = self.shared.usable();
            if let Some(set) = &set {
                if set.asked.elapsed() >= self.shared.settings.refresh {
                    self.refresh();
                }
                match jwks::choose(&set.keys, kid, algorithm) {
                    // an answer older than the question proves nothing: the key may be new
                    Err(KeyError::UnknownKey) if set.asked < called => {}
                    found => return found,
                }
            }
            // Only while there is a set: without one, no caller of this issuer can be served, so that none is kept out by those that
            // wait.
            let _place = match &set {
                Some(_) => Some(self.shared.unknown.try_acquire().map_err(|_| {
                    KeyError::Unavailable("too many tokens with unknown key ids wait for them to be fetched".into())
                })?),
                None => None,
            };
            self.newer_than(set.as_deref(), called).await?;
        }
    }

    /// Whether keys are in hand that may still be used.
    fn known(&self) -> bool {
        self.shared.usable().is_some_and(|set| !set.keys.is_empty())
    }

    /// How old the set is; none before the first one.
    pub(super) fn age(&self) -> Option<Duration> {
        self.shared.set.load().as_ref().map(|set| set.asked.elapsed())
    }

    /// Whether keys are in hand or can be had now; tries at most once per cool-down.
    pub async fn ready(&self) -> Result<(), KeyError> {
        if self.known() {
            return Ok(());
        }
        let seen = self.shared.usable();
        self.newer_than(seen.as_deref(), Instant::now()).await?;
        if self.known() {
            return Ok(());
        }
        let failure = self.shared.fetches.lock().failure.as_ref().map(|failure| failure.why.clone());
        Err(KeyError::Unavailable(failure.unwrap_or_else(|| "the provider publishes no usable key".into())))
    }

    /// Fetches the set now and then, ahead of [`Settings::refresh`], for as long as the process lives: so that no request
    /// waits for the provider, and that a key which has left the set is noticed even where verifications are kept and
    /// no request needs a key. To be run as a task.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static + use<K> {
        let ring = self.clone();
        async move {
            loop {
                ring.renew().await;
                tokio::time::sleep(ring.pause().max(SHORTEST_PAUSE)).await;
            }
        }
    }

    /// One fetch, or the end of the one that runs, unless the cool-down forbids it.
    async fn renew(&self) {
        let mut running = {
            let mut fetches = self.shared.fetches.lock();
            match fetches.running() {
                Some(running) => running,
                None if self.rests(&fetches) => return,
                None => self.start(&mut fetches, Reason::Age),
            }
        };
        // nothing is ever sent: this ends with the sender
        let _ = running.changed().await;
    }

    /// How long the watch waits: to the end of a failure's cool-down, else until the set is nearly as old as it may get, whatever
    /// it was fetched for.
    fn pause(&self) -> Duration {
        let Settings { refresh, cooldown, .. } = self.shared.settings;
        match self.age().filter(|_| self.shared.fetches.lock().failure.is_none()) {
            Some(age) => jittered(refresh, EARLY).saturating_sub(age),
            None => cooldown,
        }
    }

    /// Starts a fetch for a set that is old, unless one runs or the cool-down forbids it. The caller does not wait for it.
    fn refresh(&self) {
        let mut fetches = self.shared.fetches.lock();
        let old = self.shared.usable().is_none_or(|set| set.asked.elapsed() >= self.shared.settings.refresh);
        if old && fetches.running().is_none() && !self.rests(&fetches) {
            self.start(&mut fetches, Reason::Age);
        }
    }

    /// Returns when a set other than `seen` may be there: at once if it is, after the running fetch or one
    /// of our own otherwise. Fails when the cool-down forbids to ask.
    async fn newer_than(&self, seen: Option<&Set>, called: Instant) -> Result<(), KeyError> {
        let mut running = {
            let mut fetches = self.shared.fetches.lock();
            if let Some(set) = self.shared.usable()
                && seen.is_none_or(|seen| seen.asked < set.asked)
            {
                return Ok(());
            }
            if let Some(running) = fetches.running() {
                running
            } else {
                if self.rests(&fetches) || fetches.failure.as_ref().is_some_and(|failure| failure.asked >= called) {
                    return Err(match (&fetches.failure, seen) {
                        (Some(failure), _) => KeyError::Unavailable(failure.why.clone()),
                        (None, Some(_)) => KeyError::UnknownKey,
                        (None, None) => KeyError::Unavailable("they are too old, and were asked for just now".into()),
                    });
                }
                let reason = if seen.is_some() { Reason::UnknownKey } else { Reason::Age };
                self.start(&mut fetches, reason)
            }
        };
        // nothing is ever sent: this ends with the sender
        let _ = running.changed().await;
        Ok(())
    }

    /// Whether the cool-down forbids to ask.
    fn rests(&self, fetches: &Fetches) -> bool {
        fetches.rests_since.is_some_and(|since| since.elapsed() < self.shared.settings.cooldown)
    }

    fn start(&self, fetches: &mut Fetches, reason: Reason) -> watch::Receiver<()> {
        let (done, running) = watch::channel(());
        let asked = Instant::now();
        // both stand if the task ends without saying anything
        fetches.failure = Some(Failure { asked, why: "the fetch was abandoned".into() });
        fetches.rests_since = Some(asked);
        fetches.running = Some(running.clone());
        let shared = self.shared.clone();
        tokio::spawn(async move {
            shared.fetch(asked, reason).await;
            drop(done);
        });
        running
    }
}

impl<K> Clone for Keyring<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: KeySource> Shared<K> {
    async fn fetch(&self, asked: Instant, reason: Reason) {
        let outcome = match self.source.fetch().await {
            Ok(document) => jwks::parse(&document, &self.algorithms).map_err(Arc::from),
            Err(error) => Err(Arc::from(error.to_string())),
        };
        let mut fetches = self.fetches.lock();
        fetches.rests_since = (outcome.is_err() || reason == Reason::UnknownKey).then(Instant::now);
        match outcome {
            Ok(parsed) => {
                if let Some(first) = parsed.bad.first() {
                    tracing::warn!(skipped = parsed.bad.len(), usable = parsed.keys.len(), first, "Bad keys skipped");
                }
                if parsed.keys.is_empty() {
                    // Believed all the same: a provider may withdraw all its keys, and then nothing verifies.
                    tracing::warn!("The provider publishes no usable key");
                }
                fetches.failure = None;
                self.replace(parsed.keys, asked);
            }
            Err(why) => {
                tracing::warn!(error = %why, "Keys not fetched");
                fetches.failure = Some(Failure { asked, why });
            }
        }
    }

    /// Only one fetch runs at a time, so no other one replaces the set meanwhile.
    fn replace(&self, mut keys: Vec<Arc<Key>>, asked: Instant) {
        let old = self.set.load_full();
        let before = old.as_ref().map_or(&[][..], |set| &set.keys);
        for key in &mut keys {
            if let Some(same) = before.iter().find(|old| old.equals(key)) {
                *key = Arc::clone(same);
            }
        }
        let set = Arc::new(Set { keys, asked });
        self.set.store(Some(Arc::clone(&set)));
        // afterwards, so that no request takes a key that is withdrawn already
        for gone in before.iter().filter(|old| !set.keys.iter().any(|key| Arc::ptr_eq(key, old))) {
            gone.withdraw();
        }
    }

    /// The set, unless it is too old.
    fn usable(&self) -> Option<Arc<Set>> {
        self.set.load_full().filter(|set| set.asked.elapsed() < self.settings.max_stale)
    }
}

impl Fetches {
    fn running(&self) -> Option<watch::Receiver<()>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }
}

#[cfg(test)]
mod tests;

//! What readers and fetches of one keyring share.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::Settings;
use crate::identity::KeySource;
use crate::identity::jwks::{self, Key};

#[derive(Debug)]
pub(super) struct Shared<K> {
    pub(super) source: K,
    pub(super) settings: Settings,
    pub(super) algorithms: Vec<Algorithm>,
    /// Swapped as a whole.
    pub(super) set: ArcSwapOption<Set>,
    /// Never held across an await.
    pub(super) fetches: Mutex<Fetches>,
    /// Places of callers that wait for an unknown key id.
    pub(super) unknown: Semaphore,
}

#[derive(Debug)]
pub(super) struct Set {
    pub(super) keys: Vec<Arc<Key>>,
    /// When the fetch began: the set is at least as new as this.
    pub(super) asked: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Fetches {
    /// The task of the running fetch holds the sender: it is over when that is gone, panic or not.
    pub(super) running: Option<watch::Receiver<()>>,
    /// The last fetch, unless it succeeded.
    pub(super) failure: Option<Failure>,
    /// The one clock: when the last fetch ended, if it failed or was for an unknown key id. A set that was fetched for its age
    /// starts none, so that a key which comes right after it is found at once.
    pub(super) rests_since: Option<Instant>,
}

/// Why the set is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is none, or it is old.
    Age,
    /// None of its keys has the id that a token names.
    UnknownKey,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) asked: Instant,
    pub(super) why: Arc<str>,
}

impl<K: KeySource> Shared<K> {
    pub(super) async fn fetch(&self, asked: Instant, reason: Reason) {
        let outcome = match self.source.fetch().await {
            Ok(document) => jwks::parse(&document, &self.algorithms).map_err(Arc::from),
            Err(error) => Err(Arc::from(error.to_string())),
        };
        let mut fetches = self.fetches();
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

    /// Only one fetch runs at a time, so nobody else replaces the set meanwhile.
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
        // afterwards, so that nobody takes a key that is withdrawn already
        for gone in before.iter().filter(|old| !set.keys.iter().any(|key| Arc::ptr_eq(key, old))) {
            gone.withdraw();
        }
    }

    /// The set, unless it is too old.
    pub(super) fn usable(&self) -> Option<Arc<Set>> {
        self.set.load_full().filter(|set| set.asked.elapsed() < self.settings.max_stale)
    }

    pub(super) fn fetches(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock()
    }
}

impl Fetches {
    pub(super) fn running(&self) -> Option<watch::Receiver<()>> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }
}

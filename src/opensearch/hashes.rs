//! Who hashes: this process, until OpenSearch turns out to want another algorithm. It takes any text for a hash, and says
//! nothing (`plugins.security.password.hashing.algorithm`); so the first user is tried.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;

use super::Hashing;
use super::api::Secret;
use crate::cluster_client::hash::{Hasher, Version};
use crate::credentials::{Password, WriteError};

const UNTRIED: u8 = 0;
const PROVED: u8 = 1;
const REFUSED: u8 = 2;

/// The hasher, and what is known of its hashes.
pub(super) struct Hashes {
    hasher: Option<Hasher>,
    known: AtomicU8,
}

impl Hashes {
    pub(super) fn new(hashing: Hashing) -> Self {
        let hasher = match hashing {
            Hashing::Here { cost, cores } => Some(Hasher::new(cost, Version::TwoY, cores)),
            Hashing::There => None,
        };
        Self { hasher, known: AtomicU8::new(UNTRIED) }
    }

    /// What to send of the password, made before `ends`.
    pub(super) async fn secret(&self, password: Option<&Password>, ends: Instant) -> Result<Secret, WriteError> {
        let Some(password) = password else { return Ok(Secret::Kept) };
        let Some(hasher) = self.hasher.as_ref().filter(|_| self.known.load(Ordering::Relaxed) != REFUSED) else {
            return Ok(Secret::Password(password.clone()));
        };
        let hashed = tokio::time::timeout_at(ends, hasher.hash(password)).await;
        let hashed = hashed.map_err(|_| WriteError::Unavailable("too many passwords wait to be hashed".into()))?;
        hashed.map(Secret::Hash).map_err(|error| WriteError::Unavailable(error.to_string()))
    }

    /// Whether a login has to show that what was sent works.
    pub(super) fn untried(&self, sent: &Secret) -> bool {
        matches!(sent, Secret::Hash(_)) && self.known.load(Ordering::Relaxed) == UNTRIED
    }

    /// A login with a hash of ours was accepted.
    pub(super) fn prove(&self) {
        self.known.store(PROVED, Ordering::Relaxed);
    }

    /// A hash of ours was taken and the login rejected, and with the password instead it was accepted.
    pub(super) fn refuse(&self) {
        if self.known.swap(REFUSED, Ordering::Relaxed) != REFUSED {
            tracing::error!(
                "OpenSearch took a bcrypt hash, but not its password: it hashes passwords itself from now on. Set \
                 elasticsearch.opensearch_hash to opensearch"
            );
        }
    }
}

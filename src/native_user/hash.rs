//! Hashes passwords with bcrypt in this process instead of in the cluster, never on the threads that serve requests.

use std::sync::Arc;

/// The prefix of a hash: `$2a$` for Elasticsearch, `$2y$` for OpenSearch.
pub(crate) use bcrypt::Version;
use ring::rand::SecureRandom;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::credentials::Password;

/// Why a password could not be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HashError {
    /// bcrypt would ignore what comes after the first 72 bytes.
    #[error("the password is longer than bcrypt can hold")]
    TooLong,
    /// The operating system had no random numbers, or the library failed.
    #[error("the password could not be hashed: {0}")]
    Failed(String),
    /// The hash was tried on the password and did not fit. OpenSearch accepts any text for a hash, and the user could not log
    /// in.
    #[error("the hash does not fit the password: it is not sent")]
    Wrong,
}

/// Hashes a few passwords at the same time, on threads for blocking work.
pub(super) struct Hasher {
    cost: u32,
    version: Version,
    permits: Arc<Semaphore>,
}

impl Hasher {
    /// `cost` is the binary logarithm of the number of rounds, 4 to 31; as many passwords are hashed at once as half of
    /// `cores`.
    pub(super) fn new(cost: u32, version: Version, cores: usize) -> Self {
        Self { cost, version, permits: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }

    /// A hash with a fresh salt, which was tried on the password.
    pub(super) async fn hash(&self, password: &Password) -> Result<SecretString, HashError> {
        let failed = |error: &dyn std::fmt::Display| HashError::Failed(error.to_string());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| failed(&error))?;
        let (password, cost, version) = (password.clone(), self.cost, self.version.clone());
        let hashed = tokio::task::spawn_blocking(move || {
            // held by the work itself, which goes on when the caller no longer waits for it
            let _permit = permit;
            verified(&password, cost, version)
        });
        hashed.await.map_err(|error| failed(&error))?
    }
}

fn verified(password: &Password, cost: u32, version: Version) -> Result<SecretString, HashError> {
    let mut salt = [0_u8; 16];
    let failed = |error: &dyn std::fmt::Display| HashError::Failed(error.to_string());
    ring::rand::SystemRandom::new().fill(&mut salt).map_err(|error| failed(&error))?;
    let parts = bcrypt::non_truncating_hash_with_salt(password.expose(), cost, salt);
    let parts = parts.map_err(|error| match error {
        bcrypt::BcryptError::Truncation(_) => HashError::TooLong,
        other => failed(&other),
    })?;
    let hash = SecretString::from(parts.format_for_version(version));
    fits(password, hash.expose_secret()).then_some(hash).ok_or(HashError::Wrong)
}

fn fits(password: &Password, hash: &str) -> bool {
    bcrypt::non_truncating_verify(password.expose(), hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement 37: these hashes were made by libxcrypt.
    #[test]
    fn hashes_of_other_implementations_fit() {
        let password = Password::known("test-only-Passw0rd".into());
        for hash in [
            "$2b$04$nRfu6aRfyz6JaSgq8OfVGOuQrvZBwJ72wvhYXtVa.6TlN6jvGGMgC",
            "$2y$04$nRfu6aRfyz6JaSgq8OfVGOuQrvZBwJ72wvhYXtVa.6TlN6jvGGMgC",
            "$2a$04$nRfu6aRfyz6JaSgq8OfVGOuQrvZBwJ72wvhYXtVa.6TlN6jvGGMgC",
        ] {
            assert!(fits(&password, hash), "{hash}");
        }
    }

    #[test]
    fn garbage_fits_nothing() {
        let password = Password::known("test-only-Passw0rd".into());
        for hash in [
            "",
            "garbage",
            "$2y$04$",
            "$2b$04$nRfu6aRfyz6JaSgq8OfVGOuQrvZBwJ72wvhYXtVa.6TlN6jvGGMgD",
            "$2b$99$nRfu6aRfyz6JaSgq8OfVGOuQrvZBwJ72wvhYXtVa.6TlN6jvGGMgC",
        ] {
            assert!(!fits(&password, hash), "{hash}");
        }
    }

    #[tokio::test]
    async fn a_hash_has_its_prefix_and_cost_and_a_salt_of_its_own_and_fits() {
        let (hasher, password) = (Hasher::new(4, Version::TwoY, 1), Password::generate().unwrap());
        let (one, other) = (hasher.hash(&password).await.unwrap(), hasher.hash(&password).await.unwrap());
        assert!(one.expose_secret().starts_with("$2y$04$"));
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(fits(&password, one.expose_secret()));
        assert!(!fits(&Password::generate().unwrap(), one.expose_secret()));
    }

    #[tokio::test]
    async fn a_password_that_would_be_cut_is_refused() {
        let hasher = Hasher::new(4, Version::TwoA, 1);
        assert!(hasher.hash(&Password::known("x".repeat(71))).await.is_ok());
        assert_eq!(hasher.hash(&Password::known("x".repeat(73))).await.unwrap_err(), HashError::TooLong);
    }
}

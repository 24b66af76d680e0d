//! What a write says about the password: nothing, the password itself, or a bcrypt hash of it.

use std::sync::atomic::{AtomicU8, Ordering};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::hash::{Hasher, Version};
use crate::credentials::{Password, WriteError};

/// Where passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// In the cluster: passwords are sent in the clear, under TLS.
    There,
    /// In this process, with bcrypt. Elasticsearch takes such a hash only where
    /// `xpack.security.authc.password_hashing.algorithm` names the same algorithm and cost.
    Here {
        /// The binary logarithm of the number of rounds, 4 to 31. Elasticsearch itself uses 10, OpenSearch 12.
        cost: u32,
        /// The number of cores of the machine; half of them hash at the same time.
        cores: usize,
    },
}

/// The part of a written user that concerns its password.
#[derive(Clone)]
pub(crate) enum PasswordField {
    /// Absent: the user keeps the password that it has.
    Unchanged,
    /// The password in the clear, for the cluster to hash.
    Plain(Password),
    /// A bcrypt hash that was made in this process.
    Hash(SecretString),
}

impl PasswordField {
    pub(crate) fn is_unchanged(&self) -> bool {
        matches!(self, Self::Unchanged)
    }

    pub(crate) fn is_hash(&self) -> bool {
        matches!(self, Self::Hash(_))
    }

    /// Puts it into the body of a write, where a hash has the key `hash_key`.
    pub(crate) fn put_into(&self, body: &mut Value, hash_key: &str) {
        match self {
            Self::Unchanged => {}
            Self::Plain(password) => body["password"] = password.expose().into(),
            Self::Hash(hash) => body[hash_key] = hash.expose_secret().into(),
        }
    }
}

const UNTRIED: u8 = 0;
const ACCEPTED: u8 = 1;
const REJECTED: u8 = 2;

/// Hashes passwords, unless they are hashed in the cluster, until the cluster turns out to want other hashes.
pub(crate) struct PasswordHashing {
    hasher: Option<Hasher>,
    verdict: AtomicU8,
}

impl PasswordHashing {
    /// `version` is the prefix that the cluster itself gives its bcrypt hashes.
    pub(crate) fn new(hashing: Hashing, version: Version) -> Self {
        let hasher = match hashing {
            Hashing::There => None,
            Hashing::Here { cost, cores } => Some(Hasher::new(cost, version, cores)),
        };
        Self { hasher, verdict: AtomicU8::new(UNTRIED) }
    }

    /// What to send for this password; without one, the user keeps its own.
    pub(crate) async fn field(&self, password: Option<&Password>) -> Result<PasswordField, WriteError> {
        let Some(password) = password else { return Ok(PasswordField::Unchanged) };
        match &self.hasher {
            Some(hasher) if self.verdict.load(Ordering::Relaxed) != REJECTED => {
                let hash = hasher.hash(password).await;
                hash.map(PasswordField::Hash).map_err(|error| WriteError::Unavailable(error.to_string()))
            }
            _ => Ok(PasswordField::Plain(password.clone())),
        }
    }

    /// Whether this is a hash, and it is not known yet whether the cluster can use such hashes.
    pub(crate) fn is_untried(&self, field: &PasswordField) -> bool {
        field.is_hash() && self.verdict.load(Ordering::Relaxed) == UNTRIED
    }

    /// The cluster can use the hashes.
    pub(crate) fn accept(&self) {
        self.verdict.store(ACCEPTED, Ordering::Relaxed);
    }

    /// The cluster cannot use the hashes: from now on passwords are sent in the clear. Answers whether that was news. Another
    /// algorithm is never guessed.
    pub(crate) fn reject(&self) -> bool {
        self.verdict.swap(REJECTED, Ordering::Relaxed) != REJECTED
    }
}

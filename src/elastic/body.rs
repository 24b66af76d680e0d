//! What a PUT says: the whole user, and the password or its hash.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::stamp;
use crate::cluster_client::Answer;
use crate::cluster_client::hash::{Hasher, Version};
use crate::credentials::{Password, UserSpec, WriteError};

/// How passwords are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// In the clear, under TLS; Elasticsearch hashes.
    There,
    /// As bcrypt, made here. Algorithm and cost must be those of `xpack.security.authc.password_hashing.algorithm`.
    Here {
        /// The binary logarithm of the rounds; 10 is Elasticsearch's default.
        cost: u32,
        /// Of the machine; half of them hash.
        cores: usize,
    },
}

/// What goes for the password.
#[derive(Clone)]
pub(super) enum Secret {
    /// The one that the user has stays.
    Kept,
    Plain(Password),
    Hash(SecretString),
}

/// Makes hashes until the cluster says that it wants others.
pub(super) struct Hashes {
    hasher: Option<Hasher>,
    unwanted: AtomicBool,
}

impl Hashes {
    pub(super) fn new(hashing: Hashing) -> Self {
        let hasher = match hashing {
            Hashing::There => None,
            Hashing::Here { cost, cores } => Some(Hasher::new(cost, Version::TwoA, cores)),
        };
        Self { hasher, unwanted: AtomicBool::new(false) }
    }

    pub(super) async fn secret(&self, password: Option<&Password>) -> Result<Secret, WriteError> {
        let Some(password) = password else { return Ok(Secret::Kept) };
        match &self.hasher {
            Some(hasher) if !self.unwanted.load(Ordering::Relaxed) => {
                let hash = hasher.hash(password).await;
                hash.map(Secret::Hash).map_err(|error| WriteError::Unavailable(error.to_string()))
            }
            _ => Ok(Secret::Plain(password.clone())),
        }
    }

    /// Whether the cluster refused the hash for what it is. From then on passwords go as they are, for Elasticsearch to hash
    /// by its own setting: another algorithm is never guessed.
    pub(super) fn refused(&self, secret: &Secret, answer: &Answer) -> bool {
        let reason = answer.reason();
        let unwanted = matches!(secret, Secret::Hash(_))
            && answer.status == StatusCode::BAD_REQUEST
            && reason.to_lowercase().contains("password hash");
        if unwanted && !self.unwanted.swap(true, Ordering::Relaxed) {
            tracing::error!(
                reason,
                "elasticsearch.password_hash is not what the cluster is set to: off until the next start, Elasticsearch hashes"
            );
        }
        unwanted
    }
}

/// `roles` and `enabled` are in every body: an absent `enabled` would mean yes all the same.
pub(super) fn put(cluster: &str, store: &str, user: &UserSpec, secret: &Secret) -> Value {
    let mut body = json!({
        "roles": user.roles.iter().collect::<Vec<_>>(),
        "full_name": user.full_name,
        "email": user.email,
        "metadata": stamp::of(cluster, store, user),
        // the look at the user came just before: a disabled one is never written
        "enabled": true,
    });
    match secret {
        Secret::Kept => {}
        Secret::Plain(password) => body["password"] = password.expose().into(),
        Secret::Hash(hash) => body["password_hash"] = hash.expose_secret().into(),
    }
    body
}

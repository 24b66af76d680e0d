//! Verification keys, kept in memory. Readers never wait for a fetch while an old set serves.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::time::Instant;

use super::KeySource;

/// How long keys are trusted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.keys_refresh`: age at which the set is fetched again. Default 5 min.
    pub refresh: Duration,
    /// `oidc.keys_max_stale`: age up to which an old set serves while the provider is down. Default 24 h.
    pub max_stale: Duration,
    /// `oidc.keys_cooldown`: between two fetches for an unknown key id or after a failure. Default 10 s.
    pub cooldown: Duration,
}

/// Why there is no key for a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The set has no key of that id and type.
    #[error("the token's key is not in the key set")]
    Unknown,
    /// The set has several keys and the token does not say which.
    #[error("the token names no key and the key set has several")]
    NoKeyId,
    /// There is no set.
    #[error("the verification keys cannot be had: {0}")]
    Unavailable(String),
}

/// One usable key.
pub struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    kind: Kind,
    decoding: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Key {
    /// For jsonwebtoken.
    #[must_use]
    pub fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// The key decides which algorithms it serves: its type, and its `alg` where it has one (RFC 7517 §4.4).
    fn serves(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
            _ => Kind::Rsa,
        };
        let named = format!("{algorithm:?}");
        self.kind == kind && self.algorithm.as_ref().is_none_or(|own| *own == named || *own == "Ed25519")
    }
}

#[derive(Clone, Default)]
struct Set {
    keys: Arc<[Arc<Key>]>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    failure: String,
}

impl Set {
    fn older_than(&self, age: Duration) -> bool {
        self.fetched.is_none_or(|at| at.elapsed() > age)
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Error> {
        let mut serving = self.keys.iter().filter(|key| key.serves(algorithm));
        let found = match id {
            Some(id) => serving.find(|key| key.id.as_deref() == Some(id)),
            None if self.keys.len() > 1 => return Err(Error::NoKeyId),
            None => serving.next(),
        };
        found.cloned().ok_or(Error::Unknown)
    }
}

/// The keys of one issuer.
pub struct Keyring<K>(Arc<Inner<K>>);

struct Inner<K> {
    source: K,
    settings: Settings,
    set: RwLock<Set>,
    fetching: tokio::sync::Mutex<()>,
}

impl<K: KeySource> Keyring<K> {
    /// Empty: the first token fetches.
    pub fn new(source: K, settings: Settings) -> Self {
        Self(Arc::new(Inner { source, settings, set: RwLock::default(), fetching: tokio::sync::Mutex::default() }))
    }

    /// Whether keys are known or can be had now.
    pub async fn ready(&self) -> Result<(), Error> {
        self.usable().await.map(|_| ())
    }

    /// The key for a token. An unknown key id fetches the set again, at most once per cool-down.
    pub async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Error> {
        let set = self.usable().await?;
        match set.find(id, algorithm) {
            Err(Error::Unknown) => {
                self.fetched().await;
                self.0.snapshot().find(id, algorithm)
            }
            found => found,
        }
    }

    async fn usable(&self) -> Result<Set, Error> {
        let mut set = self.0.snapshot();
        if set.older_than(self.0.settings.max_stale) {
            self.fetched().await;
            set = self.0.snapshot();
        } else if set.older_than(self.0.settings.refresh) && self.0.may_try() {
            tokio::spawn(Arc::clone(&self.0).fetch());
        }
        if set.older_than(self.0.settings.max_stale) {
            return Err(Error::Unavailable(set.failure));
        }
        Ok(set)
    }

    /// Waits for a fetch that goes on when the caller is gone.
    async fn fetched(&self) {
        if tokio::spawn(Arc::clone(&self.0).fetch()).await.is_err() {
            tracing::error!("the key fetch was lost");
        }
    }
}

impl<K: KeySource> Inner<K> {
    fn snapshot(&self) -> Set {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cool-down covers failures too, so that a provider that is down is not asked for every token.
    fn may_try(&self) -> bool {
        let tried = self.set.read().unwrap_or_else(PoisonError::into_inner).tried;
        tried.is_none_or(|at| at.elapsed() >= self.settings.cooldown)
    }

    /// One at a time; whoever waited finds the result of the one before inside the cool-down.
    async fn fetch(self: Arc<Self>) {
        let _one = self.fetching.lock().await;
        if !self.may_try() {
            return;
        }
        let fetched = self.source.fetch().await.map_err(|e| e.to_string()).and_then(|document| parse(&document));
        let now = Some(Instant::now());
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(keys) => *set = Set { keys: keys.into(), fetched: now, tried: now, failure: String::new() },
            Err(failure) => {
                tracing::warn!(error = failure, "the verification keys could not be fetched");
                set.tried = now;
                set.failure = failure;
            }
        }
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The usable keys of a set. A bad key is skipped alone; a set without any is no set.
fn parse(document: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    let document: Document = serde_json::from_slice(document).map_err(|e| format!("no key set: {e}"))?;
    let mut keys = Vec::new();
    for value in document.keys {
        let id = value["kid"].as_str().unwrap_or("").to_owned();
        match usable(value) {
            Ok(key) => keys.push(Arc::new(key)),
            Err(why) => tracing::debug!(kid = id, why, "a key of the set is not used"),
        }
    }
    if keys.is_empty() { Err("the key set has no usable key".into()) } else { Ok(keys) }
}

fn usable(value: serde_json::Value) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "not understood")?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err("not for signatures");
    }
    if jwk.common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify)) {
        return Err("not for verification");
    }
    let kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Kind::Rsa,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Kind::P256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Kind::P384,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Kind::Ed25519,
        _ => return Err("type or curve not supported"),
    };
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "malformed")?;
    if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = decoding.kind()
        && n.iter().skip_while(|byte| **byte == 0).count() < 256
    {
        return Err("an RSA modulus under 2048 bits");
    }
    let algorithm = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
    Ok(Key { id: jwk.common.key_id, algorithm, kind, decoding })
}

#[cfg(test)]
mod tests;

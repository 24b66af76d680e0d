//! Encrypts passwords (seals them) with keys that follow from `secret_key`: the records in the store, and the durable copies that
//! are kept with the users in the back end. Each is bound to its cluster and its user, so that none can be moved to another.

use std::num::NonZeroU32;
use std::sync::Arc;

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::Zeroizing;

use super::{CacheKey, DurableCopy, SealedCopy};
use crate::identity::Username;

mod envelope;

pub use envelope::{OpenError, SealError};

use envelope::{EnvelopeKey, KEY_ID_LEN, is_newer, key_id};

/// Iterations of PBKDF2 with HMAC-SHA-256, as the OWASP Password Storage Cheat Sheet asks for.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// The keys that seal and open: `secret_key`, `previous_secret_keys` and `cluster`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key that seals.
    pub key: Key,
    /// `previous_secret_keys`: keys that open too, former ones as well as the next one.
    pub previous: Vec<Key>,
    /// `cluster`: binds seals to one Elasticsearch. Default `default`.
    pub cluster: String,
}

/// Where the sealing key comes from.
#[derive(Debug)]
pub enum Key {
    /// `secret_key`: 64 hex digits or base64 of 32 bytes.
    Given(SecretBox<[u8; 32]>),
    /// Without `secret_key` the key is derived from the administrator's secret, the same on every replica and after a restart. A
    /// person may have chosen the secret, and every record begins with a value that follows from the key: the derivation is
    /// slow, so that a copy of the store is of little use for guessing.
    Derived {
        /// The password, API key or token of the administrator's account.
        secret: SecretString,
        /// Whether a person may have chosen it, as with a password. Then no durable copies are sealed: each user can read its
        /// own, and could try passwords of the administrator's against it for as long as it likes.
        guessable: bool,
    },
}

impl Clone for Key {
    fn clone(&self) -> Self {
        match self {
            Self::Given(key) => Self::Given(SecretBox::new(Box::new(*key.expose_secret()))),
            Self::Derived { secret, guessable } => Self::Derived { secret: secret.clone(), guessable: *guessable },
        }
    }
}

/// The key that sealed a record, for reports to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBy {
    /// Its place in the configuration.
    pub which: Which,
    /// The key's public id, which is at the beginning of each record.
    pub id: u32,
}

/// A sealing key's place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The key of `secret_key`, which seals new records.
    Current,
    /// One of `previous_secret_keys`, which only open.
    Previous,
    /// No key that is configured here.
    Unknown,
    /// Not looked for: the record is in the format of a later release.
    NewerFormat,
}

/// Seals with one key, and opens with several. A clone shares the keys.
#[derive(Clone)]
pub struct Seal {
    current: Arc<SealingKey>,
    previous: Arc<[SealingKey]>,
    cluster: Arc<str>,
    seals_copies: bool,
}

/// The keys that follow from one secret, one for each purpose.
struct SealingKey {
    records: EnvelopeKey,
    copies: EnvelopeKey,
    attempts: EnvelopeKey,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(secret: &[u8], purpose: &[u8]) -> Result<Zeroizing<[u8; N]>, SealError> {
    let pseudo_random = Salt::new(HKDF_SHA256, b"elastauth seal").extract(secret);
    let mut out = Zeroizing::new([0_u8; N]);
    let info = [purpose];
    let derived = pseudo_random.expand(&info, Length(N)).map_err(|_| SealError)?;
    derived.fill(out.as_mut()).map_err(|_| SealError)?;
    Ok(out)
}

/// A key from a secret that a person may have chosen. The salt binds it to its purpose and to the cluster, so that guesses
/// against one deployment are of no use against another.
fn stretch(password: &SecretString, cluster: &str) -> Zeroizing<[u8; 32]> {
    let salt = [b"elastauth seal\0elasticsearch password\0", cluster.as_bytes()].concat();
    let mut out = Zeroizing::new([0_u8; 32]);
    pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.expose_secret().as_bytes(), out.as_mut());
    out
}

fn envelope_key(secret: &[u8], purpose: &[u8]) -> Result<EnvelopeKey, SealError> {
    let key = derive::<32>(secret, purpose)?;
    EnvelopeKey::new(&key, *derive::<KEY_ID_LEN>(key.as_ref(), b"key id")?)
}

impl SealingKey {
    fn new(key: &Key, cluster: &str) -> Result<Self, SealError> {
        match key {
            Key::Given(key) => Self::of(key.expose_secret(), b"secret_key"),
            Key::Derived { secret, .. } => Self::of(stretch(secret, cluster).as_ref(), b"elasticsearch password"),
        }
    }

    /// The purpose of the records' key is as old as their format, and names where the secret comes from.
    fn of(secret: &[u8], records: &[u8]) -> Result<Self, SealError> {
        let (records, copies) = (envelope_key(secret, records)?, envelope_key(secret, b"durable copy")?);
        Ok(Self { records, copies, attempts: envelope_key(secret, b"login attempt")? })
    }
}

impl Seal {
    /// Derives the keys and their public ids; takes several hundred milliseconds where there is no `secret_key`.
    pub fn new(settings: &Settings) -> Result<Self, SealError> {
        let key = |key: &Key| SealingKey::new(key, &settings.cluster);
        let previous: Result<_, _> = settings.previous.iter().map(key).collect();
        let seals_copies = !matches!(settings.key, Key::Derived { guessable: true, .. });
        let current = Arc::new(key(&settings.key)?);
        Ok(Self { current, previous: previous?, cluster: settings.cluster.as_str().into(), seals_copies })
    }

    /// Whether the current key sealed this record, by the header alone.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.current.records.sealed(sealed)
    }

    /// The key that sealed this record, by the header alone.
    #[must_use]
    pub fn sealed_by(&self, sealed: &[u8]) -> SealedBy {
        let which = if is_newer(sealed) {
            Which::NewerFormat
        } else if self.is_current(sealed) {
            Which::Current
        } else if self.previous.iter().any(|key| key.records.sealed(sealed)) {
            Which::Previous
        } else {
            Which::Unknown
        };
        SealedBy { which, id: u32::from_be_bytes(key_id(sealed).unwrap_or_default()) }
    }

    fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&*self.current).chain(&*self.previous)
    }

    /// Seals a record for one place in the store.
    pub fn seal(&self, key: &CacheKey, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.current.records.seal([&self.cluster, key.as_str()], plain)
    }

    /// Opens what was sealed for this place in the store.
    pub fn open(&self, key: &CacheKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        EnvelopeKey::open(self.keys().map(|key| &key.records), [&self.cluster, key.as_str()], sealed)
    }

    /// Seals the copy of a user's password that is kept with the user in the back end. None where no copies are kept, as the
    /// key follows from a secret that users could guess: see [`Key::Derived`].
    pub fn seal_copy(&self, username: &Username, copy: &DurableCopy) -> Result<Option<SealedCopy>, SealError> {
        if !self.seals_copies {
            return Ok(None);
        }
        let plain = copy.encode().map_err(|_| SealError)?;
        let sealed = self.current.copies.seal([&self.cluster, username.as_str()], &plain)?;
        SealedCopy::new(sealed).map(Some).ok_or(SealError)
    }

    /// Seals an attempt to log in at this host, which the browser keeps. An error where the key follows from a secret that people
    /// could guess, as anybody can have such an attempt: see [`Key::Derived`].
    pub fn seal_attempt(&self, host: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        if !self.seals_copies {
            return Err(SealError);
        }
        self.current.attempts.seal([&self.cluster, host], plain)
    }

    /// Opens what was sealed for this host.
    pub fn open_attempt(&self, host: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        EnvelopeKey::open(self.keys().map(|key| &key.attempts), [&self.cluster, host], sealed)
    }

    /// Whether copies are kept.
    #[must_use]
    pub fn seals_copies(&self) -> bool {
        self.seals_copies
    }

    /// Opens a user's copy. It shows which password elastauth wrote at some time, not that the user still has it.
    pub fn open_copy(&self, username: &Username, sealed: &SealedCopy) -> Result<DurableCopy, OpenError> {
        let (keys, place) = (self.keys().map(|key| &key.copies), [&*self.cluster, username.as_str()]);
        let plain = EnvelopeKey::open(keys, place, sealed.as_bytes())?;
        DurableCopy::decode(&plain).map_err(|_| OpenError::Broken)
    }
}

#[cfg(test)]
mod tests;

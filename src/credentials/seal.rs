//! Encrypts the records in the store (seals them): AES-256-GCM with a fresh nonce, bound to cluster and key, so that an entry
//! cannot be moved to another user.
//!
//! ```text
//! version (1) ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//! ```

use std::num::NonZeroU32;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use ring::rand::SecureRandom;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::{Zeroize, Zeroizing};

use super::CacheKey;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;
/// Iterations of PBKDF2 with HMAC-SHA-256, as the OWASP Password Storage Cheat Sheet asks for.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// The keys that seal and open records: `secret_key`, `previous_secret_keys` and `cluster`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key that seals new records.
    pub key: Key,
    /// `previous_secret_keys`: keys that open records too, former ones as well as the next one.
    pub previous: Vec<Key>,
    /// `cluster`: binds seals to one Elasticsearch. Default `default`.
    pub cluster: String,
}

/// Where the sealing key comes from.
#[derive(Debug)]
pub enum Key {
    /// `secret_key`: 64 hex digits or base64 of 32 bytes.
    Given(SecretBox<[u8; 32]>),
    /// Without `secret_key` the key is derived from the Elasticsearch password, the same on every replica, and a warning is
    /// logged. A person may have chosen the password, and every record begins with a value that follows from the key: the
    /// derivation is slow, so that a copy of the store is of little use for guessing.
    Derived(SecretString),
}

impl Clone for Key {
    fn clone(&self) -> Self {
        match self {
            Self::Given(key) => Self::Given(SecretBox::new(Box::new(*key.expose_secret()))),
            Self::Derived(text) => Self::Derived(text.clone()),
        }
    }
}

/// The cryptographic library refused, or there is no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("sealing failed")]
pub struct SealError;

/// Why stored bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The record was sealed with another `secret_key`: it is not replaced.
    #[error("the record was sealed with another secret_key")]
    UnknownKey,
    /// The record is no sealed one, or cut, changed, or moved here from another user or cluster: it is replaced.
    #[error("the record is broken")]
    Broken,
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
}

/// Seals with one key, and opens with several.
pub struct Seal {
    current: SealingKey,
    previous: Vec<SealingKey>,
    cluster: String,
}

/// A derived key and its public id.
struct SealingKey {
    key: LessSafeKey,
    id: [u8; KEY_ID_LEN],
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

impl SealingKey {
    fn new(key: &Key, cluster: &str) -> Result<Self, SealError> {
        let key = match key {
            Key::Given(key) => derive::<32>(key.expose_secret(), b"secret_key")?,
            Key::Derived(password) => derive::<32>(stretch(password, cluster).as_ref(), b"elasticsearch password")?,
        };
        let id = derive::<KEY_ID_LEN>(key.as_ref(), b"key id")?;
        let unbound = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| SealError)?;
        Ok(Self { key: LessSafeKey::new(unbound), id: *id })
    }
}

impl Seal {
    /// Derives the keys and their public ids; takes several hundred milliseconds where there is no `secret_key`.
    pub fn new(settings: &Settings) -> Result<Self, SealError> {
        let key = |key: &Key| SealingKey::new(key, &settings.cluster);
        let previous: Result<_, _> = settings.previous.iter().map(key).collect();
        let current = key(&settings.key)?;
        Ok(Self { current, previous: previous?, cluster: settings.cluster.clone() })
    }

    /// Whether the current key sealed this, by the header alone.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..=KEY_ID_LEN) == Some(self.current.id.as_slice())
    }

    /// The key that sealed this, by the header alone.
    #[must_use]
    pub fn sealed_by(&self, sealed: &[u8]) -> SealedBy {
        let id = sealed.get(1..=KEY_ID_LEN).unwrap_or_default();
        let known = |key: &SealingKey| key.id == *id;
        let which = if known(&self.current) {
            Which::Current
        } else if self.previous.iter().any(known) {
            Which::Previous
        } else {
            Which::Unknown
        };
        SealedBy { which, id: u32::from_be_bytes(id.try_into().unwrap_or_default()) }
    }

    /// Each part with its length before it, so that no two (cluster, key) pairs share their bytes.
    fn additional_data(&self, key: &CacheKey) -> Vec<u8> {
        let mut data = vec![VERSION];
        for part in [self.cluster.as_str(), key.as_str()] {
            data.extend((part.len() as u64).to_be_bytes());
            data.extend(part.as_bytes());
        }
        data
    }

    /// Seals a record for one place in the store.
    pub fn seal(&self, key: &CacheKey, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        ring::rand::SystemRandom::new().fill(&mut nonce).map_err(|_| SealError)?;
        let mut body = plain.to_vec();
        let aad = Aad::from(self.additional_data(key));
        let sealed = self.current.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body);
        if sealed.is_err() {
            body.zeroize();
            return Err(SealError);
        }
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        out.push(VERSION);
        out.extend(self.current.id);
        out.extend(nonce);
        out.append(&mut body);
        Ok(out)
    }

    /// Opens what was sealed for this place in the store.
    pub fn open(&self, key: &CacheKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(OpenError::Broken)?;
        if header.first() != Some(&VERSION) {
            return Err(OpenError::Broken);
        }
        let (id, nonce) = header.get(1..).unwrap_or_default().split_at(KEY_ID_LEN);
        let known = std::iter::once(&self.current).chain(&self.previous).find(|known| known.id == id);
        let known = known.ok_or(OpenError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Broken)?;
        let mut body = Zeroizing::new(body.to_vec());
        let aad = Aad::from(self.additional_data(key));
        let length = known.key.open_in_place(nonce, aad, &mut body).map_err(|_| OpenError::Broken)?.len();
        body.truncate(length);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Username;

    fn seal(key: u8, cluster: &str) -> Seal {
        let key = Key::Given(SecretBox::new(Box::new([key; 32])));
        Seal::new(&Settings { key, previous: Vec::new(), cluster: cluster.into() }).unwrap()
    }

    fn key(name: &str) -> CacheKey {
        CacheKey::of(&Username::parse(name).unwrap())
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let sealed = seal(1, "c").seal(&key("ann"), b"plain").unwrap();
        assert_eq!(seal(1, "c").open(&key("ann"), &sealed).unwrap().as_slice(), b"plain");
        assert!(!sealed.windows(5).any(|w| w == b"plain"));
    }

    #[test]
    fn every_seal_has_a_fresh_nonce() {
        let s = seal(1, "c");
        assert_ne!(s.seal(&key("ann"), b"x").unwrap(), s.seal(&key("ann"), b"x").unwrap());
    }

    #[test]
    fn an_entry_cannot_be_moved_to_another_user_or_cluster() {
        let sealed = seal(1, "c").seal(&key("ann"), b"x").unwrap();
        assert_eq!(seal(1, "c").open(&key("bob"), &sealed), Err(OpenError::Broken));
        assert_eq!(seal(1, "d").open(&key("ann"), &sealed), Err(OpenError::Broken));
    }

    #[test]
    fn a_changed_or_cut_entry_does_not_open() {
        let s = seal(1, "c");
        let sealed = s.seal(&key("ann"), b"x").unwrap();
        for at in (0..sealed.len()).filter(|at| !(1..=KEY_ID_LEN).contains(at)) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(s.open(&key("ann"), &changed), Err(OpenError::Broken), "byte {at}");
        }
        for len in [0, 1, HEADER_LEN, sealed.len() - 1] {
            assert_eq!(s.open(&key("ann"), &sealed[..len]), Err(OpenError::Broken), "length {len}");
        }
    }

    #[test]
    fn another_key_is_known_by_its_id() {
        let sealed = seal(1, "c").seal(&key("ann"), b"x").unwrap();
        assert_eq!(seal(2, "c").open(&key("ann"), &sealed), Err(OpenError::UnknownKey));
    }

    #[test]
    fn a_previous_key_opens_and_does_not_seal() {
        let given = |key: u8| Key::Given(SecretBox::new(Box::new([key; 32])));
        let settings = Settings { key: given(1), previous: vec![given(2), given(3)], cluster: "c".into() };
        let s = Seal::new(&settings).unwrap();
        for (sealed_by, current) in [(1, true), (2, false), (3, false)] {
            let sealed = seal(sealed_by, "c").seal(&key("ann"), b"x").unwrap();
            assert_eq!(s.open(&key("ann"), &sealed).unwrap().as_slice(), b"x");
            assert_eq!(s.open(&key("bob"), &sealed), Err(OpenError::Broken), "nor does it move a record");
            assert_eq!(s.is_current(&sealed), current);
        }
        assert!(s.is_current(&s.seal(&key("ann"), b"x").unwrap()) && !s.is_current(b"x"));
        let unknown = seal(4, "c").seal(&key("ann"), b"x").unwrap();
        assert_eq!(s.open(&key("ann"), &unknown), Err(OpenError::UnknownKey));
    }

    fn derived(password: &str, cluster: &str) -> Seal {
        let key = Key::Derived(password.to_owned().into());
        Seal::new(&Settings { key, previous: Vec::new(), cluster: cluster.into() }).unwrap()
    }

    #[test]
    fn a_derived_key_is_the_same_on_every_replica_of_a_cluster_and_another_for_another_cluster() {
        let sealed = derived("pw", "c").seal(&key("ann"), b"x").unwrap();
        assert!(derived("pw", "c").open(&key("ann"), &sealed).is_ok());
        assert_eq!(derived("pw", "d").open(&key("ann"), &sealed), Err(OpenError::UnknownKey));
        assert_eq!(derived("other", "c").open(&key("ann"), &sealed), Err(OpenError::UnknownKey));
    }

    /// An attacker with a copy of the store has the id, and tries passwords until one gives it.
    #[test]
    fn the_public_id_of_a_derived_key_costs_as_many_rounds_for_each_guess_as_owasp_asks_for() {
        let sealed = derived("pw", "c").seal(&key("ann"), b"x").unwrap();
        let mut slow = [0; 32];
        let salt = b"elastauth seal\0elasticsearch password\0c";
        pbkdf2::derive(PBKDF2_HMAC_SHA256, NonZeroU32::new(600_000).unwrap(), salt, b"pw", &mut slow);
        let key = derive::<32>(&slow, b"elasticsearch password").unwrap();
        let id = derive::<KEY_ID_LEN>(key.as_ref(), b"key id").unwrap();
        assert_eq!(sealed[1..=KEY_ID_LEN], *id);
        let quick = derive::<32>(b"pw", b"elasticsearch password").unwrap();
        assert_ne!(sealed[1..=KEY_ID_LEN], *derive::<KEY_ID_LEN>(quick.as_ref(), b"key id").unwrap());
    }
}

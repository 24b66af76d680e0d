//! Reads where credentials are stored, and the keys that they are sealed with: `cache.*`, `secret_key`.

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretBox};

use super::redis::redis;
use crate::cluster_client::Account;
use crate::cluster_client::account::Scheme;
use crate::config::keys::{CacheKind, cache as keys};
use crate::config::settings::Cache;
use crate::config::values::Values;
use crate::credentials::{StoreName, seal};
use crate::digest::Digest;
use crate::{file, memory};

pub(super) fn cache(v: &mut Values<'_>) -> Cache {
    let kind = v.get(&keys::TYPE);
    let path = v.get(&keys::PATH);
    match kind {
        CacheKind::Redis => Cache::Redis(Box::new(redis(v))),
        CacheKind::File => Cache::File(file::Settings { path }),
        CacheKind::Memory => Cache::Memory(memory::Settings { max_entries: v.get(&keys::MEMORY_MAX_ENTRIES).get() }),
    }
}

/// The key that seals records and durable copies. Replicas need the same one, and what it sealed outlives the process: a file,
/// and the copies in the back end, also where the records end with the process. So without a `secret_key` it is derived from the
/// secret of the administrator's account.
pub(super) fn key(v: &mut Values<'_>, cache: &Cache, account: Option<&Account>) -> seal::Key {
    if let Some(text) = v.get(&keys::SECRET_KEY) {
        let bytes = decode_key(text.expose_secret());
        if bytes.is_none() {
            v.problem(
                &keys::SECRET_KEY,
                "must be 64 hex digits or base64 of 32 bytes; `elastauth generate-key` makes one",
            );
        }
        return seal::Key::Given(SecretBox::new(Box::new(bytes.unwrap_or_default())));
    }
    if let Some(Account { scheme, secret, .. }) = account {
        let guessable = matches!(scheme, Scheme::Basic { .. });
        if matches!(cache, Cache::Redis(_) | Cache::File(_)) {
            let mut warning =
                "secret_key is not set: records are sealed with a key that is derived from the administrator's \
                               secret, and become unreadable when that secret changes"
                    .to_owned();
            if guessable {
                warning += "; and passwords are not kept, sealed, with the users, so that a loss of the cache costs a write for \
                            each of them";
            }
            v.warnings.push(warning);
        }
        return seal::Key::Derived { secret: secret.clone(), guessable };
    }
    // the configuration is refused: it has no account
    let mut bytes = [0_u8; 32];
    if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).is_err() {
        v.problem(&keys::SECRET_KEY, "is required: the operating system gives no randomness");
    }
    seal::Key::Given(SecretBox::new(Box::new(bytes)))
}

/// The store's name in the ownership stamp. A Redis is marked with the key that all its replicas share: the address would be
/// found in a plain digest by trying all there are.
pub(super) fn store_name(key: &seal::Key, cache: &Cache) -> StoreName {
    let name = cache.name();
    match (key, cache) {
        (seal::Key::Given(secret), Cache::Redis(_)) => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.expose_secret());
            let text = format!("elastauth store name {name}");
            let mark = Digest::cut(ring::hmac::sign(&key, text.as_bytes()).as_ref()).to_string();
            StoreName { name, mark }
        }
        // a mark made with a key that is derived from a password would let passwords be tried
        (seal::Key::Given(_) | seal::Key::Derived { .. }, _) => name.as_str().into(),
    }
}

/// The keys that open records and seal none.
pub(super) fn previous_keys(v: &mut Values<'_>) -> Vec<seal::Key> {
    let texts = v.get(&keys::PREVIOUS_SECRET_KEYS);
    let mut keys = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match decode_key(text.expose_secret()) {
            Some(key) => keys.push(seal::Key::Given(SecretBox::new(Box::new(key)))),
            None => v.problem(
                &keys::PREVIOUS_SECRET_KEYS,
                format!("number {} must be 64 hex digits or base64 of 32 bytes", at + 1),
            ),
        }
    }
    keys
}

fn decode_key(text: &str) -> Option<[u8; 32]> {
    let hex = || {
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        Some(digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
    };
    let bytes: Vec<u8> = if text.len() == 64 { hex()? } else { base64_any(text)? };
    bytes.try_into().ok()
}

fn base64_any(text: &str) -> Option<Vec<u8>> {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()
}

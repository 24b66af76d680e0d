//! The form of sealed bytes: AES-256-GCM with a fresh nonce, after a header that names the format and the key.
//!
//! ```text
//! version (1) ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//! ```
//!
//! A release that writes what an earlier one must not read takes the next version, and leaves the key id where it is.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::SecureRandom;
use zeroize::{Zeroize, Zeroizing};

/// The version that this release writes, and the only one that it reads.
pub(super) const VERSION: u8 = 1;
/// The last version that there can be. What other programs left, such as the Go service, is text: its first byte is larger.
const LAST_VERSION: u8 = 31;
pub(super) const KEY_ID_LEN: usize = 4;
pub(super) const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// The cryptographic library refused, or there is no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("sealing failed")]
pub struct SealError;

/// Why stored bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// They were sealed with another `secret_key`: a record is not replaced.
    #[error("the record was sealed with another secret_key")]
    UnknownKey,
    /// They are in the format of a later release, which this one must not read: a record is not replaced.
    #[error("the record is in the format of a later release of elastauth")]
    NewerFormat,
    /// They are no sealed ones, or cut, changed, or moved here from another user or cluster: a record is replaced.
    #[error("the record is broken")]
    Broken,
}

/// A key that seals and opens, and its public id.
pub(super) struct EnvelopeKey {
    key: LessSafeKey,
    id: [u8; KEY_ID_LEN],
}

impl EnvelopeKey {
    pub(super) fn new(key: &[u8; 32], id: [u8; KEY_ID_LEN]) -> Result<Self, SealError> {
        let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError)?;
        Ok(Self { key: LessSafeKey::new(unbound), id })
    }

    /// Whether this key sealed the bytes, by their header alone.
    pub(super) fn sealed(&self, bytes: &[u8]) -> bool {
        key_id(bytes) == Some(self.id)
    }

    /// Seals for one place, which [`EnvelopeKey::open`] must name again.
    pub(super) fn seal(&self, place: [&str; 2], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        ring::rand::SystemRandom::new().fill(&mut nonce).map_err(|_| SealError)?;
        let mut body = plain.to_vec();
        let aad = Aad::from(additional_data(place));
        if self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body).is_err() {
            body.zeroize();
            return Err(SealError);
        }
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        out.push(VERSION);
        out.extend(self.id);
        out.extend(nonce);
        out.append(&mut body);
        Ok(out)
    }

    /// Opens with the one of these keys that the header names.
    pub(super) fn open<'a>(
        mut keys: impl Iterator<Item = &'a Self>,
        place: [&str; 2],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if is_newer(sealed) {
            return Err(OpenError::NewerFormat);
        }
        let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(OpenError::Broken)?;
        if header.first() != Some(&VERSION) {
            return Err(OpenError::Broken);
        }
        let known = keys.find(|key| key.sealed(sealed)).ok_or(OpenError::UnknownKey)?;
        let nonce = header.get(1 + KEY_ID_LEN..).unwrap_or_default();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Broken)?;
        let mut body = Zeroizing::new(body.to_vec());
        let aad = Aad::from(additional_data(place));
        let length = known.key.open_in_place(nonce, aad, &mut body).map_err(|_| OpenError::Broken)?.len();
        body.truncate(length);
        Ok(body)
    }
}

/// The id in the header; none where the bytes are too few.
pub(super) fn key_id(sealed: &[u8]) -> Option<[u8; KEY_ID_LEN]> {
    sealed.get(1..=KEY_ID_LEN)?.try_into().ok()
}

/// Whether a later release sealed this in a format of its own.
pub(super) fn is_newer(sealed: &[u8]) -> bool {
    sealed.first().is_some_and(|version| (VERSION + 1..=LAST_VERSION).contains(version))
}

/// Each part with its length before it, so that no two places share their bytes.
fn additional_data(place: [&str; 2]) -> Vec<u8> {
    let mut data = vec![VERSION];
    for part in place {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(part.as_bytes());
    }
    data
}

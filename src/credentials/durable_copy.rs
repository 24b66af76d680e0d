//! The durable copy: a user's password, sealed, which is kept with the user in Elasticsearch. After a loss of the store it
//! saves the write of a new password.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Password;
use crate::identity::Millis;

/// What a durable copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DurableCopy {
    /// The user's password.
    pub password: Password,
    /// When the password was generated, by the clock of the process that did.
    pub born: Millis,
}

/// The sealed content. Fields that a later release adds are ignored; what an earlier one must not read gets another version of
/// the seal.
#[derive(Serialize, Deserialize)]
struct Plain {
    password: String,
    born: Millis,
}

impl DurableCopy {
    /// The bytes to seal.
    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let plain = Plain { password: self.password.expose().to_owned(), born: self.born };
        serde_json::to_vec(&plain).map(Zeroizing::new)
    }

    /// Reads the bytes that a seal protected.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let Plain { password, born } = serde_json::from_slice(bytes)?;
        Ok(Self { password: Password::known(password), born })
    }
}

/// A sealed [`DurableCopy`]: ciphertext, which the back ends keep as base64 without padding.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SealedCopy(Vec<u8>);

impl SealedCopy {
    /// The most bytes that a sealed copy has. One of this release has about 130; the rest is room for later ones.
    pub const MAX: usize = 4096;

    /// Takes bytes that a seal made; none where they are more than [`SealedCopy::MAX`].
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= Self::MAX).then_some(Self(bytes))
    }

    /// Reads the form in which a back end keeps it. None where the text is empty, too long, or no base64: then there is no copy.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let sized = !text.is_empty() && text.len() <= Self::MAX.div_ceil(3) * 4;
        Self::new(STANDARD_NO_PAD.decode(text).ok().filter(|_| sized)?)
    }

    /// The form in which a back end keeps it.
    #[must_use]
    pub fn to_text(&self) -> String {
        STANDARD_NO_PAD.encode(&self.0)
    }

    /// The sealed bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealedCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedCopy({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_later_release_is_read_as_far_as_it_is_known() {
        let copy = DurableCopy { password: Password::generate().unwrap(), born: 9 };
        let mut plain: serde_json::Value = serde_json::from_slice(&copy.encode().unwrap()).unwrap();
        plain["of_a_later_release"] = serde_json::json!({ "x": [1] });
        assert_eq!(DurableCopy::decode(plain.to_string().as_bytes()).unwrap(), copy);
        assert!(!format!("{copy:?}").contains(copy.password.expose()));
    }

    #[test]
    fn a_sealed_copy_is_kept_as_text_and_anything_else_is_none() {
        let copy = SealedCopy::new(vec![0, 255, 7, 8]).unwrap();
        assert_eq!(SealedCopy::parse(&copy.to_text()), Some(copy.clone()));
        assert_eq!(format!("{copy:?}"), "SealedCopy(4 bytes)");
        let long = SealedCopy::new(vec![1; SealedCopy::MAX]).unwrap();
        assert_eq!(SealedCopy::parse(&long.to_text()), Some(long));
        assert_eq!(SealedCopy::new(vec![1; SealedCopy::MAX + 1]), None);
        for text in ["", "§", "AP8H\n", "AA==", &"A".repeat(1 << 20)] {
            assert_eq!(SealedCopy::parse(text), None, "{}", text.len());
        }
    }
}

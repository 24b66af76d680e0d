//! Generates the passwords that elastauth gives to users, and keeps them out of logs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretString};

use crate::random::{self, NoRandomness};

/// 32 random bytes from the operating system as base64url: 43 characters, no `:`; cannot be printed.
#[derive(Clone)]
pub struct Password(Arc<SecretString>);

impl Password {
    /// Generates a password with 256 bits of randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let bytes = random::bytes::<32>()?;
        Ok(Self::known(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The password that a record has.
    #[must_use]
    pub fn known(text: String) -> Self {
        Self(Arc::new(text.into()))
    }

    /// The password in clear text: for the seal, the PUT and the header, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Password {}

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_distinct_and_fit_basic_and_bcrypt() {
        let all: std::collections::HashSet<String> =
            (0..1000).map(|_| Password::generate().unwrap().expose().to_owned()).collect();
        assert_eq!(all.len(), 1000);
        for p in all {
            assert_eq!(p.len(), 43, "256 bits, under bcrypt's 72 bytes");
            assert!(p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
    }
}

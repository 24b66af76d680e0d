//! Sealed records: AES-256-GCM.

use secrecy::{SecretBox, SecretString};

/// `secret_key`, `cluster`
#[derive(Debug)]
pub struct Settings {
    /// Which key seals.
    pub key: Key,
    /// `cluster`: binds seals to one Elasticsearch. Default `default`.
    pub cluster: String,
}

/// Where the sealing key comes from.
#[derive(Debug)]
pub enum Key {
    /// `secret_key`: 64 hex digits or base64 of 32 bytes.
    Given(SecretBox<[u8; 32]>),
    /// No `secret_key`: derived from the Elasticsearch password, the same on every replica. Warned about.
    Derived(SecretString),
}

impl Clone for Key {
    fn clone(&self) -> Self {
        use secrecy::ExposeSecret;
        match self {
            Self::Given(key) => Self::Given(SecretBox::new(Box::new(*key.expose_secret()))),
            Self::Derived(text) => Self::Derived(text.clone()),
        }
    }
}

impl Clone for Settings {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), cluster: self.cluster.clone() }
    }
}

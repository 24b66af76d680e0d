//! A username with its password, as Envoy injects it, and where it was found.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Password;
use crate::identity::Username;

/// The credential that Envoy injects. Its `Debug` shows the name only.
#[derive(Clone)]
pub struct Credential(Arc<Parts>);

/// A credential and where it was found.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// The credential to inject.
    pub credential: Credential,
    /// Where it was found, for logs and metrics.
    pub source: Source,
}

/// Where a credential was found, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The near cache had it.
    Near,
    /// The near cache had it, and the store, which may hold something else by now, did not answer.
    Stale,
    /// The store held it in a ready record that satisfies the caller.
    Store,
    /// This request had to write to Elasticsearch, or to wait for another replica that did.
    Provisioned,
}

struct Parts {
    username: Username,
    basic: SecretString,
    /// The encoded reply that injects it, made once by the edge.
    reply: OnceLock<Bytes>,
}

impl Credential {
    /// Builds the value of the `Authorization` header (RFC 7617 §2).
    #[must_use]
    pub(crate) fn new(username: Username, password: &Password) -> Self {
        use base64::Engine as _;
        let pair = format!("{username}:{}", password.expose());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        Self(Arc::new(Parts { username, basic: basic.into(), reply: OnceLock::new() }))
    }

    /// The user that the credential is for.
    #[must_use]
    pub(crate) fn username(&self) -> &Username {
        &self.0.username
    }

    /// `Basic …`, for the reply and for nothing else.
    #[must_use]
    pub(crate) fn expose_header(&self) -> &str {
        self.0.basic.expose_secret()
    }

    /// Whether this is the value of the header. Digests are compared, so that the time it takes shows nothing of the password.
    #[must_use]
    pub(crate) fn is(&self, header: &str) -> bool {
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest(header).as_ref() == digest(self.expose_header()).as_ref()
    }

    /// The encoded reply that injects it: made at the first use, and cached as long as the credential.
    pub(crate) fn reply(&self, make: impl FnOnce(&str) -> Bytes) -> Bytes {
        self.0.reply.get_or_init(|| make(self.expose_header())).clone()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.0.username)
    }
}

/// The name within Basic credentials (RFC 7617 §2).
pub(super) fn user_of(encoded: &str) -> Option<Username> {
    use base64::Engine as _;
    let pair = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?);
    let (name, _) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Username::parse(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_never_shows_its_password() {
        let password = Password::generate().unwrap();
        let credential = Credential::new(Username::parse("ann").unwrap(), &password);
        assert_eq!(format!("{credential:?}"), "Credential(ann)");
        assert!(credential.expose_header().starts_with("Basic "));
        assert!(credential.is(credential.expose_header()) && !credential.is("Basic YW5uOng="));
    }
}

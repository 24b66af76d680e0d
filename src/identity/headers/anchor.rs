//! What a client of Envoy cannot forge, and what therefore shows that identity headers are the login proxy's.
//!
//! A process that reaches the gRPC port itself writes a whole `CheckRequest`, with any principal and any metadata. So those two
//! count only where the port authenticates its callers; the secret, which only Envoy's configuration has, counts anywhere.

use std::collections::HashSet;

use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use crate::identity::attributes::{AttributeSelection, RequestAttributes};

/// The key of `context_extensions` under which Envoy's operator writes the secret.
pub const EXTENSION: &str = "elastauth-secret";

/// The anchors of a configuration. All that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `authelia.shared_secret`, `authelia.previous_shared_secret`: one of them must be in `context_extensions`.
    pub secrets: Vec<SecretString>,
    /// `authelia.trusted_peers`: principals of the peers from which Envoy takes identity headers.
    pub peers: Vec<String>,
}

impl Settings {
    /// Whether a client cannot forge what is asked for. `known_callers`: only Envoy reaches the gRPC port.
    /// `metadata`: identity comes from `metadata_context`, which clients of Envoy do not write.
    #[must_use]
    pub fn count(&self, known_callers: bool, metadata: bool) -> bool {
        !self.secrets.is_empty() || known_callers && (metadata || !self.peers.is_empty())
    }
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// The anchors, ready for use.
pub(super) struct Anchors {
    /// Under a key of this process, so that comparing takes the same time whatever was sent.
    key: hmac::Key,
    tags: Vec<hmac::Tag>,
    peers: HashSet<Vec<u8>>,
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchors")
            .field("secrets", &self.tags.len())
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

impl Anchors {
    pub(super) fn new(settings: Settings) -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        let tags = settings.secrets.iter().map(|secret| hmac::sign(&key, secret.expose_secret().as_bytes())).collect();
        let peers = settings.peers.into_iter().map(String::into_bytes).collect();
        Ok(Self { key, tags, peers })
    }

    pub(super) fn wanted(&self) -> AttributeSelection {
        let extension = (!self.tags.is_empty()).then_some(EXTENSION);
        AttributeSelection { principal: !self.peers.is_empty(), extension, ..AttributeSelection::default() }
    }

    /// Succeeds where every anchor that is set holds.
    pub(super) fn hold(&self, attributes: &RequestAttributes) -> Result<(), Error> {
        let known = |tag: &hmac::Tag| hmac::verify(&self.key, &attributes.extension, tag.as_ref()).is_ok();
        if !self.tags.is_empty() && !self.tags.iter().any(known) {
            return Err(Error::Secret);
        }
        if !self.peers.is_empty() && !self.peers.contains(&attributes.principal[..]) {
            return Err(Error::Peer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(secrets: &[&str], peers: &[&str]) -> Settings {
        Settings {
            secrets: secrets.iter().map(|secret| SecretString::from(*secret)).collect(),
            peers: peers.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_principal_and_metadata_count_only_where_the_port_knows_its_callers_and_the_secret_anywhere() {
        for (secrets, peers, metadata, known_callers, counts) in [
            (&[][..], &[][..], false, false, false),
            (&[], &[], false, true, false),
            (&[], &["p"], false, false, false),
            (&[], &["p"], false, true, true),
            (&[], &[], true, false, false),
            (&[], &[], true, true, true),
            (&["s"], &[], false, false, true),
            (&["s"], &[], false, true, true),
            (&["s"], &["p"], true, false, true),
        ] {
            let settings = settings(secrets, peers);
            assert_eq!(settings.count(known_callers, metadata), counts, "{settings:?} {known_callers} {metadata}");
        }
    }

    #[test]
    fn every_anchor_that_is_set_must_hold() {
        let attributes = |extension: &'static str, principal: &'static str| RequestAttributes {
            extension: extension.into(),
            principal: principal.into(),
            ..RequestAttributes::default()
        };
        let secret = settings(&["new", "old"], &[]);
        let peers = settings(&[], &["spiffe://td/proxy", "other"]);
        let both = settings(&["new"], &["other"]);
        for (settings, extension, principal, expected) in [
            (&secret, "new", "", Ok(())),
            (&secret, "old", "anybody", Ok(())),
            (&secret, "", "", Err(Error::Secret)),
            (&secret, "ne", "", Err(Error::Secret)),
            (&secret, "newx", "", Err(Error::Secret)),
            (&peers, "", "spiffe://td/proxy", Ok(())),
            (&peers, "", "other", Ok(())),
            (&peers, "new", "", Err(Error::Peer)),
            (&peers, "", "spiffe://td/proxy2", Err(Error::Peer)),
            (&peers, "", "SPIFFE://td/proxy", Err(Error::Peer)),
            (&both, "new", "other", Ok(())),
            (&both, "new", "", Err(Error::Peer)),
            (&both, "", "other", Err(Error::Secret)),
        ] {
            let anchors = Anchors::new(settings.clone()).unwrap();
            assert_eq!(anchors.hold(&attributes(extension, principal)), expected, "{extension} {principal}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let anchors = Anchors::new(settings(&["hidden"], &[])).unwrap();
        assert!(!format!("{anchors:?} {:?}", settings(&["hidden"], &[])).contains("hidden"));
    }
}

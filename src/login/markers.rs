//! Markers of logouts at the provider: sessions that are not younger than theirs are ended.
//!
//! The provider tells of a logout by its own name of the session (`sid`), or by the subject, all of whose sessions end. Which
//! records that concerns is not known to the one who is told. So it writes a marker, and whoever reads a session reads its two
//! markers with it.

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::session::Session;
use crate::credentials::CacheKey;
use crate::identity::Millis;

/// The kind of a marker's record, in its name.
const KIND: &str = "logout";

/// A logout token that was verified (`OpenID` Connect Back-Channel Logout 1.0 §2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutNotice {
    /// `iss`.
    pub issuer: String,
    /// What it ends.
    pub of: LoggedOut,
    /// `iat`, in milliseconds since 1970.
    pub issued: Millis,
}

/// What a logout ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedOut {
    /// The one session that the provider calls so: where the token has a `sid`, whether or not it has a `sub` too.
    Session(String),
    /// All sessions of this subject: where the token has a `sub` alone.
    Subject(String),
}

/// The names of the two markers that a session may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkerKeys {
    pub(crate) subject: CacheKey,
    /// None where the provider gave the session no name.
    pub(crate) session: Option<CacheKey>,
}

impl MarkerKeys {
    pub(crate) fn of(session: &Session) -> Self {
        let owner = &session.identity.owner;
        Self {
            subject: key(&owner.issuer, "sub", &owner.subject),
            session: session.sid.as_ref().map(|sid| key(&owner.issuer, "sid", sid)),
        }
    }
}

impl LogoutNotice {
    /// The name of the marker.
    pub(crate) fn key(&self) -> CacheKey {
        match &self.of {
            LoggedOut::Session(sid) => key(&self.issuer, "sid", sid),
            LoggedOut::Subject(subject) => key(&self.issuer, "sub", subject),
        }
    }

    /// The marker.
    pub(crate) fn marker(&self) -> Marker {
        Marker { issued: self.issued / 1000 }
    }
}

fn key(issuer: &str, claim: &str, value: &str) -> CacheKey {
    let mut context = Context::new(&SHA256);
    // neither an issuer, which is a URL, nor a claim's name contains a zero byte
    for part in [issuer, "\0", claim, "\0", value] {
        context.update(part.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    CacheKey::of_digest(KIND, &digest)
}

/// The moment of a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The `iat` of the logout token, in seconds since 1970 by the provider's clock.
    #[serde(rename = "iat")]
    issued: u64,
}

impl Marker {
    /// Whether it ends a session with this `iat`. A session of the same second is ended too: which of the two was first is not
    /// known.
    pub(crate) fn ends(self, signed_in: Millis) -> bool {
        signed_in / 1000 <= self.issued
    }

    pub(crate) fn encode(self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        serde_json::to_vec(&self).map(Zeroizing::new)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

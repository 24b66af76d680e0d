//! A session as replicas share it, and its form in the store.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::renew::{Renewed, SignedIn};
use crate::clock::{millis, unix_millis};
use crate::identity::{AsOf, Identity, Millis, Owner, Username, UsernameError};

/// One attempt to refresh a session's tokens: a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimId(pub u128);

/// The right to redeem a session's refresh token, which one attempt has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The attempt that has it.
    pub id: ClaimId,
    /// How many claims on this refresh token there were, with this one.
    pub attempt: u32,
}

/// A session: who is logged in, until when, and how that is renewed. It has no `Debug`, because of the tokens.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) identity: Identity,
    pub(crate) sid: Option<String>,
    /// The `iat` of the ID token of the login, by the provider's clock; a refresh leaves it.
    pub(crate) signed_in: Millis,
    /// When the session began.
    pub(crate) born: Millis,
    pub(crate) id_token: SecretString,
    pub(crate) refresh_token: Option<SecretString>,
    /// When the tokens were received.
    pub(crate) received: Millis,
    /// How long the tokens are good from then on.
    pub(crate) lifetime: Duration,
    /// How often the tokens were renewed.
    pub(crate) generation: u64,
    pub(crate) claim: Option<Claim>,
    /// The life that the store was given when this was written. Uses extend it without a change of the bytes, but not while there
    /// is a claim: the age of a claim is this life less what remains of it, by the store's clock alone.
    pub(crate) life: Duration,
    /// Fields of a later release.
    pub(crate) unknown: serde_json::Map<String, serde_json::Value>,
}

/// Why stored bytes are no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Username(#[from] UsernameError),
}

/// The sealed content. Fields that a later release adds are kept, and those that an earlier one lacks have defaults, so that replicas of
/// two releases can share a store.
#[derive(Serialize, Deserialize)]
struct Plain {
    username: String,
    issuer: String,
    subject: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    full_name: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: Vec<(String, Vec<String>)>,
    as_of: Millis,
    expires: Millis,
    #[serde(default)]
    sid: Option<String>,
    signed_in: Millis,
    born: Millis,
    id_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    received: Millis,
    lifetime_ms: u64,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    claim: Option<Claim>,
    life_ms: u64,
    #[serde(flatten)]
    unknown: serde_json::Map<String, serde_json::Value>,
}

impl Session {
    /// The bytes to seal.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let Identity { username, owner, email, full_name, groups, claims, as_of, expires } = &self.identity;
        let plain = Plain {
            username: username.as_str().to_owned(),
            issuer: owner.issuer.to_string(),
            subject: owner.subject.to_string(),
            email: email.clone(),
            full_name: full_name.clone(),
            groups: groups.clone(),
            claims: claims.clone(),
            as_of: as_of.or(self.received),
            expires: unix_millis(*expires),
            sid: self.sid.clone(),
            signed_in: self.signed_in,
            born: self.born,
            id_token: self.id_token.expose_secret().to_owned(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
            received: self.received,
            lifetime_ms: millis(self.lifetime),
            generation: self.generation,
            claim: self.claim,
            life_ms: rounded_up(self.life),
            unknown: self.unknown.clone(),
        };
        let encoded = serde_json::to_vec(&plain).map(Zeroizing::new);
        let (_id, _refresh) = (Zeroizing::new(plain.id_token), plain.refresh_token.map(Zeroizing::new));
        encoded
    }

    /// Reads the bytes that a seal protected.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let plain: Plain = serde_json::from_slice(bytes)?;
        let identity = Identity {
            username: Username::parse(&plain.username)?,
            owner: Owner { issuer: Arc::from(plain.issuer), subject: Arc::from(plain.subject) },
            email: plain.email,
            full_name: plain.full_name,
            groups: plain.groups,
            claims: plain.claims,
            as_of: AsOf::At(plain.as_of),
            expires: time(plain.expires),
        };
        Ok(Self {
            identity,
            sid: plain.sid,
            signed_in: plain.signed_in,
            born: plain.born,
            id_token: plain.id_token.into(),
            refresh_token: plain.refresh_token.map(SecretString::from),
            received: plain.received,
            lifetime: Duration::from_millis(plain.lifetime_ms),
            generation: plain.generation,
            claim: plain.claim,
            life: Duration::from_millis(plain.life_ms),
            unknown: plain.unknown,
        })
    }

    /// The same session with new tokens, which were received now, and without a claim.
    pub(crate) fn renewed(&self, renewed: &Renewed, now: SystemTime) -> Self {
        let received = unix_millis(now);
        let mut session = Self { received, lifetime: renewed.lifetime, claim: None, ..self.clone() };
        session.generation = self.generation.saturating_add(1);
        if let Some(SignedIn { identity, sid, id_token }) = &renewed.signed_in {
            session.identity = identity.clone();
            session.identity.as_of = AsOf::At(identity.as_of.or(received));
            session.id_token = id_token.clone();
            session.sid = sid.clone().or(session.sid);
        }
        if renewed.refresh_token.is_some() {
            session.refresh_token.clone_from(&renewed.refresh_token);
        }
        session
    }

    /// The same session with another refresh token, and without a claim: it is due as before.
    pub(crate) fn with_refresh_token(&self, refresh_token: &SecretString) -> Self {
        let generation = self.generation.saturating_add(1);
        Self { refresh_token: Some(refresh_token.clone()), generation, claim: None, ..self.clone() }
    }

    /// When the person logged in.
    pub(crate) fn began(&self) -> SystemTime {
        time(self.born)
    }

    /// The absolute end.
    pub(crate) fn ends(&self, lifetime: Duration) -> SystemTime {
        time(self.born) + lifetime
    }

    /// When the tokens end.
    pub(crate) fn tokens_end(&self) -> SystemTime {
        time(self.received) + self.lifetime
    }

    /// From when on the tokens are renewed: at three quarters of their life. None where there is no refresh token.
    pub(crate) fn renewal_due(&self) -> Option<SystemTime> {
        self.refresh_token.as_ref().map(|_| time(self.received) + self.lifetime / 4 * 3)
    }

    /// How long ago this was written, by the store's clock; only of a session with a claim, whose life is not extended. No record
    /// has more life left than it was given: one that has was restored, and counts as old.
    pub(crate) fn age(&self, remaining: Duration) -> Duration {
        self.life.checked_sub(remaining).unwrap_or(Duration::MAX)
    }
}

/// Bounded, so that no time overflows.
fn time(at: Millis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.min(1 << 48))
}

/// Rounded up: a store may keep a life more exactly, and a record with more life left than it was given counts as restored.
fn rounded_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

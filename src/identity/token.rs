//! Verification of one JSON Web Token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::Algorithm;

use super::claims::{self, Claims};
use super::jwks::Key;
use super::keyring::Keyring;
use super::strict_object::StrictObject;
use super::verification_limit::VerificationLimit;
use super::{AsOf, Identity, KeySource, Owner, Verified, algorithm, jws};

mod checks;
mod rules;

pub use super::error::Error;
pub use checks::Check;
pub(super) use rules::{Rules, Times, is_named_other_than_logout, kind};

/// What a token must be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.issuer`: the exact `iss`.
    pub issuer: String,
    /// `oidc.audience`: one of these must be in `aud`. Default: the client id.
    pub audiences: Vec<String>,
    /// `oidc.authorized_parties`: for which clients a token may have been made. Empty: one of the audiences where the token has
    /// several, any client where it has one.
    pub authorized_parties: Vec<String>,
    /// `oidc.algorithms`. Default: RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 `EdDSA`.
    pub algorithms: Vec<Algorithm>,
    /// `oidc.leeway`: tolerated clock difference. Default 60 s.
    pub leeway: Duration,
    /// `oidc.claim_mappings` and what else is said about claims.
    pub claims: claims::Settings,
}

/// Turns tokens of one issuer into identities.
#[derive(Debug)]
pub struct Verifier<K> {
    keyring: Keyring<K>,
    /// The allowed ones: the header can only choose among them.
    algorithms: Vec<Algorithm>,
    rules: Rules,
    claims: claims::Settings,
    limit: VerificationLimit,
}

/// A token with the right signature, kind, issuer, audience and times. Only [`Verifier::signed`] makes one.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) claims: Claims,
    pub(super) key: Arc<Key>,
    pub(super) times: Times,
}

/// A token with the right signature, of which nothing else has been checked. Only [`Verifier::authentic`] makes one.
#[derive(Debug)]
pub(super) struct Authentic {
    pub(super) claims: Claims,
    pub(super) key: Arc<Key>,
    pub(super) algorithm: Algorithm,
}

impl<K: KeySource> Verifier<K> {
    /// A verifier with these keys; see [`algorithm::install`] for what else it does.
    #[must_use]
    pub fn new(keyring: Keyring<K>, settings: Settings) -> Self {
        algorithm::install();
        let Settings { issuer, audiences, authorized_parties, mut algorithms, leeway, claims } = settings;
        algorithms.retain(|name| algorithm::supported(*name));
        Self {
            keyring,
            algorithms,
            rules: Rules { issuer: issuer.into(), audiences, authorized_parties, leeway },
            claims,
            limit: VerificationLimit::unlimited(),
        }
    }

    /// Checks signatures only within this limit.
    pub(super) fn limited(self, limit: VerificationLimit) -> Self {
        Self { limit, ..self }
    }

    /// The keys, for readiness.
    #[must_use]
    pub fn keyring(&self) -> &Keyring<K> {
        &self.keyring
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn mapping(&self) -> &claims::Settings {
        &self.claims
    }

    /// Checks form, signature and claims (RFC 7519 §7.2, RFC 8725 §3). `now` is the wall clock. The outcome depends on the
    /// token, the keys and the time, and on nothing else.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        let Signed { claims, key, times } = self.signed(token, now).await?;
        let identity = self.identity(&claims, AsOf::At(times.issued), times.expires)?;
        Ok(Verified::by_key(identity, key, self.rules.end(times.expires)))
    }

    pub(super) async fn signed(&self, token: &str, now: SystemTime) -> Result<Signed, Error> {
        let Authentic { claims, key, algorithm: _ } = self.authentic(token, jws::Kind::Bearer).await?;
        let times = self.rules.check(&claims, now)?;
        Ok(Signed { claims, key, times })
    }

    /// Checks the form and the signature. What the claims must say depends on the kind of token.
    pub(super) async fn authentic(&self, token: &str, kind: jws::Kind) -> Result<Authentic, Error> {
        let header = jws::read(token, kind)?;
        let algorithm = header.algorithm;
        if !self.algorithms.contains(&algorithm) {
            return Err(Error::Algorithm);
        }
        let key = self.keyring.key(header.kid.as_deref(), algorithm).await?;
        // the limit is not taken while keys are fetched: a token that cannot be checked yet must not hold up the others
        let claims = self.limit.run(|| verified(token, &key, algorithm)).await?;
        Ok(Authentic { claims, key, algorithm })
    }

    pub(super) fn identity(&self, claims: &Claims, as_of: AsOf, expires: SystemTime) -> Result<Identity, Error> {
        let subject = claims.subject()?.into();
        let claims::Mapped { username, email, full_name, groups, kept } = self.claims.apply(claims)?;
        let owner = Owner { issuer: self.rules.issuer.clone(), subject };
        Ok(Identity { username, owner, email, full_name, groups, claims: kept, as_of, expires })
    }
}

/// The signature, and then the claims. `jsonwebtoken` is not given the whole token: it does not know all names of algorithms,
/// reads the clock itself, and takes an array with the issuer in it for `iss`. The claims are judged by [`Rules`].
fn verified(token: &str, key: &Key, algorithm: Algorithm) -> Result<Claims, Error> {
    let (message, payload, signature) = jws::parts(token)?;
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), key.decoding(), algorithm) {
        Ok(true) => {}
        Ok(false) => return Err(Error::Signature),
        // the key is of another family
        Err(_) => return Err(Error::Algorithm),
    }
    let claims = serde_json::from_slice::<StrictObject>(&payload);
    claims
        .map(Claims::verified)
        .map_err(|_| Error::Malformed("its claims are not a JSON object without repeated names"))
}

#[cfg(test)]
mod tests;

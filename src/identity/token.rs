//! Verification of one JSON Web Token.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

use super::keyring::Keyring;
use super::object::Object;
use super::{AsOf, Identity, KeySource, Millis, Owner, Verified, algorithm, claims, jws};

mod error;

pub use error::Error;

/// What a token must be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.issuer`: the exact `iss`.
    pub issuer: String,
    /// `oidc.audience`: one of these must be in `aud`. Default: the client id.
    pub audiences: Vec<String>,
    /// `oidc.algorithms`. Default: RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 `EdDSA`.
    pub algorithms: Vec<Algorithm>,
    /// `oidc.leeway`: tolerated clock difference. Default 60 s.
    pub leeway: Duration,
    /// `oidc.claim_mappings`.
    pub claims: claims::Settings,
}

/// Turns tokens of one issuer into identities.
#[derive(Debug)]
pub struct Verifier<K> {
    keyring: Keyring<K>,
    /// One per allowed algorithm, so that the header can only choose among them.
    validations: Vec<(Algorithm, Validation)>,
    issuer: Arc<str>,
    leeway: Duration,
    claims: claims::Settings,
}

impl<K: KeySource> Verifier<K> {
    /// A verifier with these keys; see [`algorithm::install`] for what else it does.
    #[must_use]
    pub fn new(keyring: Keyring<K>, settings: Settings) -> Self {
        algorithm::install();
        let allowed = settings.algorithms.iter().copied().filter(|name| algorithm::supported(*name));
        let validations = allowed.map(|name| (name, validation(name, &settings))).collect();
        let Settings { issuer, leeway, claims, .. } = settings;
        Self { keyring, validations, issuer: issuer.into(), leeway, claims }
    }

    /// The keys, for readiness.
    #[must_use]
    pub fn keyring(&self) -> &Keyring<K> {
        &self.keyring
    }

    /// Checks form, signature and claims (RFC 7519 §7.2, RFC 8725 §3). `now` is the wall clock. The outcome depends on
    /// the token, the keys and the time, and on nothing else.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, Error> {
        let header = jws::read(token)?;
        let (_, validation) =
            self.validations.iter().find(|(name, _)| *name == header.algorithm).ok_or(Error::Algorithm)?;
        let key = self.keyring.key(header.kid.as_deref(), header.algorithm).await?;
        let claims = Claims::verified(token, &key, validation)?;
        let identity = self.identity(&claims, now)?;
        let until = identity.expires.checked_add(self.leeway).unwrap_or(identity.expires);
        Ok(Verified::by_key(identity, key, until))
    }

    fn identity(&self, claims: &Claims, now: SystemTime) -> Result<Identity, Error> {
        // jsonwebtoken also takes an array with the issuer in it; RFC 7519 §4.1.1 knows one string
        if claims.string("iss")? != &*self.issuer {
            return Err(Error::Issuer);
        }
        // Times are checked here and not by jsonwebtoken, which reads the clock itself.
        let (expires, _) = claims.time("exp")?.ok_or_else(|| Error::ClaimMissing("exp".into()))?;
        let (issued, as_of) = claims.time("iat")?.ok_or_else(|| Error::ClaimMissing("iat".into()))?;
        if before(expires, now, self.leeway) {
            return Err(Error::Expired);
        }
        if claims.time("nbf")?.is_some_and(|(begins, _)| after(begins, now, self.leeway)) {
            return Err(Error::NotYetValid);
        }
        if after(issued, now, self.leeway) {
            return Err(Error::IssuedInFuture);
        }
        let subject = claims.string("sub")?;
        if subject.is_empty() {
            return Err(Error::ClaimMissing("sub".into()));
        }
        let claims::Mapped { username, email, full_name, groups } = self.claims.apply(claims)?;
        let owner = Owner { issuer: self.issuer.clone(), subject: subject.into() };
        Ok(Identity { username, owner, email, full_name, groups, as_of: AsOf::At(as_of), expires })
    }
}

/// RFC 7519 §4.1.4: a token is not accepted *on* or after its `exp`.
fn before(expires: SystemTime, now: SystemTime, leeway: Duration) -> bool {
    now.duration_since(expires).is_ok_and(|past| past >= leeway)
}

fn after(moment: SystemTime, now: SystemTime, leeway: Duration) -> bool {
    moment.duration_since(now).is_ok_and(|ahead| ahead > leeway)
}

fn validation(algorithm: Algorithm, settings: &Settings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["iss", "aud"]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&settings.audiences);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// The claims of a token whose signature, issuer and audience are right. Only this module makes them.
#[derive(Debug)]
pub(super) struct Claims(Object);

impl Claims {
    fn verified(token: &str, key: &super::jwks::Key, validation: &Validation) -> Result<Self, Error> {
        match jsonwebtoken::decode::<Object>(token, key.decoding(), validation) {
            Ok(data) => Ok(Self(data.claims)),
            Err(error) => Err(match error.into_kind() {
                ErrorKind::InvalidSignature => Error::Signature,
                ErrorKind::InvalidIssuer => Error::Issuer,
                ErrorKind::InvalidAudience => Error::Audience,
                ErrorKind::MissingRequiredClaim(name) => Error::ClaimMissing(name),
                ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Error::Algorithm,
                _ => Error::Malformed("its claims are not a JSON object without repeated names"),
            }),
        }
    }

    #[cfg(test)]
    pub(super) fn unverified(claims: &Value) -> Self {
        Self(serde_json::from_value(claims.clone()).unwrap())
    }

    pub(super) fn members(&self) -> &Map<String, Value> {
        self.0.members()
    }

    fn string(&self, name: &str) -> Result<&str, Error> {
        match self.members().get(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Error::ClaimType(name.into())),
            None => Err(Error::ClaimMissing(name.into())),
        }
    }

    /// A `NumericDate` (RFC 7519 §2), down to the second, also as milliseconds. Before 1970 and beyond what
    /// both forms can hold is the wrong type.
    fn time(&self, name: &str) -> Result<Option<(SystemTime, Millis)>, Error> {
        let Some(value) = self.members().get(name) else { return Ok(None) };
        let moment = seconds(value).and_then(|seconds| {
            Some((UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?, seconds.checked_mul(1000)?))
        });
        moment.map(Some).ok_or_else(|| Error::ClaimType(name.into()))
    }
}

fn seconds(value: &Value) -> Option<u64> {
    /// The end of the year 9999: above it a float may no longer be a whole second.
    const END: f64 = 253_402_300_800.0;
    value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..END).contains(seconds))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and END")]
        let whole = seconds.trunc() as u64;
        Some(whole)
    })
}

#[cfg(test)]
mod tests;

//! Verification of one JSON Web Token (RFC 7519, RFC 8725).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};

use super::claims::{self, Object};
use super::keyring::{self, Keyring};
use super::{Identity, KeySource};

/// Larger tokens are refused unread: real ones are one or two kilobytes.
const MAX_TOKEN: usize = 16 * 1024;

/// What a token must be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.issuer`: the exact `iss`.
    pub issuer: String,
    /// `oidc.audience`: one of these must be in `aud`. Default: the client id.
    pub audiences: Vec<String>,
    /// `oidc.algorithms`. Default: RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// `oidc.leeway`: tolerated clock difference for `exp`, `nbf` and `iat`. Default 60 s.
    pub leeway: Duration,
    /// `oidc.claim_mappings`.
    pub claims: claims::Settings,
}

/// Why a token gives no identity. Texts name claims, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not three base64url parts with JSON objects, or over the size limit.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `alg` is not allowed, or does not suit the key.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    Signature,
    /// `iss`
    #[error("the token is of another issuer")]
    Issuer,
    /// `aud`
    #[error("the token is for another audience")]
    Audience,
    /// `exp`
    #[error("the token has expired")]
    Expired,
    /// `nbf`
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat`
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// A claim is missing or of the wrong type.
    #[error("{0}")]
    Claim(claims::Error),
    /// The name is no name for an Elasticsearch user.
    #[error("{0}")]
    Username(super::UsernameError),
    /// The key set has no such key, or the token names none.
    #[error("{0}")]
    Key(keyring::Error),
}

impl Error {
    /// The stable name for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::IssuedInFuture => "token_issued_in_future",
            Self::Claim(_) => "token_claim",
            Self::Username(_) => "username_refused",
            Self::Key(keyring::Error::Unknown) => "token_key_unknown",
            Self::Key(keyring::Error::NoKeyId) => "token_key_id_missing",
            Self::Key(keyring::Error::Unavailable(_)) => "keys_unavailable",
        }
    }

    /// Whether the provider's keys could not be had.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Key(keyring::Error::Unavailable(_)))
    }

    /// Whether the token verifies but its bearer cannot be let in.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Username(_))
    }

    /// One of each kind, for tests over all of them.
    #[cfg(test)]
    pub(crate) fn examples() -> Vec<Self> {
        vec![
            Self::Malformed("x"),
            Self::Algorithm,
            Self::Signature,
            Self::Issuer,
            Self::Audience,
            Self::Expired,
            Self::NotYetValid,
            Self::IssuedInFuture,
            Self::Claim(claims::Error::Missing("sub".into())),
            Self::Username(super::UsernameError::Empty),
            Self::Key(keyring::Error::Unknown),
            Self::Key(keyring::Error::NoKeyId),
            Self::Key(keyring::Error::Unavailable("down".into())),
        ]
    }
}

/// Verifies tokens of one issuer.
pub struct Verifier<K: KeySource> {
    keyring: Keyring<K>,
    settings: Settings,
}

impl<K: KeySource> Verifier<K> {
    /// With the keys of that issuer.
    pub fn new(keyring: Keyring<K>, settings: Settings) -> Self {
        Self { keyring, settings }
    }

    /// Whether keys are known or can be had.
    pub async fn ready(&self) -> Result<(), keyring::Error> {
        self.keyring.ready().await
    }

    /// The token's bearer. `now` is compared with `iat`; `exp` and `nbf` are jsonwebtoken's, by the same clock.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, Error> {
        let header = header(token)?;
        let algorithm = self.algorithm(&header)?;
        let key =
            header.0.get("kid").map(|kid| kid.as_str().ok_or(Error::Malformed("kid is no string"))).transpose()?;
        let key = self.keyring.key(key, algorithm).await.map_err(Error::Key)?;
        let data = jsonwebtoken::decode::<Object>(token, key.decoding(), &self.validation(algorithm));
        let claims = data.map_err(|error| refusal(error.kind()))?.claims.0;

        let leeway = self.settings.leeway.as_secs();
        let time = |name: &'static str| seconds(claims.get(name), name);
        let (issued, expires) = (time("iat")?, time("exp")?);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if issued > now.saturating_add(leeway) {
            return Err(Error::IssuedInFuture);
        }
        let mapped = claims::map(&self.settings.claims, &claims).map_err(|error| match error {
            claims::Error::Username(error) => Error::Username(error),
            other => Error::Claim(other),
        })?;
        Ok(Identity {
            username: mapped.username,
            owner: mapped.owner,
            email: mapped.email,
            full_name: mapped.full_name,
            groups: mapped.groups,
            as_of: issued.saturating_mul(1000),
            expires: UNIX_EPOCH.checked_add(Duration::from_secs(expires)).unwrap_or(UNIX_EPOCH),
        })
    }

    /// From the allow-list; which key may serve it is the key's matter, never the token's alone (RFC 8725 §3.1).
    fn algorithm(&self, header: &Object) -> Result<Algorithm, Error> {
        if header.0.contains_key("crit") {
            return Err(Error::Malformed("critical extensions are not understood"));
        }
        let name = header.0.get("alg").and_then(|alg| alg.as_str()).ok_or(Error::Malformed("no alg"))?;
        let algorithm: Algorithm = name.parse().map_err(|_| Error::Algorithm)?;
        if self.settings.algorithms.contains(&algorithm) { Ok(algorithm) } else { Err(Error::Algorithm) }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.settings.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&self.settings.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation
    }
}

/// The unverified header: it only selects a key and an algorithm.
fn header(token: &str) -> Result<Object, Error> {
    if token.len() > MAX_TOKEN {
        return Err(Error::Malformed("over 16 KiB"));
    }
    if token.split('.').count() != 3 {
        return Err(Error::Malformed("not three parts"));
    }
    let part = token.split('.').next().unwrap_or_default();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
    let bytes = bytes.map_err(|_| Error::Malformed("the header is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Malformed("the header is no JSON object of distinct names"))
}

/// A NumericDate (RFC 7519 §2): seconds, a fraction is cut off. Far-away and negative times are refused.
fn seconds(value: Option<&serde_json::Value>, name: &'static str) -> Result<u64, Error> {
    let value = value.ok_or_else(|| Error::Claim(claims::Error::Missing(name.into())))?;
    let wrong = || Error::Claim(claims::Error::Type(name.into()));
    let cut = value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|f| (0.0..1e12).contains(f))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range just checked")]
        Some(float as u64)
    });
    cut.filter(|seconds| *seconds < 1_000_000_000_000).ok_or_else(wrong)
}

fn refusal(kind: &ErrorKind) -> Error {
    match kind {
        ErrorKind::InvalidSignature => Error::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Error::Algorithm,
        ErrorKind::InvalidIssuer => Error::Issuer,
        ErrorKind::InvalidAudience => Error::Audience,
        ErrorKind::ExpiredSignature => Error::Expired,
        ErrorKind::ImmatureSignature => Error::NotYetValid,
        ErrorKind::MissingRequiredClaim(name) => Error::Claim(claims::Error::Missing(name.clone())),
        ErrorKind::InvalidClaimFormat(name) => Error::Claim(claims::Error::Type(name.clone())),
        _ => Error::Malformed("not a JSON Web Token"),
    }
}

#[cfg(test)]
mod tests;

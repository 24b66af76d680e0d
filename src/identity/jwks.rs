//! A JSON Web Key Set (RFC 7517) read into the keys that can verify a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::algorithm;
use super::error::KeyError;

/// A public key, and what it may verify.
#[derive(Debug)]
pub struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
    withdrawn: AtomicBool,
}

impl Key {
    /// The key's id, `kid`, where the provider gives one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether type, curve, the key's own `alg` and the configuration agree with the algorithm.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether the provider no longer publishes it: what it verified before counts no longer. It costs one load of a
    /// flag, for the cache of verified tokens.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// For the keyring, when the key is not in the newest set.
    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// Whether the other one verifies the same tokens.
    pub(super) fn equals(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let same = match (self.decoding.kind(), other.decoding.kind()) {
            (SecretOrDer(one), SecretOrDer(two)) => one == two,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: other_n, e: other_e }) => {
                (n, e) == (other_n, other_e)
            }
            (SecretOrDer(_), RsaModulusExponent { .. }) | (RsaModulusExponent { .. }, SecretOrDer(_)) => false,
        };
        same && self.kid == other.kid && self.algorithms == other.algorithms
    }

    /// Whether a token could name both and mean another key.
    fn is_mistakable_for(&self, other: &Self) -> bool {
        let named_alike = self.kid.is_some() && self.kid == other.kid;
        let share = self.algorithms.iter().any(|algorithm| other.verifies(*algorithm));
        named_alike && share && !self.equals(other)
    }

    /// The key in the form that `jsonwebtoken` verifies with.
    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// What a key set document holds.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Keys that can verify with at least one allowed algorithm.
    pub(super) keys: Vec<Arc<Key>>,
    /// Why keys that should have been usable are not. Keys for another purpose are not listed.
    pub(super) bad: Vec<&'static str>,
}

/// Reads a key set. One key that cannot be used does not spoil the others.
///
/// Fails when the document as a whole is not a key set; the reason never quotes it.
pub(super) fn parse(document: &[u8], allowed: &[Algorithm]) -> Result<Parsed, &'static str> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(document).map_err(|_| "the key set is not a JSON Web Key Set")?;
    let mut parsed = Parsed { keys: Vec::new(), bad: Vec::new() };
    for value in set.keys {
        match usable(value, allowed) {
            Ok(key) => parsed.keys.push(Arc::new(key)),
            Err(Unusable::Foreign) => {}
            Err(Unusable::Bad(why)) => parsed.bad.push(why),
        }
    }
    // a token does not say which of the two it means
    let all = parsed.keys.clone();
    parsed.keys.retain(|key| !all.iter().any(|other| key.is_mistakable_for(other)));
    parsed.bad.extend(std::iter::repeat_n("a key id stands for two keys", all.len() - parsed.keys.len()));
    Ok(parsed)
}

/// The key for a token: by `kid` first, then by what it may verify, since RFC 7517 §4.5 lets keys of
/// different types share an id.
pub(super) fn choose(keys: &[Arc<Key>], kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, KeyError> {
    let named: Vec<_> = match kid {
        Some(kid) => keys.iter().filter(|key| key.id() == Some(kid)).collect(),
        None if keys.len() > 1 => return Err(KeyError::MissingKid),
        None => keys.iter().collect(),
    };
    if named.is_empty() {
        return Err(KeyError::UnknownKey);
    }
    named.into_iter().find(|key| key.verifies(algorithm)).cloned().ok_or(KeyError::Algorithm)
}

/// Why a key is left out.
enum Unusable {
    /// Made for something else (encryption, another algorithm, a type that we do not know): RFC 7517 §5
    /// says to ignore those.
    Foreign,
    /// Meant for signatures, but malformed or too weak.
    Bad(&'static str),
}

/// RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable(value: Value, allowed: &[Algorithm]) -> Result<Key, Unusable> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| Unusable::Bad("a member has the wrong type"))?;
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
        || jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify"))
    {
        return Err(Unusable::Foreign);
    }
    let algorithms: Vec<_> = candidates(&jwk)
        .iter()
        .copied()
        .filter(|candidate| allowed.contains(candidate))
        .filter(|candidate| jwk.alg.as_deref().is_none_or(|name| algorithm::named(name) == Some(*candidate)))
        .collect();
    if algorithms.is_empty() {
        return Err(Unusable::Foreign);
    }
    let decoding = match jwk.kty.as_str() {
        "RSA" => rsa(&jwk)?,
        "EC" => point(&jwk)?,
        _ => DecodingKey::from_ed_der(&coordinate(jwk.x.as_deref(), 32)?),
    };
    Ok(Key { kid: jwk.kid, algorithms, decoding, withdrawn: AtomicBool::new(false) })
}

/// The algorithms that type and curve permit. Symmetric keys (`oct`) permit none.
fn candidates(jwk: &Jwk) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        ("EC", Some("P-256")) => &[ES256],
        ("EC", Some("P-384")) => &[ES384],
        ("OKP", Some("Ed25519")) => &[EdDSA],
        _ => &[],
    }
}

fn rsa(jwk: &Jwk) -> Result<DecodingKey, Unusable> {
    let n = decode(jwk.n.as_deref())?;
    let e = decode(jwk.e.as_deref())?;
    // Some issuers prefix a zero byte as in ASN.1 (RFC 7518 §6.3.1.1 warns of it); ring refuses that.
    let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if bits < 2048 {
        return Err(Unusable::Bad("an RSA modulus is shorter than 2048 bits"));
    }
    if bits > 8192 {
        return Err(Unusable::Bad("an RSA modulus is longer than 8192 bits"));
    }
    // An even exponent is no RSA, and with 1 every message is its own signature. ring's ceiling is 33 bits.
    if e.len() > 5 || e.last().is_none_or(|last| last % 2 == 0) || e == [1] {
        return Err(Unusable::Bad("an RSA exponent is out of range"));
    }
    Ok(DecodingKey::from_rsa_raw_components(n, e))
}

/// The uncompressed point of SEC 1 §2.3.3, as ring takes it.
fn point(jwk: &Jwk) -> Result<DecodingKey, Unusable> {
    let length = if jwk.crv.as_deref() == Some("P-384") { 48 } else { 32 };
    let mut point = vec![4];
    point.extend(coordinate(jwk.x.as_deref(), length)?);
    point.extend(coordinate(jwk.y.as_deref(), length)?);
    Ok(DecodingKey::from_ec_der(&point))
}

fn coordinate(member: Option<&str>, length: usize) -> Result<Vec<u8>, Unusable> {
    let bytes = decode(member)?;
    if bytes.len() == length { Ok(bytes) } else { Err(Unusable::Bad("a coordinate has the wrong length")) }
}

fn decode(member: Option<&str>) -> Result<Vec<u8>, Unusable> {
    let member = member.ok_or(Unusable::Bad("a member is missing"))?;
    URL_SAFE_NO_PAD.decode(member).map_err(|_| Unusable::Bad("a member is not base64url"))
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    &bytes[start..]
}

#[cfg(test)]
mod tests;

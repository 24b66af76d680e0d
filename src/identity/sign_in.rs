//! What the provider gives for a login in a browser, and what it must say in addition to every other token.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use ring::digest::{SHA256, SHA384, SHA512, digest};

use super::claims::Claims;
use super::error::Error;
use super::{Identity, Millis};

/// The tokens that the token endpoint gave for a code or a refresh token.
#[derive(Clone, Copy)]
pub struct SignInTokens<'a> {
    /// The ID token.
    pub id_token: &'a str,
    /// The access token, which `at_hash` is about, and with which userinfo is asked.
    pub access_token: &'a str,
}

/// What an ID token must be for.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The `nonce` that the login began with: the token must have it. None after a refresh: a token that was refreshed should
    /// have no `nonce`, and some providers repeat the login's (`OpenID` Connect Core §12.2). It is not looked at then, since such
    /// a token has not passed through a browser; that it is about the same subject is the caller's to compare.
    pub nonce: Option<&'a str>,
    /// `oidc.client_id`: the only audience.
    pub client_id: &'a str,
}

/// A person who has logged in at the provider.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The person, as a token of theirs would name them. The groups count from the ID token's `iat`, also where userinfo told
    /// them: it was asked later.
    pub identity: Identity,
    /// `sid`: the session at the provider, which a logout token may name.
    pub sid: Option<String>,
    /// The ID token's `iat`.
    pub issued: Millis,
    /// From the ID token's `iat` to its `exp`, by the provider's clock.
    pub lifetime: Duration,
}

impl SignedIn {
    /// `issued` and `expires` are those of the ID token.
    pub(super) fn new(identity: Identity, sid: Option<String>, issued: Millis, expires: SystemTime) -> Self {
        let begins = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(issued));
        let lifetime = begins.and_then(|begins| expires.duration_since(begins).ok()).unwrap_or_default();
        Self { identity, sid, issued, lifetime }
    }
}

/// Checks that an ID token belongs to this login and to the access token: `nonce` (`OpenID` Connect Core §3.1.3.7, 11) and
/// `at_hash` (§3.1.3.6), which need not be there. Its signature has been checked, with this algorithm.
pub(super) fn check_binding(
    claims: &Claims,
    algorithm: Algorithm,
    tokens: SignInTokens<'_>,
    expected: Expected<'_>,
) -> Result<(), Error> {
    if expected.nonce.is_some_and(|nonce| claims.get("nonce").and_then(|own| own.as_str()) != Some(nonce)) {
        return Err(Error::Nonce);
    }
    match claims.get("at_hash") {
        None => Ok(()),
        Some(own) if own.as_str() == Some(&access_token_hash(algorithm, tokens.access_token)) => Ok(()),
        Some(_) => Err(Error::AccessTokenHash),
    }
}

/// The left half of the token's digest, by the hash of the ID token's algorithm. Ed25519 hashes with SHA-512 (RFC 8032 §5.1), and
/// so providers do here.
pub(super) fn access_token_hash(algorithm: Algorithm, access_token: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &SHA384,
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &SHA512,
        // RS256, PS256 and ES256: no others are accepted
        _ => &SHA256,
    };
    let digest = digest(hash, access_token.as_bytes());
    let digest = digest.as_ref();
    URL_SAFE_NO_PAD.encode(&digest[..digest.len() / 2])
}

#[cfg(test)]
mod tests;

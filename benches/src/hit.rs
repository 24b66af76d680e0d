//! elastauth's service in this process, with the provider, the store and the users of the fuzz targets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use elastauth::authz::Callers;
use elastauth::envoy::authorization;
use elastauth::memory::{MemoryStore, Settings};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use targets::{ISSUER, OneKey, check};

use crate::Grpc;

#[path = "../../fuzz/src/lib.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the other parts are what fuzz targets do")]
mod targets;

/// A token that the service knows to be good.
#[must_use]
pub fn token() -> String {
    check::good_token()
}

/// The gRPC service: the first call with [`token`] makes a user, the others are hits.
#[must_use]
pub fn service() -> impl Grpc {
    over(check::tokens())
}

fn over(callers: Callers<OneKey>) -> impl Grpc {
    let store = MemoryStore::new(Settings { max_entries: 1000 });
    authorization(check::service(store, callers, &[]), &check::grpc(&[]))
}

/// A provider that signs with ES256, and the service that takes its tokens.
pub struct Signed(EcdsaKeyPair);

impl Signed {
    /// With a key of its own.
    ///
    /// # Panics
    ///
    /// Where the system gives no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, clippy::expect_used, reason = "a measurement fails by panicking")]
    pub fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).expect("a key"))
    }

    /// A token of the one user; no two are alike.
    ///
    /// # Panics
    ///
    /// Where the system gives no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a measurement fails by panicking")]
    pub fn token(&self) -> String {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "k"});
        let claims = json!({
            "iss": ISSUER, "aud": "elastauth", "sub": "1", "tid": "t", "preferred_username": "ann", "name": "Ann Example",
            "email": "ann@example.com", "email_verified": true, "iat": 1_700_000_000_u64, "exp": 4_102_444_800_u64,
            "realm_access": {"roles": ["/admins", "/developers"]},
        });
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key, as an uncompressed point.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// The gRPC service: the first call makes the user.
    #[must_use]
    pub fn service(&self) -> impl Grpc {
        let (x, y) = self.public_key()[1..].split_at(32);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        over(check::tokens_by(OneKey::new(&json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}))))
    }
}

//! elastauth's service in this process, with the provider, the store and the users of the fuzz targets.

use elastauth::authz::Callers;
use elastauth::envoy::authorization;
use elastauth::memory::{MemoryStore, Settings};
use elastauth_support::issuer::SigningKey;
use serde_json::{Value, json};
use targets::{ISSUER, OneKey, check};

use crate::Grpc;

#[path = "../../fuzz/src/lib.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the other parts are what fuzz targets do")]
mod targets;

/// A token that the service accepts.
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
    authorization(check::service(store, callers, &[]), &check::grpc())
}

/// The same service, for the tokens that this key signs.
#[must_use]
pub fn service_for(key: &SigningKey) -> impl Grpc {
    over(check::tokens_by(OneKey::new(&key.jwk())))
}

/// Claims that [`service_for`] accepts; they name its one user.
#[must_use]
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "elastauth", "sub": "1", "tid": "t", "preferred_username": "ann", "name": "Ann Example",
        "email": "ann@example.com", "email_verified": true, "iat": 1_700_000_000_u64, "exp": 4_102_444_800_u64,
        "realm_access": {"roles": ["/admins", "/developers"]},
    })
}

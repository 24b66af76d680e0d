//! elastauth's service in this process, with the provider, the store and the users of the fuzz targets.

use elastauth::envoy::authorization;
use elastauth::memory::{MemoryStore, Settings};

use crate::Grpc;

#[path = "../../fuzz/src/lib.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the other parts are what fuzz targets do")]
mod targets;

/// A token that the service knows to be good.
#[must_use]
pub fn token() -> String {
    targets::check::good_token()
}

/// The gRPC service: the first call with [`token`] makes a user, the others are hits.
#[must_use]
pub fn service() -> impl Grpc {
    let store = MemoryStore::new(Settings { max_entries: 1000 });
    let service = targets::check::service(store, targets::check::tokens(), &[]);
    authorization(service, &targets::check::grpc(&[]))
}

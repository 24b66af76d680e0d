//! Reflection, for `grpcurl`.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use super::wire;

/// Bytes of a question about health, or of one for reflection: they name a service, and are received without asking for room.
pub(super) const OTHER_MESSAGES: usize = 4 * 1024;

/// Adds both versions of it.
pub(super) fn add(routes: Routes) -> Result<Routes, Error> {
    let (v1, v1alpha) = (services().build_v1()?, services().build_v1alpha()?);
    let v1 = v1.max_decoding_message_size(OTHER_MESSAGES);
    Ok(routes.add_service(v1).add_service(v1alpha.max_decoding_message_size(OTHER_MESSAGES)))
}

fn services() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

//! gRPC server reflection, with which tools such as `grpcurl` learn the methods and messages.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use super::wire;

/// The most bytes of a request for health or reflection. It names a service, so that it is small and needs no reservation of
/// memory.
pub(super) const OTHER_MESSAGES: usize = 4 * 1024;

/// Adds both versions of the reflection service. `access_log` says whether the access log service is there.
pub(super) fn add(routes: Routes, access_log: bool) -> Result<Routes, Error> {
    let (v1, v1alpha) = (services(access_log).build_v1()?, services(access_log).build_v1alpha()?);
    let v1 = v1.max_decoding_message_size(OTHER_MESSAGES);
    Ok(routes.add_service(v1).add_service(v1alpha.max_decoding_message_size(OTHER_MESSAGES)))
}

fn services(access_log: bool) -> Builder<'static> {
    let services = Builder::configure()
        .register_encoded_file_descriptor_set(wire::CHECK_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    if access_log { services.register_encoded_file_descriptor_set(wire::ACCESS_LOG_DESCRIPTORS) } else { services }
}

//! Compiles `proto/` without a system `protoc`, in two ways: the official descriptors for reflection, and types for the hot
//! path that decode the same bytes with less work.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

const CHECK: &str = "envoy/service/auth/v3/external_auth.proto";
const ACCESS_LOG: &str = "envoy/service/accesslog/v3/als.proto";

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    for (descriptors, file) in [("check.bin", CHECK), ("access_log.bin", ACCESS_LOG)] {
        fs::write(out.join(descriptors), protox::compile([file], ["proto"])?.encode_to_vec())?;
    }
    let mut files = protox::compile([CHECK, ACCESS_LOG], ["proto"])?;

    lighten(&mut files);
    prost_build::Config::new().bytes(["."]).include_file("wire.rs").compile_fds(files)?;

    let check = tonic_build::manual::Method::builder()
        .name("check")
        .route_name("Check")
        .input_type("crate::envoy::wire::Call")
        .output_type("crate::envoy::wire::Reply")
        .codec_path("crate::envoy::wire::CheckCodec")
        .build();
    let service = tonic_build::manual::Service::builder()
        .name("Authorization")
        .package("envoy.service.auth.v3")
        .method(check)
        .build();
    let stream = tonic_build::manual::Method::builder()
        .name("stream_access_logs")
        .route_name("StreamAccessLogs")
        .input_type("crate::envoy::wire::access_log::StreamAccessLogsMessage")
        .output_type("crate::envoy::wire::access_log::StreamAccessLogsResponse")
        .codec_path("crate::envoy::wire::AccessLogCodec")
        .client_streaming()
        .build();
    let access_log = tonic_build::manual::Service::builder()
        .name("AccessLogService")
        .package("envoy.service.accesslog.v3")
        .method(stream)
        .build();
    tonic_build::manual::Builder::new().build_client(false).compile(&[service, access_log]);
    Ok(())
}

/// Declares maps as what they are on the wire, repeated pairs, and the strings of a request as bytes, which become slices of
/// the received buffer: no hash map, no allocation and no UTF-8 check for headers that are not read. The encoding is the same.
fn lighten(files: &mut FileDescriptorSet) {
    for file in &mut files.file {
        // prost-build needs a place in the source for every message, and map entries have none
        file.source_code_info = None;
        for message in &mut file.message_type {
            match message.name() {
                "AttributeContext" => lighten_tree(message),
                "HeaderValue" => strings_to_bytes(message),
                "StreamAccessLogsMessage" => leave_entries_encoded(message),
                _ => {}
            }
        }
    }
}

fn lighten_tree(message: &mut DescriptorProto) {
    strings_to_bytes(message);
    leave_encoded(message);
    for nested in &mut message.nested_type {
        if let Some(options) = &mut nested.options {
            options.map_entry = None;
        }
        lighten_tree(nested);
    }
}

/// Declares embedded messages as bytes, which are the same on the wire. A peer is decoded only where it is needed, and the HTTP
/// part is read in its encoded form (`src/envoy/wire/http.rs`).
fn leave_encoded(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if matches!(
            field.type_name(),
            ".envoy.service.auth.v3.AttributeContext.HttpRequest" | ".envoy.service.auth.v3.AttributeContext.Peer"
        ) {
            field.set_type(Type::Bytes);
            field.type_name = None;
            // optional, as a message is
            field.proto3_optional = Some(true);
        }
    }
}

/// Declares the entries of a log as bytes, so that one that cannot be read does not take the others with it.
fn leave_entries_encoded(message: &mut DescriptorProto) {
    for field in message.nested_type.iter_mut().flat_map(|nested| &mut nested.field) {
        field.set_type(Type::Bytes);
        field.type_name = None;
    }
}

fn strings_to_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
}

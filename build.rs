//! Compiles `proto/` without a system `protoc`, twice over: the official descriptors for reflection, and a view of the
//! same bytes for the hot path.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let mut files = protox::compile(["envoy/service/auth/v3/external_auth.proto"], ["proto"])?;
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;

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
    tonic_build::manual::Builder::new().build_client(false).compile(&[service]);
    Ok(())
}

/// Turns maps into what they are on the wire, repeated pairs, and the strings of a request into slices of the received
/// buffer: no hash map, no allocation and no UTF-8 check for headers that nobody reads. The bytes are the same.
fn lighten(files: &mut FileDescriptorSet) {
    for file in &mut files.file {
        // map entries have no place in the source, and prost-build wants one for every message
        file.source_code_info = None;
        for message in &mut file.message_type {
            match message.name() {
                "AttributeContext" => lighten_tree(message),
                "HeaderValue" => strings_to_bytes(message),
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

/// An embedded message and bytes are the same on the wire. The peers are decoded where somebody wants one, and the HTTP part
/// is read where it lies (`src/envoy/wire/http.rs`).
fn leave_encoded(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if matches!(
            field.type_name(),
            ".envoy.service.auth.v3.AttributeContext.HttpRequest" | ".envoy.service.auth.v3.AttributeContext.Peer"
        ) {
            field.set_type(Type::Bytes);
            field.type_name = None;
            // there or not, as a message is
            field.proto3_optional = Some(true);
        }
    }
}

fn strings_to_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
}

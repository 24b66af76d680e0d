//! Our compact messages against the complete API: the crate `envoy-types` encodes, we decode, and encode back to the same
//! message.

use std::collections::HashMap;

use elastauth::envoy::wire::auth;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::service::auth::v3 as official;
use official::attribute_context as context;
use prost::Message as _;

fn pairs(prefix: &str) -> HashMap<String, String> {
    (0..3).map(|n| (format!("{prefix}-{n}"), format!("value {n}"))).collect()
}

fn peer(name: &str) -> context::Peer {
    let port = core::socket_address::PortSpecifier::PortValue(4711);
    let address = core::SocketAddress {
        address: "10.0.0.1".into(),
        resolver_name: "r".into(),
        ipv4_compat: true,
        port_specifier: Some(port),
        ..core::SocketAddress::default()
    };
    context::Peer {
        address: Some(core::Address { address: Some(core::address::Address::SocketAddress(address)) }),
        service: format!("{name}-service"),
        labels: pairs(name),
        principal: format!("spiffe://{name}"),
        certificate: "pem".into(),
    }
}

fn check_request() -> official::CheckRequest {
    let raw =
        core::HeaderValue { key: "authorization".into(), value: String::new(), raw_value: b"Bearer \xff".to_vec() };
    let http = context::HttpRequest {
        id: "1".into(),
        method: "GET".into(),
        headers: pairs("x-header"),
        header_map: Some(core::HeaderMap { headers: vec![raw.clone(), raw] }),
        path: "/a?b".into(),
        host: "h:1".into(),
        scheme: "https".into(),
        query: "q".into(),
        fragment: "f".into(),
        size: -1,
        protocol: "HTTP/2".into(),
        body: "b".into(),
        raw_body: vec![0, 255],
    };
    let attributes = official::AttributeContext {
        source: Some(peer("source")),
        destination: Some(peer("destination")),
        request: Some(context::Request { time: None, http: Some(http) }),
        context_extensions: pairs("extension"),
        metadata_context: Some(core::Metadata::default()),
        route_metadata_context: Some(core::Metadata::default()),
        tls_session: Some(context::TlsSession { sni: "sni".into() }),
    };
    official::CheckRequest { attributes: Some(attributes) }
}

#[test]
fn a_request_of_the_complete_api_survives_our_view_field_by_field() {
    let sent = check_request();
    let ours = auth::CheckRequest::decode(sent.encode_to_vec().as_slice()).unwrap();
    let http = ours.attributes.clone().unwrap().request.unwrap().http.unwrap();
    assert_eq!((&http.method[..], &http.path[..], &http.host[..]), (&b"GET"[..], &b"/a?b"[..], &b"h:1"[..]));
    assert_eq!((http.headers.len(), http.header_map.clone().unwrap().headers.len()), (3, 2));
    let back = official::CheckRequest::decode(ours.encode_to_vec().as_slice()).unwrap();
    assert_eq!(back, sent, "no field is lost or renumbered");
}

#[test]
fn unknown_fields_are_passed_over() {
    let mut bytes = check_request().encode_to_vec();
    // field 999, length-delimited, three bytes
    bytes.extend([0xba, 0x3e, 0x03, 1, 2, 3]);
    assert!(auth::CheckRequest::decode(bytes.as_slice()).unwrap().attributes.is_some());
}

//! Builds what Envoy sends: a Check of a browser's request to Kibana, with as many headers as wanted.

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message as _;

const COMMON: [(&str, &str); 18] = [
    (":authority", "kibana.example.com"),
    (":method", "POST"),
    (":path", "/internal/bsearch?compress=true"),
    (":scheme", "https"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("content-type", "application/json"),
    ("cookie", "sid=Fe26.2**6f1d2c3b4a5968778695a4b3c2d1e0f1**9f8e7d6c5b4a39281706f5e4d3c2b1a0"),
    ("kbn-build-number", "72437"),
    ("kbn-version", "8.17.0"),
    ("origin", "https://kibana.example.com"),
    ("referer", "https://kibana.example.com/app/discover"),
    ("sec-fetch-mode", "cors"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "5f1b2a1e-0f7a-4d5c-9b43-2a7a0c9b8d11"),
];

/// The encoded `CheckRequest` with `count` headers, one of them the token.
#[must_use]
pub fn check(token: &str, count: usize) -> Vec<u8> {
    let more = (COMMON.len() + 1..count).map(|n| (format!("x-custom-{n}"), format!("a value of usual length, {n}")));
    let mut headers: std::collections::HashMap<String, String> = more.collect();
    headers.extend(COMMON.map(|(name, value)| (name.to_owned(), value.to_owned())));
    headers.insert("authorization".to_owned(), format!("Bearer {token}"));
    let http = HttpRequest {
        id: "12345678901234567890".into(),
        method: "POST".into(),
        headers,
        path: "/internal/bsearch?compress=true".into(),
        host: "kibana.example.com".into(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        source: Some(peer("203.0.113.7")),
        destination: Some(peer("10.0.0.2")),
        request: Some(Request { time: None, http: Some(http) }),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }.encode_to_vec()
}

/// One unary gRPC message with its prefix (gRPC over HTTP/2, "Length-Prefixed-Message").
#[must_use]
pub fn framed(message: &[u8]) -> Vec<u8> {
    // no message here is longer than 4 GiB
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// The headers of the same request as a client sends it.
#[must_use]
pub fn browser(token: &str) -> Vec<(String, String)> {
    let common = COMMON.into_iter().filter(|(name, _)| !name.starts_with(':') && !name.starts_with("x-"));
    let headers = common.map(|(name, value)| (name.to_owned(), value.to_owned()));
    headers.chain([("authorization".to_owned(), format!("Bearer {token}"))]).collect()
}

fn peer(address: &str) -> Peer {
    let socket = SocketAddress { address: address.into(), ..SocketAddress::default() };
    Peer { address: Some(Address { address: Some(Kind::SocketAddress(socket)) }), ..Peer::default() }
}

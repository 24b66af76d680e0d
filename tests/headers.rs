//! Identity by headers, whole process: headers that a login proxy sets are trusted, headers of other senders are not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::servers::{Elastauth, headers_config};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value::Kind};
use prost::Message as _;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secret(value: &str) -> AttributeContext {
    let context_extensions = HashMap::from([("elastauth-secret".to_owned(), value.to_owned())]);
    AttributeContext { context_extensions, ..AttributeContext::default() }
}

/// The request in both encodings of headers.
fn with(attributes: &AttributeContext, headers: &[(&str, &[u8])]) -> [CheckRequest; 2] {
    let mut map: HashMap<String, String> = HashMap::new();
    for (name, value) in headers {
        // as Envoy does: repeated headers are joined, and bytes that are not UTF-8 are replaced
        let value: String = String::from_utf8_lossy(value).replace('\u{fffd}', "!");
        map.entry((*name).to_owned()).and_modify(|known| *known = format!("{known},{value}")).or_insert(value);
    }
    let raw = |(name, value): &(&str, &[u8])| HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.to_vec(),
        ..HeaderValue::default()
    };
    let header_map = Some(HeaderMap { headers: headers.iter().map(raw).collect() });
    [HttpRequest { headers: map, ..HttpRequest::default() }, HttpRequest { header_map, ..HttpRequest::default() }].map(
        |http| {
            let request = Some(Request { time: None, http: Some(http) });
            CheckRequest { attributes: Some(AttributeContext { request, ..attributes.clone() }) }
        },
    )
}

/// The status with the reason, or with the username when the request is let through.
async fn answer(elastauth: &Elastauth, checker: &Checker, request: &CheckRequest) -> (i32, String) {
    let from = elastauth.process.lines().len();
    let reply = CheckResponse::decode(checker.check(request.encode_to_vec()).await.unwrap()).unwrap();
    match reply.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            for name in ["remote-user", "remote-email", "remote-name"] {
                assert!(ok.headers_to_remove.iter().any(|removed| removed == name), "{name} goes on");
            }
            let line = elastauth.process.wait_for_line(from, &["Request allowed"]);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            (200, line["user"].as_str().unwrap().to_owned())
        }
        HttpResponse::DeniedResponse(denied) => {
            let line = elastauth.process.wait_for_line(from, &["Request denied"]);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            (denied.status.unwrap().code, line["reason"].as_str().unwrap().to_owned())
        }
        HttpResponse::ErrorResponse(_) => panic!("an error would let failure_mode_allow decide"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_count_only_with_the_secret_and_only_when_they_are_unambiguous_in_both_encodings() {
    let elasticsearch = Elasticsearch::start().await;
    let provider = format!("  shared_secret: \"{SECRET}\"\n  header_groups: X-Teams");
    let elastauth = Elastauth::start(elastauth!(), &headers_config(&elasticsearch.url, &provider));
    let checker = Checker::connect(&elastauth.grpc).await;
    let (good, wrong) = (secret(SECRET), secret("0123456789abcdef0123456789abcdee"));
    let user: (&str, &[u8]) = ("remote-user", b"ann");
    for (attributes, headers, expected) in [
        (&wrong, &[user][..], (403, "identity_secret")),
        (&AttributeContext::default(), &[user], (403, "identity_secret")),
        (&good, &[], (401, "identity_missing")),
        (&good, &[("remote-user", b"")], (401, "identity_missing")),
        (&good, &[user, user], (403, "identity_repeated")),
        (&good, &[user, ("remote-user", b"elastic")], (403, "identity_repeated")),
        (&good, &[("remote-user", b"ann,elastic")], (403, "identity_repeated")),
        (&good, &[("remote-user", b"ann\xff")], (403, "identity_encoding")),
        (&good, &[user, ("x-teams", b"admins\xff")], (403, "identity_encoding")),
        (&good, &[("remote-user", b"elastic"), ("x-teams", b"admins")], (403, "username_reserved")),
        (&good, &[user, ("x-teams", b"guests")], (403, "roles_none")),
        (&good, &[user, ("remote-groups", b"admins")], (403, "roles_none")),
        // other headers of the client do not matter
        (&good, &[user, ("x-teams", b"admins"), ("authorization", b"Basic eA==")], (200, "ann")),
        (
            &good,
            &[("remote-user", b"bob"), ("x-teams", b"admins,developers"), ("remote-name", b"Bob, Dr.")],
            (200, "bob"),
        ),
    ] {
        for request in with(attributes, headers) {
            let (status, text) = answer(&elastauth, &checker, &request).await;
            assert_eq!((status, text.as_str()), expected, "{headers:?}");
        }
    }
    let bob = elasticsearch.user("bob").unwrap();
    assert_eq!(bob.full_name, "Bob, Dr.");
    assert_eq!(bob.roles.len(), 4, "of both groups");
    assert_eq!(bob.metadata["elastauth"]["issuer"], "authelia");
    assert_eq!(bob.metadata["elastauth"]["subject"], "bob");
    assert!(!elastauth.process.lines().join("\n").contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_a_filter_counts_instead_of_headers_and_the_peer_must_be_known() {
    let elasticsearch = Elasticsearch::start().await;
    let provider = format!(
        "  shared_secret: \"{SECRET}\"\n  trusted_peers: [\"spiffe://td/proxy\"]\n  \
         metadata_namespace: envoy.filters.http.jwt_authn\n  metadata_payload: jwt"
    );
    let elastauth = Elastauth::start(elastauth!(), &headers_config(&elasticsearch.url, &provider));
    let checker = Checker::connect(&elastauth.grpc).await;
    let value = |kind| Value { kind: Some(kind) };
    let string = |text: &str| value(Kind::StringValue(text.to_owned()));
    let claims = Struct {
        fields: HashMap::from([
            ("preferred_username".to_owned(), string("bob")),
            ("groups".to_owned(), value(Kind::ListValue(ListValue { values: vec![string("admins")] }))),
            ("iss".to_owned(), string("https://issuer")),
            ("sub".to_owned(), string("id-of-bob")),
        ]),
    };
    let payload = Struct { fields: HashMap::from([("jwt".to_owned(), value(Kind::StructValue(claims)))]) };
    let metadata = Metadata {
        filter_metadata: HashMap::from([("envoy.filters.http.jwt_authn".to_owned(), payload)]),
        ..Metadata::default()
    };
    let peer = |principal: &str| Some(Peer { principal: principal.into(), ..Peer::default() });
    let anonymous = AttributeContext { source: peer("spiffe://td/proxy"), ..secret(SECRET) };
    let named = AttributeContext { metadata_context: Some(metadata), ..anonymous.clone() };
    let stranger = AttributeContext { source: peer("spiffe://td/other"), ..named.clone() };
    for (attributes, expected) in
        [(&anonymous, (401, "identity_missing")), (&stranger, (403, "identity_peer")), (&named, (200, "bob"))]
    {
        for request in with(attributes, &[("remote-user", b"ann"), ("x-teams", b"admins")]) {
            let (status, text) = answer(&elastauth, &checker, &request).await;
            assert_eq!((status, text.as_str()), expected);
        }
    }
    assert!(elasticsearch.user("ann").is_none());
    assert_eq!(elasticsearch.user("bob").unwrap().metadata["elastauth"]["subject"], "id-of-bob");
}

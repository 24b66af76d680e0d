//! Envoy sends a request's headers in one of two ways: joined in a map, or each by itself (`encode_raw_headers`). The
//! decision must be the same, whatever the headers are; and every reply keeps the rules of `fuzz/src/check.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use elastauth::credentials::Invalidations;
use elastauth::credentials::{CacheKey, Entry, Replaced, Store, StoreError};
use elastauth::envoy::wire::{Unread, auth};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use proptest::prelude::*;
use prost::Message as _;
use tonic::metadata::MetadataMap;

#[path = "../fuzz/src/lib.rs"]
#[expect(dead_code, reason = "the targets for tokens are replayed elsewhere")]
mod targets;

use targets::check::{SECRET, check, good_token, judge, replies, service, tokens};

type Headers = Vec<(String, Vec<u8>)>;

/// The headers as a list, each by itself.
fn raw(headers: &Headers) -> HttpRequest {
    let header = |(key, value): &(String, Vec<u8>)| HeaderValue {
        key: key.clone(),
        raw_value: value.clone(),
        ..HeaderValue::default()
    };
    let header_map = Some(HeaderMap { headers: headers.iter().map(header).collect() });
    HttpRequest { header_map, ..HttpRequest::default() }
}

/// The headers as Envoy joins them: with a comma, and `!` for bytes that are not UTF-8.
fn joined(headers: &Headers) -> HttpRequest {
    let mut map = HashMap::<String, String>::new();
    for (key, value) in headers {
        let text: String = value
            .utf8_chunks()
            .flat_map(|chunk| chunk.valid().chars().chain(chunk.invalid().iter().map(|_| '!')).collect::<Vec<_>>())
            .collect();
        map.entry(key.clone()).and_modify(|all| *all = format!("{all},{text}")).or_insert(text);
    }
    HttpRequest { headers: map, ..HttpRequest::default() }
}

fn encode(http: HttpRequest, secret: Option<&str>) -> Vec<u8> {
    let request = Some(Request { time: None, http: Some(http) });
    let context_extensions =
        secret.map(|secret| ("elastauth-secret".to_owned(), secret.to_owned())).into_iter().collect();
    let attributes = Some(AttributeContext { request, context_extensions, ..AttributeContext::default() });
    CheckRequest { attributes }.encode_to_vec()
}

fn authorization() -> impl Strategy<Value = Vec<u8>> {
    let good = || format!("Bearer {}", good_token()).into_bytes();
    prop_oneof![
        4 => Just(good()),
        1 => Just(format!("bEARER  {}", good_token()).into_bytes()),
        1 => Just(format!("Bearer {}x", good_token()).into_bytes()),
        1 => Just([good(), vec![0xff]].concat()),
        1 => Just(format!("Bearer {} ", good_token()).into_bytes()),
        1 => Just([good(), b",Basic eA==".to_vec()].concat()),
        1 => Just(b"Basic eA==".to_vec()),
        1 => Just(Vec::new()),
        1 => "[ -~]{0,30}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ]
}

fn user() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(b"ann".to_vec()),
        1 => Just(b" bob ".to_vec()),
        1 => Just(b"ann,bob".to_vec()),
        1 => Just(b"ann\xff".to_vec()),
        1 => Just("j\u{fc}rgen".as_bytes().to_vec()),
        1 => Just(b"elastic".to_vec()),
        1 => "[ -~]{0,12}".prop_map(String::into_bytes),
    ]
}

fn other() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        "remote-groups",
        "remote-email",
        "remote-name",
        ":path",
        ":authority",
        "cookie",
        "x-request-id",
        "x-forwarded-for"
    ];
    (name, proptest::collection::vec(any::<u8>(), 0..20))
}

fn headers() -> impl Strategy<Value = Headers> {
    let named =
        |name: &'static str, values: Vec<Vec<u8>>| values.into_iter().map(move |value| (name.to_owned(), value));
    (
        proptest::collection::vec(authorization(), 0..3),
        proptest::collection::vec(user(), 0..3),
        proptest::collection::vec(other(), 0..6),
    )
        .prop_map(move |(authorizations, users, mut others)| {
            // when joined, a list of groups or a name with a comma is indistinguishable from two headers
            let mut seen = HashSet::new();
            others.retain(|(name, _)| !name.starts_with("remote-") || seen.insert(name.clone()));
            named("authorization", authorizations).chain(named("remote-user", users)).chain(others).collect()
        })
        .prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_encodings_of_the_same_headers_get_the_same_reply(
        headers in headers(),
        secret in prop_oneof![3 => Just(Some(SECRET)), 1 => Just(None), 1 => Just(Some("0123456789abcdef0123456789abcdeF"))],
    ) {
        let (raw, joined) = (encode(raw(&headers), secret), encode(joined(&headers), secret));
        prop_assert_eq!(check(&raw), check(&joined));
        let bytes = |message: &[u8]| replies(message).map(|reply| reply.map(|(_, bytes)| bytes));
        prop_assert_eq!(bytes(&raw), bytes(&joined));
    }
}

#[test]
fn the_generated_headers_do_let_somebody_through() {
    let token = format!("Bearer {}", good_token()).into_bytes();
    let headers = vec![("authorization".to_owned(), token), ("remote-user".to_owned(), b"ann".to_vec())];
    for http in [raw(&headers), joined(&headers)] {
        assert_eq!(check(&encode(http.clone(), Some(SECRET))), [Some("ext-ann".into()), Some("ann".into())]);
        assert_eq!(check(&encode(http, None)), [Some("ext-ann".into()), None]);
    }
}

#[test]
fn nothing_that_a_client_says_of_its_address_changes_the_reply() {
    let token = format!("Bearer {}", good_token()).into_bytes();
    let good = vec![("authorization".to_owned(), token), ("remote-user".to_owned(), b"ann".to_vec())];
    for headers in [good, Vec::new()] {
        let plain = replies(&encode(raw(&headers), Some(SECRET))).map(|reply| reply.map(|(_, bytes)| bytes));
        for name in ["x-forwarded-for", "x-real-ip", "x-envoy-external-address", "forwarded"] {
            let mut headers = headers.clone();
            headers.push((name.to_owned(), b"127.0.0.1".to_vec()));
            let told = replies(&encode(raw(&headers), Some(SECRET))).map(|reply| reply.map(|(_, bytes)| bytes));
            assert_eq!(told, plain, "{name}");
        }
    }
}

/// A store that panics when it is used.
struct Broken;

impl Store for Broken {
    async fn get(&self, _: &CacheKey) -> Result<Option<Entry>, StoreError> {
        panic!("a fault of ours")
    }

    async fn put_if_absent(&self, _: &CacheKey, _: &[u8], _: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        panic!("a fault of ours")
    }

    async fn replace(&self, _: &CacheKey, _: &[u8], _: &[u8], _: Duration) -> Result<Replaced, StoreError> {
        panic!("a fault of ours")
    }

    async fn remove(&self, _: &CacheKey, _: &[u8]) -> Result<bool, StoreError> {
        panic!("a fault of ours")
    }

    async fn watch(&self, _: Arc<Invalidations>) {}

    async fn reachable(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_is_answered_with_503_and_the_service_goes_on() {
    let service = service(Broken, tokens(), &[]);
    let token = format!("Bearer {}", good_token()).into_bytes();
    let good = encode(raw(&vec![("authorization".to_owned(), token)]), None);
    let status = async |message: &[u8]| {
        let call = auth::CheckRequest::decode(message).map_err(Unread::from);
        let reply = service.answer(call, MetadataMap::new()).await.unwrap().as_bytes().clone();
        assert_eq!(judge(&reply), None);
        match CheckResponse::decode(reply).unwrap().http_response {
            Some(HttpResponse::DeniedResponse(denied)) => denied.status.unwrap().code,
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..3 {
        assert_eq!(status(&good).await, 503);
        assert_eq!(status(&encode(HttpRequest::default(), None)).await, 401);
    }
}

//! Bad input over the wire: whatever is sent to Check, the answer is a refusal with a reason in the log, and the service goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use elastauth_support::fixture::Fixture;
use std::convert::identity;

use elastauth_support::elastauth;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use prost::Message as _;

/// The HTTP status of the denial and the reason in the log; 200 and no reason when the request is let through.
async fn answer(bench: &Fixture, request: &CheckRequest) -> (i32, String) {
    let from = bench.elastauth.process.lines().len();
    let reply = bench.checker.check(request.encode_to_vec()).await.unwrap();
    let reply = CheckResponse::decode(reply).unwrap();
    let code = reply.status.unwrap().code;
    match reply.http_response.unwrap() {
        HttpResponse::OkResponse(_) => {
            assert_eq!(code, 0);
            (200, String::new())
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0, "an unset status means allow");
            let line = bench.elastauth.process.wait_for_line(from, &["Request denied"]);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            (denied.status.unwrap().code, line["reason"].as_str().unwrap().to_owned())
        }
        HttpResponse::ErrorResponse(_) => panic!("an error would let failure_mode_allow decide"),
    }
}

fn check(http: HttpRequest) -> CheckRequest {
    let request = Some(Request { time: None, http: Some(http) });
    CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) }
}

fn joined(authorization: &str) -> CheckRequest {
    check(HttpRequest {
        headers: [("authorization".to_owned(), authorization.to_owned())].into(),
        ..HttpRequest::default()
    })
}

/// The headers as `encode_raw_headers` sends them.
fn raw(values: &[&[u8]]) -> CheckRequest {
    let header = |value: &&[u8]| HeaderValue {
        key: "authorization".into(),
        raw_value: value.to_vec(),
        ..HeaderValue::default()
    };
    let header_map = Some(HeaderMap { headers: values.iter().map(header).collect() });
    check(HttpRequest { header_map, ..HttpRequest::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_usable_credential_are_refused_with_their_reason() {
    let bench = Fixture::start(elastauth!(), identity).await;
    let token = bench.issuer.token("ann", &["admins"]);
    let bearer = format!("Bearer {token}");
    let both = {
        let mut request = joined(&bearer);
        let other = raw(&[b"Basic eA=="]);
        let http =
            |request: &mut CheckRequest| request.attributes.as_mut().unwrap().request.as_mut().unwrap().http.take();
        let (mut first, mut second) = (http(&mut request).unwrap(), other.clone());
        first.header_map = http(&mut second).unwrap().header_map;
        check(first)
    };
    let no_http = CheckRequest {
        attributes: Some(AttributeContext { request: Some(Request::default()), ..AttributeContext::default() }),
    };
    let cut = &bearer[..bearer.len() - 2];
    for (request, status, reason) in vec![
        (CheckRequest::default(), 400, "no_http_request"),
        (CheckRequest { attributes: Some(AttributeContext::default()) }, 400, "no_http_request"),
        (no_http, 400, "no_http_request"),
        (check(HttpRequest::default()), 401, "credentials_missing"),
        (raw(&[bearer.as_bytes(), bearer.as_bytes()]), 401, "credentials_repeated"),
        (raw(&[bearer.as_bytes(), b"Basic eA=="]), 401, "credentials_repeated"),
        (both, 401, "credentials_repeated"),
        (joined(&format!("{bearer},Basic eA==")), 401, "credentials_repeated"),
        (joined("Bearer A,Basic B"), 401, "credentials_repeated"),
        (raw(&["Bearer jürgen".as_bytes()]), 401, "credentials_not_bearer"),
        (raw(&[b"Bearer \xff\xfe"]), 401, "credentials_not_bearer"),
        // Envoy writes `!` for bytes that do not fit into the string map
        (joined("Bearer abc!def"), 401, "credentials_not_bearer"),
        (joined("Bearer"), 401, "credentials_not_bearer"),
        (joined("Negotiate abc"), 401, "credentials_not_bearer"),
        (joined("Bearer a.b"), 401, "token_malformed"),
        (joined("Bearer a.b.c"), 401, "token_malformed"),
        (joined(&format!("{bearer}.x")), 401, "token_malformed"),
        (joined(cut), 401, "token_signature"),
        (joined(&format!("Bearer {}", "a".repeat(20_000))), 401, "token_too_long"),
    ] {
        assert_eq!(answer(&bench, &request).await, (status, reason.to_owned()));
    }
    assert!(bench.elasticsearch.history().is_empty(), "no user was provisioned");
    assert_eq!(answer(&bench, &joined(&bearer)).await.0, 200, "and the service goes on");
    assert_eq!(answer(&bench, &raw(&[bearer.as_bytes()])).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_elasticsearch_would_refuse_are_forbidden_and_never_rewritten() {
    let bench = Fixture::start(elastauth!(), identity).await;
    for (name, reason) in [
        ("", "username_refused"),
        ("_all", "username_refused"),
        ("a b", "username_refused"),
        ("a/../b", "username_refused"),
        ("jürgen", "username_refused"),
        ("a:b", "username_refused"),
        ("elastic", "username_reserved"),
        ("kibana_system", "username_reserved"),
        (elastauth_support::elasticsearch::ADMIN.0, "username_reserved"),
    ] {
        let token = bench.issuer.token(name, &["admins"]);
        assert_eq!(answer(&bench, &joined(&format!("Bearer {token}"))).await, (403, reason.to_owned()), "{name}");
    }
    assert!(bench.elasticsearch.history().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_check_are_a_grpc_error_with_a_line_in_the_log() {
    let bench = Fixture::start(elastauth!(), identity).await;
    let good = joined(&format!("Bearer {}", bench.issuer.token("ann", &["admins"])));
    let log = &bench.elastauth.process;

    for junk in [&b"\xff\xff\xff\xff"[..], b"\x0a\x05abc", b"\x0a\x02\x22\x7f"] {
        let from = log.lines().len();
        let status = bench.checker.check(junk.to_vec()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        log.wait_for_line(from, &["message_undecodable"]);
    }
    let mut large = good.clone();
    let http = large.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap();
    http.raw_body = vec![b'x'; 5 * 1024 * 1024];
    let from = log.lines().len();
    assert!(bench.checker.check(large.encode_to_vec()).await.is_err(), "over grpc.max_message_size");
    log.wait_for_line(from, &["call_refused"]);

    let mut unknown_fields = good.encode_to_vec();
    unknown_fields.extend([0xba, 0x3e, 0x03, 1, 2, 3]);
    assert!(bench.checker.check(unknown_fields).await.is_ok(), "a later Envoy may send further fields");
    assert_eq!(answer(&bench, &good).await.0, 200);
}

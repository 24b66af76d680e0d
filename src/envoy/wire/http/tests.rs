//! Compares what is read with what the complete API encodes.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use prost::Message as _;

use super::*;

const NAMES: [&str; 2] = ["authorization", "x-request-id"];

fn value(key: &str, value: &str, raw: &[u8]) -> HeaderValue {
    HeaderValue { key: key.into(), value: value.into(), raw_value: raw.to_vec() }
}

fn full() -> HttpRequest {
    HttpRequest {
        id: "1".into(),
        method: "GET".into(),
        path: "/a?b".into(),
        host: "h:1".into(),
        scheme: "https".into(),
        size: -1,
        protocol: "HTTP/2".into(),
        body: "b".into(),
        raw_body: vec![0, 255],
        ..HttpRequest::default()
    }
}

fn one(text: &'static str) -> Header {
    Header::One(Bytes::from_static(text.as_bytes()))
}

fn headers(request: &HttpRequest) -> [Header; 2] {
    read(&request.encode_to_vec().into(), NAMES, &[], false).unwrap().headers
}

#[test]
fn the_fields_of_the_complete_api_are_found() {
    let http = read(&full().encode_to_vec().into(), NAMES, &[], false).unwrap();
    assert_eq!(
        (&http.id[..], &http.method[..], &http.path[..], &http.host[..]),
        (&b"1"[..], &b"GET"[..], &b"/a?b"[..], &b"h:1"[..])
    );
    assert_eq!(http.headers, [Header::Absent, Header::Absent]);
}

#[test]
fn wanted_headers_are_found_in_both_encodings_and_a_second_value_in_either_is_seen() {
    let map = |pairs: &[(&str, &str)]| HttpRequest {
        headers: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<HashMap<_, _>>(),
        ..full()
    };
    let raw = |all: Vec<HeaderValue>| HttpRequest { header_map: Some(HeaderMap { headers: all }), ..full() };
    assert_eq!(headers(&map(&[("authorization", "a"), ("other", "b")])), [one("a"), Header::Absent]);
    assert_eq!(
        headers(&raw(vec![value("AuthoriZation", "", b"a"), value("x-request-id", "i", b"")])),
        [one("a"), one("i")]
    );
    assert_eq!(headers(&raw(vec![value("authorization", "", b""), value("x", "", b"y")])), [one(""), Header::Absent]);
    assert_eq!(
        headers(&raw(vec![value("authorization", "x", b"a"), value("authorization", "", b"a")]))[0],
        Header::Several
    );
    let cookies = raw(vec![value("cookie", "a=1", b""), value("Cookie", "", b"b=2")]).encode_to_vec().into();
    assert_eq!(read(&cookies, NAMES, &[], true).unwrap().cookies, ["a=1", "b=2"]);
    assert_eq!(read(&cookies, NAMES, &[], false).unwrap().cookies, [""; 0]);
    let mut both = map(&[("authorization", "a")]);
    both.header_map = raw(vec![value("authorization", "", b"b")]).header_map;
    assert_eq!(headers(&both)[0], Header::Several);
}

#[test]
fn a_body_is_found_in_either_field() {
    let body = |request: HttpRequest| read(&request.encode_to_vec().into(), NAMES, &[], false).unwrap().body;
    assert_eq!(body(HttpRequest::default()), "");
    assert_eq!(body(HttpRequest { body: "a=b".into(), ..HttpRequest::default() }), "a=b");
    assert_eq!(body(HttpRequest { raw_body: b"a=\xff".to_vec(), ..HttpRequest::default() }), &b"a=\xff"[..]);
}

#[test]
fn a_message_that_is_cut_off_is_an_error_or_shows_less_and_never_a_panic() {
    let request = HttpRequest { headers: HashMap::from([("authorization".into(), "a".repeat(300))]), ..full() };
    let whole = Bytes::from(request.encode_to_vec());
    let found = read(&whole, NAMES, &[], false).unwrap().headers;
    for end in 0..whole.len() {
        if let Ok(http) = read(&whole.slice(..end), NAMES, &[], false) {
            assert!(http.headers[0] == Header::Absent || http.headers == found, "{end}");
        }
    }
    assert!(matches!(read(&Bytes::from_static(&[0x1a, 0xff, 0x01]), NAMES, &[], false), Err(Malformed::Length)));
}

#[test]
fn unknown_fields_are_passed_over_and_those_that_are_read_must_be_of_their_type() {
    let read = |message: &'static [u8]| read(&Bytes::from_static(message), NAMES, &[], false);
    // field 998 as a number, field 999 length-delimited, field 9 (size) as the number that it is
    let http = read(&[0xb0, 0x3e, 0x05, 0xba, 0x3e, 0x01, 0x00, 0x48, 0x05, 0x0a, 0x01, b'1']).unwrap();
    assert_eq!((&http.id[..], &http.headers[..]), (&b"1"[..], &[Header::Absent, Header::Absent][..]));
    // fields 3 and 4 as numbers, and the key of an entry
    for message in [&[0x18, 0x05][..], &[0x20, 0x05], &[0x1a, 0x02, 0x08, 0x05]] {
        assert!(matches!(read(message), Err(Malformed::Type(_))), "{message:?}");
    }
}

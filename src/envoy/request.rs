//! Reads a [`Request`] from a `CheckRequest` of Envoy's.

use ::http::HeaderName;
use bytes::Bytes;
use prost::Message as _;
use prost_types::value::Kind;
use serde_json::{Map, Value};

use super::wire::auth::{self, AttributeContext, attribute_context::Peer};
use super::wire::http::{self, Malformed};
use crate::authz::{Request, Text};
use crate::identity::attributes::{AttributeSelection, Header, RequestAttributes};
use crate::login::Visit;
use crate::login::visit;

/// The headers that are read from every request, whatever the configuration.
const ALWAYS: [&str; 5] = ["authorization", "x-request-id", "traceparent", "origin", "access-control-request-method"];

/// Reads requests, with the attributes that the configuration asks for.
pub(super) struct Reader {
    wanted: AttributeSelection,
    /// The names of the wanted headers; last those of a visit, where it is wanted.
    names: Vec<String>,
}

impl Reader {
    pub(super) fn new(wanted: AttributeSelection) -> Self {
        let of_visit = visit::HEADERS.into_iter().filter(|_| wanted.visit);
        let names = wanted.headers.iter().map(HeaderName::as_str).chain(of_visit).map(str::to_owned).collect();
        Self { wanted, names }
    }

    /// What a decision needs of a request, from either encoding of headers. `None` for a request without HTTP attributes, as TCP
    /// filters and hand-made calls send them.
    pub(super) fn read(&self, check: auth::CheckRequest) -> Result<Option<Request>, Malformed> {
        let Some(mut attributes) = check.attributes else { return Ok(None) };
        let Some(http) = attributes.request.take().and_then(|request| request.http) else { return Ok(None) };
        let http::Http { id, method, path, host, headers, mut more, cookies, body } =
            http::read(&http, ALWAYS, &self.names, self.wanted.cookies)?;
        let [authorization, request_id, traceparent, origin, requested] = headers;
        let set = |header: &Header| matches!(header, Header::One(value) if !value.is_empty());
        let preflight = method == "OPTIONS" && set(&origin) && set(&requested);
        let visit = match <[Header; visit::HEADERS.len()]>::try_from(more.split_off(self.wanted.headers.len())) {
            Ok(headers) => {
                let body = if visit::is_form(&method, &headers, &body) { body } else { Bytes::new() };
                Visit::new(&method, query(&path), body, origin, headers)
            }
            // the names of its headers are not among the configured ones
            Err(_not_wanted) => Visit::default(),
        };
        let attributes =
            RequestAttributes { authorization, headers: more, cookies, ..by_operator(attributes, &self.wanted)? };
        let (request_id, traceparent) = (text(request_id), text(traceparent));
        let (stream_id, method, host, path) = (Text(id), Text(method), Text(host), without_query(&path));
        Ok(Some(Request { attributes, request_id, traceparent, stream_id, method, host, path, preflight, visit }))
    }
}

/// The value of a header; nothing where it is absent or repeated.
fn text(header: Header) -> Text {
    match header {
        Header::One(value) => Text(value),
        Header::Absent | Header::Several => Text::default(),
    }
}

/// The attributes that Envoy and its operator set, and no client can.
fn by_operator(attributes: AttributeContext, wanted: &AttributeSelection) -> Result<RequestAttributes, Malformed> {
    let extension = wanted.extension.and_then(|key| {
        attributes.context_extensions.into_iter().find(|entry| entry.key == key).map(|entry| entry.value)
    });
    let peer = attributes.source.filter(|_| wanted.principal).map(Peer::decode).transpose()?;
    let metadata = wanted.metadata.as_ref().and_then(|namespace| {
        attributes.metadata_context?.filter_metadata.into_iter().find(|(name, _)| name == namespace)
    });
    Ok(RequestAttributes {
        principal: peer.map(|peer| peer.principal).unwrap_or_default(),
        extension: extension.unwrap_or_default(),
        metadata: metadata.map(|(_, fields)| object(fields)).unwrap_or_default(),
        ..RequestAttributes::default()
    })
}

fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, field)| (name, value(field))).collect()
}

/// The same value as JSON. The recursion is bounded, since the decoder bounds the depth.
fn value(of: prost_types::Value) -> Value {
    match of.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(yes)) => yes.into(),
        Some(Kind::NumberValue(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(value).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)),
    }
}

/// The query, without the question mark before it.
fn query(path: &Bytes) -> Bytes {
    path.iter().position(|b| *b == b'?').map(|mark| path.slice(mark + 1..)).unwrap_or_default()
}

/// The path without its query: queries may hold secrets, and are neither matched nor logged.
fn without_query(path: &Bytes) -> Text {
    let end = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
    Text(path.slice(..end))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
    use envoy_types::pb::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
    use envoy_types::pb::envoy::service::auth::v3::{self as official};

    use super::*;
    use crate::login::visit::navigates;

    fn read(reader: &Reader, http: HttpRequest) -> Request {
        let request = Some(attribute_context::Request { http: Some(http), ..Default::default() });
        let attributes = Some(official::AttributeContext { request, ..Default::default() });
        let bytes = official::CheckRequest { attributes }.encode_to_vec();
        reader.read(auth::CheckRequest::decode(&bytes[..]).unwrap()).unwrap().unwrap()
    }

    fn reader(visit: bool) -> Reader {
        let headers = vec![HeaderName::from_static("x-token")];
        Reader::new(AttributeSelection { headers, visit, ..AttributeSelection::default() })
    }

    fn of_a_browser(raw: bool) -> HttpRequest {
        let headers = [
            ("x-token", "t"),
            ("accept", "text/html"),
            ("origin", "https://a"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-site", "none"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let mut http =
            HttpRequest { method: "POST".into(), path: "/a?b=c?d".into(), body: "e=f".into(), ..Default::default() };
        if raw {
            let value = |(key, value): (&str, &str)| HeaderValue {
                key: key.into(),
                raw_value: value.as_bytes().to_vec(),
                ..Default::default()
            };
            http.header_map = Some(HeaderMap { headers: headers.map(value).to_vec() });
        } else {
            http.headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        }
        http
    }

    #[test]
    fn a_visit_is_read_from_either_encoding_where_it_is_wanted_and_nothing_of_it_elsewhere() {
        let one = |text: &'static str| Header::One(Bytes::from_static(text.as_bytes()));
        for raw in [false, true] {
            let request = read(&reader(true), of_a_browser(raw));
            let visit = &request.visit;
            assert_eq!((&visit.query[..], &visit.body[..]), (&b"b=c?d"[..], &b"e=f"[..]));
            assert_eq!((&visit.origin, &visit.accept), (&one("https://a"), &one("text/html")));
            assert_eq!((&visit.sec_fetch_mode, &visit.sec_fetch_site), (&one("navigate"), &one("none")));
            assert_eq!((visit.by_script, visit.upgrade), (false, false));
            assert_eq!(request.attributes.headers, [one("t")], "the configured headers stay apart");
            assert_eq!(request.path.as_bytes(), b"/a");

            let request = read(&reader(false), of_a_browser(raw));
            assert_eq!(request.visit.size(), 0);
            assert_eq!(request.attributes.headers, [one("t")]);
        }
    }

    #[test]
    fn what_makes_a_request_no_navigation_is_seen() {
        for (name, expected) in
            [("x", true), ("X-Requested-With", false), ("kbn-xsrf", false), ("osd-xsrf", false), ("Upgrade", false)]
        {
            let mut http = of_a_browser(false);
            http.method = "GET".into();
            http.headers.insert(name.to_owned(), "x".to_owned());
            let request = read(&reader(true), http);
            assert_eq!(navigates(request.method.as_bytes(), &request.visit), expected, "{name}");
        }
    }

    #[test]
    fn only_the_body_of_a_form_is_kept() {
        let mut http = of_a_browser(false);
        http.headers.insert("content-type".to_owned(), "application/x-ndjson".to_owned());
        assert_eq!(read(&reader(true), http).visit.body, "");
        let plain = HttpRequest { method: "GET".into(), path: "/a".into(), ..Default::default() };
        assert_eq!(read(&reader(true), plain).visit.size(), 0);
    }
}

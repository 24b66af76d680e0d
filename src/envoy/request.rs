//! `CheckRequest` → [`Request`].

use bytes::Bytes;
use prost_types::value::Kind;
use serde_json::{Map, Value};

use super::wire::auth::{self, AttributeContext, attribute_context::HttpRequest};
use crate::authz::{Request, Text};
use crate::identity::presented::{Header, Presented, Wanted};

/// Reads what a decision needs, out of either header encoding. Absent parts are no reason to panic: a request without
/// HTTP attributes (TCP filters, hand-made calls) is `None`.
pub(super) fn read(check: auth::CheckRequest, wanted: &Wanted) -> Option<Request> {
    let mut attributes = check.attributes?;
    let http = attributes.request.take()?.http?;
    let headers = Headers(&http);
    let presented = Presented {
        authorization: headers.one("authorization"),
        headers: wanted.headers.iter().map(|name| headers.one(name.as_str())).collect(),
        cookies: if wanted.cookies { headers.all("cookie").cloned().collect() } else { Vec::new() },
        ..by_operator(attributes, wanted)
    };
    let first = |name| Text(headers.all(name).next().cloned().unwrap_or_default());
    let (request_id, traceparent) = (first("x-request-id"), first("traceparent"));
    let once = |name| matches!(headers.one(name), Header::One(value) if !value.is_empty());
    let preflight = http.method == "OPTIONS" && once("origin") && once("access-control-request-method");
    let path = without_query(&http.path);
    let (stream_id, method, host) = (Text(http.id), Text(http.method), Text(http.host));
    Some(Request { presented, request_id, traceparent, stream_id, method, host, path, preflight })
}

/// What Envoy and its operator say, not the client.
fn by_operator(attributes: AttributeContext, wanted: &Wanted) -> Presented {
    let extension = wanted.extension.and_then(|key| {
        attributes.context_extensions.into_iter().find(|entry| entry.key == key).map(|entry| entry.value)
    });
    let principal = attributes.source.filter(|_| wanted.principal).map(|peer| peer.principal);
    let metadata = wanted.metadata.as_ref().and_then(|namespace| {
        attributes.metadata_context?.filter_metadata.into_iter().find(|(name, _)| name == namespace)
    });
    Presented {
        principal: principal.unwrap_or_default(),
        extension: extension.unwrap_or_default(),
        metadata: metadata.map(|(_, fields)| object(fields)).unwrap_or_default(),
        ..Presented::default()
    }
}

fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, field)| (name, value(field))).collect()
}

/// Depth is bounded by the decoder.
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

struct Headers<'a>(&'a HttpRequest);

impl<'a> Headers<'a> {
    fn one(&self, name: &str) -> Header {
        self.all(name).cloned().collect()
    }

    /// Every value under a lower-case name, from `headers` and from `header_map` (`encode_raw_headers`). Envoy fills
    /// one of the two; reading both lets neither hide a second value.
    fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a Bytes> + use<'a, 'n> {
        let named = move |key: &Bytes| key.eq_ignore_ascii_case(name.as_bytes());
        let joined = self.0.headers.iter().filter(move |h| named(&h.key)).map(|h| &h.value);
        let raw = self.0.header_map.iter().flat_map(|map| &map.headers);
        let raw =
            raw.filter(move |h| named(&h.key)).map(|h| if h.raw_value.is_empty() { &h.value } else { &h.raw_value });
        joined.chain(raw)
    }
}

/// Queries may hold secrets, and are neither matched nor logged.
fn without_query(path: &Bytes) -> Text {
    let end = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
    Text(path.slice(..end))
}

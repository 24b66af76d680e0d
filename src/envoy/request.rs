//! `CheckRequest` → [`Request`].

use bytes::Bytes;
use prost::Message as _;
use prost_types::value::Kind;
use serde_json::{Map, Value};

use super::wire::auth::{self, AttributeContext, attribute_context::Peer};
use super::wire::http::{self, Malformed};
use crate::authz::{Request, Text};
use crate::identity::attributes::{AttributeSelection, Header, RequestAttributes};

/// What is read of every request.
const ALWAYS: [&str; 5] = ["authorization", "x-request-id", "traceparent", "origin", "access-control-request-method"];

/// Reads requests.
pub(super) struct Reader {
    wanted: AttributeSelection,
    /// Of the wanted headers.
    names: Vec<String>,
}

impl Reader {
    pub(super) fn new(wanted: AttributeSelection) -> Self {
        let names = wanted.headers.iter().map(|name| name.as_str().to_owned()).collect();
        Self { wanted, names }
    }

    /// What a decision needs, out of either header encoding. Absent parts are no reason to panic: a request without HTTP
    /// attributes (TCP filters, hand-made calls) is `None`.
    pub(super) fn read(&self, check: auth::CheckRequest) -> Result<Option<Request>, Malformed> {
        let Some(mut attributes) = check.attributes else { return Ok(None) };
        let Some(http) = attributes.request.take().and_then(|request| request.http) else { return Ok(None) };
        let http::Http { id, method, path, host, headers, more, cookies } =
            http::read(&http, ALWAYS, &self.names, self.wanted.cookies)?;
        let [authorization, request_id, traceparent, context, requested] = headers;
        let set = |header: &Header| matches!(header, Header::One(value) if !value.is_empty());
        let preflight = method == "OPTIONS" && set(&context) && set(&requested);
        let attributes =
            RequestAttributes { authorization, headers: more, cookies, ..by_operator(attributes, &self.wanted)? };
        let (request_id, traceparent) = (text(request_id), text(traceparent));
        let (stream_id, method, host, path) = (Text(id), Text(method), Text(host), without_query(&path));
        Ok(Some(Request { attributes, request_id, traceparent, stream_id, method, host, path, preflight }))
    }
}

/// Nothing where it is repeated.
fn text(header: Header) -> Text {
    match header {
        Header::One(value) => Text(value),
        Header::Absent | Header::Several => Text::default(),
    }
}

/// What Envoy and its operator say, not the client.
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

/// Queries may hold secrets, and are neither matched nor logged.
fn without_query(path: &Bytes) -> Text {
    let end = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
    Text(path.slice(..end))
}

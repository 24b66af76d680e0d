//! `CheckRequest` → [`Request`].

use bytes::Bytes;

use super::wire::auth::{self, attribute_context::HttpRequest};
use crate::authz::{Authorization, Request};

/// Reads what a decision needs, out of either header encoding. Absent parts are no reason to panic: a request without
/// HTTP attributes (TCP filters, hand-made calls) is `None`.
pub(super) fn read(check: auth::CheckRequest) -> Option<Request> {
    let http = check.attributes?.request?.http?;
    let headers = Headers(&http);
    let mut authorization = headers.all("authorization");
    let authorization = match (authorization.next(), authorization.next()) {
        (None, _) => Authorization::Absent,
        (Some(one), None) => Authorization::One(one.clone()),
        (Some(_), Some(_)) => Authorization::Several,
    };
    let first = |name| headers.all(name).next().map(text).unwrap_or_default();
    let (request_id, traceparent) = (first("x-request-id"), first("traceparent"));
    Some(Request {
        authorization,
        request_id,
        traceparent,
        stream_id: text(&http.id),
        method: text(&http.method),
        host: text(&http.host),
        path: without_query(&http.path),
    })
}

struct Headers<'a>(&'a HttpRequest);

impl<'a> Headers<'a> {
    /// Every value under a lower-case name, from `headers` and from `header_map` (`encode_raw_headers`). Envoy fills
    /// one of the two; reading both lets neither hide a second value.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a Bytes> + use<'a> {
        let named = move |key: &Bytes| key.eq_ignore_ascii_case(name.as_bytes());
        let joined = self.0.headers.iter().filter(move |h| named(&h.key)).map(|h| &h.value);
        let raw = self.0.header_map.iter().flat_map(|map| &map.headers);
        let raw =
            raw.filter(move |h| named(&h.key)).map(|h| if h.raw_value.is_empty() { &h.value } else { &h.raw_value });
        joined.chain(raw)
    }
}

/// For logs only: bounded, and never with control characters.
fn text(bytes: &Bytes) -> String {
    let bounded = bytes.get(..256).unwrap_or(bytes);
    String::from_utf8_lossy(bounded).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Queries may hold secrets and are not logged.
fn without_query(path: &Bytes) -> String {
    let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
    text(&path.slice(..end))
}

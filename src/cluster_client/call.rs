//! One call: what is asked for, as whom, and on whose behalf.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tracing::Span;
use url::Url;

use super::MAX_ANSWER;
use super::account;
use super::genuine::Shape;
use crate::credentials::RequestContext;
use crate::telemetry::traces;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to whichever node answers.
pub struct Call<'a> {
    pub(super) method: Method,
    path: Vec<&'a str>,
    query: Option<&'a str>,
    body: Option<Vec<u8>>,
    own: Option<HeaderValue>,
    context: Option<&'a RequestContext>,
    /// Bytes of the answer.
    pub(super) most: usize,
    /// What the answer has to be where it is no error.
    pub(super) shape: Shape<'a>,
}

impl<'a> Call<'a> {
    /// `path` are segments in the clear: each is encoded, and none can become two or none.
    #[must_use]
    pub fn new(method: Method, path: &[&'a str]) -> Self {
        let (path, most, shape) = (path.to_vec(), MAX_ANSWER, Shape::Object);
        Self { method, path, query: None, body: None, own: None, context: None, most, shape }
    }

    /// A read.
    #[must_use]
    pub fn get(path: &[&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// An encoded query, without the question mark.
    #[must_use]
    pub fn query(self, query: &'a str) -> Self {
        Self { query: Some(query), ..self }
    }

    /// So many bytes of an answer are read at most, instead of the usual megabyte.
    #[must_use]
    pub fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// An answer of another shape, errors left aside, is not the system's.
    #[must_use]
    pub fn expecting(self, shape: Shape<'a>) -> Self {
        Self { shape, ..self }
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        Self { body: Some(body.to_string().into_bytes()), ..self }
    }

    /// As a user, instead of the administrator.
    #[must_use]
    pub fn as_user(self, username: &str, password: &str) -> Self {
        Self { own: account::basic(username, password), ..self }
    }

    /// For the server's own logs and traces: `X-Opaque-Id` and `traceparent`.
    #[must_use]
    pub fn on_behalf_of(self, context: &'a RequestContext) -> Self {
        Self { context: Some(context), ..self }
    }

    pub(super) fn is_administrators(&self) -> bool {
        self.own.is_none()
    }

    pub(super) fn own_credential(&self) -> Option<HeaderValue> {
        self.own.clone()
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Reads may be repeated whatever became of them. (A POST that only asks is a read to nobody but its author.)
    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }

    /// `url::Url` normalises `..` away, so the result is compared with what was meant.
    pub(super) fn url(&self, base: &Url) -> Option<Url> {
        let mut path = base.path().trim_end_matches('/').to_owned();
        for segment in &self.path {
            if segment.is_empty() {
                return None;
            }
            path.push('/');
            path.extend(utf8_percent_encode(segment, ENCODED));
        }
        if path.is_empty() {
            path.push('/');
        }
        let mut url = base.clone();
        url.set_path(&path);
        url.set_query(self.query);
        (url.path() == path).then_some(url)
    }

    /// `span` is that of the attempt: where it is exported, the server's own spans belong under it.
    pub(super) fn apply_to(&self, request: RequestBuilder, span: &Span) -> RequestBuilder {
        let header = |request: RequestBuilder, name: &str, value: &str| {
            if value.is_empty() { request } else { request.header(name, value) }
        };
        let trace = traces::context_of(span);
        let request = self.context.into_iter().fold(request, |request, context| {
            let request = header(request, "x-opaque-id", context.request_id());
            header(request, "traceparent", if trace.is_empty() { context.traceparent() } else { "" })
        });
        let request = trace.iter().fold(request, |request, (name, value)| header(request, name, value));
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_path_segment_whatever_it_holds() {
        let url = |base: &str, name: &str| {
            let base = Url::parse(base).unwrap();
            Call::get(&["_security", "user", name]).url(&base).map(|url| url.to_string())
        };
        assert_eq!(url("http://h:9200", "a@b+c").unwrap(), "http://h:9200/_security/user/a%40b%2Bc");
        assert_eq!(url("http://h/es/", "j.d-x_1").unwrap(), "http://h/es/_security/user/j.d-x_1");
        assert_eq!(url("http://h", "a..b").unwrap(), "http://h/_security/user/a..b");
        assert_eq!(url("http://h", "a/../b?c#d%2e").unwrap(), "http://h/_security/user/a%2F..%2Fb%3Fc%23d%252e");
        let root = |base: &str| Call::get(&[]).url(&Url::parse(base).unwrap()).map(|url| url.to_string());
        assert_eq!(
            (root("http://h:9200"), root("http://h/es/")),
            (Some("http://h:9200/".into()), Some("http://h/es".into()))
        );
        for lost in ["", ".", ".."] {
            assert_eq!(url("http://h", lost), None, "{lost:?}");
        }
    }

    /// Requirement 3: whatever a valid username holds, the path has three segments.
    #[test]
    fn the_path_of_a_user_has_exactly_three_segments() {
        let base = Url::parse("http://h:9200").unwrap();
        for byte in 0x21_u8..0x7f {
            for name in [format!("a{}b", char::from(byte)), format!("{}{}", char::from(byte), char::from(byte))] {
                if let Some(url) = Call::get(&["_security", "user", &name]).url(&base) {
                    let segments: Vec<_> = url.path_segments().unwrap().collect();
                    assert_eq!(segments.len(), 3, "{name}");
                    let decoded = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
                    assert_eq!(decoded, name);
                } else {
                    assert_eq!(name, "..");
                }
            }
        }
    }
}

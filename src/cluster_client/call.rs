//! One call to the cluster: method, path, body, credential, and the request that caused it.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tracing::Span;
use url::Url;

use super::account;
use super::genuine::ExpectedAnswer;
use crate::credentials::RequestContext;
use crate::telemetry::traces;

/// The limit on answers unless a call sets another. The answer about a user has a kilobyte; no legitimate one comes near this.
const MAX_ANSWER: usize = 1024 * 1024;
/// The time limit of a call that lists all users.
pub(crate) const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// The limit on its answer: room for a quarter of a million users of Elasticsearch, or some half a million of OpenSearch.
pub(crate) const LIST_BYTES: usize = 256 * 1024 * 1024;
/// Everything but the unreserved characters of RFC 3986 §2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request that any node may answer.
pub struct Call<'a> {
    pub(super) method: Method,
    path: Vec<&'a str>,
    query: Option<&'a str>,
    body: Option<Vec<u8>>,
    user_credential: Option<HeaderValue>,
    context: Option<&'a RequestContext>,
    /// How many bytes the answer may have.
    pub(super) max_answer: usize,
    /// What the answer has to look like unless it is an error.
    pub(super) expected: ExpectedAnswer<'a>,
}

impl<'a> Call<'a> {
    /// `path` has the segments before they are encoded; whatever one holds, it stays one segment.
    #[must_use]
    pub(crate) fn new(method: Method, path: &[&'a str]) -> Self {
        let (path, max_answer, expected) = (path.to_vec(), MAX_ANSWER, ExpectedAnswer::Object);
        Self { method, path, query: None, body: None, user_credential: None, context: None, max_answer, expected }
    }

    /// A `GET` of this path.
    #[must_use]
    pub fn get(path: &[&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Sets the query, which is encoded already and has no question mark.
    #[must_use]
    pub(crate) fn query(self, query: &'a str) -> Self {
        Self { query: Some(query), ..self }
    }

    /// Sets how many bytes the answer may have, instead of a megabyte.
    #[must_use]
    pub(crate) fn at_most(self, max_answer: usize) -> Self {
        Self { max_answer, ..self }
    }

    /// Sets what the answer has to look like unless it is an error: another one is not the system's own.
    #[must_use]
    pub fn expecting(self, expected: ExpectedAnswer<'a>) -> Self {
        Self { expected, ..self }
    }

    /// Sets a JSON body.
    #[must_use]
    pub(crate) fn json(self, body: &Value) -> Self {
        Self { body: Some(body.to_string().into_bytes()), ..self }
    }

    /// Sends the user's own credential instead of the administrator's.
    #[must_use]
    pub(crate) fn by_user(self, username: &str, password: &str) -> Self {
        Self { user_credential: account::basic(username, password), ..self }
    }

    /// Sends the id and the trace of the request that caused the call, for the logs and traces of the cluster: `X-Opaque-Id`
    /// and `traceparent`.
    #[must_use]
    pub(crate) fn on_behalf_of(self, context: &'a RequestContext) -> Self {
        Self { context: Some(context), ..self }
    }

    pub(super) fn is_administrators(&self) -> bool {
        self.user_credential.is_none()
    }

    pub(super) fn user_credential(&self) -> Option<HeaderValue> {
        self.user_credential.clone()
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether the call may change something, so that it may not be sent twice. A `POST` that only asks is taken for a write,
    /// too.
    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }

    /// The address of the call at this node; none where a segment is empty, `.` or `..`: `url::Url` removes such segments, so
    /// the result is compared with what was put in.
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

    /// Adds the headers and the body. `span` is that of the attempt: where it is exported, the cluster's own spans become its
    /// children.
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
        for refused in ["", ".", ".."] {
            assert_eq!(url("http://h", refused), None, "{refused:?}");
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

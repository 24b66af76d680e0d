//! Answers of the provider, and of what can stand before it: a gateway's error page or a login page comes with any status,
//! and is an outage, whereas the provider's own answers decide about a caller.

use reqwest::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use crate::identity::KeySourceError;
use crate::outbound::{self, shown};

/// Above this an answer is given up. Key sets and claims are a few KiB.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// `OpenID` Connect Discovery §3: it names its issuer.
    Discovery,
    /// A key set (RFC 7517 §5): it has `keys`.
    KeySet,
    /// `OpenID` Connect Core §5.3.2: `sub` is always there.
    Userinfo,
    /// RFC 7662 §2.2: `active` is required.
    Introspection,
}

impl Expected {
    fn name(self) -> &'static str {
        match self {
            Self::Discovery => "a discovery document with an issuer",
            Self::KeySet => "a key set",
            Self::Userinfo => "a userinfo answer with a sub",
            Self::Introspection => "an introspection answer that says whether the token is active",
        }
    }

    fn is(self, body: &Map<String, Value>) -> bool {
        match self {
            Self::Discovery => body.get("issuer").is_some_and(Value::is_string),
            Self::KeySet => body.get("keys").is_some_and(Value::is_array),
            Self::Userinfo => body.contains_key("sub"),
            Self::Introspection => body.get("active").is_some_and(Value::is_boolean),
        }
    }
}

/// An answer, read to its end.
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    pub(super) async fn read(url: &Url, response: Response) -> Result<Self, KeySourceError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = outbound::body(response, MAX_BYTES).await.map_err(|why| failed(url, why))?;
        Ok(Self { status, headers, body })
    }

    /// The body of a 200, if it is what was asked for.
    pub(super) fn document(self, url: &Url, expected: Expected) -> Result<Vec<u8>, KeySourceError> {
        if self.status != StatusCode::OK {
            return Err(failed(url, format_args!("answered {}{}", self.status, self.kind())));
        }
        // Core §5.3.2 and RFC 9701 let it be a signed token; what is read here is the plain one, which TLS protects
        if self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"jwt")) {
            return Err(failed(url, "answered a signed token; let it answer plain JSON for this client"));
        }
        if serde_json::from_slice(&self.body).is_ok_and(|body| expected.is(&body)) {
            return Ok(self.body);
        }
        let (status, kind, expected) = (self.status, self.kind(), expected.name());
        let why = format!("answered {status}{kind}, which is not {expected}: is it the provider that answers there?");
        Err(failed(url, why))
    }

    /// Whether the provider says that the token is not good. A refusal has a `Bearer` challenge (RFC 6750 §3; RFC 9449 §7.1 for
    /// `DPoP`), but there are providers that send none: an OAuth error in JSON counts as well, and so does a 401 that is empty
    /// or a line of text, as long as it asks for no other scheme. What else comes with these statuses, such as an HTML page
    /// or a gateway's `{"message":"Forbidden"}`, is not the provider's.
    pub(super) fn refuses(&self) -> bool {
        match self.status {
            // RFC 6750 §3.1: invalid_request, insufficient_scope
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => self.challenges() || self.has_oauth_error(),
            StatusCode::UNAUTHORIZED => self.challenges() || self.has_oauth_error() || self.is_bare(),
            _ => false,
        }
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The body as a JSON object, if it is one.
    pub(super) fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.body).ok()
    }

    fn challenges(&self) -> bool {
        let offered = self.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let schemes = offered.flat_map(|value| value.split(',')).filter_map(|part| part.split_whitespace().next());
        schemes.into_iter().any(|scheme| scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop"))
    }

    /// Some providers have an object for `error`.
    fn has_oauth_error(&self) -> bool {
        match self.object().unwrap_or_default().get("error") {
            Some(Value::String(error)) => is_oauth_error(error),
            Some(error) => error.is_object(),
            None => false,
        }
    }

    fn is_bare(&self) -> bool {
        let text = String::from_utf8_lossy(&self.body);
        let text = text.trim();
        let page = text.starts_with('<') || self.kind().contains("html");
        let json = text.starts_with(['{', '[']) && text != "{}";
        !self.headers.contains_key(WWW_AUTHENTICATE) && !page && !json && text.lines().count() <= 1
    }

    /// The content type for messages. The body stays out of them: it may hold what was sent.
    pub(super) fn kind(&self) -> String {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        kind.map(|kind| format!(" ({})", kind.chars().take(60).collect::<String>())).unwrap_or_default()
    }
}

/// RFC 6749 §5.2: codes are lower case. `{"status":401,"error":"Unauthorized"}` is a framework's.
pub(super) fn is_oauth_error(error: &str) -> bool {
    let code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.:/".contains(c);
    !error.is_empty() && error.chars().all(code)
}

/// The error of a request to this address; the parts of it that may be secret are left out.
pub(super) fn failed(url: &Url, why: impl std::fmt::Display) -> KeySourceError {
    KeySourceError(format!("{}: {why}", shown(url)))
}
